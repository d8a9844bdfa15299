"""A copy of the database bills nothing until somebody has looked (F-26)."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from commerce.dunning import END
from commerce.models import Bill, BillingControl, Checkout, PaymentAttempt, Subscription
from commerce.operations import billing_control
from commerce.operations.dunning import dun_due
from commerce.operations.payments import (
    charge_bill,
    pay_checkout,
    reconcile,
    refund_now,
    settle_refunds,
)
from commerce.operations.renewals import charge_due, expire_due, renew_due, run_sweeps
from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic, use_login
from tests.commerce.test_charge_bill import LATER, billed, bought
from tests.commerce.test_paying_pages import enter, pay, text
from tests.factories import AT, actor_of, make_checkout, make_credit_note, make_tenant, make_user
from tests.processor import card_token, charges, fault, refunds

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]


def control() -> BillingControl:
    with use_login("worker"):
        row: BillingControl = BillingControl.objects.get()
    return row


def become_a_copy() -> None:
    """The row as it was written by another server."""
    with use_login("worker"):
        BillingControl.objects.update(fingerprint="7000000000000000000/16384/00000001")


def test_a_first_start_writes_down_whose_database_it_is() -> None:
    assert BillingControl.objects.count() == 0

    billing = billing_control.look(at=AT)

    assert not billing.is_paused
    assert (control().fingerprint, control().checked_at) == (billing_control.fingerprint(), AT)


def test_each_login_reads_the_same_name() -> None:
    with use_login("worker"):
        by_worker = billing_control.fingerprint()

    cluster, database, timeline = by_worker.split("/")

    assert billing_control.fingerprint() == by_worker
    assert (int(cluster) > 0, int(database) > 0, timeline) == (True, True, "00000001")


def test_each_minute_of_good_running_is_noted() -> None:
    for seconds in (0, 30, 90):
        billing_control.look(at=AT + timedelta(seconds=seconds))

    assert control().checked_at == AT + timedelta(seconds=90)


def test_a_copy_is_paused_at_the_first_look_and_remembers_until_when_it_is_complete() -> None:
    billing_control.look(at=AT)
    become_a_copy()

    looks = [billing_control.look(at=AT + timedelta(hours=hours)) for hours in (6, 7)]

    assert [look.paused_at for look in looks] == [AT + timedelta(hours=6)] * 2
    assert looks[1].since == AT
    assert "copy" in looks[1].reason


def test_a_copy_charges_nobody_before_any_sweep_has_looked() -> None:
    billing_control.look(at=AT)
    become_a_copy()

    assert billing_control.is_paused()
    with pytest.raises(billing_control.BillingPaused):
        billing_control.require_running()


@pytest.fixture
def due() -> Bill:
    """A renewal that is due and billed, and one refund that is owed, in a database that is paused."""
    subscription = bought(make_user(make_tenant(), name="Pat"))
    with tenant_atomic(subscription.tenant_id):
        first = Bill.objects.get()
    bill = billed(subscription)
    make_credit_note(first, 3_000)
    billing_control.pause(reason="looking at something", at=AT)
    return bill


def test_while_paused_no_sweep_bills_charges_expires_or_refunds(due: Bill) -> None:
    with tenant_atomic(due.tenant_id):
        Subscription.objects.update(recurring_billing=False)

    swept = run_sweeps(at=LATER + timedelta(days=60))

    assert not any((swept.renewed, swept.expired, swept.charged, swept.refunded, swept.dunned, swept.trials))
    assert (charges(), refunds()) == (1, [])
    with tenant_atomic(due.tenant_id):
        assert Subscription.objects.get().state == "active"
        assert Bill.objects.get(pk=due.pk).status == "open"


def test_while_paused_nobody_loses_access_for_a_bill_that_may_have_been_paid(due: Bill) -> None:
    with tenant_atomic(due.tenant_id):
        Bill.objects.filter(pk=due.pk).update(
            failed_at=LATER, dunning_step=END, next_dunning_at=LATER, charge_due_at=None
        )

    assert not dun_due(at=LATER + timedelta(days=1))

    with tenant_atomic(due.tenant_id):
        assert Subscription.objects.get().state == "active"
    billing_control.resume(at=LATER, unreconciled=True)
    assert dun_due(at=LATER + timedelta(days=1)).disabled == 1


def test_while_paused_no_door_charges_or_refunds(due: Bill) -> None:
    with tenant_atomic(due.tenant_id):
        note = Bill.objects.get(type="refund")

    refund_now(note.pk, actor=Actor.system(due.tenant_id), at=LATER)
    with use_login("worker"):
        result = charge_bill(bill_id=due.pk, at=LATER)

    assert result == "pending"
    assert (charges(), refunds()) == (1, [])
    with tenant_atomic(due.tenant_id):
        assert not PaymentAttempt.objects.filter(bill=due).exists()


def test_after_resuming_the_sweeps_do_what_they_owe_once(due: Bill) -> None:
    billing_control.resume(at=AT, unreconciled=True)

    charge_due(at=LATER)
    settle_refunds(at=LATER)

    assert (charges(), len(refunds())) == (2, 1)
    assert control().paused_at is None


def test_a_buyer_is_told_that_nothing_was_charged_and_can_try_again() -> None:
    mike = make_user(make_tenant(), name="Mike")
    client, address = enter(mike)
    billing_control.pause(reason="looking at something", at=AT)

    refused = pay(client, address, mike)

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "60")
    assert "Payments by card are paused while we check our records. Nothing was charged." in text(refused)
    with tenant_atomic(mike.tenant_id):
        assert Checkout.objects.get().state == "open"
        assert not PaymentAttempt.objects.exists()
    billing_control.resume(at=AT, unreconciled=True)
    assert pay(client, address, mike).headers["Location"] == f"{address}confirmation/"
    assert charges() == 1


def test_what_was_under_way_when_it_was_paused_is_neither_charged_nor_ended() -> None:
    pat = make_user(make_tenant())
    checkout = make_checkout(pat)
    fault("lose_request", "/v1/payment_intents/*/confirm")
    pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=card_token(), at=AT)
    billing_control.pause(reason="looking at something", at=AT)

    reconcile(AT + timedelta(minutes=10))

    assert charges() == 0
    with tenant_atomic(pat.tenant_id):
        assert PaymentAttempt.objects.get().state == "unknown"
    billing_control.resume(at=AT, unreconciled=True)
    reconcile(AT + timedelta(minutes=10))
    assert charges() == 1


def test_renewing_while_paused_is_for_reconciling_alone() -> None:
    subscription = bought(make_user(make_tenant()))
    billing_control.pause(reason="looking at something", at=AT)

    assert not renew_due(at=LATER)
    assert not expire_due(at=LATER)
    assert renew_due(at=LATER, while_paused=True).moved == 1
    with tenant_atomic(subscription.tenant_id):
        assert Bill.objects.filter(status="open").count() == 1


def told(*arguments: str) -> str:
    said = StringIO()
    call_command("billing", *arguments, stdout=said)
    return said.getvalue()


def test_the_command_says_pauses_and_resumes() -> None:
    assert told("status") == "Billing goes on.\n"

    paused = told("pause", "moving the data center")

    assert "moving the data center" in paused
    assert "Not reconciled yet." in paused
    with pytest.raises(CommandError, match="reconcile_processor"):
        told("resume")
    assert told("resume", "--unreconciled") == "Billing goes on.\n"


def test_resuming_makes_a_copy_the_right_one() -> None:
    billing_control.look(at=AT)
    become_a_copy()

    told("resume", "--unreconciled")

    assert control().fingerprint == billing_control.fingerprint()
    assert not billing_control.look(at=AT + timedelta(hours=1)).is_paused


def test_readiness_says_so_and_stays_ready(client: Client) -> None:
    billing_control.pause(reason="a secret of the vendor", at=AT)

    answer: Any = client.get("/readyz")

    assert (answer.status_code, answer.json()["billing"]) == (200, "paused")
    assert b"secret" not in answer.content
