"""Credit notes: what corrects a bill, and what gives money back (product §5.5, §6; I-07, I-19)."""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import F, Sum
from django.utils.translation import gettext_lazy as _

from commerce.models import Bill, Order, Payment, PaymentAttempt, RefundAttempt
from commerce.models.bills import PERIOD_TYPES
from commerce.operations.bills import Line, next_number, write_lines
from commerce.operations.subscriptions import remember
from config.kit.actors import Actor
from config.kit.errors import Conflict
from config.kit.faults import reached
from config.kit.money import round_half_up, tax_on
from config.kit.tenancy import atomic
from directory.operations.audit import record

log = logging.getLogger(__name__)

# Why money that did not come by card is not refunded to one.
NO_CARD = "no_card"


class CreditExceedsBill(Conflict):
    """More would be taken back than the bill has left; nothing was credited."""

    code = "credit_exceeds_bill"
    message = _("This is more than is left of the bill. Nothing was credited.")

    def __init__(self, bill: Bill, amount_minor: int) -> None:
        super().__init__(number=bill.number, amount_minor=amount_minor, currency=bill.currency)


class CreditedInPart(Conflict):
    """A bill that is not paid can only be credited whole; nothing was credited."""

    code = "credited_in_part"
    message = _("A bill that is not paid can only be credited as a whole. Nothing was credited.")


def credit_for(bill: Bill, subtotal_minor: int) -> tuple[int, int]:
    """The tax and the total that a credit note of `subtotal_minor` takes back. One query.

    Tax is rounded on the sum of all credits, so that several notes never take back more than the bill's own.
    """
    before, tax_before = _credited(bill)
    tax_minor = max(tax_on(before + subtotal_minor, bill.tax_rate) - tax_before, 0)
    return tax_minor, subtotal_minor + tax_minor


def issue_credit_note(
    *,
    actor: Actor,
    bill: Bill,
    type: str,
    order: Order,
    lines: Sequence[Line],
    at: datetime,
    gives_money_back: bool = True,
) -> Bill:
    """Take back some or all of a bill by a credit note with the next number of the same series.

    Inside the caller's transaction, which has locked the subscription and the bill and has written the order
    with a line for that subscription. `lines` carry positive amounts without tax; the note's are negative. What
    was paid is refunded: after the commit the caller calls `payments.refund_now`, and the sweep finishes what
    that could not. An unpaid bill is credited whole and asked for no more. `gives_money_back` False: nothing is
    refunded, since the caller moves the bill's money to the one issued anew; the bill must be credited whole.

    :raises CreditExceedsBill: more than is left of the bill, or the bill is void or a credit note itself.
    :raises CreditedInPart: an unpaid bill, or one whose money moves, and not all of it.
    """
    subtotal_minor = sum(line.amount_minor for line in lines)
    if type in PERIOD_TYPES or any(line.amount_minor <= 0 for line in lines) or not lines:
        raise ValueError("A credit note takes back positive amounts, and bills no period.")
    is_refunded = gives_money_back and bill.status == Bill.Status.PAID
    reached("G1:before")
    with atomic():
        tax_minor, _total = credit_for(bill, subtotal_minor)
        note = _write_note(
            actor,
            bill,
            type,
            order,
            lines,
            tax_minor,
            at,
            Bill.Status.OPEN if is_refunded else Bill.Status.CREDITED,
        )
        if is_refunded:
            begin_refund(actor=actor, bill=bill, credit_note=note, at=at)
    reached("G1:uncommitted")
    return note


def issue_credit_note_over(
    *, actor: Actor, bill: Bill, total_minor: int, description: str, at: datetime
) -> Bill:
    """A credit note, of type refund, over money of a paid bill that went back without our doing.

    The sum is given with its tax, so the tax is counted out of it, at most a minor unit off the rule. As
    `issue_credit_note` otherwise, but the caller books the refund: no attempt is begun.

    :raises CreditExceedsBill: more than is left of the bill.
    """
    before, tax_before = _credited(bill)
    left, tax_left = bill.subtotal_minor - before, bill.tax_minor - tax_before
    if total_minor > left + tax_left or bill.status != Bill.Status.PAID:
        raise CreditExceedsBill(bill, total_minor)
    subtotal_minor = round_half_up(Decimal(100 * total_minor) / (100 + bill.tax_rate))
    subtotal_minor = max(min(subtotal_minor, left), total_minor - tax_left, 1)
    line = Line(description, 1, subtotal_minor, subtotal_minor, bill.period_start, bill.period_end)
    with atomic():
        return _write_note(
            actor,
            bill,
            Bill.Type.REFUND,
            bill.order,
            [line],
            total_minor - subtotal_minor,
            at,
            Bill.Status.OPEN,
        )


def _write_note(
    actor: Actor,
    bill: Bill,
    type: str,
    order: Order,
    lines: Sequence[Line],
    tax_minor: int,
    at: datetime,
    status: str,
) -> Bill:
    subtotal_minor = sum(line.amount_minor for line in lines)
    total_minor = subtotal_minor + tax_minor
    _take_off(bill, total_minor, whole=status == Bill.Status.CREDITED)
    note: Bill = Bill.objects.create(
        tenant_id=bill.tenant_id,
        **next_number(bill.vendor_entity, at),
        order=order,
        subscription_id=bill.subscription_id,
        bill_to_id=bill.bill_to_id,
        payer_id=bill.payer_id,
        credits=bill,
        type=type,
        status=status,
        collection=bill.collection,
        issued_at=at,
        due_at=at,
        period_start=min(line.service_start for line in lines),
        period_end=max(line.service_end for line in lines),
        currency=bill.currency,
        subtotal_minor=-subtotal_minor,
        tax_name=bill.tax_name,
        tax_rate=bill.tax_rate,
        tax_minor=-tax_minor,
        total_minor=-total_minor,
    )
    write_lines(
        note,
        [replace(line, quantity=-line.quantity, amount_minor=-line.amount_minor) for line in lines],
    )
    before = {"status": bill.status, "credited_minor": bill.credited_minor}
    bill.refresh_from_db(fields=["status", "credited_minor", "charge_due_at", "next_dunning_at"])
    _tell(actor, bill, note, before, at)
    return note


def begin_refund(
    *, actor: Actor, bill: Bill, credit_note: Bill, at: datetime, made_as: str = ""
) -> RefundAttempt:
    """Write the attempt to refund a credit note, and count it on the bill; inside the transaction that locked both.

    `made_as`: the processor's id of one that somebody else has made already. Money that did not come by card
    cannot go back to one: that attempt has failed before it began, and waits for the vendor's staff.

    :raises CreditExceedsBill: more than was paid and is not given back.
    """
    amount_minor = -credit_note.total_minor
    payment = Payment.objects.get(bill=bill)
    has_card = charge_of(payment) is not None
    with atomic():
        attempt: RefundAttempt = RefundAttempt.objects.create(
            tenant_id=bill.tenant_id,
            payment=payment,
            credit_note=credit_note,
            key=made_as or f"ref_{uuid.uuid4().hex}",
            processor_refund_id=made_as or None,
            amount_minor=amount_minor,
            currency=bill.currency,
            state=RefundAttempt.State.CREATED if has_card else RefundAttempt.State.FAILED,
            failure_code="" if has_card else NO_CARD,
            next_try_at=at,
            created_at=at,
            updated_at=at,
        )
        if not has_card:
            log.error("Credit note %s waits for staff: it was not paid by card", credit_note.number)
        elif not count_refund(bill, amount_minor):
            raise CreditExceedsBill(bill, amount_minor)
        record(
            actor,
            "commerce.refund.asked" if has_card else "commerce.refund.failed",
            at=at,
            target_type="bill",
            target_id=bill.pk,
            target_label=bill.number,
            after={
                "amount_minor": amount_minor,
                "currency": bill.currency,
                "credit_note": credit_note.number,
                "refund": attempt.key,
            }
            | ({} if has_card else {"code": NO_CARD}),
        )
    bill.refresh_from_db(fields=["refunded_minor"])
    return attempt


def charge_of(payment: Payment) -> PaymentAttempt | None:
    """The charge that brought the money, through every bill it was moved from; None when it came otherwise."""
    while payment.moved_from is not None:
        payment = payment.moved_from
    attempt: PaymentAttempt | None = payment.attempt
    return attempt if attempt is not None and attempt.intent_id else None


def count_refund(bill: Bill, amount_minor: int) -> bool:
    """Count a sum as given back of its bill, if that much was paid and is left. One conditional update."""
    return bool(
        Bill.objects.filter(pk=bill.pk, refunded_minor__lte=F("paid_minor") - amount_minor).update(
            refunded_minor=F("refunded_minor") + amount_minor
        )
    )


def _credited(bill: Bill) -> tuple[int, int]:
    """What the bill's credit notes take back, without tax and tax. One query."""
    sums = Bill.objects.filter(credits=bill).aggregate(subtotal=Sum("subtotal_minor"), tax=Sum("tax_minor"))
    return -(sums["subtotal"] or 0), -(sums["tax"] or 0)


def _take_off(bill: Bill, total_minor: int, *, whole: bool) -> None:
    """Count the credit on its bill, if that much is left. One conditional update, whoever else is at it (I-07)."""
    rows = Bill.objects.filter(
        pk=bill.pk,
        status=bill.status,
        credits__isnull=True,
        credited_minor__lte=F("total_minor") - total_minor,
    ).exclude(status__in=[Bill.Status.CREDITED, Bill.Status.VOID])
    changes: dict[str, Any] = {"credited_minor": F("credited_minor") + total_minor}
    if whole:
        if total_minor < bill.total_minor - bill.credited_minor and rows.exists():
            raise CreditedInPart(number=bill.number)
        changes |= {
            "status": Bill.Status.CREDITED,
            "charge_due_at": None,
            "leased_until": None,
            "next_dunning_at": None,
        }
    if not rows.update(**changes):
        raise CreditExceedsBill(bill, total_minor)


def _tell(actor: Actor, bill: Bill, note: Bill, before: dict[str, Any], at: datetime) -> None:
    record(
        actor,
        "commerce.bill.issued",
        at=at,
        target_type="bill",
        target_id=note.pk,
        target_label=note.number,
        after={
            "total_minor": note.total_minor,
            "currency": note.currency,
            "type": note.type,
            "credits": bill.number,
        },
    )
    record(
        actor,
        "commerce.bill.credited",
        at=at,
        target_type="bill",
        target_id=bill.pk,
        target_label=bill.number,
        before=before,
        after={"status": bill.status, "credited_minor": bill.credited_minor, "credit_note": note.number},
    )
    remember(
        bill.subscription,
        "credited",
        actor=actor,
        at=at,
        bill=bill.number,
        credit_note=note.number,
        amount_minor=-note.total_minor,
        currency=note.currency,
    )
