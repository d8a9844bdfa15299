"""Purchases and their orders: list, one, what canceling would do, cancel (product §16)."""

from dataclasses import replace
from datetime import datetime
from typing import Literal, cast
from uuid import UUID

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from ninja import Router, Schema
from ninja.params.functions import Query
from pydantic import Field

from commerce.models import Order, OrderLine, Subscription
from commerce.operations.cancellations import (
    CancellationQuote,
    Reason,
    Seen,
    cancel_now,
    quote_cancellation,
)
from commerce.operations.changes.rules import require_may_manage
from commerce.queries import details
from commerce.queries.catalogue import product_of_id
from commerce.queries.subscriptions import CHANNELS, SORTS, STATUSES, Filter, page_of, rows_for, words_of
from config.kit import access
from config.kit.api import In, actor_of, answers, one_of
from config.kit.clock import now
from config.kit.doorbell import ring_after_commit
from config.kit.errors import Malformed
from config.kit.tenancy import login_alias
from directory.permissions import Capability

READ = access.token("purchases.read", sees=Capability.SEE_PURCHASES)
MANAGE = access.token("purchases.write", sees=Capability.SEE_PURCHASES, may=Capability.MANAGE_PURCHASES)
REFUNDING = "commerce.refund"
MOST_ORDERS = 200

type Channel = Literal["central", "self-service", "trial"]
type Owner = Literal["organization", "person"]
type PurchaseState = Literal["scheduled", "active", "expired", "disabled", "deleted"]
type EndingName = Literal["at_once", "at_term", "before_start"]

router = Router(tags=["Purchases"])


class PurchaseOut(Schema):
    """One subscription. Money is in minor units of `currency`, without tax."""

    id: UUID
    productId: str
    productName: str
    channel: Channel
    owner: Owner
    purchaser: str
    purchaserEmail: str | None
    state: PurchaseState
    paymentFailedAt: datetime | None
    recurringBilling: bool
    quantity: int
    assigned: int
    available: int
    termMonths: int
    billingMonths: int
    currency: str
    unitPriceMinor: int
    periodPriceMinor: int
    termEnd: datetime
    nextDate: datetime | None = Field(description="When it renews or its state changes next.")
    createdAt: datetime


class Narrowed(Schema):
    """What narrows the list of purchases."""

    channel: list[str] = Field([], description=", ".join(CHANNELS))
    product: str = Field("", max_length=100, description="A product's current or former id.")
    status: str = Field("", max_length=20, json_schema_extra=one_of(STATUSES, or_empty=True))
    q: str = Field("", max_length=200, description="Words to find in product, purchaser and address.")


class Purchases(Schema):
    items: list[PurchaseOut]
    next: str | None = Field(description="The cursor of the next page.")


class OrderOut(Schema):
    """One act of buying or changing, as far as it is of one purchase."""

    id: UUID
    type: str
    placedAt: datetime
    placedBy: str
    quantity: int
    currency: str
    unitPriceMinor: int
    amountMinor: int = Field(description="Without tax; negative where money goes back.")


class Orders(Schema):
    items: list[OrderOut]


class CancellationOut(Schema):
    """What canceling would do now. Send `version` and the four figures back to do just that."""

    ending: EndingName
    currency: str
    refundMinor: int = Field(description="Goes back to the card, with tax.")
    creditedMinor: int = Field(description="Is no longer to be paid.")
    owedMinor: int = Field(description="Stays to be paid, for the days used.")
    stillMinor: int = Field(description="Is still charged to the end of the term.")
    refundUntil: datetime | None
    termEnd: datetime
    version: int


class Cancel(In):
    ending: str = Field(max_length=20)
    refundMinor: int
    creditedMinor: int
    stillMinor: int
    version: int
    reason: str | None = Field(None, max_length=40, description=", ".join(Reason))


@router.get("", response=answers(Purchases, 400, 404), url_name="purchases")
@READ
def list_purchases(
    request: HttpRequest,
    wanted: Narrowed = Query(...),
    sort: str = Query("product", max_length=20, description=f"{', '.join(SORTS)}; with - the other way"),
    cursor: str = Query("", max_length=1_000),
) -> Purchases:
    """The purchases that the token's person sees, 50 at a time; all states but Deleted unless asked."""
    if sort.removeprefix("-") not in SORTS:
        raise Malformed(_("That is nothing to sort by."), field="sort")
    chosen = replace(filter_of(wanted), sort=sort.removeprefix("-"), descending=sort.startswith("-"))
    page = page_of(rows_for(actor_of(request), chosen), chosen, cursor=cursor)
    keys = [row.key for row in page.rows]
    found = Subscription.objects.visible_to(actor_of(request)).filter(key__in=keys)
    by_key = {row.key: row for row in found.select_related("product", "purchaser")}
    return Purchases(items=[purchase_out(by_key[key]) for key in keys], next=page.next or None)


@router.get("/{uuid:purchase_id}", response=answers(PurchaseOut, 404), url_name="purchase")
@READ
def get_purchase(request: HttpRequest, purchase_id: UUID) -> PurchaseOut:
    """One purchase."""
    return purchase_out(details.purchase(actor_of(request), purchase_id))


@router.get("/{uuid:purchase_id}/orders", response=answers(Orders, 404), url_name="purchase-orders")
@READ
def list_orders(request: HttpRequest, purchase_id: UUID) -> Orders:
    """The order history, latest first, at most 200."""
    subscription = details.purchase(actor_of(request), purchase_id)
    lines = OrderLine.objects.filter(tenant_id=subscription.tenant_id, subscription=subscription)
    latest = lines.select_related("order").order_by("-order_id", "-id")[:MOST_ORDERS]
    return Orders(items=[_order(line, line.order) for line in latest])


@router.get(
    "/{uuid:purchase_id}/cancellation",
    response=answers(CancellationOut, 404, 409),
    url_name="purchase-cancellation",
)
@MANAGE
def preview_cancellation(request: HttpRequest, purchase_id: UUID) -> CancellationOut:
    """What canceling would do now; changes nothing."""
    actor = actor_of(request)
    subscription = details.purchase(actor, purchase_id)
    require_may_manage(actor, subscription)
    quote = quote_cancellation(subscription=subscription, at=now())
    return _cancellation(subscription, quote)


@router.post(
    "/{uuid:purchase_id}/cancel", response=answers(PurchaseOut, 400, 404, 409), url_name="purchase-cancel"
)
@MANAGE
def cancel_purchase(request: HttpRequest, purchase_id: UUID, payload: Cancel) -> PurchaseOut:
    """Cancel as the preview said, or not at all."""
    if payload.reason is not None and payload.reason not in list(Reason):
        raise Malformed(_("There is no such reason."), field="reason")
    actor = actor_of(request)
    canceled = cancel_now(
        actor=actor,
        key=purchase_id,
        version=payload.version,
        seen=Seen(payload.ending, payload.refundMinor, payload.creditedMinor, payload.stillMinor),
        at=now(),
        reason=Reason(payload.reason) if payload.reason else None,
    )
    if canceled.credit_notes:
        ring_after_commit(REFUNDING, using=login_alias())
    return purchase_out(details.purchase(actor, purchase_id))


def filter_of(wanted: Narrowed) -> Filter:
    """:raises Malformed: a channel, status or product that there is not."""
    if not set(wanted.channel) <= set(CHANNELS):
        raise Malformed(_("There is no such channel."), field="channel")
    if wanted.status and wanted.status not in STATUSES:
        raise Malformed(_("There is no such status."), field="status")
    return Filter(
        channels=tuple(dict.fromkeys(wanted.channel)),
        product_id=product_of_id(wanted.product).pk if wanted.product else None,
        status=wanted.status,
        words=words_of(wanted.q),
    )


def purchase_out(row: Subscription) -> PurchaseOut:
    """A purchase with its product and purchaser, as every call tells it."""
    return PurchaseOut(
        id=row.key,
        productId=row.product.key,
        productName=row.product.name,
        channel=cast("Channel", row.channel),
        owner=cast("Owner", row.owner_kind),
        purchaser=row.purchaser_name,
        purchaserEmail=row.purchaser.email if row.purchaser else None,
        state=cast("PurchaseState", row.state),
        paymentFailedAt=row.payment_failed_at,
        recurringBilling=row.recurring_billing,
        quantity=row.quantity,
        assigned=row.assigned,
        available=row.free,
        termMonths=row.term_months,
        billingMonths=row.billing_months,
        currency=row.currency,
        unitPriceMinor=row.unit_price_minor,
        periodPriceMinor=row.period_price_minor,
        termEnd=row.term_end,
        nextDate=row.due_at,
        createdAt=row.created_at,
    )


def _order(line: OrderLine, order: Order) -> OrderOut:
    return OrderOut(
        id=order.key,
        type=order.type,
        placedAt=order.placed_at,
        placedBy=order.actor_label,
        quantity=line.quantity,
        currency=line.currency,
        unitPriceMinor=line.unit_price_minor,
        amountMinor=line.amount_minor,
    )


def _cancellation(subscription: Subscription, quote: CancellationQuote) -> CancellationOut:
    return CancellationOut(
        ending=cast("EndingName", str(quote.ending)),
        currency=quote.currency,
        refundMinor=quote.refund_minor,
        creditedMinor=quote.credited_minor,
        owedMinor=quote.owed_minor,
        stillMinor=quote.plan.still_minor,
        refundUntil=quote.plan.refund_until,
        termEnd=subscription.term_end,
        version=subscription.version,
    )
