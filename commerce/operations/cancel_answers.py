"""What became of asking a purchaser to cancel, and telling who asked (product §10, §15)."""

from datetime import datetime, timedelta

from commerce.models import CancelRequest, Subscription
from commerce.operations.mail_facts import about, billing_admins, purchase_link
from config.kit.actors import Actor
from directory.models import User
from directory.operations.audit import record
from directory.operations.mail import queue_mail

State = CancelRequest.State
# So that people read the last day of a half-open period.
_INSTANT = timedelta(microseconds=1)
# Of one that was taken back the purchaser is told, and of a take-over the admins, by mails of their own.
TOLD = (State.CANCELED, State.DECLINED, State.ENDED)


def close_cancel_request(subscription: Subscription, state: str, *, actor: Actor, at: datetime) -> bool:
    """End the open request to cancel it, as `state`, with its reminders, and tell who asked; whether there was one.

    Inside the transaction that locked the subscription and stops its renewal or changes its owner. One query
    where nobody asked.
    """
    request: CancelRequest | None = (
        CancelRequest.objects.open()
        .filter(tenant_id=subscription.tenant_id, subscription=subscription)
        .select_for_update(of=("self",))
        .first()
    )
    if request is None:
        return False
    request.state, request.closed_at = state, at
    request.closed_by_id, request.closed_by = actor.user_id, actor.label[:200]
    request.next_reminder_at = None
    request.save(update_fields=["state", "closed_at", "closed_by_id", "closed_by", "next_reminder_at"])
    record(
        actor,
        f"commerce.cancel_request.{state}",
        at=at,
        target_type="subscription",
        target_id=subscription.key,
        target_label=str(subscription),
        before={"asked_at": request.asked_at.isoformat(), "asked_by": request.asked_by},
        after={"reminders": request.reminders},
    )
    _tell(subscription, request, actor, at)
    return True


def _tell(subscription: Subscription, request: CancelRequest, actor: Actor, at: datetime) -> None:
    """Who asked, unless it was they who ended it; where they are not here any more, the billing admins."""
    if request.state not in TOLD:
        return
    readers = list(User.objects.active().filter(pk=request.asked_by_id)) or billing_admins(request.tenant_id)
    queue_mail(
        "cancel_request_answered",
        event_key=str(request.pk),
        to=[reader for reader in readers if reader.pk != actor.user_id],
        tenant_id=request.tenant_id,
        context=about(subscription)
        | {
            "what": str(request.state),
            "purchaser": request.purchaser.name,
            "by": actor.label,
            "asked_by": request.asked_by,
            "asked_at": request.asked_at.isoformat(),
            "assigned": subscription.assigned,
            "has_ended": subscription.state != Subscription.State.ACTIVE,
            "last_day_at": (subscription.term_end - _INSTANT).isoformat(),
            "link": purchase_link(subscription),
        },
        at=at,
    )
