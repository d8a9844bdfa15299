"""A person's checkouts and what stands beside them."""

import uuid
from datetime import datetime

from django.db.models import F, Sum

from commerce.models import BillTo, Checkout, Order, Product, Subscription
from config.kit.actors import Actor
from config.kit.errors import NotVisible


def checkout_of(*, actor: Actor, key: uuid.UUID, slug: str) -> Checkout:
    """The person's own checkout of that product, with product, plan, market and bill address. One query.

    :raises NotVisible: there is none.
    """
    found: Checkout | None = (
        Checkout.objects.visible_to(actor)
        .select_related("product", "plan", "market", "bill_to")
        .filter(key=key, product__slug=slug)
        .first()
    )
    if found is None:
        raise NotVisible
    return found


def order_of(*, actor: Actor, checkout: Checkout) -> Order | None:
    """The order that a checkout became, None while it is none. One query."""
    order: Order | None = Order.objects.visible_to(actor).filter(checkout=checkout).first()
    return order


def last_bill_to(*, actor: Actor, at: datetime) -> BillTo | None:
    """Whom the person's latest checkout was billed to, so that nobody types it twice. One query."""
    latest: Checkout | None = (
        Checkout.objects.visible_to(actor)
        .filter(bill_to__isnull=False, created_at__lte=at)
        .select_related("bill_to")
        .order_by("-id")
        .first()
    )
    return latest.bill_to if latest else None


def free_licenses(*, actor: Actor, product: Product) -> int:
    """How many licenses of the product the organization owns and nobody holds. One query.

    Counts all of the tenant's: that some are free is told to everyone who would otherwise pay (product §3.4).
    """
    rows = Subscription.objects.filter(
        tenant_id=actor.tenant_id,
        product=product,
        owner_kind=Subscription.Owner.ORGANIZATION,
        state=Subscription.State.ACTIVE,
    )
    total = rows.aggregate(free=Sum(F("quantity") - F("assigned")))["free"]
    return int(total or 0)
