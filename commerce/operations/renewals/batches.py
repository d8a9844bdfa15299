"""Walking everything that is due, entity by entity, in batches that survive one bad subscription."""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db import DatabaseError, DataError, IntegrityError, OperationalError

from commerce.operations.renewals.parking import park
from config.kit import faults
from config.kit.tenancy import atomic, connection, use_login

logger = logging.getLogger(__name__)

# First key of the advisory locks that keep sweeps of one vendor entity one at a time; the second is its id.
TURN = 0x53EA7

# Deadlock, serialization failure, lock timeout: nothing is wrong with the rows, the batch is tried again.
_TRY_AGAIN = frozenset({"40P01", "40001", "55P03"})
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep did: subscriptions moved one step, those parked, entities left to another sweep."""

    moved: int = 0
    parked: int = 0
    busy: int = 0

    def __add__(self, other: "Swept") -> "Swept":
        return Swept(self.moved + other.moved, self.parked + other.parked, self.busy + other.busy)

    def __bool__(self) -> bool:
        return bool(self.moved or self.parked)


class Place(NamedTuple):
    """A subscription's place in the order in which sweeps take them."""

    due_at: datetime
    id: int


FIRST = Place(datetime(1, 1, 1, tzinfo=UTC), 0)


@dataclass(frozen=True, slots=True)
class Take:
    """Which subscriptions a batch takes: the entity's next ones after a place, or those of `ids` still due."""

    entity_id: int
    at: datetime
    limit: int
    after: Place = FIRST
    ids: list[int] | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "entity": self.entity_id,
            "at": self.at,
            "limit": self.limit,
            "after_due": self.after.due_at,
            "after_id": self.after.id,
            "ids": self.ids,
        }


class Batch(NamedTuple):
    """What one statement did; `last` is the place of the last one it took, None when it took none."""

    taken: int
    parked: int
    last: Place | None


# The rows of `billed` with the numbers of their bills, as `numbered`: the counter of the entity's series moves once, by as
# many as there are bills, and a statement that fails takes no number with it (I-19). `place` counts from 0.
NUMBERED_SQL = """series AS (
    INSERT INTO commerce_billseries AS counter (vendor_entity_id, year, next_number)
    SELECT vendor_entity_id, extract(year FROM %(at)s AT TIME ZONE 'UTC'), 1 + count(*)
      FROM billed GROUP BY vendor_entity_id
    ON CONFLICT (vendor_entity_id, year) DO UPDATE SET next_number = counter.next_number + excluded.next_number - 1
    RETURNING counter.next_number - (SELECT count(*) FROM billed) AS first, counter.vendor_entity_id, counter.year
), numbered AS MATERIALIZED (
    SELECT b.*, series.year, series.first + b.place AS series_number,
           entity.bill_series || '-' || series.year || '-'
           || lpad((series.first + b.place)::text, greatest(6, length((series.first + b.place)::text)), '0')
           AS number
      FROM billed b
      JOIN series ON series.vendor_entity_id = b.vendor_entity_id
      JOIN commerce_vendorentity entity ON entity.id = b.vendor_entity_id
)"""

_ENTITIES_SQL = """
    SELECT e.id FROM commerce_vendorentity e
    WHERE EXISTS (
        SELECT FROM commerce_subscription s
        WHERE s.vendor_entity_id = e.id AND s.due_at <= %(at)s AND s.parked_at IS NULL
          AND s.state <> 'deleted' AND ({condition})
    )
    ORDER BY e.id
"""

# Completed by each sweep with its own condition. Rows that someone is changing right now are left to the next
# batch, and keys that point at a subscription do not stand in the way (NO KEY).
DUE_SQL = """
    FROM commerce_subscription s
    WHERE s.vendor_entity_id = %(entity)s AND s.due_at <= %(at)s AND s.parked_at IS NULL
      AND s.state <> 'deleted' AND ({condition})
      AND (s.due_at, s.id) > (%(after_due)s, %(after_id)s)
      AND (%(ids)s::bigint[] IS NULL OR s.id = ANY (%(ids)s::bigint[]))
    ORDER BY s.due_at, s.id
    LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Step:
    """One kind of transition: who is due for it (SQL on `s`), and the statement that makes it."""

    condition: str
    make: Callable[[Take], Batch]

    @property
    def due_sql(self) -> str:
        return DUE_SQL.format(condition=self.condition)


class _Busy(Exception):
    """Another sweep has this entity's turn; it goes on until nothing is due."""


def sweep(step: Step, *, at: datetime, limit: int) -> Swept:
    """Make `step` for everything due at `at`, until a whole pass finds nothing.

    A subscription that missed several periods comes up once per period, oldest first. Each batch is one
    transaction; between batches other sweeps and people get their turn.
    """
    with use_login("worker"):
        with connection().cursor() as cursor:
            cursor.execute(_ENTITIES_SQL.format(condition=step.condition), {"at": at})
            entities = [row[0] for row in cursor.fetchall()]
        return sum((_sweep_entity(step, entity, at, limit) for entity in entities), Swept())


def _sweep_entity(step: Step, entity_id: int, at: datetime, limit: int) -> Swept:
    total = Swept()
    while True:
        passed = Swept()
        place: Place | None = FIRST
        # Beginning each batch behind the last spares PostgreSQL the dead index entries of those before.
        while place is not None:
            try:
                batch = _run(step, Take(entity_id, at, limit, after=place))
            except _Busy:
                return total + passed + Swept(busy=1)
            passed += Swept(batch.taken - batch.parked, batch.parked)
            place = batch.last
        total += passed
        if not passed:
            return total


def _run(step: Step, take: Take) -> Batch:
    """Make one batch; where its rows cannot all be written, find the bad ones by halves and park them."""
    try:
        return _attempt(step, take)
    except DatabaseError as error:
        if not _is_about_rows(error):
            raise
        logger.warning("A batch of entity %s failed and is taken apart: %s", take.entity_id, error)
    with connection().cursor() as cursor:
        cursor.execute(f"SELECT s.due_at, s.id {step.due_sql}", take.parameters)
        places = [Place(*row) for row in cursor.fetchall()]
    if not places:
        return Batch(0, 0, None)
    batches = _halves(step, take, [place.id for place in places])
    return Batch(sum(b.taken for b in batches), sum(b.parked for b in batches), places[-1])


def _halves(step: Step, take: Take, ids: list[int]) -> list[Batch]:
    """Batches that together cover `ids`, each of which could be written, or is one subscription, now parked."""
    part = Take(take.entity_id, take.at, len(ids), ids=ids)
    try:
        return [_attempt(step, part)]
    except DatabaseError as error:
        if not _is_about_rows(error):
            raise
        reason = str(error.__cause__ or error).strip().splitlines()[0]
    if len(ids) == 1:
        parked = park(ids[0], reason=reason, at=take.at)
        return [Batch(parked, parked, None)]
    middle = len(ids) // 2
    return [*_halves(step, take, ids[:middle]), *_halves(step, take, ids[middle:])]


def _attempt(step: Step, take: Take) -> Batch:
    """One transaction; tried again when it was only in the way of another.

    :raises _Busy: another sweep has the entity's turn.
    """
    for number in range(1, _TRIES + 1):
        try:
            faults.reached("R0:before")
            with atomic():
                _take_turn(take.entity_id)
                faults.reached("R0:after")
                faults.reached("R1:before")
                batch = step.make(take)
                faults.reached("R1:uncommitted")
            if batch.taken:
                faults.reached("R1:after")
        except OperationalError as error:
            if _sqlstate(error) not in _TRY_AGAIN or number == _TRIES:
                raise
            time.sleep(random.uniform(0, 0.1) * number)  # noqa: S311
        else:
            return batch
    raise AssertionError("unreachable")


def _take_turn(entity_id: int) -> None:
    with connection().cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [TURN, entity_id])
        if not cursor.fetchone()[0]:
            raise _Busy


def _is_about_rows(error: DatabaseError) -> bool:
    """Whether a value or a constraint, or a trigger of ours, refused; anything else is not a row's fault."""
    return isinstance(error, (IntegrityError, DataError)) or _sqlstate(error) == "P0001"


def _sqlstate(error: DatabaseError) -> str:
    return getattr(error.__cause__, "sqlstate", None) or ""
