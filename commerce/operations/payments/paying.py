"""Paying a checkout, with the buyer waiting (product §3.4; F-18)."""

import uuid
from datetime import datetime

from django.utils.translation import gettext_lazy as _

from commerce.gateways import Declined, Intent, NeedsAuthentication, Retryable
from commerce.gateways.declines import sentence_of
from commerce.models import Checkout, PaymentAttempt
from commerce.operations.checkouts import CheckoutClosed, TermsNotAccepted
from commerce.operations.payments import attempts, outcomes
from commerce.operations.payments.customers import customer_of
from commerce.operations.payments.guards import lock_checkout
from commerce.operations.payments.outcomes import ActionNeeded, Outcome, Paid, Pending
from config.kit.actors import Actor
from config.kit.errors import Malformed, NotVisible
from config.kit.faults import reached
from config.kit.tenancy import tenant_atomic
from directory.operations.audit import record
from directory.permissions import Capability

State = Checkout.State
UNDER_WAY = (State.PAYING, State.ACTION)


def pay_checkout(*, actor: Actor, key: uuid.UUID, confirmation_token: str, at: datetime) -> Outcome:
    """Charge a filled-in checkout once and make its order; asked again, the same outcome.

    Opens its own short transactions, since it calls the processor: never call it inside one. A second click,
    tab or reload finds the attempt that is under way, or its end. Another card while the bank waits for a
    confirmation ends that attempt first.

    :raises NotVisible: no such checkout of this person.
    :raises CheckoutClosed: its 24 hours are over.
    :raises TermsNotAccepted: nobody agreed. :raises Malformed: no card, or no billing address.
    :raises NotEligible: with all reasons, decided again right before the charge. :raises PriceChanged: likewise.
    :raises Declined: the bank said no; the checkout is open again.
    :raises Retryable, Rejected: the processor did not take the question; nothing was charged.
    """
    if not confirmation_token or len(confirmation_token) > 80:
        raise Malformed(_("Enter the details of a card."), field="card")
    actor.require(Capability.BUY, is_own=True, is_org=False, sees=Capability.BUY)
    checkout = _visible(actor, key)
    customer_id = ""
    if checkout.state == State.OPEN:
        customer_id = customer_of(actor=actor, payer=checkout.user, at=at)
    reached("R2:before")
    attempt = _begin(actor, checkout.pk, customer_id, confirmation_token, at)
    reached("R2:after")
    if attempt is not None:
        return _drive(actor, checkout.pk, attempt, at)
    return finish_checkout(actor=actor, key=key, at=at)


def finish_checkout(*, actor: Actor, key: uuid.UUID, at: datetime) -> Outcome:
    """What came of paying a checkout: after the bank's confirmation, a reload, or a lost answer.

    Takes an attempt that nobody is at as far as it goes. Opens its own transactions.

    :raises NotVisible: no such checkout of this person.
    :raises CheckoutClosed: nobody is paying it.
    :raises Declined, NotEligible, PriceChanged: as `pay_checkout`.
    """
    checkout = _visible(actor, key)
    if checkout.state not in UNDER_WAY:
        return _outcome(actor, checkout.pk, None)
    with tenant_atomic(actor):
        attempt = attempts.live_attempt(checkout)
        is_ours = attempt is not None and attempts.take_lease(attempt.pk)
    if attempt is None or not is_ours:
        return Pending()
    try:
        return _drive(actor, checkout.pk, attempt, at)
    except Retryable:
        return Pending()


def _visible(actor: Actor, key: uuid.UUID) -> Checkout:
    with tenant_atomic(actor):
        found: Checkout | None = (
            Checkout.objects.visible_to(actor).select_related("user").filter(key=key).first()
        )
    if found is None:
        raise NotVisible
    return found


def _begin(
    actor: Actor, checkout_id: int, customer_id: str, confirmation_token: str, at: datetime
) -> PaymentAttempt | None:
    """A new attempt for an open checkout, leased; None when there is one already, or it is paid."""
    with tenant_atomic(actor):
        checkout = lock_checkout(checkout_id)
        live = attempts.live_attempt(checkout)
        is_other_card = live is not None and live.confirmation_token != confirmation_token
        if live is not None and is_other_card and live.state in ("created", "intent") and not live.is_leased:
            # Not confirmed yet: the card entered last is the one meant.
            PaymentAttempt.objects.filter(pk=live.pk).update(confirmation_token=confirmation_token)
        waits_for_bank = live is not None and is_other_card and live.state == "action"
        if checkout.state == State.OPEN:
            return _new_attempt(actor, checkout, customer_id, confirmation_token, at)
    if not waits_for_bank or live is None or live.intent_id is None:
        return None
    outcomes.cancel(actor=actor, attempt_id=live.pk, intent_id=live.intent_id, reason="replaced", at=at)
    with tenant_atomic(actor):
        checkout = lock_checkout(checkout_id)
        if checkout.state != State.OPEN:
            return None
        return _new_attempt(actor, checkout, live.customer_processor_id, confirmation_token, at)


def _new_attempt(
    actor: Actor, checkout: Checkout, customer_id: str, confirmation_token: str, at: datetime
) -> PaymentAttempt | None:
    if checkout.expires_at <= at:
        raise CheckoutClosed(State.ABANDONED)
    if checkout.consented_at is None:
        raise TermsNotAccepted
    if checkout.bill_to_id is None:
        raise Malformed(_("The billing address is missing."), field="street")
    if not customer_id or checkout.attempts.filter(confirmation_token=confirmation_token).exists():
        # The same card details again, after their outcome: the outcome is the answer.
        return None
    attempt = attempts.begin(
        actor=actor, cause=checkout, customer_id=customer_id, confirmation_token=confirmation_token, at=at
    )
    checkout.state = State.PAYING
    checkout.last_error = ""
    checkout.version += 1
    checkout.save(update_fields=["state", "last_error", "version"])
    record(
        actor,
        "commerce.checkout.pay_asked",
        at=at,
        target_type="checkout",
        target_id=checkout.key,
        target_label=checkout.product.name,
        after={"total_minor": checkout.total_minor, "currency": checkout.currency, "attempt": attempt.key},
    )
    return attempt


def _drive(actor: Actor, checkout_id: int, attempt: PaymentAttempt, at: datetime) -> Outcome:
    try:
        intent = attempts.drive(actor=actor, attempt_id=attempt.pk, at=at)
    except Retryable:
        with tenant_atomic(actor):
            state = PaymentAttempt.objects.values_list("state", flat=True).get(pk=attempt.pk)
        if state in ("created", "intent"):
            raise
        return Pending()
    return _outcome(actor, checkout_id, intent)


def _outcome(actor: Actor, checkout_id: int, intent: Intent | None) -> Outcome:
    """The outcome as the rows have it."""
    with tenant_atomic(actor):
        checkout: Checkout = Checkout.objects.get(pk=checkout_id)
        if checkout.state == State.PAID:
            return Paid(checkout.order)
        latest: PaymentAttempt | None = checkout.attempts.order_by("-id").first()
    if checkout.state == State.ACTION and intent is not None:
        return ActionNeeded(intent.client_secret)
    if checkout.state in UNDER_WAY:
        return Pending()
    if checkout.state == State.OPEN and latest is not None and _was_refused(latest):
        raise _refusal(latest)
    raise CheckoutClosed(checkout.state)


def _was_refused(attempt: PaymentAttempt) -> bool:
    """By the bank, or for want of its confirmation; not by us for a reason of our own."""
    return attempt.state == "failed" or sentence_of(attempt.decline_code) is not None


def _refusal(attempt: PaymentAttempt) -> Declined | NeedsAuthentication:
    """The error with which an attempt ended, said again."""
    if attempt.decline_kind == "auth":
        return NeedsAuthentication()
    code = attempt.decline_code or "interrupted"
    return Declined("hard" if attempt.decline_kind == "hard" else "soft", code, sentence_of(code))


__all__ = ["ActionNeeded", "Outcome", "Paid", "Pending", "finish_checkout", "pay_checkout"]
