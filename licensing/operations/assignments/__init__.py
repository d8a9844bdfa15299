"""Giving and taking licenses: the only package that writes `Assignment` rows (I-01 to I-05).

Rows and counter move together, judged under the subscription's row lock; free seats are read from the counter,
never counted.
"""

from licensing.operations.assignments.changing import (
    assign_license,
    assign_licenses,
    end_by_group,
    give_back_license,
    give_by_group,
    give_central_licenses,
    give_first_license,
    move_to_group,
    serve_waiting,
    take_back_central_licenses,
    unassign_licenses,
)
from licensing.operations.assignments.ending import (
    end_assignments,
    free_licenses_of,
    free_licenses_of_leavers,
)
from licensing.operations.assignments.outcomes import (
    BATCH_LIMIT,
    FULL,
    AlreadyAssigned,
    AssignmentResult,
    Busy,
    GuestsExcluded,
    HoldsProduct,
    NoSeatLeft,
    NotAssignable,
    NotHeld,
    Outcome,
    PersonNotActive,
    PersonUnknown,
    ReductionScheduled,
    TooMany,
)

__all__ = [
    "BATCH_LIMIT",
    "FULL",
    "AlreadyAssigned",
    "AssignmentResult",
    "Busy",
    "GuestsExcluded",
    "HoldsProduct",
    "NoSeatLeft",
    "NotAssignable",
    "NotHeld",
    "Outcome",
    "PersonNotActive",
    "PersonUnknown",
    "ReductionScheduled",
    "TooMany",
    "assign_license",
    "assign_licenses",
    "end_assignments",
    "end_by_group",
    "free_licenses_of",
    "free_licenses_of_leavers",
    "give_back_license",
    "give_by_group",
    "give_central_licenses",
    "give_first_license",
    "move_to_group",
    "serve_waiting",
    "take_back_central_licenses",
    "unassign_licenses",
]
