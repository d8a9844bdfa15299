"""What a person holds, and whether it opens a product (product §4, §7.4)."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, Q

from commerce.models import Product, Subscription
from config.kit.actors import Actor
from directory.permissions import Capability
from licensing.entitlements import best, rank
from licensing.models import Assignment

MOST_HELD = 200
MOST_NOTICES = 4


@dataclass(frozen=True, slots=True)
class Entitlement:
    """One person may use one product, through this subscription."""

    assignment: Assignment
    subscription: Subscription

    @property
    def product(self) -> Product:
        product: Product = self.subscription.product
        return product


def entitlement_of(*, user_id: int, product: Product) -> Entitlement | None:
    """Through which subscription the person may use the product now; None when through none. One query.

    Runs inside the tenant's transaction; the sweeps move states, so the answer needs no clock of its own.
    """
    held = {row.subscription: row for row in _live(user_id).filter(product_id=product.pk)}
    subscription = best(held, user_id)
    return Entitlement(held[subscription], subscription) if subscription else None


def entitlements_of(*, user_id: int) -> list[Entitlement]:
    """One for each product that the person may use, by the product's name. One query."""
    by_product: dict[int, list[Entitlement]] = {}
    for row in licenses_of(user_id=user_id):
        by_product.setdefault(row.subscription.product_id, []).append(row)
    answers = []
    for rows in by_product.values():
        held = {row.subscription: row for row in rows}
        chosen = best(held, user_id)
        if chosen:
            answers.append(held[chosen])
    return sorted(answers, key=lambda answer: answer.product.name)


def licenses_of(*, user_id: int) -> list[Entitlement]:
    """Every license that the person holds, whatever the subscription's state, by product, the first to answer first."""
    rows = [Entitlement(row, row.subscription) for row in _live(user_id)[:MOST_HELD]]
    return sorted(rows, key=lambda row: (row.product.name, rank(row.subscription, user_id)))


def subscriptions_that_need(actor: Actor) -> list[Subscription]:
    """The person's own purchases that ask for something: payment failed, expired, or free licenses. One query."""
    if not actor.is_purchaser or actor.user_id is None:
        return []
    State = Subscription.State
    rows = Subscription.objects.visible_to(actor, Capability.SEE_PURCHASES).filter(
        Q(state=State.EXPIRED)
        | Q(state=State.ACTIVE) & (Q(payment_failed_at__isnull=False) | Q(assigned__lt=F("quantity"))),
        owner_kind=Subscription.Owner.PERSON,
        owner_user_id=actor.user_id,
    )
    urgent_first = rows.select_related("product").order_by(
        F("payment_failed_at").asc(nulls_last=True), "-state", "due_at", "id"
    )
    return list(urgent_first[:MOST_NOTICES])


def expired_since(subscription: Subscription) -> datetime:
    at: datetime = subscription.expired_at or subscription.term_end
    return at


def _live(user_id: int):  # type: ignore[no-untyped-def]
    return (
        Assignment.objects.live()
        .filter(user_id=user_id)
        .exclude(subscription__state=Subscription.State.DELETED)
        .select_related("subscription__product")
    )
