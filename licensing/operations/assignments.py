"""Giving and taking licenses: the only module that writes `Assignment` rows (I-01 to I-05).

Rows and counter move together, judged under the subscription's row lock; free seats are read from the counter,
never counted. While fewer seats are scheduled for the renewal, no more than those can be assigned.
`licensing_assign` and `licensing_unassign` (migration 0003) hold all of that, for one person as for a thousand.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import OperationalError
from django.utils.translation import gettext_lazy as _

from commerce.hooks import Activation, Deletion
from config.kit.actors import Actor
from config.kit.errors import DomainError, Malformed, NotAllowed, NotVisible, Text
from config.kit.tenancy import atomic, connection, tenant_atomic
from directory.permissions import Capability
from licensing.models import Assignment, GroupLicense
from licensing.operations.waiting_notices import queue_served

BATCH_LIMIT = 1_000
SYSTEM = "Seatkeeper"
# What the installation does by a rule that somebody set is limited by the subscription alone.
EVERYWHERE = frozenset({"all"})
WAITED_IN_VAIN = ("55P03", "40P01", "57014")  # lock timeout, deadlock, statement timeout


class Outcome(StrEnum):
    """What became of one person's row; the value is stable."""

    ASSIGNED = "assigned"
    HOLDS_LICENSE = "holds_license"
    HOLDS_PRODUCT = "holds_product"
    GUEST = "guest"
    DISABLED = "disabled"
    UNKNOWN = "unknown"
    NO_SEAT = "no_seat"
    REDUCTION_SCHEDULED = "reduction_scheduled"
    REPEATED = "repeated"
    UNASSIGNED = "unassigned"
    NOT_HELD = "not_held"

    @property
    def label(self) -> Text:
        return _LABELS[self]

    @property
    def is_done(self) -> bool:
        return self in (Outcome.ASSIGNED, Outcome.UNASSIGNED)


_LABELS: dict[Outcome, Text] = {
    Outcome.ASSIGNED: _("Has a license now"),
    Outcome.HOLDS_LICENSE: _("Already has a license from here"),
    Outcome.HOLDS_PRODUCT: _("Already has this product through another purchase"),
    Outcome.GUEST: _("Guest, this product is for members only"),
    Outcome.DISABLED: _("Account is disabled"),
    Outcome.UNKNOWN: _("Nobody here with that name or address"),
    Outcome.NO_SEAT: _("No license left"),
    Outcome.REDUCTION_SCHEDULED: _("No license left: fewer are scheduled for the renewal"),
    Outcome.REPEATED: _("Named twice"),
    Outcome.UNASSIGNED: _("No longer has a license"),
    Outcome.NOT_HELD: _("Has no license from here"),
}


@dataclass(frozen=True, slots=True)
class AssignmentResult:
    """Per person, in the order asked, what happened; `free` more seats can be assigned of the subscription.

    `served`: the places in the waiting list to which freed seats went.
    """

    outcomes: tuple[tuple[int, Outcome], ...]
    free: int
    served: tuple[int, ...] = ()

    @property
    def done(self) -> int:
        """How many rows changed."""
        return sum(outcome.is_done for _user, outcome in self.outcomes)

    def with_outcome(self, *wanted: Outcome) -> tuple[int, ...]:
        return tuple(user_id for user_id, outcome in self.outcomes if outcome in wanted)


class NotAssignable(DomainError):
    """The subscription is neither Active nor Expired (product §5.1)."""

    code = "not_assignable"
    message = _("Licenses can be assigned only while the product is active or expired.")


class NoSeatLeft(DomainError):
    code = "no_seat_left"
    message = _("No license is left. Nothing was assigned. Take one back first, or buy more.")


class ReductionScheduled(NoSeatLeft):
    """Seats are free, but fewer are scheduled for the renewal: no more than those can be assigned (I-05)."""

    code = "reduction_scheduled"
    message = _(
        "Fewer licenses are scheduled for the renewal, and all of those are assigned. Nothing was assigned."
        " Take one back first, or take back the scheduled change."
    )


class AlreadyAssigned(DomainError):
    code = "already_assigned"
    message = _("This person already has a license from here.")


class HoldsProduct(DomainError):
    """Assigning the product a second time needs a second click (product §7.1)."""

    code = "holds_product"
    message = _("This person already has this product through another purchase. Assign a second license?")


class GuestsExcluded(DomainError):
    code = "guests_excluded"
    message = _("This person is a guest, and this product is for members only.")


class PersonNotActive(DomainError):
    code = "person_not_active"
    message = _("This person's account is disabled.")


class PersonUnknown(DomainError):
    """No such person in this organization."""

    code = "person_unknown"
    status = 404
    message = _("Nobody here with that name or address.")


class NotHeld(DomainError):
    code = "not_held"
    message = _("This person has no license from here.")


class TooMany(Malformed):
    code = "too_many"

    def __init__(self) -> None:
        super().__init__(
            _("A list may have up to %(limit)s people.") % {"limit": f"{BATCH_LIMIT:,}"}, field="people"
        )


class Busy(DomainError):
    """Too many others hold or wait for the same subscription's lock."""

    code = "busy"
    status = 503
    message = _("Many people assign licenses of this right now. Nothing was assigned. Try again in a minute.")


_REFUSALS: dict[Outcome, type[DomainError]] = {
    Outcome.HOLDS_LICENSE: AlreadyAssigned,
    Outcome.HOLDS_PRODUCT: HoldsProduct,
    Outcome.GUEST: GuestsExcluded,
    Outcome.DISABLED: PersonNotActive,
    Outcome.UNKNOWN: PersonUnknown,
    Outcome.NO_SEAT: NoSeatLeft,
    Outcome.REDUCTION_SCHEDULED: ReductionScheduled,
    Outcome.NOT_HELD: NotHeld,
}
_VERDICTS: dict[str, type[DomainError]] = {
    "not_visible": NotVisible,
    "not_allowed": NotAllowed,
    "not_assignable": NotAssignable,
}


def assign_licenses(
    *,
    actor: Actor,
    subscription_key: UUID,
    user_ids: Sequence[int],
    at: datetime,
    confirmed: bool = False,
    tells: bool = True,
) -> AssignmentResult:
    """Give a license of one subscription to each of up to 1,000 people; who cannot have one leaves the rest.

    When fewer seats are free than asked, the first in the list get them. While a reduction is scheduled, only
    `next_quantity` seats can be assigned; who would get one above it is reported as `reduction_scheduled`, who
    finds none at all as `no_seat`. `confirmed`: also to those who hold the product through another subscription.
    Who got one is told so, but for the actor, and for whom the caller tells something of its own (`tells` False). One
    statement; holds the subscription's row lock to the end of the transaction.

    :raises NotVisible: no such subscription for the actor.
    :raises NotAllowed: visible, but not theirs to assign.
    :raises NotAssignable: neither Active nor Expired.
    :raises TooMany: more than 1,000 people.
    :raises Busy: the lock did not come in time.
    """
    may = actor.scopes(Capability.ASSIGN)
    return _change(
        _ASSIGN, actor, subscription_key, user_ids, confirmed, at, may, tells=_GIVEN if tells else ()
    )


def assign_license(
    *, actor: Actor, subscription_key: UUID, user_id: int, at: datetime, confirmed: bool = False
) -> None:
    """Give one license to one person, in one statement; a refusal changes nothing.

    :raises AlreadyAssigned, HoldsProduct, GuestsExcluded, PersonNotActive, PersonUnknown, NoSeatLeft: as named;
        and what `assign_licenses` raises.
    :raises ReductionScheduled: a kind of `NoSeatLeft`: `next_quantity` seats, which are fewer, are assigned.
    """
    _one(
        assign_licenses(
            actor=actor, subscription_key=subscription_key, user_ids=[user_id], at=at, confirmed=confirmed
        )
    )


def unassign_licenses(
    *, actor: Actor, subscription_key: UUID, user_ids: Sequence[int], at: datetime
) -> AssignmentResult:
    """Take licenses back from up to 1,000 people, in every state; who holds none is reported as `not_held`. They are
    told so, but for the actor.

    The seats go to the first in the waiting list, if anybody waits, in the same statement.

    :raises NotVisible, NotAllowed, TooMany: as `assign_licenses`.
    """
    may = actor.scopes(Capability.ASSIGN)
    return _take(actor, subscription_key, user_ids, False, at, may, tells=_TAKEN)


def give_central_licenses(
    *, actor: Actor, subscription_key: UUID, user_ids: Sequence[int], at: datetime
) -> AssignmentResult:
    """Give up to 1,000 people a license of the organization's, one for one in place of another that they hold.

    For a run that centralizes, in the name of whoever started it, billing admins included (product §2): the run has
    judged that right, and gives none to who had none. Who gets one is told. As `assign_licenses`, confirmed, otherwise.

    :raises NotVisible, NotAssignable, Busy: as `assign_licenses`.
    """
    org: frozenset[str] = frozenset({"org"})
    return _change(_ASSIGN, actor, subscription_key, user_ids, True, at, org, tells=_GIVEN)


def take_back_central_licenses(
    *, actor: Actor, subscription_key: UUID, user_ids: Sequence[int], at: datetime
) -> AssignmentResult:
    """Take back what `give_central_licenses` gave, when a run is undone; who holds none is reported as `not_held`.

    Nobody is told: each still holds the license of before.
    """
    return _change(_UNASSIGN, actor, subscription_key, user_ids, False, at, frozenset({"org"}))


def give_back_license(*, actor: Actor, subscription_key: UUID, at: datetime) -> None:
    """End the actor's own license, which needs no right but holding it (product §4).

    :raises NotVisible: the actor holds none of that subscription.
    """
    if actor.user_id is None or actor.is_partner:
        raise NotVisible
    result = _take(actor, subscription_key, [actor.user_id], True, at, frozenset())
    if not result.done:
        raise NotVisible


def give_first_license(activation: Activation) -> None:
    """The buyer holds the first license, unless unticked or holding one of that product (product §3.5).

    Registered on `commerce.hooks.subscription_activated`; runs in the transaction of the purchase. The buyer's
    right comes from the purchase itself: the actor was built before there was one.
    """
    buyer_id = activation.subscription.owner_user_id
    if not activation.first_license or buyer_id is None or buyer_id != activation.actor.user_id:
        return
    _change(
        _ASSIGN,
        activation.actor,
        activation.subscription.key,
        [buyer_id],
        False,
        activation.at,
        frozenset({"own"}),
    )


def give_by_group(
    *, actor: Actor, license: GroupLicense, user_ids: Sequence[int], at: datetime
) -> tuple[int, ...]:
    """Seats for up to 1,000 members of a group, marked as coming from it and told so; who got one. Inside `tenant_atomic`."""
    key = license.subscription.key
    result = _change(_ASSIGN, actor, key, user_ids, False, at, EVERYWHERE, tells=_GIVEN)
    given = result.with_outcome(Outcome.ASSIGNED)
    rows = Assignment.objects.live().filter(subscription_id=license.subscription_id, user_id__in=given)
    rows.update(group_license=license)
    return given


def end_by_group(*, actor: Actor, license: GroupLicense, user_ids: Sequence[int], at: datetime) -> None:
    """End the seats of up to 1,000 people that came from a group, under the subscription's lock."""
    _take(actor, license.subscription.key, user_ids, False, at, EVERYWHERE, _TAKEN)


def move_to_group(license: GroupLicense, to: GroupLicense, user_ids: Collection[int]) -> None:
    """Let seats that came from one group count as coming from another, which has the same subscription."""
    rows = Assignment.objects.live().filter(group_license=license, user_id__in=user_ids)
    rows.update(group_license=to)


def serve_waiting(*, subscription_id: int, at: datetime, correlation_id: str = "") -> tuple[int, ...]:
    """Give what is free of a subscription to the first in its line; their places. Inside `tenant_atomic`."""
    with connection().cursor() as cursor:
        cursor.execute(_SERVE, [subscription_id, at, correlation_id])
        served = tuple(cursor.fetchone()[0] or ())
    queue_served(served, at)
    return served


def end_assignments(deletion: Deletion) -> int:
    """End every live license of deleted subscriptions, whatever their tenants; returns how many.

    Registered on `commerce.hooks.subscriptions_deleted`; one statement, in the sweep's transaction and under
    its locks. One audit row and one history row for each subscription that had holders.
    """
    with connection().cursor() as cursor:
        cursor.execute(_END, {"ids": list(deletion.subscription_ids), "at": deletion.at, "by": SYSTEM})
        return int(cursor.fetchone()[0])


def free_licenses_of(*, actor: Actor, user_ids: Sequence[int], at: datetime) -> int:
    """End the licenses of people of the acting tenant who are deleted, or disabled for longer than they are kept.

    For whoever just left, in the actor's name; nobody else's. Returns how many.
    """
    return _free(actor.label, at, actor=actor, user_ids=user_ids)


def free_licenses_of_leavers(*, at: datetime) -> int:
    """End the licenses of everybody who is deleted, or disabled for longer than their organization keeps them.

    Of all tenants, under the worker's login; how many. It waits for who assigns or enables (F-22).
    Running it twice, or twice at once, changes nothing more.
    """
    return _free(SYSTEM, at)


def _free(by: str, at: datetime, *, actor: Actor | None = None, user_ids: Sequence[int] | None = None) -> int:
    """The seats go to who waits, under the same locks and in the same transaction: nobody sees them free."""
    with atomic(), connection().cursor() as cursor:
        cursor.execute(
            _FREE,
            {
                "at": at,
                "by": by,
                "only": None if user_ids is None else list(user_ids),
                "tenant": actor.tenant_id if actor else None,
                "actor": actor.user_id if actor else None,
                "home": actor.home_tenant_id if actor else None,
                "behalf": actor.relationship_label if actor else "",
                "door": actor.door if actor else "job",
                "correlation": actor.correlation_id if actor else "",
            },
        )
        freed, subscription_ids = cursor.fetchone()
        cursor.execute(_WITH_LINE, [subscription_ids])
        waited_for = [row[0] for row in cursor.fetchall()]
    for subscription_id in waited_for:
        serve_waiting(subscription_id=subscription_id, at=at)
    return int(freed)


def forget_giver(*, user_id: int, name: str) -> None:
    """Call somebody who was deleted by another name where it says who gave or took a license, of a person or a group,
    or put somebody into the line; four statements."""
    with connection().cursor() as cursor:
        for statement in _FORGET:
            cursor.execute(statement, {"id": user_id, "name": name})


# The kind of notice, and the outcome of those who get it.
_GIVEN = ("license_given", Outcome.ASSIGNED.value)
_TAKEN = ("license_taken", Outcome.UNASSIGNED.value)
# Around one of the two statements below; its own places come first.
_TELLING = """
SELECT verdict, outcomes, free, served,
       licensing_tell(%s, %s, %s, %s, %s::bigint[], outcomes, %s, %s, %s, %s, %s)
  FROM ({change}) changed
"""
_ASSIGN = """
SELECT verdict, outcomes, free, NULL::bigint[] AS served FROM licensing_assign(
    %s, %s, %s::bigint[], %s, %s, %s::text[], %s::text[], %s, %s, %s, %s, %s, %s)
"""
_UNASSIGN = """
SELECT verdict, outcomes, free, served FROM licensing_unassign(
    %s, %s, %s::bigint[], %s, %s, %s::text[], %s::text[], %s, %s, %s, %s, %s, %s)
"""
# The people first, so that none is enabled meanwhile; then their subscriptions in order, as every sweep locks them.
_FREE = """
WITH gone AS MATERIALIZED (
    SELECT u.id, u.name, u.status FROM directory_user u JOIN directory_tenant t ON t.id = u.tenant_id
     WHERE u.status <> 'active'
       AND (u.status = 'deleted' OR u.disabled_at + make_interval(days => t.seats_kept_days) <= %(at)s)
       AND (%(only)s::bigint[] IS NULL OR u.id = ANY (%(only)s::bigint[]) AND u.tenant_id = %(tenant)s)
       AND EXISTS (SELECT FROM licensing_assignment l WHERE l.user_id = u.id AND l.ended_at IS NULL)
       FOR KEY SHARE OF u
), held AS MATERIALIZED (
    SELECT s.id FROM commerce_subscription s
     WHERE s.id IN (SELECT l.subscription_id FROM licensing_assignment l JOIN gone ON gone.id = l.user_id
                     WHERE l.ended_at IS NULL)
     ORDER BY s.id FOR NO KEY UPDATE
), rows_ended AS (
    UPDATE licensing_assignment l SET ended_at = %(at)s, ended_by_id = %(actor)s, ended_by = %(by)s
      FROM gone, held WHERE l.user_id = gone.id AND l.subscription_id = held.id AND l.ended_at IS NULL
    RETURNING l.id, l.tenant_id, l.subscription_id, l.user_id, gone.name, gone.status
), total AS (
    SELECT tenant_id, subscription_id, count(*)::int AS ended, (array_agg(user_id ORDER BY id))[1:5] AS user_ids
      FROM rows_ended GROUP BY 1, 2
), counter AS (
    UPDATE commerce_subscription s SET assigned = s.assigned - total.ended
      FROM total WHERE s.id = total.subscription_id
    RETURNING s.id, s.key, s.product_sort
), audited AS (
    INSERT INTO directory_auditentry
           (tenant_id, at, code, actor_user_id, actor_tenant_id, actor_label, on_behalf_of, door, correlation_id,
            target_type, target_id, target_label, before)
    SELECT r.tenant_id, %(at)s, 'licensing.license.freed', %(actor)s, coalesce(%(home)s, r.tenant_id), %(by)s,
           %(behalf)s, %(door)s, %(correlation)s, 'subscription', counter.key::text, counter.product_sort,
           jsonb_build_object('user_id', r.user_id, 'user', r.name, 'assignment_id', r.id, 'because', r.status)
      FROM rows_ended r JOIN counter ON counter.id = r.subscription_id
    RETURNING 1
), told AS (
    INSERT INTO commerce_subscriptionevent (tenant_id, subscription_id, at, code, actor_label, facts)
    SELECT tenant_id, subscription_id, %(at)s, 'licenses_freed', %(by)s,
           jsonb_build_object('count', ended, 'user_ids', to_jsonb(user_ids))
      FROM total
    RETURNING 1
)
SELECT count(*), coalesce(array_agg(DISTINCT subscription_id), '{}') FROM rows_ended
"""
_RENAMED = """
UPDATE {table}
   SET {first} = CASE WHEN {first}_id = %(id)s THEN %(name)s ELSE {first} END,
       ended_by = CASE WHEN ended_by_id = %(id)s THEN %(name)s ELSE ended_by END
 WHERE {first}_id = %(id)s OR ended_by_id = %(id)s
"""
_FORGET = (
    _RENAMED.format(table="licensing_assignment", first="assigned_by"),
    _RENAMED.format(table="licensing_grouplicense", first="assigned_by"),
    _RENAMED.format(table="licensing_waitingplace", first="added_by"),
    "UPDATE licensing_groupexclusion SET excluded_by = %(name)s WHERE excluded_by_id = %(id)s",
)
_WITH_LINE = """
SELECT DISTINCT subscription_id FROM licensing_waitingplace
 WHERE subscription_id = ANY (%s) AND ended_at IS NULL ORDER BY 1
"""
_SERVE = "SELECT served FROM licensing_serve_waiting(%s, %s, %s)"
_END = """
WITH rows_ended AS (
    UPDATE licensing_assignment SET ended_at = %(at)s, ended_by = %(by)s
     WHERE subscription_id = ANY (%(ids)s::bigint[]) AND ended_at IS NULL
    RETURNING tenant_id, subscription_id
), total AS (
    SELECT tenant_id, subscription_id, count(*)::int AS ended FROM rows_ended GROUP BY 1, 2
), counter AS (
    UPDATE commerce_subscription s SET assigned = s.assigned - total.ended
      FROM total WHERE s.id = total.subscription_id
    RETURNING s.tenant_id, s.key, s.product_sort, total.ended
), audited AS (
    INSERT INTO directory_auditentry
           (tenant_id, at, code, actor_tenant_id, actor_label, on_behalf_of, door, correlation_id, target_type,
            target_id, target_label, after)
    SELECT tenant_id, %(at)s, 'licensing.licenses.ended', tenant_id, %(by)s, '', 'job', '', 'subscription',
           key::text, product_sort, jsonb_build_object('count', ended)
      FROM counter
    RETURNING 1
), told AS (
    INSERT INTO commerce_subscriptionevent (tenant_id, subscription_id, at, code, actor_label, facts)
    SELECT tenant_id, subscription_id, %(at)s, 'licenses_ended', %(by)s, jsonb_build_object('count', ended)
      FROM total
    RETURNING 1
)
SELECT coalesce(sum(ended), 0) FROM total
"""


def _take(
    actor: Actor,
    subscription_key: UUID,
    user_ids: Sequence[int],
    gives_back: bool,
    at: datetime,
    may: frozenset[str],
    tells: Sequence[str] = (),
) -> AssignmentResult:
    """Free seats, and tell whoever was served from the waiting list, in one transaction."""
    with tenant_atomic(actor):
        result = _change(_UNASSIGN, actor, subscription_key, user_ids, gives_back, at, may, tells=tells)
        queue_served(result.served, at)
    return result


def _change(
    statement: str,
    actor: Actor,
    subscription_key: UUID,
    user_ids: Sequence[int],
    flag: bool,
    at: datetime,
    may: frozenset[str],
    *,
    tells: Sequence[str] = (),
) -> AssignmentResult:
    """Run one of the two statements, and tell people with it; outside a transaction the call is one of its own."""
    if len(user_ids) > BATCH_LIMIT:
        raise TooMany
    if not user_ids:
        raise Malformed(_("Choose at least one person."), field="people")
    # Arrays and the key go as their literals: the driver's own adaptation of lists costs as much as the seat.
    key, people = str(subscription_key), _literal(f"{user_id:d}" for user_id in user_ids)
    values: list[Any] = [
        *(actor.tenant_id, key, people, flag, at.isoformat()),
        *(_literal(may), _literal(actor.scopes(Capability.SEE_LICENSES))),
        *(actor.user_id, actor.home_tenant_id, actor.label, actor.relationship_label, actor.door),
        actor.correlation_id,
    ]
    if tells:
        statement = _TELLING.format(change=statement)
        told = [*tells, actor.tenant_id, key, people, at.isoformat(), actor.user_id, actor.label]
        values = [*told, actor.relationship_label, f"{settings.PUBLIC_URL}/my/licenses/", *values]
    try:
        with connection().cursor() as cursor:
            cursor.execute(statement, values)
            verdict, outcomes, free, served, *_told = cursor.fetchone()
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") in WAITED_IN_VAIN:
            raise Busy from error
        raise
    if verdict in _VERDICTS:
        raise _VERDICTS[verdict]
    became = tuple(zip(user_ids, map(Outcome, outcomes), strict=True))
    return AssignmentResult(became, free, tuple(served or ()))


def _literal(items: Iterable[str]) -> str:
    """A PostgreSQL array of numbers or of scopes, which need no quoting."""
    return "{" + ",".join(items) + "}"


def _one(result: AssignmentResult) -> None:
    ((_user, outcome),) = result.outcomes
    if not outcome.is_done:
        raise _REFUSALS[outcome]
