"""Changing a running subscription: the number of seats, the plan, now or at the renewal (product §5.3, §5.4)."""

from commerce.operations.changes.adding import (
    add_seats_on_account,
    count_anew,
    quote_addition,
    start_adding_seats,
)
from commerce.operations.changes.paid import TooSmallToCharge
from commerce.operations.changes.removing import (
    NothingToRefund,
    RemovedSeats,
    WindowOver,
    quote_removal,
    remove_seats,
)
from commerce.operations.changes.rules import BelowAssigned, Disputed, NoRenewal, NotChangeable
from commerce.operations.changes.scheduling import (
    require_schedulable,
    revoke_scheduled,
    schedule_plan,
    schedule_seats,
)

__all__ = [
    "BelowAssigned",
    "Disputed",
    "NoRenewal",
    "NotChangeable",
    "NothingToRefund",
    "RemovedSeats",
    "TooSmallToCharge",
    "WindowOver",
    "add_seats_on_account",
    "count_anew",
    "quote_addition",
    "quote_removal",
    "remove_seats",
    "require_schedulable",
    "revoke_scheduled",
    "schedule_plan",
    "schedule_seats",
    "start_adding_seats",
]
