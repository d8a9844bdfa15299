"""Jobs: work over a second, done in chunks by workers and watched on a page (architecture §10; docs/jobs.md).

PostgreSQL is the queue of record. A chunk is one transaction as the app for the job's tenant: what it did, what
became of each row and where the next chunk begins are committed together or not at all, so that a worker that
dies before or after leaves each row done once. The broker only rings.
"""

from directory.operations.jobs.content import content_of, replace_content
from directory.operations.jobs.identity import StarterDemoted, StarterGone, actor_of
from directory.operations.jobs.keeping import forget_jobs, jobs_seen
from directory.operations.jobs.kinds import KINDS, Kind, Row, Run, Step, UnknownKind, kind_of, register
from directory.operations.jobs.starting import (
    MOST_LIVE,
    JobOver,
    TooManyJobs,
    cancel_job,
    interrupt_job,
    resume_job,
    start_job,
)
from directory.operations.jobs.states import TASK
from directory.operations.jobs.working import MOST_TRIES, Worked, run_jobs

__all__ = [
    "KINDS",
    "MOST_LIVE",
    "MOST_TRIES",
    "TASK",
    "JobOver",
    "Kind",
    "Row",
    "Run",
    "StarterDemoted",
    "StarterGone",
    "Step",
    "TooManyJobs",
    "UnknownKind",
    "Worked",
    "actor_of",
    "cancel_job",
    "content_of",
    "forget_jobs",
    "interrupt_job",
    "jobs_seen",
    "kind_of",
    "register",
    "replace_content",
    "resume_job",
    "run_jobs",
    "start_job",
]
