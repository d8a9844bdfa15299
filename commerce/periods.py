"""Periods (product §5.2): period n starts at anchor + n months, at local midnight, never at n - 1 plus a month.

Instants are computed in one place only, by PostgreSQL: its zone data and Python's differ for some zones, and a
renewal that two of them disagree about would be billed twice or not at all.
"""

from collections.abc import Sequence
from datetime import date, datetime

from config.kit.tenancy import connection

# The instant at which month `months` after the anchor begins. Clamps to the month's last day; in an hour that a
# clock change skips or repeats, PostgreSQL takes the later instant.
INSTANT_SQL = "((({anchor})::date + make_interval(months => ({months})::int)) AT TIME ZONE ({zone}))"

# The local midnight `days` days after the day on which an instant falls: the end of Expired, of Disabled.
DAYS_LATER_SQL = "(((({instant}) AT TIME ZONE ({zone}))::date + make_interval(days => ({days})::int)) AT TIME ZONE ({zone}))"


def instants(anchor_date: date, months: Sequence[int], time_zone: str) -> list[datetime]:
    """The instants at `anchor_date` + each of `months`, aware, in the order given. One query."""
    sql = INSTANT_SQL.format(anchor="%s", months="m", zone="%s")
    with connection().cursor() as cursor:
        cursor.execute(
            f"SELECT {sql} FROM unnest(%s::int[]) WITH ORDINALITY AS x(m, i) ORDER BY i",  # noqa: S608
            [anchor_date, time_zone, list(months)],
        )
        return [row[0] for row in cursor.fetchall()]


def instants_from(at: datetime, months: Sequence[int], time_zone: str) -> list[datetime]:
    """As `instants`, with the calendar day of `at` in that zone as the anchor. One query."""
    anchor = "%(at)s::timestamptz AT TIME ZONE %(zone)s"
    sql = INSTANT_SQL.format(anchor=f"({anchor})", months="m", zone="%(zone)s")
    with connection().cursor() as cursor:
        cursor.execute(
            f"SELECT {sql} FROM unnest(%(months)s::int[]) WITH ORDINALITY AS x(m, i) ORDER BY i",  # noqa: S608
            {"at": at, "zone": time_zone, "months": list(months)},
        )
        return [row[0] for row in cursor.fetchall()]


def local_dates(instants: Sequence[datetime], time_zone: str) -> list[date]:
    """The calendar days of several instants in a zone, in the order given. One query."""
    with connection().cursor() as cursor:
        cursor.execute(
            "SELECT (i AT TIME ZONE %s)::date FROM unnest(%s::timestamptz[]) WITH ORDINALITY AS x(i, n) ORDER BY n",
            [time_zone, list(instants)],
        )
        return [row[0] for row in cursor.fetchall()]


def days_later(at: datetime, days: int, time_zone: str) -> datetime:
    """The local midnight `days` days after the day of `at`, as the sweeps count Expired and Disabled. One query."""
    sql = DAYS_LATER_SQL.format(instant="%(at)s::timestamptz", days="%(days)s", zone="%(zone)s")
    with connection().cursor() as cursor:
        cursor.execute(f"SELECT {sql}", {"at": at, "days": days, "zone": time_zone})
        later: datetime = cursor.fetchone()[0]
        return later


def local_date(at: datetime, time_zone: str) -> date:
    """The calendar day of an instant in a zone, by the same zone data. One query."""
    with connection().cursor() as cursor:
        cursor.execute("SELECT (%s::timestamptz AT TIME ZONE %s)::date", [at, time_zone])
        day: date = cursor.fetchone()[0]
        return day
