"""Dying at a durable moment: before or after the n-th commit or call to the processor of a step.

What a process that dies leaves is what was committed. Here it dies by an exception that nothing catches, with its
connections cut first: whatever `finally` and `except` do on the way out writes nothing any more, and no question
reaches the processor. `tests/faults` kills real processes at named points; this one dies anywhere.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from tests.simulation.gateway import Gateway

ALIASES = ("default", "worker", "owner")


class Died(BaseException):
    """The process is gone."""


@dataclass(frozen=True, slots=True)
class Death:
    """At which durable moment to die, counted from 1, and on which side of it."""

    moment: int
    is_after: bool

    def __str__(self) -> str:
        return f"{'after' if self.is_after else 'before'} moment {self.moment}"


class _Mortal:
    """Counts the moments of one step."""

    def __init__(self, death: Death) -> None:
        self.death = death
        self.moments = 0
        self.is_dead = False

    def before(self) -> None:
        if self.is_dead:
            raise Died
        self.moments += 1
        if self.moments == self.death.moment and not self.death.is_after:
            self.die()

    def after(self) -> None:
        if self.moments == self.death.moment and self.death.is_after:
            self.die()

    def die(self) -> None:
        self.is_dead = True
        for alias in ALIASES:
            raw = connections[alias].connection
            if raw is not None:
                raw.close()
        raise Died


@contextmanager
def dying(death: Death | None, gateway: Gateway) -> Iterator[None]:
    """Die as `death` says; a block that ends before that moment lives.

    :raises Died: it died; connections are whole again.
    """
    if death is None:
        yield
        return
    mortal = _Mortal(death)
    commit, connect = BaseDatabaseWrapper._commit, BaseDatabaseWrapper.connect

    def commit_or_die(self: BaseDatabaseWrapper) -> Any:
        mortal.before()
        result = commit(self)
        mortal.after()
        return result

    def connect_or_stay_dead(self: BaseDatabaseWrapper) -> Any:
        if mortal.is_dead:
            raise Died
        return connect(self)

    gateway.before_call, gateway.after_call = mortal.before, mortal.after
    try:
        with (
            mock.patch.object(BaseDatabaseWrapper, "_commit", commit_or_die),
            mock.patch.object(BaseDatabaseWrapper, "connect", connect_or_stay_dead),
        ):
            yield
    except BaseException as error:
        if not mortal.is_dead:
            raise
        # What came out on the way may be the database's word for a cut connection.
        raise Died from error
    finally:
        gateway.before_call = gateway.after_call = lambda: None
        if mortal.is_dead:
            _mend()
    if mortal.is_dead:
        # A sweep may take a cut connection for one bill's misfortune, and end; it wrote nothing after it.
        raise Died


def _mend() -> None:
    """New connections, as a new process would have."""
    for alias in ALIASES:
        wrapper = connections[alias]
        wrapper.connection = None
        wrapper.in_atomic_block = False
        wrapper.atomic_blocks = []
        wrapper.savepoint_ids = []
        wrapper.needs_rollback = False
        wrapper.closed_in_transaction = False
        wrapper.run_on_commit = []
        wrapper.run_commit_hooks_on_set_autocommit_on = False
