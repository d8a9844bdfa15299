"""Writing very many rows at once: indexes and keys are put aside first and built anew at the end.

Row by row, a table with a dozen indexes and keys takes a few thousand rows a second; without them, and with each
built once from all rows, it takes a hundred thousand.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from psycopg import sql

from config.kit.tenancy import atomic, connection

# PostgreSQL prints `state IN ('a', 'b')` in words that it would read back as another expression.
_PRINTED_IN = re.compile(r"\(\((\w+)\)::text = ANY \(\(ARRAY\[([^\]]+)\]\)::text\[\]\)\)")


class DefinitionsChanged(Exception):
    """What was built anew is not what was put aside; the transaction is rolled back."""

    def __init__(self, lost: set[str], added: set[str]) -> None:
        super().__init__(f"Lost: {sorted(lost)}; new: {sorted(added)}")


class Definition(NamedTuple):
    """One index, or one constraint with the index behind it, of a table."""

    table: str
    name: str
    is_constraint: bool
    definition: str

    def drop(self) -> sql.Composed:
        if self.is_constraint:
            return sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(*self._names())
        return sql.SQL("DROP INDEX {}").format(sql.Identifier(self.name))

    def create(self) -> sql.Composable:
        # The catalogue's own words, no literal of this module.
        words = sql.SQL(_PRINTED_IN.sub(r"(\1 IN (\2))", self.definition))
        if self.is_constraint:
            return sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} ").format(*self._names()) + words
        return words

    def _names(self) -> tuple[sql.Identifier, sql.Identifier]:
        return sql.Identifier(self.table), sql.Identifier(self.name)


@contextmanager
def indexes_put_aside(*tables: str) -> Iterator[None]:
    """A transaction in which `tables` have no foreign keys and no index that no key points at.

    They are built again at the end of the block, each from all rows and each key checked over all of them. It is
    one transaction under the owner's login: where it fails or its process dies, PostgreSQL keeps everything as it
    was. Until it ends nobody else reads or writes these tables. Checks, triggers, walls, primary keys and the
    pairs that other tables' keys point at stay in force throughout.

    :raises DefinitionsChanged: what was built is not what was there.
    """
    with atomic(), connection().cursor() as cursor:
        names = list(tables)
        cursor.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(_listed(names)))
        # What was written before in this transaction is checked now: a table with checks left cannot be altered.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET LOCAL maintenance_work_mem = '256MB'")
        before = _described(names)
        keys, indexes = _foreign_keys(names), _indexes(names)
        for definition in [*keys, *indexes]:
            cursor.execute(definition.drop())
        yield
        for definition in [*indexes, *keys]:
            cursor.execute(definition.create())
        after = _described(names)
        if before != after:
            raise DefinitionsChanged(before - after, after - before)


def analyze(*tables: str) -> None:
    """Tidy up after very many rows, so that plans and index-only scans are those of a table grown slowly."""
    with connection().cursor() as cursor:
        cursor.execute(sql.SQL("VACUUM (ANALYZE) {}").format(_listed(list(tables))))


def _listed(tables: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, tables))


def _foreign_keys(tables: list[str]) -> list[Definition]:
    with connection().cursor() as cursor:
        cursor.execute(_FOREIGN_KEYS, [tables])
        return [Definition(table, name, True, text) for table, name, text in cursor.fetchall()]


def _indexes(tables: list[str]) -> list[Definition]:
    with connection().cursor() as cursor:
        cursor.execute(_INDEXES, [tables])
        return [Definition(*row) for row in cursor.fetchall()]


def _described(tables: list[str]) -> set[str]:
    """Every index, constraint, trigger, policy and switch of the tables, in words that can be compared."""
    with connection().cursor() as cursor:
        cursor.execute(_DESCRIBED, {"tables": tables})
        return {row[0] for row in cursor.fetchall()}


_FOREIGN_KEYS = """
SELECT c.relname, k.conname, pg_get_constraintdef(k.oid)
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
 WHERE k.contype = 'f' AND k.conrelid = ANY (%s::regclass[])
 ORDER BY k.oid
"""

_INDEXES = """
SELECT c.relname, n.relname, k.oid IS NOT NULL, coalesce(pg_get_constraintdef(k.oid), pg_get_indexdef(n.oid))
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indrelid
  JOIN pg_class n ON n.oid = i.indexrelid
  LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('u', 'x')
 WHERE i.indrelid = ANY (%s::regclass[]) AND NOT i.indisprimary
   AND NOT EXISTS (SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.conindid = i.indexrelid)
 ORDER BY n.oid
"""

_DESCRIBED = """
WITH tables AS (SELECT unnest(%(tables)s::regclass[]) AS oid)
SELECT pg_get_indexdef(indexrelid) || format(' valid=%%s ready=%%s clustered=%%s replica=%%s', indisvalid,
                                             indisready, indisclustered, indisreplident)
  FROM pg_index JOIN tables ON indrelid = oid
UNION ALL
SELECT format('%%s.%%s %%s validated=%%s enforced=%%s', conrelid::regclass, conname, pg_get_constraintdef(k.oid),
              convalidated, to_jsonb(k) ->> 'conenforced')
  FROM pg_constraint k JOIN tables t ON conrelid = t.oid
UNION ALL
SELECT pg_get_triggerdef(g.oid) || ' ' || tgenabled::text FROM pg_trigger g JOIN tables t ON tgrelid = t.oid
 WHERE NOT tgisinternal
UNION ALL
SELECT format('%%s %%s %%s %%s %%s %%s', polrelid::regclass, polname, polcmd, polroles,
              pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
  FROM pg_policy p JOIN tables t ON polrelid = t.oid
UNION ALL
SELECT format('%%s wall=%%s forced=%%s acl=%%s', c.oid::regclass, relrowsecurity, relforcerowsecurity, relacl)
  FROM pg_class c JOIN tables t ON c.oid = t.oid
"""
