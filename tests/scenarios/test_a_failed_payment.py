"""A renewal that the bank refuses, walked day by day to each of its ends (product §5.6; I-13, F-11, F-12)."""

from datetime import UTC, datetime, timedelta

import pytest

from commerce.models import Bill, Card, Subscription
from commerce.operations.bills import book_payment
from commerce.operations.cards import choose_card
from commerce.operations.dunning import note_payment
from commerce.operations.payments import charge_bill
from commerce.operations.payments.guards import lock_bill
from commerce.operations.renewals import run_sweeps
from config.invariants import violations
from config.kit.actors import Actor
from config.kit.tenancy import atomic, tenant_atomic, use_login
from directory.models import OutgoingMail, User
from licensing.models import Assignment
from tests.factories import actor_of, make_tenant, make_user
from tests.processor import charges, fault, intents
from tests.scenarios.test_a_subscriptions_life import alice, billed, buy, empty_processor, history, walk

__all__ = ["alice", "empty_processor"]

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"]),
    pytest.mark.usefixtures("empty_processor"),
]

BOUGHT = datetime(2027, 3, 10, 9, tzinfo=UTC)
# The renewal is charged by the first sweep after local midnight.
RENEWED = datetime(2027, 4, 10, 9, tzinfo=UTC)
SOFT, HARD, ASKS = (
    "pm_card_visa_chargeDeclinedInsufficientFunds",
    "pm_card_visa_chargeDeclinedLostCard",
    "pm_card_authenticationRequired",
)


def pay_with(card: str) -> None:
    """Make the saved card another one of the processor's."""
    with use_login("worker"):
        Card.objects.update(processor_id=card)


def fresh(subscription: Subscription) -> Subscription:
    with use_login("worker"):
        return Subscription.objects.get(pk=subscription.pk)


def pay_by_hand(subscription: Subscription, at: datetime) -> None:
    """Book a payment of the open bill, as an outcome of the processor does."""
    with use_login("worker"), atomic():
        bill = lock_bill(Bill.objects.open().get(subscription=subscription).pk)
        actor = Actor.system(bill.tenant_id)
        book_payment(actor=actor, bill=bill, attempt=None, charge_id="ch_by_hand", received_at=at, at=at)
        note_payment(actor=actor, bill=bill, at=at)


def mails(kind: str) -> list[str]:
    """The local days on which mails of a kind were queued."""
    with use_login("worker"):
        rows = OutgoingMail.objects.filter(kind=kind).order_by("id")
        return [f"{row.created_at:%m-%d}" for row in rows]


def failing(alice: User, card: str, *, code: str = "monthly") -> Subscription:
    """Bought, and at its first renewal refused."""
    subscription = buy(alice, code=code, at=BOUGHT)
    pay_with(card)
    walk(RENEWED, 0)
    return subscription


def test_a_soft_decline_is_tried_on_the_days_of_the_calendar_and_ends_in_disabled(alice: User) -> None:
    subscription = failing(alice, SOFT)

    last = walk(RENEWED + timedelta(days=1), 35)

    tries = [f"{row['created']}" for row in intents() if row["status"] != "succeeded"]
    assert len(tries) == 8
    assert [event for event in history(subscription) if event[1] in ("payment_failed", "disabled")] == [
        ("2027-04-10", "payment_failed"),
        ("2027-04-11", "payment_failed"),
        ("2027-04-13", "payment_failed"),
        ("2027-04-15", "payment_failed"),
        ("2027-04-17", "payment_failed"),
        ("2027-04-24", "payment_failed"),
        ("2027-05-01", "payment_failed"),
        ("2027-05-08", "payment_failed"),
        ("2027-05-10", "disabled"),
    ]
    after = fresh(subscription)
    assert (after.state, after.disabled_reason, after.recurring_billing) == ("disabled", "unpaid", False)
    assert billed(subscription) == [
        ("purchase", "2027-03-10", "paid"),
        ("renewal", "2027-04-10", "past_due"),
    ]
    assert len(mails("payment_failed")) == 8
    assert mails("access_ended") == ["05-10"]
    assert charges() == 1
    assert violations(at=last) == []


def test_a_hard_decline_is_not_tried_again_but_told_on_the_same_days(alice: User) -> None:
    subscription = failing(alice, HARD)

    last = walk(RENEWED + timedelta(days=1), 35)

    assert len([row for row in intents() if row["status"] != "succeeded"]) == 1
    assert mails("payment_failed") == ["04-10", "04-11", "04-13", "04-15", "04-17", "04-24", "05-01", "05-08"]
    assert fresh(subscription).disabled_reason == "unpaid"
    assert violations(at=last) == []


def test_a_bank_that_wants_the_cardholder_is_not_asked_again_without_them(alice: User) -> None:
    subscription = failing(alice, ASKS)

    walk(RENEWED + timedelta(days=1), 10)

    assert len([row for row in intents() if row["status"] != "succeeded"]) == 1
    assert fresh(subscription).state == "active"
    assert len(mails("payment_failed")) == 5


def test_a_try_that_goes_through_takes_the_mark_away_and_nothing_else_changed(alice: User) -> None:
    subscription = failing(alice, SOFT)
    walk(RENEWED + timedelta(days=1), 3)
    pay_with("pm_card_visa")

    walk(RENEWED + timedelta(days=5), 1)

    after = fresh(subscription)
    assert (after.state, after.payment_failed_at, after.next_try_at, after.pay_by_at) == (
        "active", None, None, None,
    )  # fmt: skip
    assert after.recurring_billing
    assert billed(subscription)[-1] == ("renewal", "2027-04-10", "paid")
    assert history(subscription)[-1] == ("2027-04-15", "payment_recovered")
    assert mails("payment_recovered") == ["04-15"]
    assert mails("renewal_receipt") == []


def test_paid_while_disabled_it_is_active_again_in_the_same_period(alice: User) -> None:
    renewed = datetime(2028, 3, 10, 9, tzinfo=UTC)
    subscription = buy(alice, code="yearly", at=BOUGHT)
    pay_with(SOFT)
    walk(renewed, 40)
    disabled = fresh(subscription)

    at = renewed + timedelta(days=60)
    pay_by_hand(subscription, at)

    assert (disabled.state, disabled.disabled_at) == ("disabled", renewed + timedelta(days=30))
    after = fresh(subscription)
    assert (after.state, after.disabled_reason, after.due_at) == ("active", "", disabled.period_end)
    assert (after.payment_failed_at, after.recurring_billing) == (None, False)
    assert history(subscription)[-2:] == [("2028-05-09", "payment_recovered"), ("2028-05-09", "reactivated")]
    assert violations(at=at) == []


def test_what_ended_is_not_charged_while_nobody_is_there(alice: User) -> None:
    subscription = failing(alice, HARD)
    last = walk(RENEWED + timedelta(days=1), 35)
    pay_with("pm_card_visa")
    with use_login("worker"):
        bill = Bill.objects.open().get(subscription=subscription)
        Bill.objects.filter(pk=bill.pk).update(charge_due_at=last)

        result = charge_bill(bill_id=bill.pk, at=last)

    assert result == "withheld"
    assert fresh(subscription).state == "disabled"
    assert charges() == 1


def test_another_card_is_tried_at_once(alice: User) -> None:
    subscription = failing(alice, HARD)
    at = RENEWED + timedelta(days=2)
    with tenant_atomic(alice.tenant_id):
        alice.refresh_from_db()
        card = Card.objects.create(
            tenant_id=alice.tenant_id,
            user=alice,
            processor_id="pm_card_visa",
            brand="visa",
            last4="4242",
            expires_year=2035,
            expires_month=12,
            added_at=at,
        )
    choose_card(actor=actor_of(alice, at=at), key=subscription.key, card_id=card.pk, at=at)

    run_sweeps(at=at)

    assert billed(subscription)[-1] == ("renewal", "2027-04-10", "paid")
    assert history(subscription)[-1] == ("2027-04-12", "payment_recovered")


def test_never_paid_it_is_credited_as_uncollected_when_it_is_deleted(alice: User) -> None:
    subscription = failing(alice, HARD)

    last = walk(RENEWED + timedelta(days=1), 125)

    assert fresh(subscription).state == "deleted"
    assert [row for row in billed(subscription) if row[0] != "purchase"] == [
        ("renewal", "2027-04-10", "credited"),
        ("credit", "2027-04-10", "credited"),
    ]
    with use_login("worker"):
        assert not Assignment.objects.live().exists()
        note = Bill.objects.get(type="credit")
        assert note.total_minor == -note.credits.total_minor
    assert charges() == 1
    assert violations(at=last) == []


def test_an_outage_of_the_sweeps_over_the_deadline_leaves_two_days_to_pay(alice: User) -> None:
    subscription = failing(alice, SOFT)
    back = RENEWED + timedelta(days=33)

    run_sweeps(at=back)

    assert fresh(subscription).state == "active"
    assert mails("payment_failed")[-1] == f"{back:%m-%d}"
    walk(back + timedelta(days=1), 2)
    assert fresh(subscription).state == "disabled"


def test_while_the_processor_gives_no_answer_nothing_ends(alice: User) -> None:
    subscription = failing(alice, SOFT)
    walk(RENEWED + timedelta(days=1), 21)
    fault("error", "/v1/payment_intents", left=100_000)

    walk(RENEWED + timedelta(days=28), 10)

    assert fresh(subscription).state == "active"


def test_admins_are_told_when_the_payer_has_left() -> None:
    tenant = make_tenant(name="Contoso")
    bill_admin = make_user(tenant, name="Bill", roles=("billing_admin",))
    pat = make_user(tenant, name="Pat")
    failing(pat, HARD)
    with use_login("worker"):
        User.objects.filter(pk=pat.pk).update(status="disabled")

    walk(RENEWED + timedelta(days=1), 0)

    with use_login("worker"):
        latest = OutgoingMail.objects.filter(kind="payment_failed").order_by("id").last()
        assert latest is not None
        assert (latest.to_user_id, latest.context["payer_left"]) == (bill_admin.pk, True)
