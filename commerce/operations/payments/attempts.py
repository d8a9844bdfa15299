"""The steps of one charge. Each network call stands between two short transactions, never inside one.

Driving an attempt twice at once does no harm: the creation has one key, only the stored id is confirmed, and
the outcome is recorded once under lock. The lease only saves the work.
"""

import hashlib
import json
import logging
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from commerce.gateways import Declined, Intent, NeedsAuthentication, Rejected, Retryable, stripe
from commerce.gateways.declines import REFUSED
from commerce.models import Bill, Checkout, PaymentAttempt
from commerce.operations.billing_control import require_running
from commerce.operations.payments import guards, outcomes
from config.kit.actors import Actor
from config.kit.errors import DomainError
from config.kit.faults import reached
from config.kit.tenancy import atomic, connection, tenant_atomic

log = logging.getLogger(__name__)

State = PaymentAttempt.State

# The processor keeps a key for 24 hours, and with it a failure of its own. Well before that, an attempt without
# an id is given up instead: an intent that was never confirmed charges nothing.
KEY_LIVES = timedelta(hours=1)
# So many questions in a row without an answer: the processor is away, and whoever asks for many stops.
GIVES_UP_AFTER = 3


class KeyOutlived(DomainError):
    """The attempt is too old, or no longer the same, for its creation to be repeated."""

    code = "interrupted"


def begin(**facts: Any) -> PaymentAttempt:
    """Write the attempt that `prepare` makes (R2), inside the transaction that locked its cause.

    :raises BillingPaused: nothing may be charged now.
    """
    require_running()
    attempt = prepare(**facts)
    attempt.save(force_insert=True)
    return attempt


def prepare(
    *,
    actor: Actor,
    cause: Checkout | Bill,
    customer_id: str,
    at: datetime,
    confirmation_token: str = "",
    card_id: str = "",
    on_session: bool = False,
    pays_from_now_on: bool = False,
) -> PaymentAttempt:
    """An attempt to be written, with a new key, leased to the caller."""
    attempt = PaymentAttempt(
        tenant_id=actor.tenant_id,
        checkout=cause if isinstance(cause, Checkout) else None,
        bill=cause if isinstance(cause, Bill) else None,
        key=f"att_{uuid.uuid4().hex}",
        amount_minor=cause.total_minor,
        currency=cause.currency,
        customer_processor_id=customer_id,
        confirmation_token=confirmation_token,
        card_processor_id=card_id,
        on_session=on_session,
        pays_from_now_on=pays_from_now_on,
        created_at=at,
        updated_at=at,
        leased_until=Now() + settings.CHARGE_LEASE,
    )
    attempt.params_hash = _hash(creation_params(attempt))
    return attempt


def remember_forgotten(*, cause: Checkout | Bill, intent: Intent, at: datetime) -> PaymentAttempt:
    """Write the attempt of a charge that this database has forgotten, with the key that it was made with (F-26).

    Inside the caller's transaction; the outcome is then recorded as always.
    """
    attempt = PaymentAttempt(
        tenant_id=cause.tenant_id,
        checkout=cause if isinstance(cause, Checkout) else None,
        bill=cause if isinstance(cause, Bill) else None,
        key=(intent.metadata or {})["attempt"],
        amount_minor=cause.total_minor,
        currency=cause.currency,
        customer_processor_id=intent.customer_id,
        intent_id=intent.id,
        state=State.INTENT,
        created_at=at,
        updated_at=at,
    )
    attempt.params_hash = _hash(creation_params(attempt))
    attempt.save(force_insert=True)
    return attempt


def creation_params(attempt: PaymentAttempt) -> dict[str, Any]:
    """What the creation is asked with: the row's own facts alone, so that repeating it asks the same.

    The metadata says enough to bring the charge into a database that has forgotten the bill (F-26).
    """
    if attempt.checkout is not None:
        cause = {"checkout": str(attempt.checkout.key)}
        description = f"Order {attempt.checkout.key}"
    else:
        assert attempt.bill is not None
        cause = {
            "bill": attempt.bill.number,
            "type": attempt.bill.type,
            "subscription": str(attempt.bill.subscription.key),
            "period": attempt.bill.period_start.astimezone(UTC).isoformat(),
        }
        description = f"Bill {attempt.bill.number}"
    return {
        "amount_minor": attempt.amount_minor,
        "currency": attempt.currency,
        "customer_id": attempt.customer_processor_id,
        "metadata": {"tenant": str(attempt.tenant_id), "attempt": attempt.key, **cause},
        "description": description,
        "keeps_card": attempt.checkout_id is not None or bool(attempt.confirmation_token),
    }


def _hash(params: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()


def take_lease(attempt_id: int) -> bool:
    """Whether the attempt, still under way and nobody else's, is now the caller's. One conditional update."""
    taken = (
        PaymentAttempt.objects.filter(pk=attempt_id)
        .filter(~Q(state__in=PaymentAttempt.FINAL))
        .filter(Q(leased_until__isnull=True) | Q(leased_until__lt=Now()))
        .update(leased_until=Now() + settings.CHARGE_LEASE)
    )
    return bool(taken)


def drive(*, actor: Actor, attempt_id: int, at: datetime, confirms: bool = True) -> Intent | None:
    """Take a leased attempt as far as it goes now, record what came of it, and release the lease.

    `confirms` False: only find out and record, never charge. None when there was nothing to ask about.

    :raises Retryable: no usable answer; the attempt stays and can be driven again.
    :raises Rejected: the processor refuses; the attempt has failed and nothing was charged, or it does not know the
        intent, and the attempt stays.
    :raises BillingPaused: it might have to be charged, and nothing may be now.
    :raises DomainError: a reason not to confirm (not eligible, price changed, bill no longer open ...); the
        attempt has ended, nothing was charged.
    """
    try:
        return _drive(actor, attempt_id, at, confirms=confirms)
    finally:
        reached("R7:before")
        with tenant_atomic(actor):
            PaymentAttempt.objects.filter(pk=attempt_id).update(leased_until=None)
        reached("R7:after")


def _drive(actor: Actor, attempt_id: int, at: datetime, *, confirms: bool) -> Intent | None:
    with tenant_atomic(actor):
        attempt: PaymentAttempt = PaymentAttempt.objects.select_related("checkout", "bill__subscription").get(
            pk=attempt_id
        )
        if confirms and attempt.state not in PaymentAttempt.FINAL:
            require_running()
    if attempt.state in PaymentAttempt.FINAL and attempt.intent_id is None:
        return None
    if attempt.intent_id is None:
        if not confirms:
            return None
        intent = _create(actor, attempt, at)
    else:
        intent = stripe.retrieve_intent(attempt.intent_id)
    if is_untouched(intent) and attempt.state not in PaymentAttempt.FINAL:
        if not confirms:
            return intent
        intent = _confirm(actor, attempt, intent, at)
    return outcomes.settle(actor=actor, attempt_id=attempt_id, intent=intent, at=at)


def is_untouched(intent: Intent) -> bool:
    """Whether nobody has ever tried to charge it."""
    return intent.status in ("requires_payment_method", "requires_confirmation") and intent.decline is None


def _create(actor: Actor, attempt: PaymentAttempt, at: datetime) -> Intent:
    """R3 and R4: the processor's id for this attempt, committed."""
    params = creation_params(attempt)
    if _hash(params) != attempt.params_hash or attempt.created_at < at - KEY_LIVES:
        outcomes.end_without_charge(actor=actor, attempt_id=attempt.pk, reason=KeyOutlived.code, at=at)
        raise KeyOutlived
    reached("R3:before")
    try:
        intent = stripe.create_intent(key=attempt.key, **params)
    except Rejected:
        outcomes.end_without_charge(actor=actor, attempt_id=attempt.pk, reason=REFUSED, at=at)
        raise
    reached("R3:after")
    reached("R4:before")
    with tenant_atomic(actor):
        PaymentAttempt.objects.filter(pk=attempt.pk, state=State.CREATED).update(
            intent_id=intent.id, state=State.INTENT, updated_at=at
        )
    attempt.intent_id = intent.id
    reached("R4:after")
    return intent


def _confirm(actor: Actor, attempt: PaymentAttempt, intent: Intent, at: datetime) -> Intent:
    """R5: charge that id, if it is still right to do so.

    The check and the mark are one transaction, after which whoever finds the attempt asks before charging.
    """
    try:
        with tenant_atomic(actor):
            attempt = guards.check_before_confirming(actor=actor, attempt_id=attempt.pk, at=at)
            if attempt.state == State.INTENT:
                PaymentAttempt.objects.filter(pk=attempt.pk).update(state=State.CONFIRMING, updated_at=at)
    except guards.AttemptEnded:
        return stripe.retrieve_intent(intent.id)
    except DomainError as refused:
        outcomes.cancel(actor=actor, attempt_id=attempt.pk, intent_id=intent.id, reason=refused.code, at=at)
        raise
    reached("R5:before")
    try:
        confirmed = stripe.confirm_intent(
            intent.id,
            confirmation_token=attempt.confirmation_token,
            card_id=attempt.card_processor_id,
            off_session=attempt.bill_id is not None and not attempt.on_session,
        )
    except (Declined, NeedsAuthentication) as declined:
        confirmed = replace(intent, status="requires_payment_method", decline=declined)
    except Retryable:
        with tenant_atomic(actor):
            PaymentAttempt.objects.filter(pk=attempt.pk, state=State.CONFIRMING).update(
                state=State.UNKNOWN, updated_at=at
            )
        raise
    except Rejected:
        outcomes.cancel(actor=actor, attempt_id=attempt.pk, intent_id=intent.id, reason=REFUSED, at=at)
        raise
    reached("R5:after")
    return confirmed


def live_attempt(cause: Checkout | Bill) -> PaymentAttempt | None:
    """The attempt under way or succeeded, of which there is at most one (I-10). One query."""
    rows = PaymentAttempt.objects.filter(tenant_id=cause.tenant_id).exclude(state__in=("failed", "canceled"))
    rows = rows.filter(checkout=cause) if isinstance(cause, Checkout) else rows.filter(bill=cause)
    attempt: PaymentAttempt | None = rows.annotate(
        is_leased=Q(leased_until__isnull=False) & Q(leased_until__gt=Now())
    ).first()
    return attempt


def tenant_of_intent(intent_id: str) -> int | None:
    """Whose attempt an intent is, by whatever login is in use; None when it is nobody's (yet)."""
    with atomic(), connection().cursor() as cursor:
        cursor.execute("SELECT tenant_of_payment_intent(%s)", [intent_id])
        tenant_id: int | None = cursor.fetchone()[0]
    return tenant_id
