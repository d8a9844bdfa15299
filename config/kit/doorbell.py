"""Ringing a task: a hint that there is work, never the work itself (architecture §7).

PostgreSQL is the queue of record, and beat rings every few minutes anyway, so a broker that is away is no
reason to fail.
"""

import logging
from typing import Any

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

log = logging.getLogger(__name__)


def ring(task: Any) -> None:
    """Ask a worker to look now; at most one attempt, whose failure is only noted."""
    try:
        task.apply_async(retry=False, ignore_result=True)
    except (OperationalError, OSError) as error:
        log.warning("The broker cannot be reached: %s", type(error).__name__)


def ring_after_commit(name: str, *, using: str) -> None:
    """Ask a worker to look once the transaction under way on that connection has committed.

    By the task's name: operations ring, and do not know the tasks above them.
    """

    def ring_now() -> None:
        try:
            current_app.send_task(name, retry=False, ignore_result=True)
        except (OperationalError, OSError) as error:
            log.warning("The broker cannot be reached: %s", type(error).__name__)

    transaction.on_commit(ring_now, using=using)
