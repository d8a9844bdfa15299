"""The portal's inbox: what was read, and forgetting what is old (product §15; docs/notices.md)."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Coalesce

from config.kit.actors import Actor
from config.kit.errors import NotVisible
from config.kit.tenancy import atomic, tenant_atomic, use_login
from directory.models import OutgoingMail, User

State = OutgoingMail.State
BATCH = 1000
# The bell counts no further.
MOST_COUNTED = 99


def unread_count(actor: Actor) -> int:
    """How many notices the person has not read, counted to 100. Inside `tenant_atomic`; one query, from an index of
    the unread alone."""
    return len(OutgoingMail.objects.visible_to(actor).unread().values_list("pk")[: MOST_COUNTED + 1])


def notice_of(*, actor: Actor, notice_id: int) -> OutgoingMail:
    """:raises NotVisible: missing, or somebody else's."""
    notice: OutgoingMail | None = OutgoingMail.objects.visible_to(actor).filter(pk=notice_id).first()
    if notice is None:
        raise NotVisible
    return notice


def mark_read(*, actor: Actor, notice_id: int, at: datetime) -> None:
    """The person has read it; again is no change. :raises NotVisible: missing, or somebody else's."""
    with tenant_atomic(actor):
        notice = notice_of(actor=actor, notice_id=notice_id)
        OutgoingMail.objects.filter(pk=notice.pk, read_at=None).update(read_at=at)


def mark_unread(*, actor: Actor, notice_id: int) -> None:
    """The person wants to see it again; twice is once. :raises NotVisible: missing, or somebody else's."""
    with tenant_atomic(actor):
        notice = notice_of(actor=actor, notice_id=notice_id)
        OutgoingMail.objects.filter(pk=notice.pk).update(read_at=None)


def mark_all_read(*, actor: Actor, until: datetime, at: datetime) -> int:
    """The person has read all that was told up to `until`, when the list was shown; how many those were."""
    with tenant_atomic(actor):
        unread = OutgoingMail.objects.visible_to(actor).unread().filter(created_at__lte=until)
        return unread.update(read_at=at)


def forget_notices_of(*, user: User, at: datetime) -> int:
    """Forget all that a deleted person was told, and send none of what waits; how many. One statement, in the
    transaction that deletes the account."""
    own = OutgoingMail.objects.filter(tenant_id=user.tenant_id, to_user_id=user.pk)
    waits = Q(state__in=(State.QUEUED, State.DIGEST))
    return own.update(**_forgotten(at), state=Case(When(waits, then=Value(State.LEFT)), default=F("state")))


def forget_notices(*, at: datetime, limit: int = BATCH) -> int:
    """Forget reader, address and content of what was told longer ago than `NOTICES_KEPT`; how many.

    The rows stay, so that nothing is ever told twice. What still waits to be sent is kept. By the worker's login, a
    batch a transaction.
    """
    old = OutgoingMail.objects.filter(
        created_at__lte=at - settings.NOTICES_KEPT,
        to_user_id__isnull=False,
        state__in=(State.SENT, State.DEAD, State.LEFT, State.LISTED, State.PORTAL),
    )
    forgotten = 0
    with use_login("worker"):
        while True:
            with atomic():
                ids = list(
                    old.order_by("created_at")
                    .select_for_update(skip_locked=True)
                    .values_list("pk", flat=True)[:limit]
                )
                OutgoingMail.objects.filter(pk__in=ids).update(**_forgotten(at))
            forgotten += len(ids)
            if len(ids) < limit:
                return forgotten


def _forgotten(at: datetime) -> dict[str, Any]:
    """What is left of a row whose reader, address and content are forgotten."""
    return {
        "to_user_id": None,
        "to_address": "",
        "context": {},
        "last_error": "",
        "read_at": Coalesce(F("read_at"), at),
    }
