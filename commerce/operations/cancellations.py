"""Canceling: at once with a refund inside its window, else at the end of the term (product §5.5; docs/adr/0010)."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.utils.translation import gettext_lazy as _

from commerce import periods
from commerce.hooks import Deletion, subscriptions_deleted
from commerce.models import Bill, CancelRequest, Order, OrderLine, Subscription
from commerce.operations import notices
from commerce.operations.bills import line_of
from commerce.operations.cancel_answers import close_cancel_request
from commerce.operations.changes.giving_back import give_back, tax_given_back
from commerce.operations.changes.rules import lock_subscription, require_may_manage
from commerce.operations.credits import issue_credit_note
from commerce.operations.dunning import stop_trying_renewals
from commerce.operations.handovers import withdraw_open_offer
from commerce.operations.orders import write_order
from commerce.operations.payments import refund_now, withdraw_additions
from commerce.operations.subscriptions import drop_scheduled, remember
from commerce.queries.cancellations import Cancellation, Ending, cancellation_of
from config.kit.actors import Actor
from config.kit.errors import Conflict
from config.kit.tenancy import tenant_atomic
from directory.operations.audit import record

State = Subscription.State
CANCELABLE = frozenset({State.SCHEDULED, State.ACTIVE})


class Reason(StrEnum):
    """Why somebody cancels, if they say so; kept in the history."""

    NOT_NEEDED = "not_needed"
    TOO_EXPENSIVE = "too_expensive"
    MISSING_FEATURES = "missing_features"
    OTHER_PRODUCT = "other_product"
    ORGANIZATION = "organization"
    BY_MISTAKE = "by_mistake"
    OTHER = "other"


class NothingToCancel(Conflict):
    """Expired, Disabled or Deleted: it has ended by itself or was canceled before."""

    code = "nothing_to_cancel"
    message = _("This has ended already; there is nothing to cancel. Nothing was changed.")


class AlreadyStopped(Conflict):
    """The renewal is off, and nothing would be given back: it ends by itself."""

    code = "already_stopped"
    message = _("Its renewal is off already, so it ends by itself. Nothing was changed.")


class CancellationChanged(Conflict):
    """Canceling would do something else now than the page said; `quote` is what."""

    code = "cancellation_changed"
    message = _("What canceling does has changed since you opened the page. Nothing was changed. Look again.")

    def __init__(self, quote: "CancellationQuote") -> None:
        self.quote = quote
        super().__init__(ending=quote.ending, refund_minor=quote.refund_minor)


@dataclass(frozen=True, slots=True)
class CancellationQuote:
    """What canceling does now, to the cent, tax included.

    `refund_minor` was paid and goes back, `credited_minor` is not to be paid any more, `owed_minor` still is: the
    days used of bills on account.
    """

    plan: Cancellation
    currency: str
    subtotal_minor: int
    refund_minor: int
    credited_minor: int
    owed_minor: int

    @property
    def ending(self) -> Ending:
        return self.plan.ending

    @property
    def seen(self) -> "Seen":
        return Seen(self.ending, self.refund_minor, self.credited_minor, self.plan.still_minor)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the person saw before the click; it happens so or not at all."""

    ending: str
    refund_minor: int
    credited_minor: int
    still_minor: int


@dataclass(frozen=True, slots=True)
class Canceled:
    """What was done."""

    subscription: Subscription
    quote: CancellationQuote
    credit_notes: tuple[Bill, ...] = ()


def quote_cancellation(*, subscription: Subscription, at: datetime) -> CancellationQuote:
    """What canceling would do now; inside the tenant's transaction, locks nothing.

    :raises NothingToCancel: neither Scheduled nor Active.
    :raises AlreadyStopped: its renewal is off, and it is past the refund window.
    """
    if subscription.state not in CANCELABLE:
        raise NothingToCancel
    plan = cancellation_of(subscription, at)
    if plan.ending == Ending.AT_TERM and not subscription.recurring_billing:
        raise AlreadyStopped
    bills = dict(Bill.objects.in_bulk([*(part.bill_id for part in plan.returned), *plan.unpaid]))
    refund = credited = owed = 0
    for part in plan.returned:
        bill = bills[part.bill_id]
        total = part.amount_minor + tax_given_back([part])
        if bill.status == Bill.Status.PAID:
            refund += total
        else:
            credited += total
            owed += bill.total_minor - total
    credited += sum(bills[bill_id].total_minor for bill_id in plan.unpaid)
    subtotal = sum(part.amount_minor for part in plan.returned)
    subtotal += sum(bills[bill_id].subtotal_minor for bill_id in plan.unpaid)
    return CancellationQuote(plan, subscription.currency, subtotal, refund, credited, owed)


def cancel_subscription(
    *,
    actor: Actor,
    key: uuid.UUID,
    version: int,
    seen: Seen,
    at: datetime,
    reason: Reason | None = None,
) -> Canceled:
    """As `cancel_now`, then ask for the refunds at once and withdraw charges that wait for a bank; never call it inside a
    transaction."""
    canceled = cancel_now(actor=actor, key=key, version=version, seen=seen, at=at, reason=reason)
    for note in canceled.credit_notes:
        refund_now(note.pk, actor=actor, at=at)
    if canceled.quote.ending != Ending.AT_TERM:
        withdraw_additions(actor=actor, subscription_id=canceled.subscription.pk, at=at)
    return canceled


def cancel_now(
    *,
    actor: Actor,
    key: uuid.UUID,
    version: int,
    seen: Seen,
    at: datetime,
    reason: Reason | None = None,
) -> Canceled:
    """Cancel a subscription as the page said: at once with what is given back, at its term, or before its start.

    In a transaction of its own, or the caller's. The refunds are the sweep's. Of two people at once the second finds
    another `version`.

    :raises NotVisible, NotAllowed: no such purchase, or not theirs to cancel.
    :raises NothingToCancel, AlreadyStopped: there is nothing to cancel any more.
    :raises Conflict: changed since the page was shown. :raises CancellationChanged: counted anew, it is another sum.
    """
    with tenant_atomic(actor):
        subscription = lock_subscription(actor, key)
        require_may_manage(actor, subscription)
        quote = quote_cancellation(subscription=subscription, at=at)
        if subscription.version != version:
            raise Conflict
        if quote.seen != seen:
            raise CancellationChanged(quote)
        before = {"state": subscription.state, "recurring_billing": subscription.recurring_billing}
        subscription.version += 1
        subscription.recurring_billing = False
        notes: tuple[Bill, ...] = ()
        match quote.ending:
            case Ending.AT_ONCE:
                notes = _end_now(actor, subscription, quote, at)
            case Ending.BEFORE_START:
                _never_start(actor, subscription, at)
            case Ending.AT_TERM:
                subscription.save(update_fields=["recurring_billing", "version"])
                stop_trying_renewals(actor=actor, subscription=subscription, at=at)
        drop_scheduled(subscription, actor=actor, at=at)
        close_cancel_request(subscription, CancelRequest.State.CANCELED, actor=actor, at=at)
        canceled = Canceled(subscription, quote, notes)
        _tell(actor, canceled, before, reason, at)
        _queue_canceled(actor, canceled, at)
    return canceled


def cancel_as_of(
    *, actor: Actor, subscription: Subscription, as_of: datetime, at: datetime
) -> Canceled | None:
    """End a subscription at once, with what canceling it at `as_of` would have given back; None where that is nothing.

    Inside the transaction that locked it and judged the actor. The refunds are the sweep's.
    """
    try:
        quote = quote_cancellation(subscription=subscription, at=as_of)
    except (NothingToCancel, AlreadyStopped):
        return None
    if quote.ending != Ending.AT_ONCE:
        return None
    before = {"state": subscription.state, "recurring_billing": subscription.recurring_billing}
    subscription.version += 1
    subscription.recurring_billing = False
    notes = _end_now(actor, subscription, quote, at, as_of=as_of)
    drop_scheduled(subscription, actor=actor, at=at)
    close_cancel_request(subscription, CancelRequest.State.CANCELED, actor=actor, at=at)
    canceled = Canceled(subscription, quote, notes)
    _tell(actor, canceled, before, Reason.ORGANIZATION, at)
    _queue_canceled(actor, canceled, at)
    return canceled


def _queue_canceled(actor: Actor, canceled: Canceled, at: datetime) -> None:
    quote = canceled.quote
    notices.queue_canceled(
        subscription=canceled.subscription,
        by=actor,
        ending=quote.ending,
        refund_minor=quote.refund_minor,
        credited_minor=quote.credited_minor,
        owed_minor=quote.owed_minor,
        still_minor=quote.plan.still_minor,
        at=at,
    )


def _end_now(
    actor: Actor,
    subscription: Subscription,
    quote: CancellationQuote,
    at: datetime,
    *,
    as_of: datetime | None = None,
) -> tuple[Bill, ...]:
    """Straight to Disabled: access ends, the holders stay listed (product §5.1); its bills are credited.

    `as_of`: the instant of the quote, where that is an earlier one.
    """
    order = write_cancellation(
        actor=actor, subscription=subscription, amount_minor=-quote.subtotal_minor, at=at
    )
    days = subscription.product.disabled_days
    subscription.state = State.DISABLED
    subscription.disabled_reason = Subscription.DisabledReason.CANCELED
    subscription.disabled_at = at
    subscription.due_at = periods.days_later(at, days, subscription.time_zone)
    subscription.payment_failed_at = subscription.next_try_at = subscription.pay_by_at = None
    subscription.next_reminder_at = None
    subscription.parked_at, subscription.parked_reason = None, ""
    subscription.save(
        update_fields=[
            *("state", "disabled_reason", "disabled_at", "due_at", "recurring_billing", "version"),
            *("payment_failed_at", "next_try_at", "pay_by_at", "next_reminder_at"),
            *("parked_at", "parked_reason"),
        ]
    )
    withdraw_open_offer(actor=actor, subscription=subscription, at=at)
    notes = give_back(
        actor=actor,
        subscription=subscription,
        order=order,
        returned=quote.plan.returned,
        type=Bill.Type.CANCEL,
        at=at,
        as_of=as_of,
    )
    return (
        *notes,
        *(_credit_whole(actor, subscription, bill_id, order, at) for bill_id in quote.plan.unpaid),
    )


def _credit_whole(actor: Actor, subscription: Subscription, bill_id: int, order: Order, at: datetime) -> Bill:
    bill: Bill = (
        Bill.objects.select_for_update(of=("self",))
        .select_related("bill_to", "payer", "vendor_entity")
        .get(pk=bill_id)
    )
    bill.subscription = subscription
    lines = [line_of(row) for row in bill.lines.order_by("id")]
    return issue_credit_note(actor=actor, bill=bill, type=Bill.Type.CANCEL, order=order, lines=lines, at=at)


def _never_start(actor: Actor, subscription: Subscription, at: datetime) -> None:
    """A Scheduled one that never starts was never billed or used: it is Deleted."""
    write_cancellation(actor=actor, subscription=subscription, amount_minor=0, at=at)
    subscription.state = State.DELETED
    subscription.deleted_at = at
    subscription.due_at = None
    subscription.next_reminder_at = None
    subscription.save(
        update_fields=["state", "deleted_at", "due_at", "recurring_billing", "version", "next_reminder_at"]
    )
    subscriptions_deleted(Deletion(subscription_ids=[subscription.pk], at=at))


def write_cancellation(*, actor: Actor, subscription: Subscription, amount_minor: int, at: datetime) -> Order:
    """The order by which all seats go, without which bringing it back would count them twice.

    `amount_minor`, zero or negative: what is given back, tax not included.
    """
    order = write_order(actor, Order.Type.CANCEL, checkout=None, at=at)
    OrderLine.objects.create(
        tenant_id=order.tenant_id,
        order=order,
        subscription=subscription,
        quantity=-subscription.quantity,
        currency=subscription.currency,
        unit_price_minor=subscription.unit_price_minor,
        amount_minor=amount_minor,
    )
    return order


def _tell(
    actor: Actor, canceled: Canceled, before: dict[str, Any], reason: Reason | None, at: datetime
) -> None:
    subscription, quote = canceled.subscription, canceled.quote
    facts = {
        "ending": str(quote.ending),
        "refund_minor": quote.refund_minor,
        "credited_minor": quote.credited_minor,
        "currency": quote.currency,
        "reason": str(reason) if reason else "",
    }
    remember(subscription, "canceled", actor=actor, at=at, **facts)
    record(
        actor,
        "commerce.subscription.canceled",
        at=at,
        target_type="subscription",
        target_id=subscription.key,
        target_label=str(subscription),
        before=before,
        after=facts
        | {
            "state": subscription.state,
            "recurring_billing": False,
            "credit_notes": [note.number for note in canceled.credit_notes],
        },
    )
