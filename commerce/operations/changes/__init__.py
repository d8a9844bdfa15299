"""Changing a subscription: the number of seats, the plan, now or at the renewal; and bringing it back (product §5)."""

from commerce.operations.changes.adding import (
    add_seats_on_account,
    count_anew,
    quote_addition,
    start_adding_seats,
)
from commerce.operations.changes.paid import TooSmallToCharge
from commerce.operations.changes.reactivating import (
    NothingToReactivate,
    UnpaidFirst,
    count_reactivation_anew,
    is_reactivable,
    quote_reactivation,
    reactivate_on_account,
    start_reactivation,
)
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
    "NothingToReactivate",
    "NothingToRefund",
    "RemovedSeats",
    "TooSmallToCharge",
    "UnpaidFirst",
    "WindowOver",
    "add_seats_on_account",
    "count_anew",
    "count_reactivation_anew",
    "is_reactivable",
    "quote_addition",
    "quote_reactivation",
    "quote_removal",
    "reactivate_on_account",
    "remove_seats",
    "require_schedulable",
    "revoke_scheduled",
    "schedule_plan",
    "schedule_seats",
    "start_adding_seats",
    "start_reactivation",
]
