"""The calendar of a failed payment: when it is tried or told again, and when it ends (product §5.6).

Pure: instants in, instants out. Days are of 24 hours from the first failure.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

STEP_DAYS: Final = (1, 3, 5, 7, 14, 21, 28)
DEADLINE_DAYS: Final = 30
# The step after the last one: the end of access.
END: Final = len(STEP_DAYS) + 1
# However late a step was made, so long remains to pay after it: an outage never counts against the customer.
GRACE: Final = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Next:
    """What comes next: step 1 to 7 of the calendar, or `END`."""

    step: int
    at: datetime

    @property
    def is_end(self) -> bool:
        return self.step == END


def deadline(*, failed_at: datetime, period_end: datetime) -> datetime:
    """When access ends if nothing is paid: day 30, or the end of the unpaid period if that is sooner."""
    return min(failed_at + timedelta(days=DEADLINE_DAYS), period_end)


def next_after(*, failed_at: datetime, period_end: datetime, at: datetime) -> Next:
    """What follows a failure or a step made at `at`.

    Steps that were missed are not made up for one by one, and the end comes two days after the last step at the
    soonest.
    """
    end = deadline(failed_at=failed_at, period_end=period_end)
    for step, days in enumerate(STEP_DAYS, start=1):
        step_at = failed_at + timedelta(days=days)
        if at < step_at < end:
            return Next(step, step_at)
    return Next(END, max(end, at + GRACE))


def steps_of(*, failed_at: datetime, period_end: datetime) -> Iterator[datetime]:
    """Every step that lies before the deadline, in order."""
    end = deadline(failed_at=failed_at, period_end=period_end)
    steps = (failed_at + timedelta(days=days) for days in STEP_DAYS)
    return (step for step in steps if step < end)
