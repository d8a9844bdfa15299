"""What came of an attempt, recorded once and in one transaction (R6)."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from commerce.gateways import Declined, Intent, NeedsAuthentication, stripe
from commerce.gateways.declines import AUTHENTICATION, REFUSED, sentence_of
from commerce.models import Bill, Card, Checkout, Order, Payment, PaymentAttempt, Refund, Subscription
from commerce.operations import notices
from commerce.operations.bills import BillNotOpen, book_payment
from commerce.operations.cards import keep_card, let_pay
from commerce.operations.dunning import note_failure, note_payment
from commerce.operations.payments import spending
from commerce.operations.payments.guards import lock_attempt
from commerce.operations.payments.kinds import NothingToGive, kind_of
from config.kit.actors import Actor
from config.kit.faults import reached
from config.kit.tenancy import atomic, tenant_atomic
from directory.models import User
from directory.operations.audit import record

log = logging.getLogger(__name__)

State = PaymentAttempt.State
MISMATCH = "mismatch"
# The payer ended a charge that waited for the bank: nothing went wrong.
REPLACED = "replaced"
# The charge came too late: until it is refunded, `decline_code` says so, and afterwards that it was.
TO_REFUND, GIVEN_BACK = "to_refund", "given_back"


@dataclass(frozen=True, slots=True)
class Paid:
    """Charged; the order is placed."""

    order: Order


@dataclass(frozen=True, slots=True)
class ActionNeeded:
    """The bank wants the buyer's confirmation, in the browser, by this secret."""

    client_secret: str


@dataclass(frozen=True, slots=True)
class Pending:
    """Under way: another request is at it, the bank takes its time, or the answer was lost. Ask again."""


type Outcome = Paid | ActionNeeded | Pending


def settle(*, actor: Actor, attempt_id: int, intent: Intent, at: datetime) -> Intent:
    """Record what the processor says about an attempt; run again, it changes nothing more.

    A declined intent is ended over there first, so that no page left open somewhere can still confirm it after
    another attempt was begun.

    :raises Retryable: it could not be ended; nothing was recorded.
    """
    decline = intent.decline
    if decline is not None:
        intent = stripe.cancel_intent(intent.id)
    reached("R6:before")
    with tenant_atomic(actor):
        must_refund = _record(actor, attempt_id, intent, decline if intent.status == "canceled" else None, at)
    reached("R6:after")
    if must_refund:
        _give_back(actor, attempt_id, intent, at)
    return intent


def cancel(*, actor: Actor, attempt_id: int, intent_id: str, reason: str, at: datetime) -> None:
    """End an attempt over there, and here by what it then is; `REFUSED` as a `reason` is a charge that failed.

    :raises Retryable: it could not be ended; nothing was recorded. :raises Rejected: unknown to the processor.
    """
    intent = stripe.cancel_intent(intent_id)
    decline = Declined("hard", REFUSED) if reason == REFUSED else None
    with tenant_atomic(actor):
        must_refund = _record(actor, attempt_id, intent, decline, at, reason=reason)
    if must_refund:
        _give_back(actor, attempt_id, intent, at)


def end_without_charge(*, actor: Actor, attempt_id: int, reason: str, at: datetime) -> None:
    """End an attempt that never had an id: nothing was confirmed, so nothing was charged; `reason` as `cancel`."""
    state, kind = (State.FAILED, "hard") if reason == REFUSED else (State.CANCELED, "")
    with tenant_atomic(actor):
        attempt = lock_attempt(attempt_id)
        if attempt.state == State.CREATED:
            _end(actor, attempt, state, kind=kind, code=reason, at=at)


def _record(
    actor: Actor,
    attempt_id: int,
    intent: Intent,
    decline: Declined | NeedsAuthentication | None,
    at: datetime,
    *,
    reason: str = "canceled",
) -> bool:
    """Write the outcome; True when money came in for which there is nothing to give."""
    attempt = lock_attempt(attempt_id)
    is_paid = intent.status == "succeeded"
    if attempt.state in PaymentAttempt.FINAL:
        return is_paid and not is_accounted_for(attempt) and _owe(attempt, at)
    if not is_as_agreed(attempt, intent):
        _park(actor, attempt, intent, at)
        return False
    if is_paid:
        _move(attempt, State.SUCCEEDED, at)
        if attempt.checkout is not None:
            is_booked = _complete_checkout(actor, attempt, attempt.checkout, intent, at)
        else:
            assert attempt.bill is not None
            is_booked = _complete_bill(actor, attempt, attempt.bill, intent, at)
        return not is_booked and _owe(attempt, at)
    if intent.status == "canceled":
        if decline is None:
            _end(actor, attempt, State.CANCELED, kind="", code=reason, at=at)
        else:
            kind, code = facts_of(decline)
            _end(actor, attempt, State.FAILED, kind=kind, code=code, at=at)
    elif intent.status == "requires_action":
        if attempt.state != State.ACTION:
            _move(attempt, State.ACTION, at)
        if attempt.checkout is not None and attempt.checkout.state == Checkout.State.PAYING:
            _set_checkout(attempt.checkout, Checkout.State.ACTION)
    return False


def _owe(attempt: PaymentAttempt, at: datetime) -> bool:
    """Mark a charge for which there is nothing to give, so that the reconciler gives it back whatever happens now."""
    attempt.decline_code = TO_REFUND
    _move(attempt, attempt.state, at)
    return True


def is_accounted_for(attempt: PaymentAttempt) -> bool:
    """Whether the money of a charged attempt was booked or given back. Two queries."""
    return Payment.objects.filter(attempt=attempt).exists() or Refund.objects.filter(attempt=attempt).exists()


def facts_of(decline: Declined | NeedsAuthentication) -> tuple[str, str]:
    """Kind and code as the rows keep them."""
    if isinstance(decline, Declined):
        return decline.kind, decline.decline_code[:60]
    return "auth", AUTHENTICATION


def refusal_of(attempt: PaymentAttempt) -> Declined | NeedsAuthentication:
    """The error with which an attempt ended, said again."""
    if attempt.decline_kind == "auth":
        return NeedsAuthentication()
    code = attempt.decline_code or "interrupted"
    return Declined("hard" if attempt.decline_kind == "hard" else "soft", code, sentence_of(code))


def is_as_agreed(attempt: PaymentAttempt, intent: Intent) -> bool:
    """I-17: amount, currency, customer and origin are those of our own row."""
    metadata = intent.metadata or {}
    return (
        intent.id == attempt.intent_id
        and intent.amount_minor == attempt.amount_minor
        and intent.currency == attempt.currency
        and intent.customer_id == attempt.customer_processor_id
        and metadata.get("attempt") == attempt.key
        and metadata.get("tenant") == str(attempt.tenant_id)
    )


def _park(actor: Actor, attempt: PaymentAttempt, intent: Intent, at: datetime) -> None:
    """Leave the attempt for the vendor's staff: what the processor says is not what was agreed."""
    if attempt.decline_code == MISMATCH:
        return
    attempt.decline_code = MISMATCH
    attempt.updated_at = at
    attempt.save(update_fields=["decline_code", "updated_at"])
    log.critical("Attempt %s is not what the processor has as %s", attempt.key, intent.id)
    record(
        actor,
        "commerce.attempt.parked",
        at=at,
        target_type="attempt",
        target_id=attempt.key,
        before={"amount_minor": attempt.amount_minor, "currency": attempt.currency},
        after={"amount_minor": intent.amount_minor, "currency": intent.currency, "status": intent.status},
    )


def _move(attempt: PaymentAttempt, state: str, at: datetime) -> None:
    attempt.state = state
    attempt.updated_at = at
    attempt.save(update_fields=["state", "updated_at", "decline_kind", "decline_code"])


def _end(actor: Actor, attempt: PaymentAttempt, state: str, *, kind: str, code: str, at: datetime) -> None:
    """The attempt brought no money: the checkout opens again, the bill stays open."""
    attempt.decline_kind, attempt.decline_code = kind, code[:60]
    _move(attempt, state, at)
    record(
        actor,
        f"commerce.attempt.{state}",
        at=at,
        target_type="attempt",
        target_id=attempt.key,
        after={"code": attempt.decline_code, "kind": kind},
    )
    if attempt.checkout is not None:
        if attempt.checkout.state in (Checkout.State.PAYING, Checkout.State.ACTION):
            spending.release(actor, attempt.checkout, at)
            attempt.checkout.last_error = "" if code == REPLACED else attempt.decline_code
            _set_checkout(attempt.checkout, Checkout.State.OPEN)
    elif attempt.bill is not None and state == State.FAILED and not attempt.on_session:
        # A person who tries a card by hand sees the answer; the calendar counts the tries made without them.
        note_failure(actor=actor, bill=attempt.bill, kind=kind, code=attempt.decline_code, at=at)


def _complete_checkout(
    actor: Actor, attempt: PaymentAttempt, checkout: Checkout, intent: Intent, at: datetime
) -> bool:
    """Make what was paid for and book the charge on its bill; False when nothing can be given for it."""
    kind = kind_of(checkout)
    card = _keep_card(actor, checkout.payer, intent, at)
    try:
        with atomic():
            spending.settle(actor, checkout, at)
            placed = kind.place(actor=actor, checkout=checkout, card=card, at=at)
    except NothingToGive as late:
        spending.release(actor, checkout, at)
        checkout.last_error = late.code
        _set_checkout(checkout, Checkout.State.ABANDONED)
        return False
    book_payment(
        actor=actor,
        bill=placed.bill,
        attempt=attempt,
        charge_id=intent.charge_id,
        received_at=at,
        at=at,
        card=card,
    )
    _let_pay(actor, attempt, placed.subscription, card, at)
    checkout.paid_at = at
    checkout.last_error = ""
    _set_checkout(checkout, Checkout.State.PAID)
    kind.tell(placed=placed, card=card, at=at)
    return True


def _complete_bill(actor: Actor, attempt: PaymentAttempt, bill: Bill, intent: Intent, at: datetime) -> bool:
    """Book the charge on its bill; False when that needs no money any more."""
    if attempt.confirmation_token and bill.status in (Bill.Status.OPEN, Bill.Status.PAST_DUE):
        card = _keep_card(actor, bill.payer, intent, at)
    else:
        card = _card_of(intent)
    try:
        book_payment(
            actor=actor,
            bill=bill,
            attempt=attempt,
            charge_id=intent.charge_id,
            received_at=at,
            at=at,
            card=card,
        )
    except BillNotOpen:
        return False
    recovered = note_payment(actor=actor, bill=bill, at=at)
    _let_pay(actor, attempt, bill.subscription, card, at)
    notices.queue_renewal_receipt(bill=bill, card=card, recovered=recovered, at=at)
    return True


def _let_pay(
    actor: Actor, attempt: PaymentAttempt, subscription: Subscription, card: Card | None, at: datetime
) -> None:
    """Make the card that was charged the subscription's, where its payer said so; other failed bills try it too."""
    if attempt.pays_from_now_on and card is not None and card.removed_at is None:
        let_pay(actor=actor, subscriptions=[subscription], card=card, at=at)


def _card_of(intent: Intent) -> Card | None:
    """The card that was charged, as far as it is known here."""
    card: Card | None = (
        Card.objects.filter(processor_id=intent.card.processor_id).first() if intent.card else None
    )
    return card


def _set_checkout(checkout: Checkout, state: str) -> None:
    checkout.state = state
    checkout.version += 1
    checkout.save(update_fields=["state", "version", "last_error", "paid_at"])


def _keep_card(actor: Actor, payer: User | None, intent: Intent, at: datetime) -> Card | None:
    """The payer's card as the processor describes it (payer None: the organization's); None when it does not."""
    if intent.card is None:
        return None
    return keep_card(actor=actor, tenant_id=actor.tenant_id, payer=payer, facts=intent.card, at=at)


def _give_back(actor: Actor, attempt_id: int, intent: Intent, at: datetime) -> None:
    """Refund a charge for which there is nothing to give: it came after its attempt or its bill had ended.

    A refund that is there already, such as one made at the processor's dashboard, is the one.

    :raises Retryable: not refunded yet; the reconciler tries again. :raises Rejected: the vendor's staff must look.
    """
    with tenant_atomic(actor):
        attempt = PaymentAttempt.objects.get(pk=attempt_id)
    log.error("Refunding a charge that came too late: attempt %s, intent %s", attempt.key, intent.id)
    known = (found for found in stripe.refunds_of(intent.id) if not found.failure)
    made = next((found for found in known if found.amount_minor == intent.amount_minor), None)
    if made is None:
        made = stripe.refund(
            # Another one each hour, since a failure of the processor's own is kept with its key for a day: the whole
            # charge can be refunded once only, whatever the key.
            key=f"refund_{attempt.key}_{at.astimezone(UTC):%Y%m%d%H}",
            intent_id=intent.id,
            amount_minor=intent.amount_minor,
            metadata={"tenant": str(attempt.tenant_id), "attempt": attempt.key},
        )
    with tenant_atomic(actor):
        _refund, is_new = Refund.objects.get_or_create(
            processor_refund_id=made.id,
            defaults={
                "tenant_id": attempt.tenant_id,
                "attempt": attempt,
                "amount_minor": made.amount_minor,
                "currency": made.currency,
                "refunded_at": at,
            },
        )
        PaymentAttempt.objects.filter(pk=attempt.pk).update(decline_code=GIVEN_BACK, updated_at=at)
        if is_new:
            record(
                actor,
                "commerce.charge.refunded",
                at=at,
                target_type="attempt",
                target_id=attempt.key,
                after={"amount_minor": made.amount_minor, "currency": made.currency},
            )
