"""Money that went back without our asking: refunds made at the processor, and disputes (product §5.6; F-14, I-18).

An event is a hint. What the processor has now is fetched and brought into the books, once, however often and in
whatever order it is told.
"""

import logging
from datetime import datetime

from django.db.models import Q
from django.utils.translation import gettext_noop

from commerce.gateways import Rejected, stripe
from commerce.gateways.stripe import DisputeFacts, RefundFacts
from commerce.models import Bill, Dispute, Payment, PaymentAttempt, Refund, RefundAttempt, Subscription
from commerce.operations import notices
from commerce.operations.bills import lock_bill
from commerce.operations.credits import (
    CreditExceedsBill,
    begin_refund,
    charge_of,
    issue_credit_note_over,
)
from commerce.operations.handovers import withdraw_open_offer
from commerce.operations.payments import refunding
from commerce.operations.payments.attempts import tenant_of_intent
from commerce.operations.subscriptions import disable, remember
from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry
from directory.operations.audit import record

log = logging.getLogger(__name__)

# The events that tell of money going back; each names the intent that it came by.
RETURNS = (
    "charge.refunded",
    "charge.refund.updated",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_reinstated",
    "charge.dispute.funds_withdrawn",
)


def settle_returns(intent_id: str, *, at: datetime) -> bool:
    """Book every refund and dispute that the processor has of one intent, by whatever login is in use.

    False while its charge is not settled itself: ask again later. Gives nothing back.

    :raises Retryable: no usable answer.
    """
    tenant_id = tenant_of_intent(intent_id)
    if tenant_id is None:
        return False
    actor = Actor.system(tenant_id)
    with tenant_atomic(actor):
        charge: PaymentAttempt = PaymentAttempt.objects.get(intent_id=intent_id)
    if charge.state != PaymentAttempt.State.SUCCEEDED:
        return charge.state in PaymentAttempt.FINAL
    try:
        refunds, disputes = stripe.refunds_of(intent_id), stripe.disputes_of(intent_id)
    except Rejected as refused:
        log.error("What went back of intent %s cannot be asked: %s", intent_id, refused.reason)
        return True
    for made in reversed(refunds):
        _settle_refund(actor, charge, made, at)
    for told in reversed(disputes):
        _settle_dispute(actor, charge, told, at)
    return True


def _settle_refund(actor: Actor, charge: PaymentAttempt, made: RefundFacts, at: datetime) -> None:
    with tenant_atomic(actor):
        ours = _attempt_of(charge, made)
        if ours is None:
            ours = _import(actor, charge, made, at)
    if ours is not None:
        refunding.book_outcome(actor=actor, attempt_id=ours.pk, made=made, at=at)


def _attempt_of(charge: PaymentAttempt, made: RefundFacts) -> RefundAttempt | None:
    """Our attempt for a refund of this charge: by the processor's id, else by the key that it was asked with."""
    found: RefundAttempt | None = (
        RefundAttempt.objects.select_related("payment")
        .filter(tenant_id=charge.tenant_id)
        .filter(Q(processor_refund_id=made.id) | Q(key=made.metadata.get("refund", made.id)))
        .first()
    )
    return found if found is not None and charge_of(found.payment) == charge else None


def _import(actor: Actor, charge: PaymentAttempt, made: RefundFacts, at: datetime) -> RefundAttempt | None:
    """A credit note and an attempt for a refund that was made without us; None when there is nothing to book."""
    if made.failure:
        _take_off_unbooked(charge, made, at)
        return None
    bill = _lock_holder(charge)
    if bill is None:
        _book_unbooked(actor, charge, made, at)
        return None
    known = _attempt_of(charge, made)
    if known is not None:
        return known
    note = _waiting_note(bill, made.amount_minor)
    try:
        if note is None:
            note = issue_credit_note_over(
                actor=actor,
                bill=bill,
                total_minor=made.amount_minor,
                description=str(_REFUNDED),
                at=at,
            )
        return begin_refund(actor=actor, bill=bill, credit_note=note, at=at, made_as=made.id)
    except CreditExceedsBill:
        # The money is gone all the same, so the ledger has it; what it was for is the staff's to say.
        _book_unbooked(actor, charge, made, at)
        _report(actor, bill, made.id, made.amount_minor, at)
        return None


# Written to the bill's line in English, as every line is.
_REFUNDED = gettext_noop("Refund")
_CHARGED_BACK = gettext_noop("Charge taken back by the cardholder's bank")


def _lock_holder(charge: PaymentAttempt) -> Bill | None:
    """The bill that holds the charge's money now, locked; None when it was never booked on one.

    A correction moves money under the same lock of the subscription.
    """
    payment: Payment | None = Payment.objects.filter(attempt=charge).first()
    if payment is None:
        return None
    lock_bill(payment.bill_id)
    while moved := Payment.objects.filter(moved_from=payment).first():
        payment = moved
    return lock_bill(payment.bill_id)


def _waiting_note(bill: Bill, amount_minor: int) -> Bill | None:
    """The oldest credit note of that sum whose refund has failed: what staff then refunded by hand."""
    live = RefundAttempt.objects.exclude(state=RefundAttempt.State.FAILED)
    note: Bill | None = (
        Bill.objects.filter(credits=bill, status=Bill.Status.OPEN, total_minor=-amount_minor)
        .exclude(refund_attempts__in=live)
        .order_by("pk")
        .first()
    )
    return note


def _book_unbooked(actor: Actor, charge: PaymentAttempt, made: RefundFacts, at: datetime) -> None:
    """A refund that belongs to no bill, or that its bill cannot explain: booked beside the charge alone."""
    _refund, is_new = Refund.objects.get_or_create(
        processor_refund_id=made.id,
        defaults={
            "tenant_id": charge.tenant_id,
            "attempt": charge,
            "amount_minor": made.amount_minor,
            "currency": made.currency,
            "refunded_at": at,
        },
    )
    if is_new:
        record(
            actor,
            "commerce.charge.refunded",
            at=at,
            target_type="attempt",
            target_id=charge.key,
            after={"amount_minor": made.amount_minor, "currency": made.currency},
        )


def _take_off_unbooked(charge: PaymentAttempt, made: RefundFacts, at: datetime) -> None:
    """The bank sent back a refund that is booked beside its charge alone."""
    booked: Refund | None = Refund.objects.filter(
        tenant_id=charge.tenant_id, attempt=charge, processor_refund_id=made.id, payment=None
    ).first()
    if booked is not None:
        refunding.take_off(booked, at)


def _report(actor: Actor, bill: Bill, returned_as: str, amount_minor: int, at: datetime) -> None:
    """Say once that more went back than the books can explain; the vendor's staff must look."""
    code = "commerce.refund.unmatched"
    if AuditEntry.objects.filter(tenant_id=bill.tenant_id, code=code, target_id=returned_as).exists():
        return
    log.critical("%s gave back more than is left of bill %s", returned_as, bill.number)
    record(
        actor,
        code,
        at=at,
        target_type="refund",
        target_id=returned_as,
        target_label=bill.number,
        after={"amount_minor": amount_minor, "currency": bill.currency},
    )


def _settle_dispute(actor: Actor, charge: PaymentAttempt, told: DisputeFacts, at: datetime) -> None:
    with tenant_atomic(actor):
        bill = _lock_holder(charge)
        if bill is None:
            log.error("Dispute %s is of a charge that was never booked: attempt %s", told.id, charge.key)
            return
        dispute: Dispute | None = (
            Dispute.objects.select_for_update(of=["self"]).filter(processor_id=told.id).first()
        )
        is_new = dispute is None
        if dispute is None:
            dispute = _open(actor, charge, bill, told, at)
        if dispute.status == Dispute.Status.OPEN and told.status != "open":
            _close(actor, dispute, bill, told, at)
        elif not is_new:
            return
        notices.queue_dispute(dispute=dispute, bill=bill, at=at)


def _open(actor: Actor, charge: PaymentAttempt, bill: Bill, told: DisputeFacts, at: datetime) -> Dispute:
    """No seats are added from now on."""
    dispute: Dispute = Dispute.objects.create(
        tenant_id=charge.tenant_id,
        payment=Payment.objects.get(attempt=charge),
        processor_id=told.id,
        amount_minor=told.amount_minor,
        currency=told.currency,
        reason=told.reason[:60],
        opened_at=at,
    )
    subscription: Subscription = bill.subscription
    if subscription.disputed_at is None:
        subscription.disputed_at = at
        _save(subscription)
    _tell(actor, dispute, bill, "opened", at)
    return dispute


def _close(actor: Actor, dispute: Dispute, bill: Bill, told: DisputeFacts, at: datetime) -> None:
    """Won: as if it had not been. Lost, or accepted: the money is booked as gone, and access ends at once."""
    subscription: Subscription = bill.subscription
    dispute.status, dispute.closed_at = told.status, at
    dispute.save(update_fields=["status", "closed_at"])
    others = Dispute.objects.filter(
        payment__bill__subscription=subscription, status=Dispute.Status.OPEN
    ).exists()
    if subscription.disputed_at is not None and not others:
        subscription.disputed_at = None
        _save(subscription)
    _tell(actor, dispute, bill, told.status, at)
    if told.status == "lost":
        _book_loss(actor, dispute, bill, at)
        withdraw_open_offer(actor=actor, subscription=subscription, at=at)
        disable(subscription, actor=actor, reason=Subscription.DisabledReason.DISPUTED, at=at)


def _book_loss(actor: Actor, dispute: Dispute, bill: Bill, at: datetime) -> None:
    """Book what the bank took: on credit notes whose refund it got in the way of, the rest on a new one."""
    left = min(dispute.amount_minor, bill.paid_minor - bill.refunded_minor)
    live = RefundAttempt.objects.exclude(state=RefundAttempt.State.FAILED)
    waiting = (
        Bill.objects.filter(credits=bill, status=Bill.Status.OPEN)
        .exclude(refund_attempts__in=live)
        .order_by("pk")
    )
    notes: list[Bill] = []
    for note in waiting:
        if -note.total_minor <= left:
            notes.append(note)
            left += note.total_minor
    left = min(left, bill.total_minor - bill.credited_minor)
    if left > 0:
        notes.append(
            issue_credit_note_over(
                actor=actor, bill=bill, total_minor=left, description=str(_CHARGED_BACK), at=at
            )
        )
    for number, note in enumerate(notes):
        taken_as = f"{dispute.processor_id}:{number}" if number else dispute.processor_id
        attempt = begin_refund(actor=actor, bill=bill, credit_note=note, at=at, made_as=taken_as)
        refunding.succeed(actor=actor, attempt=attempt, bill=bill, at=at)


def _save(subscription: Subscription) -> None:
    subscription.version += 1
    subscription.save(update_fields=["disputed_at", "version"])


def _tell(actor: Actor, dispute: Dispute, bill: Bill, what: str, at: datetime) -> None:
    facts = {
        "bill": bill.number,
        "amount_minor": dispute.amount_minor,
        "currency": dispute.currency,
        "reason": dispute.reason,
    }
    remember(bill.subscription, f"dispute_{what}", actor=actor, at=at, **facts)
    record(
        actor,
        f"commerce.dispute.{what}",
        at=at,
        target_type="dispute",
        target_id=dispute.processor_id,
        target_label=bill.number,
        after=facts,
    )
