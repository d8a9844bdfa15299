"""What time it is. Interfaces read it once and pass `at` on (architecture §5)."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper

type _Signature = tuple[str, int, int]

# A machine whose clock differs from the database's by more makes no payment fall due (F-17).
TOLERANCE = timedelta(minutes=10)

_read: tuple[_Signature | None, timedelta] = (None, timedelta(0))


def now() -> datetime:
    """The current instant, aware, UTC. In demo mode the stored offset is added."""
    at = datetime.now(UTC)
    return at + offset() if settings.DEMO else at


def real_now() -> datetime:
    """The instant that tokens, sessions and leases live by, whatever the demo's clock says (architecture §5)."""
    return datetime.now(UTC)


class ClockAstray(Exception):
    """This machine and the database disagree about the time by more than `TOLERANCE`."""

    def __init__(self, difference: timedelta) -> None:
        self.difference = difference
        super().__init__(
            f"This machine's clock differs from the database's by {difference}: nothing was swept."
        )


def database_now(connection: BaseDatabaseWrapper) -> datetime:
    """`now()` by the database's clock, which alone decides what is due. One query.

    :raises ClockAstray: this machine's clock is more than `TOLERANCE` away from it.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        at: datetime = cursor.fetchone()[0]
    difference = datetime.now(UTC) - at
    if abs(difference) > TOLERANCE:
        raise ClockAstray(difference)
    return at + offset() if settings.DEMO else at


def offset() -> timedelta:
    """How far the demo's clock is ahead of real time; zero until someone travels.

    The file is read again only when it was replaced.
    """
    global _read
    path = str(settings.CLOCK_FILE)
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return timedelta(0)
    signature = (path, status.st_mtime_ns, status.st_ino)
    if _read[0] != signature:
        seconds = json.loads(Path(path).read_text())["offset_seconds"]
        _read = (signature, timedelta(seconds=seconds))
    return _read[1]


def set_offset(seconds: float) -> None:
    """Store the offset for every process of the demo, in one step."""
    path = Path(settings.CLOCK_FILE)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_text(json.dumps({"offset_seconds": seconds}))
    partial.replace(path)


def instant_of(text: str) -> datetime | None:
    """An instant written with its zone, in UTC; None for everything else.

    An offset may be up to a day long as ISO 8601 is read, and up to 16 hours in what PostgreSQL takes.
    """
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, OverflowError):
        return None
