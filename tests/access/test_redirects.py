"""Whatever an address is told to go on to, it stays on the site (reliability §6, Redirects).

The addresses that are known to read a way on get every form; all others get every parameter that might be read as one.
"""

import re
from html import unescape
from itertools import cycle
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.conf import settings as configured
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from config.kit.rate import _valkey
from directory.sessions import PENDING
from directory.sign_in import safe_next
from tests.access.hostile_addresses import HOSTILE, OFF, PARAMETERS, TEXTS, leaves
from tests.access.world import ADDRESSES, EXAMPLES, World, everything_of, taken_back, world
from tests.demo import addresses as demo_addresses  # before any test sets DEMO
from tests.directory.test_factors_of_staff import set_up
from tests.factories import AT, client_of, make_staff, make_tenant, make_user

pytestmark = pytest.mark.django_db
__all__ = ["world"]  # a fixture

# A host of the request's that this installation would serve, and that nothing of an answer may be made of.
OTHER_HOST = "zq-host.example"
FORWARDED = {
    "HTTP_X_FORWARDED_HOST": OTHER_HOST,
    "HTTP_FORWARDED": f"host={OTHER_HOST};proto=https",
    "HTTP_X_HOST": OTHER_HOST,
    "HTTP_X_FORWARDED_SERVER": OTHER_HOST,
    "HTTP_X_ORIGINAL_URL": f"https://{OTHER_HOST}/",
    "HTTP_X_REWRITE_URL": f"//{OTHER_HOST}/",
    "HTTP_X_FORWARDED_PREFIX": f"//{OTHER_HOST}",
    "HTTP_ORIGIN": f"https://{OTHER_HOST}",
    "HTTP_REFERER": f"https://{OTHER_HOST}/",
}
LINK = re.compile(r"""(?:\b(?:href|action|formaction|src)="|\burl=)([^"]*)""", re.I)


@pytest.fixture(autouse=True)
def _no_tries_yet(settings: Any) -> None:
    settings.SIGN_INS_PER_MINUTE = 10_000
    cache.clear()
    _valkey().flushdb()


@pytest.fixture(autouse=True)
def _as_many_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits have tests of their own."""
    monkeypatch.setattr("config.kit.rate.Limit.count", lambda self, *names: None)


def ways_out(response: Any) -> list[str]:
    """Where an answer would lead off the site: its redirect, and every link and form of its page."""
    found = [response["Location"]] if "Location" in response else []
    if "text/html" in response.get("Content-Type", ""):
        found += [unescape(link) for link in LINK.findall(response.content.decode(errors="replace"))]
    return [link for link in found if leaves(link) and not _is_meant(link)]


def asked(client: Client, address: str, data: dict[str, Any] | None) -> Any:
    """One request, a post if there is something to post; its effects are taken back."""
    return taken_back(client, lambda: client.get(address) if data is None else client.post(address, data))


def _is_meant(link: str) -> bool:
    """Pages of the vendor, of a partner and of the card processor are linked, and the app that shows codes; none of them
    comes from a request."""
    is_known = link.startswith(("https://", "otpauth://")) or link == configured.STRIPE_JS_URL
    return is_known and OFF not in link.lower() and OTHER_HOST not in link.lower()


# --- The corpus itself ----------------------------------------------------------------------------------------


def test_there_are_sixty_forms_at_least_and_each_is_hostile() -> None:
    assert len(TEXTS) >= 60
    assert len({repr(form) for form in HOSTILE}) == len(HOSTILE)
    assert [form for form in HOSTILE if safe_next(form) != "/"] == []


@pytest.mark.parametrize(
    "location", ["//evil.example", "/\\evil.example", "\t//x", "/\t/x", "HTTPS:x", "java\nscript:x"]
)
def test_the_judge_reads_an_address_as_a_browser_does(location: str) -> None:
    assert leaves(location)


@pytest.mark.parametrize("location", ["/", "/products/?next=//x", "?page=2", "#top", "", "/%2f%2fx", "/a:b"])
def test_the_judge_lets_a_path_of_the_site_be(location: str) -> None:
    assert not leaves(location)


# --- The addresses that read a way on -------------------------------------------------------------------------


@pytest.mark.parametrize("form", TEXTS, ids=ascii)
def test_sign_in_goes_on_within_the_site(form: str) -> None:
    make_tenant(domain="contoso.example")
    visitor, member = Client(), client_of(make_user(make_tenant()))

    page = visitor.get("/sign-in/", {"next": form})
    posted = visitor.post("/sign-in/", {"email": "pat@contoso.example", "next": form})
    twice = member.get(f"/sign-in/?next=/products/&{urlencode({'next': form})}")
    on = [member.get("/sign-in/", {"next": form}), member.post("/sign-in/", {"next": form}), twice]

    assert visitor.session[PENDING]["next"] == "/"
    assert [answer["Location"] for answer in on] == ["/", "/", "/"]
    assert ways_out(page) + ways_out(posted) == []


@pytest.mark.parametrize("form", TEXTS, ids=ascii)
def test_signing_in_again_comes_back_within_the_site(form: str) -> None:
    """The session knows no provider, so it begins anew, with the way on as it was taken."""
    answer = client_of(make_user(make_tenant())).get("/sign-in/again/", {"next": form})

    assert parse_qs(urlsplit(answer["Location"]).query) == {"next": ["/"]}


@pytest.mark.parametrize("form", TEXTS, ids=ascii)
def test_choosing_a_country_goes_back_within_the_site(form: str) -> None:
    answer = Client().post("/products/country/", {"next": form, "market": "NL"})

    assert (answer.status_code, answer["Location"]) == (302, "/products/")


@pytest.mark.parametrize("form", TEXTS, ids=ascii)
def test_the_second_factor_goes_on_within_the_site(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sven = make_staff(make_tenant(kind="vendor"), "staff_support")
    set_up(sven, at=AT)
    monkeypatch.setattr("directory.views.second_factor._check", lambda request, actor: None)
    browser, address = client_of(sven), reverse("operator:second-factor")

    page = browser.get(address, {"next": form})
    shown = browser.post(address, {"next": form, "shown_for_tenant": sven.tenant_id})

    expected = "/" if form else reverse("operator:index")
    assert f'name="next" value="{expected}"' in page.text
    assert (shown.status_code, shown["Location"]) == (303, expected)


@pytest.mark.parametrize("form", TEXTS, ids=ascii)
def test_switching_the_organization_reads_no_way_on(form: str) -> None:
    pat = make_user(make_tenant())
    browser, fields = client_of(pat), dict.fromkeys(PARAMETERS, form)

    switched = browser.post(f"/my/accounts/?{urlencode(fields)}", {"user_id": pat.pk} | fields)
    out = browser.post(f"/sign-out/?{urlencode(fields)}", fields)

    assert (switched["Location"], out["Location"]) == ("/", "/")


@pytest.mark.parametrize("length", [2000, 8000])
def test_an_address_that_is_too_long_to_come_back_to_is_left_out(length: int) -> None:
    """A server takes lines of 8,190 signs; quoted they would be three times as long."""
    address = "/my/accounts/?q=" + '"' * length

    answer = Client().get(address)

    assert (answer.status_code, answer["Location"]) == (302, "/sign-in/?next=%2F")


@pytest.mark.parametrize(
    "form", ["//evil.example/x", "//evil.example/x/", "/\\evil.example/x", "/%5cevil.example/x"]
)
def test_an_address_without_its_last_slash_stays_on_the_site(form: str) -> None:
    """A path of two slashes is a host to a browser; the slash that is added at its end must not make it a redirect there."""
    for path in (form, f"{form}?next={form}", f"{form}/products"):
        answer = Client().generic("GET", "/", PATH_INFO=path)
        assert ways_out(answer) == []


def test_the_buttons_of_the_demo_lead_on_within_the_site(settings: Any, tmp_path: Any) -> None:
    settings.DEMO = True
    settings.ROOT_URLCONF = demo_addresses.__name__
    settings.CLOCK_FILE = str(tmp_path / "clock.json")
    make_tenant(domain="contoso.example")
    wrong = []
    for form in TEXTS:
        fields = dict.fromkeys(PARAMETERS, form)
        for path in ("sign-in/", "clock/", "names/"):
            for mail in (form, "ann@adatum.example", "pat@contoso.example"):
                answer = Client().post(f"/demo/{path}?{urlencode(fields)}", fields | {"mail": mail})
                wrong += [f"{path} {form!r}: {way}" for way in ways_out(answer)]

    assert wrong == []


# --- All others -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["anonymous", "purchaser", "global_admin", "vendor superuser"])
def test_no_address_leads_off_the_site_or_takes_its_name_from_the_request(
    world: World, who: str, settings: Any
) -> None:
    """Every address is told in every way to go elsewhere, under a Host that would be served, and says nothing of it."""
    settings.ALLOWED_HOSTS = ["*"]
    actor, client = world.actor(who), world.client(who)
    client.defaults |= FORWARDED | {"HTTP_HOST": OTHER_HOST}
    forms, wrong = cycle(form for form in TEXTS if len(form) < 200), []
    for name, route, _callback in ADDRESSES:
        for kwargs in (EXAMPLES[name](world) if "<" in route else {"": {}}).values():
            fields: dict[str, Any] = dict.fromkeys(PARAMETERS, next(forms))
            address = f"{reverse(name, kwargs=kwargs)}?{urlencode(fields)}"
            shown_for = {"shown_for_tenant": actor.tenant_id} if actor else {}
            for method, data in (("GET", None), ("POST", fields | shown_for)):
                answer = asked(client, address, data)
                line = f"{method} {name} with {fields['next']!r}"
                wrong += [f"{line}: {way}" for way in ways_out(answer)]
                if OTHER_HOST in everything_of(answer).lower():
                    wrong.append(f"{line}: names the request's host")

    assert wrong == []
