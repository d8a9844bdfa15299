"""What an organization bought of each product, and what people hold of it, by the product's SKU (product §16)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Q, Sum
from django.db.models.functions import Coalesce

from commerce.models import Product, Subscription
from config.kit.actors import Actor
from config.kit.errors import NotVisible
from config.kit.keyset import Page, paginate
from directory.models import User
from directory.permissions import Capability
from licensing.entitlements import GIVES_ACCESS
from licensing.models import Assignment

_State = Subscription.State
# What has begun and is not deleted.
SHOWN = Q(state__in=[_State.ACTIVE, _State.EXPIRED, _State.DISABLED])
_CANCELED = Q(state=_State.DISABLED, disabled_reason=Subscription.DisabledReason.CANCELED)


@dataclass(frozen=True, slots=True)
class Sku:
    """All that an actor sees bought of one product: licenses by the state of their purchases.

    `assigned`: of those that give access. `keys` names the purchases.
    """

    product: Product
    active: int
    expired: int
    disabled: int
    canceled: int
    assigned: int
    keys: Sequence[UUID]

    @property
    def gives_access(self) -> bool:
        return self.active + self.expired > 0


def skus_of(actor: Actor) -> list[Sku]:
    """Every product of which the actor sees a purchase that has begun and is not deleted, by name. Two queries."""
    rows = Subscription.objects.visible_to(actor, Capability.SEE_LICENSES).filter(SHOWN).order_by()
    found = list(
        rows.values("product_id").annotate(
            active=_seats(Q(state=_State.ACTIVE)),
            expired=_seats(Q(state=_State.EXPIRED)),
            disabled=_seats(Q(state=_State.DISABLED) & ~_CANCELED),
            canceled=_seats(_CANCELED),
            assigned_now=Coalesce(Sum("assigned", filter=Q(state__in=GIVES_ACCESS)), 0),
            keys=ArrayAgg("key", order_by="id"),
        )
    )
    products = Product.objects.in_bulk([row["product_id"] for row in found])
    skus = [
        Sku(
            product=products[row["product_id"]],
            active=row["active"],
            expired=row["expired"],
            disabled=row["disabled"],
            canceled=row["canceled"],
            assigned=row["assigned_now"],
            keys=row["keys"],
        )
        for row in found
    ]
    return sorted(skus, key=lambda sku: (sku.product.name, sku.product.pk))


def _seats(of: Q) -> Any:
    return Coalesce(Sum("quantity", filter=of), 0)


def subscriptions_page(actor: Actor, which: Q, *, cursor: str, size: int) -> Page[Subscription]:
    """The purchases that have begun and of which the actor sees the licenses, by product, a page by key. One query."""
    return paginate(
        _begun(actor).filter(which),
        order=("product_sort", "id"),
        cursor=cursor,
        key=lambda row: (row.product_sort, row.pk),
        size=size,
    )


def subscription_shown(actor: Actor, key: UUID) -> Subscription:
    """:raises NotVisible: missing, not begun, or its licenses are not for this actor."""
    row: Subscription | None = _begun(actor).filter(key=key).first()
    if row is None:
        raise NotVisible
    return row


def _begun(actor: Actor):  # type: ignore[no-untyped-def]
    rows = Subscription.objects.visible_to(actor, Capability.SEE_LICENSES).exclude(state=_State.SCHEDULED)
    return rows.select_related("product", "owner_user")


@dataclass(frozen=True, slots=True)
class Held:
    """A product that somebody holds a license of; whether one of them gives access."""

    product: Product
    gives_access: bool


def held_by(actor: Actor, person: User) -> list[Held]:
    """What somebody holds, as far as the actor sees it, each product once, by name. One query."""
    held: dict[int, Held] = {}
    rows = _live(actor, [person.pk]).select_related("subscription__product")
    for row in rows.order_by("subscription__product__name", "product_id", "id"):
        before = held.get(row.product_id)
        gives = row.subscription.state in GIVES_ACCESS or (before is not None and before.gives_access)
        held[row.product_id] = Held(row.subscription.product, gives)
    return list(held.values())


def sku_ids_of(actor: Actor, user_ids: Collection[int]) -> Mapping[int, Sequence[UUID]]:
    """The SKUs that people hold, as far as the actor sees it, by person. One query."""
    rows = _live(actor, user_ids).order_by("user_id", "subscription__product__name", "product_id")
    skus: dict[int, list[UUID]] = {}
    for user_id, sku_id in rows.values_list("user_id", "subscription__product__sku_id").distinct():
        skus.setdefault(user_id, []).append(sku_id)
    return skus


def _live(actor: Actor, user_ids: Collection[int]):  # type: ignore[no-untyped-def]
    """Licenses whose purchases have begun and are not deleted."""
    rows = Assignment.objects.visible_to(actor).live().filter(user_id__in=user_ids)
    return rows.exclude(subscription__state__in=[_State.SCHEDULED, _State.DELETED])
