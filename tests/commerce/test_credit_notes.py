"""Credit notes: numbers, amounts, what is left of a bill, and who is asked for money no more (I-06 to I-08, I-19)."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError

from commerce.models import Bill, BillLine, BillSeries, RefundAttempt, SubscriptionEvent
from commerce.operations.bills import Line
from commerce.operations.credits import CreditedInPart, CreditExceedsBill, credit_for, issue_credit_note
from commerce.operations.payments.guards import lock_bill
from config.invariants import violations
from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry
from tests.commerce.test_charge_bill import billed
from tests.factories import (
    AT,
    make_central_subscription,
    make_credit_note,
    make_self_service_subscription,
    make_tenant,
    make_user,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


@pytest.fixture
def paid() -> Bill:
    """Ten seats at 9.40: 94.00 and 21 % tax, 113.74, paid by card."""
    subscription = make_self_service_subscription(make_user(make_tenant()))
    with tenant_atomic(subscription.tenant_id):
        return Bill.objects.get(subscription=subscription)


def now(bill: Bill) -> Bill:
    with tenant_atomic(bill.tenant_id):
        return Bill.objects.get(pk=bill.pk)


def rows(of: Bill, model: Any, *fields: str, **where: Any) -> list[Any]:
    with tenant_atomic(of.tenant_id):
        return list(model.objects.filter(**where).order_by("pk").values_list(*fields))


def facts(bill: Bill) -> tuple[str, int, int, int]:
    bill = now(bill)
    return bill.status, bill.paid_minor, bill.credited_minor, bill.refunded_minor


def test_takes_the_next_number_of_the_same_series(paid: Bill) -> None:
    note = make_credit_note(paid, 3_000)

    assert (paid.number, note.number) == ("SK-NL-2026-000001", "SK-NL-2026-000002")
    assert rows(paid, BillSeries, "next_number") == [(3,)]


def test_its_amounts_are_negative_and_add_up(paid: Bill) -> None:
    note = make_credit_note(paid, 3_000)

    assert (note.subtotal_minor, note.tax_minor, note.total_minor) == (-3_000, -630, -3_630)
    assert rows(paid, BillLine, "quantity", "unit_price_minor", "amount_minor", bill=note) == [
        (-1, 3_000, -3_000)
    ]
    assert (note.credits_id, note.bill_to_id, note.payer_id) == (paid.pk, paid.bill_to_id, paid.payer_id)
    assert (note.currency, note.collection, note.type) == ("EUR", "card", "refund")


def test_what_was_paid_is_to_be_refunded(paid: Bill) -> None:
    note = make_credit_note(paid, 3_000)

    assert (note.status, note.paid_minor) == ("open", 0)
    assert facts(paid) == ("paid", 11_374, 3_630, 3_630)
    assert rows(paid, RefundAttempt, "state", "amount_minor", "currency", "credit_note_id") == [
        ("created", 3_630, "EUR", note.pk)
    ]
    assert violations(at=AT) == []


def test_is_told_in_the_audit_trail_and_in_the_history(paid: Bill) -> None:
    note = make_credit_note(paid, 3_000)

    codes = rows(paid, AuditEntry, "code", "target_label", target_type="bill")
    assert codes[-3:] == [
        ("commerce.bill.issued", note.number),
        ("commerce.bill.credited", paid.number),
        ("commerce.refund.asked", paid.number),
    ]
    (event,) = rows(paid, SubscriptionEvent, "facts", code="credited")[0]
    assert event == {
        "bill": paid.number,
        "credit_note": note.number,
        "amount_minor": 3_630,
        "currency": "EUR",
    }


def test_several_notes_take_back_the_bills_own_tax_to_the_cent(paid: Bill) -> None:
    """21 % of 94.00 is 19.74; rounded one by one, the tax of 4.70, 4.70 and 84.60 would be a cent more."""
    taxes = [make_credit_note(paid, amount).tax_minor for amount in (470, 470, 8_460)]

    assert taxes == [-99, -98, -1_777]
    assert sum(taxes) == -paid.tax_minor
    assert facts(paid) == ("paid", 11_374, 11_374, 11_374)
    assert violations(at=AT) == []


def test_what_a_page_promises_is_what_the_note_takes_back(paid: Bill) -> None:
    make_credit_note(paid, 470)
    with tenant_atomic(paid.tenant_id):
        promised = credit_for(now(paid), 470)

    note = make_credit_note(paid, 470)

    assert promised == (98, 568) == (-note.tax_minor, -note.total_minor)


def test_refuses_more_than_is_left_of_the_bill_and_changes_nothing(paid: Bill) -> None:
    make_credit_note(paid, 6_000)

    with pytest.raises(CreditExceedsBill):
        make_credit_note(paid, 3_401)

    assert facts(paid) == ("paid", 11_374, 7_260, 7_260)
    assert rows(paid, BillSeries, "next_number") == [(3,)]
    assert violations(at=AT) == []


def test_an_unpaid_bill_is_credited_whole_and_asked_for_no_more(paid: Bill) -> None:
    bill = billed_after(paid)

    note = make_credit_note(bill, 9_400, at=AT + timedelta(days=31))

    assert facts(bill) == ("credited", 0, 11_374, 0)
    assert now(bill).charge_due_at is None
    assert (note.status, note.paid_minor) == ("credited", 0)
    assert rows(bill, RefundAttempt, "pk") == []


def billed_after(paid: Bill) -> Bill:
    with tenant_atomic(paid.tenant_id):
        subscription = paid.subscription
        _ = subscription.vendor_entity
    return billed(subscription)


def test_an_unpaid_bill_is_never_credited_in_part(paid: Bill) -> None:
    bill = billed_after(paid)

    with pytest.raises(CreditedInPart):
        make_credit_note(bill, 9_399, at=AT + timedelta(days=31))

    assert facts(bill) == ("open", 0, 0, 0)
    assert now(bill).charge_due_at is not None


def test_a_credited_bill_and_a_credit_note_are_not_credited_again(paid: Bill) -> None:
    bill = billed_after(paid)
    note = make_credit_note(bill, 9_400, at=AT + timedelta(days=31))

    for twice in (bill, note):
        with pytest.raises(CreditExceedsBill):
            make_credit_note(twice, 1, at=AT + timedelta(days=31))


def test_money_that_is_moved_to_a_new_bill_is_not_refunded(paid: Bill) -> None:
    note = credited_without_refund(paid, 9_400)

    assert facts(paid) == ("credited", 11_374, 11_374, 0)
    assert note.status == "credited"
    assert rows(paid, RefundAttempt, "pk") == []


def test_money_is_moved_whole_or_not_at_all(paid: Bill) -> None:
    with pytest.raises(CreditedInPart):
        credited_without_refund(paid, 9_000)

    assert facts(paid) == ("paid", 11_374, 0, 0)


def credited_without_refund(bill: Bill, subtotal_minor: int) -> Bill:
    with tenant_atomic(bill.tenant_id):
        locked = lock_bill(bill.pk)
        return issue_credit_note(
            actor=Actor.system(bill.tenant_id),
            bill=locked,
            type="credit",
            order=locked.order,
            lines=[Line("Power BI Pro", 10, 940, subtotal_minor, bill.period_start, bill.period_end)],
            at=AT,
            gives_money_back=False,
        )


def test_money_that_did_not_come_by_card_waits_for_staff() -> None:
    from commerce.operations.bills import book_payment

    subscription = make_central_subscription(make_user(make_tenant(), roles=("billing_admin",)))
    with tenant_atomic(subscription.tenant_id):
        bill = Bill.objects.get(subscription=subscription)
        book_payment(
            actor=Actor.system(bill.tenant_id), bill=bill, attempt=None, charge_id="", received_at=AT, at=AT
        )

    note = make_credit_note(bill, 10_000)

    assert note.status == "open"
    assert rows(bill, RefundAttempt, "state", "failure_code") == [("failed", "no_card")]
    assert facts(bill)[2:] == (12_100, 0)
    assert rows(bill, AuditEntry, "code", code="commerce.refund.failed") == [("commerce.refund.failed",)]
    assert violations(at=AT) == []


@pytest.mark.parametrize("amounts", [[], [0], [-5], [100, -5]])
def test_takes_back_positive_amounts_only(paid: Bill, amounts: list[int]) -> None:
    lines = [Line("x", 1, amount, amount, paid.period_start, paid.period_end) for amount in amounts]

    with tenant_atomic(paid.tenant_id), pytest.raises(ValueError, match="positive"):
        issue_credit_note(
            actor=Actor.system(paid.tenant_id),
            bill=paid,
            type="cancel",
            order=paid.order,
            lines=lines,
            at=AT,
        )


@pytest.mark.parametrize("change", [{"credits": None}, {"total_minor": -1}, {"currency": "USD"}])
def test_what_it_takes_back_never_changes(paid: Bill, change: dict[str, Any]) -> None:
    note = make_credit_note(paid, 3_000)

    with (
        pytest.raises(IntegrityError, match="commerce_bill row does not change"),
        tenant_atomic(paid.tenant_id),
    ):
        Bill.objects.filter(pk=note.pk).update(**change)


def test_what_a_bill_replaces_never_changes(paid: Bill) -> None:
    bill = billed_after(paid)

    with (
        pytest.raises(IntegrityError, match="commerce_bill row does not change"),
        tenant_atomic(paid.tenant_id),
    ):
        Bill.objects.filter(pk=bill.pk).update(replaces=paid)
