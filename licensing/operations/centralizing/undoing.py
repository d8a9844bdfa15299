"""Undoing a run before its money moves: owners, payers and renewals as before, then the central licenses it gave (product §10).

Nobody loses access: a central license is taken back only from who still holds the one it replaced, judged under that
purchase's lock.
"""

import uuid
from datetime import datetime

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from commerce.models import CancelRequest, Subscription
from commerce.operations.cancel_answers import close_cancel_request
from commerce.operations.retiring import give_back_retired, is_as_retired
from commerce.operations.subscriptions import lock_subscription_row, remember
from config.kit.actors import Actor
from config.kit.errors import Conflict, DomainError
from config.kit.tenancy import atomic, connection, tenant_atomic
from directory.models import Job
from directory.operations.audit import record
from directory.operations.jobs import Kind, Row, Step, start_job
from directory.permissions import Capability
from licensing.models import Centralization, CentralizedPerson, CentralizedPurchase
from licensing.operations.assignments import Busy, take_back_central_licenses
from licensing.operations.centralizing.moving import counts_of, lock_by_id, subject_of
from licensing.operations.centralizing.notices import queue_run
from licensing.operations.centralizing.starting import is_job_live, lock_run
from licensing.queries.centralizing import is_undoable

KIND = "undo_centralizing"
PEOPLE_A_CHUNK = 500
State = CentralizedPurchase.State
Result = CentralizedPerson.Outcome


class NotUndoable(Conflict):
    """Money has moved or something has run out, or the run is not there yet."""

    code = "not_undoable"
    message = gettext_lazy("This can no longer be undone. Nothing was changed.")


def undo_centralizing(*, actor: Actor, key: uuid.UUID, at: datetime) -> Centralization:
    """Begin the job that makes everything as it was before the run, as far as nobody has changed it since.

    Also of a run whose job was ended before it came to its end, and again where undoing stopped.

    :raises NotVisible, NotAllowed: not there, or a reader's. :raises NotUndoable: too late, or a job works on it.
    """
    with tenant_atomic(actor):
        run = lock_run(actor, key)
        is_job_over = not is_job_live(run)
        goes_on = run.state == Centralization.State.UNDOING and is_job_over
        if not goes_on and not is_undoable(run, at, is_job_over=is_job_over):
            raise NotUndoable
        job = start_job(
            actor=actor,
            kind=KIND,
            title=_("Undoing: %(product)s") % {"product": run.target.product.name},
            parameters={"centralization": run.pk},
            at=at,
            back=reverse("portal:centralization", args=[run.key]),
        )
        run.state, run.job_key = Centralization.State.UNDOING, job.key
        run.save(update_fields=["state", "job_key"])
        record(
            actor,
            "licensing.centralization.undo_started",
            at=at,
            target_type="centralization",
            target_id=run.key,
            target_label=run.target.product.name,
        )
        return run


def undo(*, actor: Actor, job: Job, at: datetime) -> Step:
    """One chunk: the next purchase made as it was, or some of its people's central licenses taken back."""
    run = lock_by_id(job.parameters["centralization"])
    number: int = job.cursor or 0
    if run.state != Centralization.State.UNDOING:
        return Step(cursor=None)
    rows = CentralizedPurchase.objects.filter(tenant_id=run.tenant_id, centralization=run)
    left = rows.exclude(state__in=[State.UNDONE, State.ENDED]).order_by("id")
    purchase: CentralizedPurchase | None = left.first()
    if purchase is not None:
        row = _restore(actor, run, purchase, number + 1, at)
        return Step(cursor=number + 1, rows=[row])
    try:
        people = _take_some_back(actor, run, at)
    except Busy:
        return Step(cursor=number)
    if not people:
        _undone(actor, run, at)
        return Step(cursor=None)
    found = [
        Row(number + place, f"{name} <{email}>", outcome, str(Result(outcome).label))
        for place, (name, email, outcome) in enumerate(people, start=1)
    ]
    return Step(cursor=number + len(found), rows=found)


UNDO = Kind(KIND, gettext_lazy("Undoing a centralization"), Capability.TAKE_OVER, undo)


def _restore(
    actor: Actor, run: Centralization, purchase: CentralizedPurchase, number: int, at: datetime
) -> Row:
    """Owner, payer and renewal as before; what was changed since then stays as it is now."""
    subscription = lock_subscription_row(purchase.subscription_id)
    was = purchase.state
    try:
        with atomic():
            told = _as_before(actor, purchase, subscription, at)
    except DomainError as error:
        told = str(error)
    purchase.state, purchase.problem = State.UNDONE, ""
    purchase.save(update_fields=["state", "problem"])
    remember(subscription, "centralization_undone", actor=actor, at=at, run=str(run.key), was=str(was))
    return Row(number, subject_of(subscription), "undone", told)


def _as_before(actor: Actor, purchase: CentralizedPurchase, subscription: Subscription, at: datetime) -> str:
    if purchase.state == State.TAKEN_OVER:
        if not is_as_retired(subscription, purchase.before):
            return _("Changed since then, and left as it is")
        give_back_retired(actor=actor, subscription=subscription, before=purchase.before, at=at)
        return _("Owner, card and renewal are as before")
    if purchase.state == State.ASKED:
        closed = close_cancel_request(subscription, CancelRequest.State.WITHDRAWN, actor=actor, at=at)
        return _("The request to cancel is withdrawn") if closed else _("Answered already, and left as it is")
    return _("Nothing was changed of it")


# Central licenses that the run gave and that are still there, with whether the one that each replaced gives access.
_GIVEN = """
SELECT p.id, p.user_id, u.name, u.email, p.given_id,
       g.ended_at IS NULL AND EXISTS (
           SELECT FROM licensing_assignment a JOIN commerce_subscription s ON s.id = a.subscription_id
            WHERE a.user_id = p.user_id AND a.subscription_id = c.subscription_id AND a.ended_at IS NULL
              AND s.state IN ('active', 'expired')) AS can_go
  FROM licensing_centralizedperson p
  JOIN licensing_centralizedpurchase c ON c.id = p.purchase_id
  JOIN licensing_assignment g ON g.id = p.given_id
  JOIN directory_user u ON u.id = p.user_id
 WHERE c.centralization_id = %(run)s AND c.state <> 'ended' AND p.outcome = 'moved'
 ORDER BY p.id LIMIT %(limit)s
"""


def _take_some_back(actor: Actor, run: Centralization, at: datetime) -> list[tuple[str, str, str]]:
    """Name, address and outcome of the next people; empty once all were looked at."""
    subscriptions = CentralizedPurchase.objects.filter(centralization=run).values_list("subscription_id")
    # Under these locks nobody ends a purchase, or takes one of its licenses back, between the look and the change.
    locked = Subscription.objects.filter(pk__in=subscriptions).select_for_update(no_key=True)
    list(locked.order_by("pk").only("pk"))
    with connection().cursor() as cursor:
        cursor.execute(_GIVEN, {"run": run.pk, "limit": PEOPLE_A_CHUNK})
        rows = cursor.fetchall()
    going = [user_id for _id, user_id, _name, _email, _given, can_go in rows if can_go]
    if going:
        with atomic():
            take_back_central_licenses(actor=actor, subscription_key=run.target.key, user_ids=going, at=at)
    for outcome, ids in (
        (Result.UNDONE, [row[0] for row in rows if row[5]]),
        (Result.KEPT, [row[0] for row in rows if not row[5]]),
    ):
        CentralizedPerson.objects.filter(tenant_id=run.tenant_id, pk__in=ids).update(outcome=outcome, at=at)
    return [(row[2], row[3], str(Result.UNDONE if row[5] else Result.KEPT)) for row in rows]


def _undone(actor: Actor, run: Centralization, at: datetime) -> None:
    run.state, run.closed_at = Centralization.State.UNDONE, at
    run.save(update_fields=["state", "closed_at"])
    rows = CentralizedPurchase.objects.filter(tenant_id=run.tenant_id, centralization=run)
    record(
        actor,
        "licensing.centralization.undone",
        at=at,
        target_type="centralization",
        target_id=run.key,
        target_label=run.target.product.name,
        after={"purchases": counts_of(rows.values_list("state", flat=True))},
    )
    queue_run(run, stage="undone", at=at)
