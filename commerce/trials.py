"""What a trial is: how long, how many seats, when it can be extended (product §3.6).

Pure: instants in, answers out. A trial's days are counted by the calendar of its zone (`commerce.periods`), from the
day on which it starts.
"""

from datetime import datetime, timedelta
from typing import Final

DAYS: Final = 30
EXTENSION_DAYS: Final = 30
# It can be extended so long before its end, once.
EXTENDABLE_FOR: Final = timedelta(days=15)
MOST_SEATS: Final = 25
# Days before its end on which who started it is reminded.
REMINDED: Final = (7, 1)


def most_seats(product_most: int) -> int:
    """How many seats a trial may have, of a product that sells at most so many at a time."""
    return min(MOST_SEATS, product_most)


def extendable_from(ends_at: datetime) -> datetime:
    return ends_at - EXTENDABLE_FOR


def is_extendable(*, ends_at: datetime, extended_at: datetime | None, at: datetime) -> bool:
    """Whether it can be made longer now: in its last 15 days, and only once."""
    return extended_at is None and extendable_from(ends_at) <= at < ends_at


def days_left(*, ends_at: datetime, at: datetime) -> int:
    """How many days are left, the one under way counted; 0 when it is over."""
    left = ends_at - at
    return max(0, -(-left // timedelta(days=1)))
