"""Paying one open bill by hand, with the payer there to answer the bank (product §5.6, §6; F-12).

It shares the one live attempt of a bill with the sweep (I-10): whoever comes second finds the first one's.
"""

from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext_lazy as _

from commerce.gateways import Intent, Retryable
from commerce.models import Bill, Card, PaymentAttempt
from commerce.operations.bills import BillNotOpen, lock_bill
from commerce.operations.payments import attempts, guards, outcomes
from commerce.operations.payments.customers import customer_of
from commerce.operations.payments.outcomes import ActionNeeded, Pending
from commerce.operations.payments.paying import Means
from config.kit.actors import Actor
from config.kit.errors import Malformed, NotVisible
from config.kit.faults import reached
from config.kit.tenancy import tenant_atomic
from directory.operations.audit import record
from directory.permissions import Capability

State = PaymentAttempt.State


@dataclass(frozen=True, slots=True)
class BillPaid:
    """The bill is paid."""

    bill: Bill


type BillOutcome = BillPaid | ActionNeeded | Pending


def pay_bill(
    *,
    actor: Actor,
    number: str,
    at: datetime,
    card_id: int | None = None,
    confirmation_token: str = "",
    from_now_on: bool = False,
) -> BillOutcome:
    """Charge an open bill once, with a saved card of its payer (the id of a `Card`) or a new one.

    `from_now_on`: once it is paid, that card pays the subscription, if the payer still owns it.
    Asked again while a charge is under way, by whomever, what came of that one. Another card while the bank waits
    for a confirmation ends that charge first. A refusal does not move the calendar of failed payments. Opens its
    own short transactions, since it calls the processor.

    :raises NotVisible, NotAllowed: not the actor's to see, or to pay. :raises BillNotOpen: nothing is to be paid.
    :raises Malformed: no card, or not one of the payer's. :raises Declined, NeedsAuthentication: the bank said no.
    :raises Retryable, Rejected: the processor did not take the question; nothing was charged.
    """
    bill = _payable(actor, number)
    if card_id is None and not 0 < len(confirmation_token) <= 80:
        raise Malformed(_("Enter the details of a card."), field="card")
    with tenant_atomic(actor):
        card = (
            None if card_id is None else Card.objects.of_payer(actor, bill.payer).filter(pk=card_id).first()
        )
    if card_id is not None and card is None:
        raise Malformed(_("Choose one of the cards."), field="card")
    means = Means("" if card else confirmation_token, card, from_now_on=from_now_on)
    if bill.status == Bill.Status.PAID:
        return BillPaid(bill)
    customer_id = customer_of(actor=actor, payer=bill.payer, at=at)
    reached("R2:before")
    attempt = _begin(actor, bill.pk, customer_id, means, at)
    reached("R2:after")
    if attempt is not None:
        return _drive(actor, bill.pk, attempt, at)
    outcome = finish_bill(actor=actor, number=number, at=at)
    if outcome is not None:
        return outcome
    with tenant_atomic(actor):
        refused = last_refusal(bill)
    raise outcomes.refusal_of(refused) if refused is not None else BillNotOpen


def finish_bill(*, actor: Actor, number: str, at: datetime) -> BillOutcome | None:
    """What came of paying a bill: after the bank's confirmation, a reload, or a lost answer; None: nobody pays it.

    :raises NotVisible, NotAllowed, Declined, NeedsAuthentication: as `pay_bill`.
    """
    bill = _payable(actor, number)
    with tenant_atomic(actor):
        attempt = attempts.live_attempt(bill)
        is_ours = (
            attempt is not None
            and attempt.state not in PaymentAttempt.FINAL
            and attempts.take_lease(attempt.pk)
        )
    if bill.status == Bill.Status.PAID:
        return BillPaid(bill)
    if attempt is None:
        return None
    if not is_ours:
        return Pending()
    try:
        return _drive(actor, bill.pk, attempt, at)
    except Retryable:
        return Pending()


def last_refusal(bill: Bill) -> PaymentAttempt | None:
    """The bill's latest charge, when it was refused and the payer was there. One query."""
    latest: PaymentAttempt | None = bill.attempts.order_by("-id").first()
    if latest is not None and latest.on_session and latest.state in (State.FAILED, State.CANCELED):
        return latest
    return None


def _payable(actor: Actor, number: str) -> Bill:
    with tenant_atomic(actor):
        bill: Bill | None = (
            Bill.objects.visible_to(actor).select_related("payer").filter(number=number).first()
        )
    if bill is None:
        raise NotVisible
    actor.require(
        Capability.PAY_BILLS,
        is_own=bill.payer_id is not None and bill.payer_id == actor.user_id,
        is_org=bill.payer_id is None,
        sees=Capability.SEE_BILLS,
    )
    if bill.total_minor <= 0:
        raise BillNotOpen
    return bill


def _begin(actor: Actor, bill_id: int, customer_id: str, means: Means, at: datetime) -> PaymentAttempt | None:
    """A new attempt, leased; None when one is under way, or these card details have their answer already."""
    with tenant_atomic(actor):
        bill = lock_bill(bill_id)
        live = attempts.live_attempt(bill)
        if live is None:
            return _new_attempt(actor, bill, customer_id, means, at)
        waits_for_bank = live.state == State.ACTION and not means.is_of(live)
    if not waits_for_bank or live.intent_id is None:
        return None
    outcomes.cancel(
        actor=actor, attempt_id=live.pk, intent_id=live.intent_id, reason=outcomes.REPLACED, at=at
    )
    with tenant_atomic(actor):
        bill = lock_bill(bill_id)
        if attempts.live_attempt(bill) is not None:
            return None
        return _new_attempt(actor, bill, customer_id, means, at)


def _new_attempt(
    actor: Actor, bill: Bill, customer_id: str, means: Means, at: datetime
) -> PaymentAttempt | None:
    token = means.confirmation_token
    if bill.status == Bill.Status.PAID or (token and bill.attempts.filter(confirmation_token=token).exists()):
        return None
    if guards.why_not_paid(bill):
        raise BillNotOpen
    guards.require_enough(bill)
    attempt = attempts.begin(
        actor=actor,
        cause=bill,
        customer_id=customer_id,
        confirmation_token=token,
        card_id=means.card_id,
        on_session=True,
        pays_from_now_on=means.from_now_on,
        at=at,
    )
    record(
        actor,
        "commerce.bill.pay_asked",
        at=at,
        target_type="bill",
        target_id=bill.pk,
        target_label=bill.number,
        after={"total_minor": bill.total_minor, "currency": bill.currency, "attempt": attempt.key},
    )
    return attempt


def _drive(actor: Actor, bill_id: int, attempt: PaymentAttempt, at: datetime) -> BillOutcome:
    intent: Intent | None = None
    try:
        intent = attempts.drive(actor=actor, attempt_id=attempt.pk, at=at)
    except guards.NotCharged as refused:
        raise BillNotOpen from refused
    except Retryable:
        with tenant_atomic(actor):
            state = PaymentAttempt.objects.values_list("state", flat=True).get(pk=attempt.pk)
        if state in (State.CREATED, State.INTENT):
            raise
        return Pending()
    with tenant_atomic(actor):
        bill: Bill = Bill.objects.select_related("payer").get(pk=bill_id)
        attempt = PaymentAttempt.objects.get(pk=attempt.pk)
    if bill.status == Bill.Status.PAID:
        return BillPaid(bill)
    if attempt.state == State.ACTION and intent is not None:
        return ActionNeeded(intent.client_secret)
    if attempt.state in (State.FAILED, State.CANCELED):
        raise outcomes.refusal_of(attempt)
    return Pending()
