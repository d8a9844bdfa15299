"""The workers: who takes which job, chunk by chunk, and how one ends."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override

from config.kit.errors import DomainError
from config.kit.faults import reached
from config.kit.tenancy import atomic, connection, tenant_atomic, use_login
from directory.actors import tenant_row
from directory.models import Job, User
from directory.operations.jobs.content import add_content
from directory.operations.jobs.identity import actor_of, name_of
from directory.operations.jobs.kinds import Step, kind_of
from directory.operations.jobs.states import TAKING, move, record
from directory.operations.mail import queue_mail

log = logging.getLogger(__name__)

State = Job.State
# How long a worker keeps one job before it looks who else waits, and how long before it is given up for dead:
# longer than a task may run.
TURN_SECONDS = 20.0
LEASE = timedelta(minutes=6)
# A chunk that fails for a reason nobody foresaw is tried again, later each time.
MOST_TRIES = 5
FIRST_WAIT = timedelta(seconds=30)
MAIL_AFTER = timedelta(minutes=1)


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
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [TAKING])
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
        add_content(job, step.content)
    with connection().cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        job.leased_until = cursor.fetchone()[0] + LEASE
    job.save(
        update_fields=[
            *("done", "failed", "total", "cursor", "tries", "leased_until"),
            *("file_name", "file_type", "file_bytes"),
        ]
    )


def _end(job: Job, state: State, at: datetime, *, reason: str = "") -> None:
    """Done or stopped: recorded, and told by mail when it took so long that nobody waited beside it."""
    move(job, state, at, reason=reason)
    actor = name_of(job)
    after = {"done": job.done, "failed": job.failed, "reason": job.reason}
    record(actor, job, f"directory.job.{'finished' if state == State.DONE else 'stopped'}", at, after=after)
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
