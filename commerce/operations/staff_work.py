"""What the vendor's staff set going again: renewals, charges, refunds, what the processor told (docs/adr/0034).

Each is found in its list, which says whose it is, and changed as the app in that organization's rows. Twice is once:
what does not wait any more is left as it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.utils.translation import gettext_lazy as _

from commerce.gateways import Retryable
from commerce.models import Bill, Subscription, WebhookEvent
from commerce.operations.bills import lock_bill
from commerce.operations.dunning import try_bill
from commerce.operations.payments import ask_again, book_by_hand, settle_attempt
from commerce.operations.subscriptions import remember
from commerce.queries.staff_work import (
    CHARGE_WAITS,
    PARKED,
    PROCESSOR_EVENTS,
    REFUND_WAITS,
    REFUSED_BILLS,
    STUCK_CHARGES,
    STUCK_REFUNDS,
    Parked,
    ProcessorEvent,
    RefusedBill,
    StuckCharge,
    StuckRefund,
)
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed
from config.kit.tenancy import tenant_atomic
from directory.operations.audit import record
from directory.operations.staff_deeds import NotWaiting, acting_in, note, note_at_home, what_waits

LONGEST_REFERENCE = 100


class NoAnswer(Retryable):
    """The processor was asked about a charge, and said nothing usable."""

    message = _(
        "The card processor gives no answer, so it is still not known what became of the charge. Ask again in a few "
        "minutes."
    )


class NotByCard(Conflict):
    """The processor never had the money that is to go back."""

    code = "not_by_card"
    message = _(
        "It was not paid by card, so the card processor cannot give it back. Pay it back otherwise, then book that here. "
        "Nothing was changed."
    )


def try_again(*, staff: Actor, subscription_id: int, at: datetime) -> Parked:
    """Let the next sweep take up a parked subscription from where it stopped.

    :raises NotVisible: not of the staff. :raises NotWaiting: it is not parked any more.
    """
    with what_waits(staff, PARKED, subscription_id, "", rings="commerce.renew") as found:
        with tenant_atomic(found.tenant_id):
            parked: Subscription | None = (
                Subscription.objects.select_for_update(of=("self",), no_key=True)
                .filter(pk=subscription_id, parked_at__isnull=False)
                .first()
            )
            if parked is None:
                raise NotWaiting
            parked.parked_at, parked.parked_reason = None, ""
            parked.version += 1
            parked.save(update_fields=["parked_at", "parked_reason", "version"])
            remember(parked, "unparked", actor=acting_in(staff, found.tenant_id), at=at)
        note(
            staff,
            "commerce.subscription.unparked",
            at=at,
            organization=found.tenant_id,
            target_type="subscription",
            target_id=found.key,
            target_label=found.product,
            before={"reason": found.reason},
        )
    return found


def ask_about_charge(*, staff: Actor, attempt_id: int, at: datetime) -> tuple[StuckCharge, str]:
    """Do now what the reconciler does with a charge that has no outcome; what it was, and its state afterwards.

    Calls the processor: never inside a transaction. Charges nothing that the reconciler would not charge.

    :raises NotVisible: not of the staff. :raises NotWaiting: it is settled. :raises NoAnswer: none that is usable.
    """
    with what_waits(staff, STUCK_CHARGES, attempt_id, "", at - CHARGE_WAITS) as found:
        note(
            staff,
            "commerce.attempt.asked_again",
            at=at,
            organization=found.tenant_id,
            target_type="attempt",
            target_id=found.id,
            target_label=found.bill or found.intent_id,
            before={"state": found.state, "reason": found.reason},
        )
    try:
        return found, settle_attempt(found.id, tenant_id=found.tenant_id, at=at)
    except Retryable:
        raise NoAnswer from None


def charge_again(*, staff: Actor, bill_id: int, at: datetime) -> RefusedBill:
    """Let the charge sweep try a bill again whose charge the processor did not take.

    :raises NotVisible: not of the staff. :raises NotWaiting: it is paid or tried, or access has ended.
    """
    with what_waits(staff, REFUSED_BILLS, bill_id, "", rings="commerce.charge") as found:
        with tenant_atomic(found.tenant_id):
            bill = lock_bill(bill_id)
            if bill.charge_due_at is not None or not Bill.objects.open().filter(pk=bill_id).exists():
                raise NotWaiting
            try_bill(actor=acting_in(staff, found.tenant_id), bill=bill, at=at)
        note_at_home(
            staff,
            "commerce.bill.try_asked",
            organization=found.tenant_id,
            at=at,
            target_type="bill",
            target_id=bill_id,
            target_label=found.bill,
        )
    return found


def refund_again(*, staff: Actor, refund_id: int, at: datetime) -> StuckRefund:
    """Begin another refund for a credit note whose last one failed; the sweep makes it.

    :raises NotVisible: not of the staff. :raises NotWaiting, NothingOwed: it is under way, or paid back.
    :raises NotByCard: the processor has nothing to give back.
    """
    with _failed(staff, refund_id, at, rings="commerce.refund") as found:
        attempt = ask_again(number=found.note, at=at, actor=acting_in(staff, found.tenant_id))
        if attempt.state == attempt.State.FAILED:
            raise NotByCard
        note(
            staff,
            "commerce.refund.asked_again",
            at=at,
            organization=found.tenant_id,
            target_type="bill",
            target_id=attempt.credit_note_id,
            target_label=found.note,
            before={"reason": found.reason},
        )
    return found


def book_refund(*, staff: Actor, refund_id: int, reference: str, at: datetime) -> StuckRefund:
    """Book that a credit note was paid back otherwise than to the card, as by a transfer; no money moves by it.

    :raises NotVisible: not of the staff. :raises NotWaiting, NothingOwed: it is under way, or paid back.
    :raises Malformed: no reference.
    """
    reference = " ".join(reference.split())
    if not 0 < len(reference) <= LONGEST_REFERENCE or not reference.isprintable():
        raise Malformed(_("Say how it was paid back, in up to 100 letters."), field="reference")
    with _failed(staff, refund_id, at) as found:
        paid = book_by_hand(
            number=found.note, reference=reference, at=at, actor=acting_in(staff, found.tenant_id)
        )
        note_at_home(
            staff,
            "commerce.bill.refunded",
            organization=found.tenant_id,
            at=at,
            target_type="bill",
            target_id=paid.pk,
            target_label=found.note,
            after={"amount_minor": found.amount_minor, "currency": found.currency, "reference": reference},
        )
    return found


@contextmanager
def _failed(staff: Actor, refund_id: int, at: datetime, *, rings: str = "") -> Iterator[StuckRefund]:
    with what_waits(staff, STUCK_REFUNDS, refund_id, "", at - REFUND_WAITS, rings=rings) as found:
        if not found.has_failed:
            raise NotWaiting
        yield found


def handle_again(*, staff: Actor, event_id: int, at: datetime) -> ProcessorEvent:
    """Let the reconciler ask the processor anew about what an event names; what it finds takes effect once.

    :raises NotVisible: not of the staff. :raises NotWaiting: there is no such event, or it waits already.
    """
    with what_waits(staff, PROCESSOR_EVENTS, event_id, "", "", rings="commerce.reconcile") as found:
        waits = WebhookEvent.objects.filter(pk=event_id, handled_at__isnull=False).update(handled_at=None)
        if not waits:
            raise NotWaiting
        record(
            staff,
            "commerce.event.handled_again",
            at=at,
            target_type="event",
            target_id=found.event_id,
            target_label=found.type,
            before={"handled_at": found.handled_at.isoformat() if found.handled_at else ""},
        )
    return found
