"""An admin looks at what a person bought and keeps it as it is (product §3.5; docs/notices.md)."""

import uuid
from datetime import datetime

from django.utils.translation import gettext_lazy as _

from commerce.models import Subscription, SubscriptionEvent
from commerce.operations.changes.rules import lock_subscription
from commerce.operations.subscriptions import remember
from commerce.operations.takeovers import require_may_take_over
from commerce.queries.reviews import review_of
from config.kit.actors import Actor
from config.kit.errors import Conflict
from config.kit.tenancy import tenant_atomic
from directory.operations.audit import record


class NothingToKeep(Conflict):
    """The organization's own, or deleted."""

    code = "nothing_to_keep"
    message = _("This purchase is the organization's already, or deleted. Nothing was recorded.")


def can_be_kept(subscription: Subscription) -> bool:
    """Whether it is a person's and not deleted."""
    return not subscription.is_organizations and subscription.state != Subscription.State.DELETED


def keep_purchase(*, actor: Actor, key: uuid.UUID, at: datetime) -> SubscriptionEvent:
    """Record that an admin looked at it and it stays as it is; the first who did, when somebody did before.

    Nothing else changes: it is the purchaser's, who manages and pays it. Locks the subscription.

    :raises NotVisible, NotAllowed: not theirs to see, or to decide about. :raises NothingToKeep: as named.
    """
    with tenant_atomic(actor):
        subscription = lock_subscription(actor, key)
        require_may_take_over(actor, subscription)
        if not can_be_kept(subscription):
            raise NothingToKeep
        before = review_of(subscription)
        if before is not None:
            return before
        kept = remember(subscription, "kept", actor=actor, at=at)
        record(
            actor,
            "commerce.subscription.kept",
            at=at,
            target_type="subscription",
            target_id=subscription.key,
            target_label=subscription.product.name,
            after={"owner": subscription.purchaser_name},
        )
    return kept
