"""Billing of the installation, paused and resumed at the vendor's site (product §2; docs/adr/0038)."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import ProgrammingError, connection, transaction
from django.test import Client

from commerce.models import BillingControl
from commerce.operations import billing_control
from commerce.operations.billing_control import NotReconciled, sweeps_may_run
from commerce.operations.billing_pauses import BillingMoved, IsCopy, pause_billing, resume_billing
from config.kit.actors import Actor
from config.kit.errors import Malformed, NotVisible
from config.kit.operator import looks_for
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry, Tenant, User
from tests.factories import AT, client_of, make_staff, make_tenant, make_user, staff_actor_of

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

PAGE = "/operator/billing/"
LATER = AT + timedelta(hours=1)


@pytest.fixture
def vendor() -> Tenant:
    return make_tenant(name="The vendor", kind="vendor")


@pytest.fixture
def root(vendor: Tenant) -> User:
    return make_staff(vendor, "staff_superuser", name="Roos Maas")


@pytest.fixture
def actor(root: User) -> Actor:
    return staff_actor_of(root)


@pytest.fixture(autouse=True)
def _billing_runs() -> None:
    billing_control.look(at=AT)


def control() -> BillingControl:
    return BillingControl.objects.get(pk=1)


def write(sql: str, *values: Any) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.rowcount


def test_a_pause_stops_the_sweeps_until_it_is_over(actor: Actor, vendor: Tenant) -> None:
    pause_billing(staff=actor, reason="Moving the  database", at=AT)
    assert not sweeps_may_run(at=LATER)

    resume_billing(staff=actor, seen=AT, unreconciled=True, at=LATER)

    assert sweeps_may_run(at=LATER)
    with tenant_atomic(vendor.pk):
        said = AuditEntry.objects.filter(code__startswith="commerce.billing.").order_by("pk")
        assert [(row.code, row.actor_label) for row in said] == [
            ("commerce.billing.paused", "Roos Maas"),
            ("commerce.billing.resumed", "Roos Maas"),
        ]
        assert said[0].after == {"reason": "Moving the database"}


def test_it_goes_on_once_somebody_looked_for_charges_or_says_that_none_is_missing(actor: Actor) -> None:
    pause_billing(staff=actor, reason="Moving", at=AT)

    with pytest.raises(NotReconciled):
        resume_billing(staff=actor, seen=AT, unreconciled=False, at=LATER)
    billing_control.note_reconciled(at=LATER)
    resume_billing(staff=actor, seen=AT, unreconciled=False, at=LATER)

    assert control().paused_at is None


def test_of_two_who_pause_the_second_is_told_and_changes_nothing(actor: Actor) -> None:
    pause_billing(staff=actor, reason="First", at=AT)

    with pytest.raises(BillingMoved):
        pause_billing(staff=actor, reason="Second", at=LATER)

    assert (control().paused_at, control().paused_reason) == (AT, "First")


def test_whoever_saw_an_earlier_pause_does_not_end_the_one_that_holds(actor: Actor) -> None:
    pause_billing(staff=actor, reason="First", at=AT)
    resume_billing(staff=actor, seen=AT, unreconciled=True, at=LATER)
    pause_billing(staff=actor, reason="Second", at=LATER)

    with pytest.raises(BillingMoved):
        resume_billing(staff=actor, seen=AT, unreconciled=True, at=LATER)

    assert control().paused_reason == "Second"


def test_a_copy_is_not_resumed_here(actor: Actor) -> None:
    with use_login("worker"):
        BillingControl.objects.update(fingerprint="another database")
    billing_control.look(at=LATER)

    with pytest.raises(IsCopy):
        resume_billing(staff=actor, seen=LATER, unreconciled=True, at=LATER)

    assert control().paused_at == LATER


@pytest.mark.parametrize("reason", ["", "  ", "x" * 201, "a\x00b"])
def test_a_pause_needs_a_reason(actor: Actor, reason: str) -> None:
    with pytest.raises(Malformed):
        pause_billing(staff=actor, reason=reason, at=AT)

    assert control().paused_at is None


@pytest.mark.parametrize("role", ["staff_catalogue", "staff_support"])
def test_other_staff_neither_pause_nor_resume(vendor: Tenant, role: str) -> None:
    sven = make_staff(vendor, role)

    with pytest.raises(NotVisible):
        pause_billing(staff=staff_actor_of(sven), reason="x", at=AT)
    with pytest.raises(NotVisible):
        resume_billing(staff=staff_actor_of(sven), seen=AT, unreconciled=True, at=AT)
    assert client_of(sven, with_factor=True).post(PAGE, {"action": "pause", "reason": "x"}).status_code == 404

    assert control().paused_at is None


def test_everybody_of_the_staff_is_told_on_the_first_page(actor: Actor, vendor: Tenant) -> None:
    pause_billing(staff=actor, reason="Moving", at=AT)
    sven = staff_actor_of(make_staff(vendor, "staff_support"))

    with tenant_atomic(vendor.pk):
        told = [(str(look.title), look.address) for look in looks_for(sven, AT)]

    assert ("Billing is paused", "") in told


def test_the_page_pauses_and_resumes(root: User) -> None:
    client: Client = client_of(root, with_factor=True)

    assert client.post(PAGE, {"action": "pause", "reason": ""}).status_code == 422
    assert client.post(PAGE, {"action": "pause", "reason": "Moving"}).status_code == 303
    shown = client.get(PAGE).text
    assert "Moving" in shown
    seen = control().paused_at.isoformat()  # type: ignore[union-attr]
    assert client.post(PAGE, {"action": "resume", "seen": seen}).status_code == 409
    assert client.post(PAGE, {"action": "resume", "seen": "nonsense", "unreconciled": "1"}).status_code == 409
    assert client.post(PAGE, {"action": "resume", "seen": seen, "unreconciled": "1"}).status_code == 303

    assert control().paused_at is None


# --- The right to write it --------------------------------------------------------------------------------


def test_the_apps_login_writes_the_row_only_while_the_vendor_is_set(vendor: Tenant) -> None:
    sql = "UPDATE commerce_billingcontrol SET paused_at = now(), paused_reason = 'x'"
    customer = make_tenant()

    assert write(sql) == 0
    with tenant_atomic(customer.pk):
        assert write(sql) == 0
    assert control().paused_at is None
    with tenant_atomic(vendor.pk):
        assert write(sql) == 1


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE commerce_billingcontrol SET fingerprint = 'x'",
        "UPDATE commerce_billingcontrol SET checked_at = now()",
        "DELETE FROM commerce_billingcontrol",
        "INSERT INTO commerce_billingcontrol (id, fingerprint, paused_reason) VALUES (2, '', '')",
    ],
)
def test_what_names_the_database_is_not_the_apps_to_write(vendor: Tenant, sql: str) -> None:
    with tenant_atomic(vendor.pk), pytest.raises(ProgrammingError, match="permission denied"):
        write(sql)


def test_a_customers_people_are_told_that_payments_are_paused(actor: Actor) -> None:
    pause_billing(staff=actor, reason="Moving", at=AT)
    with tenant_atomic(make_user(make_tenant()).tenant_id):
        assert billing_control.is_paused()
