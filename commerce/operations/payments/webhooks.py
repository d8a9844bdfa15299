"""Storing what the processor tells (I-18): a hint, kept once, durable before it is answered."""

from datetime import datetime

from commerce.gateways.stripe import Event
from commerce.models import WebhookEvent
from config.kit.tenancy import atomic


def store_event(event: Event, *, at: datetime) -> bool:
    """Whether the event is new. Committed on return, when no transaction was open before."""
    with atomic():
        _stored, is_new = WebhookEvent.objects.get_or_create(
            event_id=event.id,
            defaults={"type": event.type, "object_id": event.object_id, "received_at": at},
        )
    return is_new
