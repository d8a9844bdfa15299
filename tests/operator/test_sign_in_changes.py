"""The vendor's part of a change of an organization's identity provider, on its page (docs/adr/0035; docs/operator.md)."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from config.kit.errors import NotVisible
from config.kit.tenancy import connection, tenant_atomic
from directory.models import AuditEntry, IdentityProvider, OutgoingMail, Tenant, User
from directory.operations.staff_providers import confirm_for_organization
from tests.factories import AT, client_of, make_staff, make_tenant, make_user, staff_actor_of

pytestmark = pytest.mark.django_db

PAGE = "/operator/sign-in-changes/"
HOW = "called back on the number of the contract"


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina Garcia", roles=("global_admin",))


@pytest.fixture
def change(contoso: Tenant, gina: User) -> IdentityProvider:
    """Gina, the only global admin, wants everybody to sign in somewhere else."""
    with tenant_atomic(contoso.pk):
        planned: IdentityProvider = IdentityProvider.objects.create(
            tenant=contoso,
            key="another",
            issuer="https://another.example",
            client_id="seatkeeper",
            is_active=False,
            created_at=AT,
            planned_at=AT,
            planned_by_id=gina.pk,
            planned_by=gina.name,
            switch_at=AT + timedelta(days=1),
        )
    return planned


@pytest.fixture
def superuser(vendor: Tenant) -> Client:
    return client_of(make_staff(vendor, "staff_superuser", name="Sonja Smit"), with_factor=True)


def press(browser: Client, deed: str, change: IdentityProvider, words: str = HOW) -> Any:
    return browser.post(PAGE, {"deed": deed, "row": str(change.pk), "words": words})


def now_of(change: IdentityProvider) -> IdentityProvider:
    with tenant_atomic(change.tenant_id):
        change.refresh_from_db()
    return change


def trail(tenant_id: int, what: str) -> list[str]:
    with tenant_atomic(tenant_id):
        rows = AuditEntry.objects.filter(tenant_id=tenant_id, code=f"directory.identity_provider.{what}")
        return list(rows.values_list("actor_label", flat=True))


def test_a_planned_change_is_on_the_list_and_on_the_first_page(superuser, change):
    page = superuser.get(PAGE).text

    assert "Contoso" in page
    assert "https://another.example" in page
    assert "Gina Garcia" in page
    assert "Waits for a second" in page
    assert "Changes of sign-in wait for a second" in superuser.get("/operator/").text


def test_confirmed_where_there_is_no_second_admin_it_is_in_both_trails_and_told(
    vendor, superuser, change, gina
):
    answer = press(superuser, "confirm", change)

    assert answer.status_code == 303
    assert now_of(change).confirmed_by == f"Support: Sonja Smit, {HOW}"
    assert trail(change.tenant_id, "confirmed") == [f"Support: Sonja Smit, {HOW}"]
    assert trail(vendor.pk, "confirmed") == ["Sonja Smit"]
    with tenant_atomic(change.tenant_id):
        assert OutgoingMail.objects.filter(to_user_id=gina.pk, kind="sign_in_changed").count() == 1
    assert "Confirmed" in superuser.get(PAGE).text


def test_with_a_second_admin_it_is_not_the_staffs_to_confirm(superuser, contoso, change):
    make_user(contoso, name="Greg", roles=("global_admin",))

    answer = press(superuser, "confirm", change)

    assert answer.status_code == 409
    assert "Another global admin" in answer.text
    assert now_of(change).confirmed_by == ""


def test_stopped_it_stays_prepared_and_cannot_be_stopped_again(vendor, superuser, change):
    assert press(superuser, "stop", change).status_code == 303

    assert now_of(change).switch_at is None
    assert trail(vendor.pk, "stopped") == ["Sonja Smit"]
    again = press(superuser, "stop", change)
    assert (again.status_code, "It does not wait any more" in again.text) == (409, True)
    assert trail(change.tenant_id, "stopped") == [f"Support: Sonja Smit, {HOW}"]


@pytest.mark.parametrize("words", ["", "  ", "x" * 121])
def test_without_saying_how_they_made_sure_nothing_is_done(superuser, change, words):
    answer = press(superuser, "confirm", change, words)

    assert answer.status_code == 422
    assert "how you made sure" in answer.text
    assert now_of(change).confirmed_by == ""


@pytest.mark.parametrize("role", ["staff_support", "staff_catalogue"])
def test_it_is_nobodys_but_a_superusers(vendor, change, role):
    member = make_staff(vendor, role)

    assert client_of(member, with_factor=True).get(PAGE).status_code == 404
    with pytest.raises(NotVisible):
        confirm_for_organization(staff=staff_actor_of(member), change_id=change.pk, proof=HOW, at=AT)


def test_no_other_tenant_reads_the_list(contoso, change):
    with tenant_atomic(contoso.pk), connection().cursor() as cursor:
        cursor.execute("SELECT * FROM staff_provider_changes('', NULL, true, 50)")
        assert cursor.fetchall() == []
