"""Charges that the processor made and this database does not know, as after a restore (F-26).

Each charge's metadata names its attempt and what it was for. What can be told from them is booked on the attempt, the
checkout or the bill that it paid; a period that is not billed yet here is billed first. The rest waits for the
vendor's staff, and keeps the sweeps from charging the same period again.
"""

import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from commerce.gateways import Intent, stripe
from commerce.models import Bill, Checkout, PaymentAttempt, Subscription, UnmatchedCharge
from commerce.models.bills import PERIOD_TYPES
from commerce.operations.billing_control import look, note_reconciled
from commerce.operations.bills import lock_bill
from commerce.operations.payments import attempts, outcomes
from commerce.operations.payments.reconciling import handle_events, pull_events
from commerce.operations.payments.returns import settle_returns
from commerce.operations.renewals import end_trials, renew_due
from config.kit.actors import Actor
from config.kit.clock import instant_of
from config.kit.errors import Conflict, DomainError
from config.kit.tenancy import atomic, tenant_atomic, use_login
from directory.models import Tenant
from directory.operations.audit import record

log = logging.getLogger(__name__)

State = PaymentAttempt.State


class BillingGoesOn(Conflict):
    """Charges are brought in only while nothing else charges."""

    code = "billing_goes_on"


class Verdict(StrEnum):
    """What is to be done about a charge that is not booked here."""

    FINISH = "finish its attempt"
    BOOK = "book it"
    BILL_FIRST = "bill its period, then book it"
    UNMATCHED = "leave it to staff"


@dataclass(frozen=True, slots=True)
class Missing:
    """A charge that is not booked here. `cause` is what its metadata names; `subject` the row of ours, if any."""

    intent: Intent
    verdict: Verdict
    subject: PaymentAttempt | Checkout | Bill | Subscription | None = None

    @property
    def cause(self) -> str:
        facts = self.intent.metadata or {}
        named = facts.get("bill") or facts.get("checkout") or ""
        return f"{facts.get('type', 'bill' if 'bill' in facts else 'checkout')} {named}".strip()

    @property
    def tenant(self) -> str:
        return (self.intent.metadata or {}).get("tenant", "")


def missing_charges(*, since: datetime, at: datetime) -> list[Missing]:
    """The charges made since then that are not booked here, oldest first. Changes nothing. Worker's login.

    :raises Retryable: no usable answer.
    """
    with use_login("worker"):
        charged = [intent for intent in stripe.intents_since(since) if intent.status == "succeeded"]
        return [missing for intent in reversed(charged) for missing in _judge(intent, at)]


def bring_in(*, since: datetime, at: datetime) -> list[Missing]:
    """Book the charges made since then, and the refunds and disputes of any charge; what was missing before.

    Bills what is due first, without charging it. Run again, it finds nothing more to do. Worker's login.

    :raises BillingGoesOn: billing is not paused.
    :raises Retryable: no usable answer; what was done stays done.
    """
    if not look(at=at).is_paused:
        raise BillingGoesOn
    before = missing_charges(since=since, at=at)
    renew_due(at=at, while_paused=True)
    end_trials(at=at, while_paused=True)
    with use_login("worker"):
        for missing in missing_charges(since=since, at=at):
            _bring_in(missing, at)
        for missing in before:
            settle_returns(missing.intent.id, at=at)
        pull_events(at, since=since)
        while handle_events(at):
            pass
    note_reconciled(at=at)
    return before


def resolve_unmatched(*, intent_id: str, resolution: str, at: datetime) -> bool:
    """Write down what the vendor's staff did about a charge; whether it was waiting for them."""
    with use_login("worker"), atomic():
        waiting = UnmatchedCharge.objects.filter(intent_id=intent_id, resolved_at__isnull=True)
        return bool(waiting.update(resolved_at=at, resolution=resolution[:200]))


def _judge(intent: Intent, at: datetime) -> Iterator[Missing]:
    """What is to be done about a charge; nothing for one that is known."""
    facts = intent.metadata or {}
    with atomic():
        known: PaymentAttempt | None = PaymentAttempt.objects.filter(intent_id=intent.id).first()
        attempt = known or PaymentAttempt.objects.filter(key=facts.get("attempt", "")).first()
        if attempt is not None:
            if attempt.state in PaymentAttempt.FINAL and known is None:
                yield _unmatched(intent)
            elif not outcomes.is_accounted_for(attempt):
                # One that ended without a charge, and was charged after all, is given back by being settled.
                yield Missing(intent, Verdict.FINISH, attempt)
            return
        if UnmatchedCharge.objects.filter(intent_id=intent.id).exists():
            return
        if not facts.get("attempt") or not _tenant_id(facts):
            yield _unmatched(intent)
        elif "checkout" in facts:
            yield _judge_checkout(intent, facts)
        else:
            yield _judge_bill(intent, facts, at)


def _unmatched(intent: Intent) -> Missing:
    return Missing(intent, Verdict.UNMATCHED)


def _tenant_id(facts: dict[str, str]) -> int | None:
    number = facts.get("tenant", "")
    known = number.isdigit() and Tenant.objects.filter(pk=int(number)).exists()
    return int(number) if known else None


def _judge_checkout(intent: Intent, facts: dict[str, str]) -> Missing:
    tenant_id, key = _tenant_id(facts), _uuid(facts["checkout"])
    if tenant_id is None or key is None:
        return _unmatched(intent)
    checkout: Checkout | None = Checkout.objects.filter(tenant_id=tenant_id, key=key).first()
    fits = (
        checkout is not None
        and checkout.state != Checkout.State.PAID
        and checkout.consented_at is not None
        and (checkout.bill_to_id is not None or checkout.subscription_id is not None)
        and (checkout.total_minor, checkout.currency) == (intent.amount_minor, intent.currency)
        and attempts.live_attempt(checkout) is None
    )
    return Missing(intent, Verdict.BOOK, checkout) if fits else _unmatched(intent)


def _judge_bill(intent: Intent, facts: dict[str, str], at: datetime) -> Missing:
    """By subscription and period: the number may have been given to another bill since."""
    tenant_id, key = _tenant_id(facts), _uuid(facts.get("subscription", ""))
    if tenant_id is None or key is None:
        return _unmatched(intent)
    subscription: Subscription | None = Subscription.objects.filter(tenant_id=tenant_id, key=key).first()
    period = instant_of(facts.get("period", ""))
    if subscription is None or period is None:
        return _unmatched(intent)
    open_bills = Bill.objects.open().filter(
        subscription=subscription,
        type=facts.get("type", ""),
        period_start=period,
        total_minor=intent.amount_minor,
        currency=intent.currency,
    )
    for bill in open_bills.order_by("pk"):
        if attempts.live_attempt(bill) is None:
            return Missing(intent, Verdict.BOOK, bill)
    is_ahead = subscription.period_end <= period <= at
    if is_ahead and facts.get("type") in PERIOD_TYPES and subscription.state == Subscription.State.ACTIVE:
        return Missing(intent, Verdict.BILL_FIRST, subscription)
    return _unmatched(intent)


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _bring_in(missing: Missing, at: datetime) -> None:
    """Book one charge on its subject, as of when it was made; else leave it to staff."""
    intent = missing.intent
    charged_at = min(intent.charged_at or at, at)
    attempt_id = _attempt_for(missing, charged_at)
    if attempt_id is not None and missing.subject is not None:
        actor = Actor.system(missing.subject.tenant_id)
        try:
            outcomes.settle(actor=actor, attempt_id=attempt_id, intent=intent, at=charged_at)
        except DomainError as refused:
            log.error("Charge %s cannot be booked: %s", intent.id, refused.code)
        with tenant_atomic(actor):
            if outcomes.is_accounted_for(PaymentAttempt.objects.get(pk=attempt_id)):
                return
    _leave_to_staff(missing, at)


def _attempt_for(missing: Missing, at: datetime) -> int | None:
    """The attempt of ours to which the charge belongs, made where it was forgotten; None without a subject."""
    intent, subject = missing.intent, missing.subject
    if missing.verdict in (Verdict.UNMATCHED, Verdict.BILL_FIRST) or subject is None:
        return None
    with tenant_atomic(subject.tenant_id):
        if isinstance(subject, PaymentAttempt):
            PaymentAttempt.objects.filter(pk=subject.pk, state=State.CREATED).update(
                intent_id=intent.id, state=State.INTENT, updated_at=at
            )
            return subject.pk
        assert isinstance(subject, Checkout | Bill)
        if isinstance(subject, Checkout):
            # By the way that a payment takes.
            Checkout.objects.filter(pk=subject.pk, state=Checkout.State.OPEN).update(
                state=Checkout.State.PAYING
            )
        return attempts.remember_forgotten(cause=subject, intent=intent, at=at).pk


def _leave_to_staff(missing: Missing, at: datetime) -> None:
    """Keep the charge for the vendor's staff, and its period from being charged again."""
    intent, facts = missing.intent, missing.intent.metadata or {}
    log.error("Charge %s of %s %s belongs to nothing here", intent.id, intent.amount_minor, intent.currency)
    with atomic():
        UnmatchedCharge.objects.get_or_create(
            intent_id=intent.id,
            defaults={
                "tenant_number": missing.tenant[:20],
                "attempt_key": facts.get("attempt", "")[:80],
                "cause": missing.cause[:80],
                "amount_minor": intent.amount_minor,
                "currency": intent.currency,
                "found_at": at,
            },
        )
        period = instant_of(facts.get("period", ""))
        due = list(
            Bill.objects.open().filter(
                subscription__key=_uuid(facts.get("subscription", "")),
                period_start=period,
                charge_due_at__isnull=False,
            )
        )
    for bill in due:
        with tenant_atomic(bill.tenant_id):
            lock_bill(bill.pk)
            Bill.objects.open().filter(pk=bill.pk).update(charge_due_at=None)
            record(
                Actor.system(bill.tenant_id),
                "commerce.bill.charge_withheld",
                at=at,
                target_type="bill",
                target_id=bill.pk,
                target_label=bill.number,
                after={"reason": "unmatched_charge", "intent": intent.id},
            )
