"""Jobs: work over a second, done in chunks by workers and watched on a page (architecture §10; docs/jobs.md).

PostgreSQL is the queue of record. A chunk is one transaction as the app for the job's tenant: what it did, what
became of each row and where the next chunk begins are committed together or not at all, so that a worker that
dies before or after leaves each row done once. The broker only rings.
"""

import json
import logging
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from django.conf import settings
from django.db.models import Max
from django.urls import reverse
from django.utils.translation import get_language, override
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor, Scope
from config.kit.doorbell import ring_after_commit
from config.kit.errors import Conflict, DomainError, NotAllowed, NotVisible, Text
from config.kit.faults import reached
from config.kit.tenancy import atomic, connection, login_alias, tenant_atomic, use_login
from directory.actors import build_actor, tenant_row
from directory.models import AuditEntry, Job, JobPart, JobRow, Tenant, User
from directory.operations import audit
from directory.operations.mail import queue_mail
from directory.permissions import suspended

log = logging.getLogger(__name__)

State = Job.State
TASK = "directory.run_jobs"
# How long a worker keeps one job before it looks who else waits, and how long before it is given up for dead:
# longer than a task may run.
TURN_SECONDS = 20.0
LEASE = timedelta(minutes=6)
# A chunk that fails for a reason nobody foresaw is tried again, later each time.
MOST_TRIES = 5
FIRST_WAIT = timedelta(seconds=30)
# So many of one organization may wait or run.
MOST_LIVE = 20
MAIL_AFTER = timedelta(minutes=1)
# The size of a piece of the result file.
PART_BYTES = 1024 * 1024
_TAKING = 0x5EA7_0B5
_STARTED = "directory.job.started"


class UnknownKind(LookupError):
    """No app has registered this kind of job."""


class TooManyJobs(Conflict):
    """The organization has enough waiting."""

    code = "too_many_jobs"
    message = _("Your organization has many jobs waiting. Nothing was started. Try again when one has ended.")


class JobOver(Conflict):
    """The job has ended, or is not in the state that the button was shown for."""

    code = "job_over"
    message = _("The job has moved on since you opened the page. Nothing was changed.")


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one row: `subject` for people, `code` stable, `message` a sentence. `number` counts from 1."""

    number: int
    subject: str
    code: str
    message: str = ""
    is_failed: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What one chunk did. `done` and `failed` are counted from `rows` unless given, for work without a row each.

    `cursor`, plain JSON, is where the next chunk begins; None: there is no next. `content` is added to the result
    file, which `file_name` and `file_type` name at the latest in the last chunk. `total` when it is known now.
    """

    cursor: Any
    rows: Sequence[Row] = ()
    done: int | None = None
    failed: int | None = None
    total: int | None = None
    content: bytes = b""
    file_name: str = ""
    file_type: str = ""


class Run(Protocol):
    """One chunk, inside its transaction. A second or two of work; no call over the network."""

    def __call__(self, *, actor: Actor, job: Job, at: datetime) -> Step: ...


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of job: what it is called, the capability that its actor needs all along, and how a chunk runs."""

    key: str
    label: Text
    capability: str
    run: Run


_kinds: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    """For higher apps, when they start."""
    _kinds[kind.key] = kind


def kind_of(key: str) -> Kind:
    """:raises UnknownKind: no app has registered it."""
    if key not in _kinds:
        raise UnknownKind(key)
    return _kinds[key]


# --- Starting and stopping ---------------------------------------------------------------------------------


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
        if not actor.is_system and not actor.may(known.capability):
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
        _record(actor, job, _STARTED, at, after={"kind": kind, "total": total})
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
        _move(job, State.CANCELED, at)
        _record(actor, job, "directory.job.canceled", at)
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
        _move(job, State.INTERRUPTED, at)
        _record(actor, job, "directory.job.interrupted", at)
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
        _move(job, State.QUEUED, at)
        _record(actor, job, "directory.job.resumed", at)
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
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_TAKING, tenant_id % 2**31])


def _move(job: Job, state: State, at: datetime, *, reason: str = "") -> None:
    job.state = state
    job.reason = reason[:500]
    job.finished_at = at if state in Job.ENDED else None
    job.leased_until = job.next_try_at = None
    job.tries = 0
    job.save(update_fields=["state", "reason", "finished_at", "leased_until", "next_try_at", "tries"])


def _record(actor: Actor, job: Job, code: str, at: datetime, **facts: Any) -> None:
    audit.record(actor, code, at=at, target_type="job", target_id=job.key, target_label=job.title, **facts)


# --- Working -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Turn:
    """One worker's hold on one job; `number` fences off a worker that was given up for dead and is not."""

    job_id: int
    tenant_id: int
    number: int


@dataclass(slots=True)
class Worked:
    """How far one ring came. `has_more`: time ran out before the work did."""

    chunks: int = 0
    has_more: bool = False
    ended: list[int] = field(default_factory=list)


# A lease that is still there is one that its worker did not live to give back: a chunk that kills its worker each time
# is given up, too. The organization whose last turn lies back longest comes first, and only one of its jobs runs at a time, so that
# a hundred jobs of one hold up none of another.
_TAKE = """
UPDATE directory_job SET state = 'running', turn = turn + 1, taken_at = clock_timestamp(),
       tries = tries + (leased_until IS NOT NULL)::int,
       leased_until = clock_timestamp() + make_interval(secs => %(lease)s), started_at = coalesce(started_at, %(at)s)
 WHERE id = (
       SELECT j.id FROM directory_job j
        WHERE j.state IN ('queued', 'running')
          AND (j.leased_until IS NULL OR j.leased_until < clock_timestamp())
          AND (j.next_try_at IS NULL OR j.next_try_at <= clock_timestamp())
          AND NOT EXISTS (SELECT FROM directory_job o
                           WHERE o.tenant_id = j.tenant_id AND o.state = 'running'
                             AND o.leased_until >= clock_timestamp())
        ORDER BY (SELECT max(t.taken_at) FROM directory_job t WHERE t.tenant_id = j.tenant_id) NULLS FIRST,
                 j.taken_at NULLS FIRST, j.id
        LIMIT 1 FOR UPDATE OF j SKIP LOCKED)
RETURNING id, tenant_id, turn
"""


def run_jobs(*, clock: Callable[[], datetime], seconds: float = 100.0) -> Worked:
    """Work on what waits, a turn of some seconds for each job, until nothing does or the time is over.

    Any number of workers side by side. `clock` is read once for each chunk.
    """
    worked = Worked()
    until = time.monotonic() + seconds
    while turn := _take(clock()):
        reached("J0:after")
        _work(turn, worked, clock, min(until, time.monotonic() + TURN_SECONDS))
        if time.monotonic() >= until:
            worked.has_more = True
            break
    return worked


def _take(at: datetime) -> Turn | None:
    with use_login("worker"), atomic(), connection().cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_TAKING])
        cursor.execute(_TAKE, {"lease": LEASE.total_seconds(), "at": at})
        row = cursor.fetchone()
    return Turn(*row) if row else None


def _work(turn: Turn, worked: Worked, clock: Callable[[], datetime], until: float) -> None:
    """Chunk after chunk; the job goes back into the line when the turn is over."""
    while True:
        reached("J1:before")
        goes_on = _try_chunk(turn, clock())
        reached("J1:after")
        worked.chunks += 1
        if not goes_on:
            worked.ended.append(turn.job_id)
            return
        if time.monotonic() >= until:
            break
    with tenant_atomic(turn.tenant_id):
        _held(turn).update(leased_until=None)


def _held(turn: Turn) -> Any:
    return Job.objects.filter(pk=turn.job_id, state=State.RUNNING, turn=turn.number)


def _try_chunk(turn: Turn, at: datetime) -> bool:
    """Whether the turn goes on. What cannot be done ends the job with its reason; what nobody foresaw is tried again."""
    try:
        with tenant_atomic(turn.tenant_id):
            return _chunk(turn, at)
    except DomainError as error:
        with tenant_atomic(turn.tenant_id):
            job: Job | None = _held(turn).select_for_update().first()
            if job is not None:
                with override(job.language):
                    _end(job, State.FAILED, at, reason=str(error))
    except Exception:
        log.exception("A chunk of job %s failed", turn.job_id)
        with tenant_atomic(turn.tenant_id):
            _put_back(turn, at)
    return False


def _chunk(turn: Turn, at: datetime) -> bool:
    """One chunk, in the transaction under way. The job's row is locked, so pausing waits for it."""
    job: Job | None = _held(turn).select_for_update().first()
    if job is None:
        return False
    with override(job.language):
        if job.tries >= MOST_TRIES:
            _end(job, State.FAILED, at, reason=str(_GIVEN_UP))
            return False
        kind = kind_of(job.kind)
        actor = actor_of(job, at=at)
        step = kind.run(actor=actor, job=job, at=at)
        _write(job, step)
        if step.cursor is None:
            _end(job, State.DONE, at)
    reached("J1:uncommitted")
    return step.cursor is not None


_ROWS = """
INSERT INTO directory_jobrow (tenant_id, job_id, number, subject, code, message, is_failed)
SELECT %s, %s, (r ->> 0)::integer, r ->> 1, r ->> 2, r ->> 3, (r ->> 4)::boolean FROM json_array_elements(%s::json) r
"""


def _write(job: Job, step: Step) -> None:
    """The rows' outcomes, the file's next piece, the counts and the cursor. Three statements at most."""
    if step.rows:
        # As one JSON value: a thousand rows as parameters of their own cost the driver more than the database.
        rows = [
            [row.number, row.subject[:300], row.code, row.message[:500], row.is_failed] for row in step.rows
        ]
        with connection().cursor() as cursor:
            cursor.execute(_ROWS, [job.tenant_id, job.pk, json.dumps(rows, ensure_ascii=False)])
    failed = sum(row.is_failed for row in step.rows) if step.failed is None else step.failed
    job.failed += failed
    job.done += len(step.rows) - failed if step.done is None else step.done
    job.total = job.total if step.total is None else step.total
    job.cursor = step.cursor
    job.tries = 0
    job.file_name = step.file_name[:120] or job.file_name
    job.file_type = step.file_type or job.file_type
    if step.content:
        _add_content(job, step.content)
    with connection().cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        job.leased_until = cursor.fetchone()[0] + LEASE
    job.save(
        update_fields=[
            *("done", "failed", "total", "cursor", "tries", "leased_until"),
            *("file_name", "file_type", "file_bytes"),
        ]
    )


def _add_content(job: Job, content: bytes) -> None:
    for start in range(0, len(content), PART_BYTES):
        _add_part(job, content[start : start + PART_BYTES])


def _add_part(job: Job, content: bytes) -> None:
    last = JobPart.objects.filter(job=job).aggregate(last=Max("number"))["last"]
    JobPart.objects.create(
        tenant_id=job.tenant_id, job=job, number=0 if last is None else last + 1, content=content
    )
    job.file_bytes += len(content)


def content_of(job: Job) -> Iterator[bytes]:
    """The pieces of the result file written so far, in order, one in memory at a time. One query a piece."""
    number, last = -1, JobPart.objects.filter(job=job).aggregate(last=Max("number"))["last"]
    kept = JobPart.objects.filter(job=job, number__lte=-1 if last is None else last)
    while part := kept.filter(number__gt=number).order_by("number").first():
        yield bytes(part.content)
        number = part.number


def replace_content(job: Job, pieces: Iterable[bytes]) -> None:
    """Write the result file anew, for the last chunk of a job whose pieces so far were not yet the file.

    `pieces` may read `content_of` the job meanwhile. Little more than a megabyte is in memory.
    """
    old = list(JobPart.objects.filter(job=job).values_list("pk", flat=True))
    job.file_bytes, waiting = 0, bytearray()
    for piece in pieces:
        waiting += piece
        if len(waiting) >= PART_BYTES:
            _add_part(job, bytes(waiting))
            waiting.clear()
    if waiting:
        _add_part(job, bytes(waiting))
    JobPart.objects.filter(pk__in=old).delete()


def _end(job: Job, state: State, at: datetime, *, reason: str = "") -> None:
    """Done or stopped: recorded, and told by mail when it took so long that nobody waited beside it."""
    _move(job, state, at, reason=reason)
    actor = _named(job)
    after = {"done": job.done, "failed": job.failed, "reason": job.reason}
    _record(actor, job, f"directory.job.{'finished' if state == State.DONE else 'stopped'}", at, after=after)
    if job.actor_user_id is None or at - job.created_at < MAIL_AFTER:
        return
    organization = tenant_row(job.tenant_id).name
    with tenant_atomic(job.actor_tenant_id):
        queue_mail(
            "job_finished",
            # A job that was resumed may end again.
            event_key=f"{job.key}:{job.turn}",
            to=User.objects.active().filter(pk=job.actor_user_id),
            tenant_id=job.actor_tenant_id,
            context={
                "title": job.title,
                "organization": organization,
                "is_done": state == State.DONE,
                "done": job.done,
                "failed": job.failed,
                "has_file": job.has_file,
                "reason": job.reason,
                "link": f"{settings.PUBLIC_URL}{reverse('portal:job', args=[job.key])}",
            },
            at=at,
        )


def _put_back(turn: Turn, at: datetime) -> None:
    job: Job | None = _held(turn).select_for_update().first()
    if job is None:
        return
    job.tries += 1
    if job.tries >= MOST_TRIES:
        with override(job.language):
            _end(job, State.FAILED, at, reason=str(_GIVEN_UP))
        return
    wait = FIRST_WAIT * (1 << (job.tries - 1))
    with connection().cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        job.next_try_at = cursor.fetchone()[0] + wait
    job.leased_until = None
    job.save(update_fields=["tries", "next_try_at", "leased_until"])


_GIVEN_UP = _("Something went wrong that trying again did not solve. What was done before stays done.")


# --- In whose name -----------------------------------------------------------------------------------------


class StarterGone(DomainError):
    """Whoever started the job is disabled, gone, or may no longer act for the organization."""

    code = "starter_gone"
    message = _("%(name)s, who started it, may no longer act here. What was done before stays done.")

    def __init__(self, name: str) -> None:
        super().__init__(self.message % {"name": name}, name=name)


class StarterDemoted(DomainError):
    """Whoever started the job has lost the right that it needs."""

    code = "starter_demoted"
    message = _(
        "%(name)s, who started it, no longer has the right that it needs. What was done before stays done."
    )

    def __init__(self, name: str) -> None:
        super().__init__(self.message % {"name": name}, name=name)


def actor_of(job: Job, *, at: datetime) -> Actor:
    """Whoever started the job, with the rights of now, read again for each chunk (I-24).

    :raises StarterGone: disabled, deleted, or the partner relationship is over.
    :raises StarterDemoted: the rights no longer reach as far as at the start.
    """
    if job.actor_user_id is None:
        return replace(Actor.system(job.tenant_id), correlation_id=job.correlation_id)
    with tenant_atomic(job.actor_tenant_id):
        user: User | None = User.objects.active().filter(pk=job.actor_user_id).first()
        actor = _rebuilt(user, job, at) if user is not None else None
    if actor is None:
        raise StarterGone(job.actor_label)
    if tenant_row(job.tenant_id).standing == Tenant.Standing.SUSPENDED:
        actor = replace(actor, grants=suspended(actor.grants))
    held = actor.scopes(job.capability)
    if not held or ("all" not in held and not set(job.scopes) <= held):
        raise StarterDemoted(job.actor_label)
    return actor


def _rebuilt(user: User, job: Job, at: datetime) -> Actor | None:
    return build_actor(
        user, acting_tenant_id=job.tenant_id, at=at, door="job", correlation_id=job.correlation_id
    )


def _named(job: Job) -> Actor:
    """The name under which the end is recorded, also of someone who has no rights left: marked as the start was."""
    started = AuditEntry.objects.filter(
        tenant_id=job.tenant_id, target_type="job", target_id=str(job.key), code=_STARTED
    )
    marked = (
        "" if job.tenant_id == job.actor_tenant_id else started.values_list("on_behalf_of", flat=True).first()
    )
    return Actor(
        user_id=job.actor_user_id,
        tenant_id=job.tenant_id,
        home_tenant_id=job.actor_tenant_id,
        label=job.actor_label,
        relationship_label=marked or "",
        door="job",
        correlation_id=job.correlation_id,
    )


# --- Looking -----------------------------------------------------------------------------------------------


def jobs_seen(actor: Actor, keys: Collection[str]) -> set[str]:
    """Which of these jobs the person sees. One query."""
    return {
        str(key) for key in Job.objects.visible_to(actor).filter(key__in=keys).values_list("key", flat=True)
    }


# --- Keeping -----------------------------------------------------------------------------------------------


def forget_jobs(*, at: datetime, limit: int = 1000) -> int:
    """Delete what is kept no longer: result files after `JOB_FILES_KEPT`, jobs with their rows after `JOBS_KEPT`.

    By the worker's login. How many jobs were deleted.
    """
    with use_login("worker"), atomic():
        stale = Job.objects.filter(finished_at__lte=at - settings.JOB_FILES_KEPT, file_bytes__gt=0)
        ids = list(
            stale.order_by("id").select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit]
        )
        JobPart.objects.filter(job_id__in=ids).delete()
        Job.objects.filter(pk__in=ids).update(file_bytes=0)
    with use_login("worker"), atomic():
        old = Job.objects.filter(finished_at__lte=at - settings.JOBS_KEPT)
        ids = list(
            old.order_by("id").select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit]
        )
        JobPart.objects.filter(job_id__in=ids).delete()
        JobRow.objects.filter(job_id__in=ids).delete()
        Job.objects.filter(pk__in=ids).delete()
    return len(ids)
