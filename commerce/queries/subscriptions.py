"""Lists of subscriptions (product §8). They page by key and never count past 10,000 (architecture §9)."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from django.core.exceptions import EmptyResultSet
from django.db.models import Q, QuerySet
from django.db.models.expressions import RawSQL

from commerce.models import OrderLine, Product, Subscription
from commerce.models.subscriptions import SubscriptionQuerySet
from config.kit import keyset
from config.kit.actors import Actor
from config.kit.compiled import Compiled
from config.kit.tenancy import connection
from directory.models import User
from directory.models.people import fold
from directory.permissions import Capability

# Up to so many hits of a search are looked up one by one.
FEW = 1_000

CHANNELS: tuple[str, ...] = (
    Subscription.Channel.CENTRAL,
    Subscription.Channel.SELF_SERVICE,
    Subscription.Channel.TRIAL,
)

# Name in the address -> the indexed column that sorts.
SORTS: Mapping[str, str] = {
    "product": "product_sort",
    "purchaser": "purchaser_sort",
    "expires": "due_at",
    "seats": "quantity",
    "price": "period_price_minor",
}

_PERSON, _ORGANIZATION = Subscription.Owner.PERSON, Subscription.Owner.ORGANIZATION
# Whose it is now. What a purchaser bought and the organization owns was taken over.
OWNERS: Mapping[str, Q] = {
    "purchaser": Q(owner_kind=_PERSON),
    "organization": Q(owner_kind=_ORGANIZATION),
    "taken-over": Q(owner_kind=_ORGANIZATION) & ~Q(channel=Subscription.Channel.CENTRAL),
}
# The furthest end that can be asked for.
MOST_DAYS = 366

_STATES = Subscription.State
_ACTIVE = Q(state=_STATES.ACTIVE)
STATUSES: Mapping[str, Q] = {
    "scheduled": Q(state=_STATES.SCHEDULED),
    "active": _ACTIVE,
    "payment-failed": _ACTIVE & Q(payment_failed_at__isnull=False),
    "renewal-off": _ACTIVE & Q(recurring_billing=False),
    "expired": Q(state=_STATES.EXPIRED),
    "disabled": Q(state=_STATES.DISABLED),
    "deleted": Q(state=_STATES.DELETED),
}


class Row(NamedTuple):
    """One line of the list: plain values, read without building models."""

    id: int
    key: uuid.UUID
    product_id: int
    channel: str
    owner_kind: str
    quantity: int
    assigned: int
    currency: str
    unit_price_minor: int
    period_price_minor: int
    term_months: int
    billing_months: int
    tax_name: str
    tax_rate: Any
    time_zone: str
    state: str
    recurring_billing: bool
    payment_failed_at: datetime | None
    next_try_at: datetime | None
    pay_by_at: datetime | None
    parked_at: datetime | None
    due_at: datetime | None
    term_end: datetime
    created_at: datetime
    product_sort: str
    purchaser_sort: str
    purchaser_name: str
    purchaser_email: str | None
    purchaser_status: str | None

    @property
    def free(self) -> int:
        return self.quantity - self.assigned


_JOINED = {"purchaser_email": "purchaser__email", "purchaser_status": "purchaser__status"}
_COLUMNS = [_JOINED.get(name, name) for name in Row._fields]


@dataclass(frozen=True, slots=True)
class Filter:
    """What the person asked to see. Empty means everything but Deleted.

    `ends_before`: only what ends, rather than renews, before that instant. `has_left`: only what was bought by
    people whose account is disabled or deleted.
    """

    channels: tuple[str, ...] = ()
    product_id: int | None = None
    status: str = ""
    owner: str = ""
    purchaser_key: uuid.UUID | None = None
    has_left: bool = False
    ends_before: datetime | None = None
    words: tuple[str, ...] = ()
    sort: str = "product"
    descending: bool = False

    def facts(self) -> dict[str, Any]:
        """The filter as plain JSON values, for a job; `filter_of` reads them."""
        return asdict(self) | {
            "purchaser_key": self.purchaser_key and str(self.purchaser_key),
            "ends_before": self.ends_before and self.ends_before.isoformat(),
        }

    @property
    def is_narrowed(self) -> bool:
        return replace(self, sort="product", descending=False) != Filter()


def filter_of(facts: Mapping[str, Any]) -> Filter:
    """The filter of which `Filter.facts` made plain values."""
    key, ends_before = facts["purchaser_key"], facts["ends_before"]
    values = dict(facts) | {
        "channels": tuple(facts["channels"]),
        "words": tuple(facts["words"]),
        "purchaser_key": uuid.UUID(key) if key else None,
        "ends_before": datetime.fromisoformat(ends_before) if ends_before else None,
    }
    return Filter(**values)


def chunk_of(rows: SubscriptionQuerySet, *, after: int, size: int) -> list[Row]:
    """The next rows of an export, by id, behind the last one's. One query."""
    found = rows.filter(pk__gt=after).order_by("id").values_list(*_COLUMNS)[:size]
    return [Row._make(row) for row in found]


def words_of(text: str) -> tuple[str, ...]:
    """A search text as folded words, at most eight; every one must match (as in Django's admin)."""
    return tuple(fold(word) for word in text.replace("\0", "").split()[:8])


def rows_for(actor: Actor, chosen: Filter) -> SubscriptionQuerySet:
    """The subscriptions that the filter leaves, of all channels. One query when there are words to find.

    Few hits come as ids from the crossing's trigram index; words that hit a lot are compared row by row instead,
    which finds a page's worth soon.
    """
    rows = Subscription.objects.visible_to(actor, Capability.SEE_PURCHASES)
    rows = rows.filter(STATUSES[chosen.status]) if chosen.status else rows.not_deleted()
    if chosen.product_id is not None:
        rows = rows.filter(product_id=chosen.product_id)
    if chosen.owner:
        rows = rows.filter(OWNERS[chosen.owner])
    people = User.objects.filter(tenant_id=actor.tenant_id)
    if chosen.purchaser_key is not None:
        rows = rows.filter(purchaser__in=people.filter(key=chosen.purchaser_key).values("pk"))
    if chosen.has_left:
        rows = rows.filter(purchaser__in=people.exclude(status=User.Status.ACTIVE).values("pk"))
    if chosen.ends_before is not None:
        rows = rows.filter(_ACTIVE, recurring_billing=False, term_end__lt=chosen.ends_before)
    if chosen.words:
        ids = found_ids(chosen.words)
        if len(ids) <= FEW:
            return rows.filter(pk__in=ids)
        for word in chosen.words:
            rows = rows.filter(search_text__contains=word)
    return rows


def page_of(rows: SubscriptionQuerySet, chosen: Filter, *, cursor: str) -> keyset.Page[Row]:
    """One page of 50 rows, of the chosen channels, in the chosen order. One query.

    :raises Malformed: a cursor of another order, or made up.
    """
    column = SORTS[chosen.sort]
    if column == "due_at" and chosen.status == "deleted":
        # Deleted is final: it has no next date to sort by.
        column = "id"
    order = [column] if column == "id" else [column, "id"]
    places = [Row._fields.index(name) for name in order]
    page = keyset.paginate(
        in_channels(rows, chosen.channels).values_list(*_COLUMNS),
        order=[f"-{name}" for name in order] if chosen.descending else order,
        cursor=cursor,
        key=lambda row: [row[place] for place in places],
    )
    return keyset.Page([Row._make(row) for row in page.rows], page.next, page.back)


def counts_of(rows: SubscriptionQuerySet) -> dict[str, int]:
    """How many rows each channel has; none is counted past 10,001. One query, for most filters of an index alone."""
    counts: list[str] = []
    params: list[Any] = []
    for channel in CHANNELS:
        some = rows.filter(channel=channel).order_by().values("channel")[: keyset.COUNT_LIMIT + 1]
        try:
            sql, values = some.query.sql_with_params()
        except EmptyResultSet:
            counts.append("0")
        else:
            # Django's own SQL and parameters.
            counts.append(f"(SELECT count(*) FROM ({sql}) AS found)")  # noqa: S608
            params += values
    with connection().cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(counts)}", params)
        return dict(zip(CHANNELS, cursor.fetchone(), strict=True))


def in_channels(rows: SubscriptionQuerySet, channels: tuple[str, ...]) -> SubscriptionQuerySet:
    """Only those channels; all when none is named."""
    if not channels:
        return rows
    return rows.filter(channel=channels[0]) if len(channels) == 1 else rows.filter(channel__in=channels)


def products_by_id() -> dict[int, Product]:
    """The whole catalogue, a few dozen rows, for names and tiles. One query."""
    return {product.pk: product for product in Product.objects.only(*_NAMES)}


def products_bought(actor: Actor) -> tuple[dict[int, Product], set[int]]:
    """The same, and the ids of those that the organization ever bought, for the product filter. One query."""
    rows = _CATALOGUE.rows(tenant_id=actor.tenant_id)
    alias = connection().alias
    products = {values[0]: Product.from_db(alias, _NAMES, values) for *values, _is_bought in rows}
    return products, {row[0] for row in rows if row[-1]}


_NAMES = ("id", "slug", "name", "category")
# One look into the index of the list for each product that is there, however many purchases there are of it.
_BOUGHT = """
    id IN (
        WITH RECURSIVE bought AS (
            (SELECT product_sort, product_id FROM commerce_subscription
              WHERE tenant_id = %s ORDER BY product_sort LIMIT 1)
            UNION ALL
            SELECT next.product_sort, next.product_id
              FROM bought CROSS JOIN LATERAL (
                SELECT product_sort, product_id FROM commerce_subscription
                 WHERE tenant_id = %s AND product_sort > bought.product_sort
                 ORDER BY product_sort LIMIT 1) AS next
        )
        SELECT product_id FROM bought)
"""


def _catalogue_of(tenant_id: int) -> QuerySet[Product, Any]:
    is_bought = RawSQL(_BOUGHT, [tenant_id, tenant_id])  # noqa: S611
    rows: QuerySet[Product, Any] = Product.objects.annotate(is_bought=is_bought).values_list(
        *_NAMES, "is_bought"
    )
    return rows


_CATALOGUE = Compiled(_catalogue_of, tenant_id=int)


def found_ids(words: Sequence[str]) -> list[int]:
    """Ids of the current tenant's subscriptions that hold every word, in no order, at most `FEW` + 1. One query.

    Through the crossing `search_subscriptions`, since row-level security keeps the planner from the trigram
    index; it reads the tenant from the transaction's setting and gives nothing without one.
    """
    with connection().cursor() as cursor:
        cursor.execute("SELECT id FROM search_subscriptions(%s::text[], %s)", [list(words), FEW + 1])
        return [row[0] for row in cursor.fetchall()]


class TakenOver(NamedTuple):
    """Who took a purchase over for the organization, and when."""

    by: str
    at: datetime


def taken_over_of(rows: Sequence[Row]) -> dict[int, TakenOver]:
    """Of the rows that were taken over, who did it, by subscription id. One query, none where no row was."""
    ids = [row.id for row in rows if is_taken_over(row)]
    if not ids:
        return {}
    lines = OrderLine.objects.filter(subscription_id__in=ids, order__type="take_over").order_by("id")
    found = lines.values_list("subscription_id", "order__actor_label", "order__placed_at")
    return {subscription_id: TakenOver(by, at) for subscription_id, by, at in found}


def is_taken_over(row: Row) -> bool:
    """Whether a purchaser's purchase is the organization's now."""
    return row.owner_kind == _ORGANIZATION and row.channel != Subscription.Channel.CENTRAL


def purchaser_of(actor: Actor, key: uuid.UUID) -> User | None:
    """The person that a filter names; None when there is none here. One query."""
    found: User | None = User.objects.visible_to(actor).filter(key=key).first()
    return found
