"""Taking a self-service purchase over: from then on it is the organization's (product §10)."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.utils.translation import gettext_lazy as _

from commerce.models import (
    Bill,
    BillTo,
    CancelRequest,
    Checkout,
    Order,
    OrderLine,
    PaymentAttempt,
    Subscription,
)
from commerce.operations import notices
from commerce.operations.bills import issue_bill, line_of
from commerce.operations.cancel_answers import close_cancel_request
from commerce.operations.cards import CardExpired
from commerce.operations.changes.rules import lock_subscription, require_good_standing
from commerce.operations.corrections import BeingPaid
from commerce.operations.credits import issue_credit_note
from commerce.operations.handovers import withdraw_open_offer
from commerce.operations.orders import organizations_bill_to, write_order
from commerce.operations.payments import outcomes
from commerce.operations.subscriptions import remember
from commerce.queries.cards import is_over
from commerce.queries.takeovers import TakeOverPlan, TakeOverSeen, open_bills_of_people, plan_take_over
from config.kit.actors import Actor
from config.kit.errors import Conflict
from config.kit.tenancy import tenant_atomic
from directory.actors import tenant_row
from directory.operations.audit import record
from directory.permissions import Capability

State = Subscription.State
Reason = Subscription.DisabledReason
_USABLE = frozenset({State.ACTIVE, State.EXPIRED})
# Disabled by its end or by its owner: nothing is owed, and its new owner can bring it back.
_OVER = frozenset({"", Reason.ENDED, Reason.CANCELED})


class NotTakenOver(Conflict):
    """Trials, deleted ones, those that ended unpaid, and what is the organization's already."""

    code = "not_taken_over"
    message = _("This purchase cannot be taken over as it is now. Nothing was changed.")


class NeedsCard(Conflict):
    """The organization has neither an agreement nor a card to pay with."""

    code = "organization_needs_card"
    message = _(
        "Your organization has no agreement and no card. Add a card of the organization first. Nothing was changed."
    )


class ChangeBeingPaid(Conflict):
    """Somebody pays added licenses or a reactivation of it at this moment."""

    code = "change_being_paid"
    message = _(
        "A change of this purchase is being paid right now. Nothing was changed. Try again in a few minutes."
    )


class TakeOverChanged(Conflict):
    """Taking it over would do something else now than the page said; `plan` is what."""

    code = "take_over_changed"
    message = _(
        "What a take-over does has changed since you opened the page. Nothing was changed. Look again."
    )

    def __init__(self, plan: TakeOverPlan) -> None:
        self.plan = plan
        super().__init__(moved_minor=plan.moved_minor)


def can_be_taken_over(subscription: Subscription) -> bool:
    """Whether it is a person's, bought by self-service, and in use or over without debts."""
    is_over = subscription.state == State.DISABLED and subscription.disabled_reason in _OVER
    return bool(
        not subscription.is_organizations
        and subscription.channel == Subscription.Channel.SELF_SERVICE
        and (subscription.state in _USABLE or is_over)
    )


def require_may_take_over(actor: Actor, subscription: Subscription) -> None:
    """:raises NotVisible: not even seen. :raises NotAllowed: seen, and not theirs to take over."""
    actor.require(
        Capability.TAKE_OVER,
        is_own=subscription.is_owned_by(actor),
        is_org=subscription.is_organizations,
        sees=Capability.SEE_PURCHASES,
    )


def take_over(
    *, actor: Actor, key: uuid.UUID, version: int, seen: TakeOverSeen, at: datetime
) -> Subscription:
    """Make the organization the owner, as the page said: its admins manage it, and it pays from now on.

    It pays on account under its agreement, at the purchase's own price, else by its card. Open bills are credited
    and issued anew to it; a charge of them that waits for the purchaser's bank is called off first. Paid bills,
    licenses, dates and recurring billing stay as they are. Opens its own transactions, since it may ask the
    processor; never call it inside one. Taken over already, by two clicks: nothing happens.

    :raises NotVisible, NotAllowed: no such purchase, or not theirs to take over; or the organization is suspended.
    :raises NotTakenOver: its state, channel or owner. :raises NeedsCard: nobody would pay.
    :raises BeingPaid, ChangeBeingPaid: a card is being charged for it.
    :raises Conflict: changed since the page was shown. :raises TakeOverChanged: another bill, card or agreement.
    :raises CardExpired: the organization's card is over. :raises Retryable: the processor did not answer.
    """
    call_off_charges(actor=actor, key=key, version=version, seen=seen, at=at)
    return take_over_now(actor=actor, key=key, version=version, seen=seen, at=at)


def call_off_charges(*, actor: Actor, key: uuid.UUID, version: int, seen: TakeOverSeen, at: datetime) -> None:
    """The part of `take_over` that may ask the processor, before the one that changes the purchase; raises as it does."""
    with tenant_atomic(actor):
        subscription = _lock(actor, key)
        if _is_done(subscription, version):
            return
        _plan_as_seen(subscription, version, seen, at)
        waiting = _waiting_for_bank(subscription)
    for attempt_id, intent_id in waiting:
        outcomes.cancel(actor=actor, attempt_id=attempt_id, intent_id=intent_id, reason="taken_over", at=at)


def take_over_now(
    *, actor: Actor, key: uuid.UUID, version: int, seen: TakeOverSeen, at: datetime
) -> Subscription:
    """As `take_over`, but asks nobody: a charge that waits for the purchaser's bank refuses it too, as `BeingPaid`.

    In a transaction of its own, or the caller's, whose locks stay to its end.
    """
    with tenant_atomic(actor):
        subscription = _lock(actor, key)
        if _is_done(subscription, version):
            return subscription
        bills = list(
            open_bills_of_people(subscription)
            .select_for_update(of=("self",))
            .select_related("bill_to", "payer", "vendor_entity")
        )
        if PaymentAttempt.objects.exclude(state__in=PaymentAttempt.FINAL).filter(bill__in=bills).exists():
            raise BeingPaid
        plan = _plan_as_seen(subscription, version, seen, at)
        return _take_over(actor, subscription, plan, bills, at)


def _lock(actor: Actor, key: uuid.UUID) -> Subscription:
    subscription = lock_subscription(actor, key)
    require_may_take_over(actor, subscription)
    return subscription


def _is_done(subscription: Subscription, version: int) -> bool:
    """Whether the click before this one has taken it over."""
    return bool(subscription.is_organizations and subscription.version == version + 1)


def _plan_as_seen(subscription: Subscription, version: int, seen: TakeOverSeen, at: datetime) -> TakeOverPlan:
    """What taking it over does, which is what the page said. Asked before anything is called off, and under the locks."""
    require_good_standing(subscription)
    if not can_be_taken_over(subscription):
        raise NotTakenOver
    under_way = (Checkout.State.PAYING, Checkout.State.ACTION)
    if Checkout.objects.filter(subscription=subscription, state__in=under_way).exists():
        raise ChangeBeingPaid
    plan = plan_take_over(subscription)
    if not plan.is_payable:
        raise NeedsCard
    if subscription.version != version:
        raise Conflict
    if plan.seen != seen:
        raise TakeOverChanged(plan)
    if plan.card is not None and is_over(plan.card, at, tenant_row(subscription.tenant_id).time_zone):
        raise CardExpired
    return plan


def _waiting_for_bank(subscription: Subscription) -> list[tuple[int, str]]:
    """Charges of its open bills that only the purchaser could confirm."""
    rows = PaymentAttempt.objects.filter(
        bill__in=open_bills_of_people(subscription),
        state=PaymentAttempt.State.ACTION,
        intent_id__isnull=False,
    )
    return list(rows.order_by("id").values_list("pk", "intent_id"))


def _take_over(
    actor: Actor, subscription: Subscription, plan: TakeOverPlan, bills: Sequence[Bill], at: datetime
) -> Subscription:
    owner = subscription.owner_user
    assert owner is not None
    withdraw_open_offer(actor=actor, subscription=subscription, at=at)
    close_cancel_request(subscription, CancelRequest.State.TAKEN_OVER, actor=actor, at=at)
    bill_to = organizations_bill_to(subscription.tenant)
    order = write_order(actor, Order.Type.TAKE_OVER, checkout=None, at=at)
    OrderLine.objects.create(
        tenant_id=actor.tenant_id,
        order=order,
        subscription=subscription,
        quantity=0,
        currency=subscription.currency,
        unit_price_minor=subscription.unit_price_minor,
        amount_minor=0,
    )
    subscription.owner_kind, subscription.owner_user = Subscription.Owner.ORGANIZATION, None
    subscription.agreement, subscription.card, subscription.bill_to = plan.agreement, plan.card, bill_to
    subscription.payment_failed_at = subscription.next_try_at = subscription.pay_by_at = None
    subscription.version += 1
    subscription.save(
        update_fields=[
            *("owner_kind", "owner_user", "agreement", "card", "bill_to", "version"),
            *("payment_failed_at", "next_try_at", "pay_by_at"),
        ]
    )
    pays = "on_account" if plan.agreement else "card"
    moved_from = [bill.number for bill in bills]
    remember(
        subscription, "taken_over", actor=actor, at=at, order=str(order.key), bills=moved_from, pays=pays
    )
    # Last, since the bills' series is locked from here on.
    moved = [_move(actor, subscription, bill, plan, bill_to, order, at) for bill in bills]
    record(
        actor,
        "commerce.subscription.taken_over",
        at=at,
        target_type="subscription",
        target_id=subscription.key,
        target_label=subscription.product.name,
        before={"owner": owner.name, "owner_user_id": owner.pk, "open_bills": moved_from, "pays": "own_card"},
        after={
            "owner": Subscription.Owner.ORGANIZATION,
            "open_bills": [bill.number for bill in moved],
            "pays": pays,
            "agreement": plan.agreement.pk if plan.agreement else None,
        },
    )
    notices.queue_taken_over(
        subscription=subscription, owner=owner, moved=moved, order_key=order.key, by=actor, at=at
    )
    return subscription


def _move(
    actor: Actor,
    subscription: Subscription,
    bill: Bill,
    plan: TakeOverPlan,
    bill_to: BillTo,
    order: Order,
    at: datetime,
) -> Bill:
    """Credit an open bill and issue it anew to the organization, with days of its own to pay it in."""
    bill.subscription = subscription
    lines = [line_of(row) for row in bill.lines.order_by("id")]
    issue_credit_note(actor=actor, bill=bill, type=Bill.Type.TAKE_OVER, order=order, lines=lines, at=at)
    is_on_account = plan.agreement is not None
    days = plan.agreement.payment_days if plan.agreement else 0
    return issue_bill(
        actor=actor,
        subscription=subscription,
        order=order,
        type=bill.type,
        bill_to=bill_to,
        payer=None,
        collection=Bill.Collection.ON_ACCOUNT if is_on_account else Bill.Collection.CARD,
        lines=lines,
        period_start=bill.period_start,
        period_end=bill.period_end,
        at=at,
        due_at=at + timedelta(days=days),
        charge_due_at=None if is_on_account else at,
        replaces=bill,
    )
