"""Queries whose SQL is written once for each process: those that every request asks.

Django writes a queryset's SQL anew each time it is asked, and for what stands in front of every page that takes longer than
the database's answer. The queryset stays the one place that says what is asked.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from django.db.models import Model, QuerySet

from config.kit.tenancy import connection

# Stands for a value while the SQL is written; no value of a query is one by chance.
_FIRST_NUMBER = 7_046_029_254_386_353_000
_FIRST_INSTANT = datetime(1, 2, 3, 4, 5, 6, 789, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Written:
    """`params` holds a value, or the name of the one to put there."""

    sql: str
    params: list[tuple[str | None, Any]]
    converters: dict[int, Any]
    compiler: Any


class Compiled[M: Model]:
    """A query with named values: `Compiled(lambda user_id: User.objects.filter(pk=user_id), user_id=int)`.

    `build` gets a stand-in for each value and must only pass it on to the query; `int` and `datetime` are understood. The
    query may not depend on anything else that changes.
    """

    def __init__(self, build: Callable[..., QuerySet[M, Any]], **values: type) -> None:
        self._build = build
        self._types = values

    def rows(self, **values: Any) -> list[tuple[Any, ...]]:
        """What the query answers, as tuples of its columns. One query, on the login in use."""
        written = self._written
        params = [values[name] if name is not None else value for name, value in written.params]
        conn = connection()
        with conn.cursor() as cursor:
            cursor.execute(written.sql, params)
            rows = cursor.fetchall()
        if written.converters:
            rows = list(written.compiler.apply_converters(rows, written.converters))
        return [tuple(row) for row in rows]

    def first(self, **values: Any) -> M | None:
        """The first row of a query for whole rows of its model; None when there is none. One query."""
        rows = self.rows(**values)
        return self._model.from_db(connection().alias, self._names, rows[0]) if rows else None

    @cached_property
    def _queryset(self) -> QuerySet[M, Any]:
        return self._build(**{name: value for value, name in self._stand_ins.items()})

    @cached_property
    def _stand_ins(self) -> dict[Any, str]:
        stands = {}
        for place, (name, kind) in enumerate(self._types.items()):
            stand: Any = _FIRST_NUMBER + place if kind is int else _FIRST_INSTANT + timedelta(days=place)
            stands[stand] = name
        return stands

    @cached_property
    def _model(self) -> type[M]:
        return self._queryset.model

    @cached_property
    def _names(self) -> list[str]:
        return [field.attname for field in self._model._meta.concrete_fields]

    @cached_property
    def _written(self) -> _Written:
        compiler = self._queryset.query.get_compiler(connection=connection())
        sql, params = compiler.as_sql()
        named = [(self._stand_ins.get(param), param) for param in params]
        missing = self._types.keys() - {name for name, _value in named}
        if missing:
            raise TypeError(f"The query does not ask for {', '.join(sorted(missing))}")
        converters = compiler.get_converters([column[0] for column in compiler.select])
        return _Written(sql, named, converters, compiler)
