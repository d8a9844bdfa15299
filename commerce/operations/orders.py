"""Orders: one act of buying. By card after the charge, or centrally on account (product §3, §8)."""

import uuid
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.utils.translation import gettext_lazy as _

from commerce.hooks import Activation, subscription_activated
from commerce.models import (
    Bill,
    BillTo,
    Card,
    Checkout,
    Market,
    Order,
    OrderLine,
    Plan,
    Product,
    Subscription,
)
from commerce.operations.bills import bill_seats
from commerce.operations.subscriptions import Terms, activate, remember
from commerce.periods import local_date
from commerce.queries.catalogue import NotSoldHere
from commerce.queries.central import agreed_price, latest_bill_to
from config.kit.actors import Actor
from config.kit.errors import Conflict, DomainError, Malformed, NotAllowed
from config.kit.tenancy import atomic, tenant_atomic
from directory.models import Tenant, User
from directory.operations.audit import record
from directory.operations.people import mark_purchaser
from directory.permissions import Capability

MOST_CENTRAL_SEATS = 1_000_000
# How far ahead a central purchase may start.
STARTS_WITHIN = timedelta(days=366)


class NotInAgreement(Conflict):
    """The organization has no agreed price for this plan."""

    code = "not_in_agreement"
    message = _("Your organization has no agreed price for this plan.")


@dataclass(frozen=True, slots=True)
class Placed:
    """What an order made; the bill is open."""

    order: Order
    subscription: Subscription
    bill: Bill


def place_order(*, actor: Actor, checkout: Checkout, card: Card | None, at: datetime) -> Placed:
    """Make the order of a checkout that was charged: subscription, order line, open bill, first license.

    Runs inside the transaction that records the payment, which then books it on the bill. The amounts are the
    checkout's snapshot. `actor` is the buyer.
    """
    user = checkout.user
    bill_to = checkout.bill_to
    if bill_to is None:
        raise Malformed(_("The billing address is missing."), field="street")
    terms = Terms(
        plan=checkout.plan,
        quantity=checkout.quantity,
        market=checkout.market,
        currency=checkout.currency,
        unit_price_minor=checkout.unit_price_minor,
        tax_name=checkout.tax_name,
        tax_rate=checkout.tax_rate,
    )
    with atomic():
        order = write_order(actor, Order.Type.PURCHASE, checkout=checkout, at=at)
        subscription = activate(
            actor=actor,
            tenant=checkout.tenant,
            terms=terms,
            channel=Subscription.Channel.SELF_SERVICE,
            owner=user,
            purchaser=user,
            bill_to=bill_to,
            card=card,
            at=at,
        )
        mark_purchaser(user, at)
        return _complete(
            actor=actor,
            order=order,
            subscription=subscription,
            collection=Bill.Collection.CARD,
            due_at=at,
            first_license=checkout.takes_first_license,
            at=at,
        )


def purchase_centrally(
    *,
    actor: Actor,
    product: Product,
    plan: Plan,
    quantity: int,
    at: datetime,
    bill_to: BillTo | None = None,
    starts_on: date | None = None,
    order_key: uuid.UUID | None = None,
) -> Subscription:
    """Buy seats for the organization at the agreement's price, on account. Tells nobody: `central.buy_centrally` does.

    `starts_on`, a later day in the organization's zone, leaves it Scheduled at this price: the sweep starts and
    bills it then (product §5.1). Today is now. `bill_to` defaults to the one of the organization's latest bill,
    else the organization's name and country. `order_key` is the order's, which can be placed once.

    :raises NotVisible: the actor may not buy centrally.
    :raises NotAllowed: the organization is suspended.
    :raises NotInAgreement: no agreed price for the plan. :raises NotSoldHere: the country is no market.
    :raises Malformed: the number of seats, a plan of another product, or a start that is past or too far ahead.
    Source: product §6, §8.
    """
    actor.require(Capability.BUY_CENTRALLY, is_own=False, is_org=True, sees=Capability.BUY_CENTRALLY)
    if not 1 <= quantity <= MOST_CENTRAL_SEATS:
        raise Malformed(_("Enter a number of licenses from 1 on."), field="quantity")
    if plan.product_id != product.pk:
        raise Malformed(_("This plan belongs to another product."), field="plan")
    with tenant_atomic(actor):
        tenant = Tenant.objects.get(pk=actor.tenant_id)
        if tenant.standing != Tenant.Standing.GOOD:
            raise NotAllowed(_("Your organization is suspended; nothing can be bought."))
        agreed = agreed_price(tenant_id=tenant.pk, plan=plan)
        if agreed is None:
            raise NotInAgreement
        market = Market.objects.select_related("vendor_entity").filter(pk=tenant.country).first()
        if market is None:
            raise NotSoldHere
        later = later_start(starts_on, today=local_date(at, tenant.time_zone))
        order = write_order(actor, Order.Type.CENTRAL_PURCHASE, checkout=None, key=order_key, at=at)
        subscription = activate(
            actor=actor,
            tenant=tenant,
            terms=Terms(
                plan=plan,
                quantity=quantity,
                market=market,
                currency=agreed.currency,
                unit_price_minor=agreed.unit_price_minor,
                tax_name=market.tax_name,
                tax_rate=market.tax_rate,
            ),
            channel=Subscription.Channel.CENTRAL,
            owner=None,
            purchaser=None if actor.is_partner else User.objects.filter(pk=actor.user_id).first(),
            bill_to=bill_to or organizations_bill_to(tenant),
            agreement=agreed.agreement,
            starts_on=later,
            at=at,
        )
        if later is not None:
            _write_line(actor, order, subscription, at=at, starts_on=later.isoformat())
            return subscription
        placed = _complete(
            actor=actor,
            order=order,
            subscription=subscription,
            collection=Bill.Collection.ON_ACCOUNT,
            due_at=at + timedelta(days=agreed.agreement.payment_days),
            first_license=False,
            at=at,
        )
    return placed.subscription


def later_start(starts_on: date | None, *, today: date) -> date | None:
    """The day of a later start; None: at once.

    :raises Malformed: past, or more than a year ahead.
    """
    if starts_on is None or starts_on == today:
        return None
    if not today < starts_on <= today + STARTS_WITHIN:
        raise Malformed(_("Choose a start from today on, at most a year ahead."), field="starts_on")
    return starts_on


def write_order(
    actor: Actor, kind: str, *, checkout: Checkout | None, at: datetime, key: uuid.UUID | None = None
) -> Order:
    """An order of that type, in the caller's transaction, which writes its lines too (I-06)."""
    return Order.objects.create(
        tenant_id=actor.tenant_id,
        key=key or uuid.uuid4(),
        type=kind,
        checkout=checkout,
        placed_at=at,
        actor_user_id=actor.user_id,
        actor_label=actor.label,
    )


def _complete(
    *,
    actor: Actor,
    order: Order,
    subscription: Subscription,
    collection: str,
    due_at: datetime,
    first_license: bool,
    at: datetime,
) -> Placed:
    """The order's line, history, callbacks and, last since its series is locked from then on, the bill."""
    amount_minor = _write_line(actor, order, subscription, at=at)
    _tell_higher_apps(actor, subscription, first_license=first_license, at=at)
    bill = bill_seats(
        actor=actor,
        subscription=subscription,
        order=order,
        type=Bill.Type.PURCHASE,
        quantity=subscription.quantity,
        unit_price_minor=subscription.unit_price_minor,
        amount_minor=amount_minor,
        period=(subscription.period_start, subscription.period_end),
        collection=collection,
        due_at=due_at,
        at=at,
    )
    return Placed(order, subscription, bill)


def _write_line(
    actor: Actor, order: Order, subscription: Subscription, *, at: datetime, **facts: object
) -> int:
    """What the order bought, with history and audit; the amount, without tax."""
    amount_minor: int = subscription.quantity * subscription.unit_price_minor
    OrderLine.objects.create(
        tenant_id=order.tenant_id,
        order=order,
        subscription=subscription,
        quantity=subscription.quantity,
        currency=subscription.currency,
        unit_price_minor=subscription.unit_price_minor,
        amount_minor=amount_minor,
    )
    remember(
        subscription,
        "purchased",
        actor=actor,
        at=at,
        order=str(order.key),
        quantity=subscription.quantity,
        unit_price_minor=subscription.unit_price_minor,
        currency=subscription.currency,
        **facts,
    )
    record(
        actor,
        "commerce.order.placed",
        at=at,
        target_type="order",
        target_id=order.key,
        target_label=subscription.product.name,
        after={"type": order.type, "quantity": subscription.quantity, "amount_minor": amount_minor},
    )
    return amount_minor


def _tell_higher_apps(actor: Actor, subscription: Subscription, *, first_license: bool, at: datetime) -> None:
    """A first license that cannot be given is remembered; it never undoes an order that was paid."""
    try:
        with atomic():
            subscription_activated(Activation(subscription, actor, at, first_license))
    except DomainError as refused:
        remember(subscription, "first_license_refused", actor=actor, at=at, reason=refused.code)


def organizations_bill_to(tenant: Tenant) -> BillTo:
    """To whom the organization's bills are made out: as its latest one, else its name and country. In a transaction."""
    latest = latest_bill_to(tenant.pk)
    return latest or BillTo.objects.create(tenant=tenant, name=tenant.name, country=tenant.country)
