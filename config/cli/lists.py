"""Reading a list of people from a file: CSV with a column of addresses, or one address a line."""

import csv
from pathlib import Path

from config.cli.connection import Exit, Refused

MOST_BYTES, MOST_PEOPLE = 10_000_000, 100_000
_HEADS = ("email", "mail", "emailaddress", "userprincipalname", "upn", "username", "user")


def people_of(path: Path) -> list[str]:
    """The people of a file, in order; the cell under *E-mail* or the like, else the first with an address, else the first.

    :raises Refused: not a file of text, too large, or it names nobody or too many.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}.", Exit.BAD_VALUE) from error
    if len(content) > MOST_BYTES:
        raise Refused(f"{path} is larger than 10 MB.", Exit.BAD_VALUE)
    is_utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        lines = content.decode("utf-16" if is_utf16 else "utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise Refused(f"{path} is not text in UTF-8. Save it as CSV UTF-8.", Exit.BAD_VALUE) from error
    first = next((line for line in lines if line.strip()), "")
    delimiter = max(",;\t|", key=lambda mark: (first.count(mark), mark == ","))
    column: int | None = None
    found: list[str] = []
    try:
        rows = [
            row for row in csv.reader(lines, delimiter=delimiter, strict=True) if any(map(str.strip, row))
        ]
    except csv.Error as error:
        raise Refused(f"{path} is not CSV: {error}.", Exit.BAD_VALUE) from error
    if rows and not any("@" in cell for cell in rows[0]):
        heads = ["".join(c for c in cell.lower() if c.isalpha()) for cell in rows[0]]
        column = next((n for n, head in enumerate(heads) if head in _HEADS), None)
        rows = rows[1:] if column is not None else rows
    for row in rows:
        cell = row[column] if column is not None and column < len(row) else ""
        cell = cell or next((each for each in row if "@" in each), "") or next(filter(str.strip, row))
        found.append(cell.strip()[:300])
    if not found:
        raise Refused(f"{path} names nobody.", Exit.BAD_VALUE)
    if len(found) > MOST_PEOPLE:
        raise Refused(f"{path} names more than 100,000 people. Split it.", Exit.BAD_VALUE)
    return found
