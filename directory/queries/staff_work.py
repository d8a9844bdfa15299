"""What waits for the vendor's staff among mails and jobs, of all organizations (docs/adr/0034)."""

import uuid
from datetime import datetime
from typing import NamedTuple

from config.kit.listings import Listing


class WaitingMail(NamedTuple):
    """A mail in the queue, one that was given up, or one that may have gone out. Neither its reader nor its text.

    One of the last kind is still being sent until `next_try_at`.
    """

    id: int
    tenant_id: int
    organization: str
    kind: str
    state: str
    tries: int
    created_at: datetime
    next_try_at: datetime
    error: str


class StoppedJob(NamedTuple):
    """A job that ended before its work was done."""

    id: int
    key: uuid.UUID
    tenant_id: int
    organization: str
    kind: str
    reason: str
    done: int
    failed: int
    total: int | None
    finished_at: datetime


# A mail whose sending began and did not end.
UNSURE = "unsure"
# What goes on only when somebody lets it: `dead` and `UNSURE`.
STOPPED = "stopped"

# Filters: `queued`, `dead`, `UNSURE` or `STOPPED`, and a part of the organization's name.
WAITING_MAILS = Listing("staff_waiting_mails", WaitingMail, filters=2)
# Filter: a part of the organization's name.
STOPPED_JOBS = Listing("staff_stopped_jobs", StoppedJob, filters=1)
