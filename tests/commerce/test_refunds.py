"""Giving money back for a credit note, against the real processor peer (I-07, I-09, product §5.5)."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from commerce.models import Bill, Payment, PaymentAttempt, Refund, RefundAttempt, SubscriptionEvent
from commerce.operations.payments import pay_checkout, refund_now, settle_refunds
from config.invariants import violations
from config.kit import clock
from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry, OutgoingMail, User
from tests.factories import (
    AT,
    actor_of,
    make_checkout,
    make_credit_note,
    make_self_service_subscription,
    make_tenant,
    make_user,
)
from tests.processor import card_token, control, fault, intents, refunds

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]


@pytest.fixture
def pat() -> User:
    return make_user(make_tenant(), name="Pat")


@pytest.fixture
def paid(pat: User) -> Bill:
    """113.74 paid by a card that the processor knows."""
    checkout = make_checkout(pat)
    pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=card_token(), at=AT)
    with tenant_atomic(pat.tenant_id):
        return Bill.objects.get()


def rows(of: Bill, model: Any, *fields: str, **where: Any) -> list[Any]:
    with tenant_atomic(of.tenant_id):
        return list(model.objects.filter(**where).order_by("pk").values_list(*fields))


def states(bill: Bill) -> list[str]:
    return [state for (state,) in rows(bill, RefundAttempt, "state")]


def facts(bill: Bill) -> tuple[str, int, int, int]:
    with tenant_atomic(bill.tenant_id):
        bill = Bill.objects.get(pk=bill.pk)
    return bill.status, bill.paid_minor, bill.credited_minor, bill.refunded_minor


def system(bill: Bill) -> Actor:
    return Actor.system(bill.tenant_id)


def test_the_money_goes_back_to_the_card_once(paid: Bill, pat: User) -> None:
    note = make_credit_note(paid, 3_000)

    refund_now(note.pk, actor=actor_of(pat), at=AT)

    assert [(made["amount"], made["metadata"]["credit_note"]) for made in refunds()] == [(3_630, note.number)]
    assert states(paid) == ["succeeded"]
    assert facts(note) == ("paid", -3_630, 0, 0)
    assert facts(paid) == ("paid", 11_374, 3_630, 3_630)
    assert rows(paid, Refund, "amount_minor", "currency", "credit_note_id", "processor_refund_id") == [
        (3_630, "EUR", note.pk, refunds()[0]["id"])
    ]
    assert violations(at=AT) == []


def test_asking_and_sweeping_again_does_nothing(paid: Bill) -> None:
    note = make_credit_note(paid, 3_000)
    refund_now(note.pk, actor=system(paid), at=AT)

    refund_now(note.pk, actor=system(paid), at=AT)
    swept = settle_refunds(at=AT + timedelta(days=2))

    assert not swept
    assert len(refunds()) == 1


def test_the_sweep_finishes_what_nobody_asked_for(paid: Bill) -> None:
    make_credit_note(paid, 3_000)

    swept = settle_refunds(at=AT)

    assert (swept.done, swept.failed, swept.pending) == (1, 0, 0)
    assert len(refunds()) == 1


def test_the_payer_gets_one_mail_and_the_history_says_so(paid: Bill, pat: User) -> None:
    note = make_credit_note(paid, 3_000, type="cancel")
    settle_refunds(at=AT)

    (mail,) = rows(paid, OutgoingMail, "to_user_id", "context", kind="refund")
    assert mail[0] == pat.pk
    assert (mail[1]["total_minor"], mail[1]["credit_note_number"], mail[1]["bill_number"]) == (
        3_630,
        note.number,
        paid.number,
    )
    (event,) = rows(paid, SubscriptionEvent, "facts", code="refunded")[0]
    assert event["amount_minor"] == 3_630
    assert rows(paid, AuditEntry, "target_label", code="commerce.bill.refunded") == [(paid.number,)]


@pytest.mark.parametrize("times", [1, 3])
def test_a_lost_answer_is_asked_for_again_with_the_same_key(paid: Bill, times: int) -> None:
    note = make_credit_note(paid, 3_000)
    fault("lose_answer", "/v1/refunds", count=times)

    refund_now(note.pk, actor=system(paid), at=AT)
    settle_refunds(at=AT + timedelta(minutes=10))

    assert len(refunds()) == 1
    assert states(paid) == ["succeeded"]
    assert violations(at=AT) == []


@pytest.mark.parametrize("hours", [2, 25, 96])
def test_an_answer_lost_for_longer_than_the_key_lives_refunds_once(paid: Bill, hours: int) -> None:
    note = make_credit_note(paid, 3_000)
    fault("lose_answer", "/v1/refunds", count=3)
    refund_now(note.pk, actor=system(paid), at=AT)
    assert states(paid) == ["created"]

    try:
        clock.set_offset(hours * 3600)
        swept = settle_refunds(at=AT + timedelta(hours=hours))
    finally:
        clock.set_offset(0)

    assert swept.done == 1
    assert len(refunds()) == 1
    assert states(paid) == ["succeeded"]


@pytest.mark.parametrize("kind", ["lose_request", "error"])
def test_while_the_processor_is_away_the_refund_waits_a_little_longer_each_time(
    paid: Bill, kind: str
) -> None:
    make_credit_note(paid, 3_000)
    fault(kind, "/v1/refunds", count=50, status=429)

    first = settle_refunds(at=AT)
    too_soon = settle_refunds(at=AT + timedelta(minutes=1))
    second = settle_refunds(at=AT + timedelta(minutes=2))
    third = settle_refunds(at=AT + timedelta(minutes=5))

    assert [swept.pending for swept in (first, too_soon, second, third)] == [1, 0, 1, 0]
    assert facts(paid)[3] == 3_630
    control("DELETE", "faults")
    assert settle_refunds(at=AT + timedelta(minutes=6)).done == 1


def test_a_failure_that_the_processor_repeats_for_the_key_is_over_when_it_forgets_the_key(paid: Bill) -> None:
    """F-11: never another key, under which a refund that was made after all would be made again."""
    make_credit_note(paid, 3_000)
    fault("error", "/v1/refunds", status=500)

    swept = [settle_refunds(at=AT), settle_refunds(at=AT + timedelta(hours=2))]
    try:
        clock.set_offset(25 * 3600)
        swept.append(settle_refunds(at=AT + timedelta(hours=25)))
    finally:
        clock.set_offset(0)

    assert [(one.done, one.pending) for one in swept] == [(0, 1), (0, 1), (1, 0)]
    assert len(refunds()) == 1


def test_a_refusal_gives_the_rest_back_and_waits_for_staff(paid: Bill) -> None:
    note = make_credit_note(paid, 3_000)
    control("POST", "disputes", payment_intent=intents()[0]["id"])

    swept = settle_refunds(at=AT)

    assert swept.failed == 1
    assert rows(paid, RefundAttempt, "state", "failure_code") == [("failed", "charge_disputed")]
    assert facts(note) == ("open", 0, 0, 0)
    assert facts(paid) == ("paid", 11_374, 3_630, 0)
    assert rows(paid, AuditEntry, "code", code="commerce.refund.failed") == [("commerce.refund.failed",)]
    assert rows(paid, OutgoingMail, "pk", kind="refund") == []
    assert violations(at=AT) == []


def test_a_charge_of_a_test_that_the_processor_does_not_know_is_refused(pat: User) -> None:
    subscription = make_self_service_subscription(pat)
    with tenant_atomic(pat.tenant_id):
        bill = Bill.objects.get(subscription=subscription)
    note = make_credit_note(bill, 3_000)

    refund_now(note.pk, actor=system(bill), at=AT)

    assert states(bill) == ["failed"]


def test_money_moved_to_a_corrected_bill_is_refunded_at_its_first_charge(paid: Bill) -> None:
    moved = move_money(paid)
    note = make_credit_note(moved, 3_000)

    settle_refunds(at=AT)

    assert [made["payment_intent"] for made in refunds()] == [intents()[0]["id"]]
    assert facts(note)[0] == "paid"
    assert facts(moved) == ("paid", 11_374, 3_630, 3_630)
    with tenant_atomic(paid.tenant_id):
        refund = Refund.objects.select_related("payment", "attempt").get()
        assert refund.payment.bill_id == moved.pk
        assert refund.attempt == PaymentAttempt.objects.get()
    assert violations(at=AT) == []


def move_money(bill: Bill) -> Bill:
    """The bill credited and issued anew, its money moved, as a correction does."""
    from commerce.operations.bills import Line, issue_bill
    from commerce.operations.credits import issue_credit_note
    from commerce.operations.payments.guards import lock_bill

    with tenant_atomic(bill.tenant_id):
        locked = lock_bill(bill.pk)
        line = Line("Power BI Pro", 10, 940, 9_400, bill.period_start, bill.period_end)
        issue_credit_note(
            actor=system(bill),
            bill=locked,
            type="credit",
            order=locked.order,
            lines=[line],
            at=AT,
            gives_money_back=False,
        )
        anew = issue_bill(
            actor=system(bill),
            subscription=locked.subscription,
            order=locked.order,
            type=bill.type,
            bill_to=locked.bill_to,
            payer=locked.payer,
            collection="card",
            lines=[line],
            period_start=bill.period_start,
            period_end=bill.period_end,
            at=AT,
            due_at=AT,
        )
        old = Payment.objects.get()
        Payment.objects.create(
            tenant_id=bill.tenant_id,
            bill=anew,
            amount_minor=old.amount_minor,
            currency=old.currency,
            received_at=AT,
            moved_from=old,
        )
        Bill.objects.filter(pk=anew.pk).update(status="paid", paid_minor=anew.total_minor, paid_at=AT)
    return anew


def test_the_whole_of_a_bill_can_be_given_back_in_parts(paid: Bill) -> None:
    for amount in (470, 470, 8_460):
        make_credit_note(paid, amount)

    swept = settle_refunds(at=AT)

    assert swept.done == 3
    assert sum(made["amount"] for made in refunds()) == 11_374
    assert facts(paid) == ("paid", 11_374, 11_374, 11_374)
    assert violations(at=AT) == []


def test_the_worker_sweeps_every_tenant(paid: Bill) -> None:
    other = make_user(make_tenant(), name="Other")
    checkout = make_checkout(other)
    pay_checkout(actor=actor_of(other), key=checkout.key, confirmation_token=card_token(), at=AT)
    with tenant_atomic(other.tenant_id):
        bill = Bill.objects.get()
    make_credit_note(paid, 1_000)
    make_credit_note(bill, 2_000)

    swept = settle_refunds(at=AT)

    assert swept.done == 2
    with use_login("worker"):
        assert set(Refund.objects.values_list("tenant_id", "amount_minor")) == {
            (paid.tenant_id, 1_210),
            (bill.tenant_id, 2_420),
        }


def refused(paid: Bill) -> Bill:
    """A credit note whose refund the processor refused, since the charge was contested then."""
    contested = control("POST", "disputes", payment_intent=intents()[0]["id"])
    note = make_credit_note(paid, 3_000)
    settle_refunds(at=AT)
    control("POST", "disputes/close", dispute=contested["id"], status="won")
    return note


def test_staff_can_ask_again(paid: Bill) -> None:
    note = refused(paid)

    call_command("refund", note.number, stdout=StringIO())
    settle_refunds(at=datetime(2030, 1, 1, tzinfo=UTC))

    assert states(paid) == ["failed", "succeeded"]
    assert facts(note)[0] == "paid"
    assert len(refunds()) == 1
    assert violations(at=AT, only=["I-07", "I-09"]) == []


def test_staff_can_pay_back_otherwise(paid: Bill) -> None:
    note = refused(paid)

    call_command("refund", note.number, "--paid", "bank transfer", stdout=StringIO())

    assert facts(note) == ("paid", -3_630, 0, 0)
    assert facts(paid) == ("paid", 11_374, 3_630, 3_630)
    assert rows(paid, Refund, "attempt_id", "processor_refund_id") == [(None, f"by-hand:{note.number}")]
    (after,) = rows(paid, AuditEntry, "after", code="commerce.bill.refunded")[0]
    assert after["reference"] == "bank transfer"
    assert refunds() == []
    assert violations(at=AT) == []


@pytest.mark.parametrize("arguments", [[], ["--paid", "twice"]])
def test_staff_cannot_settle_what_is_not_owed(paid: Bill, arguments: list[str]) -> None:
    under_way = make_credit_note(paid, 1_000)
    done = make_credit_note(paid, 2_000)
    refund_now(done.pk, actor=system(paid), at=AT)

    for number in (under_way.number, done.number, paid.number, "SK-NL-2026-999999"):
        with pytest.raises(CommandError, match="Nothing was changed"):
            call_command("refund", number, *arguments)

    assert states(paid) == ["created", "succeeded"]
