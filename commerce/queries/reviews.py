"""Who looked at a purchase for the organization (product §3.5)."""

from commerce.models import Subscription, SubscriptionEvent


def review_of(subscription: Subscription) -> SubscriptionEvent | None:
    """By whom and when it was kept as it is; None: by nobody yet. One query."""
    events = SubscriptionEvent.objects.filter(tenant_id=subscription.tenant_id, subscription=subscription)
    return events.filter(code="kept").order_by("id").first()
