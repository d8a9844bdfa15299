"""How a job's row moves from state to state, and what the audit trail says of it."""

from datetime import datetime
from typing import Any

from config.kit.actors import Actor
from directory.models import Job
from directory.operations import audit

# What rings the workers.
TASK = "directory.run_jobs"
STARTED = "directory.job.started"
# Serializes what is taken and started; a number of our own.
TAKING = 0x5EA7_0B5


def move(job: Job, state: Job.State, at: datetime, *, reason: str = "") -> None:
    job.state = state
    job.reason = reason[:500]
    job.finished_at = at if state in Job.ENDED else None
    job.leased_until = job.next_try_at = None
    job.tries = 0
    job.save(update_fields=["state", "reason", "finished_at", "leased_until", "next_try_at", "tries"])


def record(actor: Actor, job: Job, code: str, at: datetime, **facts: Any) -> None:
    audit.record(actor, code, at=at, target_type="job", target_id=job.key, target_label=job.title, **facts)
