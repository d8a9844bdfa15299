"""What stands above Your products: seats, free seats by product, and spend per month by channel (product §8)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.db.models import Sum

from commerce.models import Subscription
from commerce.queries.subscriptions import CHANNELS
from config.kit import keyset
from config.kit.actors import Actor
from config.kit.tenancy import connection
from directory.permissions import Capability

MONTHS = 6
# Whose licenses work, so that a free one can be given.
COUNTED = (Subscription.State.ACTIVE, Subscription.State.EXPIRED)


class ProductSeats(NamedTuple):
    """Licenses of one product, of all channels."""

    product_id: int
    bought: int
    assigned: int

    @property
    def free(self) -> int:
        return self.bought - self.assigned


@dataclass(frozen=True, slots=True)
class Month:
    """One calendar month of the tenant's zone; `by_channel`: currency -> channel -> minor units, without tax."""

    first: date
    spend: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Totals:
    """`seats` by product, most free first. `months` oldest first, the running one last."""

    seats: Sequence[ProductSeats]
    months: Sequence[Month]
    currencies: Sequence[str]

    @property
    def bought(self) -> int:
        return sum(each.bought for each in self.seats)

    @property
    def assigned(self) -> int:
        return sum(each.assigned for each in self.seats)

    @property
    def free(self) -> int:
        return self.bought - self.assigned


def totals_for(actor: Actor, *, time_zone: str, currency: str, at: datetime) -> Totals:
    """The totals of everything that the actor sees, whatever the list is filtered by. Two queries.

    They read every subscription, and every bill of six months: with `is_large`, ask after the rows.
    """
    months = _spend(actor, time_zone=time_zone, at=at)
    seen = {code for month in months for code in month.spend}
    return Totals(seats=_seats(actor), months=months, currencies=[currency, *sorted(seen - {currency})])


def _seats(actor: Actor) -> list[ProductSeats]:
    rows = (
        Subscription.objects.visible_to(actor, Capability.SEE_PURCHASES)
        .filter(state__in=COUNTED)
        .order_by()
        .values("product_id")
        .annotate(bought=Sum("quantity"), given=Sum("assigned"))
        .values_list("product_id", "bought", "given")
    )
    return sorted((ProductSeats(*row) for row in rows), key=lambda each: (-each.free, each.product_id))


# Bills of a month less its credit notes, which are bills with negative amounts; void ones come to nothing.
_SPEND = """SELECT date_trunc('month', b.issued_at AT TIME ZONE %(zone)s)::date, b.currency, s.channel, sum(b.subtotal_minor)::bigint
  FROM commerce_bill b JOIN commerce_subscription s ON s.id = b.subscription_id AND s.tenant_id = b.tenant_id
 WHERE b.tenant_id = %(tenant)s AND b.issued_at >= %(since)s AND b.issued_at < %(until)s AND b.status <> 'void'
 GROUP BY 1, 2, 3
"""


def _spend(actor: Actor, *, time_zone: str, at: datetime) -> list[Month]:
    if "all" not in actor.scopes(Capability.SEE_BILL_AMOUNTS):
        return []
    firsts = _firsts(at, time_zone)
    found = _added_up(actor.tenant_id, firsts[0], _after(firsts[-1]), time_zone)
    spend: dict[date, dict[str, dict[str, int]]] = {}
    for first, currency, channel, minor in found:
        spend.setdefault(first, {}).setdefault(currency, dict.fromkeys(CHANNELS, 0))[channel] = minor
    return [Month(first, spend.get(first, {})) for first in firsts]


def _added_up(tenant_id: int, since: date, until: date, time_zone: str) -> list[tuple[date, str, str, int]]:
    zone = ZoneInfo(time_zone)
    with connection().cursor() as cursor:
        cursor.execute(
            _SPEND,
            {
                "tenant": tenant_id,
                "zone": time_zone,
                "since": datetime(since.year, since.month, 1, tzinfo=zone),
                "until": datetime(until.year, until.month, 1, tzinfo=zone),
            },
        )
        return list(cursor.fetchall())


def _firsts(at: datetime, time_zone: str) -> list[date]:
    """The first days of the last six months, oldest first."""
    first = at.astimezone(ZoneInfo(time_zone)).date().replace(day=1)
    firsts = [first]
    for _ in range(MONTHS - 1):
        first = (first - timedelta(days=1)).replace(day=1)
        firsts.insert(0, first)
    return firsts


def _after(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1)


def is_large(counts: Mapping[str, int]) -> bool:
    """Whether there are so many subscriptions that adding up is left for after the rows."""
    return sum(counts.values()) > keyset.COUNT_LIMIT
