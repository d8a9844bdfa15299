"""Products report how much storage they use (product §13; docs/adr/0043)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.translation import gettext_lazy as _

from commerce.queries.catalogue import products_of_ids
from config.kit.actors import Actor
from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import connection, tenant_atomic
from directory.permissions import Capability
from licensing.models import Consumption
from licensing.models.capacity import LONGEST_ENVIRONMENT

MOST_MEASURED = 500
MOST_MB = 10**12
# How far a product's clock may be ahead of ours.
AHEAD = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Measured:
    """What an environment of a product uses of one kind; `product_id` is a current or former id."""

    product_id: str
    kind: str
    environment: str
    used_mb: int
    measured_at: datetime


def report_consumption(*, actor: Actor, measured: Sequence[Measured], at: datetime) -> int:
    """Keep what was measured, where nothing measured then or later is known; how many figures are new.

    A report that comes late or twice changes nothing, so reports need no order and no key. One statement; its condition
    is the lock. Nothing is audited: a measurement is no deed of anybody's.

    :raises NotVisible, NotAllowed: the actor does not see capacity, or may not report it.
    :raises Malformed: none or more than 500, no such product or kind, no name, a figure below zero or a future instant.
    """
    if not actor.may(Capability.SEE_CAPACITY):
        raise NotVisible
    if not actor.may(Capability.REPORT_CAPACITY):
        raise NotAllowed
    if not 0 < len(measured) <= MOST_MEASURED:
        raise Malformed(_("Report 1 to 500 figures at once."), field="items")
    products = products_of_ids({each.product_id for each in measured})
    latest: dict[tuple[int, str, str], Measured] = {}
    for place, each in enumerate(measured):
        product = products.get(each.product_id)
        if product is None:
            raise Malformed(_("There is no such product."), field=f"items.{place}.productId")
        name = _checked(each, place, at)
        key = (product.pk, each.kind, name)
        if key not in latest or latest[key].measured_at < each.measured_at:
            latest[key] = each
    with tenant_atomic(actor):
        return _keep(actor.tenant_id, latest, at)


def _checked(each: Measured, place: int, at: datetime) -> str:
    """The environment's name, without space around it."""
    name = each.environment.strip()
    if each.kind not in Consumption.Kind.values:
        raise Malformed(_("The kind is database, file or log."), field=f"items.{place}.kind")
    if not 0 < len(name) <= LONGEST_ENVIRONMENT or not name.isprintable():
        raise Malformed(_("Name the environment in up to 100 letters."), field=f"items.{place}.environment")
    if not 0 <= each.used_mb <= MOST_MB:
        raise Malformed(_("Use whole megabytes, not below zero."), field=f"items.{place}.usedMb")
    if each.measured_at > at + AHEAD:
        raise Malformed(_("This instant is still to come."), field=f"items.{place}.measuredAt")
    return name


def _keep(tenant_id: int, latest: dict[tuple[int, str, str], Measured], at: datetime) -> int:
    # In one order whoever reports, so that two reports at once wait for each other instead of locking up.
    rows = sorted(latest.items())
    with connection().cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO licensing_consumption AS known
                   (tenant_id, product_id, kind, environment, used_mb, measured_at, reported_at)
            SELECT %s, new.*, %s
              FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::timestamptz[]) AS new
                ON CONFLICT (tenant_id, product_id, kind, environment) DO UPDATE
               SET used_mb = excluded.used_mb, measured_at = excluded.measured_at, reported_at = excluded.reported_at
             WHERE known.measured_at < excluded.measured_at
            """,
            [
                tenant_id,
                at,
                [product_id for (product_id, _kind, _name), _each in rows],
                [kind for (_product, kind, _name), _each in rows],
                [name for (_product, _kind, name), _each in rows],
                [each.used_mb for _key, each in rows],
                [each.measured_at for _key, each in rows],
            ],
        )
        return int(cursor.rowcount)
