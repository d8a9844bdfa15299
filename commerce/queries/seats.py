"""What a change of the number of seats costs or gives back, from the rows (product §5.4, §5.5)."""

from datetime import date, datetime

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from commerce import periods
from commerce.models import Subscription
from commerce.models.bills import PERIOD_TYPES
from commerce.proration import Span
from commerce.quotes import AddedSeats, quote_added_seats
from config.kit.errors import Conflict

# Bills by whose charge a refund window begins (product §5.5); a monthly charge inside a term opens none.
OPENS_WINDOW = ("purchase", "renewal", "trial_conversion", "reactivation", "add_seats")
# Bills that pay for seats of a period.
PAYS_FOR_SEATS = (*PERIOD_TYPES, "reactivation", "add_seats")


class RenewalUnderWay(Conflict):
    """The running period is over and its renewal is not made yet."""

    code = "renewal_under_way"
    message = _("This is being renewed right now. Nothing was changed. Try again in a few minutes.")


def running_span(subscription: Subscription, at: datetime) -> tuple[Span, date]:
    """The running period by its days, and the day of `at`. One query.

    :raises RenewalUnderWay: `at` is past it.
    """
    starts, ends, day = periods.local_dates(
        [subscription.period_start, subscription.period_end, at], subscription.time_zone
    )
    span = Span(starts, ends)
    if not span.holds(day):
        raise RenewalUnderWay
    return span, day


def quote_added(subscription: Subscription, added: int, at: datetime) -> AddedSeats:
    """What `added` more seats cost from today to the end of the running period. Two queries.

    :raises RenewalUnderWay: the running period is over.
    """
    span, day = running_span(subscription, at)
    (service_start,) = periods.instants(day, [0], subscription.time_zone)
    return quote_added_seats(
        added=added,
        unit_price_minor=subscription.unit_price_minor,
        currency=subscription.currency,
        tax_name=subscription.tax_name,
        tax_rate=subscription.tax_rate,
        span=span,
        day=day,
        at=at,
        service_start=service_start,
        service_end=subscription.period_end,
        refund_window=settings.REFUND_WINDOW,
    )
