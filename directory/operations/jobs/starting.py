"""Starting a job, and what people do with one: cancel, pause, let it go on."""

import json
import uuid
from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor, Scope
from config.kit.doorbell import ring_after_commit
from config.kit.errors import Conflict, NotAllowed, NotVisible
from config.kit.tenancy import connection, login_alias, tenant_atomic
from directory.models import Job
from directory.operations.jobs.kinds import kind_of
from directory.operations.jobs.states import STARTED, TAKING, TASK, move, record

State = Job.State
# So many of one organization may wait or run.
MOST_LIVE = 20


class TooManyJobs(Conflict):
    """The organization has enough waiting."""

    code = "too_many_jobs"
    message = _("Your organization has many jobs waiting. Nothing was started. Try again when one has ended.")


class JobOver(Conflict):
    """The job has ended, or is not in the state that the button was shown for."""

    code = "job_over"
    message = _("The job has moved on since you opened the page. Nothing was changed.")


def start_job(
    *,
    actor: Actor,
    kind: str,
    title: str,
    parameters: dict[str, Any],
    at: datetime,
    total: int | None = None,
    back: str = "",
    scopes: Collection[Scope] | None = None,
) -> Job:
    """Queue a job in the actor's name, inside the caller's transaction; workers are rung once it commits.

    `parameters` are plain JSON values. `back` is the page from which it was started. `scopes`, those of the
    kind's capability by default, are what the actor must still hold at each chunk, and whoever else reads it.

    :raises NotAllowed: the actor lacks the kind's capability.
    :raises TooManyJobs: twenty of the organization wait already.
    """
    known = kind_of(kind)
    with tenant_atomic(actor):
        _lock_tenant(actor.tenant_id)
        if known.capability and not actor.is_system and not actor.may(known.capability):
            raise NotAllowed
        if Job.objects.filter(tenant_id=actor.tenant_id).live().count() >= MOST_LIVE:
            raise TooManyJobs
        job = Job.objects.create(
            tenant_id=actor.tenant_id,
            kind=kind,
            title=title[:200],
            back=back[:200],
            capability=known.capability,
            scopes=_scopes(actor, known.capability) if scopes is None else sorted(scopes),
            actor_user_id=actor.user_id,
            actor_tenant_id=actor.home_tenant_id,
            actor_label=actor.label[:200],
            door=actor.door,
            correlation_id=actor.correlation_id,
            language=(get_language() or "en")[:10],
            parameters=json.loads(json.dumps(parameters)),
            total=total,
            created_at=at,
        )
        record(actor, job, STARTED, at, after={"kind": kind, "total": total})
    ring_after_commit(TASK, using=login_alias())
    return job


def cancel_job(*, actor: Actor, key: uuid.UUID, at: datetime) -> Job:
    """End a job for good after the chunk under way; what was done stays done.

    :raises NotVisible: not the actor's to see.
    :raises NotAllowed: the actor may only read it.
    :raises JobOver: it has ended.
    """
    with tenant_atomic(actor):
        job = _lock(actor, key)
        if job.state in Job.ENDED:
            raise JobOver
        move(job, State.CANCELED, at)
        record(actor, job, "directory.job.canceled", at)
    return job


def interrupt_job(*, actor: Actor, key: uuid.UUID, at: datetime) -> Job:
    """Pause a job after the chunk under way; nothing is lost.

    :raises NotVisible: not the actor's to see.
    :raises NotAllowed: the actor may only read it.
    :raises JobOver: it neither waits nor runs.
    """
    with tenant_atomic(actor):
        job = _lock(actor, key)
        if not job.is_live:
            raise JobOver
        move(job, State.INTERRUPTED, at)
        record(actor, job, "directory.job.interrupted", at)
    return job


def resume_job(*, actor: Actor, key: uuid.UUID, at: datetime) -> Job:
    """Let a paused or stopped job go on where it was, in the name of whoever started it.

    :raises NotVisible: not the actor's to see.
    :raises NotAllowed: the actor may only read it.
    :raises JobOver: it goes on already, is done or was canceled.
    """
    with tenant_atomic(actor):
        job = _lock(actor, key)
        if job.state not in (State.INTERRUPTED, State.FAILED):
            raise JobOver
        move(job, State.QUEUED, at)
        record(actor, job, "directory.job.resumed", at)
    ring_after_commit(TASK, using=login_alias())
    return job


def _lock(actor: Actor, key: uuid.UUID) -> Job:
    """A visible job, locked. Another's is for those who hold the same rights in the same scopes, and may write."""
    job: Job | None = Job.objects.visible_to(actor).select_for_update().filter(key=key).first()
    if job is None:
        raise NotVisible
    if job.actor_user_id != actor.user_id and not actor.roles - {"global_reader"}:
        raise NotAllowed
    return job


def _scopes(actor: Actor, capability: str) -> list[Scope]:
    held = actor.scopes(capability)
    return ["all"] if actor.is_system or "all" in held else sorted(held)


def _lock_tenant(tenant_id: int) -> None:
    """Starts of one organization count one after the other."""
    with connection().cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [TAKING, tenant_id % 2**31])
