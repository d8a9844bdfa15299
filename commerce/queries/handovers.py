"""Purchases offered to a colleague, and those that were handed over (product §2, §4)."""

import uuid
from datetime import datetime

from commerce.models import Bill, HandOver, Subscription, SubscriptionEvent
from commerce.queries.details import MOST_EVENTS
from config.kit.actors import Actor
from config.kit.errors import NotVisible

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


def handed_over_by(actor: Actor) -> list[HandOver]:
    """What the person handed over and does not own again, the latest first, at most twenty. One query."""
    rows = _handed_over(actor).select_related("subscription__product", "to_user")
    return list(rows.order_by("-decided_at", "-id")[:MOST_FORMER])


def former_purchase(actor: Actor, key: uuid.UUID) -> HandOver:
    """The hand-over by which the person stopped owning a purchase, with product and new owner. One query.

    :raises NotVisible: it never was theirs, or is so again.
    """
    rows = _handed_over(actor).filter(subscription__key=key)
    offer: HandOver | None = (
        rows.select_related("subscription__product", "subscription__plan", "to_user")
        .order_by("-decided_at", "-id")
        .first()
    )
    if offer is None:
        raise NotVisible
    return offer


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
