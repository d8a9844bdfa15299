"""What the plans of a product cost for a subscription that may change to them (product §5.3)."""

from dataclasses import dataclass
from datetime import datetime

from commerce.models import AgreementPrice, Plan, Subscription
from commerce.queries.catalogue import PLAN_ORDER, prices_at


@dataclass(frozen=True, slots=True)
class PlanPrice:
    """One plan at today's price per seat and billing period, without tax."""

    plan: Plan
    unit_price_minor: int


def plan_prices(subscription: Subscription, at: datetime) -> list[PlanPrice]:
    """The plans that the subscription may renew into, its own included, in the order in which plans are shown.

    At the list price of its market, central ones at the agreement's; only in its own currency. One query.
    """
    if subscription.channel == Subscription.Channel.CENTRAL:
        agreed = AgreementPrice.objects.filter(
            tenant_id=subscription.tenant_id,
            agreement=subscription.agreement,
            plan__product_id=subscription.product_id,
            currency=subscription.currency,
        ).select_related("plan")
        found = [PlanPrice(price.plan, price.unit_price_minor) for price in agreed]
    else:
        listed = prices_at(market=subscription.market, at=at).filter(
            plan__product_id=subscription.product_id, currency=subscription.currency
        )
        found = [PlanPrice(price.plan, price.unit_price_minor) for price in listed]
    return sorted(
        found, key=lambda price: PLAN_ORDER.index((price.plan.term_months, price.plan.billing_months))
    )
