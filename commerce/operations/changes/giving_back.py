"""Giving the unused days of seats back, bill by bill (product §5.4, §5.5).

A bill that was paid gets a credit note, whose money goes back to the card; one that is still to be paid on account
is credited whole and issued anew without the days that are not used.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

from commerce import periods
from commerce.models import Bill, Order, Subscription
from commerce.operations.bills import Line, issue_bill, line_of
from commerce.operations.credits import credit_for, issue_credit_note
from commerce.proration import Lot, Returned, Span
from commerce.queries.seats import lots_of, running_span
from config.kit.actors import Actor
from config.kit.money import tax_on


def tax_given_back(returned: Sequence[Returned]) -> int:
    """The tax that goes with what is given back. Two queries for each bill at most."""
    bills = _bills(returned)
    return sum(_tax(bills[part.bill_id], part.amount_minor) for part in returned)


def give_back(
    *,
    actor: Actor,
    subscription: Subscription,
    order: Order,
    returned: Sequence[Returned],
    type: str,
    at: datetime,
    as_of: datetime | None = None,
) -> tuple[Bill, ...]:
    """Issue the credit notes for what is given back, in the order of the bills; `type` is that of the notes.

    `as_of`: the instant whose days `returned` counts, where that is an earlier one. Inside the transaction that has
    locked the subscription and has written the order with its line; locks the bills. After the commit the caller
    calls `refund_now` for each note.

    :raises CreditExceedsBill: more than is left of a bill.
    """
    span, day = running_span(subscription, as_of or at)
    (ends_at,) = periods.instants(day + timedelta(days=1), [0], subscription.time_zone)
    bills = _bills(returned, locks=True)
    lots = {lot.bill_id: lot for lot in lots_of(subscription)}
    notes = []
    for part in sorted(returned, key=lambda part: part.bill_id):
        bill = bills[part.bill_id]
        bill.subscription = subscription
        if bill.status == Bill.Status.PAID:
            notes.append(_credit(actor, bill, order, part, type, ends_at, at))
        else:
            notes.append(_issue_anew(actor, bill, order, part, type, lots[bill.pk], span, day, ends_at, at))
    return tuple(notes)


def _bills(returned: Sequence[Returned], *, locks: bool = False) -> dict[int, Bill]:
    rows = Bill.objects.select_related("bill_to", "payer", "vendor_entity").order_by("id")
    if locks:
        rows = rows.select_for_update(of=("self",))
    return dict(rows.in_bulk([part.bill_id for part in returned]))


def _tax(bill: Bill, amount_minor: int) -> int:
    """The tax that goes with an amount that a bill loses."""
    if bill.status == Bill.Status.PAID:
        return credit_for(bill, amount_minor)[0]
    rest: int = bill.subtotal_minor - amount_minor
    return bill.tax_minor - tax_on(rest, bill.tax_rate)


def _credit(
    actor: Actor, bill: Bill, order: Order, part: Returned, type: str, ends_at: datetime, at: datetime
) -> Bill:
    line = Line(
        description=bill.subscription.product.name,
        quantity=part.quantity,
        unit_price_minor=part.unit_price_minor,
        amount_minor=part.amount_minor,
        service_start=ends_at,
        service_end=bill.period_end,
    )
    return issue_credit_note(actor=actor, bill=bill, type=type, order=order, lines=[line], at=at)


def _issue_anew(
    actor: Actor,
    bill: Bill,
    order: Order,
    part: Returned,
    type: str,
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
        type=type,
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
