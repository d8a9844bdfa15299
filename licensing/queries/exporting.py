"""Your products as rows of a file, with or without who holds the licenses (product §8)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.db.models import Count, Sum

from commerce.models import Product
from commerce.models.subscriptions import SubscriptionQuerySet
from commerce.queries import details
from commerce.queries.subscriptions import Row, TakenOver, chunk_of, is_taken_over, taken_over_of
from config.kit.money import Money
from config.kit.sheets import Cell
from licensing.models import Assignment

COLUMNS = (
    *("subscription", "product", "purchaser", "purchaser_email", "purchaser_left", "channel", "owner"),
    *("taken_over_by", "taken_over_on", "bought", "assigned", "free", "currency", "price", "unit_price"),
    *("billing_months", "term_months", "status", "recurring_billing", "next", "next_date"),
)
HOLDERS = ("user", "user_email", "assigned_on", "assigned_by")
# A chunk is read at once: so many subscriptions, fewer where they have many holders.
SUBSCRIPTIONS_A_CHUNK = 1_000
HOLDERS_A_CHUNK = 5_000


class Size(NamedTuple):
    """How much there is to export."""

    subscriptions: int
    holders: int


class Chunk(NamedTuple):
    """Lines of a file. `after` is the id behind which the next chunk begins; None when there is none."""

    lines: Sequence[Sequence[Cell]]
    subscriptions: int
    after: int | None


def size_of(rows: SubscriptionQuerySet) -> Size:
    """One query."""
    found = rows.order_by().aggregate(count=Count("pk"), given=Sum("assigned"))
    return Size(found["count"], found["given"] or 0)


def head_of(*, with_holders: bool) -> tuple[str, ...]:
    """The names of the columns, for machines as much as for people: in no language."""
    return (*COLUMNS, *HOLDERS) if with_holders else COLUMNS


def next_chunk(
    rows: SubscriptionQuerySet, products: Mapping[int, Product], *, after: int, with_holders: bool
) -> Chunk:
    """The next lines, by the subscriptions' ids; one a holder, or one alone where nobody holds a license.

    Two or three queries. Ends earlier where many licenses are assigned, so that memory stays bounded by the
    largest single subscription.
    """
    found = chunk_of(rows, after=after, size=SUBSCRIPTIONS_A_CHUNK)
    is_last = len(found) < SUBSCRIPTIONS_A_CHUNK
    if with_holders:
        kept = _few_holders(found)
        is_last = is_last and kept == len(found)
        found = found[:kept]
    taken_over = taken_over_of(found)
    holders = _holders_of([row.id for row in found]) if with_holders else {}
    lines: list[Sequence[Cell]] = []
    for row in found:
        cells = _cells(row, products[row.product_id].name, taken_over.get(row.id))
        if with_holders:
            nobody: list[tuple[Cell, ...]] = [(None,) * len(HOLDERS)]
            lines += [[*cells, *holder] for holder in holders.get(row.id, nobody)]
        else:
            lines.append(cells)
    return Chunk(lines, len(found), None if is_last or not found else found[-1].id)


def _few_holders(found: Sequence[Row]) -> int:
    """How many of the rows have so few holders together that they are read at once; one at least."""
    held = 0
    for place, row in enumerate(found):
        held += row.assigned
        if held > HOLDERS_A_CHUNK and place:
            return place
    return len(found)


def _holders_of(ids: Sequence[int]) -> dict[int, list[tuple[Cell, ...]]]:
    rows = Assignment.objects.live().filter(subscription_id__in=ids).order_by("subscription_id", "id")
    found: dict[int, list[tuple[Cell, ...]]] = {}
    names = ("subscription_id", "user__name", "user__email", "assigned_at", "assigned_by")
    for subscription_id, name, email, at, by in rows.values_list(*names):
        found.setdefault(subscription_id, []).append((name, email, at, by))
    return found


def _cells(row: Row, product: str, taken_over: TakenOver | None) -> list[Cell]:
    status = details.status_of(row)
    zone = ZoneInfo(row.time_zone)
    by, at = taken_over or (None, None)
    return [
        str(row.key),
        product,
        row.purchaser_name,
        row.purchaser_email,
        "yes" if row.purchaser_status not in (None, "active") else "no",
        row.channel,
        "taken-over" if is_taken_over(row) else row.owner_kind,
        by,
        at and at.astimezone(zone).date(),
        row.quantity,
        row.assigned,
        row.free,
        row.currency,
        Money(row.period_price_minor, row.currency).decimal,
        Money(row.unit_price_minor, row.currency).decimal,
        row.billing_months,
        row.term_months,
        status.code,
        "yes" if row.recurring_billing else "no",
        str(status.next_label),
        status.next_at and status.next_at.astimezone(zone).date(),
    ]
