"""Ringing a task: a hint that there is work, never the work itself (architecture §7).

PostgreSQL is the queue of record, and beat rings every few minutes anyway, so a broker that is away is no
reason to fail.
"""

import logging
from typing import Any

from kombu.exceptions import OperationalError

log = logging.getLogger(__name__)


def ring(task: Any) -> None:
    """Ask a worker to look now; at most one attempt, whose failure is only noted."""
    try:
        task.apply_async(retry=False, ignore_result=True)
    except (OperationalError, OSError) as error:
        log.warning("The broker cannot be reached: %s", type(error).__name__)
