"""How a test that commits leaves the database as it found it.

Django truncates every table and fills the catalogue anew after each such test: hundreds of files for a handful of
rows, and more time than most tests take. Here the rows are deleted, with triggers and foreign keys off, and what was
there before the first test is put back where a test changed it.
"""

from collections.abc import Iterable

import psycopg
from psycopg import sql

# How large a table may grow before its dead rows are taken out, and after how many tests that is looked at.
MOST_BYTES = 32 * 8192
LOOKS_EVERY = 20

_TABLES = """
SELECT c.relname, array_agg(a.attname ORDER BY a.attnum) FILTER (WHERE a.attgenerated = '')
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> 'django_migrations'
 GROUP BY c.relname ORDER BY c.relname
"""
_GROWN = """
SELECT relname FROM pg_class
 WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND pg_relation_size(oid) > %s
"""


class Emptier:
    """Takes what tests have committed out of one database, with the superuser's login, which no trigger stops."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute("SET session_replication_role = replica")
        # A test's thread that is still writing is told of, instead of the run standing still.
        self._connection.execute("SET lock_timeout = '60s'")
        columns = dict(self._connection.execute(_TABLES).fetchall())
        # Cleaned only when empty, so that rows lie in the order in which they were written, as after truncating.
        self._connection.execute(
            _script(
                sql.SQL("ALTER TABLE {} SET (autovacuum_enabled = off)").format(_table(table))
                for table in columns
            )
        )
        kept = [table for table in columns if self._has_rows(table)]
        self._lock = sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(
            sql.SQL(", ").join(_table(table) for table in columns)
        )
        self._delete = _script(
            sql.SQL("DELETE FROM {}").format(_table(table)) for table in columns if table not in kept
        )
        self._digest = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT sum(hashtextextended(t::text, 0)) FROM {} t").format(_table(table))
            for table in kept
        )
        self._put_back = _script(
            sql.SQL(
                "DELETE FROM {table}; INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {copy}"
            ).format(
                table=_table(table),
                columns=sql.SQL(", ").join(map(sql.Identifier, columns[table])),
                copy=_copy(table),
            )
            for table in kept
        )
        for table in kept:
            self._connection.execute(
                sql.SQL("CREATE TEMPORARY TABLE {} AS TABLE {}").format(_copy(table), _table(table))
            )
        self._at_first = self._connection.execute(self._digest).fetchall()
        self._times = 0

    def empty(self) -> None:
        """Delete every row that was not there at first, and put back those that were.

        :raises psycopg.errors.LockNotAvailable: something of the test's is still writing after a minute.
        """
        with self._connection.transaction():
            self._connection.execute(self._lock)
            self._connection.execute(self._delete)
            if self._connection.execute(self._digest).fetchall() != self._at_first:
                self._connection.execute(self._put_back)
        self._times += 1
        if self._times % LOOKS_EVERY == 0:
            for (table,) in self._connection.execute(_GROWN, [MOST_BYTES]).fetchall():
                self._connection.execute(sql.SQL("VACUUM {}").format(_table(table)))

    def close(self) -> None:
        self._connection.close()

    def _has_rows(self, table: str) -> bool:
        found = self._connection.execute(sql.SQL("SELECT FROM {} LIMIT 1").format(_table(table))).fetchone()
        return found is not None


def _table(name: str) -> sql.Identifier:
    return sql.Identifier("public", name)


def _copy(table: str) -> sql.Identifier:
    return sql.Identifier("pg_temp", f"first_{table}")


def _script(statements: Iterable[sql.Composed]) -> sql.Composed:
    return sql.SQL("; ").join(statements)
