"""More seats: charged at once by the day, on account or to a card, and usable at once (product §5.4)."""

import uuid
from datetime import datetime, timedelta
from typing import cast

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from commerce.gateways.minimums import least_charge
from commerce.models import Agreement, Bill, Card, Checkout, Order, OrderLine, Subscription
from commerce.operations import notices
from commerce.operations.bills import Line, issue_bill
from commerce.operations.changes.rules import lock_subscription, require_addable, require_may_manage
from commerce.operations.checkouts import PriceChanged
from commerce.operations.orders import Placed, write_order
from commerce.operations.payments.kinds import Kind, NothingToGive
from commerce.operations.subscriptions import remember
from commerce.queries.seats import quote_added
from commerce.quotes import AddedSeats
from config.kit.actors import Actor
from config.kit.errors import Conflict, NotVisible
from config.kit.money import format_money
from config.kit.tenancy import tenant_atomic
from directory.operations.audit import record
from directory.permissions import Capability

UNDER_WAY = (Checkout.State.PAYING, Checkout.State.ACTION)


class TooSmallToCharge(Conflict):
    """The sum is less than a card can be charged with; `least_minor` is the smallest that can."""

    code = "too_small_to_charge"

    def __init__(self, quote: AddedSeats, least_minor: int) -> None:
        self.least_minor = least_minor
        super().__init__(
            _(
                "%(sum)s is less than a card can be charged with, which is %(least)s. Nothing was charged. "
                "Add more licenses, or add these at the renewal."
            )
            % {
                "sum": format_money(quote.total_minor, quote.currency),
                "least": format_money(least_minor, quote.currency),
            },
            least_minor=least_minor,
        )


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
    """A checkout of the seats that make it `quantity` in all, to be paid by `payments.pay_change`.

    The same `intent` gives the same checkout (F-18). There is one under way for a person and subscription: one
    that is being paid is given instead of a second, an open one ends.

    :raises NotVisible, NotAllowed, Conflict, PriceChanged: as `add_seats_on_account`.
    :raises TooSmallToCharge: no card can be charged with so little.
    :raises DomainError: as `rules.require_addable`.
    """
    with tenant_atomic(actor):
        known: Checkout | None = (
            Checkout.objects.visible_to(actor)
            .select_related("subscription")
            .filter(key=intent, kind=Checkout.Kind.ADD_SEATS)
            .first()
        )
        if known is not None:
            return known
        subscription = lock_subscription(actor, key, version=version)
        require_may_manage(actor, subscription)
        if subscription.is_on_account:
            raise NotVisible
        others = (
            Checkout.objects.visible_to(actor)
            .select_related("subscription", "product")
            .filter(kind=Checkout.Kind.ADD_SEATS, subscription=subscription)
        )
        paying: Checkout | None = others.filter(state__in=UNDER_WAY).first()
        if paying is not None:
            return paying
        quote = quote_addition(actor=actor, subscription=subscription, quantity=quantity, at=at)
        if quote.total_minor != seen_total_minor:
            raise PriceChanged(quote)
        for other in others.filter(state=Checkout.State.OPEN):
            _abandon(actor, other, at)
        checkout = Checkout(
            tenant_id=actor.tenant_id,
            key=intent,
            kind=Checkout.Kind.ADD_SEATS,
            subscription=subscription,
            user_id=cast(int, actor.user_id),
            product=subscription.product,
            plan=subscription.plan,
            market_id=subscription.market_id,
            quantity=quote.added,
            takes_first_license=False,
            bill_to_id=subscription.bill_to_id,
            created_at=at,
            expires_at=at + settings.CHECKOUT_KEPT,
        )
        _put(checkout, quote)
        checkout.save(force_insert=True)
        record(
            actor,
            "commerce.checkout.started",
            at=at,
            target_type="checkout",
            target_id=checkout.key,
            target_label=str(subscription),
            after={"kind": checkout.kind, "added": quote.added, "total_minor": checkout.total_minor},
        )
    return checkout


def quote_addition(*, actor: Actor, subscription: Subscription, quantity: int, at: datetime) -> AddedSeats:
    """What it costs to make it `quantity` seats in all, at once; inside the tenant's transaction, locks nothing.

    :raises NotAllowed: by card, and not theirs to pay.
    :raises TooSmallToCharge: no card can be charged with so little.
    :raises DomainError: as `rules.require_addable`.
    """
    if not subscription.is_on_account:
        _require_may_pay(actor, subscription)
    added = quantity - subscription.quantity
    require_addable(actor, subscription, added, at)
    quote = quote_added(subscription, added, at)
    if not subscription.is_on_account:
        _require_enough(quote)
    return quote


def count_anew(*, actor: Actor, key: uuid.UUID, at: datetime) -> Checkout:
    """The open checkout of added seats with today's sum, for its page; one that is not open stays as it is.

    :raises NotVisible: no such checkout of this person.
    :raises DomainError: it can no longer be added, with the reason.
    """
    with tenant_atomic(actor):
        found: Checkout | None = (
            Checkout.objects.visible_to(actor).filter(key=key, kind=Checkout.Kind.ADD_SEATS).first()
        )
        if found is None:
            raise NotVisible
        if found.state != Checkout.State.OPEN or found.expires_at <= at:
            return found
        subscription = lock_subscription(actor, found.changed.key)
        checkout: Checkout = Checkout.objects.select_for_update(of=["self"]).get(pk=found.pk)
        if checkout.state != Checkout.State.OPEN:
            return checkout
        require_addable(actor, subscription, checkout.quantity, at)
        quote = quote_added(subscription, checkout.quantity, at)
        _require_enough(quote)
        if _is_as_counted(checkout, quote):
            return checkout
        _put(checkout, quote)
        checkout.version += 1
        checkout.save()
    return checkout


def _put(checkout: Checkout, quote: AddedSeats) -> None:
    """Write the sums into the row; the caller saves it."""
    checkout.currency = quote.currency
    checkout.unit_price_minor = quote.unit_price_minor
    checkout.subtotal_minor = quote.subtotal_minor
    checkout.tax_name = quote.tax_name
    checkout.tax_rate = quote.tax_rate
    checkout.tax_minor = quote.tax_minor
    checkout.total_minor = quote.total_minor
    checkout.service_start = quote.service_start
    checkout.service_end = quote.service_end


def _is_as_counted(checkout: Checkout, quote: AddedSeats) -> bool:
    return (checkout.total_minor, checkout.currency, checkout.service_end) == (
        quote.total_minor,
        quote.currency,
        quote.service_end,
    )


def _abandon(actor: Actor, checkout: Checkout, at: datetime) -> None:
    checkout.state = Checkout.State.ABANDONED
    checkout.version += 1
    checkout.save(update_fields=["state", "version"])
    record(
        actor,
        "commerce.checkout.abandoned",
        at=at,
        target_type="checkout",
        target_id=checkout.key,
        target_label=checkout.product.name,
    )


def _require_enough(quote: AddedSeats) -> None:
    least = least_charge(quote.currency)
    if quote.total_minor < least:
        raise TooSmallToCharge(quote, least)


def _require_may_pay(actor: Actor, subscription: Subscription) -> None:
    actor.require(
        Capability.PAY_BILLS,
        is_own=subscription.is_owned_by(actor),
        is_org=subscription.is_organizations,
        sees=Capability.SEE_PURCHASES,
    )


# --- What the payment sequence asks of this kind ----------------------------------------------------------


def _allow(actor: Actor, checkout: Checkout) -> None:
    require_may_manage(actor, checkout.changed)
    _require_may_pay(actor, checkout.changed)
    if checkout.changed.is_on_account:
        raise NotVisible


def _check(actor: Actor, checkout: Checkout, at: datetime) -> None:
    """:raises PriceChanged: the day is another one. :raises DomainError: as `rules.require_addable`."""
    _allow(actor, checkout)
    require_addable(actor, checkout.changed, checkout.quantity, at)
    quote = quote_added(checkout.changed, checkout.quantity, at)
    if not _is_as_counted(checkout, quote):
        raise PriceChanged(quote)


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


KIND = Kind(allow=_allow, check=_check, place=_place, tell=notices.queue_seats_added)


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
    bill = issue_bill(
        actor=actor,
        subscription=subscription,
        order=order,
        type=Bill.Type.ADD_SEATS,
        bill_to=subscription.bill_to,
        payer=subscription.owner_user,
        collection=collection,
        lines=[
            Line(
                description=subscription.product.name,
                quantity=added,
                unit_price_minor=unit_price_minor,
                amount_minor=amount_minor,
                service_start=service_start,
                service_end=service_end,
            )
        ],
        period_start=service_start,
        period_end=service_end,
        at=at,
        due_at=due_at,
    )
    return Placed(order, subscription, bill)
