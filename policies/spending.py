"""Whether a purchase keeps within what the tenant lets a person spend (product §9).

Pure. Sums are minor units without tax, of the first charge; a month is the calendar month in the tenant's zone.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

PERMIT_LIVES = timedelta(days=14)

type Basis = Literal["purchase", "person_month"]
type Verdict = Literal["within", "needs_approval", "over_cap"]


@dataclass(frozen=True, slots=True)
class Limit:
    """So much for a single purchase, or for a person's whole month."""

    minor: int
    basis: Basis


@dataclass(frozen=True, slots=True)
class Limits:
    """The cap, which refuses, and the threshold, above which an admin approves first. None: there is none."""

    currency: str = ""
    cap: Limit | None = None
    threshold: Limit | None = None

    @property
    def are_none(self) -> bool:
        return self.cap is None and self.threshold is None


@dataclass(frozen=True, slots=True)
class Spending:
    """What one purchase means for the limits. `spent_minor`: this month, before it."""

    verdict: Verdict
    limits: Limits
    amount_minor: int
    currency: str
    spent_minor: int


def judge(
    limits: Limits, *, amount_minor: int, currency: str, spent_minor: int, has_permit: bool
) -> Spending:
    """The cap first: no approval lifts it. A limit in another currency than the price's cannot be kept, so it refuses."""
    verdict: Verdict = "within"
    if _exceeds(limits, limits.threshold, amount_minor, currency, spent_minor) and not has_permit:
        verdict = "needs_approval"
    if _exceeds(limits, limits.cap, amount_minor, currency, spent_minor):
        verdict = "over_cap"
    return Spending(verdict, limits, amount_minor, currency, spent_minor)


def _exceeds(limits: Limits, limit: Limit | None, amount_minor: int, currency: str, spent_minor: int) -> bool:
    if limit is None:
        return False
    if limits.currency != currency:
        return True
    return amount_minor + (spent_minor if limit.basis == "person_month" else 0) > limit.minor


def is_never_asked(limits: Limits) -> bool:
    """Whether the cap, which no approval lifts, refuses all that the threshold would ask about."""
    cap, threshold = limits.cap, limits.threshold
    if cap is None or threshold is None or cap.minor > threshold.minor:
        return False
    # Small purchases add up to more in a month than the most for a single one.
    return (cap.basis, threshold.basis) != ("purchase", "person_month")


def needs_approval(spending: Spending) -> bool:
    """Whether the purchase would keep within the limits only by an approval."""
    limits = spending.limits
    return _exceeds(limits, limits.threshold, spending.amount_minor, spending.currency, spending.spent_minor)


def most_in_month(limits: Limits, *, is_approved: bool) -> int | None:
    """What a person's month may come to with a purchase, approved or not; None: any sum."""
    counted = [limits.cap, None if is_approved else limits.threshold]
    return min((limit.minor for limit in counted if limit and limit.basis == "person_month"), default=None)


def month_of(at: datetime, time_zone: str) -> date:
    """The first day of the calendar month in which `at` falls, in the tenant's zone."""
    return at.astimezone(ZoneInfo(time_zone)).date().replace(day=1)
