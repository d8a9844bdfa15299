"""Where names and addresses of people stand, and for how long (product §11; docs/adr/0052)."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.db import ProgrammingError, models
from django.db.models import Model

from config.kit.clock import real_now
from config.kit.tenancy import connection, tenant_atomic, use_login
from directory.models import AuditEntry, RoleAssignment, Tenant, User, WebhookEndpoint
from directory.names import Fate, places
from directory.operations import names
from directory.operations.audit import record
from directory.operations.leaving import delete_user
from directory.operations.names import forget_names, forget_trail
from directory.operations.roles import set_roles
from licensing.models import Assignment
from licensing.operations.assignments import assign_license
from policies.models import PolicyChange
from tests.factories import actor_of, make_subscription, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

OURS = ("directory", "policies", "commerce", "licensing")
LIKE_NAMES = re.compile(
    r"(_by|_label|_address|email|name|folded)$|^(author|assigned_to|address|agent|street|city|said|rows)$"
)
# Of organizations, groups, products, things and files; and what is no text of a person's.
NO_NAMES = {
    *("directory_group.name", "directory_relationship.customer_name", "directory_relationship.partner_name"),
    *("directory_relationship.name", "directory_invitation.partner_name", "directory_invitation.name"),
    *("directory_tenant.name", "directory_domain.name", "directory_apitoken.name", "directory_webhookendpoint.name"),
    *("policies_policychange.target_label", "policies_policychange.group_name", "policies_policytemplate.name"),
    *("policies_policytemplate.said", "licensing_grouplicense.group_name", "licensing_workspace.name"),
    *("commerce_agreement.name", "commerce_casefile.name", "commerce_vendorentity.name", "commerce_market.name"),
    *("commerce_vendorentity.address", "commerce_product.name", "commerce_productsite.name"),
    *("commerce_savedview.name", "commerce_solution.partner_name"),
    *("commerce_bill.tax_name", "commerce_subscription.tax_name", "commerce_market.tax_name", "commerce_checkout.tax_name"),
}  # fmt: skip


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina", roles=("global_admin",))


@pytest.fixture
def greg(contoso: Tenant) -> User:
    return make_user(contoso, name="Greg Graaf", roles=("global_admin",))


@pytest.fixture
def mike(contoso: Tenant) -> User:
    return make_user(contoso, name="Mike")


def our_models() -> list[type[Model]]:
    return [model for model in apps.get_models() if model._meta.app_label in OURS]


def delete(actor: User, user: User, at: datetime) -> None:
    delete_user(actor=actor_of(actor), user_id=user.pk, at=at, real_at=real_now())


# --- The registry -----------------------------------------------------------------------------------------


def test_every_column_with_a_name_says_what_becomes_of_it() -> None:
    known = {f"{place.table}.{place.column}" for place in places()}
    texts = (models.CharField, models.TextField, models.GenericIPAddressField, models.JSONField)
    like_names = {
        f"{model._meta.db_table}.{field.column}"
        for model in our_models()
        for field in model._meta.concrete_fields
        if isinstance(field, texts) and not field.choices and LIKE_NAMES.search(str(field.column))
    }

    assert like_names - known - NO_NAMES == set()
    assert like_names >= NO_NAMES
    assert len(known) == len(places())


def test_every_place_is_a_column_and_its_person_another() -> None:
    columns = {
        model._meta.db_table: {field.column for field in model._meta.concrete_fields}
        for model in our_models()
    }
    for place in places():
        assert place.column in columns[place.table], place
        assert (place.fate == Fate.FORMER) == bool(place.person), place
        assert not place.person or place.person in columns[place.table], place
        assert place.fate != Fate.HISTORY or "at" in columns[place.table], place


def test_every_statement_about_a_place_is_one_that_the_logins_may_run(contoso: Tenant) -> None:
    with tenant_atomic(contoso.pk):
        assert [names._rename(place, [0]) for place in places(Fate.FORMER)] == [0] * len(places(Fate.FORMER))
    assert forget_names(at=real_now()) == 0
    assert forget_trail(at=real_now()) == 0


# --- A deletion -------------------------------------------------------------------------------------------


def test_who_was_deleted_is_a_former_user_wherever_it_says_who_did_something(
    contoso: Tenant, gina: User, greg: User, mike: User, at: datetime
) -> None:
    central = make_subscription(contoso)
    set_roles(actor=actor_of(greg), user_id=mike.pk, roles={"license_admin"}, reason="Needed.", at=at)
    assign_license(actor=actor_of(greg), subscription_key=central.key, user_id=mike.pk, at=at)

    delete(gina, greg, at)

    with tenant_atomic(contoso.pk):
        assert RoleAssignment.objects.get(user=mike).granted_by == "Former user"
        assert Assignment.objects.get().assigned_by == "Former user"
        entries = AuditEntry.objects.filter(actor_user_id=greg.pk)
        assert set(entries.values_list("actor_label", flat=True)) == {"Greg Graaf"}
        gone = AuditEntry.objects.get(code="directory.user.deleted")
    assert greg.email not in str((gone.before, gone.after))


def test_at_customers_the_sweep_forgets_a_partners_person(gina: User, at: datetime) -> None:
    customer = make_tenant()
    endpoint = {
        "types": [],
        "secret_encrypted": "x",
        "created_at": at,
        "url": "https://x.example",
        "name": "x",
    }
    with tenant_atomic(customer.pk):
        row = WebhookEndpoint.objects.create(
            tenant=customer, created_by_id=gina.pk, created_by=gina.name, **endpoint
        )
    other = make_user(gina.tenant, roles=("global_admin",))
    delete(other, gina, at)

    assert [forget_names(at=at) for _ in range(2)] == [1, 0]

    with tenant_atomic(customer.pk):
        row.refresh_from_db()
    assert row.created_by == "Former user"


def test_what_is_written_within_a_day_is_found_and_then_nobody_is_looked_for(
    contoso: Tenant, gina: User, greg: User, mike: User, at: datetime
) -> None:
    delete(gina, greg, at)
    forget_names(at=at)

    def grant() -> None:
        with tenant_atomic(contoso.pk):
            RoleAssignment.objects.filter(user=mike).delete()
            RoleAssignment.objects.create(
                tenant=contoso,
                user=mike,
                role="user_admin",
                granted_at=at,
                granted_by_id=greg.pk,
                granted_by="Greg",
            )

    grant()
    late = forget_names(at=at + timedelta(days=1))
    grant()
    later = forget_names(at=at + timedelta(days=2))

    assert (late, later) == (1, 0)


def test_a_place_that_fails_stops_no_other_and_is_tried_again(
    contoso: Tenant, gina: User, greg: User, mike: User, at: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_roles(actor=actor_of(greg), user_id=mike.pk, roles={"license_admin"}, reason="Needed.", at=at)
    bad = names.Place("directory_job", "nothing", Fate.FORMER, person="actor_user_id")
    every = places(Fate.FORMER)
    monkeypatch.setattr(names, "places", lambda fate: (bad, *every))

    delete(gina, greg, at)
    forget_names(at=at + timedelta(days=5))

    with tenant_atomic(contoso.pk):
        assert RoleAssignment.objects.get(user=mike).granted_by == "Former user"
        assert User.objects.get(pk=greg.pk).name_forgotten_at is None
    monkeypatch.undo()
    forget_names(at=at + timedelta(days=5))
    with tenant_atomic(contoso.pk):
        assert User.objects.get(pk=greg.pk).name_forgotten_at is not None


# --- The trail --------------------------------------------------------------------------------------------


def write(actor: Any, at: datetime) -> None:
    record(actor, "directory.test.happened", at=at, target_type="test", target_id=1)


def kept(tenant: Tenant) -> list[datetime]:
    with tenant_atomic(tenant.pk):
        return list(AuditEntry.objects.order_by("at").values_list("at", flat=True))


def test_entries_go_when_they_are_older_than_they_are_kept(
    contoso: Tenant, gina: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "ROWS_AT_ONCE", 2)
    now = real_now()
    edge = now - settings.AUDIT_KEPT
    actor = actor_of(gina)
    with tenant_atomic(actor):
        for days in (0, 1, 2, 3, 4):
            write(actor, edge - timedelta(days=days))

    assert [forget_trail(at=now) for _ in range(2)] == [4, 0]

    assert kept(contoso) == [edge]


def test_nobody_deletes_an_entry_of_the_last_half_year(contoso: Tenant, gina: User, settings: Any) -> None:
    settings.AUDIT_KEPT = timedelta(0)
    young = real_now() - timedelta(days=179)
    actor = actor_of(gina)
    with tenant_atomic(actor):
        write(actor, young)

    assert forget_trail(at=real_now()) == 0
    with (
        pytest.raises(ProgrammingError, match="append-only"),
        use_login("owner"),
        tenant_atomic(actor),
        connection().cursor() as cursor,
    ):
        cursor.execute("DELETE FROM directory_auditentry")

    assert kept(contoso) == [young]


@pytest.mark.parametrize(
    ("login", "statement"),
    [
        *((login, "DELETE FROM directory_auditentry") for login in ("default", "owner", "worker")),
        *((login, "SELECT forget_trail(now(), 10)") for login in ("default", "owner")),
    ],
)
def test_an_old_entry_goes_by_the_worker_and_one_function_alone(
    contoso: Tenant, gina: User, login: str, statement: str
) -> None:
    actor = actor_of(gina)
    with tenant_atomic(actor):
        write(actor, datetime(2020, 1, 1, tzinfo=real_now().tzinfo))

    with (
        pytest.raises(ProgrammingError),
        use_login(login),
        tenant_atomic(actor),
        connection().cursor() as cursor,
    ):
        cursor.execute(statement)

    assert len(kept(contoso)) == 1


def test_old_changes_of_the_policy_stay_without_who_made_them(
    contoso: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "ROWS_AT_ONCE", 2)
    now = real_now()
    edge = now - settings.AUDIT_KEPT
    with tenant_atomic(contoso.pk):
        for days in (0, 1, 2, 3):
            PolicyChange.objects.create(
                tenant=contoso, at=edge - timedelta(days=days), target="default", before={}, after={},
                actor_label="Gina", door="web",
            )  # fmt: skip

    assert [forget_trail(at=now) for _ in range(2)] == [3, 0]

    with tenant_atomic(contoso.pk):
        labels = PolicyChange.objects.order_by("-at").values_list("actor_label", flat=True)
        assert list(labels) == ["Gina", "-", "-", "-"]
