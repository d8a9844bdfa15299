"""The account list of the demo's identity provider, in a browser."""

from urllib.parse import urlencode

from django.conf import settings

from config.demo.environment import client_of


def address(issuer, **extra):
    query = {
        "client_id": client_of("contoso")[0],
        "redirect_uri": f"{settings.PUBLIC_URL}/callback/",
        "response_type": "code",
        "scope": "openid",
        "state": "abc",
        **extra,
    }
    return f"{issuer}/oauth2/authorize?{urlencode(query)}"


def callbacks(page) -> set[str]:
    """The addresses below the portal's callback that the page asks for, as it asks; nothing answers there.

    A set, since a request that is answered here after a redirect may be told of twice.
    """
    asked: set[str] = set()
    callback = f"{settings.PUBLIC_URL}/callback/"
    page.on("request", lambda request: asked.add(request.url) if request.url.startswith(callback) else None)
    page.route(f"{settings.PUBLIC_URL}/**", lambda route: route.fulfill(body=""))
    return asked


def test_a_click_on_an_account_signs_in_and_nothing_outside_is_loaded(identity_provider, page):
    loaded, landed = [], callbacks(page)
    page.on("request", lambda request: loaded.append(request.url))

    page.goto(address(identity_provider["contoso"]))
    page.get_by_role("button", name="Gina de Vries").click()
    page.wait_for_url(f"{settings.PUBLIC_URL}/callback/*")

    (address_,) = landed
    assert "code=" in address_
    assert "state=abc" in address_
    assert {url.split("/")[2] for url in loaded} <= {
        identity_provider["contoso"].split("/")[2],
        settings.PUBLIC_URL.split("/")[2],
    }


def test_cancel_says_so_to_the_portal(identity_provider, page):
    landed = callbacks(page)

    page.goto(address(identity_provider["contoso"]))
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_url(f"{settings.PUBLIC_URL}/callback/*")

    (address_,) = landed
    assert "error=access_denied" in address_
