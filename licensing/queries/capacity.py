"""How much storage licenses give, where it comes from, and what is used of it (product §13)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from django.db.models import F, Q, Sum

from commerce.models import Product, Subscription
from commerce.models.subscriptions import SubscriptionQuerySet
from config.kit.actors import Actor
from config.kit.keyset import Page, paginate
from directory.permissions import Capability
from licensing.entitlements import GIVES_ACCESS
from licensing.models import Consumption

KINDS: tuple[str, ...] = tuple(Consumption.Kind.values)
# From this share of the total on, in percent, the page warns.
NEARLY = 85
FULL = 100
MOST_SHOWN = 10

_CENTRAL = Q(channel=Subscription.Channel.CENTRAL)
_STORES = Q(product__database_mb__gt=0) | Q(product__file_mb__gt=0) | Q(product__log_mb__gt=0)


@dataclass(frozen=True, slots=True)
class KindTotal:
    """One kind of storage of a whole organization, in MB: what live licenses give by their source, and what is used."""

    kind: str
    central_mb: int
    self_service_mb: int
    used_mb: int

    @property
    def total_mb(self) -> int:
        return self.central_mb + self.self_service_mb

    @property
    def left_mb(self) -> int:
        """Below zero when more is used than there is."""
        return self.total_mb - self.used_mb

    @property
    def percent(self) -> int:
        """The share that is used, rounded down, so that 100 is reached when nothing is left; of nothing all is used."""
        if self.total_mb:
            return 100 * self.used_mb // self.total_mb
        return FULL if self.used_mb else 0

    @property
    def level(self) -> Literal["", "nearly", "full", "over"]:
        """`nearly` from 85 % on, `full` when nothing is left, `over` when more is used than there is."""
        if self.left_mb < 0:
            return "over"
        if self.percent >= FULL:
            return "full"
        return "nearly" if self.percent >= NEARLY else ""


def totals_of(tenant_id: int) -> list[KindTotal]:
    """The whole organization's, by kind: its purchasers see it, too (product §2). Two queries."""
    sums = {
        f"{source}_{kind}": Sum(F("quantity") * F(f"product__{kind}_mb"), filter=condition, default=0)
        for source, condition in (("central", _CENTRAL), ("people", ~_CENTRAL))
        for kind in KINDS
    }
    given = _live(Subscription.objects.filter(tenant_id=tenant_id)).order_by().aggregate(**sums)
    used = dict(
        Consumption.objects.filter(tenant_id=tenant_id)
        .order_by()
        .values_list("kind")
        .annotate(used=Sum("used_mb"))
    )
    return [
        KindTotal(kind, int(given[f"central_{kind}"]), int(given[f"people_{kind}"]), int(used.get(kind, 0)))
        for kind in KINDS
    ]


def self_service_page(actor: Actor, *, cursor: str) -> Page[Subscription]:
    """What colleagues bought that gives storage, as far as the actor sees it, by purchaser, a page by key. One query."""
    rows = _live(Subscription.objects.visible_to(actor, Capability.SEE_CAPACITY)).exclude(_CENTRAL)
    return paginate(
        rows.filter(_STORES).select_related("product", "purchaser"),
        order=("purchaser_sort", "id"),
        cursor=cursor,
        key=lambda row: (row.purchaser_sort, row.pk),
    )


def given_by(subscription: Subscription) -> dict[str, int]:
    """What its licenses give, by kind, in MB; its product is at hand."""
    return {kind: subscription.quantity * getattr(subscription.product, f"{kind}_mb") for kind in KINDS}


def consumption_page(actor: Actor, *, cursor: str = "", size: int = MOST_SHOWN) -> Page[Consumption]:
    """What uses most first, without what uses nothing any more, a page by key. One query."""
    rows = Consumption.objects.visible_to(actor).filter(used_mb__gt=0).select_related("product")
    return paginate(
        rows,
        order=("-used_mb", "-id"),
        cursor=cursor,
        key=lambda row: (row.used_mb, row.pk),
        size=size,
    )


def products_with_storage() -> Sequence[Product]:
    """The products whose licenses give storage and that are sold, by name. One query."""
    stores = Q(database_mb__gt=0) | Q(file_mb__gt=0) | Q(log_mb__gt=0)
    return list(Product.objects.filter(stores, withdrawn_at=None).order_by("name"))


def _live(rows: SubscriptionQuerySet) -> SubscriptionQuerySet:
    """Those whose licenses work: a license that gives no access gives no storage."""
    return rows.filter(state__in=GIVES_ACCESS)
