"""Ringing a task: a hint that there is work, never the work itself (architecture §7).

PostgreSQL is the queue of record, and beat rings every few minutes anyway, so a broker that is away is no
reason to fail.
"""

import logging
from enum import StrEnum

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

log = logging.getLogger(__name__)

# A ring that nobody answered for so long says nothing that a later one does not. More than the ten minutes by which the
# clocks of two machines may differ.
KEPT_SECONDS = 900.0


class Queue(StrEnum):
    """What a worker can be told to work on alone. `OTHER` has the name that Celery gives to what has none."""

    BILLING = "billing"
    MAIL = "mail"
    WEBHOOKS = "webhooks"
    OTHER = "celery"


def ring(name: str) -> None:
    """Ask a worker to look now; at most one attempt, whose failure is only noted.

    By the task's name: operations ring, and do not know the tasks above them.
    """
    try:
        current_app.send_task(name, retry=False, ignore_result=True, expires=KEPT_SECONDS)
    except (OperationalError, OSError) as error:
        log.warning("The broker cannot be reached: %s", type(error).__name__)


def ring_after_commit(name: str, *, using: str) -> None:
    """Ask a worker to look once the transaction under way on that connection has committed."""
    transaction.on_commit(lambda: ring(name), using=using)
