"""Durable state: one SQLite file in WAL mode.

An answered request is committed before its answer leaves, so `kill -9` loses nothing that was answered. One
connection and one lock serialise all work: two confirmations of one intent, or two refunds of one charge,
can never both see the state before them.
"""

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import Json

_TABLES = """
CREATE TABLE IF NOT EXISTS objects (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, created INTEGER NOT NULL,
    customer TEXT, payment_intent TEXT, charge TEXT, email TEXT, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS objects_kind ON objects (kind, seq);
CREATE INDEX IF NOT EXISTS objects_customer ON objects (kind, customer, seq) WHERE customer IS NOT NULL;
CREATE INDEX IF NOT EXISTS objects_intent ON objects (payment_intent, kind, seq)
    WHERE payment_intent IS NOT NULL;
CREATE INDEX IF NOT EXISTS objects_charge ON objects (charge, kind, seq) WHERE charge IS NOT NULL;
CREATE INDEX IF NOT EXISTS objects_email ON objects (kind, email, seq) WHERE email IS NOT NULL;
CREATE TABLE IF NOT EXISTS labels (
    name TEXT NOT NULL, value TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (name, value, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS labels_id ON labels (id);
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, request_hash BLOB NOT NULL, path TEXT NOT NULL, request_id TEXT NOT NULL,
    status INTEGER NOT NULL, body TEXT NOT NULL, created INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS answers_created ON answers (created);
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    due_at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (due_at);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_FILTERS = frozenset({"customer", "payment_intent", "charge", "email"})
_BOUNDS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class Store:
    """Objects by id, their metadata, the answers kept for idempotency keys and the webhooks still to go."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._db = sqlite3.connect(
            directory / "processor.sqlite3", isolation_level=None, check_same_thread=False
        )
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA wal_autocheckpoint = 8000")
        self._db.execute("PRAGMA cache_size = -64000")
        self._db.executescript(_TABLES)
        self._answers_until_pruning = 0
        self.secret = bytes.fromhex(self._setting("secret", secrets.token_hex(32)))

    def _setting(self, name: str, default: str) -> str:
        self._db.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (name, default))
        found = self._db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return str(found[0])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, one at a time; rolled back by any exception."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def clear(self) -> None:
        """Forget everything but the secret that fingerprints are made with."""
        with self.transaction():
            for table in ("objects", "labels", "answers", "deliveries"):
                self._db.execute(f"DELETE FROM {table}")

    def put(self, body: Json) -> None:
        """Write one object, new or changed; call inside a transaction."""
        self._db.execute(
            "INSERT INTO objects (id, kind, created, customer, payment_intent, charge, email, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
            " SET customer = excluded.customer, email = excluded.email, body = excluded.body",
            (
                body["id"],
                body["object"],
                body["created"],
                _plain(body.get("customer")),
                _plain(body.get("payment_intent")),
                _plain(body.get("charge")),
                body.get("email"),
                json.dumps(body, separators=(",", ":")),
            ),
        )
        if "metadata" not in body:
            return
        self._db.execute("DELETE FROM labels WHERE id = ?", (body["id"],))
        if body["metadata"]:
            self._db.executemany(
                "INSERT INTO labels VALUES (?, ?, ?)",
                [(name, value, body["id"]) for name, value in body["metadata"].items()],
            )

    def get(self, id_: str) -> Json | None:
        with self._lock:
            row = self._db.execute("SELECT body FROM objects WHERE id = ?", (id_,)).fetchone()
        return json.loads(row[0]) if row else None

    def page(
        self,
        kind: str,
        *,
        limit: int,
        after: str | None = None,
        before: str | None = None,
        created: dict[str, int] | None = None,
        where: dict[str, str] | None = None,
        types: list[str] | None = None,
    ) -> tuple[list[Json], bool]:
        """Newest first, and whether more follow; `after` and `before` are ids of objects of that kind."""
        clauses = ["kind = ?"]
        arguments: list[Any] = [kind]
        for name, value in (where or {}).items():
            if name not in _FILTERS:
                raise ValueError(name)
            clauses.append(f"{name} = ?")
            arguments.append(value)
        for bound, second in (created or {}).items():
            clauses.append(f"created {_BOUNDS[bound]} ?")
            arguments.append(second)
        if types:
            clauses.append(f"json_extract(body, '$.type') IN ({', '.join('?' * len(types))})")
            arguments += types
        for cursor, sign in ((after, "<"), (before, ">")):
            if cursor:
                clauses.append(f"seq {sign} (SELECT seq FROM objects WHERE id = ?)")
                arguments.append(cursor)
        order = "ASC" if before else "DESC"
        with self._lock:
            rows = self._db.execute(
                f"SELECT body FROM objects WHERE {' AND '.join(clauses)} ORDER BY seq {order} LIMIT ?",
                [*arguments, limit + 1],
            ).fetchall()
        found = [json.loads(row[0]) for row in rows[:limit]]
        if before:
            found.reverse()
        return found, len(rows) > limit

    def labelled(self, kind: str | None, labels: dict[str, str], *, limit: int = 1000) -> list[Json]:
        """Objects that carry all these metadata values, newest first."""
        joins, values = [], []
        for index, (name, value) in enumerate(labels.items()):
            alias = f"l{index}"
            joins.append(
                f"JOIN labels {alias} ON {alias}.id = o.id AND {alias}.name = ? AND {alias}.value = ?"
            )
            values += [name, value]
        condition = "WHERE o.kind = ?" if kind else ""
        with self._lock:
            rows = self._db.execute(
                f"SELECT o.body FROM objects o {' '.join(joins)} {condition} ORDER BY o.seq DESC LIMIT ?",
                [*values, *([kind] if kind else []), limit],
            ).fetchall()
        return [json.loads(row[0]) for row in rows]

    def charge_totals(self, *, customer: str | None, labels: dict[str, str]) -> Json:
        """How many charges succeeded, and their sums in minor units by currency."""
        joins, values = [], []
        for index, (name, value) in enumerate(labels.items()):
            alias = f"l{index}"
            joins.append(
                f"JOIN labels {alias} ON {alias}.id = o.id AND {alias}.name = ? AND {alias}.value = ?"
            )
            values += [name, value]
        condition = "AND o.customer = ?" if customer else ""
        with self._lock:
            rows = self._db.execute(
                "SELECT json_extract(o.body, '$.currency'), count(*), sum(json_extract(o.body, '$.amount')),"
                " sum(json_extract(o.body, '$.amount_refunded')) FROM objects o "
                f"{' '.join(joins)} WHERE o.kind = 'charge' {condition}"
                " AND json_extract(o.body, '$.status') = 'succeeded' GROUP BY 1",
                [*values, *([customer] if customer else [])],
            ).fetchall()
        return {
            "count": sum(row[1] for row in rows),
            "amount": {row[0]: row[2] for row in rows},
            "amount_refunded": {row[0]: row[3] for row in rows},
        }

    def counts(self) -> dict[str, int]:
        with self._lock:
            return dict(self._db.execute("SELECT kind, count(*) FROM objects GROUP BY kind"))

    def answer(self, key: str) -> tuple[Any, ...] | None:
        """What an idempotency key remembers: hash, path, request id, status, body, time."""
        with self._lock:
            found = self._db.execute(
                "SELECT request_hash, path, request_id, status, body, created FROM answers WHERE key = ?",
                (key,),
            ).fetchone()
        return tuple(found) if found else None

    def keep_answer(
        self,
        key: str,
        *,
        request_hash: bytes,
        path: str,
        request_id: str,
        status: int,
        body: str,
        created: int,
        prune_before: int,
    ) -> None:
        """Remember an answer and now and then delete those older than `prune_before`; call inside a transaction."""
        if self._answers_until_pruning <= 0:
            self._db.execute("DELETE FROM answers WHERE created < ?", (prune_before,))
            self._answers_until_pruning = 500
        self._answers_until_pruning -= 1
        self._db.execute(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)",
            (key, request_hash, path, request_id, status, body, created),
        )

    def queue_delivery(self, event_id: str) -> None:
        self._db.execute("INSERT INTO deliveries (event, due_at) VALUES (?, ?)", (event_id, time.time()))

    def due_deliveries(self, *, limit: int) -> list[tuple[int, str, int]]:
        """Deliveries that are due, oldest first: id, event id, attempts made."""
        with self._lock:
            return self._db.execute(
                "SELECT id, event, attempts FROM deliveries WHERE due_at <= ? ORDER BY id LIMIT ?",
                (time.time(), limit),
            ).fetchall()

    def clear_deliveries(self) -> None:
        with self._lock:
            self._db.execute("DELETE FROM deliveries")

    def next_delivery_at(self) -> float | None:
        with self._lock:
            found = self._db.execute("SELECT min(due_at) FROM deliveries").fetchone()[0]
        return None if found is None else float(found)

    def pending_deliveries(self) -> int:
        with self._lock:
            return int(self._db.execute("SELECT count(*) FROM deliveries").fetchone()[0])

    def finish_delivery(self, delivery_id: int) -> None:
        with self._lock:
            self._db.execute("DELETE FROM deliveries WHERE id = ?", (delivery_id,))

    def postpone_delivery(self, delivery_id: int, *, attempts: int, due_at: float) -> None:
        with self._lock:
            self._db.execute(
                "UPDATE deliveries SET attempts = ?, due_at = ? WHERE id = ?", (attempts, due_at, delivery_id)
            )


def _plain(value: Any) -> str | None:
    return value if isinstance(value, str) else None
