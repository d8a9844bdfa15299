"""Storing what the processor tells (I-18): a hint, kept once, durable before it is answered."""

from datetime import datetime, timedelta

from commerce.gateways.stripe import Event
from commerce.models import WebhookEvent
from config.kit.tenancy import atomic, use_login

# Longer than the processor tells of an event, so that none is taken for a new one: 30 days by its list.
KEPT = timedelta(days=60)
BATCH = 10_000


def store_event(event: Event, *, at: datetime) -> bool:
    """Whether the event is new. Committed on return, when no transaction was open before."""
    with atomic():
        _stored, is_new = WebhookEvent.objects.get_or_create(
            event_id=event.id,
            defaults={"type": event.type, "object_id": event.object_id, "received_at": at},
        )
    return is_new


def forget_events(*, at: datetime, limit: int = BATCH) -> int:
    """Delete handled events that are kept no longer, oldest first; how many. In batches of one statement, worker's login."""
    deleted = 0
    oldest = WebhookEvent.objects.order_by("pk").values("pk")[:limit]
    with use_login("worker"):
        while True:
            with atomic():
                batch, _by_model = WebhookEvent.objects.filter(
                    pk__in=oldest, handled_at__isnull=False, received_at__lt=at - KEPT
                ).delete()
            deleted += batch
            if batch < limit:
                return deleted
