"""The line for a subscription's licenses, in its order (product §7.6)."""

from collections.abc import Sequence
from dataclasses import dataclass

from commerce.models import Subscription
from config.kit.keyset import Page, paginate
from licensing.models import Assignment, WaitingPlace


@dataclass(frozen=True, slots=True)
class Waiting:
    """One person in the line; `number` counts from 1. `holds`: has the product by now, and is passed over."""

    place: WaitingPlace
    number: int
    holds: bool


def line_page(subscription: Subscription, *, cursor: str = "") -> Page[Waiting]:
    """Those who wait, the first first, a page by key. Three queries."""
    rows = WaitingPlace.objects.live().filter(tenant_id=subscription.tenant_id, subscription=subscription)
    page = paginate(rows.select_related("user"), order=("id",), cursor=cursor, key=lambda row: (row.pk,))
    before = rows.filter(pk__lt=page.rows[0].pk).count() if page.rows else 0
    holders = _holders(subscription, [row.user_id for row in page.rows])
    return Page(
        [
            Waiting(row, number, row.user_id in holders)
            for number, row in enumerate(page.rows, start=before + 1)
        ],
        page.next,
        page.back,
    )


def line_length(subscription: Subscription) -> int:
    """How many wait."""
    rows = WaitingPlace.objects.live().filter(tenant_id=subscription.tenant_id, subscription=subscription)
    return int(rows.count())


def _holders(subscription: Subscription, user_ids: Sequence[int]) -> set[int]:
    rows = Assignment.objects.live().filter(
        tenant_id=subscription.tenant_id, user_id__in=user_ids, product_id=subscription.product_id
    )
    return set(rows.values_list("user_id", flat=True))
