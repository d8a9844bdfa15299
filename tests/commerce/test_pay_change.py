"""Paying added seats against the real processor peer: every outcome, with a saved and with a new card.

The sequence is `pay_checkout`'s; here is what differs: whose card, what is checked, what is made (product §5.4).
"""

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest

from commerce.gateways import Declined
from commerce.models import (
    Bill,
    Card,
    Checkout,
    Order,
    OrderLine,
    Payment,
    PaymentAttempt,
    Refund,
    Subscription,
)
from commerce.operations.changes import start_adding_seats
from commerce.operations.checkouts import CheckoutClosed, NotEligible, PriceChanged
from commerce.operations.payments import (
    ActionNeeded,
    Paid,
    Pending,
    finish_checkout,
    pay_change,
    pay_checkout,
    settle_attempts,
)
from commerce.queries.catalogue import product_keys
from config.kit.errors import Conflict, Malformed, NotVisible
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import OutgoingMail, RoleAssignment, Tenant, User
from policies.operations.policies import set_product_policy
from tests.factories import AT, actor_of, make_checkout, make_tenant, make_user, product
from tests.processor import authenticate, card_token, charges, fault, intents

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]

# Ten days into a period of 31: 21 days are left.
LATER = AT + timedelta(days=10)
# 4 x 9.40 x 21/31 = 25.47, and 21 % VAT.
ADDED_MINOR = 3_082


@pytest.fixture
def pat() -> User:
    return make_user(make_tenant(name="Contoso"), name="Pat")


@pytest.fixture
def subscription(pat: User) -> Subscription:
    """Ten seats, bought and paid at the processor."""
    return buy(pat)


def buy(user: User, card: str = "pm_card_visa") -> Subscription:
    checkout = make_checkout(user, quantity=10)
    paid = pay_checkout(actor=actor_of(user), key=checkout.key, confirmation_token=card_token(card), at=AT)
    if isinstance(paid, ActionNeeded):
        authenticate(intents()[0]["id"])
        finish_checkout(actor=actor_of(user), key=checkout.key, at=AT)
    with tenant_atomic(user.tenant_id):
        user.refresh_from_db()
        return Subscription.objects.get()


@pytest.fixture
def change(pat: User, subscription: Subscription) -> Checkout:
    """Four more, counted and not paid yet."""
    return start(pat, subscription)


def start(user: User, subscription: Subscription, quantity: int = 14, total: int = ADDED_MINOR) -> Checkout:
    return start_adding_seats(
        actor=actor_of(user, at=LATER),
        key=subscription.key,
        intent=uuid.uuid4(),
        quantity=quantity,
        version=now_of(subscription).version,
        seen_total_minor=total,
        at=LATER,
    )


def now_of(subscription: Subscription) -> Subscription:
    with tenant_atomic(subscription.tenant_id):
        return Subscription.objects.get(pk=subscription.pk)


def card_of(user: User) -> Card:
    with tenant_atomic(user.tenant_id):
        return Card.objects.get(user=user)


def spoil_card(user: User, card: str) -> None:
    """Make the bank of the saved card answer otherwise from now on."""
    with tenant_atomic(user.tenant_id):
        Card.objects.filter(user=user).update(processor_id=card)


type Pay = Callable[..., object]


@pytest.fixture
def pay(pat: User) -> Pay:
    """Pay a change with Pat's saved card, or with a new one when a token is given."""

    def with_card(change: Checkout, token: str = "", **changes: object) -> object:
        means = {"confirmation_token": token} if token else {"card_id": card_of(pat).pk}
        values = {"actor": actor_of(pat), "key": change.key, "version": change.version, "at": LATER}
        return pay_change(**{**values, **means, **changes})  # type: ignore[arg-type]

    return with_card


def state_of(change: Checkout) -> tuple[str, str]:
    with tenant_atomic(change.tenant_id):
        row = Checkout.objects.get(pk=change.pk)
    return row.state, row.last_error


def attempts_of(change: Checkout) -> list[str]:
    with tenant_atomic(change.tenant_id):
        rows = PaymentAttempt.objects.filter(checkout=change).order_by("id")
        return list(rows.values_list("state", flat=True))


def nothing_changed(subscription: Subscription) -> bool:
    """Ten seats as bought, one order, one bill, one charge."""
    row = now_of(subscription)
    with tenant_atomic(subscription.tenant_id):
        return (
            (row.quantity, row.version, charges()) == (10, subscription.version, 1)
            and Order.objects.count() == 1
            and Bill.objects.count() == 1
        )


def test_the_saved_card_is_charged_once_and_the_seats_are_there(
    pat: User, subscription: Subscription, change: Checkout, pay: Pay
) -> None:
    outcome = pay(change)

    assert isinstance(outcome, Paid)
    assert charges() == 2
    assert state_of(change) == ("paid", "")
    row = now_of(subscription)
    assert (row.quantity, row.period_price_minor, row.version) == (14, 13_160, subscription.version + 1)
    with tenant_atomic(pat.tenant_id):
        order = Order.objects.get(type="add_seats")
        line = OrderLine.objects.get(order=order)
        bill = Bill.objects.get(order=order)
        payment = Payment.objects.get(bill=bill)
        assert outcome.order == order
        assert (order.checkout_id, order.actor_user_id) == (change.pk, pat.pk)
        assert (line.quantity, line.unit_price_minor, line.amount_minor) == (4, 940, 2_547)
        assert (bill.type, bill.status, bill.collection) == ("add_seats", "paid", "card")
        assert (bill.subtotal_minor, bill.tax_minor, bill.paid_minor) == (2_547, 535, ADDED_MINOR)
        assert (bill.period_start, bill.period_end) == (change.service_start, row.period_end)
        assert (payment.amount_minor, payment.attempt.card_processor_id) == (
            ADDED_MINOR,
            card_of(pat).processor_id,
        )
        mail = OutgoingMail.objects.get(kind="seats_changed")
        assert (mail.to_user_id, mail.context["count"], mail.context["quantity"]) == (pat.pk, 4, 14)
        assert Card.objects.count() == 1
    assert (intents()[0]["amount"], intents()[0]["currency"]) == (ADDED_MINOR, "eur")


def test_a_new_card_is_charged_and_kept_and_the_purchase_keeps_its_own(
    pat: User, subscription: Subscription, change: Checkout, pay: Pay
) -> None:
    before = subscription.card_id

    outcome = pay(change, card_token("pm_card_mastercard"))

    assert isinstance(outcome, Paid)
    assert now_of(subscription).card_id == before
    with tenant_atomic(pat.tenant_id):
        assert set(Card.objects.values_list("brand", "is_default")) == {("visa", True), ("mastercard", False)}


def test_a_double_click_and_a_reload_charge_once(
    subscription: Subscription, change: Checkout, pay: Pay
) -> None:
    first, second = pay(change), pay(change)

    assert isinstance(first, Paid)
    assert isinstance(second, Paid)
    assert first.order == second.order
    assert (charges(), now_of(subscription).quantity) == (2, 14)


def test_a_declined_saved_card_leaves_the_change_open_and_adds_nothing(
    pat: User, subscription: Subscription, change: Checkout, pay: Pay
) -> None:
    spoil_card(pat, "pm_card_visa_chargeDeclinedInsufficientFunds")

    with pytest.raises(Declined) as declined:
        pay(change)

    assert declined.value.decline_code == "insufficient_funds"
    assert state_of(change) == ("open", "insufficient_funds")
    assert nothing_changed(subscription)


def test_the_second_click_on_a_declined_page_gets_the_same_refusal(
    pat: User, subscription: Subscription, change: Checkout, pay: Pay
) -> None:
    spoil_card(pat, "pm_card_visa_chargeDeclinedInsufficientFunds")
    with pytest.raises(Declined):
        pay(change)

    with pytest.raises(Declined):
        pay(change)

    assert attempts_of(change) == ["failed"]
    assert nothing_changed(subscription)


def test_a_page_that_told_of_the_decline_may_try_the_saved_card_again(
    pat: User, subscription: Subscription, change: Checkout, pay: Pay
) -> None:
    spoil_card(pat, "pm_card_visa_chargeDeclinedInsufficientFunds")
    with pytest.raises(Declined):
        pay(change)
    spoil_card(pat, "pm_card_visa")
    with tenant_atomic(pat.tenant_id):
        shown = Checkout.objects.get(pk=change.pk)

    outcome = pay(shown)

    assert isinstance(outcome, Paid)
    assert attempts_of(change) == ["failed", "succeeded"]


def test_the_bank_asks_about_a_saved_card_and_gets_its_answer(pat: User) -> None:
    subscription = buy(pat, "pm_card_threeDSecure2Required")
    change = start(pat, subscription)
    means = {"card_id": card_of(pat).pk, "version": change.version}
    asked = pay_change(actor=actor_of(pat), key=change.key, at=LATER, **means)
    assert isinstance(asked, ActionNeeded)
    assert asked.client_secret == intents()[0]["client_secret"]
    assert now_of(subscription).quantity == 10
    authenticate(intents()[0]["id"])

    outcome = finish_checkout(actor=actor_of(pat), key=change.key, at=LATER)

    assert isinstance(outcome, Paid)
    assert (charges(), now_of(subscription).quantity) == (2, 14)


def test_a_lost_answer_is_settled_by_whoever_asks_next(
    subscription: Subscription, change: Checkout, pay: Pay
) -> None:
    fault("lose_answer", "/v1/payment_intents/*/confirm")
    assert isinstance(pay(change), Pending)
    assert now_of(subscription).quantity == 10

    with use_login("worker"):
        settle_attempts(LATER + timedelta(minutes=5))

    assert state_of(change) == ("paid", "")
    assert (charges(), now_of(subscription).quantity) == (2, 14)


def test_refuses_without_a_card(subscription: Subscription, change: Checkout, pay: Pay) -> None:
    with pytest.raises(Malformed):
        pay(change, card_id=None)

    assert attempts_of(change) == []


def test_refuses_a_colleagues_card(pat: User, subscription: Subscription, change: Checkout, pay: Pay) -> None:
    with tenant_atomic(pat.tenant_id):
        bob = make_user(Tenant.objects.get(pk=pat.tenant_id))
    with tenant_atomic(pat.tenant_id):
        foreign = Card.objects.create(
            tenant_id=pat.tenant_id,
            user=bob,
            processor_id="pm_bobs",
            brand="visa",
            last4="1111",
            expires_year=2030,
            expires_month=1,
            added_at=AT,
        )

    with pytest.raises(Malformed):
        pay(change, card_id=foreign.pk)

    assert attempts_of(change) == []


def test_a_colleagues_change_does_not_exist(pat: User, change: Checkout) -> None:
    with tenant_atomic(pat.tenant_id):
        bob = make_user(Tenant.objects.get(pk=pat.tenant_id))
    for actor in (actor_of(bob), actor_of(make_user(make_tenant()))):
        with pytest.raises(NotVisible):
            pay_change(actor=actor, key=change.key, version=0, confirmation_token="ctoken_x", at=LATER)

    assert attempts_of(change) == []


def test_a_purchase_is_not_a_change_and_a_change_no_purchase(pat: User, change: Checkout) -> None:
    purchase = make_checkout(pat, quantity=1, at=LATER)

    with pytest.raises(NotVisible):
        pay_change(
            actor=actor_of(pat), key=purchase.key, version=0, confirmation_token=card_token(), at=LATER
        )
    with pytest.raises(NotVisible):
        pay_checkout(actor=actor_of(pat), key=change.key, confirmation_token=card_token(), at=LATER)

    assert charges() == 1


def test_an_older_page_is_refused(subscription: Subscription, change: Checkout, pay: Pay) -> None:
    with pytest.raises(Conflict):
        pay(change, version=change.version + 1)

    assert attempts_of(change) == []


def test_a_sum_of_yesterday_is_refused_with_todays(
    subscription: Subscription, change: Checkout, pay: Pay
) -> None:
    with pytest.raises(PriceChanged) as changed:
        pay(change, at=LATER + timedelta(hours=20))

    assert changed.value.quote.total_minor == 2_935  # 20 of 31 days
    assert attempts_of(change) == ["canceled"]
    assert nothing_changed(subscription)


def test_a_change_older_than_a_day_is_closed(subscription: Subscription, change: Checkout, pay: Pay) -> None:
    with pytest.raises(CheckoutClosed):
        pay(change, at=LATER + timedelta(hours=24))

    assert nothing_changed(subscription)


def test_who_may_not_buy_any_more_is_refused_with_the_reason(
    pat: User, subscription: Subscription, change: Checkout, pay: Pay
) -> None:
    forbid(pat)

    with pytest.raises(NotEligible) as refused:
        pay(change)

    assert refused.value.eligibility.codes == ("policy_disabled",)
    assert state_of(change) == ("open", "not_eligible")
    assert nothing_changed(subscription)


def test_a_confirmed_charge_stands_when_the_policy_changes_meanwhile(
    pat: User, subscription: Subscription, change: Checkout, pay: Pay
) -> None:
    fault("lose_answer", "/v1/payment_intents/*/confirm")
    pay(change)
    forbid(pat)

    outcome = finish_checkout(actor=actor_of(pat), key=change.key, at=LATER)

    assert isinstance(outcome, Paid)
    assert now_of(subscription).quantity == 14


def test_a_confirmed_charge_is_given_back_when_the_purchase_has_ended_meanwhile(
    pat: User, subscription: Subscription, change: Checkout, pay: Pay
) -> None:
    fault("lose_answer", "/v1/payment_intents/*/confirm")
    pay(change)
    with tenant_atomic(pat.tenant_id):
        Subscription.objects.update(state="disabled")

    with pytest.raises(CheckoutClosed):
        finish_checkout(actor=actor_of(pat), key=change.key, at=LATER)

    assert state_of(change) == ("abandoned", "nothing_to_give")
    assert now_of(subscription).quantity == 10
    with tenant_atomic(pat.tenant_id):
        assert Refund.objects.get().amount_minor == ADDED_MINOR


def asked_as_billing_admin(subscription: Subscription) -> tuple[User, Checkout]:
    """Four more seats of what the organization owns, asked for by a billing admin, who then loses the role."""
    with tenant_atomic(subscription.tenant_id):
        Subscription.objects.update(owner_kind="organization", owner_user=None, card=None)
        tenant = Tenant.objects.get(pk=subscription.tenant_id)
    bill = make_user(tenant, roles=("billing_admin",))
    change = start(bill, subscription)
    outcome = pay_change(
        actor=actor_of(bill),
        key=change.key,
        version=change.version,
        confirmation_token=card_token("pm_card_threeDSecure2Required"),
        at=LATER,
    )
    assert isinstance(outcome, ActionNeeded)
    with tenant_atomic(subscription.tenant_id):
        RoleAssignment.objects.filter(user=bill).delete()
    return bill, change


def test_what_the_bank_confirmed_stands_for_whoever_lost_the_role_meanwhile(
    subscription: Subscription,
) -> None:
    bill, change = asked_as_billing_admin(subscription)
    authenticate(intents()[0]["id"])

    with use_login("worker"):
        settle_attempts(LATER + timedelta(minutes=30))

    assert now_of(subscription).quantity == 14
    assert (state_of(change)[0], charges()) == ("paid", 2)
    with pytest.raises(NotVisible):
        start(bill, subscription, quantity=15)


def test_what_the_bank_was_not_told_is_not_charged_to_whoever_lost_the_role_meanwhile(
    subscription: Subscription,
) -> None:
    bill, change = asked_as_billing_admin(subscription)

    with pytest.raises(NotVisible):
        pay_change(
            actor=actor_of(bill),
            key=change.key,
            version=change.version,
            confirmation_token=card_token("pm_card_visa"),
            at=LATER,
        )
    with use_login("worker"):
        settle_attempts(LATER + timedelta(hours=25))

    assert now_of(subscription).quantity == 10
    assert (attempts_of(change), charges()) == (["canceled"], 1)


def forbid(user: User) -> None:
    with tenant_atomic(user.tenant_id):
        gina = make_user(Tenant.objects.get(pk=user.tenant_id), roles=("global_admin",))
    set_product_policy(
        actor=actor_of(gina, at=LATER), product_keys=product_keys(product()), value="Disabled", at=LATER
    )
