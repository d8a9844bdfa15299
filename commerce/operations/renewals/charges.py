"""Charging open card bills: the second sweep (architecture §7), its calls outside transactions."""

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from commerce.gateways import stripe
from commerce.operations.billing_control import sweeps_may_run
from commerce.operations.payments import GIVES_UP_AFTER, ChargeResult, charge_bills, put_off, take_due_bills
from config.kit.rate import Pace
from config.kit.tenancy import connection, use_login

logger = logging.getLogger(__name__)

# How many bills one lane takes at once, when all lanes are open and answers come fast. More save little, and a
# worker that is killed leaves so many a lane to be asked about again.
GROUP = 64
# Longer than this for a group, and the next is smaller.
SECONDS_FOR_A_GROUP = 10.0


@dataclass(frozen=True, slots=True)
class Charged:
    """How many bills one sweep put to the processor, by what came of it.

    `is_away`: it stopped because the processor gave no answer. `has_more`: it stopped at its limit.
    """

    paid: int = 0
    declined: int = 0
    withheld: int = 0
    pending: int = 0
    is_away: bool = False
    has_more: bool = False

    def __bool__(self) -> bool:
        return bool(self.paid or self.declined or self.withheld)


def charge_due(*, at: datetime, limit: int | None = None, seconds: float | None = None) -> Charged:
    """Charge every open card bill whose time has come, several side by side, each once in this sweep.

    At most `limit`, and none begun after so many `seconds` of real time. A decline is an outcome: the bill stays
    open, the subscription active and marked. Where the processor gives no answer nothing counts against the
    customer, and a later sweep asks again about the same intent. Nothing while billing is paused.

    :raises django.db.Error: the database is away; what was under way is found again by a later sweep.
    """
    if not sweeps_may_run(at=at):
        return Charged()
    return _Round(at, limit, seconds).charge()


class _Round:
    """One sweep: lanes that each take the next bills, charge them, and go on until none is due.

    The first lane is the caller's thread, and begins with one bill. Answers double how many lanes there may be,
    up to `CHARGES_AT_ONCE`, and then how many bills each takes, up to `GROUP` and while a group is soon done; a
    question without an answer leaves one lane and one bill, and some such in a row end the sweep. It is the circuit
    breaker, too: in an outage every sweep asks about few bills, and the first answer opens it again.
    """

    def __init__(self, at: datetime, limit: int | None, seconds: float | None) -> None:
        self._at = at
        self._left = limit
        self._ends_at = None if seconds is None else time.monotonic() + seconds
        self._pace = Pace("processor", settings.PROCESSOR_CALLS_PER_SECOND)
        self._pool = ThreadPoolExecutor(settings.CHARGES_AT_ONCE)
        self._lock = threading.Lock()
        self._helpers: list[Future[None]] = []
        self._asked: set[int] = set()
        self._results: list[ChargeResult] = []
        self._lanes = self._most_lanes = self._size = 1
        self._in_a_row = 0
        self._is_over = self._has_more = False

    def charge(self) -> Charged:
        with self._pool, use_login("worker"):
            self._lane(is_first=True)
            for helper in self._helpers:  # one may still add another before it ends
                helper.result()
        is_away = self._in_a_row >= GIVES_UP_AFTER
        if is_away:
            logger.warning("No answer for %s bills in a row; charging waits.", self._in_a_row)
        counts = {
            outcome: self._results.count(outcome) for outcome in ("paid", "declined", "withheld", "pending")
        }
        return Charged(**counts, is_away=is_away, has_more=self._has_more and not is_away)

    def _help(self) -> None:
        """A lane in a thread of its own, with a connection of its own."""
        with use_login("worker"):
            try:
                self._lane(is_first=False)
            finally:
                connection().close()

    def _lane(self, *, is_first: bool) -> None:
        try:
            with stripe.paced(self._pace):
                while bill_ids := self._next(is_first):
                    began = time.monotonic()
                    self._note(self._charge(bill_ids), took=time.monotonic() - began)
        except BaseException:
            with self._lock:
                self._is_over = True
            raise

    def _next(self, is_first: bool) -> list[int]:
        """Leased bills that this sweep has not asked about; none when this lane is to end."""
        while size := self._may_begin(is_first):
            leased = take_due_bills(at=self._at, limit=size)
            with self._lock:
                # Asked in this sweep already: so long ago that its time to wait is over.
                fresh = [bill_id for bill_id in leased if bill_id not in self._asked]
                self._asked.update(fresh)
                if self._left is not None:
                    self._left += size - len(fresh)
                if fresh:
                    self._open_a_lane()
            if fresh or not leased:
                return fresh
        return []

    def _may_begin(self, is_first: bool) -> int:
        """How many bills the lane may take now."""
        with self._lock:
            is_late = self._ends_at is not None and time.monotonic() >= self._ends_at
            if self._left == 0 or is_late:
                self._has_more = True
                return 0
            if self._is_over:
                return 0
            if self._lanes > self._most_lanes and not is_first:
                self._lanes -= 1
                return 0
            if self._left is None:
                return self._size
            size = min(self._size, self._left)
            self._left -= size
            return size

    def _open_a_lane(self) -> None:
        if self._lanes < self._most_lanes and not self._is_over:
            self._lanes += 1
            self._helpers.append(self._pool.submit(self._help))

    def _charge(self, bill_ids: list[int]) -> dict[int, ChargeResult]:
        results = charge_bills(bill_ids=bill_ids, at=self._at)
        with self._lock:
            self._asked.difference_update(set(bill_ids) - results.keys())
        pending = [bill_id for bill_id, result in results.items() if result == "pending"]
        if pending:
            # So that the same few are not the first of every sweep, and the last.
            put_off(bill_ids=pending)
        return results

    def _note(self, results: dict[int, ChargeResult], *, took: float) -> None:
        with self._lock:
            for result in results.values():
                self._results.append(result)
                self._in_a_row = self._in_a_row + 1 if result == "pending" else 0
            if self._in_a_row:
                self._most_lanes = self._size = 1
                self._is_over = self._is_over or self._in_a_row >= GIVES_UP_AFTER
            elif self._most_lanes < settings.CHARGES_AT_ONCE:
                self._most_lanes = min(2 * self._most_lanes, settings.CHARGES_AT_ONCE)
            elif took > SECONDS_FOR_A_GROUP:
                self._size = max(1, min(self._size, len(results) // 2))
            elif took < SECONDS_FOR_A_GROUP / 2:
                self._size = min(2 * self._size, GROUP)
