"""Settling everything that is not final (architecture §8, I-15, I-16)."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import IntegrityError, connections

from commerce.models import Bill, Checkout, Order, PaymentAttempt, Refund
from commerce.operations.payments import abandon_checkouts, charge_bill, pay_checkout, reconcile
from commerce.operations.staff_work import ask_about_charge
from commerce.queries.staff_work import STUCK_CHARGES
from config.invariants import violations
from config.kit.listings import page
from config.kit.tenancy import connection, tenant_atomic, use_login
from directory.models import AuditEntry, User
from tests.commerce.test_charge_bill import LATER, ask, billed, bought
from tests.factories import (
    AT,
    actor_of,
    make_checkout,
    make_staff,
    make_tenant,
    make_user,
    staff_actor_of,
)
from tests.processor import authenticate, card_token, charges, control, fault, intents, refunds

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]

SOON = AT + timedelta(minutes=10)


@pytest.fixture
def pat() -> User:
    return make_user(make_tenant())


def pay(pat: User, card: str = "pm_card_visa") -> Checkout:
    checkout = make_checkout(pat)
    pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=card_token(card), at=AT)
    return checkout


def states(pat: User) -> tuple[str, str]:
    with tenant_atomic(pat.tenant_id):
        return Checkout.objects.get().state, PaymentAttempt.objects.get().state


def test_a_charge_without_an_answer_gets_its_order_although_the_checkout_was_abandoned(pat: User) -> None:
    fault("lose_answer", "/v1/payment_intents/*/confirm")
    pay(pat)
    with tenant_atomic(pat.tenant_id):
        Checkout.objects.update(state="abandoned")

    reconcile(SOON)

    assert states(pat) == ("paid", "succeeded")
    with tenant_atomic(pat.tenant_id):
        assert Order.objects.count() == Bill.objects.filter(status="paid").count() == 1
    assert charges() == 1


def test_an_order_made_by_the_reconciler_is_the_buyers(pat: User) -> None:
    fault("lose_answer", "/v1/payment_intents/*/confirm")
    pay(pat)

    reconcile(SOON)

    with tenant_atomic(pat.tenant_id):
        assert Order.objects.get().actor_user_id == pat.pk
        assert AuditEntry.objects.get(code="commerce.order.placed").door == "job"


def test_leaves_alone_what_a_request_is_still_working_at(pat: User) -> None:
    fault("lose_answer", "/v1/payment_intents/*/confirm")
    pay(pat)

    looked_at = reconcile(AT + timedelta(seconds=30))["attempts"]

    assert looked_at == 0
    assert states(pat) == ("paying", "unknown")


def test_a_buyer_who_is_gone_for_an_hour_is_not_charged_after_all(pat: User) -> None:
    fault("lose_request", "/v1/payment_intents/*/confirm")
    pay(pat)

    reconcile(AT + timedelta(hours=1))

    assert states(pat) == ("open", "canceled")
    assert intents()[0]["status"] == "canceled"
    assert charges() == 0


def test_a_confirmation_that_never_comes_opens_the_checkout_again(pat: User) -> None:
    pay(pat, "pm_card_threeDSecure2Required")
    reconcile(SOON)
    assert states(pat) == ("action", "action")

    reconcile(AT + timedelta(hours=1, minutes=1))

    assert states(pat) == ("open", "canceled")
    assert intents()[0]["status"] == "canceled"


def test_a_confirmation_given_after_the_page_was_closed_makes_the_order(pat: User) -> None:
    pay(pat, "pm_card_threeDSecure2Required")
    authenticate(intents()[0]["id"])

    reconcile(SOON)

    assert states(pat) == ("paid", "succeeded")


def test_the_banks_processing_is_waited_for(pat: User) -> None:
    control("POST", "processing", count=1)
    pay(pat)
    reconcile(SOON)
    assert states(pat) == ("paying", "confirming")
    control("POST", "settle", payment_intent=intents()[0]["id"])

    reconcile(SOON)

    assert states(pat) == ("paid", "succeeded")


def test_processing_that_fails_opens_the_checkout_again(pat: User) -> None:
    control("POST", "processing", count=1)
    pay(pat)
    control("POST", "settle", payment_intent=intents()[0]["id"], outcome="failed")

    reconcile(SOON)

    assert states(pat) == ("open", "failed")
    assert charges() == 0


def test_while_the_processor_is_away_nothing_changes(pat: User) -> None:
    fault("lose_answer", "/v1/payment_intents/*/confirm")
    pay(pat)
    fault("error", "/v1/payment_intents/*", method="GET", status=503, count=3)

    reconcile(SOON)

    assert states(pat) == ("paying", "unknown")


def test_one_attempt_in_trouble_does_not_hold_up_the_others() -> None:
    people = [make_user(make_tenant()) for _ in range(3)]
    for person in people:
        fault("lose_answer", "/v1/payment_intents/*/confirm")
        pay(person)
    fault("error", f"/v1/payment_intents/{intents()[-1]['id']}", method="GET", status=503, count=None)

    reconcile(SOON)

    assert [states(person)[0] for person in people] == ["paying", "paid", "paid"]


def test_several_reconcilers_at_once_record_once(pat: User) -> None:
    fault("lose_answer", "/v1/payment_intents/*/confirm")
    pay(pat)

    def run(_: int) -> None:
        try:
            reconcile(SOON)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(8)))

    assert states(pat) == ("paid", "succeeded")
    with tenant_atomic(pat.tenant_id):
        assert Order.objects.count() == 1


def test_open_checkouts_are_abandoned_after_a_day(pat: User) -> None:
    make_checkout(pat)
    with use_login("worker"):
        before = abandon_checkouts(AT + timedelta(hours=24, seconds=-1))
        after = abandon_checkouts(AT + timedelta(hours=24))

    assert (before, after) == (0, 1)
    with tenant_atomic(pat.tenant_id):
        assert Checkout.objects.get().state == "abandoned"


def test_a_payment_under_way_is_not_abandoned_unasked(pat: User) -> None:
    """I-16: never cancelled without asking the processor."""
    fault("lose_answer", "/v1/payment_intents/*/confirm")
    pay(pat)

    reconcile(AT + timedelta(days=3))

    assert states(pat) == ("paid", "succeeded")


# --- I-15: the database refuses every step backwards ----------------------------------------------------

ATTEMPT_STATES = ["created", "intent", "confirming", "action", "unknown", "succeeded", "failed", "canceled"]
FORWARD = {
    ("created", "intent"), ("created", "canceled"), ("created", "failed"),
    ("intent", "confirming"), ("intent", "action"), ("intent", "succeeded"), ("intent", "failed"),
    ("intent", "canceled"),
    ("confirming", "unknown"), ("confirming", "action"), ("confirming", "succeeded"), ("confirming", "failed"),
    ("confirming", "canceled"),
    ("unknown", "action"), ("unknown", "succeeded"), ("unknown", "failed"), ("unknown", "canceled"),
    ("action", "succeeded"), ("action", "failed"), ("action", "canceled"),
}  # fmt: skip
CHECKOUT_STATES = ["open", "paying", "action", "paid", "abandoned"]
CHECKOUT_FORWARD = {
    ("open", "paying"), ("open", "abandoned"), ("paying", "action"), ("paying", "open"), ("paying", "paid"),
    ("paying", "abandoned"), ("action", "open"), ("action", "paid"), ("action", "abandoned"),
    ("abandoned", "paid"),
}  # fmt: skip


def _allows(table: str, row_id: int, before: str, after: str) -> bool:
    """Whether the trigger lets a row go from one state to another; nothing stays changed."""
    with use_login("owner"), connection().cursor() as cursor:
        cursor.execute("BEGIN")
        try:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            cursor.execute(f"UPDATE {table} SET state = %s WHERE id = %s", [before, row_id])
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
            cursor.execute(f"UPDATE {table} SET state = %s WHERE id = %s", [after, row_id])
        except IntegrityError:
            return False
        else:
            return True
        finally:
            cursor.execute("ROLLBACK")


def test_an_attempt_only_moves_forward(pat: User) -> None:
    pay(pat)
    with tenant_atomic(pat.tenant_id):
        row_id = PaymentAttempt.objects.get().pk

    allowed = {
        pair
        for pair in itertools.permutations(ATTEMPT_STATES, 2)
        if _allows("commerce_paymentattempt", row_id, *pair)
    }

    assert allowed == FORWARD


def test_a_checkout_only_moves_along_its_arrows(pat: User) -> None:
    pay(pat)
    with tenant_atomic(pat.tenant_id):
        row_id = Checkout.objects.get().pk

    allowed = {
        pair
        for pair in itertools.permutations(CHECKOUT_STATES, 2)
        if _allows("commerce_checkout", row_id, *pair)
    }

    assert allowed == CHECKOUT_FORWARD


def test_an_attempt_keeps_its_intent_and_amount(pat: User) -> None:
    pay(pat)
    for change in ({"intent_id": "pi_other"}, {"amount_minor": 1}, {"key": "att_other"}):
        with pytest.raises(IntegrityError), tenant_atomic(pat.tenant_id):
            PaymentAttempt.objects.update(**change)


def test_the_way_from_an_intent_to_its_tenant_tells_nothing_more(pat: User) -> None:
    pay(pat)
    with tenant_atomic(pat.tenant_id):
        intent_id = PaymentAttempt.objects.get().intent_id

    with connection().cursor() as cursor:
        cursor.execute("SELECT tenant_of_payment_intent(%s), tenant_of_payment_intent('pi_x')", [intent_id])
        found = cursor.fetchone()
        cursor.execute("SELECT count(*) FROM commerce_paymentattempt")
        visible = cursor.fetchone()[0]

    assert found == (pat.tenant_id, None)
    assert visible == 0


# --- A charge that came too late ----------------------------------------------------------------------------------


@pytest.fixture
def late(pat: User) -> Bill:
    """A bill whose charge went through, which nobody heard, and which was credited meanwhile."""
    bill = billed(bought(pat))
    fault("lose_answer", "/v1/payment_intents/*/confirm")
    with use_login("worker"):
        assert charge_bill(bill_id=bill.pk, at=LATER) == "pending"
    with tenant_atomic(pat.tenant_id):
        Bill.objects.filter(pk=bill.pk).update(status="credited", charge_due_at=None)
    return bill


def given_back() -> list[int]:
    with use_login("worker"):
        return list(Refund.objects.values_list("amount_minor", flat=True))


@pytest.mark.parametrize("kind", ["error", "lose_answer"])
def test_a_charge_that_came_too_late_is_given_back_although_the_first_refund_has_no_answer(
    late: Bill, kind: str
) -> None:
    facts = {"status": 503} if kind == "error" else {}
    fault(kind, "/v1/refunds", count=3, **facts)
    reconcile(LATER + timedelta(minutes=10))
    assert given_back() == []

    reconcile(LATER + timedelta(minutes=70))
    reconcile(LATER + timedelta(minutes=80))

    assert given_back() == [late.total_minor]
    assert [made["amount"] for made in refunds()] == [late.total_minor]
    assert violations(at=LATER, only=["I-09", "I-10"]) == []


def test_a_refund_that_the_processor_refuses_waits_for_staff_and_one_made_by_hand_is_found(
    late: Bill,
) -> None:
    sven = staff_actor_of(make_staff(make_tenant(kind="vendor"), "staff_support"))
    fault("error", "/v1/refunds", status=400)
    reconcile(LATER + timedelta(minutes=10))
    with tenant_atomic(sven):
        (stuck,) = page(STUCK_CHARGES, "", LATER).rows
    assert (stuck.bill, stuck.is_to_refund) == (late.number, True)
    ask("/v1/refunds", key="by hand", payment_intent=stuck.intent_id, amount=late.total_minor)

    _found, state = ask_about_charge(staff=sven, attempt_id=stuck.id, at=LATER + timedelta(hours=1))

    assert (state, given_back(), len(refunds())) == ("succeeded", [late.total_minor], 1)
    with tenant_atomic(sven):
        assert page(STUCK_CHARGES, "", LATER).rows == []
