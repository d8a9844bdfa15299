"""Ending a purchase whose users were moved to a central one: taken over, then ended with the money, or given back whole
as it was (product §10).

Each runs inside the caller's transaction and calls nobody; refunds are the sweep's.
"""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from commerce.models import Bill, Card, Order, OrderLine, PaymentAttempt, Subscription
from commerce.operations import notices
from commerce.operations.bills import issue_bill, line_of
from commerce.operations.cancellations import cancel_as_of, write_cancellation
from commerce.operations.corrections import BeingPaid
from commerce.operations.credits import issue_credit_note
from commerce.operations.orders import write_order
from commerce.operations.subscriptions import disable, drop_scheduled, lock_subscription_row, remember
from commerce.operations.takeovers import take_over_now
from commerce.queries import details
from commerce.queries.takeovers import TakeOverSeen
from config.kit.actors import Actor
from directory.operations.audit import record

State = Subscription.State
_KEPT = ("owner_user_id", "card_id", "agreement_id", "bill_to_id", "next_quantity", "next_plan_id")


class Ended(StrEnum):
    """How a purchase ended with the money."""

    REFUNDED = "refunded"
    AT_ONCE = "at_once"
    RUNS_OUT = "runs_out"
    ALREADY = "already"


def retire(
    *, actor: Actor, key: uuid.UUID, version: int, seen: TakeOverSeen | None, at: datetime
) -> dict[str, Any]:
    """Take a purchase over and stop its renewal; what it was before, for `give_back_retired`.

    `seen` None: the organization owns it already, and its renewal alone stops.

    :raises DomainError: as `take_over_now`; nothing was changed.
    """
    found = Subscription.objects.visible_to(actor).filter(key=key).values_list("pk", flat=True).get()
    subscription = lock_subscription_row(found)
    before: dict[str, Any] = {name: getattr(subscription, name) for name in _KEPT}
    before |= {"owner_kind": subscription.owner_kind, "recurring_billing": subscription.recurring_billing}
    last = Bill.objects.filter(tenant_id=actor.tenant_id, subscription=subscription).order_by("-id").first()
    if seen is not None:
        take_over_now(actor=actor, key=key, version=version, seen=seen, at=at)
        subscription = lock_subscription_row(found)
    if subscription.state == State.ACTIVE and subscription.recurring_billing:
        _switch(subscription, actor=actor, on=False, at=at)
        drop_scheduled(subscription, actor=actor, at=at)
    moved = Bill.objects.filter(
        tenant_id=actor.tenant_id,
        subscription=subscription,
        pk__gt=last.pk if last else 0,
        replaces__isnull=False,
    )
    return before | {
        "moved_bills": list(moved.order_by("id").values_list("pk", flat=True)),
        "version": subscription.version,
    }


def _switch(subscription: Subscription, *, actor: Actor, on: bool, at: datetime) -> None:
    subscription.recurring_billing = on
    subscription.version += 1
    subscription.save(update_fields=["recurring_billing", "version"])
    code = "on" if on else "off"
    remember(subscription, f"recurring_billing_{code}", actor=actor, at=at)
    record(
        actor,
        f"commerce.recurring_billing.switched_{code}",
        at=at,
        target_type="subscription",
        target_id=subscription.key,
        target_label=str(subscription),
        before={"recurring_billing": not on},
        after={"recurring_billing": on},
    )


def end_retired(
    *, actor: Actor, subscription: Subscription, as_of: datetime, ends_now: bool, at: datetime
) -> tuple[Ended, int]:
    """End a retired purchase with the refund of `as_of`, which is the second value in minor units, tax included.

    Without a refund it runs out, or with `ends_now` ends at once, unless months of its term are still owed.
    """
    if subscription.state != State.ACTIVE:
        return Ended.ALREADY, 0
    canceled = cancel_as_of(actor=actor, subscription=subscription, as_of=as_of, at=at)
    if canceled is not None:
        return Ended.REFUNDED, canceled.quote.refund_minor
    if ends_now and not details.still_to_be_charged(subscription):
        write_cancellation(actor=actor, subscription=subscription, amount_minor=0, at=at)
        disable(subscription, actor=actor, reason=Subscription.DisabledReason.CANCELED, at=at)
        return Ended.AT_ONCE, 0
    return Ended.RUNS_OUT, 0


def is_as_retired(subscription: Subscription, before: dict[str, Any]) -> bool:
    """Whether nobody has changed it since it was retired, so that it can be given back as it was."""
    return bool(
        subscription.is_organizations
        and subscription.version == before["version"]
        and subscription.state in (State.ACTIVE, State.EXPIRED, State.DISABLED)
    )


def give_back_retired(
    *, actor: Actor, subscription: Subscription, before: dict[str, Any], at: datetime
) -> None:
    """Make a retired purchase again what it was: owner, payer, card, renewal and what was scheduled for it.

    Bills that moved and are still open are credited and issued anew to the purchaser; one that the organization paid
    meanwhile stays paid. The subscription is locked, and `is_as_retired`.

    :raises BeingPaid: one of them is being paid at this moment.
    """
    bills = list(
        Bill.objects.open()
        .filter(tenant_id=actor.tenant_id, pk__in=before["moved_bills"])
        .select_for_update(of=("self",))
        .select_related("bill_to", "payer", "vendor_entity", "order", "replaces__bill_to", "replaces__order")
        .order_by("id")
    )
    if PaymentAttempt.objects.exclude(state__in=PaymentAttempt.FINAL).filter(bill__in=bills).exists():
        raise BeingPaid
    for name in ("owner_kind", "owner_user_id", "agreement_id", "bill_to_id"):
        setattr(subscription, name, before[name])
    subscription.card = _card_of(subscription, before["card_id"])
    renews = subscription.state == State.ACTIVE and before["recurring_billing"]
    fits = before["next_quantity"] is None or subscription.assigned <= before["next_quantity"]
    if renews and fits:
        subscription.next_quantity, subscription.next_plan_id = (
            before["next_quantity"],
            before["next_plan_id"],
        )
    subscription.version += 1
    subscription.save(
        update_fields=[
            *("owner_kind", "owner_user", "agreement", "bill_to", "card", "version"),
            *("next_quantity", "next_plan"),
        ]
    )
    if renews:
        _switch(subscription, actor=actor, on=True, at=at)
    subscription = lock_subscription_row(subscription.pk)
    back_to = subscription.owner_user
    remember(subscription, "take_over_undone", actor=actor, at=at, to=back_to.name if back_to else "")
    record(
        actor,
        "commerce.subscription.take_over_undone",
        at=at,
        target_type="subscription",
        target_id=subscription.key,
        target_label=subscription.product.name,
        before={"owner": Subscription.Owner.ORGANIZATION},
        after={"owner": back_to.name if back_to else Subscription.Owner.ORGANIZATION},
    )
    moved = _give_bills_back(actor, subscription, bills, at)
    if back_to is not None:
        notices.queue_take_over_undone(subscription=subscription, owner=back_to, moved=moved, by=actor, at=at)


def _card_of(subscription: Subscription, card_id: int | None) -> Card | None:
    """The card that paid before, if it is still there, else another of the same payer."""
    cards = Card.objects.live().filter(tenant_id=subscription.tenant_id, user_id=subscription.owner_user_id)
    if card_id is None or subscription.agreement_id is not None:
        return None
    found: Card | None = cards.filter(pk=card_id).first() or cards.order_by("-is_default", "id").first()
    return found


def _give_bills_back(actor: Actor, subscription: Subscription, bills: list[Bill], at: datetime) -> list[Bill]:
    """Credit what was issued to the organization and issue it anew to whom the first was made out."""
    if not bills:
        return []
    order = write_order(actor, Order.Type.HAND_OVER, checkout=None, at=at)
    OrderLine.objects.create(
        tenant_id=actor.tenant_id,
        order=order,
        subscription=subscription,
        quantity=0,
        currency=subscription.currency,
        unit_price_minor=subscription.unit_price_minor,
        amount_minor=0,
    )
    moved = []
    for bill in bills:
        bill.subscription = subscription
        first = bill.replaces
        assert first is not None
        lines = [line_of(row) for row in bill.lines.order_by("id")]
        issue_credit_note(actor=actor, bill=bill, type=Bill.Type.TAKE_OVER, order=order, lines=lines, at=at)
        moved.append(
            issue_bill(
                actor=actor,
                subscription=subscription,
                order=order,
                type=bill.type,
                bill_to=first.bill_to,
                payer=subscription.owner_user,
                collection=Bill.Collection.CARD,
                lines=lines,
                period_start=bill.period_start,
                period_end=bill.period_end,
                at=at,
                due_at=max(first.due_at, at),
                charge_due_at=at,
                replaces=bill,
            )
        )
    return moved
