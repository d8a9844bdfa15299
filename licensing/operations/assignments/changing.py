"""Giving and taking licenses, of one person as of a thousand, by `licensing_assign` and `licensing_unassign`
(`licensing/functions`).

While fewer seats are scheduled for the renewal, no more than those can be assigned.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import OperationalError
from django.utils.translation import gettext_lazy as _

from commerce.hooks import Activation
from config.kit.actors import Actor
from config.kit.errors import Malformed, NotVisible
from config.kit.tenancy import connection, tenant_atomic
from directory.permissions import Capability
from licensing.models import Assignment, GroupLicense
from licensing.operations.assignments.outcomes import (
    BATCH_LIMIT,
    REFUSALS,
    VERDICTS,
    AssignmentResult,
    Busy,
    Outcome,
    TooMany,
)
from licensing.operations.waiting_notices import queue_served

# What the installation does by a rule that somebody set is limited by the subscription alone.
EVERYWHERE = frozenset({"all"})
WAITED_IN_VAIN = ("55P03", "40P01", "57014")  # lock timeout, deadlock, statement timeout

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
_SERVE = "SELECT served FROM licensing_serve_waiting(%s, %s, %s)"


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
    if verdict in VERDICTS:
        raise VERDICTS[verdict]
    became = tuple(zip(user_ids, map(Outcome, outcomes), strict=True))
    return AssignmentResult(became, free, tuple(served or ()))


def _literal(items: Iterable[str]) -> str:
    """A PostgreSQL array of numbers or of scopes, which need no quoting."""
    return "{" + ",".join(items) + "}"


def _one(result: AssignmentResult) -> None:
    ((_user, outcome),) = result.outcomes
    if not outcome.is_done:
        raise REFUSALS[outcome]
