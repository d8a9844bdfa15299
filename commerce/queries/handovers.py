"""Purchases offered to a colleague, and those that were handed over (product §2, §4)."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet

from commerce.models import Bill, HandOver, Order, OrderLine, Subscription, SubscriptionEvent
from commerce.queries.details import MOST_EVENTS
from config.kit.actors import Actor
from config.kit.errors import NotVisible
from directory.models import User

MOST_OFFERS = 4
MOST_FORMER = 20


def offers_to(actor: Actor, at: datetime) -> list[HandOver]:
    """What colleagues offer the person and can still be accepted, the earliest end first, at most four. One query."""
    if actor.is_partner or actor.user_id is None:
        return []
    rows = HandOver.objects.visible_to(actor).open(at).filter(to_user_id=actor.user_id)
    return list(
        rows.select_related("subscription__product", "from_user").order_by("expires_at", "id")[:MOST_OFFERS]
    )


def offer_for(actor: Actor, key: uuid.UUID) -> HandOver:
    """One offer to the person, whatever became of it, with what is offered. One query.

    :raises NotVisible: nothing of that key was offered to this person.
    """
    rows = HandOver.objects.visible_to(actor).filter(to_user_id=actor.user_id, key=key)
    offer: HandOver | None = rows.select_related(
        "subscription__product", "subscription__plan", "subscription__vendor_entity", "from_user"
    ).first()
    if offer is None:
        raise NotVisible
    return offer


def open_offer(subscription: Subscription, at: datetime) -> HandOver | None:
    """To whom a purchase is offered now. One query."""
    offer: HandOver | None = (
        HandOver.objects.filter(tenant_id=subscription.tenant_id, subscription=subscription)
        .open(at)
        .select_related("to_user")
        .first()
    )
    return offer


def has_open_bill(subscription: Subscription) -> bool:
    """Whether something is still to be paid, which stays with whoever had to. One query."""
    return bool(
        Bill.objects.open().filter(tenant_id=subscription.tenant_id, subscription=subscription).exists()
    )


@dataclass(frozen=True, slots=True)
class Former:
    """How a person stopped owning a purchase: `to` a colleague, or taken over for the organization (None)."""

    subscription: Subscription
    to: User | None
    at: datetime


def handed_over_by(actor: Actor) -> list[Former]:
    """What the person handed over or was taken over, and does not own again, the latest first, at most twenty.

    Two queries.
    """
    offers = _handed_over(actor).select_related("subscription__product", "to_user")
    lines = _taken_over_from(actor).select_related("subscription__product", "order")
    found = [
        *(_by_offer(offer) for offer in offers.order_by("-decided_at", "-id")[:MOST_FORMER]),
        *(_by_order(line) for line in lines.order_by("-id")[:MOST_FORMER]),
    ]
    latest: dict[int, Former] = {}
    for former in sorted(found, key=lambda former: former.at, reverse=True):
        latest.setdefault(former.subscription.pk, former)
    return list(latest.values())[:MOST_FORMER]


def formerly_owned(actor: Actor, keys: Collection[str]) -> set[str]:
    """Which of these purchases were the person's, and are somebody else's now. Two queries."""
    of_these = {"subscription__key__in": keys}
    former = [
        *_handed_over(actor).filter(**of_these).values_list("subscription__key", flat=True),
        *_taken_over_from(actor).filter(**of_these).values_list("subscription__key", flat=True),
    ]
    return {str(key) for key in former}


def former_purchase(actor: Actor, key: uuid.UUID) -> Former:
    """How the person stopped owning a purchase, the last time, with product and new owner. Two queries.

    :raises NotVisible: it never was theirs, or is so again.
    """
    subscription = ("subscription__product", "subscription__plan")
    offers = _handed_over(actor).filter(subscription__key=key).select_related(*subscription, "to_user")
    lines = _taken_over_from(actor).filter(subscription__key=key).select_related(*subscription, "order")
    found = [
        *(_by_offer(offer) for offer in offers.order_by("-decided_at", "-id")[:1]),
        *(_by_order(line) for line in lines.order_by("-id")[:1]),
    ]
    if not found:
        raise NotVisible
    return max(found, key=lambda former: former.at)


def _by_offer(offer: HandOver) -> Former:
    assert offer.decided_at is not None
    return Former(offer.subscription, offer.to_user, offer.decided_at)


def _by_order(line: OrderLine) -> Former:
    return Former(line.subscription, None, line.order.placed_at)


def _taken_over_from(actor: Actor) -> QuerySet[OrderLine]:
    """The lines by which purchases of the person became the organization's, which they still are."""
    rows: QuerySet[OrderLine] = OrderLine.objects.filter(
        tenant_id=actor.tenant_id,
        order__type=Order.Type.TAKE_OVER,
        subscription__owner_kind=Subscription.Owner.ORGANIZATION,
        subscription__purchaser_id=actor.user_id,
        subscription__purchaser__isnull=False,
    )
    return rows


def events_until(subscription: Subscription, until: datetime) -> list[SubscriptionEvent]:
    """The latest twenty events up to a day. One query."""
    rows = SubscriptionEvent.objects.filter(
        tenant_id=subscription.tenant_id, subscription=subscription, at__lte=until
    )
    return list(rows.order_by("-id")[:MOST_EVENTS])


def _handed_over(actor: Actor):  # type: ignore[no-untyped-def]
    return (
        HandOver.objects.visible_to(actor)
        .filter(from_user_id=actor.user_id, state=HandOver.State.ACCEPTED)
        .exclude(subscription__owner_user_id=actor.user_id)
    )
