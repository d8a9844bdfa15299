"""The part of OData that lists in Graph's shapes understand; what is not here is refused, never ignored.

`$filter` is one or more of `property eq value` and `startswith(property,'text')`, joined by `and`.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Q
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from ninja import Schema
from pydantic import Field

from config.kit.errors import Malformed
from config.kit.keyset import Page

MOST_ROWS = 999
ROWS = 100

type Value = str | bool
# What each kind of condition on each property asks of the rows: by (property, "eq" or "startswith").
type Filters = Mapping[tuple[str, str], Callable[[Value], Q]]

_TERM = re.compile(
    r"\s*(?:(?P<name>\w+)\s+(?P<eq>eq)\s+(?P<value>'(?:[^']|'')*'|true|false|[0-9a-fA-F-]{36})"
    r"|startswith\(\s*(?P<start>\w+)\s*,\s*(?P<text>'(?:[^']|'')*')\s*\))\s*"
)
_AND = re.compile(r"and\b")
_PROPERTY = re.compile(r"\s*(\w+)\s*")


class Chosen(Schema):
    """What an answer shows."""

    select: str = Field("", alias="$select", max_length=1_000, description="Properties, by commas.")


class Paged(Chosen):
    """What a list shows, and of which rows."""

    filter: str = Field(
        "",
        alias="$filter",
        max_length=1_000,
        description="`property eq value` and `startswith(property,'text')`, joined by `and`.",
    )
    top: int = Field(ROWS, alias="$top", ge=1, le=MOST_ROWS, description="Rows on a page.")
    skiptoken: str = Field("", alias="$skiptoken", max_length=1_000, description="From `@odata.nextLink`.")


class Ordered(Paged):
    orderby: str = Field("", alias="$orderby", max_length=100, description="displayName, or displayName desc")


def check_options(request: HttpRequest, taken: type[Schema]) -> None:
    """:raises Malformed: an option of OData's that this call does not take."""
    known = {field.alias for field in taken.model_fields.values()}
    for name in request.GET:
        if name.startswith("$") and name not in known:
            raise Malformed(
                _("The query option %(name)s is not supported here.") % {"name": name[:40]}, field=name
            )


def selected(text: str, properties: Sequence[str], *, usual: Iterable[str]) -> frozenset[str]:
    """The properties that were asked for, the usual ones when none was.

    :raises Malformed: one that there is not.
    """
    if not text:
        return frozenset(usual)
    names = []
    for part in text.split(","):
        match = _PROPERTY.fullmatch(part)
        if match is None or match[1] not in properties:
            raise Malformed(
                _("There is no property %(name)s to select here.") % {"name": part.strip()[:40]},
                field="$select",
            )
        names.append(match[1])
    return frozenset(names)


def conditions(text: str, filters: Filters) -> tuple[frozenset[str], Q]:
    """The properties that a filter names, and what it asks of the rows.

    :raises Malformed: a filter that cannot be read, or a property that nothing can be filtered by.
    """
    named: set[str] = set()
    asked, at = Q(), 0
    while at < len(text):
        term = _TERM.match(text, at)
        if term is None:
            raise _unreadable()
        name, kind = (term["name"], "eq") if term["eq"] else (term["start"], "startswith")
        if (name, kind) not in filters:
            raise Malformed(
                _("Filtering by %(name)s with %(kind)s is not supported here.")
                % {"name": name[:40], "kind": kind},
                field="$filter",
            )
        asked &= filters[name, kind](_value(term["value"] or term["text"]))
        named.add(name)
        at = term.end()
        if at == len(text):
            break
        joined = _AND.match(text, at)
        if joined is None or joined.end() == len(text):
            raise _unreadable()
        at = joined.end()
    return frozenset(named), asked


def text_of(value: Value) -> str:
    """:raises Malformed: no text, or one that no row can have."""
    if not isinstance(value, str) or "\0" in value:
        raise _unreadable()
    return value


def truth_of(value: Value) -> bool:
    """:raises Malformed: neither true nor false."""
    if not isinstance(value, bool):
        raise _unreadable()
    return value


def id_of(value: Value) -> UUID:
    """:raises Malformed: no id."""
    try:
        return UUID(text_of(value))
    except ValueError:
        raise _unreadable() from None


def next_link(request: HttpRequest, page: Page[Any]) -> str:
    """The address of the next page, the same question going on; empty on the last page."""
    if not page.next:
        return ""
    question = request.GET.copy()
    question["$skiptoken"] = page.next
    return f"{settings.PUBLIC_URL}{request.path}?{question.urlencode(safe='$,')}"


def instant(at: datetime | None) -> datetime | None:
    """As Graph writes instants: in UTC, to the second."""
    return at.astimezone(UTC).replace(microsecond=0) if at else None


def _value(literal: str) -> Value:
    if literal in ("true", "false"):
        return literal == "true"
    return literal[1:-1].replace("''", "'") if literal.startswith("'") else literal


def _unreadable() -> Malformed:
    return Malformed(_("This filter cannot be read."), field="$filter")
