"""The line for a license of the organization's subscriptions (product §7.6; docs/bulk.md).

Whoever frees a seat gives it to the first in line in the same statement (`licensing_unassign`). Seats that come by
other ways, bought or released by a revoked reduction, are given by the sweep.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime

from django.db.models import Exists, F, OuterRef, Q
from django.utils.translation import gettext_lazy as _

from commerce.models import Subscription
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed
from config.kit.sweeps import alone
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import User
from directory.operations import audit
from directory.permissions import Capability
from licensing.entitlements import GIVES_ACCESS
from licensing.models import Assignment, WaitingPlace
from licensing.operations.assignments import BATCH_LIMIT, NotAssignable, TooMany, serve_waiting
from licensing.queries.holders import subscription_for

Outcome = WaitingPlace.Outcome


class OrganizationsOnly(Conflict):
    """Product §7.6: the purchaser of a self-service purchase decides whom to give a seat."""

    code = "organizations_only"
    message = _("Only licenses of the organization have a waiting list. Nothing was changed.")


class NobodyToAdd(Conflict):
    """Everybody chosen waits already, has the product, or cannot have it."""

    code = "nobody_to_add"
    message = _("Everybody chosen waits already, has the product, or cannot have it. Nothing was changed.")


class NotWaiting(Conflict):
    """Somebody else took the person off, or a license came free."""

    code = "not_waiting"
    message = _("This person waits no more. Nothing was changed.")


def add_to_waiting_list(
    *, actor: Actor, subscription_key: uuid.UUID, user_ids: Sequence[int], at: datetime
) -> tuple[int, int]:
    """Put up to 1,000 people at the end of the line, in their order; how many were added, how many got a seat at once.

    Who waits already keeps the place; who has the product, cannot have it, or is nobody here is left out. Where a seat
    is free by now, the first in line gets it. Holds the subscription's row lock to the end of the transaction.

    :raises NotVisible, NotAllowed: as `assign_licenses`. :raises OrganizationsOnly: it is a person's.
    :raises NotAssignable: neither Active nor Expired. :raises TooMany, Malformed: more than 1,000 people, or none.
    :raises NobodyToAdd: nobody is left of those chosen.
    """
    if len(user_ids) > BATCH_LIMIT:
        raise TooMany
    if not user_ids:
        raise Malformed(_("Choose at least one person."), field="people")
    with tenant_atomic(actor):
        subscription = _lock(actor, subscription_key)
        if subscription.state not in GIVES_ACCESS:
            raise NotAssignable
        eligible = _eligible(subscription, user_ids)
        fresh = [user_id for user_id in dict.fromkeys(user_ids) if user_id in eligible]
        if not fresh:
            raise NobodyToAdd
        WaitingPlace.objects.bulk_create(
            WaitingPlace(
                tenant_id=actor.tenant_id,
                subscription=subscription,
                user_id=user_id,
                added_at=at,
                added_by_id=actor.user_id,
                added_by=actor.label[:200],
            )
            for user_id in fresh
        )
        _record(actor, subscription, "licensing.waiting.added", at, after={"user_ids": fresh})
        served = serve_waiting(subscription_id=subscription.pk, at=at, correlation_id=actor.correlation_id)
    return len(fresh), len(served)


def remove_from_waiting_list(
    *, actor: Actor, subscription_key: uuid.UUID, place_key: uuid.UUID, at: datetime
) -> WaitingPlace:
    """Take one person off the line.

    :raises NotVisible, NotAllowed: as `assign_licenses`. :raises NotWaiting: there is no such place any more.
    """
    with tenant_atomic(actor):
        subscription = _lock(actor, subscription_key)
        place: WaitingPlace | None = (
            WaitingPlace.objects.live()
            .select_related("user")
            .filter(subscription=subscription, key=place_key)
            .first()
        )
        if place is None:
            raise NotWaiting
        place.ended_at, place.outcome = at, Outcome.REMOVED
        place.ended_by_id, place.ended_by = actor.user_id, actor.label[:200]
        place.save(update_fields=["ended_at", "outcome", "ended_by_id", "ended_by"])
        _record(
            actor,
            subscription,
            "licensing.waiting.removed",
            at,
            before={"user_id": place.user_id, "user": place.user.name},
        )
    return place


def serve_lines(*, at: datetime) -> int:
    """Give seats that came free without anybody giving one up to those who wait, and close what is over; how many.

    Worker's login; each subscription in a transaction of its own, as the app for its tenant.
    """
    with use_login("worker"):
        _close_places(at)
        rows = Subscription.objects.filter(
            Exists(WaitingPlace.objects.live().filter(subscription=OuterRef("pk"))),
            Q(next_quantity__isnull=True) | Q(next_quantity__gt=F("assigned")),
            owner_kind=Subscription.Owner.ORGANIZATION,
            state__in=GIVES_ACCESS,
            quantity__gt=F("assigned"),
        )
        found = list(rows.order_by("tenant_id", "id").values_list("tenant_id", "id"))
    served = 0
    for tenant_id, subscription_id in found:
        with alone("The waiting list of subscription %s", subscription_id), tenant_atomic(tenant_id):
            served += len(serve_waiting(subscription_id=subscription_id, at=at))
    return served


def _close_places(at: datetime) -> None:
    """Places of who has a license from there, is gone, or waits for what is the organization's no more."""
    live = WaitingPlace.objects.live()
    holds = Assignment.objects.live().filter(
        subscription=OuterRef("subscription"), user=OuterRef("user"), tenant_id=OuterRef("tenant_id")
    )
    live.filter(Exists(holds)).update(ended_at=at, ended_by="Seatkeeper", outcome=Outcome.HELD)
    over = Q(user__status=User.Status.DELETED) | Q(subscription__state=Subscription.State.DELETED)
    over |= ~Q(subscription__owner_kind=Subscription.Owner.ORGANIZATION)
    ids = list(live.filter(over).values_list("pk", flat=True))
    live.filter(pk__in=ids).update(ended_at=at, ended_by="Seatkeeper", outcome=Outcome.CLOSED)


def _lock(actor: Actor, key: uuid.UUID) -> Subscription:
    found = subscription_for(actor, key, to_see=Capability.SEE_LICENSES, to_assign=True)
    subscription: Subscription = (
        Subscription.objects.select_for_update(of=("self",), no_key=True)
        .select_related("product")
        .get(pk=found.pk)
    )
    if not subscription.is_organizations:
        raise OrganizationsOnly
    return subscription


def _eligible(subscription: Subscription, user_ids: Sequence[int]) -> set[int]:
    """Active people who could have one, do not wait yet, and have the product neither from here nor otherwise."""
    waits = WaitingPlace.objects.live().filter(subscription=subscription, user=OuterRef("pk"))
    has = Assignment.objects.live().filter(
        Q(subscription=subscription) | Q(subscription__state__in=GIVES_ACCESS),
        user=OuterRef("pk"),
        product_id=subscription.product_id,
    )
    people = User.objects.active().filter(
        ~Exists(has), ~Exists(waits), tenant_id=subscription.tenant_id, pk__in=user_ids
    )
    if not subscription.product.guests_may_hold:
        people = people.members()
    return set(people.values_list("pk", flat=True))


def _record(actor: Actor, subscription: Subscription, code: str, at: datetime, **facts: object) -> None:
    audit.record(
        actor,
        code,
        at=at,
        target_type="subscription",
        target_id=subscription.key,
        target_label=subscription.product.name,
        **facts,
    )
