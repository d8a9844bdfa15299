"""Fewer seats at once, inside their refund window, with the unused days given back (product §5.4, §5.5).

The seats charged last go first.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from commerce.models import Bill, Order, OrderLine, Subscription
from commerce.operations import notices
from commerce.operations.changes.giving_back import give_back, tax_given_back
from commerce.operations.changes.rules import (
    BelowAssigned,
    Disputed,
    lock_subscription,
    require_changeable,
    require_may_manage,
    require_number,
)
from commerce.operations.checkouts import PriceChanged
from commerce.operations.orders import write_order
from commerce.operations.payments import refund_now
from commerce.operations.subscriptions import remember
from commerce.proration import Returned, refundable, take_back
from commerce.queries.seats import lots_of, running_span
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed
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
    """No unused day is left in the running period, or the licenses are free: going at once gives nothing back."""

    code = "nothing_to_refund"
    message = _("Nothing would be refunded now. They can go at the renewal. Nothing was changed.")


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
    :raises NothingToRefund: it is the last day of the period, or they are free.
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
    subtotal = sum(part.amount_minor for part in returned)
    tax = tax_given_back(returned)
    return RemovedSeats(
        removed=removed,
        currency=subscription.currency,
        returned=returned,
        subtotal_minor=subtotal,
        tax_minor=tax,
        total_minor=subtotal + tax,
    )


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
    notes = give_back(
        actor=actor,
        subscription=subscription,
        order=order,
        returned=quote.returned,
        type=Bill.Type.REMOVE_SEATS,
        at=at,
    )
    return Removed(order, subscription, notes)
