"""Who was asked to cancel what, and what stands in the way of asking (product §10)."""

from enum import StrEnum

from commerce.models import CancelRequest, Subscription


class Obstacle(StrEnum):
    """Why nobody can be asked to cancel a purchase."""

    NOT_A_PERSONS = "not_a_persons"
    ENDS_ALREADY = "ends_already"
    PURCHASER_LEFT = "purchaser_left"


def obstacle_to_asking(subscription: Subscription) -> Obstacle | None:
    """What stands in the way of asking the owner to cancel; None when they can be asked. Reads the owner."""
    owner = subscription.owner_user
    if owner is None or subscription.channel != Subscription.Channel.SELF_SERVICE:
        return Obstacle.NOT_A_PERSONS
    if subscription.state != Subscription.State.ACTIVE or not subscription.recurring_billing:
        return Obstacle.ENDS_ALREADY
    return Obstacle.PURCHASER_LEFT if owner.has_left else None


def open_cancel_request(subscription: Subscription) -> CancelRequest | None:
    """The request that the purchaser has not answered yet. One query."""
    rows = CancelRequest.objects.open().filter(tenant_id=subscription.tenant_id, subscription=subscription)
    found: CancelRequest | None = rows.select_related("purchaser").first()
    return found
