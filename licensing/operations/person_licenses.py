"""Licenses of one person by product, whichever subscription they come from (product §7.4, §16)."""

from collections.abc import Collection, Sequence
from datetime import datetime

from django.utils.translation import gettext_lazy as _

from commerce.models import Product, Subscription
from config.kit.actors import Actor
from config.kit.errors import DomainError, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import User
from directory.permissions import Capability
from licensing.entitlements import GIVES_ACCESS
from licensing.models import Assignment
from licensing.operations.assignments import (
    FULL,
    NoSeatLeft,
    NotAssignable,
    Outcome,
    ReductionScheduled,
    assign_licenses,
    unassign_licenses,
)
from licensing.operations.assignments.outcomes import REFUSALS
from licensing.queries.giving import seats_to_give
from licensing.queries.requests import holders_of

_HOLDS = (Outcome.ASSIGNED, Outcome.HOLDS_LICENSE, Outcome.HOLDS_PRODUCT)


class NothingBought(DomainError):
    """No subscription of that product whose licenses the actor sees."""

    code = "nothing_bought"
    message = _("There are no licenses of this product here.")


def change_licenses_of(
    *, actor: Actor, user_id: int, add: Sequence[Product], remove: Collection[Product], at: datetime
) -> None:
    """Take back what a person holds of some products and give one license of each of others: all of it, or nothing.

    What holds already is left as it is, so that the same call again changes nothing. Seats are taken in the order of
    product §7.4, from subscriptions that the actor may assign. What is taken back are the licenses that the actor
    sees, in whatever state their subscription is. Locks the person, then the subscriptions by id.

    :raises NotVisible: no such person here.
    :raises NotAllowed: the actor sees one of the licenses to take, or the only ones to give, and may not assign them.
    :raises NothingBought, NotAssignable, NoSeatLeft, ReductionScheduled: as named.
    :raises GuestsExcluded, PersonNotActive, Busy: as `assign_license`.
    """
    with tenant_atomic(actor):
        _lock_person(actor, user_id)
        held = list(
            Assignment.objects.visible_to(actor)
            .live()
            .filter(user_id=user_id, product_id__in=[product.pk for product in remove])
            .values_list("subscription_id", "subscription__key")
            .order_by("subscription_id")
        )
        wanted = [product for product in add if not holders_of(product.pk, [user_id])]
        choices = {product: seats_to_give(actor, product.pk) for product in wanted}
        first = [rows[0].pk for rows in choices.values() if rows]
        _lock_subscriptions([*(pk for pk, _key in held), *first])
        for _pk, key in held:
            unassign_licenses(actor=actor, subscription_key=key, user_ids=[user_id], at=at)
        for product, rows in choices.items():
            _give(actor, user_id, product, rows, at)


def _lock_person(actor: Actor, user_id: int) -> None:
    """Two calls about one person come one after the other: the second one sees what the first one gave."""
    people = User.objects.visible_to(actor).exclude(status=User.Status.DELETED).filter(pk=user_id)
    if not list(people.select_for_update(no_key=True).values_list("pk")):
        raise NotVisible


def _lock_subscriptions(ids: Collection[int]) -> None:
    """In the order in which everything else locks them; one alone is locked by the statement that changes it."""
    if len(set(ids)) > 1:
        rows = Subscription.objects.filter(pk__in=ids).order_by("pk")
        list(rows.select_for_update(no_key=True).values_list("pk"))


def _give(
    actor: Actor, user_id: int, product: Product, choices: Sequence[Subscription], at: datetime
) -> None:
    """One license from the first subscription that still has one when its lock comes."""
    for subscription in choices:
        result = assign_licenses(actor=actor, subscription_key=subscription.key, user_ids=[user_id], at=at)
        ((_user, outcome),) = result.outcomes
        if outcome in _HOLDS:
            return
        if outcome not in FULL:
            raise REFUSALS[outcome]
    raise _why_none(actor, product)


def _why_none(actor: Actor, product: Product) -> DomainError:
    """What is wrong where no license of a product can be given."""
    seen = Subscription.objects.visible_to(actor, Capability.SEE_LICENSES).not_deleted()
    if not seen.filter(product=product).exists():
        return NothingBought()
    own = Subscription.objects.visible_to(actor, Capability.ASSIGN).not_deleted().filter(product=product)
    if not own.exists():
        return NotAllowed()
    usable = own.filter(state__in=GIVES_ACCESS)
    if not usable.exists():
        return NotAssignable()
    return ReductionScheduled() if any(row.free > 0 for row in usable[:200]) else NoSeatLeft()
