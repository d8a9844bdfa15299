"""The demo's identity providers (config/demo/identity.py)."""

from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from django.conf import settings

from config.demo.environment import client_of
from config.demo.people import TENANTS, tenant


@pytest.fixture
def callback():
    return f"{settings.PUBLIC_URL}/accounts/oidc/contoso/login/callback/"


def authorize(issuer, callback, **extra):
    return httpx.get(
        f"{issuer}/oauth2/authorize",
        params={
            "client_id": client_of("contoso")[0],
            "redirect_uri": callback,
            "response_type": "code",
            "scope": "openid profile email",
            "state": "abc",
            "nonce": "n-1",
            **extra,
        },
    )


def exchange(issuer, response, callback, secret):
    code = parse_qs(urlsplit(response.headers["location"]).query)["code"][0]
    return httpx.post(
        f"{issuer}/oauth2/token",
        auth=("seatkeeper-contoso", secret),
        data={"grant_type": "authorization_code", "code": code, "redirect_uri": callback},
    )


def test_every_demo_tenant_has_an_issuer(identity_provider):
    found = {
        key: httpx.get(f"{issuer}/.well-known/openid-configuration").json()["issuer"]
        for key, issuer in identity_provider.items()
    }

    assert found == identity_provider
    assert set(found) == {each.key for each in TENANTS}


def test_a_hint_signs_in_at_once_with_the_claims_of_entra(identity_provider, callback):
    issuer, contoso = identity_provider["contoso"], tenant("contoso")

    response = authorize(issuer, callback, login_hint="Gina@Contoso.example")
    tokens = exchange(issuer, response, callback, client_of("contoso")[1]).json()

    key = jwt.PyJWKClient(f"{issuer}/jwks").get_signing_key_from_jwt(tokens["id_token"])
    claims = jwt.decode(
        tokens["id_token"], key, algorithms=["RS256"], audience="seatkeeper-contoso", issuer=issuer
    )
    object_id = contoso.object_id(contoso.person("gina"))
    assert {
        name: claims[name] for name in ("sub", "oid", "tid", "acct", "email", "name", "nonce", "amr")
    } == {
        "sub": object_id,
        "oid": object_id,
        "tid": contoso.external_id,
        "acct": 0,
        "email": "gina@contoso.example",
        "name": "Gina de Vries",
        "nonce": "n-1",
        "amr": ["pwd", "mfa"],
    }
    assert claims["preferred_username"] == "gina@contoso.example"


def test_without_a_hint_the_tenants_people_are_listed_without_outside_resources(identity_provider, callback):
    page = authorize(identity_provider["contoso"], callback).text

    for person in tenant("contoso").people:
        assert f"{person.name}@contoso.example" in page
    assert "fiona@fabrikam.example" not in page
    assert "//cdn" not in page


def test_a_hint_for_somebody_of_another_tenant_shows_the_list(identity_provider, callback):
    response = authorize(identity_provider["contoso"], callback, login_hint="frank@fabrikam.example")

    assert response.status_code == 200


def test_who_is_to_be_asked_again_chooses_on_the_list_whatever_the_hint(identity_provider, callback):
    response = authorize(
        identity_provider["contoso"], callback, login_hint="gina@contoso.example", prompt="login"
    )

    assert response.status_code == 200
    assert "gina@contoso.example" in response.text


def test_refuses_a_subject_that_the_directory_does_not_know(identity_provider, callback):
    form = authorize(identity_provider["contoso"], callback)

    response = httpx.post(form.url, data={"sub": "somebody"})

    assert response.status_code == 400


def test_refuses_to_send_anybody_to_another_address_than_the_portals(identity_provider):
    response = authorize(
        identity_provider["contoso"], "http://127.0.0.1:9/callback/", login_hint="gina@contoso.example"
    )

    assert response.status_code == 400
    assert "location" not in response.headers


def test_refuses_a_wrong_client_secret(identity_provider, callback):
    issuer = identity_provider["contoso"]
    response = authorize(issuer, callback, login_hint="gina@contoso.example")

    answer = exchange(issuer, response, callback, "wrong")

    assert answer.status_code == 401
    assert answer.json()["error"] == "invalid_client"
