"""Charging an open bill while the payer is away, against the real processor peer (product §5.3, §5.6; I-14)."""

from datetime import datetime, timedelta

import httpx
import pytest
from django.conf import settings

from commerce.models import (
    Bill,
    Card,
    Payment,
    PaymentAttempt,
    ProcessorCustomer,
    Subscription,
    SubscriptionEvent,
)
from commerce.operations.bills import Line, issue_bill
from commerce.operations.dunning import dun_due
from commerce.operations.payments import charge_bill, pay_bill, pay_checkout, take_due_bills
from config.invariants import violations
from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import OutgoingMail, Tenant, User
from directory.operations.outbox import message_of
from directory.permissions import Role
from tests.factories import (
    AT,
    actor_of,
    make_checkout,
    make_self_service_subscription,
    make_tenant,
    make_user,
)
from tests.processor import card_token, charges, control, fault, intents

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]

LATER = AT + timedelta(days=31)


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


@pytest.fixture
def pat(tenant: Tenant) -> User:
    return make_user(tenant, name="Pat")


def bought(pat: User, card: str = "pm_card_visa") -> Subscription:
    """A purchase paid by card, as a buyer makes it."""
    checkout = make_checkout(pat)
    pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=card_token(card), at=AT)
    with tenant_atomic(pat.tenant_id):
        return Subscription.objects.select_related("vendor_entity").get()


def billed(subscription: Subscription, *, type: str = "renewal", price_minor: int = 940) -> Bill:
    """The next period's open bill, as the renewal sweep makes it."""
    start, end = subscription.period_end, subscription.period_end + timedelta(days=30)
    with tenant_atomic(subscription.tenant_id):
        rows = Bill.objects.filter(subscription=subscription).select_related("order", "bill_to", "payer")
        first = rows.earliest("id")
        return issue_bill(
            actor=Actor.system(subscription.tenant_id),
            subscription=subscription,
            order=first.order,
            type=type,
            bill_to=first.bill_to,
            payer=first.payer,
            collection="card",
            lines=[Line("Power BI Pro", 10, price_minor, 10 * price_minor, start, end)],
            period_start=start,
            period_end=end,
            at=LATER,
            due_at=LATER,
            charge_due_at=LATER,
        )


def charge(bill: Bill, **facts: object) -> str:
    with use_login("worker"):
        return charge_bill(bill_id=bill.pk, at=LATER, **facts)


def now(bill: Bill) -> Bill:
    with tenant_atomic(bill.tenant_id):
        return Bill.objects.select_related("subscription").get(pk=bill.pk)


def events(bill: Bill) -> list[str]:
    with tenant_atomic(bill.tenant_id):
        return list(
            SubscriptionEvent.objects.filter(subscription_id=bill.subscription_id)
            .order_by("id")
            .values_list("code", flat=True)
        )


def attempts_of(bill: Bill) -> list[str]:
    with tenant_atomic(bill.tenant_id):
        return list(PaymentAttempt.objects.filter(bill=bill).order_by("id").values_list("state", flat=True))


def left_alone() -> list[str]:
    """The bills that I-13 says nobody would charge or ask for."""
    found = violations(at=LATER, only=["I-13"])
    return [each.row["number"] for each in found if "nobody would charge" in each.rule]


def spoil_card(pat: User, card: str) -> None:
    """Make the bank of the saved card answer otherwise from now on."""
    with tenant_atomic(pat.tenant_id):
        row = Card.objects.get()
        Card.objects.filter(pk=row.pk).update(processor_id=card)


def test_the_saved_card_is_charged_once_and_the_bill_is_paid(tenant: Tenant, pat: User) -> None:
    bill = billed(bought(pat))

    result = charge(bill)

    assert result == "paid"
    paid = now(bill)
    assert (paid.status, paid.paid_minor, paid.paid_at) == ("paid", 11_374, LATER)
    assert (paid.charge_due_at, paid.leased_until) == (None, None)
    assert attempts_of(bill) == ["succeeded"]
    assert charges() == 2
    with tenant_atomic(tenant.pk):
        assert Payment.objects.get(bill=bill).card == Card.objects.get()
        assert OutgoingMail.objects.filter(kind="renewal_receipt").get().to_user_id == pat.pk
    assert intents()[0]["metadata"]["bill"] == bill.number


def test_charging_again_does_nothing(pat: User) -> None:
    bill = billed(bought(pat))
    charge(bill)

    assert charge(bill) == "busy"
    assert charge(bill, is_leased=True) == "paid"

    assert charges() == 2
    assert attempts_of(bill) == ["succeeded"]


@pytest.mark.parametrize(
    ("card", "kind", "code", "next_try_at"),
    [
        (
            "pm_card_visa_chargeDeclinedInsufficientFunds",
            "soft",
            "insufficient_funds",
            LATER + timedelta(days=1),
        ),
        ("pm_card_visa_chargeDeclinedStolenCard", "hard", "stolen_card", None),
        ("pm_card_authenticationRequired", "auth", "authentication_required", None),
    ],
)
def test_a_refused_charge_marks_the_subscription_and_leaves_it_active(
    pat: User, card: str, kind: str, code: str, next_try_at: datetime | None
) -> None:
    bill = billed(bought(pat))
    spoil_card(pat, card)

    result = charge(bill)

    assert result == "declined"
    refused = now(bill)
    assert (refused.status, refused.tries, refused.last_decline) == ("open", 1, code)
    assert (refused.charge_due_at, refused.leased_until) == (next_try_at, None)
    assert refused.subscription.next_try_at == next_try_at
    assert refused.subscription.pay_by_at == refused.period_end
    assert refused.subscription.state == "active"
    assert refused.subscription.payment_failed_at == LATER
    assert attempts_of(bill) == ["failed"]
    assert events(bill)[-1] == "payment_failed"
    assert charges() == 1
    with tenant_atomic(pat.tenant_id):
        assert PaymentAttempt.objects.get(bill=bill).decline_kind == kind
        assert not OutgoingMail.objects.filter(kind="renewal_receipt").exists()


def test_a_payer_without_a_card_counts_as_refused(pat: User) -> None:
    bill = billed(bought(pat))
    with tenant_atomic(pat.tenant_id):
        Card.objects.update(removed_at=LATER)

    assert charge(bill) == "declined"

    assert now(bill).last_decline == "no_card"
    assert attempts_of(bill) == []
    assert charges() == 1


def test_a_later_payment_takes_the_mark_away(pat: User) -> None:
    bill = billed(bought(pat))
    spoil_card(pat, "pm_card_visa_chargeDeclined")
    charge(bill)
    with tenant_atomic(pat.tenant_id):
        Card.objects.update(processor_id="pm_card_visa")
        Bill.objects.filter(pk=bill.pk).update(charge_due_at=LATER)

    assert charge(bill) == "paid"

    assert now(bill).subscription.payment_failed_at is None
    assert events(bill)[-2:] == ["payment_failed", "payment_recovered"]
    assert attempts_of(bill) == ["failed", "succeeded"]


@pytest.mark.parametrize(
    ("change", "bill_type"),
    [
        ({"state": "expired"}, "renewal"),
        ({"state": "disabled"}, "renewal"),
        ({"state": "disabled"}, "monthly_charge"),
        ({"recurring_billing": False}, "renewal"),
    ],
)
def test_what_ended_or_was_switched_off_is_never_charged(
    pat: User, change: dict[str, object], bill_type: str
) -> None:
    bill = billed(bought(pat), type=bill_type)
    with tenant_atomic(pat.tenant_id):
        Subscription.objects.update(**change)

    assert charge(bill) == "withheld"

    left = now(bill)
    assert (left.status, left.charge_due_at, left.tries) == ("open", None, 0)
    is_stopped = "recurring_billing" in change
    # What was stopped is asked for without the card, to the end of the calendar (product §5.6).
    assert (left.decline_kind, left.next_dunning_at is not None) == ("off" if is_stopped else "", is_stopped)
    assert (left.subscription.payment_failed_at is not None) == is_stopped
    assert charges() == 1


def test_a_term_committed_to_is_charged_although_the_renewal_is_off(pat: User) -> None:
    bill = billed(bought(pat), type="monthly_charge")
    with tenant_atomic(pat.tenant_id):
        Subscription.objects.update(recurring_billing=False)

    assert charge(bill) == "paid"


def test_a_month_of_a_committed_term_is_charged_although_a_late_sweep_found_the_term_over(pat: User) -> None:
    bill = billed(bought(pat), type="monthly_charge")
    with tenant_atomic(pat.tenant_id):
        Subscription.objects.update(recurring_billing=False, state="expired")

    assert charge(bill) == "paid"

    left = now(bill)
    assert (left.status, left.subscription.state) == ("paid", "expired")


def test_switching_off_between_creation_and_confirmation_stops_the_charge(
    pat: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from commerce.gateways import stripe

    bill = billed(bought(pat))
    real = stripe.create_intent

    def create_and_switch_off(**facts: object) -> object:
        made = real(**facts)
        with use_login("worker"):
            Subscription.objects.update(recurring_billing=False)
        return made

    monkeypatch.setattr(stripe, "create_intent", create_and_switch_off)

    assert charge(bill) == "withheld"

    assert attempts_of(bill) == ["canceled"]
    assert intents()[0]["status"] == "canceled"
    assert charges() == 1


def test_an_outage_counts_for_nothing_and_the_next_sweep_goes_on(pat: User) -> None:
    bill = billed(bought(pat))
    fault("error", "/v1/payment_intents", status=503, count=3)

    assert charge(bill) == "pending"
    waiting = now(bill)
    assert (waiting.tries, waiting.last_decline, waiting.leased_until) == (0, "", None)
    assert waiting.subscription.payment_failed_at is None


def test_a_failure_that_the_processor_repeats_for_the_key_is_given_up_for_a_new_attempt(pat: User) -> None:
    """F-11: a 500 is replayed for its key; the attempt never had an id, so a new one charges once."""
    bill = billed(bought(pat))
    fault("error", "/v1/payment_intents", status=500, count=3, after_work=True)
    assert charge(bill) == "pending"
    control("DELETE", "faults")

    with use_login("worker"):
        results = [charge_bill(bill_id=bill.pk, at=LATER + timedelta(minutes=61 * turn)) for turn in (1, 2)]

    assert results == ["pending", "paid"]
    assert attempts_of(bill) == ["canceled", "succeeded"]
    assert charges() == 2


@pytest.mark.parametrize("kind", ["lose_answer", "lose_request"])
@pytest.mark.parametrize("path", ["/v1/payment_intents", "/v1/payment_intents/*/confirm"])
def test_a_lost_answer_is_settled_by_the_next_sweep_with_one_charge(pat: User, kind: str, path: str) -> None:
    bill = billed(bought(pat))
    fault(kind, path, count=3 if path.endswith("intents") else 1)
    assert charge(bill) == "pending"

    assert charge(bill) == "paid"

    assert charges() == 2
    assert len(intents()) == 2
    assert attempts_of(bill) == ["succeeded"]


def test_a_key_that_the_processor_knows_with_other_facts_is_a_failed_payment_and_no_other_key_is_tried(
    pat: User, caplog: pytest.LogCaptureFixture
) -> None:
    """F-13."""
    bill = billed(bought(pat))
    fault("lose_request", "/v1/payment_intents", count=3)
    assert charge(bill) == "pending"
    with tenant_atomic(bill.tenant_id):
        key = PaymentAttempt.objects.get(bill=bill).key
    ask("/v1/payment_intents", key=key, amount=100, currency="eur")

    results = [charge(bill), charge(bill)]

    assert results == ["declined", "busy"]
    assert "The processor refuses a key" in caplog.text
    assert attempts_of(bill) == ["failed"]
    assert (now(bill).status, now(bill).charge_due_at) == ("open", None)
    assert charges() == 1


REFUSED_AT = {
    "the customer": "/v1/customers",
    "the intent": "/v1/payment_intents",
    "the charge": "/v1/payment_intents/*/confirm",
}


@pytest.mark.parametrize("point", REFUSED_AT)
def test_what_the_processor_refuses_is_told_and_goes_through_the_calendar_without_tries(
    pat: User, point: str
) -> None:
    bill = billed(bought(pat))
    if point == "the customer":
        with use_login("owner"):
            ProcessorCustomer.objects.all().delete()
    fault("error", REFUSED_AT[point], status=400)

    assert charge(bill) == "declined"

    left = now(bill)
    assert (left.status, left.charge_due_at, left.decline_kind) == ("open", None, "hard")
    assert (left.last_decline, left.next_dunning_at) == ("processor_refuses", LATER + timedelta(days=1))
    assert (left.subscription.state, left.subscription.payment_failed_at) == ("active", LATER)
    assert left.subscription.pay_by_at == left.period_end
    assert attempts_of(bill) == ([] if point == "the customer" else ["failed"])
    assert left_alone() == []
    assert violations(at=LATER, only=["I-09", "I-10", "I-16"]) == []
    with tenant_atomic(pat.tenant_id):
        mail = OutgoingMail.objects.get(kind="payment_failed")
    body = str(message_of(mail).body)
    assert "The card processor did not take this charge. We look into it." in body
    assert "Pay with another one" not in body


def test_a_refusal_after_a_soft_decline_ends_access_in_time(pat: User) -> None:
    bill = billed(bought(pat))
    spoil_card(pat, "pm_card_visa_chargeDeclinedInsufficientFunds")
    assert charge(bill) == "declined"
    fault("error", "/v1/payment_intents", status=400)

    for day in range(1, 31):
        with use_login("worker"):
            charge_bill(bill_id=bill.pk, at=LATER + timedelta(days=day))
        dun_due(at=LATER + timedelta(days=day))

    left = now(bill)
    assert (left.tries, left.last_decline) == (2, "processor_refuses")
    assert (left.subscription.state, left.subscription.disabled_reason) == ("disabled", "unpaid")


def test_a_bill_that_was_not_tried_before_access_ended_is_tried_once_the_failed_one_is_paid(
    pat: User,
) -> None:
    subscription = bought(pat)
    failed, other = billed(subscription), billed(subscription, type="add_seats")
    spoil_card(pat, "pm_card_visa_chargeDeclinedStolenCard")
    assert charge(failed) == "declined"
    for day in (28, 31):
        dun_due(at=LATER + timedelta(days=day))
    assert (now(failed).subscription.state, now(other).charge_due_at) == ("disabled", None)
    paid_at = LATER + timedelta(days=40)
    with tenant_atomic(pat.tenant_id):
        pat.refresh_from_db()

    pay_bill(actor=actor_of(pat), number=failed.number, confirmation_token=card_token(), at=paid_at)

    left = now(other)
    assert (left.subscription.state, left.charge_due_at) == ("active", paid_at)
    assert left_alone() == []


def test_a_sum_too_small_for_a_card_is_not_asked_for_and_told(pat: User) -> None:
    bill = billed(bought(pat), price_minor=4)

    assert charge(bill) == "declined"

    left = now(bill)
    assert (left.total_minor, left.last_decline, left.decline_kind) == (48, "amount_too_small", "hard")
    assert attempts_of(bill) == []
    assert len(intents()) == 1


def test_a_charge_that_the_processor_does_not_know_any_more_waits_for_staff_and_is_not_told_as_failed(
    pat: User,
) -> None:
    bill = billed(bought(pat))
    fault("lose_answer", "/v1/payment_intents/*/confirm")
    assert charge(bill) == "pending"
    fault("error", "/v1/payment_intents/*", method="GET", status=400)

    assert charge(bill) == "withheld"

    left = now(bill)
    assert (attempts_of(bill), left.failed_at) == (["unknown"], None)
    assert left.charge_due_at == LATER + timedelta(hours=1)
    with use_login("worker"):
        assert charge_bill(bill_id=bill.pk, at=LATER + timedelta(hours=1)) == "paid"
    assert charges() == 2


def test_a_bill_that_nobody_would_charge_or_ask_for_breaks_an_invariant(pat: User) -> None:
    bill = billed(bought(pat))
    assert left_alone() == []
    with tenant_atomic(pat.tenant_id):
        Bill.objects.filter(pk=bill.pk).update(charge_due_at=None)

    assert left_alone() == [bill.number]


def ask(path: str, *, key: str, **params: object) -> None:
    """Somebody else asks the processor under this key."""
    answer = httpx.post(
        settings.STRIPE_API_BASE + path,
        auth=(settings.STRIPE_SECRET_KEY, ""),
        headers={"Idempotency-Key": key},
        data=params,
        timeout=20,
    )
    assert answer.status_code == 200, answer.text


def test_a_lease_keeps_a_second_sweep_away(pat: User) -> None:
    bill = billed(bought(pat))
    with use_login("worker"):
        taken = take_due_bills(at=LATER, limit=10)

        again = take_due_bills(at=LATER, limit=10)

    assert (taken, again) == ([bill.pk], [])
    assert charge(bill) == "busy"
    assert charge(bill, is_leased=True) == "paid"


def test_a_bill_that_is_not_due_yet_is_left_alone(pat: User) -> None:
    bill = billed(bought(pat))
    with use_login("worker"):
        assert charge_bill(bill_id=bill.pk, at=LATER - timedelta(seconds=1)) == "busy"

    assert charges() == 1


def test_the_receipt_of_a_payer_who_left_goes_to_the_billing_admins(tenant: Tenant, pat: User) -> None:
    admin = make_user(tenant, roles=(Role.BILLING_ADMIN,))
    bill = billed(bought(pat))
    with tenant_atomic(tenant.pk):
        User.objects.filter(pk=pat.pk).update(status="disabled")

    charge(bill)

    with tenant_atomic(tenant.pk):
        mail = OutgoingMail.objects.get(kind="renewal_receipt")
    assert mail.to_user_id == admin.pk
    assert mail.context["payer_left"] is True


def test_a_card_of_the_purchaser_never_pays_the_organizations_bill(tenant: Tenant, pat: User) -> None:
    subscription = make_self_service_subscription(pat)
    bill = billed(_with_entity(subscription))
    with tenant_atomic(tenant.pk):
        Bill.objects.filter(pk=bill.pk).update(payer=None)

    assert charge(bill) == "declined"

    assert now(bill).last_decline == "no_card"
    assert charges() == 0


def _with_entity(subscription: Subscription) -> Subscription:
    with tenant_atomic(subscription.tenant_id):
        return Subscription.objects.select_related("vendor_entity").get(pk=subscription.pk)
