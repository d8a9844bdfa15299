"""Asking a purchaser to cancel, declining, and taking the request back (product §10).

A request never changes the purchase: its owner cancels it on the page that says what that does, or keeps it.
Whoever stops the renewal or changes the owner closes it, by `cancel_answers.close_cancel_request`.
"""

import uuid
from datetime import datetime

from babel.dates import format_date
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from commerce.models import CancelRequest, Subscription
from commerce.operations.cancel_answers import close_cancel_request
from commerce.operations.changes.rules import lock_subscription
from commerce.operations.notices import queue_cancel_request
from commerce.operations.subscriptions import remember
from commerce.periods import days_later, local_date
from commerce.queries.cancel_requests import Obstacle, obstacle_to_asking, open_cancel_request
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotAllowed
from config.kit.tenancy import tenant_atomic
from directory.operations.audit import record
from directory.permissions import Capability

MOST_WORDS = 500


class NobodyToAsk(Conflict):
    """The purchase is not a person's, ends by itself already, or its purchaser left; `obstacle` says which."""

    code = "nobody_to_ask"

    def __init__(self, obstacle: Obstacle) -> None:
        self.obstacle = obstacle
        super().__init__(_WHY[obstacle], obstacle=str(obstacle))


class AlreadyAsked(Conflict):
    """The purchaser was asked before and has not answered; `request` says when and by whom."""

    code = "already_asked"

    def __init__(self, request: CancelRequest, time_zone: str) -> None:
        self.request = request
        locale = (get_language() or "en").replace("-", "_")
        day = format_date(local_date(request.asked_at, time_zone), "d MMM y", locale=locale)
        super().__init__(
            _("%(name)s was asked on %(day)s by %(by)s already. Nothing was sent.")
            % {"name": request.purchaser.name, "day": day, "by": request.asked_by}
        )


class NotAsked(Conflict):
    """There is no open request: it was answered, taken back, or never made."""

    code = "not_asked"
    message = _("No request is open for this purchase. Nothing was changed.")


_WHY = {
    Obstacle.NOT_A_PERSONS: _(
        "Only purchases that a person made by self-service and still owns can be asked about. Nothing was sent."
    ),
    Obstacle.ENDS_ALREADY: _(
        "Its renewal is stopped or it has ended; there is nothing to ask. Nothing was sent."
    ),
    Obstacle.PURCHASER_LEFT: _(
        "The purchaser left and cannot be asked. Take it over instead. Nothing was sent."
    ),
}


def require_may_ask(actor: Actor, subscription: Subscription) -> None:
    """:raises NotVisible: not even seen. :raises NotAllowed: seen, and not theirs to ask about."""
    actor.require(
        Capability.TAKE_OVER,
        is_own=subscription.is_owned_by(actor),
        is_org=subscription.is_organizations,
        sees=Capability.SEE_PURCHASES,
    )


def ask_to_cancel(*, actor: Actor, key: uuid.UUID, at: datetime, message: str = "") -> CancelRequest:
    """Ask the owner of a self-service purchase to cancel it: a mail now, reminders after 3, 7 and 14 days.

    :raises NotVisible, NotAllowed: no such purchase, or not theirs to ask about.
    :raises NobodyToAsk: not a person's, ending already, or the purchaser left.
    :raises AlreadyAsked: an earlier request is open. :raises Malformed: a message that is too long.
    """
    words = " ".join(message.split())
    if len(words) > MOST_WORDS:
        text = _("Write at most %(most)d characters. Nothing was sent.")
        raise Malformed(text % {"most": MOST_WORDS}, field="message")
    with tenant_atomic(actor):
        subscription = lock_subscription(actor, key)
        require_may_ask(actor, subscription)
        request = open_cancel_request(subscription)
        if request is not None:
            raise AlreadyAsked(request, subscription.time_zone)
        obstacle = obstacle_to_asking(subscription)
        if obstacle is not None:
            raise NobodyToAsk(obstacle)
        owner = subscription.owner_user
        assert owner is not None
        request = CancelRequest.objects.create(
            tenant_id=actor.tenant_id,
            subscription=subscription,
            purchaser=owner,
            message=words,
            asked_at=at,
            asked_by_id=actor.user_id,
            asked_by=actor.label[:200],
            next_reminder_at=days_later(at, CancelRequest.REMINDED[0], subscription.time_zone),
        )
        remember(subscription, "cancel_asked", actor=actor, at=at, to=owner.name)
        _record(actor, request, "asked", at, message=words)
        queue_cancel_request(request=request, subscription=subscription, by=actor, stage="asked", at=at)
        return request


def withdraw_cancel_request(*, actor: Actor, key: uuid.UUID, at: datetime) -> CancelRequest:
    """Take an open request back; no reminder follows, and the purchaser is told.

    :raises NotVisible, NotAllowed: no such purchase, or not theirs to ask about. :raises NotAsked: none is open.
    """
    with tenant_atomic(actor):
        subscription = lock_subscription(actor, key)
        require_may_ask(actor, subscription)
        request = open_cancel_request(subscription)
        if request is None:
            raise NotAsked
        close_cancel_request(subscription, CancelRequest.State.WITHDRAWN, actor=actor, at=at)
        remember(subscription, "cancel_request_withdrawn", actor=actor, at=at, to=request.purchaser.name)
        queue_cancel_request(request=request, subscription=subscription, by=actor, stage="withdrawn", at=at)
        return request


def decline_cancel_request(*, actor: Actor, key: uuid.UUID, at: datetime) -> CancelRequest:
    """The purchaser keeps the purchase: no reminder follows, who asked is told, and may take it over or ask again.

    :raises NotVisible: no such purchase. :raises NotAllowed: seen, and not the owner. :raises NotAsked: none is open.
    """
    with tenant_atomic(actor):
        subscription = lock_subscription(actor, key)
        actor.require(
            Capability.MANAGE_PURCHASES,
            is_own=subscription.is_owned_by(actor),
            is_org=False,
            sees=Capability.SEE_PURCHASES,
        )
        request = open_cancel_request(subscription)
        if request is None:
            raise NotAsked
        if request.purchaser_id != actor.user_id:
            raise NotAllowed
        close_cancel_request(subscription, CancelRequest.State.DECLINED, actor=actor, at=at)
        remember(subscription, "cancel_declined", actor=actor, at=at)
        return request


def _record(actor: Actor, request: CancelRequest, what: str, at: datetime, **after: object) -> None:
    subscription: Subscription = request.subscription
    record(
        actor,
        f"commerce.cancel_request.{what}",
        at=at,
        target_type="subscription",
        target_id=subscription.key,
        target_label=str(subscription),
        after={"purchaser": request.purchaser.name, **after},
    )
