"""Licenses by product over all channels, and by who bought them, without prices (product §8)."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from django.db.models import Count, Exists, OuterRef, Q, Sum

from commerce.models import Product, Subscription
from commerce.models.subscriptions import SubscriptionQuerySet
from config.kit.actors import Actor
from config.kit.errors import NotVisible
from config.kit.keyset import Page, paginate
from directory.models import User
from directory.permissions import Capability
from licensing.models import Assignment

_CENTRAL = Q(channel=Subscription.Channel.CENTRAL)
_SELF_SERVICE = Q(channel=Subscription.Channel.SELF_SERVICE)
_TRIAL = Q(channel=Subscription.Channel.TRIAL)


class ProductLicenses(NamedTuple):
    """Licenses of one product: bought through each channel, and how many of all are assigned."""

    product: Product
    subscriptions: int
    central: int
    self_service: int
    trial: int
    bought: int
    assigned: int

    @property
    def free(self) -> int:
        return self.bought - self.assigned


class Purchaser(NamedTuple):
    """A person and what of it their colleagues use."""

    user: User
    purchases: int
    bought: int
    assigned: int


def by_product(actor: Actor) -> list[ProductLicenses]:
    """Every product with licenses that the actor sees, by name. Two queries; a few dozen rows at most."""
    rows = (
        _seen(actor)
        .order_by()
        .values("product_id")
        .annotate(
            count=Count("pk"),
            by_center=Sum("quantity", filter=_CENTRAL, default=0),
            by_people=Sum("quantity", filter=_SELF_SERVICE, default=0),
            by_trial=Sum("quantity", filter=_TRIAL, default=0),
            bought=Sum("quantity"),
            given=Sum("assigned"),
        )
        .values_list("product_id", "count", "by_center", "by_people", "by_trial", "bought", "given")
    )
    numbers = {product_id: rest for product_id, *rest in rows}
    products = Product.objects.filter(pk__in=numbers).order_by("name")
    return [ProductLicenses(product, *numbers[product.pk]) for product in products]


def purchasers_page(actor: Actor, *, cursor: str) -> Page[Purchaser]:
    """Whoever bought something that is not deleted, by name, a page by key. Two queries."""
    bought = _seen(actor).filter(purchaser=OuterRef("pk"))
    page = paginate(
        User.objects.visible_to(actor).filter(Exists(bought)),
        order=("sort_name", "id"),
        cursor=cursor,
        key=lambda user: (user.sort_name, user.pk),
    )
    numbers = _numbers(actor, [user.pk for user in page.rows])
    return Page(
        [Purchaser(user, *numbers.get(user.pk, (0, 0, 0))) for user in page.rows], page.next, page.back
    )


def purchaser_for(actor: Actor, key: UUID) -> Purchaser:
    """One of them. Two queries.

    :raises NotVisible: nobody here, or somebody who bought nothing.
    """
    user: User | None = User.objects.visible_to(actor).filter(key=key).first()
    numbers = _numbers(actor, [user.pk] if user else [])
    if user is None or not numbers:
        raise NotVisible
    return Purchaser(user, *numbers[user.pk])


def users_of(actor: Actor, purchaser: User, *, cursor: str) -> Page[Assignment]:
    """Who holds a license of what the person bought, the latest first, a page by key. One query."""
    rows = Assignment.objects.visible_to(actor).live().filter(subscription__in=_of(actor, [purchaser.pk]))
    return paginate(
        rows.select_related("user", "subscription__product"),
        order=("-id",),
        cursor=cursor,
        key=lambda row: (row.pk,),
    )


def _seen(actor: Actor) -> SubscriptionQuerySet:
    return Subscription.objects.visible_to(actor, Capability.SEE_LICENSES).not_deleted()


def _of(actor: Actor, purchaser_ids: Sequence[int]) -> SubscriptionQuerySet:
    return _seen(actor).filter(purchaser_id__in=purchaser_ids)


def _numbers(actor: Actor, purchaser_ids: Sequence[int]) -> dict[int, tuple[int, int, int]]:
    rows = _of(actor, purchaser_ids).order_by().values("purchaser_id")
    found = rows.annotate(count=Count("pk"), bought=Sum("quantity"), given=Sum("assigned"))
    return {
        pk: (count, bought, given)
        for pk, count, bought, given in found.values_list("purchaser_id", "count", "bought", "given")
    }
