"""The invariants of `config.invariants`, cheap enough to be asked after every step.

The same queries, as one prepared statement: PostgreSQL plans it once for many thousand steps.
"""

from datetime import datetime
from typing import Any

import psycopg
from django.db import connections

from config.invariants import INVARIANTS, Violation, violations

_written: Any = None
_connection: psycopg.Connection[Any] | None = None

# Those that say how soon something must be done: sweeps are late on purpose, so they are asked once all have run.
TIMELY = tuple(one for one in INVARIANTS if "%(at)s" in one.query)
ALWAYS = tuple(one for one in INVARIANTS if "%(" not in one.query)

_ALWAYS_SQL = " UNION ALL ".join(
    f"SELECT {number}, (SELECT json_agg(x) FROM (SELECT * FROM ({one.query}) y LIMIT 3) x)"
    for number, one in enumerate(ALWAYS)
)


def ask(query: str, **parameters: object) -> list[tuple[Any, ...]]:
    """One statement by the worker's login on a connection of its own, which no death cuts; prepared once."""
    global _connection
    if _connection is None or _connection.closed or _connection.broken:
        wanted = connections["worker"].get_connection_params()
        allowed = ("dbname", "user", "password", "host", "port")
        _connection = psycopg.connect(
            **{name: wanted[name] for name in allowed if wanted.get(name)}, autocommit=True
        )
        _connection.execute("SET jit = off")
        _connection.execute("SET TIME ZONE 'UTC'")
    return _connection.execute(query, parameters or None, prepare=True).fetchall()


def close() -> None:
    """Give the connection back."""
    global _connection
    if _connection is not None:
        _connection.close()
        _connection = None


def broken_always() -> list[str]:
    """Whatever must hold at every commit, and does not."""
    found = ask(_ALWAYS_SQL)
    return [
        str(Violation(ALWAYS[number].number, ALWAYS[number].rule, row))
        for number, rows in found
        for row in rows or ()
    ]


def has_written() -> bool:
    """Whether anything at all was written since the last call: then there is something to check."""
    global _written
    before, _written = _written, ask("SELECT pg_current_wal_insert_lsn()")[0][0]
    return before != _written


def broken_once_settled(at: datetime) -> list[str]:
    """Every invariant, with what must be done by now."""
    return [str(violation) for violation in violations(at=at)]
