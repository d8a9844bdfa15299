"""Giving money back: commit the attempt > ask the processor > book the outcome once (I-07, I-09).

The call stands between two short transactions, never inside one. It carries one key, so asking again gives the
same refund; when the processor may have forgotten the key, the charge's refunds are looked through first.
Driving an attempt twice at once does no harm; the lease only saves the work.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django import db
from django.conf import settings
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from commerce.gateways import Rejected, Retryable, stripe
from commerce.gateways.stripe import RefundFacts
from commerce.models import Bill, Payment, PaymentAttempt, Refund, RefundAttempt
from commerce.operations import notices
from commerce.operations.billing_control import is_paused, sweeps_may_run
from commerce.operations.bills import lock_bill
from commerce.operations.credits import begin_refund, charge_of, count_refund
from commerce.operations.subscriptions import remember
from config.kit.actors import Actor
from config.kit.errors import Conflict
from config.kit.faults import reached
from config.kit.rate import Pace
from config.kit.sweeps import alone
from config.kit.tenancy import atomic, connection, tenant_atomic, use_login
from directory.operations.audit import record

log = logging.getLogger(__name__)

State = RefundAttempt.State

# The processor keeps a key for 24 hours; well before that, its own list says whether the refund was made.
KEY_LIVES = timedelta(hours=1)
UNANSWERED = "unanswered"
MISMATCH = "mismatch"
# So many refunds in a row without an answer: the processor is away, the next sweep tries again.
GIVES_UP_AFTER = 3
# How long after a try the next one comes, at most.
LONGEST_WAIT = timedelta(hours=6)
FIRST_WAIT = timedelta(minutes=1)
# A refund that the bank takes its time over is asked about so often.
BANK_WAITS = timedelta(hours=1)


class NothingOwed(Conflict):
    """Nothing is to be given back: no open credit note of that number, or its refund is under way."""

    code = "nothing_owed"
    message = _("There is no credit note of this number whose refund has failed. Nothing was changed.")

    def __init__(self, number: str) -> None:
        super().__init__(number=number)


@dataclass(frozen=True, slots=True)
class Refunded:
    """How many refunds one sweep put to the processor, by what came of it."""

    done: int = 0
    failed: int = 0
    pending: int = 0

    def __bool__(self) -> bool:
        return bool(self.done or self.failed)


def refund_now(credit_note_id: int, *, actor: Actor, at: datetime) -> None:
    """Try at once to refund a credit note that was just committed; outside any transaction, by the login in use.

    Whatever is not done afterwards is done by the sweep, so nothing is raised when the processor is away, or when
    somebody holds the rows for too long: what gave the money back stands. Nothing is done while billing is paused.
    """
    try:
        for attempt_id in _take_all(credit_note_id, actor):
            _drive(actor, attempt_id, at)
    except db.Error:
        log.exception("The refund of credit note %s waits for the sweep", credit_note_id)
        connection().close_if_unusable_or_obsolete()


def _take_all(credit_note_id: int, actor: Actor) -> list[int]:
    with tenant_atomic(actor):
        if is_paused():
            return []
        ids = list(
            RefundAttempt.objects.filter(
                tenant_id=actor.tenant_id, credit_note_id=credit_note_id, state=State.CREATED
            ).values_list("pk", flat=True)
        )
        return [pk for pk in ids if _take(_free().filter(pk=pk))]


def settle_refunds(*, at: datetime, limit: int | None = None) -> Refunded:
    """Drive every refund whose time has come, at most `limit`, oldest first. Worker's login.

    One without an answer waits for a later sweep, each time a little longer. Nothing while billing is paused.
    """
    results: list[str] = []
    if not sweeps_may_run(at=at):
        return Refunded()
    with use_login("worker"), stripe.paced(Pace("processor", settings.PROCESSOR_CALLS_PER_SECOND)):
        claimed: RefundAttempt | None = None
        while (limit is None or len(results) < limit) and (claimed := _claim_next(at, after=claimed)):
            with alone("Refund %s", claimed.pk):
                results.append(_drive(Actor.system(claimed.tenant_id), claimed.pk, at))
            if results[-GIVES_UP_AFTER:] == [UNANSWERED] * GIVES_UP_AFTER:
                log.warning("The card processor gives no answer about refunds; they wait.")
                break
    return Refunded(
        done=results.count(State.SUCCEEDED),
        failed=results.count(State.FAILED),
        pending=results.count(State.CREATED) + results.count(UNANSWERED),
    )


def _free() -> Any:
    """Refunds under way at which nobody is; none that the processor has as something else."""
    return RefundAttempt.objects.filter(state=State.CREATED, failure_code="").filter(
        Q(leased_until__isnull=True) | Q(leased_until__lt=Now())
    )


def _take(rows: Any) -> bool:
    """Lease one attempt and count the try, before anything is asked."""
    return bool(rows.update(leased_until=Now() + settings.CHARGE_LEASE, tries=F("tries") + 1))


def _claim_next(at: datetime, *, after: RefundAttempt | None) -> RefundAttempt | None:
    """The next one behind `after`, so that none is asked about twice in a sweep."""
    rows = _free().filter(next_try_at__lte=at)
    if after is not None:
        rows = rows.filter(
            Q(next_try_at__gt=after.next_try_at) | Q(next_try_at=after.next_try_at, pk__gt=after.pk)
        )
    reached("G2:before")
    with atomic():
        found: RefundAttempt | None = (
            rows.select_for_update(skip_locked=True, of=["self"]).order_by("next_try_at", "id").first()
        )
        if found is not None:
            _take(RefundAttempt.objects.filter(pk=found.pk))
    reached("G2:after")
    return found


def _drive(actor: Actor, attempt_id: int, at: datetime) -> str:
    """Take a leased attempt as far as it goes now; its state afterwards, or `UNANSWERED`."""
    try:
        with tenant_atomic(actor):
            attempt: RefundAttempt = RefundAttempt.objects.select_related("payment", "credit_note").get(
                pk=attempt_id
            )
            charge = charge_of(attempt.payment)
        assert charge is not None
        assert charge.intent_id is not None
        reached("G3:before")
        made = _ask(attempt, charge.intent_id, at)
        reached("G3:after")
        return book_outcome(actor=actor, attempt_id=attempt_id, made=made, at=at)
    except Retryable:
        _postpone(actor, attempt_id, at)
        return UNANSWERED
    except Rejected as refused:
        return fail(actor=actor, attempt_id=attempt_id, code=refused.reason, at=at)
    finally:
        reached("G5:before")
        with tenant_atomic(actor):
            RefundAttempt.objects.filter(pk=attempt_id).update(leased_until=None)
        reached("G5:after")


def _ask(attempt: RefundAttempt, intent_id: str, at: datetime) -> RefundFacts:
    """The processor's refund for this attempt: the one that it has, else a new one.

    :raises Retryable: no usable answer. :raises Rejected: it refuses, and has none.
    """
    if attempt.processor_refund_id is not None:
        return stripe.retrieve_refund(attempt.processor_refund_id)
    if attempt.created_at <= at - KEY_LIVES:
        found = _made_before(attempt, intent_id)
        if found is not None:
            return found
    try:
        return stripe.refund(
            key=attempt.key,
            intent_id=intent_id,
            amount_minor=attempt.amount_minor,
            metadata={
                "tenant": str(attempt.tenant_id),
                "refund": attempt.key,
                "credit_note": attempt.credit_note.number,
            },
        )
    except Rejected:
        # Perhaps because an earlier call, whose answer was lost, left nothing to give back.
        found = _made_before(attempt, intent_id)
        if found is None:
            raise
        return found


def _made_before(attempt: RefundAttempt, intent_id: str) -> RefundFacts | None:
    for made in stripe.refunds_of(intent_id):
        if made.metadata.get("refund") == attempt.key:
            return made
    return None


def _postpone(actor: Actor, attempt_id: int, at: datetime) -> None:
    with tenant_atomic(actor):
        tries = RefundAttempt.objects.values_list("tries", flat=True).get(pk=attempt_id)
        wait = min(FIRST_WAIT * 2 ** min(tries, 16), LONGEST_WAIT)
        RefundAttempt.objects.filter(pk=attempt_id, state=State.CREATED).update(
            next_try_at=at + wait, updated_at=at
        )


def book_outcome(*, actor: Actor, attempt_id: int, made: RefundFacts, at: datetime) -> str:
    """Record what the processor says about a refund; run again, it changes nothing more. The state afterwards.

    A refund that arrived is booked with its credit note, in one transaction with the mail that tells the payer.
    """
    reached("G4:before")
    with tenant_atomic(actor):
        attempt, bill = _lock(attempt_id)
        if (made.amount_minor, made.currency) != (attempt.amount_minor, attempt.currency):
            _park(actor, attempt, made, at)
        elif made.failure:
            _fail(actor, attempt, bill, made.failure, at)
        elif attempt.state == State.CREATED:
            attempt.processor_refund_id = made.id
            if made.is_done:
                succeed(actor=actor, attempt=attempt, bill=bill, at=at)
                notices.queue_refund(bill=bill, refund=attempt, at=at)
            else:
                attempt.next_try_at = at + BANK_WAITS
                _save(attempt, at)
        reached("G4:uncommitted")
    reached("G4:after")
    return attempt.state


def fail(*, actor: Actor, attempt_id: int, code: str, at: datetime) -> str:
    """The processor refuses: the sum can be given back otherwise, which the vendor's staff must do."""
    with tenant_atomic(actor):
        attempt, bill = _lock(attempt_id)
        _fail(actor, attempt, bill, code, at)
    return attempt.state


def _lock(attempt_id: int) -> tuple[RefundAttempt, Bill]:
    """The attempt, and the bill that it gives back of: subscription, bill, credit note, attempt, in that order."""
    found = RefundAttempt.objects.select_related("credit_note").get(pk=attempt_id)
    assert found.credit_note.credits_id is not None
    bill = lock_bill(found.credit_note.credits_id)
    note: Bill = Bill.objects.select_for_update(of=["self"]).get(pk=found.credit_note_id)
    attempt: RefundAttempt = (
        RefundAttempt.objects.select_for_update(of=["self"])
        .select_related("payment__card")
        .get(pk=attempt_id)
    )
    attempt.credit_note = note
    return attempt, bill


def _save(attempt: RefundAttempt, at: datetime) -> None:
    attempt.updated_at = at
    attempt.save(update_fields=["state", "processor_refund_id", "failure_code", "next_try_at", "updated_at"])


def succeed(*, actor: Actor, attempt: RefundAttempt, bill: Bill, at: datetime) -> None:
    """Book that the money of an attempt went back, with its credit note, history and audit; under their locks."""
    attempt.state = State.SUCCEEDED
    _save(attempt, at)
    _book(
        actor,
        bill,
        attempt.credit_note,
        attempt.payment,
        charge_of(attempt.payment),
        attempt.processor_refund_id or attempt.key,
        at,
    )
    _record(actor, "commerce.bill.refunded", attempt, bill, at)


def _book(
    actor: Actor,
    bill: Bill,
    note: Bill,
    payment: Payment,
    charge: PaymentAttempt | None,
    refund_id: str,
    at: datetime,
) -> None:
    """The ledger's row, the credit note paid, and a line of history."""
    Refund.objects.create(
        tenant_id=note.tenant_id,
        payment=payment,
        attempt=charge,
        credit_note=note,
        amount_minor=-note.total_minor,
        currency=note.currency,
        refunded_at=at,
        processor_refund_id=refund_id,
    )
    note.status, note.paid_minor, note.paid_at = Bill.Status.PAID, note.total_minor, at
    note.save(update_fields=["status", "paid_minor", "paid_at"])
    remember(
        bill.subscription,
        "refunded",
        actor=actor,
        at=at,
        bill=bill.number,
        credit_note=note.number,
        amount_minor=-note.total_minor,
        currency=note.currency,
    )


def ask_again(*, number: str, at: datetime, actor: Actor | None = None) -> RefundAttempt:
    """Begin another refund for a credit note whose last one failed; the sweep makes it.

    In the organization of the `actor`; without one in whichever has the credit note, under the worker's login.

    :raises NothingOwed: no such credit note, or nothing of it is to be refunded, or a refund is under way.
    """
    with _owed(number, actor) as (bill, note, doer):
        return begin_refund(actor=doer, bill=bill, credit_note=note, at=at)


def book_by_hand(*, number: str, reference: str, at: datetime, actor: Actor | None = None) -> Bill:
    """Book that the vendor's staff paid a credit note back otherwise than to the card; `actor` as in `ask_again`.

    :raises NothingOwed: as `ask_again`.
    """
    with _owed(number, actor) as (bill, note, doer):
        count_refund(bill, -note.total_minor)
        _book(doer, bill, note, Payment.objects.get(bill=bill), None, f"by-hand:{note.number}", at)
        record(
            doer,
            "commerce.bill.refunded",
            at=at,
            target_type="bill",
            target_id=bill.pk,
            target_label=bill.number,
            after={
                "amount_minor": -note.total_minor,
                "currency": note.currency,
                "credit_note": note.number,
                "reference": reference[:200],
            },
        )
    return note


@contextmanager
def _owed(number: str, actor: Actor | None) -> Iterator[tuple[Bill, Bill, Actor]]:
    """A credit note that is owed with its bill, both locked, in a transaction of their organization; and who acts."""
    with nullcontext() if actor else use_login("worker"):
        with tenant_atomic(actor) if actor else atomic():
            note: Bill | None = Bill.objects.select_related("credits").filter(number=number).first()
        if note is None or note.credits is None:
            raise NothingOwed(number)
        doer = actor or Actor.system(note.tenant_id)
        with tenant_atomic(doer):
            _lock_owed(note.credits, note)
            yield note.credits, note, doer


def _lock_owed(bill: Bill, note: Bill) -> None:
    """Lock both as everybody does, and read anew what is owed."""
    bill.subscription = lock_bill(bill.pk).subscription
    live = RefundAttempt.objects.filter(credit_note=note).exclude(state=State.FAILED).exists()
    Bill.objects.select_for_update(of=["self"]).get(pk=note.pk)
    note.refresh_from_db()
    bill.refresh_from_db(fields=["refunded_minor", "paid_minor", "status"])
    if live or note.status != Bill.Status.OPEN:
        raise NothingOwed(note.number)


def _fail(actor: Actor, attempt: RefundAttempt, bill: Bill, code: str, at: datetime) -> None:
    """The sum counts as refundable again, and the credit note waits for the vendor's staff."""
    if attempt.state == State.FAILED:
        return
    note = attempt.credit_note
    if attempt.state == State.SUCCEEDED:
        take_off(Refund.objects.get(processor_refund_id=attempt.processor_refund_id), at)
        note.status, note.paid_minor, note.paid_at = Bill.Status.OPEN, 0, None
        note.save(update_fields=["status", "paid_minor", "paid_at"])
    attempt.state, attempt.failure_code = State.FAILED, code[:60]
    _save(attempt, at)
    Bill.objects.filter(pk=bill.pk).update(refunded_minor=F("refunded_minor") - attempt.amount_minor)
    remember(
        bill.subscription,
        "refund_failed",
        actor=actor,
        at=at,
        bill=bill.number,
        credit_note=note.number,
        amount_minor=attempt.amount_minor,
        currency=attempt.currency,
    )
    _record(actor, "commerce.refund.failed", attempt, bill, at, reason=attempt.failure_code)
    log.error("Credit note %s waits for staff: its refund failed (%s)", note.number, code)


def take_off(booked: Refund, at: datetime) -> None:
    """The cardholder's bank sent the money back: a row that undoes the booked one, once."""
    Refund.objects.get_or_create(
        processor_refund_id=f"{booked.processor_refund_id}:returned",
        defaults={
            "tenant_id": booked.tenant_id,
            "payment_id": booked.payment_id,
            "attempt_id": booked.attempt_id,
            "credit_note_id": booked.credit_note_id,
            "reverses": booked,
            "amount_minor": booked.amount_minor,
            "currency": booked.currency,
            "refunded_at": at,
        },
    )


def _park(actor: Actor, attempt: RefundAttempt, made: RefundFacts, at: datetime) -> None:
    """Leave the attempt for the vendor's staff: the processor gave back something else than was asked."""
    if attempt.failure_code == MISMATCH:
        return
    attempt.failure_code = MISMATCH
    _save(attempt, at)
    log.critical("Refund %s is not what the processor has as %s", attempt.key, made.id)
    record(
        actor,
        "commerce.refund.parked",
        at=at,
        target_type="bill",
        target_id=attempt.credit_note_id,
        target_label=attempt.credit_note.number,
        before={"amount_minor": attempt.amount_minor, "currency": attempt.currency},
        after={"amount_minor": made.amount_minor, "currency": made.currency, "refund": made.id},
    )


def _record(
    actor: Actor, code: str, attempt: RefundAttempt, bill: Bill, at: datetime, **facts: object
) -> None:
    record(
        actor,
        code,
        at=at,
        target_type="bill",
        target_id=bill.pk,
        target_label=bill.number,
        after={
            "amount_minor": attempt.amount_minor,
            "currency": attempt.currency,
            "credit_note": attempt.credit_note.number,
            "refund": attempt.key,
            **facts,
        },
    )
