"""The job of a run: central licenses first, a few hundred people a chunk, then each purchase is taken over or asked about.

It goes by the rows alone: whatever was committed is done, whatever is not is done next, so that a worker may die anywhere.
A purchase is only taken over once everybody who works with it holds a central license, judged under its lock, which
every new license of it waits for.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Min
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from commerce.models import Subscription
from commerce.operations.cancel_requests import AlreadyAsked, ask_to_cancel
from commerce.operations.retiring import retire
from commerce.operations.subscriptions import lock_subscription_row, remember
from commerce.queries.takeovers import TakeOverSeen
from config.kit.actors import Actor
from config.kit.errors import Conflict, DomainError
from config.kit.tenancy import atomic, connection
from directory.models import Job
from directory.operations.audit import record
from directory.operations.jobs import Kind, Row, Step
from directory.permissions import Capability
from licensing.models import Centralization, CentralizedPerson, CentralizedPurchase
from licensing.operations.assignments import Busy, NotAssignable, Outcome, give_central_licenses
from licensing.operations.centralizing.notices import queue_run
from licensing.operations.centralizing.starting import KIND
from licensing.queries.centralizing import HAS_CENTRAL, OUTCOME

PEOPLE_A_CHUNK = 500
State = CentralizedPurchase.State
Result = CentralizedPerson.Outcome


class ChangedMeanwhile(Conflict):
    """The purchase is no longer as the dry run showed it."""

    code = "purchase_changed"
    message = gettext_lazy(
        "It was changed since the dry run, and was left as it is. Look at it, and try again."
    )


def move(*, actor: Actor, job: Job, at: datetime) -> Step:
    """One chunk: some people of the first purchase that waits, or that purchase itself once nobody is left."""
    run = lock_by_id(job.parameters["centralization"])
    number: int = job.cursor or 0
    if run.state != Centralization.State.RUNNING:
        return Step(cursor=None)
    waiting = CentralizedPurchase.objects.filter(
        tenant_id=run.tenant_id, centralization=run, state=State.WAITING
    )
    purchase: CentralizedPurchase | None = waiting.select_related("subscription").order_by("id").first()
    if purchase is None:
        _moved(actor, run, at)
        return Step(cursor=None, total=number)
    subscription = lock_subscription_row(purchase.subscription_id)
    try:
        people = give_to_some(actor, run, purchase, subscription, since=run.tried_at, at=at)
    except Busy:
        # Others hold the central subscription; the next chunk asks again.
        return Step(cursor=number, total=job.total)
    rows = [_row_of(number + place, *each) for place, each in enumerate(people, start=1)]
    if not people:
        rows = [_close(actor, run, purchase, subscription, number + 1, at)]
    number += len(rows)
    total = max(job.total or 0, number + 1)
    return Step(cursor=number, rows=rows, total=total)


MOVE = Kind(KIND, gettext_lazy("Centralizing"), Capability.TAKE_OVER, move)


def lock_by_id(run_id: int) -> Centralization:
    run: Centralization = (
        Centralization.objects.select_for_update(of=("self",))
        .select_related("target__product", "target__tenant", "target__vendor_entity")
        .get(pk=run_id)
    )
    return run


# Holders whom the run has not looked at, and those without a central license whom it has not looked at lately.
_NEXT = f"""
SELECT a.user_id, u.name, u.email, {OUTCOME}
  FROM licensing_assignment a
  JOIN directory_user u ON u.id = a.user_id
  JOIN commerce_product p ON p.id = a.product_id
  LEFT JOIN licensing_centralizedperson seen ON seen.purchase_id = %(purchase)s AND seen.user_id = a.user_id
 WHERE a.tenant_id = %(tenant)s AND a.subscription_id = %(subscription)s AND a.ended_at IS NULL
   AND CASE WHEN seen.id IS NULL THEN true
            WHEN seen.outcome IN ('moved', 'held') THEN NOT {HAS_CENTRAL}
            ELSE seen.at < %(since)s END
 ORDER BY a.id LIMIT %(limit)s
"""  # noqa: S608

_WRITE = """
INSERT INTO licensing_centralizedperson (tenant_id, purchase_id, user_id, outcome, given_id, at)
SELECT %(tenant)s, %(purchase)s, x.user_id, x.outcome, CASE WHEN x.outcome = 'moved' THEN l.id END, %(at)s
  FROM unnest(%(users)s::bigint[], %(outcomes)s::text[]) AS x(user_id, outcome)
  LEFT JOIN licensing_assignment l
         ON l.user_id = x.user_id AND l.subscription_id = %(target)s AND l.ended_at IS NULL
ON CONFLICT (purchase_id, user_id) DO UPDATE
   SET outcome = excluded.outcome, given_id = excluded.given_id, at = excluded.at
"""

# Of whom to give a central license to, as that was judged under the target's lock.
RESULTS: dict[Outcome, Result] = {
    Outcome.ASSIGNED: Result.MOVED,
    Outcome.HOLDS_LICENSE: Result.HELD,
    Outcome.GUEST: Result.GUEST,
    Outcome.SERVICE_OFF: Result.SERVICE_OFF,
    Outcome.DISABLED: Result.DISABLED,
    Outcome.UNKNOWN: Result.DISABLED,
    Outcome.NO_SEAT: Result.NO_SEAT,
    Outcome.REDUCTION_SCHEDULED: Result.NO_SEAT,
}


def give_to_some(
    actor: Actor,
    run: Centralization,
    purchase: CentralizedPurchase,
    subscription: Subscription,
    *,
    since: datetime,
    at: datetime,
) -> list[tuple[str, str, str]]:
    """Give central licenses to the next holders of a purchase, which is locked; name, address and outcome of each.

    Empty once every holder has one, or was looked at since `since`, which is not after `at`. One statement gives, one
    writes what became of whom.
    """
    chosen = _next(run, purchase, subscription, since)
    if not chosen:
        return []
    outcomes: dict[int, str] = {user_id: outcome for user_id, _name, _email, outcome in chosen}
    others = [user_id for user_id, outcome in outcomes.items() if outcome == Result.MOVED]
    if others:
        try:
            with atomic():
                result = give_central_licenses(
                    actor=actor, subscription_key=run.target.key, user_ids=others, at=at
                )
            outcomes |= {user_id: RESULTS[outcome] for user_id, outcome in result.outcomes}
        except NotAssignable:
            # The central subscription has ended meanwhile: it gives nobody anything.
            outcomes |= dict.fromkeys(others, Result.NO_SEAT)
    with connection().cursor() as cursor:
        cursor.execute(
            _WRITE,
            {
                "tenant": run.tenant_id,
                "purchase": purchase.pk,
                "target": run.target_id,
                "users": list(outcomes),
                "outcomes": [str(outcome) for outcome in outcomes.values()],
                "at": at,
            },
        )
    return [(name, email, str(outcomes[user_id])) for user_id, name, email, _outcome in chosen]


def _next(
    run: Centralization, purchase: CentralizedPurchase, subscription: Subscription, since: datetime
) -> list[tuple[int, str, str, str]]:
    with connection().cursor() as cursor:
        cursor.execute(
            _NEXT,
            {
                "tenant": run.tenant_id,
                "purchase": purchase.pk,
                "subscription": subscription.pk,
                "since": since,
                "limit": PEOPLE_A_CHUNK,
            },
        )
        return list(cursor.fetchall())


def _row_of(number: int, name: str, email: str, outcome: str) -> Row:
    return Row(
        number,
        f"{name} <{email}>",
        outcome,
        str(Result(outcome).label),
        outcome in CentralizedPerson.STRANDED,
    )


def _close(
    actor: Actor,
    run: Centralization,
    purchase: CentralizedPurchase,
    subscription: Subscription,
    number: int,
    at: datetime,
) -> Row:
    """Take the purchase over or ask about it, now that all its users hold central licenses; or say why not."""
    try:
        with atomic():
            state, before, told = _end(actor, run, purchase, subscription, at)
    except DomainError as error:
        purchase.state, purchase.problem = State.BLOCKED, str(error)[:300]
        purchase.save(update_fields=["state", "problem"])
        return Row(number, subject_of(subscription), error.code, str(error), is_failed=True)
    purchase.state, purchase.before, purchase.problem = state, before, ""
    purchase.save(update_fields=["state", "before", "problem"])
    remember(subscription, "centralized", actor=actor, at=at, run=str(run.key))
    return Row(number, subject_of(subscription), str(state), told)


class SomebodyStranded(Conflict):
    """People who work with the purchase have no central license, and would lose access."""

    code = "somebody_stranded"

    def __init__(self, count: int) -> None:
        text = ngettext(
            "%(count)d person has no central license, so it was not ended. Nobody lost access.",
            "%(count)d people have no central license, so it was not ended. Nobody lost access.",
            count,
        )
        super().__init__(text % {"count": count}, count=count)


def stranded(purchase: CentralizedPurchase) -> int:
    """How many would lose access if the purchase ended now. One query."""
    with connection().cursor() as cursor:
        cursor.execute(_STRANDED, {"purchase": purchase.pk})
        return int(cursor.fetchone()[0])


_STRANDED = f"""
SELECT count(*)
  FROM licensing_centralizedpurchase c
  JOIN licensing_assignment a ON a.tenant_id = c.tenant_id AND a.subscription_id = c.subscription_id
  JOIN commerce_subscription s ON s.id = c.subscription_id
  JOIN commerce_product p ON p.id = a.product_id
  JOIN directory_user u ON u.id = a.user_id
 WHERE c.id = %(purchase)s AND a.ended_at IS NULL AND s.state IN ('active', 'expired')
   AND {OUTCOME} IN ('moved', 'guest')
"""  # noqa: S608


def _end(
    actor: Actor, run: Centralization, purchase: CentralizedPurchase, subscription: Subscription, at: datetime
) -> tuple[str, dict[str, Any], str]:
    missing = stranded(purchase)
    if missing:
        raise SomebodyStranded(missing)
    name = subscription.purchaser_name
    ends_by_itself = subscription.state != Subscription.State.ACTIVE or not subscription.recurring_billing
    if run.ending == Centralization.Ending.ASK:
        if ends_by_itself:
            return State.LEFT, {}, _("Ends by itself")
        try:
            ask_to_cancel(actor=actor, key=subscription.key, message=_reason(run), at=at)
        except AlreadyAsked:
            return State.ASKED, {}, _("%(name)s was asked to cancel before") % {"name": name}
        return State.ASKED, {}, _("%(name)s is asked to cancel") % {"name": name}
    if subscription.state == Subscription.State.DISABLED:
        return State.LEFT, {}, _("Gives no access any more")
    if subscription.version != purchase.version:
        if ends_by_itself and not subscription.is_organizations:
            return State.LEFT, {}, _("Was canceled meanwhile")
        raise ChangedMeanwhile
    seen = None if subscription.is_organizations else _seen_of(purchase.seen)
    before = retire(actor=actor, key=subscription.key, version=purchase.version, seen=seen, at=at)
    return State.TAKEN_OVER, before, _("Taken over, its renewal is stopped")


def _seen_of(facts: dict[str, Any]) -> TakeOverSeen:
    moved = tuple((number, total) for number, total in facts["moved"])
    return TakeOverSeen(facts["payment_days"], facts["card_id"], moved)


def _reason(run: Centralization) -> str:
    return _("Everybody who uses it has a central license of %(product)s now.") % {
        "product": run.target.product.name
    }


def subject_of(subscription: Subscription) -> str:
    return f"{subscription.product.name}, {subscription.purchaser_name}".rstrip(", ")


def _moved(actor: Actor, run: Centralization, at: datetime) -> None:
    """All purchases were tried: the money waits from now on, and until then everything can be undone."""
    rows = CentralizedPurchase.objects.filter(tenant_id=run.tenant_id, centralization=run)
    run.state = Centralization.State.WAITING
    run.moved_at = at
    run.money_at = at + settings.CENTRALIZE_MONEY_AFTER
    active = rows.filter(state=State.TAKEN_OVER, subscription__state=Subscription.State.ACTIVE)
    first = active.aggregate(first=Min("subscription__due_at"))["first"]
    run.undo_until = min(run.money_at, first) if first is not None else run.money_at
    if rows.filter(state=State.ENDED).exists():
        # Money has moved before something was tried again.
        run.undo_until = at
    run.save(update_fields=["state", "moved_at", "money_at", "undo_until"])
    counts = counts_of(rows.values_list("state", flat=True))
    record(
        actor,
        "licensing.centralization.moved",
        at=at,
        target_type="centralization",
        target_id=run.key,
        target_label=run.target.product.name,
        after={"purchases": counts, "money_at": run.money_at.isoformat()},
    )
    queue_run(run, stage="moved", at=at)


def counts_of(states: Iterable[str]) -> dict[str, int]:
    """How many purchases are in which state."""
    counts: dict[str, int] = {}
    for state in states:
        counts[str(state)] = counts.get(str(state), 0) + 1
    return counts
