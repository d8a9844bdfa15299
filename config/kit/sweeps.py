"""The sweeps: what finds its work in PostgreSQL each time it is rung (architecture §7; docs/adr/0051).

Each app registers its own in `tasks`. Beat's schedule, the workers' tasks and queues, and a round of all by hand are made of
this one list.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Any

from celery import shared_task
from celery.exceptions import SoftTimeLimitExceeded
from django import db
from django.db import connections

from config.kit.clock import database_now
from config.kit.doorbell import KEPT_SECONDS, Queue, ring
from config.kit.tenancy import connection, use_login

log = logging.getLogger(__name__)

# First key of the advisory locks of sweeps; the second is made of the name and the place.
_FLIGHT = 0x5EE9
# Longer than a worker lets a task run: the lock of a machine that vanished without a word ends by then.
_LONGEST_FLIGHT = "330s"


class Turn(IntEnum):
    """The order of a round of all: each makes work for those after it, and what it ends or frees costs nothing there."""

    FREE = 1
    SETTLE = 2
    BILL = 3
    TELL = 4
    CHARGE = 5
    CLOSE = 6
    SEND = 7
    FORGET = 8


@dataclass(frozen=True, slots=True)
class Sweep[R]:
    """One of them. `run(at=...)` goes on until nothing is due; `limits` are further arguments, by which one ring ends in time.

    `every` so many seconds beat rings it. `rings` is told what it did and names what is to be rung then, itself where it
    stopped at a limit, or nothing. `at_once` processes work at it, at most.
    """

    name: str
    run: Callable[..., R]
    every: float
    turn: Turn
    queue: Queue = Queue.OTHER
    limits: Mapping[str, Any] = field(default_factory=dict)
    rings: Callable[[R], str] = lambda _done: ""
    at_once: int = 1


SWEEPS: dict[str, Sweep[Any]] = {}


def register(*sweeps: Sweep[Any]) -> None:
    """Let beat ring them, and workers answer."""
    for sweep in sweeps:
        SWEEPS[sweep.name] = sweep
        _make_task(sweep.name)


def answer(name: str) -> None:
    """What a worker does when it is rung, unless enough others are at it already.

    Its instant is the database's (F-17). One whose time is over is rung again: what was under way was rolled back.

    :raises ClockAstray: this machine's clock is wrong.
    """
    sweep = SWEEPS[name]
    try:
        with in_flight(name, at_once=sweep.at_once) as is_free:
            if not is_free:
                return
            with use_login("worker"):
                at = database_now(connection())
            then = sweep.rings(sweep.run(at=at, **sweep.limits))
    except SoftTimeLimitExceeded:
        ring(name)
        raise
    # Not before the place is free: who answers would find it taken.
    if then:
        ring(then)


def run_all(*, at: datetime) -> dict[str, Any]:
    """Every sweep once, by turn, until nothing is due at `at`; what each says it did, by name."""
    return {sweep.name: sweep.run(at=at) for sweep in sorted(SWEEPS.values(), key=lambda each: each.turn)}


def schedule() -> dict[str, dict[str, Any]]:
    """What beat rings. A ring that nobody answered in time is dropped, since the next one says the same."""
    return {
        name: {
            "task": name,
            "schedule": sweep.every,
            "options": {"expires": max(sweep.every, KEPT_SECONDS)},
        }
        for name, sweep in SWEEPS.items()
    }


def route(name: str, *_args: Any, **_options: Any) -> dict[str, str] | None:
    """The queue of a task, as Celery's `task_routes` asks; None: the default one."""
    return {"queue": str(SWEEPS[name].queue)} if name in SWEEPS else None


@contextmanager
def alone(what: str, *of: object) -> Iterator[None]:
    """For one item of a sweep: what goes wrong with it, outside any transaction, is logged with its traceback, and the rest goes on.

    The item stays as it is, so the next sweep tries it again. `what` and `of` say what could not be dealt with, as in
    `alone("Bill %s", bill_id)`. What is no item's fault passes through: a worker whose time is over, a database that is
    gone. Catch before what is expected of an item.
    """
    try:
        yield
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:
        if isinstance(error, db.Error) and not connection().is_usable():
            raise
        log.exception("%s could not be dealt with; the next sweep tries again", what % of)


@contextmanager
def in_flight(name: str, *, at_once: int) -> Iterator[bool]:
    """Hold one of the places of a sweep, of all processes together; yields whether one was free.

    A lock for the length of a transaction on a connection of its own, so that it also holds behind a pooler that gives a
    server to each transaction, and ends with its process.
    """
    own = connections["worker"].copy()
    try:
        own.set_autocommit(False)
        with own.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('idle_in_transaction_session_timeout', %s, true)", [_LONGEST_FLIGHT]
            )
            yield any(_takes(cursor, f"{name}:{place}") for place in range(at_once))
    finally:
        own.close()


def _takes(cursor: Any, place: str) -> bool:
    cursor.execute("SELECT pg_try_advisory_xact_lock(%s, hashtext(%s))", [_FLIGHT, place])
    return bool(cursor.fetchone()[0])


def _make_task(name: str) -> None:
    @shared_task(name=name)
    def task() -> None:
        answer(name)
