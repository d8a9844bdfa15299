"""Settling everything that is not final, with or without webhooks (architecture §8, I-16).

Runs under the worker's login. One attempt at a time, each leased, so that any number may run side by side.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from commerce.gateways import Intent, Rejected, Retryable, stripe
from commerce.models import Checkout, PaymentAttempt, WebhookEvent
from commerce.operations.billing_control import sweeps_may_run
from commerce.operations.cards import detach_removed
from commerce.operations.payments import attempts, outcomes
from commerce.operations.payments.returns import RETURNS, settle_returns
from commerce.operations.payments.setups import settle_setup_intent, settle_setups
from commerce.operations.payments.webhooks import store_event
from config.kit.actors import Actor
from config.kit.errors import DomainError
from config.kit.sweeps import alone
from config.kit.tenancy import atomic, tenant_atomic, use_login
from directory.actors import build_actor
from directory.models import User
from directory.operations.audit import record

log = logging.getLogger(__name__)

State = PaymentAttempt.State

# Younger ones are being worked at by the request that made them.
PATIENCE = timedelta(minutes=2)
# A buyer whose browser went away long ago is not charged after all; the checkout opens again.
BUYER_WAITS = timedelta(hours=1)
# The bank's confirmation may take a while; then the checkout opens again.
BANK_WAITS = timedelta(hours=1)
# An event about an intent that no attempt knows: perhaps its id is not committed yet.
EVENT_WAITS = timedelta(hours=1)
BATCH = 500
# The objects whose events say something: intents of payments, and of cards to be kept.
_ANSWERED = ("pi_", "seti_")
# How far back the processor is asked for what no webhook told: longer than it may stay away.
LOOKS_BACK = timedelta(days=4)


def reconcile(at: datetime) -> dict[str, int]:
    """Everything that is overdue for an answer; how many of each kind were dealt with, and each kind by itself."""
    done: dict[str, int] = {}
    with use_login("worker"):
        for kind, settle in _KINDS.items():
            with alone("Reconciling %s", kind):
                done[kind] = settle(at)
    return done


def handle_events(at: datetime) -> int:
    """Fetch anew what the stored events are about; how many events are now dealt with. Worker's login."""
    done = in_a_row = 0
    with atomic():
        waiting = WebhookEvent.objects.filter(handled_at__isnull=True).order_by("received_at", "id")[:BATCH]
        events_of: dict[str, list[WebhookEvent]] = {}
        for event in waiting:
            events_of.setdefault(event.object_id, []).append(event)
    for object_id, events in events_of.items():
        if in_a_row == attempts.GIVES_UP_AFTER:
            break
        with alone("What an event tells of %s", object_id):
            try:
                is_settled = _settle(
                    object_id, at, with_returns=any(event.type in RETURNS for event in events)
                )
            except Retryable:
                in_a_row += 1
                continue
            in_a_row = 0
            is_old = events[-1].received_at <= at - EVENT_WAITS
            if is_settled or is_old or not object_id.startswith(_ANSWERED):
                # Not those that came meanwhile: they may tell of something newer than what was fetched.
                known = [event.pk for event in events]
                with atomic():
                    done += WebhookEvent.objects.filter(pk__in=known, handled_at__isnull=True).update(
                        handled_at=at
                    )
    return done


def _settle(object_id: str, at: datetime, *, with_returns: bool) -> bool:
    """Ask about what an event names; False when that is nobody's (yet), or of no interest."""
    if object_id.startswith("seti_"):
        return settle_setup_intent(object_id, at=at)
    return settle_intent(object_id, at=at) and (not with_returns or settle_returns(object_id, at=at))


def pull_events(at: datetime, *, since: datetime | None = None) -> int:
    """Ask the processor for what it would have told about refunds and disputes; how many events were new.

    Webhooks may stay away for days (F-16), and nothing of ours waits for these. Of the last four days, or `since`.
    Worker's login.

    :raises Retryable: no usable answer.
    """
    with use_login("worker"):
        events = stripe.events_since(since or at - LOOKS_BACK, types=RETURNS)
        return sum(store_event(event, at=at) for event in events)


def settle_intent(intent_id: str, *, at: datetime) -> bool:
    """Ask the processor about one intent and record what it says, by whatever login is in use.

    False when it is nobody's (yet), or another process is at it. Charges nothing.

    :raises Retryable: no usable answer.
    """
    tenant_id = attempts.tenant_of_intent(intent_id)
    if tenant_id is None:
        return False
    with tenant_atomic(tenant_id):
        attempt = PaymentAttempt.objects.select_related("checkout__user").get(intent_id=intent_id)
        if attempt.state not in PaymentAttempt.FINAL and not attempts.take_lease(attempt.pk):
            return False
        actor = _actor_of(attempt, at)
    try:
        attempts.drive(actor=actor, attempt_id=attempt.pk, at=at, confirms=False)
    except Rejected as refused:
        log.error("Intent %s cannot be settled: %s", intent_id, refused.reason)
    return True


def settle_attempt(attempt_id: int, *, tenant_id: int, at: datetime) -> str:
    """Do with one attempt what the reconciler would, now and by the login in use; its state afterwards.

    One whose sum is another at the processor is only asked about. Nothing happens where another process is at it.

    :raises Retryable: no usable answer.
    """
    with tenant_atomic(tenant_id):
        attempt = PaymentAttempt.objects.select_related("checkout__user").get(pk=attempt_id)
        is_owed = attempt.decline_code == outcomes.TO_REFUND
        if not is_owed and (attempt.state in PaymentAttempt.FINAL or not attempts.take_lease(attempt.pk)):
            return str(attempt.state)
        actor = _actor_of(attempt, at)
    try:
        if is_owed or attempt.decline_code == outcomes.MISMATCH:
            attempts.drive(actor=actor, attempt_id=attempt.pk, at=at, confirms=False)
        else:
            _settle_one(actor, attempt, at)
    except Retryable:
        raise
    except DomainError as refused:
        log.info("Attempt %s ended: %s", attempt.key, refused.code)
    with tenant_atomic(tenant_id):
        state: str = PaymentAttempt.objects.values_list("state", flat=True).get(pk=attempt_id)
    return state


def settle_attempts(at: datetime, *, limit: int = BATCH) -> int:
    """Drive attempts that nobody is at to an end, oldest first; how many were looked at. Worker's login.

    Stops early when the processor gives no answer for some in a row. None while billing is paused, since driving
    them may charge.
    """
    if not sweeps_may_run(at=at):
        return 0
    looked_at = last_id = in_a_row = 0
    while looked_at < limit and in_a_row < attempts.GIVES_UP_AFTER:
        claimed = _claim_next(at, after_id=last_id)
        if claimed is None:
            break
        last_id, looked_at = claimed.pk, looked_at + 1
        with alone("Attempt %s", claimed.key):
            with tenant_atomic(claimed.tenant_id):
                actor = _actor_of(claimed, at)
            try:
                _settle_one(actor, claimed, at)
            except Retryable:
                log.info("Attempt %s has no answer yet", claimed.key)
                in_a_row += 1
                continue
            except DomainError as refused:
                log.info("Attempt %s ended: %s", claimed.key, refused.code)
            in_a_row = 0
    return looked_at


def give_back_late(at: datetime) -> int:
    """Refund charges that came too late and are not refunded yet; how many were looked at. Worker's login.

    One that is refused is asked for again with each later round, and is in the list of the vendor's staff after an
    hour. None while billing is paused.
    """
    if not sweeps_may_run(at=at):
        return 0
    with atomic():
        owed = PaymentAttempt.objects.filter(decline_code=outcomes.TO_REFUND, updated_at__lte=at - PATIENCE)
        rows = list(owed.order_by("pk").values_list("pk", "tenant_id")[:BATCH])
    in_a_row = 0
    for attempt_id, tenant_id in rows:
        if in_a_row == attempts.GIVES_UP_AFTER:
            break
        with alone("The late charge of attempt %s", attempt_id):
            try:
                settle_attempt(attempt_id, tenant_id=tenant_id, at=at)
            except Retryable:
                in_a_row += 1
                continue
            in_a_row = 0
    return len(rows)


def abandon_checkouts(at: datetime) -> int:
    """End open checkouts whose time is over; how many. Worker's login."""
    with atomic():
        over = list(
            Checkout.objects.filter(state=Checkout.State.OPEN, expires_at__lte=at)
            .select_for_update(skip_locked=True, of=["self"])
            .select_related("product")
            .order_by("id")[:BATCH]
        )
        Checkout.objects.filter(pk__in=[checkout.pk for checkout in over]).update(
            state=Checkout.State.ABANDONED
        )
        for checkout in over:
            record(
                Actor.system(checkout.tenant_id),
                "commerce.checkout.abandoned",
                at=at,
                target_type="checkout",
                target_id=checkout.key,
                target_label=checkout.product.name,
            )
    return len(over)


def _claim_next(at: datetime, *, after_id: int) -> PaymentAttempt | None:
    with atomic():
        found: PaymentAttempt | None = (
            PaymentAttempt.objects.exclude(state__in=PaymentAttempt.FINAL)
            .exclude(decline_code=outcomes.MISMATCH)
            .filter(Q(leased_until__isnull=True) | Q(leased_until__lt=Now()))
            .filter(updated_at__lte=at - PATIENCE, pk__gt=after_id)
            .select_for_update(skip_locked=True, of=["self"])
            .select_related("checkout__user")
            .order_by("pk")
            .first()
        )
        if found is not None:
            PaymentAttempt.objects.filter(pk=found.pk).update(leased_until=Now() + settings.CHARGE_LEASE)
    return found


def _settle_one(actor: Actor, attempt: PaymentAttempt, at: datetime) -> None:
    """Finish it; give it up where the buyer or the bank has let it lie for too long."""
    has_payer = attempt.checkout_id is not None or attempt.on_session
    is_stale = has_payer and attempt.created_at <= at - BUYER_WAITS
    if is_stale and attempt.intent_id is None:
        # Without an id it was never confirmed.
        outcomes.end_without_charge(actor=actor, attempt_id=attempt.pk, reason="interrupted", at=at)
        return
    intent = attempts.drive(actor=actor, attempt_id=attempt.pk, at=at, confirms=not is_stale)
    if intent is not None and is_stale and _may_be_given_up(intent, attempt, at):
        outcomes.cancel(actor=actor, attempt_id=attempt.pk, intent_id=intent.id, reason="interrupted", at=at)


def _may_be_given_up(intent: Intent, attempt: PaymentAttempt, at: datetime) -> bool:
    waits_for_bank = intent.status == "requires_action" and attempt.updated_at <= at - BANK_WAITS
    return waits_for_bank or attempts.is_untouched(intent)


def _actor_of(attempt: PaymentAttempt, at: datetime) -> Actor:
    """The buyer, through the door of a job; the installation itself for a bill."""
    if attempt.checkout is None:
        return Actor.system(attempt.tenant_id)
    user: User = attempt.checkout.user
    actor = build_actor(user, acting_tenant_id=attempt.tenant_id, at=at, door="job")
    return actor or Actor.system(attempt.tenant_id)


_KINDS: dict[str, Callable[[datetime], int]] = {
    "events": handle_events,
    "attempts": settle_attempts,
    "late": give_back_late,
    "checkouts": abandon_checkouts,
    "setups": settle_setups,
    "cards": detach_removed,
}
