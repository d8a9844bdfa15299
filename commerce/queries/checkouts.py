"""A person's checkouts and what stands beside them."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, Sum

from commerce.models import Bill, BillTo, Checkout, Order, Payment, Product, Subscription
from config.kit.actors import Actor
from config.kit.errors import NotVisible


def checkout_of(*, actor: Actor, key: uuid.UUID, slug: str) -> Checkout:
    """The person's own way to buy that product, with product, plan, market and bill address. One query.

    :raises NotVisible: there is none.
    """
    found: Checkout | None = (
        Checkout.objects.visible_to(actor)
        .select_related("product", "plan", "market", "bill_to")
        .filter(kind=Checkout.Kind.PURCHASE, key=key, product__slug=slug)
        .first()
    )
    if found is None:
        raise NotVisible
    return found


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a paid checkout became."""

    order: Order
    subscription: Subscription
    bill: Bill
    charged_at: datetime


def receipt_of(*, actor: Actor, checkout: Checkout) -> Receipt | None:
    """Order, subscription (with plan and card) and bill of a checkout, None while it is no order. Three queries."""
    order: Order | None = Order.objects.visible_to(actor).filter(checkout=checkout).first()
    if order is None:
        return None
    bill = (
        Bill.objects.visible_to(actor)
        .filter(order=order)
        .select_related("subscription__card", "subscription__plan")
        .get()
    )
    payment = Payment.objects.visible_to(actor).filter(bill=bill).order_by("id").first()
    charged_at = payment.received_at if payment else bill.issued_at
    return Receipt(order, bill.subscription, bill, charged_at)


def waiting_for_bank(*, actor: Actor, subscription: Subscription | None = None) -> list[Checkout]:
    """The person's payments that wait for the bank's confirmation, the latest first; of a purchase, its changes. One query."""
    rows = Checkout.objects.visible_to(actor).filter(state=Checkout.State.ACTION)
    if subscription is not None:
        rows = rows.filter(subscription=subscription)
    return list(rows.select_related("product", "subscription").order_by("-id"))


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
