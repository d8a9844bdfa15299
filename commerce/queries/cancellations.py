"""What canceling a subscription would do at an instant, from the rows (product §5.5; docs/adr/0010).

Inside the refund window of everything that the running period was charged with, it ends at once and the unused days
are given back. Later, or while a charge is contested, its renewal stops and it runs out.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.conf import settings

from commerce.models import Bill, Subscription
from commerce.proration import Lot, Returned, refundable, take_back
from commerce.queries import details
from commerce.queries.seats import OPENS_WINDOW, issues_of, lots_of, running_span


class Ending(StrEnum):
    """How a cancellation ends a subscription."""

    AT_ONCE = "at_once"
    AT_TERM = "at_term"
    BEFORE_START = "before_start"


@dataclass(frozen=True, slots=True)
class Cancellation:
    """The ending, and the money that goes with it but for the tax.

    `returned`: what of which bill is given back, without tax. `unpaid`: card bills that are credited whole, since
    nothing was paid for them. `refund_until`: the instant up to which it ends at once, for `AT_ONCE`; for `AT_TERM`
    the one at which that was over, None when there never was a window. `removable` seats, for `AT_TERM`, can still
    be given back by themselves until `removable_until`. `still_minor`: what is still charged to the end of the
    term, with tax.
    """

    ending: Ending
    returned: tuple[Returned, ...] = ()
    unpaid: tuple[int, ...] = ()
    refund_until: datetime | None = None
    removable: int = 0
    removable_until: datetime | None = None
    still_minor: int = 0


def cancellation_of(subscription: Subscription, at: datetime) -> Cancellation:
    """How it would end now, for a Scheduled or Active one; locks nothing. Five queries at most."""
    if subscription.state == Subscription.State.SCHEDULED:
        return Cancellation(Ending.BEFORE_START)
    lots = lots_of(subscription)
    bills = dict(Bill.objects.in_bulk([lot.bill_id for lot in lots]))
    windows = [_window(lot, bills[lot.bill_id]) for lot in lots]
    may_end_now = bool(lots) and subscription.disputed_at is None and at < subscription.period_end
    if may_end_now and all(until is not None and at < until for until in windows):
        span, day = running_span(subscription, at)
        paid = refundable([lot for lot in lots if lot.charged_at is not None], at)
        parts = take_back(paid, sum(lot.quantity for lot in paid), span=span, day=day)
        returned = tuple(part for part in parts if part.amount_minor > 0)
        unpaid = tuple(lot.bill_id for lot in lots if lot.charged_at is None)
        if returned or unpaid:
            until = min(until for until in windows if until is not None)
            return Cancellation(Ending.AT_ONCE, returned, unpaid, refund_until=until)
    removable = [lot for lot in refundable(lots, at) if lot.unit_price_minor] if may_end_now else []
    return Cancellation(
        Ending.AT_TERM,
        refund_until=max((until for until in windows if until is not None and until <= at), default=None),
        removable=sum(lot.quantity for lot in removable),
        removable_until=min((lot.refund_until for lot in removable if lot.refund_until), default=None),
        still_minor=details.still_to_be_charged(subscription),
    )


def _window(lot: Lot, bill: Bill) -> datetime | None:
    """Until when what a bill charged is given back; of an unpaid one it counts from its issue, the first of several."""
    if lot.charged_at is not None:
        return lot.refund_until
    opened: datetime = issues_of(bill)[0].issued_at
    return opened + settings.REFUND_WINDOW if bill.type in OPENS_WINDOW else None
