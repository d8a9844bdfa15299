"""Period n starts at anchor + n months at local midnight, clamped, never at n - 1 plus a month (I-12).

PostgreSQL is the only source of instants; the properties below are those of the calendar, which needs no zone
data: that a local day at local midnight is the day which clamping says. The last two compare instants with Python's,
for zones about which the two zone databases agree.

`HYPOTHESIS=full` tries 10,000 examples of each property, the suite 100.
"""

import calendar
import os
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from commerce.periods import (
    DAYS_LATER_SQL,
    days_later,
    instants,
    instants_from,
    local_date,
    local_dates,
)
from config.kit.tenancy import connection

pytestmark = pytest.mark.django_db

ZONES = [
    "Europe/Amsterdam",
    "America/New_York",
    "America/Havana",  # changes its clock at midnight
    "Africa/Cairo",  # and so does this one, forwards
    "Asia/Kathmandu",  # +05:45
    "Australia/Lord_Howe",  # moves by half an hour
    "Pacific/Kiritimati",  # +14
    "Pacific/Pago_Pago",  # -11
    "UTC",
]
# Every day of an ordinary and of a leap year, ten years of months from each.
FIRST, DAYS, MONTHS = date(2027, 1, 1), 365 + 366, 120


def clamped(anchor: date, months: int) -> date:
    """The day `months` later, or that month's last: plain arithmetic on year, month, day."""
    years, month = divmod(anchor.month - 1 + months, 12)
    year = anchor.year + years
    return date(year, month + 1, min(anchor.day, calendar.monthrange(year, month + 1)[1]))


# Every anchor, every month: one row for each that breaks the rule.
_EVERY = """
WITH anchors AS (SELECT %(first)s::date + d AS anchor FROM generate_series(0, %(days)s - 1) d),
periods AS (
    SELECT anchor, n, ((anchor + make_interval(months => n)) AT TIME ZONE %(zone)s) AS starts,
           ((anchor + make_interval(months => n + 1)) AT TIME ZONE %(zone)s) AS ends,
           (date_trunc('month', anchor::timestamp) + make_interval(months => n))::date AS month
      FROM anchors CROSS JOIN generate_series(0, %(months)s) n
), judged AS (
    SELECT *, (starts AT TIME ZONE %(zone)s)::date AS day,
           least(month + extract(day FROM anchor)::int - 1, (month + interval '1 month' - interval '1 day')::date)
           AS wanted
      FROM periods
)
SELECT count(*), count(*) FILTER (WHERE day <> wanted), count(*) FILTER (WHERE starts >= ends),
       count(*) FILTER (WHERE ends - starts NOT BETWEEN interval '27 days 22 hours' AND interval '31 days 2 hours'),
       count(*) FILTER (WHERE (starts AT TIME ZONE %(zone)s)::time NOT IN ('00:00', '01:00', '00:30'))
  FROM judged
"""


@pytest.mark.parametrize("zone", ZONES)
def test_every_anchor_keeps_its_day_for_ten_years(zone: str) -> None:
    with connection().cursor() as cursor:
        cursor.execute(_EVERY, {"first": FIRST, "days": DAYS, "months": MONTHS, "zone": zone})
        cases, wrong_day, backwards, odd_length, not_midnight = cursor.fetchone()

    assert cases == DAYS * 121
    assert (wrong_day, backwards, odd_length, not_midnight) == (0, 0, 0, 0)


@pytest.mark.parametrize("day", range(1, 32))
@pytest.mark.parametrize("zone", ["Europe/Amsterdam", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_every_day_of_the_month_is_clamped_and_comes_back(day: int, zone: str) -> None:
    anchor = date(2027, 1, day)
    months = range(48)

    starts = instants(anchor, months, zone)

    days = [local_date(at, zone) for at in starts[:14]]
    assert days == [clamped(anchor, n) for n in range(14)]
    assert starts == sorted(set(starts))


def test_31_january_goes_to_28_february_and_then_to_31_march() -> None:
    assert instants(date(2027, 1, 31), [0, 1, 2, 3], "UTC") == [
        datetime(2027, 1, 31, tzinfo=UTC),
        datetime(2027, 2, 28, tzinfo=UTC),
        datetime(2027, 3, 31, tzinfo=UTC),
        datetime(2027, 4, 30, tzinfo=UTC),
    ]


def test_a_leap_day_is_the_28th_in_other_years_and_itself_again() -> None:
    starts = instants(date(2028, 2, 29), [0, 12, 24, 36, 48], "UTC")

    assert [at.date() for at in starts] == [
        date(2028, 2, 29),
        date(2029, 2, 28),
        date(2030, 2, 28),
        date(2031, 2, 28),
        date(2032, 2, 29),
    ]


def test_local_midnight_moves_in_utc_with_the_clock() -> None:
    assert instants(date(2026, 3, 10), [0, 1, 8], "Europe/Amsterdam") == [
        datetime(2026, 3, 9, 23, tzinfo=UTC),
        datetime(2026, 4, 9, 22, tzinfo=UTC),
        datetime(2026, 11, 9, 23, tzinfo=UTC),
    ]


@pytest.mark.parametrize(
    ("zone", "midnight"),
    [
        ("Pacific/Kiritimati", datetime(2026, 12, 31, 10, tzinfo=UTC)),
        ("Pacific/Pago_Pago", datetime(2027, 1, 1, 11, tzinfo=UTC)),
    ],
)
def test_new_year_comes_first_at_plus_14_and_last_at_minus_11(zone: str, midnight: datetime) -> None:
    assert instants(date(2026, 1, 1), [12], zone) == [midnight]


def test_a_midnight_that_comes_twice_is_the_later_one() -> None:
    # Havana sets its clock back from one to midnight on 1 November 2026.
    assert instants(date(2026, 11, 1), [0], "America/Havana") == [datetime(2026, 11, 1, 5, tzinfo=UTC)]


def test_a_midnight_that_is_skipped_is_the_first_instant_of_the_day() -> None:
    # Havana sets its clock from midnight to one on 14 March 2027.
    (start,) = instants(date(2027, 3, 14), [0], "America/Havana")

    assert start == datetime(2027, 3, 14, 5, tzinfo=UTC)
    assert local_date(start, "America/Havana") == date(2027, 3, 14)


def test_months_are_never_added_to_the_month_before() -> None:
    anchor = date(2027, 1, 31)
    right = instants(anchor, range(25), "UTC")

    chained = [right[0]]
    for _ in range(24):
        chained += instants(chained[-1].date(), [1], "UTC")

    assert sum(a != b for a, b in zip(right, chained, strict=True)) == 23


@pytest.mark.parametrize("zone", ZONES)
def test_days_later_is_a_local_midnight_of_the_right_day(zone: str) -> None:
    sql = DAYS_LATER_SQL.format(instant="%(at)s::timestamptz", days="%(days)s", zone="%(zone)s")
    for day in range(0, 730, 11):
        (begins,) = instants(date(2026, 1, 1) + timedelta(days=day), [0], zone)
        with connection().cursor() as cursor:
            cursor.execute(f"SELECT {sql}", {"at": begins, "days": 30, "zone": zone})
            (ends,) = cursor.fetchone()
        assert local_date(ends, zone) == date(2026, 1, 1) + timedelta(days=day + 30)
        assert [ends] == instants(date(2026, 1, 1) + timedelta(days=day + 30), [0], zone)


EXAMPLES = 10_000 if os.environ.get("HYPOTHESIS") == "full" else 100
dose = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
# From -11 to +14; with clock changes in either half of the year, at midnight, by half an hour, and without any.
WORLD = [
    *("Pacific/Pago_Pago", "Pacific/Honolulu", "America/Los_Angeles", "America/New_York", "America/Havana"),
    *("America/St_Johns", "America/Sao_Paulo", "Atlantic/Azores", "UTC", "Europe/London", "Europe/Amsterdam"),
    *("Africa/Cairo", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Tokyo", "Australia/Adelaide"),
    *("Australia/Lord_Howe", "Pacific/Auckland", "Pacific/Chatham", "Pacific/Kiritimati"),
]
anchors = st.dates(date(2024, 1, 1), date(2036, 12, 31))
ends_of_months = st.sampled_from(
    [
        date(2028, month, day)
        for month in range(1, 13)
        for day in (28, 29, 30, 31)
        if day <= clamped(date(2028, 1, 31), month - 1).day
    ]
)
zones = st.sampled_from(WORLD)


def midnight(day: date, zone: str) -> datetime:
    """By Python's zone data: of one that comes twice the later, of one that is skipped the day's first instant."""
    local = datetime.combine(day, time(), ZoneInfo(zone))
    return max(local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))


@dose
@given(anchors | ends_of_months, st.lists(st.integers(0, 60), min_size=1, max_size=8, unique=True), zones)
@example(date(2028, 2, 29), [0, 12, 48], "Pacific/Kiritimati")
@example(date(2027, 1, 31), [1, 2, 13], "Pacific/Pago_Pago")
def test_any_period_begins_at_local_midnight_of_the_clamped_day(
    anchor: date, months: list[int], zone: str
) -> None:
    starts = instants(anchor, months, zone)

    wanted = [clamped(anchor, n) for n in months]
    assert local_dates(starts, zone) == wanted
    assert starts == [midnight(day, zone) for day in wanted]


@dose
@given(anchors | ends_of_months, zones, st.sampled_from([1, 12]))
def test_periods_follow_one_another_without_gap_and_in_whole_days(
    anchor: date, zone: str, billing: int
) -> None:
    starts = instants(anchor, [n * billing for n in range(14)], zone)

    days = [(later - earlier).days for earlier, later in pairwise(local_dates(starts, zone))]
    assert starts == sorted(set(starts))
    assert set(days) <= ({28, 29, 30, 31} if billing == 1 else {365, 366})
    assert days == [
        (clamped(anchor, (n + 1) * billing) - clamped(anchor, n * billing)).days for n in range(13)
    ]


@dose
@given(st.datetimes(datetime(2024, 1, 1), datetime(2036, 12, 31)), st.integers(0, 400), zones)
def test_days_later_is_that_local_midnight_from_any_instant(at: datetime, days: int, zone: str) -> None:
    instant = at.replace(tzinfo=UTC)

    later = days_later(instant, days, zone)

    assert later == midnight(local_date(instant, zone) + timedelta(days=days), zone)


@pytest.mark.parametrize("hour", [0, 9, 10, 11, 12, 23])
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/Amsterdam"])
def test_instants_from_a_moment_count_from_its_local_day(zone: str, hour: int) -> None:
    at = datetime(2028, 2, 29, hour, 59, tzinfo=UTC)

    assert instants_from(at, [0, 1, 12], zone) == instants(local_date(at, zone), [0, 1, 12], zone)
