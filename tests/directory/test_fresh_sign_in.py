"""Who signed in too long ago proves anew who they are before a token is made (reliability §7)."""

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
import time_machine
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import reverse

from config.kit import clock
from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic
from directory.id_token import Identity
from directory.middleware import AccessMiddleware
from directory.models import ApiToken, RoleAssignment, Tenant, User
from directory.operations.people import create_guest
from directory.sessions import (
    PROVED,
    USER,
    NotConfirmed,
    SignInTooOld,
    confirm_session,
    fresh_to_post,
)
from tests.directory.test_sign_in import organization, people, sign_in, subject_of
from tests.factories import AT, client_of, make_tenant, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("identity_provider", "no_tries_yet")]

TOKENS = "/my/tokens/"
FORM = {"name": "Nightly script", "scope": ["policies.read"], "days": "30"}


@pytest.fixture
def contoso() -> Tenant:
    made: Tenant = organization()
    return made


@pytest.fixture
def signed_in(contoso: Tenant, client: Client) -> Client:
    """The browser of Gina, a global admin, who has just signed in."""
    sign_in(client, "gina@contoso.example")
    (user,) = people(contoso)
    with tenant_atomic(contoso.pk):
        RoleAssignment.objects.create(
            tenant=contoso, user=user, role="global_admin", granted_at=AT, granted_by="test"
        )
    client.get("/my/accounts/")  # the session follows the role
    return client


@pytest.fixture
def gina(signed_in: Client) -> Client:
    """The same, six minutes later."""
    let_pass(signed_in, timedelta(minutes=6))
    return signed_in


def let_pass(browser: Client, length: timedelta) -> None:
    session = browser.session
    session[PROVED] -= length.total_seconds()
    session.save()


def link_of(answer: Any) -> str:
    """Where *Sign in again* leads."""
    page = answer.content.decode()
    return str(page.partition('href="/sign-in/again/')[2].partition('"')[0].replace("&amp;", "&"))


def to_provider(browser: Client, answer: Any) -> str:
    return str(browser.get(f"/sign-in/again/{link_of(answer)}").headers["Location"])


def choose(browser: Client, location: str, mail: str) -> Any:
    """Choose an account at the provider, and come back."""
    answer = httpx.post(location, data={"sub": subject_of(mail)})
    callback = urlsplit(answer.headers["Location"])
    return browser.get(callback.path, {name: v[0] for name, v in parse_qs(callback.query).items()})


def tokens(contoso: Tenant) -> int:
    with tenant_atomic(contoso.pk):
        return ApiToken.objects.count()


def test_within_five_minutes_a_token_is_made_at_once(contoso: Tenant, signed_in: Client) -> None:
    let_pass(signed_in, timedelta(minutes=4))

    made = signed_in.post(TOKENS, FORM)

    assert (made.status_code, tokens(contoso)) == (200, 1)


def test_later_the_provider_asks_again_and_the_person_comes_back_to_what_they_filled_in(
    contoso: Tenant, gina: Client
) -> None:
    shown = gina.get(TOKENS)
    refused = gina.post(TOKENS, FORM)
    before, key = dict(gina.session), gina.session.session_key

    location = to_provider(gina, refused)
    returned = choose(gina, location, "gina@contoso.example")
    page = gina.get(returned.headers["Location"]).content.decode()
    after = dict(gina.session)
    made = gina.post(TOKENS, FORM)

    assert "To make a token, sign in again first" in shown.content.decode()
    assert "Make the token" not in shown.content.decode()
    assert refused.status_code == 403
    assert "No token was made. What you filled in is kept." in refused.content.decode()
    query = parse_qs(urlsplit(location).query)
    assert (query["prompt"], query["max_age"], query["login_hint"]) == (
        ["login"],
        ["300"],
        ["gina@contoso.example"],
    )
    assert returned.headers["Location"] == (
        "/my/tokens/?name=Nightly+script&scope=policies.read&days=30#make"
    )
    assert 'value="Nightly script"' in page
    assert 'value="policies.read" checked' in page
    assert '<option value="30" selected>' in page
    assert after.pop(PROVED) - before.pop(PROVED) >= 360
    assert {name: after[name] for name in before} == before
    assert gina.session.session_key != key
    assert (made.status_code, tokens(contoso)) == (200, 1)


@pytest.mark.parametrize("name", ["directory:tokens", "portal:tokens"])
def test_nothing_is_made_from_an_old_sign_in_and_revoking_still_works(name: str) -> None:
    gina = make_user(make_tenant(), roles=("global_admin",))
    browser, address = client_of(gina), reverse(name)
    browser.post(address, FORM)
    let_pass(browser, timedelta(minutes=6))
    with tenant_atomic(gina.tenant_id):
        token = ApiToken.objects.get()

    refused = browser.post(address, FORM | {"name": "Another"})
    revoked = browser.post(address, {"action": "revoke", "key": str(token.key)})

    assert (refused.status_code, revoked.status_code) == (403, 303)
    with tenant_atomic(gina.tenant_id):
        assert ApiToken.objects.get().is_revoked


def test_somebody_else_at_the_provider_changes_nothing(contoso: Tenant, gina: Client) -> None:
    before, key = dict(gina.session), gina.session.session_key

    answer = choose(gina, to_provider(gina, gina.get(TOKENS)), "pat@contoso.example")

    after = dict(gina.session)
    assert answer.status_code == 403
    assert "Somebody else signed in. You are still signed in as before." in answer.content.decode()
    assert {name: after[name] for name in before} == before
    assert gina.session.session_key == key
    assert len(people(contoso)) == 1
    assert gina.post(TOKENS, FORM).status_code == 403


def test_an_old_sign_in_at_the_provider_is_not_taken_for_a_new_one(contoso: Tenant, gina: Client) -> None:
    """As when a browser drops `prompt` and `max_age` on the way: the provider then speaks of its own old session."""
    with time_machine.travel(clock.real_now() + timedelta(minutes=7), tick=True):
        location = to_provider(gina, gina.get(TOKENS))
        bare = "&".join(part for part in location.split("&") if not part.startswith(("prompt=", "max_age=")))
        answer = choose(gina, bare, "gina@contoso.example")
        refused = gina.post(TOKENS, FORM)

    assert answer.status_code == 403
    assert "did not ask you again who you are" in answer.content.decode()
    assert link_of(answer) == "?next=%2Fmy%2Ftokens%2F"
    assert (refused.status_code, tokens(contoso)) == (403, 0)


def test_a_provider_that_does_not_say_when_confirms_nothing(contoso: Tenant, gina: Client) -> None:
    (user,) = people(contoso)
    request = HttpRequest()
    request.user, request.session = user, gina.session
    before = request.session[PROVED]
    identity = Identity(user.issuer, user.subject, user.name, user.email, is_guest=False, proved=None)

    with pytest.raises(NotConfirmed) as refused:
        confirm_session(request, identity)

    assert "does not tell us when you signed in" in str(refused.value)
    assert request.session[PROVED] == before


def test_an_instant_to_come_confirms_nothing_and_lengthens_nothing(contoso: Tenant, gina: Client) -> None:
    (user,) = people(contoso)
    request = HttpRequest()
    request.user, request.session = user, gina.session
    ahead = clock.real_now().timestamp()
    soon, later = (
        Identity(user.issuer, user.subject, user.name, user.email, is_guest=False, proved=ahead + seconds)
        for seconds in (30, 3600)
    )

    with pytest.raises(NotConfirmed):
        confirm_session(request, later)
    confirm_session(request, soon)

    assert request.session[PROVED] < ahead + 30


def test_changing_the_organization_proves_nothing_anew(contoso: Tenant, client: Client) -> None:
    organization("fabrikam")
    guest = create_guest(
        actor=Actor.system(contoso.pk),
        name="Frank Miller",
        email="frank@fabrikam.example",
        issuer=organization_issuer("fabrikam"),
        subject=subject_of("frank@fabrikam.example"),
        at=AT,
    )
    sign_in(client, "frank@fabrikam.example")
    let_pass(client, timedelta(minutes=6))
    old = client.session[PROVED]

    client.post("/my/accounts/", {"user_id": guest.pk})
    changed = (client.session[USER], client.session[PROVED])
    way = client.get("/sign-in/again/?next=/my/accounts/").headers["Location"]
    returned = choose(client, way, "frank@fabrikam.example")

    assert changed == (guest.pk, old)
    assert returned.headers["Location"] == "/my/accounts/"
    assert client.session[USER] == guest.pk
    assert client.session[PROVED] > old


def organization_issuer(key: str) -> str:
    from config.demo.environment import issuers

    return issuers()[key]


def test_a_session_that_knows_no_provider_begins_anew() -> None:
    browser = client_of(make_user(make_tenant()))

    answer = browser.get("/sign-in/again/?next=/my/tokens/")

    assert (answer.status_code, answer.headers["Location"]) == (302, "/sign-in/?next=%2Fmy%2Ftokens%2F")
    assert USER not in browser.session


def test_roles_are_not_given_from_an_old_sign_in() -> None:
    contoso = make_tenant()
    gina, mike = make_user(contoso, roles=("global_admin",)), make_user(contoso)
    browser, address = client_of(gina), reverse("portal:person-roles", args=[mike.key])
    form = {"role": ["billing_admin"], "reason": "New job"}
    let_pass(browser, timedelta(minutes=6))

    shown, refused = browser.get(address), browser.post(address, form)
    with tenant_atomic(contoso.pk):
        given = RoleAssignment.objects.filter(user=mike).count()
    let_pass(browser, timedelta(minutes=-6))
    done = browser.post(address, form)

    assert (shown.status_code, refused.status_code, given, done.status_code) == (200, 403, 0, 303)
    assert link_of(refused) == f"?{urlencode({'next': address})}"


def test_any_view_can_ask_for_a_fresh_sign_in(gina: Client) -> None:
    view = fresh_to_post(lambda request: HttpResponse("done"))
    shown, posted = RequestFactory().get("/x/?a=1"), RequestFactory().post("/x/?a=1")
    shown.session = posted.session = gina.session
    posted.user = User()
    posted.actor = posted.tenant = None

    assert view(shown).content == b"done"
    with pytest.raises(SignInTooOld) as refused:
        view(posted)
    page = AccessMiddleware(lambda request: HttpResponse()).process_exception(posted, refused.value)
    assert page is not None
    assert page.status_code == 403
    assert link_of(page) == "?next=%2Fx%2F%3Fa%3D1"
    let_pass(gina, timedelta(minutes=-6))
    posted.session = gina.session
    assert view(posted).content == b"done"
