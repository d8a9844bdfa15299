"""The calendar of a failed payment (product §5.6)."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from commerce.dunning import END, GRACE, STEP_DAYS, Next, deadline, next_after, steps_of

FAILED = datetime(2026, 3, 10, 9, tzinfo=UTC)
YEAR_END = FAILED + timedelta(days=365)


def day(number: int) -> datetime:
    return FAILED + timedelta(days=number)


def test_the_steps_are_days_1_3_5_7_14_21_and_28_and_the_end_is_day_30() -> None:
    walked = []
    at = FAILED
    for _ in range(8):
        coming = next_after(failed_at=FAILED, period_end=YEAR_END, at=at)
        walked.append((coming.step, coming.at))
        at = coming.at

    assert walked == [
        (1, day(1)), (2, day(3)), (3, day(5)), (4, day(7)), (5, day(14)), (6, day(21)), (7, day(28)), (END, day(30)),
    ]  # fmt: skip


def test_an_unpaid_period_that_ends_sooner_ends_it() -> None:
    february = day(28)

    assert deadline(failed_at=FAILED, period_end=february) == february
    assert list(steps_of(failed_at=FAILED, period_end=february)) == [day(n) for n in (1, 3, 5, 7, 14, 21)]
    assert next_after(failed_at=FAILED, period_end=february, at=day(21)) == Next(END, february)


def test_missed_steps_are_not_made_up_for_one_by_one() -> None:
    assert next_after(failed_at=FAILED, period_end=YEAR_END, at=day(15)) == Next(6, day(21))


def test_after_an_outage_over_the_end_two_days_remain_to_pay() -> None:
    late = day(45)

    assert next_after(failed_at=FAILED, period_end=YEAR_END, at=late) == Next(END, late + timedelta(days=2))


def test_a_period_that_ended_before_the_first_failure_leaves_two_days() -> None:
    assert next_after(failed_at=FAILED, period_end=FAILED, at=FAILED) == Next(END, day(2))


@given(
    st.floats(0, 60).map(lambda days: FAILED + timedelta(days=days)),
    st.integers(0, 400).map(lambda days: FAILED + timedelta(days=days)),
)
def test_what_comes_lies_ahead_and_access_never_ends_before_the_grace(
    at: datetime, period_end: datetime
) -> None:
    coming = next_after(failed_at=FAILED, period_end=period_end, at=at)

    assert coming.at > at
    assert not coming.is_end or coming.at >= at + GRACE
    assert coming.is_end or coming.at == FAILED + timedelta(days=STEP_DAYS[coming.step - 1])
