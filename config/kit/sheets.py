"""CSV files that a spreadsheet opens without running anything in them (reliability §6).

Round trip: an apostrophe is put in front of every character that would begin a formula, at the beginning of a
text or after what some spreadsheet takes for a separator. `plain_text` takes exactly those off again.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from decimal import Decimal

# Spreadsheets look past spaces, quotes and what cannot be seen, and read full-width signs as the plain ones.
_SKIPPED = r"[\s\"'\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]*"
_ACTIVE = r"[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]"
_STARTS = re.compile(rf"(^|[,;|\t\r\n])(?={_SKIPPED}{_ACTIVE})")
_STARTED = re.compile(rf"(^|[,;|\t\r\n])'(?={_SKIPPED}{_ACTIVE})")

type Cell = str | int | Decimal | date | datetime | None


def safe_text(text: str) -> str:
    """The text as a cell that begins no formula."""
    return _STARTS.sub(r"\1'", text)


def plain_text(cell: str) -> str:
    """The text of which `safe_text` made the cell."""
    return _STARTED.sub(r"\1", cell)


def csv_lines(head: Iterable[str], rows: Iterable[Iterable[Cell]]) -> Iterator[str]:
    """The lines of a CSV file, one at a time: UTF-8 with its mark, so that Excel reads it, commas, all quoted.

    Numbers are written plainly, a day as 2026-11-30, an instant as 2026-11-30T09:30:00+00:00.
    """
    writer = csv.writer(_Echo(), quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    yield "\ufeff" + writer.writerow([safe_text(cell) for cell in head])
    for row in rows:
        yield writer.writerow([_cell(value) for value in row])


def _cell(value: Cell) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return value.isoformat(timespec="seconds")
        case date():
            return value.isoformat()
        case str():
            return safe_text(value)
        case _:
            return str(value)


class _Echo:
    """Gives each line back instead of keeping it."""

    def write(self, line: str) -> str:
        return line
