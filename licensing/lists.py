"""Reading lists of people that somebody pasted or uploaded. Pure: text in, rows and problems out.

A bad row is reported and leaves the rest; a file that cannot be read at all raises `Unreadable`. Bounds are
checked before work is done, so that no input costs more than its size.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

ROW_LIMIT = 100_000
BYTE_LIMIT = 10_000_000
COLUMN_LIMIT = 50
WHO_LIMIT = 254

type Problem = Literal["control", "columns", "long", "repeated", "quote", "nobody"]
type Reason = Literal["bytes", "encoding", "rows", "empty"]

_MAIL_HEADS = {
    "email", "mail", "emailaddress", "mailaddress", "userprincipalname", "upn", "username", "user", "emailadres",
}  # fmt: skip
_NAME_HEADS = {"name", "displayname", "fullname", "person", "naam", "weergavenaam", "volledigenaam"}
_DELIMITERS = ",;\t|"
_ADDRESS = re.compile(r"[^\s<>,;\"'()\[\]]+@[^\s<>,;\"'()\[\]]+")
_SPACES = re.compile(r"\s+")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Row:
    """One person as written: an address, or a name. `line` counts from 1."""

    line: int
    who: str

    @property
    def is_address(self) -> bool:
        return "@" in self.who


def rows_of(people: Iterable[str]) -> list[Row]:
    """A row for each person of a list that a program sent."""
    return [Row(number, each.replace("\0", "").strip()) for number, each in enumerate(people, start=1)]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that names nobody; `text` is its beginning, without control characters."""

    line: int
    text: str
    problem: Problem


@dataclass(frozen=True, slots=True)
class PeopleList:
    rows: tuple[Row, ...]
    bad: tuple[BadRow, ...]


class Unreadable(ValueError):
    """The whole list is of no use: too large, not text, more than 100,000 rows, or empty."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(reason)


def read_pasted(text: str) -> PeopleList:
    """People one a line, or several addresses on a line; `Name <address>` counts as the address.

    :raises Unreadable: too large, too many, or nobody.
    """
    if len(text) > BYTE_LIMIT:
        raise Unreadable("bytes")
    return _collect(_pasted(text))


def read_csv(content: bytes) -> PeopleList:
    """People of a CSV file, UTF-8 or UTF-16 with its mark, whatever the delimiter; a head line is found by its words.

    Without a head line the first cell with an address counts, else the first that is not empty.

    :raises Unreadable: too large, not text in a known encoding, too many rows, or nobody.
    """
    if len(content) > BYTE_LIMIT:
        raise Unreadable("bytes")
    return _collect(_csv(_decoded(content)))


def _decoded(content: bytes) -> str:
    is_utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("encoding") from None


def _pasted(text: str) -> Iterator[tuple[int, str, Problem | None]]:
    for line, written in enumerate(re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff")), start=1):
        addresses = _ADDRESS.findall(written) if "@" in written else []
        if len(addresses) > 1 and not _has_control(written):
            yield from ((line, address, None) for address in addresses)
        else:
            yield line, written if _has_control(written) else _who(written), None


def _csv(text: str) -> Iterator[tuple[int, str, Problem | None]]:
    lines = re.split(r"(?<=\n)|(?<=\r)(?!\n)", text)
    reader = csv.reader(lines, delimiter=_delimiter(lines), strict=True)
    column: int | None = None
    is_first = True
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            # What follows a broken quote cannot be told apart from it.
            yield line, lines[line - 1] if line <= len(lines) else "", "quote"
            return
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) > COLUMN_LIMIT:
            yield line, cells[0], "columns"
            continue
        if is_first:
            is_first = False
            is_head, column = _head(cells)
            if is_head:
                continue
        yield line, _cell(cells, column), None


def _delimiter(lines: list[str]) -> str:
    """The delimiter that the first line with anything on it has most of; a comma when it has none."""
    first = next((line for line in lines if line.strip()), "")[:10_000]
    return max(_DELIMITERS, key=lambda mark: (first.count(mark), mark == ","))


def _head(cells: list[str]) -> tuple[bool, int | None]:
    """Whether the cells are a head line, and the column that names people."""
    words = [re.sub(r"[^a-z]", "", cell.lower()) for cell in cells]
    if any("@" in cell for cell in cells):
        return False, None
    for heads in (_MAIL_HEADS, _NAME_HEADS):
        for index, word in enumerate(words):
            if word in heads:
                return True, index
    return False, None


def _cell(cells: list[str], column: int | None) -> str:
    if column is not None:
        return _plain(cells[column]) if column < len(cells) else ""
    return _plain(
        next((cell for cell in cells if "@" in cell), "") or next((c for c in cells if c.strip()), "")
    )


def _plain(cell: str) -> str:
    return cell if _has_control(cell) else _who(cell)


def _who(written: str) -> str:
    """The address in `Name <address>` or among quotes and commas; else the name, spaces made single."""
    found = _ADDRESS.search(written) if "@" in written else None
    if found and ("<" in written or found.group().strip() == written.strip(" \t,;\"'")):
        return found.group()
    return _SPACES.sub(" ", written).strip(" ,;\"'")


def _has_control(text: str) -> bool:
    return _CONTROL.search(text) is not None


def _collect(found: Iterable[tuple[int, str, Problem | None]]) -> PeopleList:
    rows: list[Row] = []
    bad: list[BadRow] = []
    known: set[str] = set()
    for line, who, problem in found:
        if problem is None and not who.strip():
            continue
        if len(rows) + len(bad) >= ROW_LIMIT:
            raise Unreadable("rows")
        problem = problem or _problem(who, known)
        if problem:
            bad.append(BadRow(line, _shown(who), problem))
        else:
            known.add(who.casefold())
            rows.append(Row(line, who))
    if not rows and not bad:
        raise Unreadable("empty")
    return PeopleList(tuple(rows), tuple(bad))


def _problem(who: str, known: set[str]) -> Problem | None:
    if _has_control(who):
        return "control"
    if len(who) > WHO_LIMIT:
        return "long"
    return "repeated" if who.casefold() in known else None


def _shown(text: str) -> str:
    return "".join(c for c in text[:80] if c.isprintable()).strip()
