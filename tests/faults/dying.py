"""A child process that dies at a named point, as by kill -9."""

import os
import signal
import sys
import traceback
from collections.abc import Callable

from django.db import connections

from commerce.gateways import stripe
from config.kit import faults

_kept: list[object] = []


def die_at(point: str, work: Callable[[], object]) -> None:
    """Run `work` in a child that kills itself at `point`; the parent goes on once it is dead.

    The child leaves its parent's connections alone and opens its own.
    """
    child = os.fork()
    if child == 0:
        try:
            for connection in connections.all(initialized_only=True):
                _kept.append(connection.connection)
                connection.connection = None
            _kept.append(getattr(stripe._clients, "made", None))
            stripe._clients.made = None
            os.environ[faults.VARIABLE] = point
            work()
        except BaseException:  # noqa: BLE001 - whatever it was, the child must not go on as a test run
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the child did not reach {point}"
    assert os.WTERMSIG(status) == signal.SIGKILL
