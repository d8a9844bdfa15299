"""Fewer seats at once, inside their refund window, with the unused days given back (product §5.4, §5.5).

The seats charged last go first. A bill that was paid gets a credit note, whose money goes back to the card; one that
is still to be paid on account is credited whole and issued anew without the days that are not used.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from commerce import periods
from commerce.models import Bill, Order, OrderLine, Subscription
from commerce.operations import notices
from commerce.operations.bills import Line, issue_bill, line_of
from commerce.operations.changes.rules import (
    BelowAssigned,
    Disputed,
    lock_subscription,
    require_changeable,
    require_may_manage,
    require_number,
)
from commerce.operations.checkouts import PriceChanged
from commerce.operations.credits import credit_for, issue_credit_note
from commerce.operations.orders import write_order
from commerce.operations.payments import refund_now
from commerce.operations.subscriptions import remember
from commerce.proration import Lot, Returned, Span, refundable, take_back
from commerce.queries.seats import lots_of, running_span
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed
from config.kit.money import tax_on
from config.kit.tenancy import tenant_atomic
from directory.operations.audit import record


class WindowOver(Conflict):
    """Not all of these seats are inside their refund window; `possible` of them are."""

    code = "window_over"

    def __init__(self, possible: int) -> None:
        self.possible = possible
        super().__init__(
            ngettext(
                "%(count)d license was charged in the last 7 days and can go at once. The others go at the renewal.",
                "%(count)d licenses were charged in the last 7 days and can go at once. The others go at the renewal.",
                possible,
            )
            % {"count": possible}
            if possible
            else _("The refund window of these licenses is over. They can go at the renewal."),
            possible=possible,
        )


class NothingToRefund(Conflict):
    """No unused day is left in the running period, so going at once gives nothing back."""

    code = "nothing_to_refund"
    message = _("Nothing would be refunded, since this is the last day of the period.")


@dataclass(frozen=True, slots=True)
class RemovedSeats:
    """What is given back for seats that go at once: by bill without tax, and in all with it."""

    removed: int
    currency: str
    returned: tuple[Returned, ...]
    subtotal_minor: int
    tax_minor: int
    total_minor: int


@dataclass(frozen=True, slots=True)
class Removed:
    """What removing made; `credit_notes` in the order of the bills that they take from."""

    order: Order
    subscription: Subscription
    credit_notes: tuple[Bill, ...]


def remove_seats(
    *, actor: Actor, key: uuid.UUID, quantity: int, version: int, seen_total_minor: int, at: datetime
) -> Removed:
    """Make it `quantity` seats in all, fewer than now, at once, and give the unused days back.

    Opens its own transaction and then asks for the refunds; never call it inside one. `version` and
    `seen_total_minor`, which is given back with tax, are those of the preview. A number that was scheduled falls away.

    :raises NotVisible, NotAllowed: no such purchase, or not theirs to change.
    :raises Conflict: changed since the preview. :raises PriceChanged: counted anew, it is another sum.
    :raises DomainError: as `quote_removal`.
    """
    with tenant_atomic(actor):
        subscription = lock_subscription(actor, key, version=version)
        require_may_manage(actor, subscription)
        quote = quote_removal(subscription=subscription, quantity=quantity, at=at)
        if quote.total_minor != seen_total_minor:
            raise PriceChanged(quote)
        removed = _remove(actor, subscription, quote, at)
        notices.queue_seats_removed(
            subscription=subscription,
            order=removed.order,
            credit_notes=removed.credit_notes,
            quote_total_minor=quote.total_minor,
            count=quote.removed,
            at=at,
        )
    for note in removed.credit_notes:
        refund_now(note.pk, actor=actor, at=at)
    return removed


def quote_removal(*, subscription: Subscription, quantity: int, at: datetime) -> RemovedSeats:
    """What is given back when it becomes `quantity` seats at once; inside the tenant's transaction, locks nothing.

    :raises NotChangeable, Disputed, RenewalUnderWay: its state. :raises Malformed: not fewer, or none.
    :raises BelowAssigned: some have to be taken back first.
    :raises WindowOver: some were charged longer than 7 x 24 hours ago, or are not paid.
    :raises NothingToRefund: it is the last day of the period.
    """
    require_changeable(subscription)
    require_number(subscription, quantity)
    removed = subscription.quantity - quantity
    if removed < 1:
        raise Malformed(_("Enter a lower number than you have. Nothing was changed."), field="quantity")
    if quantity < subscription.assigned:
        raise BelowAssigned(subscription.assigned, quantity)
    if subscription.disputed_at is not None:
        raise Disputed
    span, day = running_span(subscription, at)
    lots = refundable(lots_of(subscription), at)
    possible = sum(lot.quantity for lot in lots)
    if removed > possible:
        raise WindowOver(possible)
    returned = tuple(take_back(lots, removed, span=span, day=day))
    if not all(part.amount_minor > 0 for part in returned):
        raise NothingToRefund
    bills = _bills(returned)
    taxes = [_tax(subscription, bills[part.bill_id], part.amount_minor) for part in returned]
    subtotal = sum(part.amount_minor for part in returned)
    return RemovedSeats(
        removed=removed,
        currency=subscription.currency,
        returned=returned,
        subtotal_minor=subtotal,
        tax_minor=sum(taxes),
        total_minor=subtotal + sum(taxes),
    )


def _bills(returned: Sequence[Returned], *, locks: bool = False) -> dict[int, Bill]:
    rows = Bill.objects.select_related("bill_to", "payer", "vendor_entity").order_by("id")
    if locks:
        rows = rows.select_for_update(of=("self",))
    return dict(rows.in_bulk([part.bill_id for part in returned]))


def _tax(subscription: Subscription, bill: Bill, amount_minor: int) -> int:
    """The tax that goes with an amount that a bill loses."""
    if bill.status == Bill.Status.PAID:
        return credit_for(bill, amount_minor)[0]
    rest: int = bill.subtotal_minor - amount_minor
    return bill.tax_minor - tax_on(rest, subscription.tax_rate)


def _remove(actor: Actor, subscription: Subscription, quote: RemovedSeats, at: datetime) -> Removed:
    order = write_order(actor, Order.Type.REMOVE_SEATS, checkout=None, at=at)
    OrderLine.objects.create(
        tenant_id=order.tenant_id,
        order=order,
        subscription=subscription,
        quantity=-quote.removed,
        currency=subscription.currency,
        unit_price_minor=subscription.unit_price_minor,
        amount_minor=-quote.subtotal_minor,
    )
    before = {"quantity": subscription.quantity, "next_quantity": subscription.next_quantity}
    subscription.quantity -= quote.removed
    subscription.period_price_minor = subscription.quantity * subscription.unit_price_minor
    subscription.next_quantity = None
    subscription.version += 1
    subscription.save(update_fields=["quantity", "period_price_minor", "next_quantity", "version"])
    remember(
        subscription,
        "seats_removed",
        actor=actor,
        at=at,
        order=str(order.key),
        count=quote.removed,
        quantity=subscription.quantity,
        amount_minor=-quote.subtotal_minor,
        currency=subscription.currency,
    )
    record(
        actor,
        "commerce.seats.removed",
        at=at,
        target_type="subscription",
        target_id=subscription.key,
        target_label=str(subscription),
        before=before,
        after={
            "quantity": subscription.quantity,
            "total_minor": -quote.total_minor,
            "order": str(order.key),
        },
    )
    span, day = running_span(subscription, at)
    (ends_at,) = periods.instants(day + timedelta(days=1), [0], subscription.time_zone)
    bills = _bills(quote.returned, locks=True)
    lots = {lot.bill_id: lot for lot in lots_of(subscription)}
    notes = []
    for part in sorted(quote.returned, key=lambda part: part.bill_id):
        bill = bills[part.bill_id]
        bill.subscription = subscription
        if bill.status == Bill.Status.PAID:
            notes.append(_credit(actor, bill, order, part, ends_at, at))
        else:
            notes.append(_issue_anew(actor, bill, order, part, lots[bill.pk], span, day, ends_at, at))
    return Removed(order, subscription, tuple(notes))


def _credit(actor: Actor, bill: Bill, order: Order, part: Returned, ends_at: datetime, at: datetime) -> Bill:
    line = Line(
        description=bill.subscription.product.name,
        quantity=part.quantity,
        unit_price_minor=part.unit_price_minor,
        amount_minor=part.amount_minor,
        service_start=ends_at,
        service_end=bill.period_end,
    )
    return issue_credit_note(
        actor=actor, bill=bill, type=Bill.Type.REMOVE_SEATS, order=order, lines=[line], at=at
    )


def _issue_anew(
    actor: Actor,
    bill: Bill,
    order: Order,
    part: Returned,
    lot: Lot,
    span: Span,
    day: date,
    ends_at: datetime,
    at: datetime,
) -> Bill:
    """Credit an unpaid bill whole, and bill what is still owed of it: the seats that stay, the days used of the others."""
    before = list(bill.lines.order_by("id"))
    live = [line for line in before if line.service_end == bill.period_end]
    note = issue_credit_note(
        actor=actor,
        bill=bill,
        type=Bill.Type.REMOVE_SEATS,
        order=order,
        lines=[line_of(line) for line in before],
        at=at,
    )
    owed = sum(line.amount_minor for line in live) - part.amount_minor
    stays = lot.quantity - part.quantity
    kept = 0
    if stays:
        (began,) = periods.local_dates([live[0].service_start], bill.subscription.time_zone)
        kept = min(span.price_from(stays * part.unit_price_minor, began), owed)
    first = line_of(live[0])
    lines = [line_of(line) for line in before if line not in live]
    if kept:
        lines.append(replace(first, quantity=stays, amount_minor=kept))
    if owed > kept:
        lines.append(replace(first, quantity=part.quantity, amount_minor=owed - kept, service_end=ends_at))
    if not lines:
        return note
    issue_bill(
        actor=actor,
        subscription=bill.subscription,
        order=order,
        type=bill.type,
        bill_to=bill.bill_to,
        payer=bill.payer,
        collection=bill.collection,
        lines=lines,
        period_start=bill.period_start,
        period_end=bill.period_end,
        at=at,
        due_at=bill.due_at,
        replaces=bill,
    )
    return note
