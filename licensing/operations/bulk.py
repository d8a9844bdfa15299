"""Long lists of people, worked through as a job: a thousand rows a chunk, one statement each (docs/bulk.md, product §7.3).

The list waits beside the job in pieces; a piece is deleted in the transaction in which its people got their licenses
and the job its results. So a worker that dies leaves each row done once, and nobody's rows stay.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import batched
from uuid import UUID

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from config.kit.actors import Actor
from config.kit.errors import Malformed, Text
from config.kit.tenancy import tenant_atomic
from directory.models import Job, User
from directory.operations import jobs
from directory.permissions import Capability
from licensing.entitlements import GIVES_ACCESS
from licensing.lists import ROW_LIMIT, PeopleList, Row
from licensing.models import BulkPiece
from licensing.operations.assignments import (
    BATCH_LIMIT,
    AssignmentResult,
    Busy,
    NotAssignable,
    Outcome,
    assign_licenses,
    unassign_licenses,
)
from licensing.queries.holders import resolve, subscription_for

ASSIGN, UNASSIGN = "assign_many", "unassign_many"
# What leaves nothing to be done about the row.
CONTENT = {
    Outcome.ASSIGNED,
    Outcome.UNASSIGNED,
    Outcome.HOLDS_LICENSE,
    Outcome.NOT_HELD,
    Outcome.REPEATED,
}
SENTENCES: dict[str, Text] = {
    "control": gettext_lazy("Holds characters that are no text"),
    "columns": gettext_lazy("Has more than 50 columns"),
    "long": gettext_lazy("Longer than an address or name can be"),
    "repeated": gettext_lazy("Named twice"),
    "quote": gettext_lazy("A quotation mark is not closed; what follows was not read"),
    "nobody": gettext_lazy("Names nobody"),
    "ambiguous": gettext_lazy("Several people have this name. Use the e-mail address"),
}


class LockTookTooLong(RuntimeError):
    """The chunk is tried again in half a minute."""


def sentence_of(code: str) -> str:
    """What became of a row, or what is wrong with it, in words."""
    return str(SENTENCES[code] if code in SENTENCES else Outcome(code).label)


def start_bulk(
    *,
    actor: Actor,
    subscription_key: UUID,
    gives: bool,
    lists: Sequence[PeopleList],
    at: datetime,
    user_ids: Sequence[int] = (),
    confirmed: bool = False,
    back: str = "",
) -> Job:
    """Queue a list of up to 100,000 people who are to get a license of a subscription, or to lose it.

    `user_ids` come first, then the lists in their order. The rows that name nobody are reported like the others.

    :raises NotVisible, NotAllowed: as `assign_licenses`.
    :raises NotAssignable: licenses are to be given of what is neither Active nor Expired.
    :raises Malformed: more than 100,000 people.
    :raises TooManyJobs: twenty of the organization wait already.
    """
    with tenant_atomic(actor):
        subscription = subscription_for(
            actor, subscription_key, to_see=Capability.SEE_LICENSES, to_assign=True
        )
        if gives and subscription.state not in GIVES_ACCESS:
            raise NotAssignable
        rows = [*_ticked(actor.tenant_id, user_ids), *_listed(lists)]
        if len(rows) > ROW_LIMIT:
            raise Malformed(_("The list has more than 100,000 people. Split it."), field="people")
        titles = (
            ngettext(
                "Assign %(product)s to %(count)s person", "Assign %(product)s to %(count)s people", len(rows)
            )
            if gives
            else ngettext(
                "Take %(product)s back from %(count)s person",
                "Take %(product)s back from %(count)s people",
                len(rows),
            )
        )
        job = jobs.start_job(
            actor=actor,
            kind=ASSIGN if gives else UNASSIGN,
            title=titles % {"product": subscription.product.name, "count": f"{len(rows):,}"},
            parameters={"subscription": str(subscription.key), "confirmed": confirmed},
            at=at,
            total=len(rows),
            back=back,
            scopes=["org" if subscription.is_organizations else "own"],
        )
        BulkPiece.objects.bulk_create(
            BulkPiece(tenant_id=actor.tenant_id, job=job, number=number, rows=list(piece))
            for number, piece in enumerate(batched(rows, BATCH_LIMIT))
        )
    return job


type Written = list[int | str | None]


def _ticked(tenant_id: int, user_ids: Sequence[int]) -> list[Written]:
    names = dict(User.objects.filter(tenant_id=tenant_id, pk__in=user_ids).values_list("pk", "name"))
    return [[0, names.get(user_id, ""), user_id, ""] for user_id in user_ids]


def _listed(lists: Iterable[PeopleList]) -> list[Written]:
    rows: list[Written] = []
    for each in lists:
        read: list[Written] = [[row.line, row.who, None, ""] for row in each.rows]
        read += [[bad.line, bad.text, None, bad.problem] for bad in each.bad]
        rows += sorted(read, key=lambda row: int(row[0] or 0))
    return rows


def run_assigning(*, actor: Actor, job: Job, at: datetime) -> jobs.Step:
    """Give the next thousand their licenses, in one statement."""
    return _run(actor, job, at, gives=True)


def run_taking_back(*, actor: Actor, job: Job, at: datetime) -> jobs.Step:
    """Take the licenses of the next thousand back, in one statement."""
    return _run(actor, job, at, gives=False)


def _run(actor: Actor, job: Job, at: datetime, *, gives: bool) -> jobs.Step:
    number = job.cursor or 0
    piece = BulkPiece.objects.get(job=job, number=number)
    first = number * BATCH_LIMIT + 1
    became: dict[int, str] = {}
    people: dict[int, int] = {}
    listed: list[Row] = []
    for place, (_line, who, user_id, problem) in enumerate(piece.rows, start=first):
        if problem:
            became[place] = problem
        elif user_id is not None:
            people[user_id] = place
        else:
            listed.append(Row(place, who))
    named = resolve(actor.tenant_id, listed)
    for user_id, row in named.people.items():
        if people.setdefault(user_id, row.line) != row.line:
            became[row.line] = Outcome.REPEATED
    for code, left in (
        ("unknown", named.unknown),
        ("ambiguous", named.ambiguous),
        ("repeated", named.repeated),
    ):
        became |= dict.fromkeys((row.line for row in left), code)
    if people:
        result = _change(actor, job, list(people), at, gives=gives)
        became |= {people[user_id]: outcome for user_id, outcome in result.outcomes}
    sentences = {code: sentence_of(code) for code in set(became.values())}
    rows = [
        _result(place, line, who, became[place], sentences[became[place]])
        for place, (line, who, *_rest) in enumerate(piece.rows, start=first)
    ]
    piece.delete()
    is_last = first + len(piece.rows) > (job.total or 0)
    return jobs.Step(cursor=None if is_last else number + 1, rows=rows)


def _change(
    actor: Actor, job: Job, user_ids: Sequence[int], at: datetime, *, gives: bool
) -> AssignmentResult:
    key = job.parameters["subscription"]
    try:
        if gives:
            return assign_licenses(
                actor=actor,
                subscription_key=key,
                user_ids=user_ids,
                at=at,
                confirmed=job.parameters["confirmed"],
            )
        return unassign_licenses(actor=actor, subscription_key=key, user_ids=user_ids, at=at)
    except Busy as error:
        raise LockTookTooLong from error


def _result(place: int, line: int, who: str, code: str, said: str) -> jobs.Row:
    """The line of the file where somebody has to look."""
    is_failed = code not in CONTENT
    if is_failed and line:
        said = _("Line %(line)d: %(sentence)s") % {"line": line, "sentence": said}
    return jobs.Row(place, who, str(code), said, is_failed=is_failed)


ASSIGN_MANY = jobs.Kind(ASSIGN, gettext_lazy("Assigning licenses"), Capability.ASSIGN, run_assigning)
UNASSIGN_MANY = jobs.Kind(UNASSIGN, gettext_lazy("Taking licenses back"), Capability.ASSIGN, run_taking_back)
