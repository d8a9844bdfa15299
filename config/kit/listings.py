"""Lists over all organizations, for the vendor's staff (docs/adr/0034).

Each is a SECURITY DEFINER function that is named in `kit.tenancy.CROSSINGS`. It returns rows only while the tenant that is
set is the vendor's own, of columns that its one list needs, a page by id: forward and back, up to 200 (`MOST`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from config.kit.errors import NotVisible
from config.kit.keyset import PAGE_SIZE, Page, decode_cursor, encode_cursor
from config.kit.tenancy import CURRENT_TENANT, connection

# Beyond any id.
_PAST = 2**63 - 1
# So many rows a call returns at most.
MOST = 200

_SQL = """
CREATE FUNCTION {name}({filters}{comma}after_id bigint, upward boolean, row_limit integer)
RETURNS TABLE ({columns})
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 50 SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF NOT EXISTS (SELECT FROM public.directory_tenant v WHERE v.id = {tenant} AND v.kind = 'vendor') THEN
        RETURN;
    END IF;
    IF upward THEN
        RETURN QUERY {rows} AND {id} > coalesce(after_id, 0) ORDER BY {id} LIMIT least(row_limit, 200);
    ELSE
        RETURN QUERY {rows} AND {id} < coalesce(after_id, {past}) ORDER BY {id} DESC LIMIT least(row_limit, 200);
    END IF;
END
$$
"""


@dataclass(frozen=True, slots=True)
class Listing[R]:
    """One list: its function, what a row of it is (the first field is the id), and which end it begins at."""

    function: str
    row: Callable[..., R]
    filters: int = 0
    newest_first: bool = True


def listing_sql(*, name: str, filters: str = "", columns: str, rows: str, id: str) -> str:
    """The statement that makes such a function, for migrations.

    `rows` is a SELECT that ends in a condition and is aliased so that no name is that of a filter or a column; `id` the
    expression that it is paged by.
    """
    return _SQL.format(
        name=name,
        filters=filters,
        comma=", " if filters else "",
        columns=columns,
        rows=rows,
        id=id,
        tenant=CURRENT_TENANT,
        past=_PAST,
    )


def page[R](listing: Listing[R], *filters: Any, cursor: str = "", size: int = PAGE_SIZE) -> Page[R]:
    """One page. One query. :raises Malformed: a cursor that is none."""
    backward, values = decode_cursor(cursor, 1) if cursor else (False, [])
    after = _whole(values[0]) if values else None
    upward = listing.newest_first == backward
    rows = _rows(listing, filters, after, upward, size + 1)
    has_more = len(rows) > size
    rows = rows[:size]
    if backward:
        rows.reverse()
    has_next, has_back = (bool(values), has_more) if backward else (has_more, bool(values))
    made = [listing.row(*row) for row in rows]
    return Page(
        rows=made,
        next=encode_cursor([rows[-1][0]], backward=False) if rows and has_next else "",
        back=encode_cursor([rows[0][0]], backward=True) if rows and has_back else "",
    )


def oldest[R](listing: Listing[R], *filters: Any) -> list[R]:
    """The first `MOST` rows by id, to say how many wait. One query."""
    return [listing.row(*row) for row in _rows(listing, filters, None, True, MOST)]


def find[R](listing: Listing[R], row_id: int, *filters: Any) -> R:
    """The row of that id, if the list has it. One query. :raises NotVisible: it has not."""
    if not 0 < row_id < _PAST:
        raise NotVisible
    rows = _rows(listing, filters, row_id - 1, True, 1)
    if not rows or rows[0][0] != row_id:
        raise NotVisible
    return listing.row(*rows[0])


def _whole(value: Any) -> int:
    number = value if isinstance(value, int) else 0
    return max(0, min(number, _PAST))


def _rows(
    listing: Listing[Any], filters: Sequence[Any], after: int | None, upward: bool, limit: int
) -> list[tuple[Any, ...]]:
    if len(filters) != listing.filters:
        raise TypeError(f"{listing.function} takes {listing.filters} filters")
    places = ", ".join(["%s"] * (listing.filters + 3))
    with connection().cursor() as cursor:
        # The function's name is this code's own.
        cursor.execute(
            f"SELECT * FROM {listing.function}({places})",  # noqa: S608
            [*filters, after, upward, limit],
        )
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
