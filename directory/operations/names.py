"""Names of people that are kept no longer: of the deleted at once, of the trail after its time (docs/adr/0052)."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

from django import db
from django.conf import settings

from config.kit.tenancy import atomic, connection, tenant_atomic, use_login
from directory.hooks import Departure
from directory.models import User
from directory.names import Fate, Place, places

log = logging.getLogger(__name__)

PEOPLE_AT_ONCE = 500
ROWS_AT_ONCE = 5000
# Work that began under a name may still write it.
LOOKED_AFTER = timedelta(days=1)

_FORMER = """
UPDATE {table} t SET {column} = u.name{also}
  FROM directory_user u
 WHERE u.id = t.{person} AND u.id = ANY (%s) AND u.status = 'deleted' AND t.{column} <> u.name
"""
_EMPTY = """
WITH old AS MATERIALIZED (
    SELECT t.id FROM {table} t WHERE t.id > %s AND t.at < %s AND t.{column} <> {emptied} ORDER BY t.id LIMIT %s
), emptied AS (
    UPDATE {table} t SET {column} = {emptied} FROM old WHERE t.id = old.id
)
SELECT count(*), coalesce(max(id), 0) FROM old
"""


def forget_name(departure: Departure) -> None:
    """Call a deleted person *Former user* in their own organization; registered on `person_left`.

    What a place that fails leaves, and what stands at other organizations, is the sweep's.
    """
    if departure.is_deletion:
        _rename_all([departure.user.pk], lambda: tenant_atomic(departure.actor))


def forget_names(*, at: datetime) -> int:
    """The sweep: call the deleted *Former user* at every organization, for a day after; how many rows. Worker's login.

    A place that fails is noted and tried again by the next sweep; the others are done.
    """
    forgotten = 0
    with use_login("worker"):
        deleted = User.objects.filter(status=User.Status.DELETED, name_forgotten_at=None).order_by("id")
        people: list[int] = list(deleted.values_list("pk", flat=True))
        for start in range(0, len(people), PEOPLE_AT_ONCE):
            chunk = people[start : start + PEOPLE_AT_ONCE]
            count, is_whole = _rename_all(chunk, atomic)
            forgotten += count
            if is_whole:
                with atomic():
                    User.objects.filter(pk__in=chunk, deleted_at__lte=at - LOOKED_AFTER).update(
                        name_forgotten_at=at
                    )
    return forgotten


def forget_trail(*, at: datetime) -> int:
    """Delete entries of the audit trail that are older than AUDIT_KEPT and empty the names in other histories; how many.

    Batch by batch, one statement each, by the worker's login, the only one that may, and that by one function alone.
    No entry younger than 180 days goes.
    """
    before: datetime = at - settings.AUDIT_KEPT
    forgotten = 0
    with use_login("worker"):
        while True:
            with atomic(), connection().cursor() as cursor:
                cursor.execute("SELECT forget_trail(%s, %s)", [before, ROWS_AT_ONCE])
                deleted = int(cursor.fetchone()[0])
            forgotten += deleted
            if deleted < ROWS_AT_ONCE:
                break
        return forgotten + sum(_empty(place, before) for place in places(Fate.HISTORY))


def _rename_all(people: Sequence[int], block: Callable[[], AbstractContextManager[None]]) -> tuple[int, bool]:
    """How many rows say *Former user* now, and whether every place was done.

    A short transaction for each place, so that none waits for another's rows.
    """
    count, is_whole = 0, True
    for place in places(Fate.FORMER):
        try:
            with block():
                count += _rename(place, people)
        except db.Error:
            log.exception("Names in %s.%s wait for the next sweep", place.table, place.column)
            is_whole = False
    return count, is_whole


def _rename(place: Place, people: Sequence[int]) -> int:
    also = f", {place.also}" if place.also else ""
    statement = _FORMER.format(table=place.table, column=place.column, person=place.person, also=also)
    with connection().cursor() as cursor:
        cursor.execute(statement, [list(people)])
        return int(cursor.rowcount)


def _empty(place: Place, before: datetime) -> int:
    statement = _EMPTY.format(table=place.table, column=place.column, emptied=place.emptied)
    done, last, count = 0, 0, ROWS_AT_ONCE
    while count == ROWS_AT_ONCE:
        with atomic(), connection().cursor() as cursor:
            cursor.execute(statement, [last, before, ROWS_AT_ONCE])
            count, last = cursor.fetchone()
        done += count
    return done
