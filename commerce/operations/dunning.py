"""Failed payments: the calendar goes on, access ends, or the bill is paid after all (product §5.6).

A soft decline is tried again by the charge sweep on the days of the calendar; a hard one, and one that only the
cardholder can answer, is told again on the same days and not tried. The end is the same for all.
"""

from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from django.db.models import Q

from commerce import dunning
from commerce.hooks import Deletion
from commerce.models import Bill, PaymentAttempt, Subscription
from commerce.models.bills import BillQuerySet
from commerce.operations import notices
from commerce.operations.billing_control import sweeps_may_run
from commerce.operations.bills import line_of, lock_bill
from commerce.operations.credits import issue_credit_note
from commerce.operations.subscriptions import disable, remember
from config.kit.actors import Actor
from config.kit.sweeps import alone
from config.kit.tenancy import atomic, tenant_atomic, use_login
from directory.operations.audit import record

BATCH = 500
# Beside the bank's kinds of decline: the owner stopped the renewal, so nothing is tried.
STOPPED = "off"
RENEWAL_STOPPED = "renewal_stopped"


@dataclass(frozen=True, slots=True)
class Dunned:
    """What one sweep did: how many payers were written to, how many subscriptions were disabled."""

    told: int = 0
    disabled: int = 0

    def __bool__(self) -> bool:
        return bool(self.told or self.disabled)


def note_failure(*, actor: Actor, bill: Bill, kind: str, code: str, at: datetime) -> None:
    """The bank refused a bill: it stays open, the subscription stays Active and is marked, the payer is told.

    Inside a transaction that has locked both, the subscription first.
    """
    bill.tries += 1
    bill.last_decline = code
    bill.decline_kind = kind
    bill.leased_until = None
    if bill.failed_at is None:
        bill.failed_at = at
    coming = _schedule(bill, at)
    _mark(bill.subscription, at)
    remember(
        bill.subscription, "payment_failed", actor=actor, at=at, bill=bill.number, kind=kind, decline=code
    )
    record(
        actor,
        "commerce.bill.payment_failed",
        at=at,
        target_type="bill",
        target_id=bill.pk,
        target_label=bill.number,
        after={"kind": kind, "decline": code, "tries": bill.tries, "next_at": coming.at.isoformat()},
    )
    notices.queue_payment_failed(bill=bill, at=at)


def dun_due(*, at: datetime) -> Dunned:
    """Make the calendar's steps that are due and not a try, which the charge sweep makes.

    A step that an outage delayed is made once. Nothing ends while a try is still without an outcome: the
    vendor's or the processor's outage never counts against the customer. Nothing while billing is paused: a copy
    may have forgotten who paid.
    """
    if not sweeps_may_run(at=at):
        return Dunned()
    told = disabled = 0
    last_id = 0
    with use_login("worker"):
        while ids := _due_after(last_id, at):
            last_id = ids[-1]
            for bill_id in ids:
                with alone("The failed payment of bill %s", bill_id):
                    done = _step(bill_id, at)
                    told += done == "told"
                    disabled += done == "disabled"
    return Dunned(told, disabled)


def note_payment(*, actor: Actor, bill: Bill, at: datetime) -> bool:
    """A bill was paid: when it was the last failed one, the mark goes, and what it had ended goes on.

    Inside a transaction that has locked both. Disabled for want of payment becomes Active at once, in the same
    period, where bills that had not been tried yet are charged after all; recurring billing stays off until the owner
    switches it on. Whether it had been marked.
    """
    subscription: Subscription = bill.subscription
    if subscription.payment_failed_at is None:
        return False
    if Bill.objects.open().filter(subscription=subscription, failed_at__isnull=False).exists():
        _mark(subscription, at)
        return False
    was_disabled = (
        subscription.state == Subscription.State.DISABLED
        and subscription.disabled_reason == Subscription.DisabledReason.UNPAID
    )
    subscription.payment_failed_at = None
    subscription.next_try_at = None
    subscription.pay_by_at = None
    subscription.version += 1
    fields = ["payment_failed_at", "next_try_at", "pay_by_at", "version"]
    if was_disabled:
        subscription.state = Subscription.State.ACTIVE
        subscription.disabled_at = None
        subscription.disabled_reason = ""
        subscription.due_at = subscription.period_end
        subscription.next_reminder_at = at
        fields += ["state", "disabled_at", "disabled_reason", "due_at", "next_reminder_at"]
    subscription.save(update_fields=fields)
    remember(subscription, "payment_recovered", actor=actor, at=at, bill=bill.number)
    if was_disabled:
        untried = Bill.objects.open().filter(subscription=subscription, collection=Bill.Collection.CARD)
        untried.filter(charge_due_at=None).update(charge_due_at=at)
        remember(subscription, "reactivated", actor=actor, at=at, bill=bill.number)
        record(
            actor,
            "commerce.subscription.reactivated",
            at=at,
            target_type="subscription",
            target_id=subscription.key,
            target_label=str(subscription),
            before={"state": Subscription.State.DISABLED},
            after={"state": Subscription.State.ACTIVE, "bill": bill.number},
        )
    return True


def try_again(*, actor: Actor, subscription: Subscription, at: datetime) -> int:
    """Another card pays from now on: let the charge sweep try the failed bills at once. How many there are.

    Inside a transaction that has locked the subscription.
    """
    failed = (
        Bill.objects.open()
        .filter(subscription=subscription, collection=Bill.Collection.CARD, failed_at__isnull=False)
        .filter(Q(charge_due_at__isnull=True) | Q(charge_due_at__gt=at))
    )
    bills = list(failed.select_for_update().order_by("id"))
    for bill in bills:
        try_bill(actor=actor, bill=bill, at=at)
    return len(bills)


def try_bill(*, actor: Actor, bill: Bill, at: datetime) -> None:
    """Let the charge sweep try a failed bill at once. Inside a transaction that has locked it and its subscription."""
    bill.charge_due_at = at
    bill.save(update_fields=["charge_due_at", "decline_kind"])
    record(
        actor,
        "commerce.bill.try_asked",
        at=at,
        target_type="bill",
        target_id=bill.pk,
        target_label=bill.number,
    )


def stop_trying(*, actor: Actor, bill: Bill, at: datetime) -> None:
    """The renewal was stopped while its bill is unpaid: nothing tries the card any more (I-14).

    The calendar goes on without tries to its end, and the bill can be paid by hand until then. Inside a
    transaction that has locked both; the payer of a bill that had not failed yet is told.
    """
    is_new = bill.failed_at is None
    bill.decline_kind = STOPPED
    bill.leased_until = None
    if is_new:
        bill.failed_at = at
        bill.last_decline = RENEWAL_STOPPED
    _schedule(bill, at)
    _mark(bill.subscription, at)
    record(
        actor,
        "commerce.bill.tries_stopped",
        at=at,
        target_type="bill",
        target_id=bill.pk,
        target_label=bill.number,
        after={"pay_by_at": bill.subscription.pay_by_at.isoformat() if bill.subscription.pay_by_at else None},
    )
    if is_new:
        notices.queue_payment_failed(bill=bill, at=at)


def stop_trying_renewals(*, actor: Actor, subscription: Subscription, at: datetime) -> None:
    """`stop_trying` for the failed renewal bills of a subscription whose renewal stops; it is locked."""
    failed = (
        Bill.objects.open()
        .filter(
            subscription=subscription,
            type__in=[Bill.Type.RENEWAL, Bill.Type.TRIAL_CONVERSION],
            collection=Bill.Collection.CARD,
        )
        .filter(failed_at__isnull=False, decline_kind="soft")
    )
    for bill in failed.select_for_update().order_by("id"):
        bill.subscription = subscription
        stop_trying(actor=actor, bill=bill, at=at)


def resume_trying_renewals(*, actor: Actor, subscription: Subscription, at: datetime) -> None:
    """The renewal goes on after all: the charge sweep tries at once what was not tried for that reason."""
    stopped = Bill.objects.open().filter(subscription=subscription, decline_kind=STOPPED)
    for bill in stopped.select_for_update().order_by("id"):
        bill.decline_kind = "soft"
        try_bill(actor=actor, bill=bill, at=at)
        _mark(subscription, at)


def credit_uncollected(deletion: Deletion) -> None:
    """What was never paid is credited when the subscription is deleted; in the sweep's own transaction."""
    bills = (
        Bill.objects.open()
        .filter(subscription_id__in=deletion.subscription_ids, collection=Bill.Collection.CARD)
        .select_related("subscription__product", "order", "vendor_entity", "bill_to", "payer")
        .order_by("tenant_id", "id")
    )
    for tenant_id, rows in groupby(bills.iterator(), key=lambda bill: bill.tenant_id):
        actor = Actor.system(tenant_id)
        for bill in rows:
            issue_credit_note(
                actor=actor,
                bill=bill,
                type=Bill.Type.CREDIT,
                order=bill.order,
                lines=[line_of(row) for row in bill.lines.order_by("id")],
                at=deletion.at,
            )


def _due_after(last_id: int, at: datetime) -> list[int]:
    with atomic():
        return list(_due(at).filter(pk__gt=last_id).order_by("pk").values_list("pk", flat=True)[:BATCH])


def _due(at: datetime) -> BillQuerySet:
    """Steps that are told rather than tried, and ends; none while a try is outstanding, whose outcome decides."""
    is_told = ~Q(decline_kind="soft") & Q(dunning_step__lt=dunning.END)
    has_no_try = Q(charge_due_at__isnull=True) | Q(charge_due_at__gt=at)
    return Bill.objects.open().filter(
        is_told | Q(dunning_step=dunning.END),
        has_no_try,
        collection=Bill.Collection.CARD,
        next_dunning_at__lte=at,
    )


def _step(bill_id: int, at: datetime) -> str:
    """Make one bill's step, under lock; `told`, `disabled`, or empty when it needs none any more."""
    with atomic():
        bill = lock_bill(bill_id)
        if not _due(at).filter(pk=bill_id).exists():
            return ""
        actor = Actor.system(bill.tenant_id)
        with tenant_atomic(actor):
            if bill.dunning_step == dunning.END:
                return _end_access(actor, bill, at)
            _schedule(bill, at)
            _mark(bill.subscription, at)
            notices.queue_payment_failed(bill=bill, at=at)
    return "told"


def _schedule(bill: Bill, at: datetime) -> dunning.Next:
    """Write what follows a failure or step at `at` into the bill."""
    assert bill.failed_at is not None
    coming = dunning.next_after(failed_at=bill.failed_at, period_end=bill.period_end, at=at)
    bill.dunning_step = coming.step
    bill.next_dunning_at = coming.at
    is_tried = bill.decline_kind == "soft" and not coming.is_end
    bill.charge_due_at = coming.at if is_tried else None
    bill.save(
        update_fields=[
            "charge_due_at",
            "leased_until",
            "tries",
            "last_decline",
            "decline_kind",
            "failed_at",
            "dunning_step",
            "next_dunning_at",
        ]
    )
    return coming


def _mark(subscription: Subscription, at: datetime) -> None:
    """The subscription shows the soonest next try and end of its failed bills. One query."""
    bills = list(
        Bill.objects.open()
        .filter(subscription=subscription, failed_at__isnull=False)
        .order_by("period_start")
    )
    tries = [bill.charge_due_at for bill in bills if bill.charge_due_at is not None]
    ends = [
        dunning.deadline(failed_at=bill.failed_at, period_end=bill.period_end)
        if bill.dunning_step < dunning.END
        else bill.next_dunning_at
        for bill in bills
        if bill.failed_at is not None
    ]
    if subscription.payment_failed_at is None:
        subscription.payment_failed_at = at
    subscription.next_try_at = min(tries, default=None)
    subscription.pay_by_at = min((end for end in ends if end is not None), default=None)
    subscription.save(update_fields=["payment_failed_at", "next_try_at", "pay_by_at"])


def _end_access(actor: Actor, bill: Bill, at: datetime) -> str:
    """Nothing was paid: Disabled at once, without the Expired phase, and recurring billing off."""
    subscription: Subscription = bill.subscription
    open_bills = Bill.objects.open().filter(subscription=subscription, collection=Bill.Collection.CARD)
    if _is_being_tried(open_bills):
        return ""
    open_bills.filter(status=Bill.Status.OPEN).update(status=Bill.Status.PAST_DUE)
    open_bills.update(next_dunning_at=None, charge_due_at=None)
    if subscription.state not in (Subscription.State.ACTIVE, Subscription.State.EXPIRED):
        return ""
    disable(subscription, actor=actor, reason=Subscription.DisabledReason.UNPAID, at=at, bill=bill.number)
    notices.queue_access_ended(bill=bill, at=at)
    return "disabled"


def _is_being_tried(bills: BillQuerySet) -> bool:
    """Whether a charge of one of the bills is under way, so that its outcome must be known first."""
    return PaymentAttempt.objects.filter(bill__in=bills).exclude(state__in=PaymentAttempt.FINAL).exists()
