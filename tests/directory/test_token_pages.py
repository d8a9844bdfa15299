"""The pages on which tokens are made, shown once, and revoked (product §16)."""

import re

import pytest
from django.urls import reverse

from config.kit.tenancy import tenant_atomic
from directory.models import ApiToken, Tenant, User
from directory.operations.tokens import NotAuthenticated, use_token
from tests.factories import AT, client_of, make_tenant, make_user, service_token_of

pytestmark = pytest.mark.django_db

SECRET = re.compile(r"seatkeeper_(?:pat|svc)_[0-9A-Za-z]{49}")


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina", roles=("global_admin",))


@pytest.mark.parametrize(
    ("address_name", "kind"), [("directory:tokens", "personal"), ("portal:tokens", "service")]
)
def test_a_new_token_is_shown_once_and_works_until_it_is_revoked(
    gina: User, address_name: str, kind: str
) -> None:
    browser, address = client_of(gina), reverse(address_name)
    empty = browser.get(address).content.decode()

    made = browser.post(address, {"name": "Nightly script", "scope": ["policies.read"], "days": "30"})
    again = browser.get(address).content.decode()
    (secret,) = set(SECRET.findall(made.content.decode()))
    before = use_token(secret=secret, at=AT)
    with tenant_atomic(gina.tenant_id):
        row = ApiToken.objects.get()
    revoked = browser.post(address, {"action": "revoke", "key": str(row.key)})

    assert "No tokens yet" in empty
    assert (made.status_code, made["Cache-Control"]) == (200, "private, no-store")
    assert not SECRET.search(again)
    assert "Nightly script" in again
    assert f"ends in {secret[-4:]}" in again
    assert (row.kind, before.scopes) == (kind, {"policies.read"})
    assert (row.expires_at - row.created_at).days == 30
    assert revoked.status_code == 303
    with pytest.raises(NotAuthenticated):
        use_token(secret=secret, at=AT)
    assert "Revoked" in browser.get(address).content.decode()


def once_in(page: str) -> str:
    """The key of the form that makes something."""
    (key,) = re.findall(r'name="once" value="([^"]+)"', page)
    return str(key)


@pytest.mark.parametrize("address_name", ["directory:tokens", "portal:tokens"])
def test_a_form_makes_one_token_however_often_it_is_sent_and_one_that_was_refused_may_be_sent_again(
    gina: User, address_name: str
) -> None:
    browser, address = client_of(gina), reverse(address_name)
    form = {"name": "x", "scope": ["policies.read"], "days": "30", "once": once_in(browser.get(address).text)}

    refused = browser.post(address, form | {"name": ""})
    made, reloaded = browser.post(address, form), browser.post(address, form)
    other = browser.post(address, form | {"once": once_in(reloaded.text)})

    answers = [refused.status_code, made.status_code, reloaded.status_code, other.status_code]
    assert answers == [422, 200, 409, 200]
    assert "This form was sent before, and its secret was shown then." in reloaded.text
    assert not SECRET.search(reloaded.text)
    with tenant_atomic(gina.tenant_id):
        assert ApiToken.objects.count() == 2


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"name": "x", "days": "30"},
        {"name": "", "scope": "full", "days": "30"},
        {"name": "x", "scope": "nothing", "days": "30"},
        {"name": "x", "scope": "full", "days": "367"},
        {"name": "x", "scope": "full", "days": "-1"},
        {"name": "x", "scope": "full", "days": "٣"},
        {"name": "x", "scope": "full", "days": "9" * 5_000},
        {"name": "x" * 101, "scope": "full", "days": "30"},
        {"name": "a\0b", "scope": "full", "days": "30"},
    ],
)
@pytest.mark.parametrize("address_name", ["directory:tokens", "portal:tokens"])
def test_what_is_wrong_is_said_and_nothing_is_made(
    gina: User, address_name: str, form: dict[str, str]
) -> None:
    answer = client_of(gina).post(reverse(address_name), form)

    assert answer.status_code == 422
    assert "No token was made." in answer.content.decode()
    with tenant_atomic(gina.tenant_id):
        assert not ApiToken.objects.exists()


def test_a_reader_sees_the_organizations_tokens_and_has_no_form(contoso: Tenant, gina: User) -> None:
    service_token_of(gina, "policies.read")
    rhea = client_of(make_user(contoso, roles=("global_reader",)))

    page = rhea.get(reverse("portal:tokens")).content.decode()
    refused = rhea.post(reverse("portal:tokens"), {"name": "x", "scope": "policies.read", "days": "7"})

    assert "made by Gina" in page
    assert "Make the token" not in page
    assert "Revoke<" not in page
    assert refused.status_code == 403


def test_a_billing_admin_is_offered_billing_scopes_alone(contoso: Tenant, gina: User) -> None:
    service_token_of(gina, "licenses.write")
    page = (
        client_of(make_user(contoso, roles=("billing_admin",))).get(reverse("portal:tokens")).content.decode()
    )

    assert re.findall(r'name="scope" value="([\w.]+)"', page) == [
        *("policies.read", "policies.write", "purchases.read", "purchases.write", "bills.read")
    ]
    assert 'value="revoke"' not in page


def test_a_token_whose_maker_left_is_marked(contoso: Tenant, gina: User) -> None:
    former = make_user(contoso, name="Greg", roles=("global_admin",))
    service_token_of(former, "policies.read")
    with tenant_atomic(contoso.pk):
        User.objects.filter(pk=former.pk).update(status="disabled")

    assert "(left the organization)" in client_of(gina).get(reverse("portal:tokens")).content.decode()


def test_a_colleagues_token_is_not_listed_and_not_revoked(contoso: Tenant, gina: User) -> None:
    greg = make_user(contoso, name="Greg", roles=("global_admin",))
    client_of(greg).post(reverse("directory:tokens"), {"name": "Greg's", "scope": "full", "days": "7"})
    with tenant_atomic(contoso.pk):
        row = ApiToken.objects.get()
    browser = client_of(gina)

    answer = browser.post(reverse("directory:tokens"), {"action": "revoke", "key": str(row.key)})
    nonsense = browser.post(reverse("directory:tokens"), {"action": "revoke", "key": "x"})

    assert "Greg" not in browser.get(reverse("directory:tokens")).content.decode()
    assert (answer.status_code, nonsense.status_code) == (404, 404)
    with tenant_atomic(contoso.pk):
        assert not ApiToken.objects.get().is_revoked
