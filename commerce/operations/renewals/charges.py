"""Charging open card bills: the second sweep (architecture §7), its calls outside transactions."""

import logging
from dataclasses import dataclass
from datetime import datetime

from commerce.operations.payments import charge_bill, take_due_bills
from config.kit.tenancy import use_login

logger = logging.getLogger(__name__)

# So many bills in a row without an answer: the processor is away, the next sweep tries again.
_GIVES_UP_AFTER = 3


@dataclass(frozen=True, slots=True)
class Charged:
    """How many bills one sweep put to the processor, by what came of it."""

    paid: int = 0
    declined: int = 0
    withheld: int = 0
    pending: int = 0

    def __bool__(self) -> bool:
        return bool(self.paid or self.declined or self.withheld)


def charge_due(*, at: datetime, limit: int | None = None) -> Charged:
    """Charge every open card bill whose time has come, at most `limit`, each once in this sweep.

    A decline is an outcome: the bill stays open, the subscription active and marked. Where the processor gives
    no answer nothing counts against the customer, and a later sweep asks again about the same intent.
    """
    results: dict[int, str] = {}
    in_a_row = 0
    with use_login("worker"):
        while in_a_row < _GIVES_UP_AFTER and (limit is None or len(results) < limit):
            leased = take_due_bills(at=at, limit=1)
            if not leased:
                break
            (bill_id,) = leased
            if bill_id in results:
                # Asked before without an answer; its lease, now left to run out, is its time to wait.
                continue
            results[bill_id] = charge_bill(bill_id=bill_id, at=at, is_leased=True)
            in_a_row = in_a_row + 1 if results[bill_id] == "pending" else 0
    if in_a_row == _GIVES_UP_AFTER:
        logger.warning("The card processor gave no answer for %s bills in a row; charging waits.", in_a_row)
    counts = list(results.values())
    return Charged(
        **{outcome: counts.count(outcome) for outcome in ("paid", "declined", "withheld", "pending")}
    )
