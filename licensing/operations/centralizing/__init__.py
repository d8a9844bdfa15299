"""Centralizing: give the users of purchases central licenses, end the purchases, and undo it (product §10).

`starting` begins a run, `moving` and `undoing` are its jobs, `settling` moves the money a day later. All of them lock
the run's row first, then one purchase, then the target.
"""

from licensing.operations.centralizing.moving import MOVE
from licensing.operations.centralizing.settling import settle_due
from licensing.operations.centralizing.starting import (
    PlanChanged,
    RunOver,
    Seen,
    go_on,
    seen_of,
    start_centralizing,
)
from licensing.operations.centralizing.undoing import UNDO, NotUndoable, undo_centralizing

__all__ = [
    "MOVE",
    "UNDO",
    "NotUndoable",
    "PlanChanged",
    "RunOver",
    "Seen",
    "go_on",
    "seen_of",
    "settle_due",
    "start_centralizing",
    "undo_centralizing",
]
