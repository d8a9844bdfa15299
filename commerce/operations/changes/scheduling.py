"""Changes that wait for the renewal: the number of seats, the plan; each can be taken back until then (product §5.3, §5.4).

The renewal sweep makes them (`renewals.renewing`). What is scheduled falls away with recurring billing.
"""

import uuid
from datetime import datetime
from typing import Any, Literal, assert_never

from django.utils.translation import gettext_lazy as _

from commerce.models import Plan, Subscription
from commerce.operations import notices
from commerce.operations.changes.rules import (
    BelowAssigned,
    NoRenewal,
    lock_subscription,
    require_changeable,
    require_growable,
    require_may_manage,
    require_number,
)
from commerce.operations.subscriptions import remember
from commerce.queries.plans import PlanPrice, plan_prices
from commerce.queries.seats import RenewalUnderWay
from config.kit.actors import Actor
from config.kit.errors import Malformed
from config.kit.tenancy import tenant_atomic
from directory.operations.audit import record

type Scheduled = Literal["quantity", "plan"]


def schedule_seats(
    *, actor: Actor, key: uuid.UUID, quantity: int, version: int, at: datetime
) -> Subscription:
    """From the renewal on, `quantity` seats in all; the present number takes back what was scheduled.

    While fewer are scheduled, no more than those can be assigned (I-05).

    :raises NotVisible, NotAllowed: no such purchase, or not theirs to change.
    :raises Conflict: changed since the page of `version`. :raises NotChangeable, NoRenewal, RenewalUnderWay: its state.
    :raises Malformed: not a number that it may have. :raises BelowAssigned: some have to be taken back first.
    :raises DomainError: more seats, as `rules.require_growable`.
    """
    with tenant_atomic(actor):
        subscription = lock_subscription(actor, key, version=version)
        require_may_manage(actor, subscription)
        require_schedulable(actor=actor, subscription=subscription, quantity=quantity, at=at)
        if quantity == subscription.quantity:
            _revoke(actor, subscription, "quantity", at)
        elif quantity != subscription.next_quantity:
            _schedule(actor, subscription, "quantity", quantity, at)
    return subscription


def schedule_plan(*, actor: Actor, key: uuid.UUID, plan: Plan, version: int, at: datetime) -> Subscription:
    """From the renewal on, another plan of the same product; the present one takes back what was scheduled.

    :raises NotVisible, NotAllowed, Conflict, NotChangeable, NoRenewal, RenewalUnderWay: as `schedule_seats`.
    :raises Malformed: a plan of another product, or one that has no price here.
    """
    with tenant_atomic(actor):
        subscription = lock_subscription(actor, key, version=version)
        require_may_manage(actor, subscription)
        _require_renewal(subscription, at)
        if plan.pk == subscription.plan_id:
            _revoke(actor, subscription, "plan", at)
            return subscription
        if price_of(subscription, plan, at) is None:
            raise Malformed(_("Choose one of the plans. Nothing was changed."), field="plan")
        if plan.pk != subscription.next_plan_id:
            _schedule(actor, subscription, "plan", plan, at)
    return subscription


def revoke_scheduled(
    *, actor: Actor, key: uuid.UUID, what: Scheduled, version: int, at: datetime
) -> Subscription:
    """Take back the number or the plan that was scheduled; without one it does nothing.

    :raises NotVisible, NotAllowed: no such purchase, or not theirs to change.
    :raises Conflict: changed since the page of `version`. :raises NotChangeable: its state.
    """
    with tenant_atomic(actor):
        subscription = lock_subscription(actor, key, version=version)
        require_may_manage(actor, subscription)
        require_changeable(subscription)
        _revoke(actor, subscription, what, at)
    return subscription


def price_of(subscription: Subscription, plan: Plan, at: datetime) -> PlanPrice | None:
    """What a plan costs for this subscription at today's prices; None: it cannot be chosen. Two queries at most."""
    return next((price for price in plan_prices(subscription, at) if price.plan.pk == plan.pk), None)


def require_schedulable(*, actor: Actor, subscription: Subscription, quantity: int, at: datetime) -> None:
    """Whether the renewal can make it `quantity` seats in all; inside the tenant's transaction, locks nothing.

    :raises DomainError: as `schedule_seats`.
    """
    _require_renewal(subscription, at)
    require_number(subscription, quantity)
    if quantity < subscription.assigned:
        raise BelowAssigned(subscription.assigned, quantity)
    if quantity > subscription.quantity:
        require_growable(actor, subscription, at)


def _require_renewal(subscription: Subscription, at: datetime) -> None:
    require_changeable(subscription)
    if not subscription.recurring_billing:
        raise NoRenewal
    if subscription.term_end <= at:
        raise RenewalUnderWay


def _schedule(
    actor: Actor, subscription: Subscription, what: Scheduled, value: int | Plan, at: datetime
) -> None:
    before = _facts(subscription)
    if isinstance(value, int):
        subscription.next_quantity = value
    else:
        subscription.next_plan = value
    _write(actor, subscription, f"{what}_scheduled", before, at)
    notices.queue_change_scheduled(subscription=subscription, by=actor.label, at=at)


def _revoke(actor: Actor, subscription: Subscription, what: Scheduled, at: datetime) -> None:
    before = _facts(subscription)
    match what:
        case "quantity" if subscription.next_quantity is not None:
            subscription.next_quantity = None
        case "plan" if subscription.next_plan_id is not None:
            subscription.next_plan = None
        case "quantity" | "plan":
            return
        case _:
            assert_never(what)
    _write(actor, subscription, f"{what}_schedule_revoked", before, at)


def _write(actor: Actor, subscription: Subscription, code: str, before: dict[str, Any], at: datetime) -> None:
    subscription.version += 1
    subscription.save(update_fields=["next_quantity", "next_plan", "version"])
    after = _facts(subscription)
    remember(
        subscription,
        code,
        actor=actor,
        at=at,
        quantity=subscription.quantity,
        renews_at=subscription.term_end.isoformat(),
        **after,
    )
    record(
        actor,
        f"commerce.{code.replace('_', '.', 1)}",
        at=at,
        target_type="subscription",
        target_id=subscription.key,
        target_label=str(subscription),
        before=before,
        after=after,
    )


def _facts(subscription: Subscription) -> dict[str, Any]:
    return {
        "next_quantity": subscription.next_quantity,
        "next_plan": subscription.next_plan.code if subscription.next_plan else None,
    }
