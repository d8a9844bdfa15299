"""Signing in, against the demo's real identity providers (product §3.2)."""

import uuid
from datetime import timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.conf import settings
from django.test import Client

from config.demo.environment import client_of, issuers
from config.demo.people import tenant as demo_tenant
from config.kit import clock
from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, User
from directory.operations.domains import add_domain
from directory.operations.people import create_guest, create_user, disable_user
from directory.operations.tenants import configure_identity_provider, create_tenant
from directory.sessions import ACTING, HOME, USER
from directory.sign_in import safe_next
from tests.access.hostile_addresses import HOSTILE
from tests.factories import AT

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_tries_yet")]


def organization(key="contoso", *, issuer_of="", is_managed=True, creates_members=True):
    """A demo organization with its domain and the demo's issuer."""
    facts = demo_tenant(key)
    made = create_tenant(
        name=facts.name,
        kind="commercial",
        country="NL",
        time_zone="Europe/Amsterdam",
        currency="EUR",
        is_managed=is_managed,
        creates_members=creates_members,
        at=AT,
    )
    system = Actor.system(made.pk)
    add_domain(actor=system, name=facts.domain, is_verified=True, at=AT)
    client_id, secret = client_of(key)
    configure_identity_provider(
        actor=system, issuer=issuers()[key], client_id=client_id, client_secret=secret, at=AT
    )
    return made


def subject_of(mail):
    key = mail.partition("@")[2].removesuffix(".example")
    home = demo_tenant(key)
    return home.object_id(home.person(mail.partition("@")[0]))


def to_provider(client, mail, *, next_path=""):
    """The address at the identity provider to which the browser is sent."""
    page = client.post("/sign-in/", {"email": mail, "next": next_path})
    assert page.status_code == 200
    (address,) = {part.split('"')[0] for part in page.content.decode().split("url=")[1:]}
    response = client.get(address)
    assert response.status_code == 302, response.content
    return response["Location"]


def come_back(client, location, **changed):
    """Let the provider sign the hinted person in, and follow its redirect to the callback."""
    answer = httpx.get(location)
    assert answer.status_code in (302, 303), answer.text
    callback = urlsplit(answer.headers["Location"])
    query = {name: values[0] for name, values in parse_qs(callback.query).items()} | changed
    return client.get(callback.path, {name: value for name, value in query.items() if value is not None})


def sign_in(client, mail, **kwargs):
    return come_back(client, to_provider(client, mail, **kwargs))


def people(tenant):
    with tenant_atomic(tenant.pk):
        return list(User.objects.filter(tenant=tenant).order_by("pk"))


def audit_codes(tenant):
    with tenant_atomic(tenant.pk):
        return list(AuditEntry.objects.filter(tenant=tenant).order_by("pk").values_list("code", flat=True))


def test_an_unknown_person_becomes_a_member_and_comes_back_to_where_they_were(identity_provider, client):
    contoso = organization()

    response = sign_in(client, "pat@contoso.example", next_path="/products/?market=NL")

    assert (response.status_code, response["Location"]) == (302, "/products/?market=NL")
    (pat,) = people(contoso)
    assert (pat.name, pat.email, pat.kind, pat.status) == (
        "Pat Mulder",
        "pat@contoso.example",
        "member",
        "active",
    )
    assert (pat.issuer, pat.subject) == (issuers()["contoso"], subject_of("pat@contoso.example"))
    assert pat.signed_in_at is not None
    assert (client.session[HOME], client.session[USER], client.session[ACTING]) == (
        contoso.pk,
        pat.pk,
        contoso.pk,
    )
    assert audit_codes(contoso)[-2:] == ["directory.user.created_at_sign_in", "directory.user.signed_in"]


def test_nothing_of_allauths_own_is_stored(identity_provider, client):
    organization()

    sign_in(client, "pat@contoso.example")

    for model in (SocialAccount, SocialApp, SocialToken, EmailAddress):
        assert not model.objects.exists()


def test_signing_in_again_finds_the_same_account_and_changes_the_session_key(identity_provider, client):
    contoso = organization()
    sign_in(client, "pat@contoso.example")
    first = client.session.session_key

    client.post("/sign-out/")
    sign_in(client, "pat@contoso.example")

    assert len(people(contoso)) == 1
    assert client.session.session_key != first


def test_an_account_is_never_matched_by_its_address(identity_provider, client):
    contoso = organization()
    victim = create_user(
        actor=Actor.system(contoso.pk),
        name="Pat",
        email="pat@contoso.example",
        issuer="https://elsewhere.example",
        subject="someone",
        at=AT,
    )

    sign_in(client, "pat@contoso.example")

    assert client.session[USER] != victim.pk
    assert len(people(contoso)) == 2


def test_an_organization_that_creates_no_members_lets_no_stranger_in(identity_provider, client):
    contoso = organization(creates_members=False)

    response = sign_in(client, "pat@contoso.example")

    assert response.status_code == 403
    assert b"You have no account here" in response.content
    assert people(contoso) == []
    assert HOME not in client.session


def test_a_disabled_person_is_told_so_after_the_provider(identity_provider, client):
    contoso = organization()
    sign_in(client, "dora@contoso.example")
    (dora,) = people(contoso)
    disable_user(actor=Actor.system(contoso.pk), user_id=dora.pk, at=clock.now())
    other = Client()

    page = other.post("/sign-in/", {"email": "dora@contoso.example"})
    response = sign_in(other, "dora@contoso.example")

    assert page.status_code == 200
    assert response.status_code == 403
    assert b"Your account is disabled" in response.content
    assert HOME not in other.session


def test_disabling_ends_a_running_session_with_the_next_request(identity_provider, client):
    contoso = organization()
    sign_in(client, "dora@contoso.example")
    assert client.get("/my/accounts/").status_code == 200
    (dora,) = people(contoso)

    disable_user(actor=Actor.system(contoso.pk), user_id=dora.pk, at=clock.now())

    response = client.get("/my/accounts/")
    assert (response.status_code, response["Location"]) == (302, "/sign-in/?next=%2Fmy%2Faccounts%2F")
    assert HOME not in client.session


@pytest.mark.parametrize(
    ("referer", "back"),
    [
        ("{site}/my/tokens/?q=a", "/my/tokens/?q=a"),
        ("https://evil.test/my/tokens/", "/"),
        ("{site}@evil.test/my/tokens/", "/"),
        ("http://[testserver/my/tokens/", "/"),
        (f"{{site}}/?q={'a' * 9000}", "/"),
        (None, "/"),
    ],
)
def test_what_is_sent_after_the_session_ended_leads_back_to_its_page_and_says_it_was_lost(
    client, referer, back
):
    headers = {"Referer": referer.format(site=settings.PUBLIC_URL)} if referer else {}

    answer = client.post("/my/tokens/", {"name": "x"}, headers=headers)

    assert (answer.status_code, answer["Location"]) == (
        302,
        f"/sign-in/?{urlencode({'next': back, 'lost': 'yes'})}",
    )
    page = client.get(answer["Location"]).text
    assert "What you sent was not saved, and nothing was charged." in page
    assert f'name="next" value="{back}"' in page


@pytest.mark.parametrize(
    "address",
    [
        "ann@adatum.example",
        "somebody@gmail.com",
        "somebody@unknown.example",
        "pat@mail.contoso.example",
        "pat@evil.example@contoso.example",
        '"pat@evil"@contoso.example',
        "pat (comment)@contoso.example",
        "@contoso.example",
        "contoso.example",
        "",
        "pat@" + "x" * 300 + ".example",
        "pat@contoso.example\x00",
        "pat@cont\u043eso.example",
    ],
)
def test_every_address_that_leads_nowhere_gets_one_text(client, address):
    organization(is_managed=True)
    organization("adatum", is_managed=False)

    response = client.post("/sign-in/", {"email": address})

    assert response.status_code == 422
    page = response.content.decode()
    assert "We can't take this address to a sign-in page" in page
    assert "<title>Problem: Enter your work e-mail" in page
    assert "http-equiv" not in page


def test_the_answer_does_not_tell_whether_an_account_exists(identity_provider):
    organization()
    sign_in(Client(), "pat@contoso.example")

    known = Client().post("/sign-in/", {"email": "pat@contoso.example"})
    unknown = Client().post("/sign-in/", {"email": "nobody@contoso.example"})

    assert (known.status_code, known.content) == (unknown.status_code, unknown.content)


def test_the_sixth_try_with_one_address_in_a_minute_is_refused(client):
    for _ in range(5):
        assert client.post("/sign-in/", {"email": "a@unknown.example"}).status_code == 422

    refused = client.post("/sign-in/", {"email": "A@unknown.example"})

    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= 60
    assert client.post("/sign-in/", {"email": "b@unknown.example"}).status_code == 422


def test_sign_in_fails_closed_while_valkey_is_away(client, settings, monkeypatch):
    from config.kit import rate

    monkeypatch.setattr(rate, "_valkey", lambda: rate._client("redis://127.0.0.1:9/0"))

    response = client.post("/sign-in/", {"email": "pat@contoso.example"})

    assert response.status_code == 503
    assert response["Retry-After"]


def test_the_way_to_the_provider_carries_state_nonce_and_a_pkce_challenge(identity_provider, client):
    organization()

    query = parse_qs(urlsplit(to_provider(client, "pat@contoso.example")).query)

    assert query["response_type"] == ["code"]
    assert query["code_challenge_method"] == ["S256"]
    assert len(query["code_challenge"][0]) == 43
    assert len(query["nonce"][0]) == 43
    assert len(query["state"][0]) >= 16
    assert query["login_hint"] == ["pat@contoso.example"]
    assert set(query["scope"][0].split()) == {"openid", "profile", "email"}


def test_a_link_alone_does_not_begin_a_sign_in(identity_provider, client):
    organization()
    page = Client().post("/sign-in/", {"email": "pat@contoso.example"}).content.decode()
    address = page.split("url=")[1].split('"')[0]

    response = client.get(address)

    assert (response.status_code, response["Location"]) == (302, "/sign-in/")


def test_parameters_of_the_login_address_change_nothing(identity_provider, client):
    organization()
    page = client.post("/sign-in/", {"email": "pat@contoso.example"}).content.decode()
    address = page.split("url=")[1].split('"')[0]

    response = client.get(
        address,
        {
            "process": "connect",
            "scope": "admin",
            "auth_params": "prompt=none",
            "next": "https://evil.example",
        },
    )

    query = parse_qs(urlsplit(response["Location"]).query)
    assert "prompt" not in query
    assert "admin" not in query["scope"][0]


@pytest.mark.parametrize(
    "changed",
    [
        {"state": None},
        {"state": "guessed"},
        {"code": None},
        {"code": "guessed"},
        {"iss": "https://other.example"},
        {"error": "access_denied"},
        {"error": "server_error", "code": None},
    ],
)
def test_an_answer_that_was_tampered_with_signs_nobody_in(identity_provider, client, changed):
    contoso = organization()

    response = come_back(client, to_provider(client, "pat@contoso.example"), **changed)

    assert response.status_code == 403
    assert b"You are not signed in" in response.content
    assert people(contoso) == []
    assert HOME not in client.session


def test_an_answer_is_good_once_and_in_the_browser_that_asked(identity_provider, client):
    contoso = organization()
    location = to_provider(client, "pat@contoso.example")
    callback = urlsplit(httpx.get(location).headers["Location"])
    query = {name: values[0] for name, values in parse_qs(callback.query).items()}

    stolen = Client().get(callback.path, query)
    first = client.get(callback.path, query)
    again = client.get(callback.path, query)

    assert (stolen.status_code, first.status_code, again.status_code) == (403, 302, 403)
    assert len(people(contoso)) == 1


def test_one_tenants_state_is_no_good_at_anothers_callback(identity_provider, client):
    organization()
    fabrikam = organization("fabrikam")
    location = to_provider(client, "pat@contoso.example")
    other = urlsplit(to_provider(client, "frank@fabrikam.example")).query
    answer = urlsplit(httpx.get(location).headers["Location"])
    path = urlsplit(parse_qs(other)["redirect_uri"][0]).path

    response = client.get(path, {name: v[0] for name, v in parse_qs(answer.query).items()})

    assert response.status_code == 403
    assert people(fabrikam) == []


def test_a_person_with_a_guest_account_chooses_the_organization(identity_provider, client):
    contoso = organization()
    fabrikam = organization("fabrikam")
    guest = create_guest(
        actor=Actor.system(contoso.pk),
        name="Frank Miller",
        email="frank@fabrikam.example",
        issuer=issuers()["fabrikam"],
        subject=subject_of("frank@fabrikam.example"),
        at=AT,
    )
    sign_in(client, "frank@fabrikam.example")
    at_home = client.session.session_key

    menu = client.get("/my/accounts/").content.decode().partition("<main")[2]
    response = client.post("/my/accounts/", {"user_id": guest.pk})

    assert menu.index("Contoso") < menu.index("Fabrikam")
    assert response.status_code == 302
    assert (client.session[HOME], client.session[USER]) == (contoso.pk, guest.pk)
    assert client.session.session_key != at_home
    assert [user.name for user in people(fabrikam)] == ["Frank Miller"]


def test_nobody_switches_to_an_account_that_is_not_theirs(identity_provider, client):
    contoso = organization()
    other = create_user(actor=Actor.system(contoso.pk), name="Gina", email="g@contoso.example", at=AT)
    sign_in(client, "pat@contoso.example")
    mine = client.session[USER]

    response = client.post("/my/accounts/", {"user_id": other.pk})

    assert response.status_code == 404
    assert client.session[USER] == mine


def test_another_issuer_is_a_new_provider_and_ends_sessions_and_links(identity_provider, client):
    contoso = organization()
    sign_in(client, "pat@contoso.example")
    (pat,) = people(contoso)

    configure_identity_provider(
        actor=Actor.system(contoso.pk),
        issuer=issuers()["fabrikam"],
        client_id=client_of("fabrikam")[0],
        client_secret=client_of("fabrikam")[1],
        at=clock.now(),
    )

    assert client.get("/my/accounts/").status_code == 302
    newcomer = Client()
    location = to_provider(newcomer, "frank@contoso.example")
    assert location.startswith(issuers()["fabrikam"])
    assert [user.pk for user in people(contoso)] == [pat.pk]


def test_an_unknown_provider_address_is_not_there(client):
    for path in ("login/", "login/callback/?state=a&code=b"):
        assert client.get(f"/accounts/oidc/{uuid.uuid4().hex}/{path}").status_code == (
            302 if path == "login/" else 404
        )


def test_a_session_ends_after_a_day_and_after_eight_idle_hours(identity_provider, client, monkeypatch):
    organization()
    sign_in(client, "pat@contoso.example")
    session = client.session
    session["session_seen"] -= timedelta(hours=8, seconds=1).total_seconds()
    session.save()
    idle = client.get("/my/accounts/").status_code
    sign_in(client, "pat@contoso.example")
    session = client.session
    session["session_since"] -= timedelta(hours=24, seconds=1).total_seconds()
    session.save()

    assert (idle, client.get("/my/accounts/").status_code) == (302, 302)


def test_sign_out_is_a_post_and_empties_the_session(identity_provider, client):
    organization()
    sign_in(client, "pat@contoso.example")

    assert client.get("/sign-out/").status_code == 405
    response = client.post("/sign-out/")

    assert (response.status_code, response["Location"]) == (302, "/")
    assert dict(client.session) == {}


@pytest.mark.parametrize("address", HOSTILE, ids=ascii)
def test_a_hostile_way_on_leads_to_the_start_page(address):
    assert safe_next(address) == "/"


@pytest.mark.parametrize(
    "address",
    ["/", "/products/", "/buy/power-bi-pro/?plan=1&quantity=10", "/admin/licenses/#top", "/%2f%2fevil"],
)
def test_a_path_of_this_site_is_kept(address):
    assert safe_next(address) == address
