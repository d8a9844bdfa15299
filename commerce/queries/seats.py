"""What a change of the number of seats costs or gives back, from the rows (product §5.4, §5.5)."""

from datetime import date, datetime

from django.conf import settings
from django.db.models import Max, Sum
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from commerce import periods
from commerce.models import Bill, BillLine, Subscription
from commerce.models.bills import PERIOD_TYPES
from commerce.proration import Lot, Span
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


def lots_of(subscription: Subscription) -> list[Lot]:
    """The seats of the running period by the bills that charged them, in the order of the bills. Two queries.

    A lot is what is left of a bill's seats after its credit notes. A bill that was issued anew keeps the window that
    an earlier one opened; one that is not paid yet opens none, unless it is on account, which is charged when issued.
    """
    bills = list(
        Bill.objects.filter(
            tenant_id=subscription.tenant_id,
            subscription=subscription,
            type__in=PAYS_FOR_SEATS,
            period_end=subscription.period_end,
            credits__isnull=True,
        )
        .exclude(status__in=[Bill.Status.CREDITED, Bill.Status.VOID])
        .select_related("replaces")
        .order_by("id")
    )
    lines = (
        BillLine.objects.filter(tenant_id=subscription.tenant_id, service_end=subscription.period_end)
        .annotate(charged_by=Coalesce("bill__credits_id", "bill_id"))
        .filter(charged_by__in=[bill.pk for bill in bills])
        .values_list("charged_by")
        .annotate(left=Sum("quantity"), price=Max("unit_price_minor"))
    )
    left = {bill_id: (quantity, price) for bill_id, quantity, price in lines}
    return [_lot(bill, *left[bill.pk]) for bill in bills if bill.pk in left and left[bill.pk][0] > 0]


def _lot(bill: Bill, quantity: int, unit_price_minor: int) -> Lot:
    charged_at = _charged_at(bill)
    opens = charged_at is not None and bill.type in OPENS_WINDOW
    return Lot(
        bill_id=bill.pk,
        quantity=quantity,
        unit_price_minor=unit_price_minor,
        charged_at=charged_at,
        refund_until=charged_at + settings.REFUND_WINDOW if opens and charged_at else None,
    )


def _charged_at(bill: Bill) -> datetime | None:
    """When its payer's money was asked for first: paid by card, or issued on account; None while a card bill is unpaid."""
    alike = [earlier for earlier in issues_of(bill) if earlier.collection == bill.collection]
    on_account = bill.collection == Bill.Collection.ON_ACCOUNT
    charged = (earlier.issued_at if on_account else earlier.paid_at for earlier in alike)
    return next((instant for instant in charged if instant is not None), None)


def issues_of(bill: Bill) -> list[Bill]:
    """The bill and those that it was issued anew for, the first one first. A query for each of them."""
    issues = [bill]
    while issues[0].replaces is not None:
        issues.insert(0, issues[0].replaces)
    return issues
