"""Sessions of browsers: begun at sign-in, ended by the person or by an admin (reliability §7, I-24)."""

import ipaddress
import uuid
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from django.contrib.sessions.models import Session

from config.kit.actors import Actor
from config.kit.errors import NotVisible
from config.kit.tenancy import atomic, tenant_atomic, use_login
from directory.models import BrowserSession, User
from directory.operations.audit import record
from directory.operations.people import lock_managed, target_of

KEPT = timedelta(days=30)
BATCH = 10_000


def begin_session(*, user: User, address: str, agent: str, real_at: datetime) -> BrowserSession:
    """Note a session of a person who signed in; inside `tenant_atomic` of the person's home. Old ones are forgotten."""
    own = BrowserSession.objects.filter(tenant_id=user.tenant_id, user=user)
    own.filter(started_at__lt=real_at - KEPT).delete()
    begun: BrowserSession = BrowserSession.objects.create(
        tenant_id=user.tenant_id,
        user=user,
        address=_address(address),
        agent=_plain(agent),
        started_at=real_at,
        seen_at=real_at,
    )
    return begun


def note_sign_of_life(*, home_tenant_id: int, session_id: int, address: str, real_at: datetime) -> None:
    """Remember when a session was used last, and from where."""
    with tenant_atomic(home_tenant_id):
        BrowserSession.objects.open().filter(pk=session_id).update(seen_at=real_at, address=_address(address))


def sign_out(*, home_tenant_id: int, session_id: int, real_at: datetime) -> None:
    """End a session whose person signed out in it. Twice is once."""
    with tenant_atomic(home_tenant_id):
        BrowserSession.objects.open().filter(pk=session_id).update(ended_at=real_at)


def end_own_session(*, actor: Actor, key: uuid.UUID, at: datetime, real_at: datetime) -> None:
    """End one of the person's sessions, wherever it is: its next request is refused. Twice is once.

    :raises NotVisible: none of the person's has this key.
    """
    with tenant_atomic(actor.home_tenant_id):
        own = BrowserSession.objects.filter(tenant_id=actor.home_tenant_id, user_id=actor.user_id or 0)
        if not own.filter(key=key).exists():
            raise NotVisible
        _end_own(actor, own.filter(key=key), at, real_at)


def end_other_sessions(*, actor: Actor, current: int | None, at: datetime, real_at: datetime) -> int:
    """End every session of the person but the current one; how many."""
    with tenant_atomic(actor.home_tenant_id):
        own = BrowserSession.objects.filter(tenant_id=actor.home_tenant_id, user_id=actor.user_id or 0)
        return _end_own(actor, own.exclude(pk=current), at, real_at)


def end_sessions_of(*, actor: Actor, user_id: int, at: datetime, real_at: datetime) -> int:
    """End every session of a person of the acting tenant; how many. They may sign in again.

    :raises NotVisible: nobody of the acting tenant.
    :raises NotAllowed: the actor may not manage this person.
    """
    with tenant_atomic(actor):
        user = lock_managed(actor, user_id)
        ended = end_sessions([user.pk], tenant_id=actor.tenant_id, real_at=real_at)
        if ended:
            record(
                actor, "directory.session.ended_by_admin", at=at, **target_of(user), after={"sessions": ended}
            )
    return ended


def end_sessions(user_ids: Collection[int], *, tenant_id: int, real_at: datetime) -> int:
    """End every session of some people, inside the transaction of why; how many."""
    rows = BrowserSession.objects.open().filter(tenant_id=tenant_id, user_id__in=user_ids)
    return rows.update(ended_at=real_at)


def forget_sessions(*, real_at: datetime, limit: int = BATCH) -> int:
    """Delete what was kept for browsers whose session is over, also of those who never signed in; how many.

    In batches of one statement, by the worker's login.
    """
    over = Session.objects.filter(expire_date__lte=real_at).order_by("expire_date").values("pk")[:limit]
    deleted = 0
    with use_login("worker"):
        while True:
            with atomic():
                batch, _by_model = Session.objects.filter(pk__in=over).delete()
            deleted += batch
            if batch < limit:
                return deleted


def _end_own(actor: Actor, rows: object, at: datetime, real_at: datetime) -> int:
    ended: int = rows.open().update(ended_at=real_at)  # type: ignore[attr-defined]
    if ended:
        user = User.objects.get(pk=actor.user_id)
        own = replace(actor, tenant_id=actor.home_tenant_id, relationship_label="")
        record(own, "directory.session.ended", at=at, **target_of(user), after={"sessions": ended})
    return ended


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return None


def _plain(agent: str) -> str:
    return "".join(character for character in agent if character.isprintable())[:300]
