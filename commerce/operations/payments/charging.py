"""Charging open bills while the payer is away: the second sweep's work for one bill (architecture §7, §8)."""

import logging
from datetime import datetime, timedelta
from typing import Any, Literal

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from commerce.gateways import Rejected, Retryable
from commerce.gateways.declines import REFUSED, TOO_SMALL
from commerce.models import Bill, PaymentAttempt
from commerce.operations.bills import lock_bill
from commerce.operations.dunning import note_failure, stop_trying
from commerce.operations.payments import attempts, guards, outcomes
from commerce.operations.payments.customers import customer_of
from commerce.queries.cards import paying_card
from config.kit.actors import Actor
from config.kit.errors import DomainError
from config.kit.faults import reached
from config.kit.tenancy import atomic, tenant_atomic
from directory.operations.audit import record

log = logging.getLogger(__name__)

# How long a bill waits whose charge the processor does not know any more.
UNKNOWN_WAITS = timedelta(hours=1)

# paid; declined: the subscription is marked; withheld: it is not to be charged (I-14), or what became of its charge
# is not known; pending: ask again later, nothing counts against the customer; busy: somebody else is at it, or it is
# not due.
type ChargeResult = Literal["paid", "declined", "withheld", "pending", "busy"]


def take_due_bills(*, at: datetime, limit: int) -> list[int]:
    """Lease up to `limit` card bills whose charge is due, oldest first; their ids. One statement.

    For a sweep that then calls `charge_bill(..., is_leased=True)` for each, several at once if it likes. A lease
    that nobody gives back ends by itself after `CHARGE_LEASE` of real time.
    """
    with atomic():
        ids = list(
            _due(at)
            .order_by("charge_due_at", "id")
            .select_for_update(skip_locked=True, no_key=True)
            .values_list("pk", flat=True)[:limit]
        )
        Bill.objects.filter(pk__in=ids).update(leased_until=Now() + settings.CHARGE_LEASE)
    return ids


def put_off(*, bill_ids: list[int]) -> None:
    """Keep open bills out of the sweeps for the length of a lease: they were asked about and had no answer."""
    with atomic():
        Bill.objects.open().filter(pk__in=bill_ids).update(leased_until=Now() + settings.CHARGE_LEASE)


def charge_bill(*, bill_id: int, at: datetime, is_leased: bool = False) -> ChargeResult:
    """Charge one open card bill off session, once. Never inside a transaction; safe to call at any time.

    What an earlier call left unfinished is finished by asking about its intent, never by another one.
    """
    reached("R2:before")
    if not is_leased and not _take(bill_id, at):
        return "busy"
    with atomic():
        bill = Bill.objects.select_related("payer").get(pk=bill_id)
    actor = Actor.system(bill.tenant_id)
    try:
        attempt_id = _attempt_for(actor, bill, at)
        reached("R2:after")
        if attempt_id is None:
            return _result(bill_id, at)
        attempts.drive(actor=actor, attempt_id=attempt_id, at=at)
    except Retryable:
        return "pending"
    except Rejected:
        return _refused(actor, bill_id, at)
    except guards.NotCharged as refused:
        _withhold(actor, bill_id, refused.reason, at)
        return "withheld"
    except attempts.KeyOutlived:
        # Never confirmed; the next sweep begins anew.
        return "pending"
    except DomainError:
        return _result(bill_id, at)
    finally:
        with atomic():
            Bill.objects.filter(pk=bill_id).update(leased_until=None)
    return _result(bill_id, at)


def _due(at: datetime) -> Any:
    return (
        Bill.objects.open()
        .filter(collection=Bill.Collection.CARD, charge_due_at__lte=at)
        .filter(Q(leased_until__isnull=True) | Q(leased_until__lt=Now()))
    )


def _take(bill_id: int, at: datetime) -> bool:
    with atomic():
        return bool(_due(at).filter(pk=bill_id).update(leased_until=Now() + settings.CHARGE_LEASE))


def _attempt_for(actor: Actor, bill: Bill, at: datetime) -> int | None:
    """The attempt under way, or a new one; None when there is nothing to drive.

    :raises NotCharged: the bill must not be charged.
    :raises Retryable: the payer's customer could not be made.
    """
    with tenant_atomic(actor):
        live = attempts.live_attempt(bill)
        if live is not None:
            if live.state == PaymentAttempt.State.SUCCEEDED or live.decline_code == outcomes.MISMATCH:
                return None
            return live.pk if attempts.take_lease(live.pk) else None
    customer_id = customer_of(actor=actor, payer=bill.payer, at=at)
    with tenant_atomic(actor):
        locked = lock_bill(bill.pk)
        reason = guards.why_not_charged(locked)
        if reason:
            raise guards.NotCharged(reason)
        if attempts.live_attempt(locked) is not None:
            return None
        card = paying_card(locked.subscription.card, tenant_id=locked.tenant_id, payer_id=locked.payer_id)
        if card is None or guards.is_too_small(locked):
            code = "no_card" if card is None else TOO_SMALL
            note_failure(actor=actor, bill=locked, kind="hard", code=code, at=at)
            return None
        return attempts.begin(
            actor=actor, cause=locked, customer_id=customer_id, card_id=card.processor_id, at=at
        ).pk


def _refused(actor: Actor, bill_id: int, at: datetime) -> ChargeResult:
    """The processor refuses the question: a payment that failed, unless it is about a charge without an outcome."""
    with tenant_atomic(actor):
        bill = lock_bill(bill_id)
        if attempts.live_attempt(bill) is not None:
            # Perhaps it was charged: the attempt waits for the vendor's staff, and for another question.
            Bill.objects.filter(pk=bill_id).update(charge_due_at=at + UNKNOWN_WAITS)
            return "withheld"
        if not guards.why_not_charged(bill) and bill.charge_due_at is not None:
            note_failure(actor=actor, bill=bill, kind="hard", code=REFUSED, at=at)
    return _result(bill_id, at)


def _withhold(actor: Actor, bill_id: int, reason: str, at: datetime) -> None:
    """Leave the bill open and out of the sweep; paying it by hand stays possible."""
    log.warning("Bill %s is not charged: %s", bill_id, reason)
    with tenant_atomic(actor):
        bill = lock_bill(bill_id)
        if bill.status in (Bill.Status.OPEN, Bill.Status.PAST_DUE) and bill.charge_due_at is not None:
            bill.charge_due_at = None
            bill.save(update_fields=["charge_due_at"])
            record(
                actor,
                "commerce.bill.charge_withheld",
                at=at,
                target_type="bill",
                target_id=bill.pk,
                target_label=bill.number,
                after={"reason": reason},
            )
            if reason == guards.RENEWAL_OFF:
                stop_trying(actor=actor, bill=bill, at=at)


def _result(bill_id: int, at: datetime) -> ChargeResult:
    with atomic():
        status, charge_due_at, tries = Bill.objects.values_list("status", "charge_due_at", "tries").get(
            pk=bill_id
        )
    if status == Bill.Status.PAID:
        return "paid"
    if tries and (charge_due_at is None or charge_due_at > at):
        return "declined"
    return "pending"
