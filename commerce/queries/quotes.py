"""What a purchase would cost in a market, from the price list and the calendar."""

from datetime import datetime

from django.conf import settings

from commerce import periods
from commerce.models import Market, Plan
from commerce.queries.catalogue import unit_price
from commerce.quotes import Quote, make_quote


def quote_for(
    *,
    plan: Plan,
    quantity: int,
    market: Market,
    time_zone: str,
    at: datetime,
    unit_price_minor: int | None = None,
) -> Quote:
    """The quote at today's list price, for a charge made at `at`.

    Two queries; one when the price is given, which the caller has read at the same `at`.

    :raises NotSoldHere: the plan has no price in the market.
    """
    price = unit_price_minor
    if price is None:
        price = unit_price(plan=plan, market=market, at=at)
    next_charge_at, term_ends_at = periods.instants_from(
        at, [plan.billing_months, plan.term_months], time_zone
    )
    return make_quote(
        quantity=quantity,
        unit_price_minor=price,
        currency=market.currency,
        tax_name=market.tax_name,
        tax_rate=market.tax_rate,
        term_months=plan.term_months,
        billing_months=plan.billing_months,
        at=at,
        next_charge_at=next_charge_at,
        term_ends_at=term_ends_at,
        refund_window=settings.REFUND_WINDOW,
    )
