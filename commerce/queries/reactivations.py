"""What bringing an ended subscription back would cost, and which term would begin (product §5.1; docs/adr/0014)."""

from dataclasses import dataclass
from datetime import date, datetime

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from commerce import periods
from commerce.models import Bill, Subscription
from commerce.queries.plans import plan_prices
from commerce.quotes import Reactivation
from config.kit.errors import Conflict
from config.kit.money import tax_on


class PlanNotSold(Conflict):
    """There is no price for the subscription's plan, so no period of it can begin."""

    code = "plan_not_sold"
    message = _("This plan is not sold any more. Nothing was charged. Buy another one instead.")


@dataclass(frozen=True, slots=True)
class Term:
    """A term that begins: its place from the anchor, and its instants."""

    anchor_date: date
    offset_months: int
    period_index: int
    period_start: datetime
    period_end: datetime
    term_end: datetime


def next_term(subscription: Subscription) -> Term:
    """The term after the last one, as a renewal would have begun it. One query."""
    index = subscription.period_index + 1
    begun = subscription.offset_months + index * subscription.billing_months
    return _term(subscription, subscription.anchor_date, subscription.offset_months, index, begun)


def new_term(subscription: Subscription, anchor_date: date) -> Term:
    """A term with an anchor of its own. One query."""
    return _term(subscription, anchor_date, 0, 0, 0)


def reactivation_of(subscription: Subscription, at: datetime) -> Reactivation:
    """What it costs now: while Expired the next term, later a new one that begins today. Four queries at most.

    An expired one costs what its renewal would have: the price valid on the day on which it ended. Scheduled
    changes fell away when the renewal was stopped, so number and plan are the present ones.

    :raises PlanNotSold: its plan has no price in its currency.
    """
    starts_anew = subscription.state != Subscription.State.EXPIRED
    if starts_anew:
        term = new_term(subscription, periods.local_date(at, subscription.time_zone))
    else:
        term = next_term(subscription)
    listed = plan_prices(subscription, at if starts_anew else subscription.term_end)
    unit = next((each.unit_price_minor for each in listed if each.plan.pk == subscription.plan_id), None)
    if unit is None:
        raise PlanNotSold
    subtotal = subscription.quantity * unit
    tax = tax_on(subtotal, subscription.tax_rate)
    return Reactivation(
        starts_anew=starts_anew,
        quantity=subscription.quantity,
        currency=subscription.currency,
        unit_price_minor=unit,
        subtotal_minor=subtotal,
        tax_name=subscription.tax_name,
        tax_rate=subscription.tax_rate,
        tax_minor=tax,
        total_minor=subtotal + tax,
        term_months=subscription.term_months,
        billing_months=subscription.billing_months,
        service_start=term.period_start,
        service_end=term.period_end,
        term_end=term.term_end,
        refund_until=at + settings.REFUND_WINDOW,
    )


def bills_before(subscription: Subscription) -> list[Bill]:
    """What its present payer must pay before anything new begins: open card bills, the oldest first. One query.

    Bills on account have their own days to pay, and cut nobody's access.
    """
    rows = Bill.objects.open().filter(
        tenant_id=subscription.tenant_id,
        subscription=subscription,
        collection=Bill.Collection.CARD,
        payer_id=subscription.owner_user_id,
        total_minor__gt=0,
    )
    return list(rows.order_by("period_start", "id"))


def _term(subscription: Subscription, anchor_date: date, offset: int, index: int, begun: int) -> Term:
    start, end, term_end = periods.instants(
        anchor_date,
        [begun, begun + subscription.billing_months, begun + subscription.term_months],
        subscription.time_zone,
    )
    return Term(anchor_date, offset, index, start, end, term_end)
