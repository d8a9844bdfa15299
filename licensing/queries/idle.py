"""Licenses that nobody used for a while (product §7.6)."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from django.db.models import Q, QuerySet

from commerce.models import Product, Subscription
from config.kit.actors import Actor
from config.kit.keyset import COUNT_LIMIT, Page, paginate
from directory.permissions import Capability
from licensing.entitlements import GIVES_ACCESS
from licensing.models import Assignment


def idle_licenses(
    actor: Actor, *, days: int, at: datetime, product_id: int | None = None
) -> QuerySet[Assignment]:
    """Live licenses of the subscriptions that the actor sees, not used for so many days, by UTC.

    One that was never used counts from the day on which it was given.
    """
    last = _day(at) - timedelta(days=days)
    seen = Subscription.objects.visible_to(actor, Capability.SEE_LICENSES).filter(state__in=GIVES_ACCESS)
    if product_id is not None:
        seen = seen.filter(product_id=product_id)
    begun = datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=1)
    rows: QuerySet[Assignment] = Assignment.objects.live().filter(
        Q(last_used_on__lte=last) | Q(last_used_on__isnull=True, assigned_at__lt=begun),
        tenant_id=actor.tenant_id,
        subscription__in=seen,
    )
    return rows


def idle_page(rows: QuerySet[Assignment], *, cursor: str = "") -> Page[Assignment]:
    """Those given first come first, a page by key. One query."""
    return paginate(
        rows.select_related("user", "subscription__product"),
        order=("id",),
        cursor=cursor,
        key=lambda row: (row.pk,),
    )


def idle_count(rows: QuerySet[Assignment]) -> int:
    """How many, counted to 10,001 at most."""
    return len(rows.order_by().values_list("pk", flat=True)[: COUNT_LIMIT + 1])


def idle_ids(rows: QuerySet[Assignment], limit: int) -> list[int]:
    """The first of them."""
    return list(rows.order_by("id").values_list("pk", flat=True)[:limit])


def idle_days(row: Assignment, at: datetime) -> int:
    """For how many days the license was not used."""
    return (_day(at) - (row.last_used_on or _day(row.assigned_at))).days


def products_of(actor: Actor) -> Sequence[Product]:
    """The products of which the actor sees licenses, by name."""
    seen = Subscription.objects.visible_to(actor, Capability.SEE_LICENSES).filter(state__in=GIVES_ACCESS)
    return list(Product.objects.filter(pk__in=seen.order_by().values("product_id")).order_by("name"))


def _day(at: datetime) -> date:
    return at.astimezone(UTC).date()
