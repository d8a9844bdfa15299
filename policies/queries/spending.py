"""What a purchase means for the limits, with what the person has spent in its month (product §9)."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from config.kit.actors import Actor
from policies.models import MonthSpend, Permit, Spend, TenantPolicy
from policies.queries.policies import limits_in
from policies.spending import Limits, Spending, judge, month_of


@dataclass(frozen=True, slots=True)
class Purchase:
    """What somebody is about to buy: facts that the caller knows.

    `cause` is the key of the checkout, under which the sum is reserved; None while there is none. `amount_minor` is
    the whole first charge without tax. `time_zone` is the tenant's.
    """

    user_id: int
    product_keys: Sequence[str]
    seats: int
    amount_minor: int
    currency: str
    time_zone: str
    cause: uuid.UUID | None = None


def limits_of(*, actor: Actor) -> Limits:
    """The acting tenant's limits. One query."""
    row = TenantPolicy.objects.visible_to(actor).first()
    return limits_in(row) if row else Limits()


def spending_of(*, actor: Actor, purchase: Purchase, at: datetime) -> Spending:
    """Whether the purchase keeps within the limits; what it reserved itself does not count against it.

    One query without limits, four at most. It only holds until another purchase while the month is not locked.
    """
    limits = limits_of(actor=actor)
    if limits.are_none:
        return judge(
            limits,
            amount_minor=purchase.amount_minor,
            currency=purchase.currency,
            spent_minor=0,
            has_permit=False,
        )
    return judge(
        limits,
        amount_minor=purchase.amount_minor,
        currency=purchase.currency,
        spent_minor=spent_before(actor=actor, purchase=purchase, at=at),
        has_permit=limits.threshold is not None
        and permit_for(actor=actor, purchase=purchase, at=at) is not None,
    )


def spent_before(*, actor: Actor, purchase: Purchase, at: datetime) -> int:
    """What the person has spent or reserved this month, without this purchase. Two queries at most."""
    month = month_of(at, purchase.time_zone)
    spent: int = (
        MonthSpend.objects.visible_to(actor)
        .filter(user_id=purchase.user_id, month=month, currency=purchase.currency)
        .values_list("spent_minor", flat=True)
        .first()
        or 0
    )
    if purchase.cause is None or not spent:
        return spent
    own = (
        Spend.objects.visible_to(actor)
        .filter(cause=purchase.cause, month=month)
        .exclude(state=Spend.State.RELEASED)
        .values_list("amount_minor", flat=True)
        .first()
    )
    return spent - (own or 0)


def permit_for(*, actor: Actor, purchase: Purchase, at: datetime) -> Permit | None:
    """The approval that covers the purchase: the one that it took before, else the one that ends first. One query."""
    covering = Permit.objects.visible_to(actor).filter(
        user_id=purchase.user_id,
        product_key__in=purchase.product_keys,
        seats__gte=purchase.seats,
        sum_minor__gte=purchase.amount_minor,
        currency=purchase.currency,
    )
    open_ones = covering.filter(used_at__isnull=True, valid_until__gt=at)
    taken = covering.filter(used_for=purchase.cause) if purchase.cause else covering.none()
    found: Permit | None = (taken | open_ones).order_by("used_at", "valid_until", "id").first()
    return found
