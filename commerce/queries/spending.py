"""What a purchase costs its buyer, as the tenant's limits count it (product §9)."""

import uuid
from datetime import datetime

from commerce.models import Checkout, Product, Subscription
from commerce.queries.catalogue import product_keys
from config.kit.actors import Actor
from directory.actors import tenant_row
from policies.eligibility import Reason, of_the_sum
from policies.queries.spending import Purchase, limits_of, spending_of


def purchase_by(
    *,
    tenant_id: int,
    user_id: int,
    product: Product,
    seats: int,
    amount_minor: int,
    currency: str,
    cause: uuid.UUID | None = None,
) -> Purchase:
    """A person's purchase for the limits; `amount_minor` is the whole first charge without tax. Two queries."""
    return Purchase(
        user_id=user_id,
        product_keys=product_keys(product),
        seats=seats,
        amount_minor=amount_minor,
        currency=currency,
        time_zone=tenant_row(tenant_id).time_zone,
        cause=cause,
    )


def is_counted(subscription: Subscription, kind: str) -> bool:
    """Whether a change of it counts as spending: added seats of a person's own, and bringing it back once Disabled.

    What the organization owns is its own affair, and bringing back while Expired is a renewal.
    """
    if subscription.is_organizations:
        return False
    return kind == Checkout.Kind.ADD_SEATS or bool(subscription.state == Subscription.State.DISABLED)


def over_limit_reason(*, actor: Actor, checkout: Checkout, at: datetime) -> Reason | None:
    """Why the organization's limits refuse what the checkout costs; None where they do not.

    One query where there are no limits, eight at most.
    """
    purchase = None if limits_of(actor=actor).are_none else purchase_of(checkout)
    if purchase is None:
        return None
    spending = spending_of(actor=actor, purchase=purchase, at=at)
    return next(of_the_sum(spending, tenant_row(actor.tenant_id).name), None)


def purchase_of(checkout: Checkout) -> Purchase | None:
    """What a checkout counts for the limits; None where it does not. Two queries at most."""
    if checkout.kind == Checkout.Kind.TRIAL:
        return None
    if checkout.kind != Checkout.Kind.PURCHASE and not is_counted(checkout.changed, checkout.kind):
        return None
    return purchase_by(
        tenant_id=checkout.tenant_id,
        user_id=checkout.user_id,
        product=checkout.product,
        seats=checkout.quantity,
        amount_minor=checkout.subtotal_minor,
        currency=checkout.currency,
        cause=checkout.key,
    )
