"""Paging by key: a page is found by an index seek, however deep, and nothing is ever counted past a limit."""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _

from config.kit.errors import Malformed
from config.kit.objects import read_json

PAGE_SIZE = 50
COUNT_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class Page[T]:
    """One page of a list. `next` and `back` are opaque cursors, empty at the ends."""

    rows: Sequence[T]
    next: str
    back: str


def encode_cursor(values: Sequence[Any], *, backward: bool) -> str:
    raw = json.dumps(["b" if backward else "f", *values], default=str, separators=(",", ":"))
    return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, length: int) -> tuple[bool, list[Any]]:
    """:raises Malformed: not a cursor that `encode_cursor` made for that many columns."""
    try:
        raw = read_json(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode())
        direction, *values = raw
        is_valid = direction in ("b", "f") and len(values) == length
        is_valid = is_valid and all(isinstance(v, str | int) and "\0" not in str(v) for v in values)
    except (ValueError, TypeError):
        is_valid = False
    if not is_valid:
        raise Malformed(_("This page address is not valid."), field="page")
    return direction == "b", values


def paginate[T](
    queryset: QuerySet[Any],
    *,
    order: Sequence[str],
    cursor: str,
    key: Callable[[Any], Sequence[Any]],
    size: int = PAGE_SIZE,
) -> Page[Any]:
    """Fetch one page of `queryset` ordered by `order` (field names, `-` for descending, last one unique).

    `key` gives a row's values of those fields. All fields must go the same way, so that one row comparison
    and one index serve both directions. One query.

    :raises Malformed: a cursor that does not fit this order.
    """
    names = [name.lstrip("-") for name in order]
    descending = order[0].startswith("-")
    backward, values = decode_cursor(cursor, len(names)) if cursor else (False, [])
    values = [_fitting(queryset, name, value) for name, value in zip(names, values, strict=False)]
    ascending_now = descending == backward
    if values:
        queryset = queryset.filter(_after(names, values, ascending=ascending_now))
    rows = list(queryset.order_by(*[name if ascending_now else f"-{name}" for name in names])[: size + 1])
    has_more = len(rows) > size
    rows = rows[:size]
    if backward:
        rows.reverse()
    has_next, has_back = (bool(values), has_more) if backward else (has_more, bool(values))
    return Page(
        rows=rows,
        next=encode_cursor(key(rows[-1]), backward=False) if rows and has_next else "",
        back=encode_cursor(key(rows[0]), backward=True) if rows and has_back else "",
    )


def _fitting(queryset: QuerySet[Any], name: str, value: Any) -> Any:
    """The value as the column's type; a cursor of another order, or made up, does not fit."""
    try:
        return queryset.model._meta.get_field(name).to_python(value)
    except (ValueError, TypeError, OverflowError, ValidationError):
        raise Malformed(_("This page address is not valid."), field="page") from None


def _after(names: Sequence[str], values: Sequence[Any], *, ascending: bool) -> Q:
    """(a, b) > (x, y), written so that PostgreSQL can use the index: a >= x AND (a > x OR (a = x AND b > y))."""
    operator = "gt" if ascending else "lt"
    condition = Q(**{f"{names[-1]}__{operator}": values[-1]})
    for name, value in zip(reversed(names[:-1]), reversed(values[:-1]), strict=True):
        condition = Q(**{f"{name}__{operator}": value}) | (Q(**{name: value}) & condition)
    if len(names) > 1:
        condition &= Q(**{f"{names[0]}__{operator}e": values[0]})
    return condition


def shown_count(count: int, limit: int = COUNT_LIMIT) -> str:
    """`10,000+` above the limit."""
    return f"{limit:,}+" if count > limit else f"{count:,}"
