"""Paying a checkout against the real processor peer: every outcome (product §3.4, architecture §8)."""

import uuid
from datetime import timedelta

import pytest

from commerce.gateways import Declined, Retryable
from commerce.models import (
    Bill,
    Card,
    Checkout,
    Order,
    Payment,
    PaymentAttempt,
    Refund,
    Subscription,
)
from commerce.operations.checkouts import CheckoutClosed, NotEligible, PriceChanged
from commerce.operations.payments import ActionNeeded, Paid, Pending, finish_checkout, pay_checkout
from config.kit.errors import Malformed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import OutgoingMail, Tenant, User
from directory.permissions import Role
from tests.factories import AT, actor_of, make_checkout, make_price, make_tenant, make_user, plan
from tests.processor import authenticate, card_token, charges, fault, intents

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


@pytest.fixture
def pat(tenant: Tenant) -> User:
    return make_user(tenant, name="Pat")


@pytest.fixture
def checkout(pat: User) -> Checkout:
    return make_checkout(pat, quantity=10)


def nothing_was_bought(tenant: Tenant) -> bool:
    with tenant_atomic(tenant.pk):
        return not any(
            model.objects.exists() for model in (Order, Subscription, Bill, Payment, Card, OutgoingMail)
        )


def state_of(checkout: Checkout) -> tuple[str, str]:
    with tenant_atomic(checkout.tenant_id):
        row = Checkout.objects.get(pk=checkout.pk)
    return row.state, row.last_error


def attempts_of(checkout: Checkout) -> list[str]:
    with tenant_atomic(checkout.tenant_id):
        return list(
            PaymentAttempt.objects.filter(checkout=checkout).order_by("id").values_list("state", flat=True)
        )


def test_a_good_card_is_charged_once_and_makes_the_order(pat: User, checkout: Checkout) -> None:
    outcome = pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=card_token(), at=AT)

    assert isinstance(outcome, Paid)
    assert charges() == 1
    assert state_of(checkout) == ("paid", "")
    with tenant_atomic(pat.tenant_id):
        bill = Bill.objects.get()
        attempt = PaymentAttempt.objects.get()
        payment = Payment.objects.get()
        card = Card.objects.get()
        subscription = Subscription.objects.get()
        assert outcome.order.checkout_id == checkout.pk
        assert (bill.status, bill.paid_minor, bill.total_minor) == ("paid", 11_374, 11_374)
        assert (attempt.state, attempt.amount_minor, attempt.leased_until) == ("succeeded", 11_374, None)
        assert (payment.attempt_id, payment.amount_minor) == (attempt.pk, 11_374)
        assert payment.card == Card.objects.get()
        assert payment.processor_charge_id.startswith("ch_")
        assert (card.user_id, card.last4, card.is_default) == (pat.pk, "4242", True)
        assert subscription.card_id == card.pk
    intent = intents()[0]
    assert (intent["amount"], intent["currency"]) == (11_374, "eur")
    assert intent["metadata"] == {
        "tenant": str(pat.tenant_id),
        "checkout": str(checkout.key),
        "attempt": attempt.key,
    }


def test_the_buyer_gets_a_receipt_and_the_admins_a_notice(tenant: Tenant, pat: User) -> None:
    gina = make_user(tenant, roles=(Role.GLOBAL_ADMIN,))
    bill = make_user(tenant, roles=(Role.BILLING_ADMIN, Role.GLOBAL_ADMIN))
    make_user(tenant, roles=(Role.LICENSE_ADMIN,))
    checkout = make_checkout(pat)

    pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=card_token(), at=AT)

    with tenant_atomic(tenant.pk):
        queued = set(OutgoingMail.objects.values_list("kind", "to_user_id"))
    assert queued == {("receipt", pat.pk), ("purchase_notice", gina.pk), ("purchase_notice", bill.pk)}


def test_paying_again_gives_the_same_order(pat: User, checkout: Checkout) -> None:
    token = card_token()
    first = pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=token, at=AT)

    second = pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=card_token(), at=AT)

    assert isinstance(first, Paid)
    assert isinstance(second, Paid)
    assert first.order.pk == second.order.pk
    assert charges() == 1


@pytest.mark.parametrize(
    ("card", "kind", "code"),
    [
        ("pm_card_visa_chargeDeclined", "soft", "generic_decline"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "soft", "insufficient_funds"),
        ("pm_card_visa_chargeDeclinedLostCard", "hard", "lost_card"),
        ("pm_card_chargeDeclinedExpiredCard", "hard", "expired_card"),
        ("pm_card_chargeDeclinedIncorrectCvc", "soft", "incorrect_cvc"),
    ],
)
def test_a_declined_card_makes_no_order_and_leaves_the_checkout_open(
    tenant: Tenant, pat: User, checkout: Checkout, card: str, kind: str, code: str
) -> None:
    with pytest.raises(Declined) as declined:
        pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=card_token(card), at=AT)

    assert (declined.value.kind, declined.value.decline_code) == (kind, code)
    assert state_of(checkout) == ("open", code)
    assert attempts_of(checkout) == ["failed"]
    assert nothing_was_bought(tenant)
    assert charges() == 0
    assert intents()[0]["status"] == "canceled"


def test_another_card_pays_after_a_decline(pat: User, checkout: Checkout) -> None:
    with pytest.raises(Declined):
        pay_checkout(
            actor=actor_of(pat),
            key=checkout.key,
            confirmation_token=card_token("pm_card_visa_chargeDeclined"),
            at=AT,
        )

    outcome = pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=card_token(), at=AT)

    assert isinstance(outcome, Paid)
    assert attempts_of(checkout) == ["failed", "succeeded"]
    assert charges() == 1


def test_the_same_card_details_again_get_the_same_refusal(pat: User, checkout: Checkout) -> None:
    token = card_token("pm_card_visa_chargeDeclined")
    with pytest.raises(Declined):
        pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=token, at=AT)

    with pytest.raises(Declined) as again:
        pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=token, at=AT)

    assert again.value.decline_code == "generic_decline"
    assert attempts_of(checkout) == ["failed"]


def test_a_token_that_the_processor_does_not_know_is_refused(
    tenant: Tenant, pat: User, checkout: Checkout
) -> None:
    with pytest.raises(Declined) as declined:
        pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token="ctoken_forged", at=AT)

    assert declined.value.decline_code == "card_details_unusable"
    assert state_of(checkout) == ("open", "card_details_unusable")
    assert nothing_was_bought(tenant)


@pytest.mark.parametrize("token", ["", "x" * 81])
def test_refuses_without_card_details(pat: User, checkout: Checkout, token: str) -> None:
    with pytest.raises(Malformed):
        pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=token, at=AT)

    assert attempts_of(checkout) == []


def test_the_bank_asks_for_a_confirmation_and_gets_it(pat: User, checkout: Checkout) -> None:
    asked = pay_checkout(
        actor=actor_of(pat),
        key=checkout.key,
        confirmation_token=card_token("pm_card_threeDSecure2Required"),
        at=AT,
    )
    assert isinstance(asked, ActionNeeded)
    assert asked.client_secret == intents()[0]["client_secret"]
    assert state_of(checkout) == ("action", "")
    authenticate(intents()[0]["id"])

    outcome = finish_checkout(actor=actor_of(pat), key=checkout.key, at=AT)

    assert isinstance(outcome, Paid)
    assert attempts_of(checkout) == ["succeeded"]
    assert charges() == 1


def test_a_confirmation_that_fails_is_a_decline(tenant: Tenant, pat: User, checkout: Checkout) -> None:
    pay_checkout(
        actor=actor_of(pat),
        key=checkout.key,
        confirmation_token=card_token("pm_card_threeDSecure2Required"),
        at=AT,
    )
    authenticate(intents()[0]["id"], succeeds=False)

    with pytest.raises(Declined) as declined:
        finish_checkout(actor=actor_of(pat), key=checkout.key, at=AT)

    assert declined.value.decline_code == "payment_intent_authentication_failure"
    assert state_of(checkout) == ("open", "payment_intent_authentication_failure")
    assert nothing_was_bought(tenant)


def test_while_the_bank_waits_another_card_ends_the_first_attempt(pat: User, checkout: Checkout) -> None:
    pay_checkout(
        actor=actor_of(pat),
        key=checkout.key,
        confirmation_token=card_token("pm_card_threeDSecure2Required"),
        at=AT,
    )

    outcome = pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=card_token(), at=AT)

    assert isinstance(outcome, Paid)
    assert attempts_of(checkout) == ["canceled", "succeeded"]
    assert [intent["status"] for intent in intents()] == ["succeeded", "canceled"]
    assert charges() == 1


def test_a_reload_while_the_bank_waits_asks_the_same_again(pat: User, checkout: Checkout) -> None:
    token = card_token("pm_card_threeDSecure2Required")
    first = pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=token, at=AT)

    second = pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=token, at=AT)

    assert first == second
    assert len(intents()) == 1


def test_no_answer_to_the_creation_charges_nothing_and_the_next_click_goes_on(
    pat: User, checkout: Checkout
) -> None:
    fault("lose_answer", "/v1/payment_intents", count=3)
    token = card_token()
    with pytest.raises(Retryable):
        pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=token, at=AT)
    assert attempts_of(checkout) == ["created"]

    outcome = pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=token, at=AT)

    assert isinstance(outcome, Paid)
    assert len(intents()) == 1
    assert charges() == 1


def test_a_lost_answer_to_the_charge_is_settled_by_asking_about_that_intent(
    pat: User, checkout: Checkout
) -> None:
    fault("lose_answer", "/v1/payment_intents/*/confirm")
    token = card_token()
    pending = pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=token, at=AT)
    assert isinstance(pending, Pending)
    assert attempts_of(checkout) == ["unknown"]

    outcome = finish_checkout(actor=actor_of(pat), key=checkout.key, at=AT)

    assert isinstance(outcome, Paid)
    assert charges() == 1
    assert len(intents()) == 1


def test_a_charge_that_never_reached_the_processor_is_confirmed_by_the_same_id(
    pat: User, checkout: Checkout
) -> None:
    fault("lose_request", "/v1/payment_intents/*/confirm")
    pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=card_token(), at=AT)

    outcome = finish_checkout(actor=actor_of(pat), key=checkout.key, at=AT)

    assert isinstance(outcome, Paid)
    assert len(intents()) == 1
    assert charges() == 1


def test_another_persons_checkout_does_not_exist(tenant: Tenant, checkout: Checkout) -> None:
    bob = make_user(tenant)
    charlie = make_user(make_tenant())
    for actor in (actor_of(bob), actor_of(charlie)):
        with pytest.raises(NotVisible):
            pay_checkout(actor=actor, key=checkout.key, confirmation_token=card_token(), at=AT)

    assert attempts_of(checkout) == []
    assert charges() == 0


def test_an_unknown_checkout_does_not_exist(pat: User) -> None:
    with pytest.raises(NotVisible):
        pay_checkout(actor=actor_of(pat), key=uuid.uuid4(), confirmation_token=card_token(), at=AT)


def test_a_checkout_older_than_a_day_is_closed(pat: User, checkout: Checkout) -> None:
    with pytest.raises(CheckoutClosed):
        pay_checkout(
            actor=actor_of(pat),
            key=checkout.key,
            confirmation_token=card_token(),
            at=AT + timedelta(hours=24),
        )

    assert charges() == 0


def test_who_lost_the_right_before_the_charge_is_refused_with_the_reason(
    tenant: Tenant, pat: User, checkout: Checkout
) -> None:
    with tenant_atomic(tenant.pk):
        Tenant.objects.filter(pk=tenant.pk).update(standing=Tenant.Standing.SUSPENDED)

    with pytest.raises(NotEligible):
        pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=card_token(), at=AT)

    assert attempts_of(checkout) == ["canceled"]
    assert state_of(checkout) == ("open", "not_eligible")
    assert intents()[0]["status"] == "canceled"
    assert nothing_was_bought(tenant)
    assert charges() == 0


def test_a_confirmed_charge_stands_when_the_right_is_lost_meanwhile(
    tenant: Tenant, pat: User, checkout: Checkout
) -> None:
    fault("lose_answer", "/v1/payment_intents/*/confirm")
    pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=card_token(), at=AT)
    with tenant_atomic(tenant.pk):
        Tenant.objects.filter(pk=tenant.pk).update(standing=Tenant.Standing.SUSPENDED)

    outcome = finish_checkout(actor=actor_of(pat), key=checkout.key, at=AT)

    assert isinstance(outcome, Paid)
    assert charges() == 1


def test_a_price_that_changed_before_the_charge_is_refused_with_the_new_one(
    tenant: Tenant, pat: User, checkout: Checkout
) -> None:
    make_price(plan(), unit_price_minor=990, valid_from=AT + timedelta(minutes=1))

    with pytest.raises(PriceChanged) as changed:
        pay_checkout(
            actor=actor_of(pat),
            key=checkout.key,
            confirmation_token=card_token(),
            at=AT + timedelta(minutes=2),
        )

    assert changed.value.quote.total_minor == 11_979
    assert nothing_was_bought(tenant)
    assert charges() == 0


def test_an_intent_that_differs_from_the_row_is_parked_and_never_recorded(
    tenant: Tenant, pat: User, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from commerce.gateways import stripe

    real = stripe.confirm_intent
    monkeypatch.setattr(
        stripe, "confirm_intent", lambda *args, **facts: replace(real(*args, **facts), amount_minor=1)
    )

    outcome = pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=card_token(), at=AT)

    assert isinstance(outcome, Pending)
    with tenant_atomic(tenant.pk):
        attempt = PaymentAttempt.objects.get()
    assert (attempt.state, attempt.decline_code) == ("confirming", "mismatch")
    assert nothing_was_bought(tenant)


def test_a_charge_that_comes_after_its_attempt_ended_is_given_back(
    tenant: Tenant, pat: User, checkout: Checkout
) -> None:
    from commerce.gateways import stripe
    from commerce.operations.payments import settle_intent

    fault("lose_request", "/v1/payment_intents/*/confirm")
    token = card_token()
    pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=token, at=AT)
    with tenant_atomic(tenant.pk):
        PaymentAttempt.objects.update(state="canceled")
        intent_id = PaymentAttempt.objects.get().intent_id
    stripe.confirm_intent(intent_id, confirmation_token=token)

    settle_intent(intent_id, at=AT)
    settle_intent(intent_id, at=AT)

    with tenant_atomic(tenant.pk):
        assert Refund.objects.get().amount_minor == 11_374
    assert nothing_was_bought(tenant)


def test_the_attempt_is_committed_before_the_processor_is_called(
    pat: User, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I-09, looked at through another connection."""
    from commerce.gateways import stripe
    from config.kit.tenancy import use_login

    seen = []
    real_create, real_confirm = stripe.create_intent, stripe.confirm_intent

    def look(state: str) -> None:
        with use_login("worker"):
            seen.append((state, *PaymentAttempt.objects.values_list("state", "intent_id").get()))

    def create(**facts: object) -> object:
        look("create")
        return real_create(**facts)

    def confirm(intent_id: str, **facts: object) -> object:
        look("confirm")
        return real_confirm(intent_id, **facts)

    monkeypatch.setattr(stripe, "create_intent", create)
    monkeypatch.setattr(stripe, "confirm_intent", confirm)

    pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=card_token(), at=AT)

    assert seen == [("create", "created", None), ("confirm", "confirming", intents()[0]["id"])]


def test_who_was_refused_by_us_is_not_told_that_the_bank_declined(pat: User, checkout: Checkout) -> None:
    with tenant_atomic(pat.tenant_id):
        Tenant.objects.update(standing=Tenant.Standing.SUSPENDED)
    token = card_token()
    with pytest.raises(NotEligible):
        pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=token, at=AT)

    with pytest.raises(CheckoutClosed):
        finish_checkout(actor=actor_of(pat), key=checkout.key, at=AT)
