"""The organization's limits on what people spend, kept by every way to an order (product §9, docs/policy.md)."""

import uuid
from datetime import timedelta

import pytest

from commerce.gateways import Declined
from commerce.models import Bill, Checkout, Order, Subscription
from commerce.operations.changes import quote_addition, quote_reactivation
from commerce.operations.checkouts import BillingDetails, OverLimit, save_checkout, start_checkout
from commerce.operations.payments import Paid, pay_checkout
from commerce.operations.renewals import renew_due
from config.invariants import violations
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from directory.permissions import Role
from policies.models import MonthSpend, Permit, Spend
from policies.operations.policies import approval_threshold, change_policies, spend_cap
from policies.operations.spending import grant_permit
from policies.spending import Limit
from tests.factories import (
    AT,
    actor_of,
    make_checkout,
    make_self_service_subscription,
    make_subscription,
    make_tenant,
    make_user,
    plan,
)
from tests.processor import card_token, charges

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]

# Ten seats of Power BI Pro, a month, without tax.
PRICE = 9_400


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(tenant: Tenant) -> User:
    return make_user(tenant, name="Pat")


@pytest.fixture
def bill(tenant: Tenant) -> User:
    return make_user(tenant, roles=(Role.BILLING_ADMIN,))


def cap(bill: User, minor: int, basis: str = "person_month") -> None:
    limit = Limit(minor, basis)  # type: ignore[arg-type]
    change_policies(actor=actor_of(bill), changes=[spend_cap(limit, currency="EUR")], at=AT)


def threshold(bill: User, minor: int) -> None:
    limit = Limit(minor, "purchase")
    change_policies(actor=actor_of(bill), changes=[approval_threshold(limit, currency="EUR")], at=AT)


def pay(pat: User, checkout: Checkout, card: str = "pm_card_visa") -> object:
    return pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=card_token(card), at=AT)


def month(pat: User) -> tuple[int, list[str]]:
    with tenant_atomic(pat.tenant_id):
        spent = sum(MonthSpend.objects.filter(user=pat).values_list("spent_minor", flat=True))
        return spent, list(Spend.objects.order_by("id").values_list("state", flat=True))


def test_a_purchase_up_to_the_cap_is_paid_and_spent(pat: User, bill: User) -> None:
    cap(bill, PRICE)

    assert isinstance(pay(pat, make_checkout(pat, quantity=10)), Paid)

    assert month(pat) == (PRICE, ["spent"])
    assert violations(at=AT, only=["I-29"]) == []


def test_a_checkout_above_the_cap_is_not_saved(pat: User, bill: User) -> None:
    cap(bill, PRICE - 1)
    actor = actor_of(pat)
    monthly = plan()
    checkout = start_checkout(actor=actor, product=monthly.product, plan=monthly, quantity=10, at=AT)

    with pytest.raises(OverLimit) as refused:
        save_checkout(
            actor=actor,
            key=checkout.key,
            plan=monthly,
            quantity=10,
            billing=BillingDetails("Pat", "Keizersgracht 1", "1015 CJ", "Amsterdam", "NL"),
            takes_first_license=True,
            agrees_to_terms=True,
            seen_total_minor=checkout.total_minor,
            at=AT,
        )

    reason = refused.value.eligibility.reasons[0]
    assert reason.code == "spend_cap"
    assert "€93.99" in reason.advice
    with tenant_atomic(pat.tenant_id):
        checkout.refresh_from_db()
    assert (checkout.state, checkout.consented_at) == ("open", None)
    assert month(pat) == (0, [])


def test_a_cap_that_comes_between_saving_and_paying_refuses_the_charge(pat: User, bill: User) -> None:
    checkout = make_checkout(pat, quantity=10)
    cap(bill, PRICE - 1)

    with pytest.raises(OverLimit):
        pay(pat, checkout)

    with tenant_atomic(pat.tenant_id):
        checkout.refresh_from_db()
        assert not Order.objects.exists()
    assert (checkout.state, checkout.last_error) == ("open", "over_limit")
    assert charges() == 0
    assert month(pat) == (0, [])


def test_a_declined_card_gives_its_sum_back_to_the_month(pat: User, bill: User) -> None:
    cap(bill, PRICE)
    checkout = make_checkout(pat, quantity=10)

    with pytest.raises(Declined):
        pay(pat, checkout, "pm_card_visa_chargeDeclined")
    assert month(pat) == (0, ["released"])

    assert isinstance(pay(pat, checkout), Paid)
    assert month(pat) == (PRICE, ["spent"])


def test_a_limit_for_each_purchase_does_not_add_up(pat: User, bill: User) -> None:
    cap(bill, PRICE, "purchase")

    for slug in ("power-bi-pro", "power-bi-pro"):
        assert isinstance(pay(pat, make_checkout(pat, plan=plan(slug), quantity=10)), Paid)

    assert month(pat) == (2 * PRICE, ["spent", "spent"])


def test_above_the_threshold_an_approval_is_needed_and_used_once(pat: User, bill: User) -> None:
    checkout = make_checkout(pat, quantity=10)
    threshold(bill, PRICE - 1)
    with pytest.raises(OverLimit) as refused:
        pay(pat, checkout)
    assert refused.value.eligibility.codes == ("needs_approval",)

    grant_permit(
        actor=actor_of(bill),
        user_id=pat.pk,
        product_key=checkout.product.key,
        seats=10,
        sum_minor=PRICE,
        currency="EUR",
        at=AT,
    )
    assert isinstance(pay(pat, checkout), Paid)

    with tenant_atomic(pat.tenant_id):
        assert Permit.objects.get().used_for == checkout.key
    assert violations(at=AT, only=["I-29"]) == []


def test_added_seats_count_and_are_refused_above_the_cap(pat: User, bill: User) -> None:
    subscription = make_self_service_subscription(pat, quantity=10)
    cap(bill, 0)

    with tenant_atomic(pat.tenant_id), pytest.raises(OverLimit):
        quote_addition(actor=actor_of(pat), subscription=subscription, quantity=12, at=AT + timedelta(days=1))


def test_renewals_neither_count_nor_stop(pat: User, bill: User) -> None:
    subscription = make_self_service_subscription(pat, quantity=10)
    cap(bill, 0)

    renew_due(at=subscription.period_end)

    with tenant_atomic(pat.tenant_id):
        assert Bill.objects.filter(type="renewal").count() == 1
    assert month(pat) == (0, [])


@pytest.mark.parametrize(("state", "is_refused"), [("disabled", True), ("expired", False)])
def test_bringing_back_is_a_purchase_once_disabled_and_a_renewal_before(
    pat: User, bill: User, state: str, is_refused: bool
) -> None:
    ended = AT - timedelta(days=40 if state == "disabled" else 5)
    subscription = make_subscription(
        pat.tenant,
        owner=pat,
        state=state,
        period_start=ended - timedelta(days=31),
        period_end=ended,
        term_end=ended,
        expired_at=ended,
        disabled_at=ended + timedelta(days=30) if state == "disabled" else None,
        disabled_reason="ended" if state == "disabled" else "",
        recurring_billing=False,
    )
    cap(bill, 0)
    refused: list[str] = []

    with tenant_atomic(pat.tenant_id):
        try:
            quote_reactivation(actor=actor_of(pat), subscription=subscription, at=AT)
        except OverLimit as over:
            refused += over.eligibility.codes

    assert refused == (["spend_cap"] if is_refused else [])


def test_what_the_organization_owns_is_not_counted(tenant: Tenant, bill: User) -> None:
    subscription = make_subscription(tenant, quantity=10)
    cap(bill, 0)

    with tenant_atomic(tenant.pk):
        quote = quote_addition(
            actor=actor_of(bill), subscription=subscription, quantity=12, at=AT + timedelta(days=1)
        )

    assert quote.added == 2


def test_a_cause_counts_once_whoever_asks(pat: User) -> None:
    checkout = make_checkout(pat, quantity=10)
    pay(pat, checkout)

    pay(pat, checkout)

    assert month(pat) == (PRICE, ["spent"])
    assert charges() == 1
    assert isinstance(checkout.key, uuid.UUID)
    with tenant_atomic(pat.tenant_id):
        assert Subscription.objects.count() == 1
