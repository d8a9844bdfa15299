"""Orders: every act of buying or changing, of all purchases that the token's person sees (product §16)."""

from datetime import datetime
from uuid import UUID

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from ninja import Router, Schema
from ninja.params.functions import Query
from pydantic import Field

from commerce.api.purchases import READ
from commerce.models import Order
from commerce.queries.orders import PlacedOrder, order_for, orders_page
from config.kit.api import Instant, actor_of, answers, one_of
from config.kit.errors import Malformed

router = Router(tags=["Orders"])


class LineOut(Schema):
    """What an order did to one purchase."""

    purchaseId: UUID
    productId: str
    productName: str
    quantity: int = Field(description="Licenses that it added; negative when it removed some.")
    currency: str
    unitPriceMinor: int
    amountMinor: int = Field(description="Without tax; negative where money goes back.")


class PlacedOrderOut(Schema):
    """One act of buying or changing, with what of it the token's person sees."""

    id: UUID
    type: str = Field(description=", ".join(Order.Type.values))
    placedAt: datetime
    placedBy: str
    lines: list[LineOut]


class PlacedOrders(Schema):
    items: list[PlacedOrderOut]
    next: str | None = Field(description="The cursor of the next page.")


@router.get("", response=answers(PlacedOrders, 400), url_name="orders")
@READ
def list_all_orders(
    request: HttpRequest,
    type: str = Query("", max_length=20, **one_of(Order.Type.values, or_empty=True)),
    since: Instant | None = None,
    until: Instant | None = None,
    cursor: str = Query("", max_length=1_000),
) -> PlacedOrders:
    """Orders, latest first, 50 at a time; `since` and `until` are instants with their zone, half-open."""
    if type and type not in Order.Type.values:
        raise Malformed(_("There is no such type."), field="type")
    page = orders_page(actor_of(request), type=type, since=since, until=until, cursor=cursor)
    return PlacedOrders(items=[_out(placed) for placed in page.rows], next=page.next or None)


@router.get("/{uuid:order_id}", response=answers(PlacedOrderOut, 404), url_name="order")
@READ
def get_order(request: HttpRequest, order_id: UUID) -> PlacedOrderOut:
    """One order."""
    return _out(order_for(actor_of(request), order_id))


def _out(placed: PlacedOrder) -> PlacedOrderOut:
    order = placed.order
    return PlacedOrderOut(
        id=order.key,
        type=order.type,
        placedAt=order.placed_at,
        placedBy=order.actor_label,
        lines=[
            LineOut(
                purchaseId=line.subscription.key,
                productId=line.subscription.product.key,
                productName=line.subscription.product.name,
                quantity=line.quantity,
                currency=line.currency,
                unitPriceMinor=line.unit_price_minor,
                amountMinor=line.amount_minor,
            )
            for line in placed.lines
        ],
    )
