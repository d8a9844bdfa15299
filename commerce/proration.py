"""Prices by the day (product §5.4, §5.5): P[a, b) = R(b) - R(a), R(x) = price * x / days, rounded half up.

Additive to the minor unit: P[a, b) + P[b, c) = P[a, c), so that what is charged and given back in parts sums up to
what the whole costs (I-08). Pure; days are calendar days of the subscription's zone, amounts whole minor units.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime


def part(price_minor: int, *, days: int, begin: int, end: int) -> int:
    """P[begin, end): what days number `begin` up to, not including, `end` cost, of a period of `days` days.

    `price_minor` is not negative, and 0 <= begin <= end <= days.
    """
    return _until(price_minor, days, end) - _until(price_minor, days, begin)


def _until(price_minor: int, days: int, day: int) -> int:
    """R(day), half up, in whole numbers alone."""
    return (2 * price_minor * day + days) // (2 * days)


@dataclass(frozen=True, slots=True)
class Span:
    """A billing period by its calendar days, `ends` not included."""

    starts: date
    ends: date

    @property
    def days(self) -> int:
        return (self.ends - self.starts).days

    def holds(self, day: date) -> bool:
        return self.starts <= day < self.ends

    def days_from(self, day: date) -> int:
        """How many days are left when something begins on `day`, which counts."""
        return (self.ends - day).days

    def price_from(self, price_minor: int, day: date) -> int:
        """What the rest of the period costs from `day` on: the day of buying or adding counts as charged."""
        return part(price_minor, days=self.days, begin=(day - self.starts).days, end=self.days)

    def price_after(self, price_minor: int, day: date) -> int:
        """What is given back when something ends on `day`: the day of canceling counts as used."""
        return part(price_minor, days=self.days, begin=(day - self.starts).days + 1, end=self.days)


@dataclass(frozen=True, slots=True)
class Lot:
    """Seats that were charged together in the running period and are still there.

    `charged_at` is None while their bill is unpaid: no refund window has begun.
    """

    bill_id: int
    quantity: int
    unit_price_minor: int
    charged_at: datetime | None
    refund_until: datetime | None

    def is_refundable(self, at: datetime) -> bool:
        return self.refund_until is not None and at < self.refund_until


@dataclass(frozen=True, slots=True)
class Returned:
    """Seats of one lot that go, and what is given back for them, without tax."""

    bill_id: int
    quantity: int
    unit_price_minor: int
    amount_minor: int


def refundable(lots: Sequence[Lot], at: datetime) -> list[Lot]:
    """The lots that can go at once, the one charged last first; ends at the first whose window is over.

    `lots` are in the order in which they were charged.
    """
    found: list[Lot] = []
    for lot in reversed(lots):
        if not lot.is_refundable(at):
            break
        found.append(lot)
    return found


def take_back(lots: Sequence[Lot], count: int, *, span: Span, day: date) -> list[Returned]:
    """What is given back for `count` seats of these lots, taken in the order given.

    Of a lot that is taken in parts, each part is the difference that it makes, so that the parts never come to
    more than the whole.
    """
    returned: list[Returned] = []
    for lot in lots:
        taken = min(count, lot.quantity)
        if not taken:
            break
        before = span.price_after(lot.quantity * lot.unit_price_minor, day)
        after = span.price_after((lot.quantity - taken) * lot.unit_price_minor, day)
        returned.append(Returned(lot.bill_id, taken, lot.unit_price_minor, before - after))
        count -= taken
    return returned
