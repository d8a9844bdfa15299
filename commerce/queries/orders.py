"""Orders with their lines, as far as an actor sees the purchases that they are about (product §16)."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef

from commerce.models import Order, OrderLine
from config.kit.actors import Actor
from config.kit.errors import NotVisible
from config.kit.keyset import Page, paginate
from config.kit.tenancy import ScopedQuerySet


@dataclass(frozen=True, slots=True)
class PlacedOrder:
    """An order, and those of its lines that the actor sees."""

    order: Order
    lines: Sequence[OrderLine]


def orders_page(
    actor: Actor, *, type: str = "", since: datetime | None, until: datetime | None, cursor: str
) -> Page[PlacedOrder]:
    """The orders that changed a purchase which the actor sees, latest first, a page by key. Two queries.

    :raises Malformed: there is no such page.
    """
    rows = _seen(actor)
    if type:
        rows = rows.filter(type=type)
    if since:
        rows = rows.filter(placed_at__gte=since)
    if until:
        rows = rows.filter(placed_at__lt=until)
    page = paginate(rows, order=("-id",), cursor=cursor, key=lambda row: (row.pk,))
    return Page(_with_lines(actor, page.rows), page.next, page.back)


def order_for(actor: Actor, key: uuid.UUID) -> PlacedOrder:
    """:raises NotVisible: missing, or about no purchase that the actor sees. Two queries."""
    order = _seen(actor).filter(key=key).first()
    if order is None:
        raise NotVisible
    (placed,) = _with_lines(actor, [order])
    return placed


def _seen(actor: Actor) -> ScopedQuerySet:
    lines = OrderLine.objects.visible_to(actor).filter(order=OuterRef("pk"))
    rows: ScopedQuerySet = Order.objects.visible_to(actor).filter(Exists(lines))
    return rows


def _with_lines(actor: Actor, orders: Sequence[Order]) -> list[PlacedOrder]:
    lines: dict[int, list[OrderLine]] = {order.pk: [] for order in orders}
    rows = OrderLine.objects.visible_to(actor).filter(order__in=list(lines))
    for line in rows.select_related("subscription__product").order_by("id"):
        lines[line.order_id].append(line)
    return [PlacedOrder(order, lines[order.pk]) for order in orders]
