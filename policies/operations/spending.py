"""Counting what people spend, in the transaction of the purchase (product §9, F-20).

A purchase reserves its sum right before the charge, and the sum is spent or released with what comes of the charge.
These run inside the caller's transaction, which holds the lock of the purchase's own row before it comes here.
"""

import uuid
from datetime import datetime

from django.db.models import F
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Malformed, NotVisible
from config.kit.tenancy import ScopedQuerySet, atomic, tenant_atomic
from directory.models import User
from directory.operations import audit
from directory.permissions import Capability
from policies.models import MonthSpend, Permit, Spend
from policies.queries.spending import Purchase, permit_for, spending_of
from policies.spending import PERMIT_LIVES, Spending, month_of, most_in_month, needs_approval

State = Spend.State


def reserve(*, actor: Actor, purchase: Purchase, at: datetime) -> Spending:
    """Count the purchase if it keeps within the limits; what it means for them, either way.

    One conditional update of the person's month decides, last of all, so that many at once never wait for long and each
    sees what the others took. Asked again, it counts once. The approval that it needs is taken with it.
    """
    while True:
        spending = spending_of(actor=actor, purchase=purchase, at=at)
        if spending.verdict != "within" or _take(actor, purchase, spending, at):
            return spending


def settle(*, actor: Actor, cause: uuid.UUID, purchase: Purchase | None, at: datetime) -> None:
    """The charge came in: what was reserved is spent. A `purchase` that never was is counted now, over any limit."""
    reserved = Spend.objects.visible_to(actor).filter(cause=cause, state=State.RESERVED)
    if not reserved.update(state=State.SPENT, changed_at=at) and purchase is not None:
        _count(actor, purchase, State.SPENT, at)


def release(*, actor: Actor, cause: uuid.UUID, at: datetime) -> None:
    """Nothing came of the purchase: what it reserved is free again, and its approval. Twice is once."""
    spend = Spend.objects.visible_to(actor).filter(cause=cause, state=State.RESERVED).first()
    if spend is None:
        return
    Spend.objects.filter(pk=spend.pk).update(state=State.RELEASED, changed_at=at)
    _month_of(actor, spend).update(spent_minor=F("spent_minor") - spend.amount_minor)
    Permit.objects.visible_to(actor).filter(used_for=cause).update(used_at=None, used_for=None)


class _Outrun(Exception):
    """Another purchase took what was left, or the approval, since it was looked at."""


def _take(actor: Actor, purchase: Purchase, spending: Spending, at: datetime) -> bool:
    """Whether the purchase now counts; nothing is written where it was outrun."""
    try:
        with atomic():
            is_approved = needs_approval(spending)
            if is_approved:
                _take_permit(actor, purchase, at)
            _count(
                actor,
                purchase,
                State.RESERVED,
                at,
                most=most_in_month(spending.limits, is_approved=is_approved),
            )
    except _Outrun:
        return False
    return True


def _take_permit(actor: Actor, purchase: Purchase, at: datetime) -> None:
    permit = permit_for(actor=actor, purchase=purchase, at=at)
    if permit is not None and permit.used_for == purchase.cause:
        return
    free = Permit.objects.filter(used_at__isnull=True)
    if permit is None or not free.filter(pk=permit.pk).update(used_at=at, used_for=purchase.cause):
        raise _Outrun


def _count(actor: Actor, purchase: Purchase, state: str, at: datetime, *, most: int | None = None) -> None:
    """Write the purchase into its month, once for its cause, where that stays at most `most`.

    :raises _Outrun: it would not.
    """
    assert purchase.cause is not None
    known = Spend.objects.visible_to(actor).filter(cause=purchase.cause).first()
    if known is not None and known.state != State.RELEASED:
        return
    spend = Spend(
        pk=known.pk if known else None,
        tenant_id=actor.tenant_id,
        user_id=purchase.user_id,
        cause=purchase.cause,
        month=month_of(at, purchase.time_zone),
        currency=purchase.currency,
        amount_minor=purchase.amount_minor,
        state=state,
        changed_at=at,
    )
    spend.save()
    facts = {"user_id": spend.user_id, "month": spend.month, "currency": spend.currency}
    MonthSpend.objects.bulk_create([MonthSpend(tenant_id=actor.tenant_id, **facts)], ignore_conflicts=True)
    month = _month_of(actor, spend)
    if most is not None:
        month = month.filter(spent_minor__lte=most - spend.amount_minor)
    if not month.update(spent_minor=F("spent_minor") + spend.amount_minor):
        raise _Outrun


def _month_of(actor: Actor, spend: Spend) -> ScopedQuerySet:
    return MonthSpend.objects.visible_to(actor).filter(
        user_id=spend.user_id, month=spend.month, currency=spend.currency
    )


def grant_permit(
    *, actor: Actor, user_id: int, product_key: str, seats: int, sum_minor: int, currency: str, at: datetime
) -> Permit:
    """Approve one purchase of a person: this product, up to so many seats and so much without tax, for 14 days.

    :raises NotVisible, NotAllowed: the actor may not answer with money, or there is no such person.
    :raises Malformed: no seats, or a negative sum.
    """
    if seats < 1 or sum_minor < 0:
        raise Malformed(_("An approval is for at least one license."), field="seats")
    with tenant_atomic(actor):
        actor.require(Capability.ANSWER_WITH_MONEY, is_own=False, is_org=True, sees=Capability.SEE_QUEUE)
        user = User.objects.visible_to(actor).filter(pk=user_id).first()
        if user is None:
            raise NotVisible
        permit = Permit.objects.create(
            tenant_id=actor.tenant_id,
            user=user,
            product_key=product_key,
            seats=seats,
            sum_minor=sum_minor,
            currency=currency,
            granted_at=at,
            granted_by_id=actor.user_id,
            granted_by=actor.label,
            valid_until=at + PERMIT_LIVES,
        )
        audit.record(
            actor,
            "policies.permit.granted",
            at=at,
            target_type="user",
            target_id=user.key,
            target_label=user.name,
            after={
                "product": product_key,
                "seats": seats,
                "sum_minor": sum_minor,
                "currency": currency,
                "valid_until": permit.valid_until.isoformat(),
            },
        )
    return permit
