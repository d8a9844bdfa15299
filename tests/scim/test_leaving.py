"""Who leaves by SCIM leaves as from the portal (F-22, product §11); the last global admin stays (I-25)."""

from datetime import timedelta
from typing import Any

import pytest

from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import ApiToken, AuditEntry, OutgoingMail, RoleAssignment, User
from licensing.models import Assignment
from licensing.operations.assignments import assign_licenses
from licensing.operations.leaving import free_licenses_of_leavers
from tests.factories import actor_of, client_of, make_subscription, make_user, token_of
from tests.scim.directory import Directory

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])

DISABLE = {"op": "Replace", "path": "active", "value": "False"}
ENABLE = {"op": "Replace", "path": "active", "value": "True"}


@pytest.fixture
def pat(contoso: Directory) -> User:
    """A purchaser with a license of the own purchase, in a group, with a token and a session."""
    pat = make_user(contoso.tenant, name="Pat", email="pat@contoso.example", purchaser_since=now())
    subscription = make_subscription(contoso.tenant, owner=pat, quantity=3)
    assign_licenses(actor=actor_of(pat), subscription_key=subscription.key, user_ids=[pat.pk], at=now())
    contoso.made_group("Sales", str(pat.key))
    return pat


def live_seats(directory: Directory, user: User) -> int:
    with tenant_atomic(directory.tenant.pk):
        return Assignment.objects.filter(user=user, ended_at__isnull=True).count()


def codes(directory: Directory) -> list[str]:
    with tenant_atomic(directory.tenant.pk):
        rows = AuditEntry.objects.filter(door="scim", target_type="user").order_by("id")
        return list(rows.values_list("code", flat=True))


def mails(directory: Directory) -> list[str]:
    with tenant_atomic(directory.tenant.pk):
        return list(OutgoingMail.objects.order_by("id").values_list("kind", flat=True))


def test_disabled_by_the_directory_access_ends_at_once_and_everything_else_waits(
    contoso: Directory, pat: User
) -> None:
    browser, secret = client_of(pat), token_of(pat)
    assert browser.get("/my/data/").status_code == 200

    answer = contoso.patch(f"/Users/{pat.key}", DISABLE)

    assert answer.status_code == 204
    row = contoso.row(str(pat.key))
    assert (row.status, row.disabled_at is not None) == ("disabled", True)
    assert browser.get("/my/data/").status_code == 302
    program = contoso.client.get("/api/v1.0/policies", headers={"authorization": f"Bearer {secret}"})
    assert program.status_code == 401
    assert live_seats(contoso, pat) == 1
    assert contoso.members(contoso.find("/Groups", 'displayName eq "Sales"')[0]) == {str(pat.key)}
    assert "purchaser_left" in mails(contoso)
    assert codes(contoso) == ["directory.user.disabled"]


def test_enabled_in_time_everything_is_as_before(contoso: Directory, pat: User) -> None:
    contoso.patch(f"/Users/{pat.key}", DISABLE)

    answer = contoso.patch(f"/Users/{pat.key}", ENABLE)

    assert answer.status_code == 204
    row = contoso.row(str(pat.key))
    assert (row.status, row.disabled_at) == ("active", None)
    assert live_seats(contoso, pat) == 1
    assert client_of(row).get("/my/data/").status_code == 200
    assert codes(contoso) == ["directory.user.disabled", "directory.user.enabled"]


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])
def test_the_licenses_of_who_stays_disabled_are_free_after_the_days_of_the_organization(
    contoso: Directory, pat: User
) -> None:
    contoso.patch(f"/Users/{pat.key}", DISABLE)

    free_licenses_of_leavers(at=now() + timedelta(days=13))
    waiting = live_seats(contoso, pat)
    free_licenses_of_leavers(at=now() + timedelta(days=15))

    assert (waiting, live_seats(contoso, pat)) == (1, 0)


def test_deleted_by_the_directory_the_licenses_are_free_and_the_name_is_forgotten(
    contoso: Directory, pat: User
) -> None:
    contoso.patch(f"/Users/{pat.key}", {"op": "add", "path": "externalId", "value": "oid-pat"})
    token_of(pat)

    answer = contoso.delete(f"/Users/{pat.key}")

    assert (answer.status_code, answer.content) == (204, b"")
    row = contoso.row(str(pat.key))
    assert (row.status, row.name, row.email, row.external_id, row.user_name, row.given_name) == (
        *("deleted", "Former user", "", "", "", ""),
    )
    assert live_seats(contoso, pat) == 0
    assert contoso.members(contoso.find("/Groups", 'displayName eq "Sales"')[0]) == set()
    assert "purchaser_left" in mails(contoso)
    with tenant_atomic(contoso.tenant.pk):
        assert ApiToken.objects.get(user=pat).revoked_by.startswith("Job (…")
    assert contoso.delete(f"/Users/{pat.key}").status_code == 404


def test_made_disabled_somebody_is_disabled(contoso: Directory) -> None:
    made = contoso.made(active=False)

    row = contoso.row(made["id"])
    assert (made["active"], row.status, row.disabled_at is not None) == (False, "disabled", True)


@pytest.mark.parametrize("end", ["disable", "put", "delete"])
def test_the_last_global_admin_is_neither_disabled_nor_deleted(contoso: Directory, end: str) -> None:
    gina = f"/Users/{contoso.gina.key}"
    before = contoso.everything()

    if end == "delete":
        answer = contoso.delete(gina)
    elif end == "put":
        body = contoso.get(gina).json() | {"active": False, "displayName": "Former admin"}
        answer = contoso.put(gina, body)
    else:
        answer = contoso.patch(gina, {"op": "Replace", "path": "displayName", "value": "X"}, DISABLE)

    assert answer.status_code == 409
    assert "global admin" in answer.json()["detail"]
    assert contoso.everything() == before
    assert codes(contoso) == []


def test_an_admin_who_is_not_the_last_one_leaves_by_the_directory(contoso: Directory) -> None:
    greg = make_user(contoso.tenant, name="Greg", roles=("global_admin",))

    disabled = contoso.patch(f"/Users/{greg.key}", DISABLE)
    deleted = contoso.delete(f"/Users/{greg.key}")

    assert (disabled.status_code, deleted.status_code) == (204, 204)
    with tenant_atomic(contoso.tenant.pk):
        assert not RoleAssignment.objects.filter(user=greg).exists()


def test_a_change_by_somebody_else_in_between_is_read_again(contoso: Directory, monkeypatch: Any) -> None:
    """A directory that asks for no version meets a colleague in the portal."""
    from directory.operations import provisioning
    from directory.scim import users

    made = contoso.made()
    real, calls = users.keep_account, []

    def late(**arguments: Any) -> User:
        calls.append(1)
        if len(calls) == 1:
            with tenant_atomic(contoso.tenant.pk):
                User.objects.filter(key=made["id"]).update(given_name="Ada")
        return real(**arguments)

    monkeypatch.setattr(users, "keep_account", late)

    answer = contoso.patch(
        f"/Users/{made['id']}", {"op": "replace", "path": "preferredLanguage", "value": "en-GB"}
    )

    assert answer.status_code == 204
    row = contoso.row(made["id"])
    assert (len(calls), row.given_name, row.language) == (2, "Ada", "en")
    assert provisioning.profile_of(row).given_name == "Ada"
