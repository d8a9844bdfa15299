"""More seats: charged at once by the day, on account or to a card, and usable at once (product §5.4)."""

import uuid
from datetime import datetime, timedelta
from typing import cast

from django.utils.translation import gettext_lazy as _

from commerce.models import Agreement, Bill, Card, Checkout, Order, OrderLine, Subscription
from commerce.operations import notices
from commerce.operations.bills import bill_seats
from commerce.operations.changes import paid
from commerce.operations.changes.rules import lock_subscription, require_addable, require_may_manage
from commerce.operations.checkouts import PriceChanged
from commerce.operations.orders import Placed, write_order
from commerce.operations.payments.kinds import Kind, NothingToGive
from commerce.operations.subscriptions import remember
from commerce.queries.seats import quote_added
from commerce.quotes import AddedSeats
from config.kit.actors import Actor
from config.kit.errors import NotVisible
from config.kit.tenancy import tenant_atomic
from directory.operations.audit import record

OTHERWISE = _("Add more licenses, or add these at the renewal.")


def add_seats_on_account(
    *, actor: Actor, key: uuid.UUID, quantity: int, version: int, seen_total_minor: int, at: datetime
) -> Placed:
    """Make it `quantity` seats in all, at once, for a subscription that is billed under an agreement.

    `version` and `seen_total_minor` are those of the preview on which the person decided.

    :raises NotVisible: no such purchase for this person, or it is not on account.
    :raises NotAllowed: visible, and not theirs to change; or the organization is suspended.
    :raises Conflict: changed since the preview. :raises PriceChanged: counted anew, it is another sum.
    :raises DomainError: as `rules.require_addable`.
    """
    with tenant_atomic(actor):
        subscription = lock_subscription(actor, key, version=version)
        require_may_manage(actor, subscription)
        if not subscription.is_on_account:
            raise NotVisible
        quote = quote_addition(actor=actor, subscription=subscription, quantity=quantity, at=at)
        if quote.total_minor != seen_total_minor:
            raise PriceChanged(quote)
        agreement = Agreement.objects.get(pk=cast(int, subscription.agreement_id))
        placed = _add(
            actor=actor,
            subscription=subscription,
            added=quote.added,
            unit_price_minor=quote.unit_price_minor,
            amount_minor=quote.subtotal_minor,
            service_start=quote.service_start,
            service_end=quote.service_end,
            collection=Bill.Collection.ON_ACCOUNT,
            due_at=at + timedelta(days=agreement.payment_days),
            at=at,
        )
        notices.queue_seats_added(placed=placed, card=None, at=at)
    return placed


def start_adding_seats(
    *,
    actor: Actor,
    key: uuid.UUID,
    intent: uuid.UUID,
    quantity: int,
    version: int,
    seen_total_minor: int,
    at: datetime,
) -> Checkout:
    """A checkout of the seats that make it `quantity` in all; one for an `intent`, as `paid.begin` says.

    :raises NotVisible, NotAllowed, Conflict, PriceChanged: as `paid.begin`.
    :raises TooSmallToCharge: no card can be charged with so little.
    :raises DomainError: as `rules.require_addable`.
    """

    def count(subscription: Subscription) -> tuple[int, AddedSeats]:
        quote = quote_addition(actor=actor, subscription=subscription, quantity=quantity, at=at)
        return quote.added, quote

    return paid.begin(
        actor=actor,
        kind=Checkout.Kind.ADD_SEATS,
        key=key,
        intent=intent,
        version=version,
        seen_total_minor=seen_total_minor,
        count=count,
        at=at,
    )


def quote_addition(*, actor: Actor, subscription: Subscription, quantity: int, at: datetime) -> AddedSeats:
    """What it costs to make it `quantity` seats in all, at once; inside the tenant's transaction, locks nothing.

    :raises NotAllowed: by card, and not theirs to pay.
    :raises TooSmallToCharge: no card can be charged with so little. :raises OverLimit: more than one may spend.
    :raises DomainError: as `rules.require_addable`.
    """
    if not subscription.is_on_account:
        paid.require_may_pay(actor, subscription)
    added = quantity - subscription.quantity
    require_addable(actor, subscription, added, at)
    quote = quote_added(subscription, added, at)
    if not subscription.is_on_account:
        paid.require_enough(quote, OTHERWISE)
    paid.require_within_limits(actor, Checkout.Kind.ADD_SEATS, subscription, added, quote, at)
    return quote


def count_anew(*, actor: Actor, key: uuid.UUID, at: datetime) -> Checkout:
    """The open checkout of added seats with today's sum, for its page; one that is not open stays as it is.

    :raises NotVisible: no such checkout of this person.
    :raises DomainError: it can no longer be added, with the reason.
    """

    def count(subscription: Subscription, checkout: Checkout) -> AddedSeats:
        require_addable(actor, subscription, checkout.quantity, at)
        quote = quote_added(subscription, checkout.quantity, at)
        paid.require_enough(quote, OTHERWISE)
        return quote

    return paid.count_anew(actor=actor, kind=Checkout.Kind.ADD_SEATS, key=key, count=count, at=at)


# --- What the payment sequence asks of this kind ----------------------------------------------------------


def _check(actor: Actor, checkout: Checkout, at: datetime) -> None:
    """:raises PriceChanged: the day is another one. :raises DomainError: as `rules.require_addable`."""
    paid.allow(actor, checkout)
    require_addable(actor, checkout.changed, checkout.quantity, at)
    paid.require_as_counted(checkout, quote_added(checkout.changed, checkout.quantity, at))


def _place(*, actor: Actor, checkout: Checkout, card: Card | None, at: datetime) -> Placed:
    """:raises NothingToGive: the period that was paid for is over, or the subscription no longer active."""
    subscription: Subscription = checkout.changed
    if (
        subscription.state != Subscription.State.ACTIVE
        or subscription.is_on_account
        or subscription.period_end != checkout.service_end
    ):
        raise NothingToGive
    if subscription.card_id is None:
        subscription.card = card
    return _add(
        actor=actor,
        subscription=subscription,
        added=checkout.quantity,
        unit_price_minor=checkout.unit_price_minor,
        amount_minor=checkout.subtotal_minor,
        service_start=cast(datetime, checkout.service_start),
        service_end=subscription.period_end,
        collection=Bill.Collection.CARD,
        due_at=at,
        at=at,
        checkout=checkout,
    )


KIND = Kind(allow=paid.allow, check=_check, place=_place, tell=notices.queue_seats_added)


def _add(
    *,
    actor: Actor,
    subscription: Subscription,
    added: int,
    unit_price_minor: int,
    amount_minor: int,
    service_start: datetime,
    service_end: datetime,
    collection: str,
    due_at: datetime,
    at: datetime,
    checkout: Checkout | None = None,
) -> Placed:
    """Order, seats, history and, last since its series is locked from then on, the bill.

    A number that was scheduled falls away: the new total is what the person wants.
    """
    order = write_order(actor, Order.Type.ADD_SEATS, checkout=checkout, at=at)
    OrderLine.objects.create(
        tenant_id=order.tenant_id,
        order=order,
        subscription=subscription,
        quantity=added,
        currency=subscription.currency,
        unit_price_minor=unit_price_minor,
        amount_minor=amount_minor,
    )
    before = {"quantity": subscription.quantity, "next_quantity": subscription.next_quantity}
    subscription.quantity += added
    subscription.period_price_minor = subscription.quantity * subscription.unit_price_minor
    subscription.next_quantity = None
    subscription.version += 1
    subscription.save(update_fields=["quantity", "period_price_minor", "next_quantity", "version", "card"])
    remember(
        subscription,
        "seats_added",
        actor=actor,
        at=at,
        order=str(order.key),
        count=added,
        quantity=subscription.quantity,
        amount_minor=amount_minor,
        currency=subscription.currency,
    )
    record(
        actor,
        "commerce.seats.added",
        at=at,
        target_type="subscription",
        target_id=subscription.key,
        target_label=str(subscription),
        before=before,
        after={"quantity": subscription.quantity, "amount_minor": amount_minor, "order": str(order.key)},
    )
    bill = bill_seats(
        actor=actor,
        subscription=subscription,
        order=order,
        type=Bill.Type.ADD_SEATS,
        quantity=added,
        unit_price_minor=unit_price_minor,
        amount_minor=amount_minor,
        period=(service_start, service_end),
        collection=collection,
        due_at=due_at,
        at=at,
    )
    return Placed(order, subscription, bill)
