"""Paying a checkout, with the payer waiting: a purchase, or a change of a subscription (product §3.4, §5; F-18)."""

import uuid
from dataclasses import dataclass, replace
from datetime import datetime

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from commerce.gateways import Intent, Rejected, Retryable
from commerce.gateways.declines import sentence_of
from commerce.models import Card, Checkout, PaymentAttempt
from commerce.operations.checkouts import CheckoutClosed, TermsNotAccepted, abandon
from commerce.operations.payments import attempts, outcomes
from commerce.operations.payments.customers import customer_of
from commerce.operations.payments.guards import lock_checkout, require_enough
from commerce.operations.payments.kinds import kind_of
from commerce.operations.payments.outcomes import ActionNeeded, Outcome, Paid, Pending
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotVisible
from config.kit.faults import reached
from config.kit.tenancy import tenant_atomic
from directory.operations.audit import record

State = Checkout.State
Kind = Checkout.Kind
UNDER_WAY = (State.PAYING, State.ACTION)
CHANGES = (Kind.ADD_SEATS, Kind.REACTIVATION)


@dataclass(frozen=True, slots=True)
class Means:
    """With what the payer wants to pay: card details from the browser, good for one try, or a saved card.

    `version` is that of the checkout on the page; None where the page checked it before. `tries`: how many tries to
    pay it the page knew of, where that tells two clicks on it apart. `from_now_on`: the card is to pay the
    subscription's later charges too.
    """

    confirmation_token: str = ""
    card: Card | None = None
    version: int | None = None
    tries: int | None = None
    from_now_on: bool = False

    @property
    def card_id(self) -> str:
        return self.card.processor_id if self.card else ""

    def is_of(self, attempt: PaymentAttempt) -> bool:
        return bool(
            attempt.confirmation_token == self.confirmation_token
            and attempt.card_processor_id == self.card_id
        )


def pay_checkout(
    *,
    actor: Actor,
    key: uuid.UUID,
    at: datetime,
    confirmation_token: str = "",
    card_id: int | None = None,
    tries: int | None = None,
) -> Outcome:
    """Charge a filled-in checkout once and make its order; asked again, the same outcome.

    With a new card by its token, or with a saved one of the buyer: `card_id` is the id of a `Card`, and `tries` how
    many tries the page knew of, by which a second click gets the first one's answer.

    Opens its own short transactions, since it calls the processor: never call it inside one. A second click,
    tab or reload finds the attempt that is under way, or its end. Another card while the bank waits for a
    confirmation ends that attempt first.

    :raises NotVisible: no such checkout of this person.
    :raises CheckoutClosed: its 24 hours are over.
    :raises TermsNotAccepted: nobody agreed. :raises Malformed: no card, not one of the buyer's, or no billing address.
    :raises NotEligible: with all reasons, decided again right before the charge. :raises PriceChanged: likewise.
    :raises Conflict: the page did not know of a later try. :raises Declined: the bank said no; it is open again.
    :raises Retryable, Rejected: the processor did not take the question; nothing was charged.
    """
    if card_id is None:
        _require_token(confirmation_token)
    checkout = _visible(actor, key)
    if checkout.kind in CHANGES:
        raise NotVisible
    kind_of(checkout).allow(actor, checkout)
    means = Means(confirmation_token)
    if card_id is not None:
        means = Means(card=_card_of(actor, checkout, card_id), tries=tries)
    return _pay(actor, checkout, means, at)


def pay_change(
    *,
    actor: Actor,
    key: uuid.UUID,
    version: int,
    at: datetime,
    card_id: int | None = None,
    confirmation_token: str = "",
    from_now_on: bool = False,
) -> Outcome:
    """Charge a change of a subscription once and make it: with a saved card of its payer, or with a new one.

    The same guarantees as `pay_checkout`. `card_id` is the id of a `Card`; `version` that of the checkout whose
    amount the person saw: what was shown is what is charged. `from_now_on`: once it is paid, that card pays the
    subscription. A saved card that was declined may be tried again,
    by a page that says so; the second click on the same page gets the first one's answer.

    :raises NotVisible: no such change of this person. :raises NotAllowed: not theirs to make or to pay.
    :raises Malformed: no card, or not one of the payer's.
    :raises Conflict: the change was counted anew since the page was shown. :raises CheckoutClosed: it is over.
    :raises DomainError: what its kind says right before the charge, such as `PriceChanged`.
    :raises Declined: the bank said no; it can be paid with another card.
    :raises Retryable, Rejected: the processor did not take the question; nothing was charged.
    """
    if card_id is None:
        _require_token(confirmation_token)
    checkout = _visible(actor, key)
    if checkout.kind not in CHANGES:
        raise NotVisible
    with tenant_atomic(actor):
        kind_of(checkout).allow(actor, checkout)
    card = None if card_id is None else _card_of(actor, checkout, card_id)
    means = Means("" if card else confirmation_token, card, version, from_now_on=from_now_on)
    return _pay(actor, checkout, means, at)


def _card_of(actor: Actor, checkout: Checkout, card_id: int) -> Card:
    """:raises Malformed: not a card of the payer."""
    with tenant_atomic(actor):
        card: Card | None = Card.objects.of_payer(actor, checkout.payer).filter(pk=card_id).first()
    if card is None:
        raise Malformed(_("Choose one of the cards."), field="card")
    return card


def _require_token(confirmation_token: str) -> None:
    if not confirmation_token or len(confirmation_token) > 80:
        raise Malformed(_("Enter the details of a card."), field="card")


def _pay(actor: Actor, checkout: Checkout, means: Means, at: datetime) -> Outcome:
    customer_id = ""
    if checkout.state == State.OPEN:
        customer_id = customer_of(actor=actor, payer=checkout.payer, at=at)
    reached("R2:before")
    attempt = _begin(actor, checkout.pk, customer_id, means, at)
    reached("R2:after")
    if attempt is not None:
        return _drive(actor, checkout.pk, attempt, at)
    return finish_checkout(actor=actor, key=checkout.key, at=at)


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


def stop_waiting(*, actor: Actor, key: uuid.UUID, at: datetime) -> Checkout:
    """End a charge that waits for the bank's confirmation; the checkout is open again, for another card.

    One that does not wait stays as it is; one that was confirmed meanwhile is paid. Opens its own transactions, since
    it calls the processor.

    :raises NotVisible: no such checkout of this person. :raises NotAllowed: not theirs to pay.
    :raises Retryable: it could not be ended; nothing was changed.
    """
    checkout = _visible(actor, key)
    with tenant_atomic(actor):
        kind_of(checkout).allow(actor, checkout)
    _end_waiting(actor, checkout, at)
    return _visible(actor, key)


def drop_checkout(*, actor: Actor, key: uuid.UUID, at: datetime) -> Checkout:
    """Give up a checkout, with the charge that waits for the bank; one that was paid, or given up before, stays so.

    :raises CheckoutClosed: a charge is under way that waits for nobody. :raises DomainError: as `stop_waiting`.
    """
    stop_waiting(actor=actor, key=key, at=at)
    checkout = _visible(actor, key)
    with tenant_atomic(actor):
        checkout = lock_checkout(checkout.pk)
        if checkout.state in UNDER_WAY:
            raise CheckoutClosed(checkout.state)
        if checkout.state == State.OPEN:
            abandon(actor, checkout, at)
    return checkout


def withdraw_additions(*, actor: Actor, subscription_id: int, at: datetime) -> None:
    """Give up the seats that were to be added to a subscription that has ended, with charges that wait for a bank.

    What cannot be withdrawn now goes back whole if it is confirmed: there is nothing to give for it. Never call it
    inside a transaction.
    """
    with tenant_atomic(actor):
        changes = list(
            Checkout.objects.filter(
                tenant_id=actor.tenant_id,
                subscription_id=subscription_id,
                kind=Kind.ADD_SEATS,
                state__in=(State.OPEN, State.ACTION),
            )
        )
    for change in changes:
        try:
            _end_waiting(actor, change, at)
        except (Retryable, Rejected):
            continue
        with tenant_atomic(actor):
            change = lock_checkout(change.pk)
            if change.state == State.OPEN:
                abandon(actor, change, at)


def _end_waiting(actor: Actor, checkout: Checkout, at: datetime) -> None:
    """:raises Retryable: it could not be ended."""
    with tenant_atomic(actor):
        live = attempts.live_attempt(checkout)
    if live is not None and live.state == PaymentAttempt.State.ACTION and live.intent_id is not None:
        outcomes.cancel(
            actor=actor, attempt_id=live.pk, intent_id=live.intent_id, reason=outcomes.REPLACED, at=at
        )


def _visible(actor: Actor, key: uuid.UUID) -> Checkout:
    with tenant_atomic(actor):
        found: Checkout | None = (
            Checkout.objects.visible_to(actor)
            .select_related("user", "subscription__owner_user")
            .filter(key=key)
            .first()
        )
    if found is None:
        raise NotVisible
    return found


def _begin(
    actor: Actor, checkout_id: int, customer_id: str, means: Means, at: datetime
) -> PaymentAttempt | None:
    """A new attempt for an open checkout, leased; None when there is one already, or it is paid."""
    with tenant_atomic(actor):
        checkout = lock_checkout(checkout_id)
        live = attempts.live_attempt(checkout)
        is_other_card = live is not None and not means.is_of(live)
        if live is not None and is_other_card and live.state in ("created", "intent") and not live.is_leased:
            # Not confirmed yet: the card chosen last is the one meant.
            PaymentAttempt.objects.filter(pk=live.pk).update(
                confirmation_token=means.confirmation_token,
                card_processor_id=means.card_id,
                pays_from_now_on=means.from_now_on,
            )
        waits_for_bank = live is not None and is_other_card and live.state == "action"
        if checkout.state == State.OPEN:
            return _new_attempt(actor, checkout, customer_id, means, at)
    if not waits_for_bank or live is None or live.intent_id is None:
        return None
    outcomes.cancel(
        actor=actor, attempt_id=live.pk, intent_id=live.intent_id, reason=outcomes.REPLACED, at=at
    )
    with tenant_atomic(actor):
        checkout = lock_checkout(checkout_id)
        if checkout.state != State.OPEN:
            return None
        means = replace(means, version=None, tries=None)
        return _new_attempt(actor, checkout, live.customer_processor_id, means, at)


def _new_attempt(
    actor: Actor, checkout: Checkout, customer_id: str, means: Means, at: datetime
) -> PaymentAttempt | None:
    if checkout.expires_at <= at:
        raise CheckoutClosed(State.ABANDONED)
    if _is_answered(checkout, customer_id, means):
        return None
    if checkout.kind in CHANGES:
        # The page says what paying agrees to; its button is the consent.
        checkout.terms_version, checkout.consented_at = settings.TERMS_VERSION, at
        checkout.card = means.card
    if checkout.consented_at is None:
        raise TermsNotAccepted
    if checkout.bill_to_id is None:
        raise Malformed(_("The billing address is missing."), field="street")
    require_enough(checkout)
    attempt = attempts.begin(
        actor=actor,
        cause=checkout,
        customer_id=customer_id,
        confirmation_token=means.confirmation_token,
        card_id=means.card_id,
        pays_from_now_on=means.from_now_on,
        at=at,
    )
    checkout.state = State.PAYING
    checkout.last_error = ""
    checkout.version += 1
    checkout.save(update_fields=["state", "last_error", "version", "terms_version", "consented_at", "card"])
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


def _is_answered(checkout: Checkout, customer_id: str, means: Means) -> bool:
    """Whether what is asked has its answer already: the outcome of the same card details, or of an older page.

    :raises Conflict: the page is older, and its answer is not that of its card.
    """
    if not customer_id:
        return True
    if (
        means.confirmation_token
        and checkout.attempts.filter(confirmation_token=means.confirmation_token).exists()
    ):
        return True
    is_same_page = means.version in (None, checkout.version)
    if is_same_page and (means.tries is None or means.tries == checkout.attempts.count()):
        return False
    latest = checkout.attempts.order_by("-id").first()
    if latest is not None and means.is_of(latest):
        return True
    raise Conflict


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
        raise outcomes.refusal_of(latest)
    raise CheckoutClosed(checkout.state)


def _was_refused(attempt: PaymentAttempt) -> bool:
    """By the bank, or for want of its confirmation; not by us for a reason of our own."""
    return attempt.state == "failed" or sentence_of(attempt.decline_code) is not None


__all__ = ["ActionNeeded", "Outcome", "Paid", "Pending", "finish_checkout", "pay_change", "pay_checkout"]
