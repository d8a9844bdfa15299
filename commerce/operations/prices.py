"""List prices that have not begun: staff add, change and remove them; one that has begun stays (product §5.3, §16).

The database refuses the same to the app's login (`VendorWall` of `Price`).
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from django.utils.translation import gettext_lazy as _

from commerce.catalogue_files import MOST_MINOR
from commerce.gateways.minimums import least_charge
from commerce.models import Market, Plan, Price, Product
from commerce.operations.catalogue_rows import catalogue_of, price_entry, price_facts
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotVisible, Text
from config.kit.money import format_money
from directory.operations.audit import record_all

# So far ahead a price may be announced.
FARTHEST = timedelta(days=3 * 365)


class PriceBegun(Conflict):
    """Bills were made by it, or could have been."""

    code = "price_begun"
    message = _("This price has begun, so it stays. Add another one that begins later. Nothing was changed.")


class PriceMoved(Conflict):
    """Somebody else changed or removed the price since the page was shown."""

    code = "price_moved"
    message = _(
        "Somebody changed or removed this price since you opened the page. Nothing was changed. Look again."
    )


class Seen(NamedTuple):
    """The price as the page showed it."""

    unit_price_minor: int
    valid_from: datetime


def add_price(
    *, staff: Actor, plan_id: int, market: str, unit_price_minor: int, begins_at: datetime, at: datetime
) -> Price:
    """Announce a list price per seat and billing period, without tax, in the market's currency.

    A rise reaches renewals that can still be told of it in time; others keep the price before once more.

    :raises NotVisible: no such plan, or not of the staff. :raises Malformed: market, amount, or when it begins; also
        where another one begins then.
    """
    with catalogue_of(staff):
        plan = Plan.objects.select_related("product").filter(pk=plan_id).first()
        if plan is None:
            raise NotVisible
        sold_in = Market.objects.filter(pk=market).first()
        if sold_in is None:
            raise Malformed(_("Choose a market."), field="market")
        _check(plan, sold_in, unit_price_minor, begins_at, at)
        price = Price.objects.create(
            plan=plan,
            market=sold_in,
            currency=sold_in.currency,
            unit_price_minor=unit_price_minor,
            valid_from=begins_at,
            published_at=at,
        )
        record_all([price_entry(staff, "added", price, at, after=price_facts(price))])
    return price


def change_price(
    *, staff: Actor, price_id: int, unit_price_minor: int, begins_at: datetime, seen: Seen, at: datetime
) -> Price:
    """Change what a price that has not begun will be, or when it begins. It counts as announced now.

    :raises NotVisible: not of the staff. :raises PriceMoved: it is not what was shown.
    :raises PriceBegun: it has begun. :raises Malformed: as `add_price`.
    """
    with catalogue_of(staff):
        price = _unbegun(price_id, seen, at)
        _check(price.plan, price.market, unit_price_minor, begins_at, at, besides=price.pk)
        before = price_facts(price)
        price.unit_price_minor, price.valid_from, price.published_at = unit_price_minor, begins_at, at
        price.save(update_fields=["unit_price_minor", "valid_from", "published_at"])
        record_all([price_entry(staff, "changed", price, at, before=before, after=price_facts(price))])
    return price


def remove_price(*, staff: Actor, price_id: int, seen: Seen, at: datetime) -> Price:
    """Remove a price that has not begun; the one before goes on.

    :raises NotVisible: not of the staff. :raises PriceMoved: it is not what was shown. :raises PriceBegun: it has begun.
    """
    with catalogue_of(staff):
        price = _unbegun(price_id, seen, at)
        record_all([price_entry(staff, "removed", price, at, before=price_facts(price))])
        Price.objects.filter(pk=price.pk).delete()
    return price


def _unbegun(price_id: int, seen: Seen, at: datetime) -> Price:
    price = Price.objects.select_related("plan__product", "market").filter(pk=price_id).first()
    if price is None or Seen(price.unit_price_minor, price.valid_from) != seen:
        raise PriceMoved
    if price.valid_from <= at:
        raise PriceBegun
    return price


def too_small(product: Product, minor: int, currency: str) -> Text | None:
    """Why a list price is too small, None where it is not: by self-service a card pays one license by it (ADR 49)."""
    least = least_charge(currency)
    if minor >= least or not product.self_service:
        return None
    return _("A card cannot be charged with less than %s.") % format_money(least, currency)


def _check(
    plan: Plan, market: Market, minor: int, begins_at: datetime, at: datetime, besides: int = 0
) -> None:
    if not 0 <= minor <= MOST_MINOR:
        raise Malformed(_("Enter an amount such as 50 or 49.90."), field="amount")
    if why := too_small(plan.product, minor, market.currency):
        raise Malformed(why, field="amount")
    if begins_at <= at:
        raise Malformed(_("A price begins on a later day than today."), field="begins_on")
    if begins_at > at + FARTHEST:
        raise Malformed(_("A price begins within the next three years."), field="begins_on")
    others = Price.objects.filter(plan=plan, market=market, valid_from=begins_at)
    if others.exclude(pk=besides).exists():
        raise Malformed(_("Another price of this plan begins then. Change that one."), field="begins_on")
