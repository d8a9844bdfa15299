"""A bill made out to the wrong name, address or VAT number is credited and issued anew (product §6; docs/adr/0016)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext_lazy as _

from commerce.models import Bill, BillTo, Payment, PaymentAttempt, Subscription
from commerce.operations import notices
from commerce.operations.bills import book_payment, issue_bill, line_of, lock_bill
from commerce.operations.checkouts import BillingDetails, bill_to_for, is_in_register
from commerce.operations.credits import issue_credit_note
from commerce.operations.subscriptions import remember
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.actors import tenant_row
from directory.models import Tenant
from directory.operations.audit import record
from directory.permissions import Capability

# What an unpaid bill had come to in the calendar of failed payments: the one issued anew goes on from there.
CARRIED = (
    *("status", "charge_due_at", "tries", "last_decline", "decline_kind"),
    *("failed_at", "dunning_step", "next_dunning_at"),
)
DETAILS = ("name", "street", "postal_code", "city", "country", "vat_number", "own_reference")


class NothingToCorrect(Malformed):
    """The details are those that the bill has."""

    code = "nothing_to_correct"

    def __init__(self) -> None:
        super().__init__(_("This is what the bill says already. Nothing was changed."), field="name")


class AlreadyCorrected(Conflict):
    """A bill is issued anew once; that one can be corrected again. `number` is that of the new bill."""

    code = "already_corrected"
    message = _("This bill was corrected already. Nothing was changed now.")

    def __init__(self, number: str) -> None:
        self.number = number
        super().__init__(number=number)


class NotCorrectable(Conflict):
    """A credit note, or a bill of which something was credited: its credit notes would keep the wrong details."""

    code = "not_correctable"
    message = _(
        "Something of this bill was credited already, so it cannot be corrected. Nothing was changed."
    )


class BeingPaid(Conflict):
    """A card is being charged for the bill; which of the two bills would it pay?"""

    code = "bill_being_paid"
    message = _("This bill is being paid right now. Nothing was changed. Try again in a few minutes.")


@dataclass(frozen=True, slots=True)
class Corrected:
    """The bill that was wrong, the credit note over it, and the bill in its place."""

    old: Bill
    credit_note: Bill
    bill: Bill


def correctable(actor: Actor, number: str) -> Bill:
    """The bill, if the actor may correct it now. Inside the tenant's transaction; locks nothing.

    :raises NotVisible, NotAllowed: not the actor's to see, or to correct; or the organization is suspended.
    :raises AlreadyCorrected, NotCorrectable, BeingPaid: it cannot be corrected, or not now.
    """
    bill: Bill | None = (
        Bill.objects.visible_to(actor)
        .select_related("bill_to", "payer", "vendor_entity", "subscription__product")
        .filter(number=number)
        .first()
    )
    if bill is None:
        raise NotVisible
    _require(actor, bill)
    return bill


def correct_bill(*, actor: Actor, number: str, billing: BillingDetails, at: datetime) -> Corrected:
    """Credit a bill and issue it anew to other details, for the same money.

    What was paid counts for the new bill; what was not stays due as it was. Later bills of the purchase take the
    new details too, if they would have taken the wrong ones. A VAT number changes no tax, which goes by the market.
    A new VAT number is looked up in the public register first, so never call it inside a transaction.

    :raises NotVisible, NotAllowed, AlreadyCorrected, NotCorrectable, BeingPaid: as `correctable`.
    :raises NothingToCorrect: the details are those that the bill has.
    """
    with tenant_atomic(actor):
        known: BillTo = correctable(actor, number).bill_to
    is_verified = is_in_register(known, billing)
    with tenant_atomic(actor):
        bill = lock_bill(correctable(actor, number).pk)
        _require(actor, bill)
        wrong: BillTo = bill.bill_to
        right = bill_to_for(actor, wrong, billing, is_verified=is_verified, email=wrong.email)
        if right == wrong:
            raise NothingToCorrect
        corrected = _issue_anew(actor, bill, right, at)
        _bill_later_to(bill.subscription, wrong, right)
        _tell(actor, corrected, wrong, right, at)
    return corrected


def _require(actor: Actor, bill: Bill) -> None:
    actor.require(
        Capability.PAY_BILLS,
        is_own=bill.payer_id is not None and bill.payer_id == actor.user_id,
        is_org=bill.payer_id is None,
        sees=Capability.SEE_BILLS,
    )
    if tenant_row(bill.tenant_id).standing != Tenant.Standing.GOOD:
        raise NotAllowed(_("Your organization is suspended; bills can be paid, and not corrected."))
    anew = Bill.objects.filter(tenant_id=bill.tenant_id, replaces=bill).first()
    if anew is not None:
        raise AlreadyCorrected(anew.number)
    if not bill.is_correctable:
        raise NotCorrectable
    if bill.attempts.exclude(state__in=PaymentAttempt.FINAL).exists():
        raise BeingPaid


def _issue_anew(actor: Actor, bill: Bill, right: BillTo, at: datetime) -> Corrected:
    """Credit the bill, issue it to `right` and move its money there; it is locked, with its subscription."""
    carried: dict[str, Any] = {field: getattr(bill, field) for field in CARRIED}
    paid = Payment.objects.select_related("card").filter(bill=bill).first()
    lines = [line_of(row) for row in bill.lines.order_by("id")]
    note = issue_credit_note(
        actor=actor,
        bill=bill,
        type=Bill.Type.CREDIT,
        order=bill.order,
        lines=lines,
        at=at,
        gives_money_back=False,
    )
    anew = issue_bill(
        actor=actor,
        subscription=bill.subscription,
        order=bill.order,
        type=bill.type,
        bill_to=right,
        payer=bill.payer,
        collection=bill.collection,
        lines=lines,
        period_start=bill.period_start,
        period_end=bill.period_end,
        at=at,
        due_at=bill.due_at,
        replaces=bill,
    )
    if paid is None:
        Bill.objects.filter(pk=anew.pk).update(**carried)
    else:
        book_payment(
            actor=actor,
            bill=anew,
            attempt=None,
            charge_id="",
            received_at=paid.received_at,
            at=at,
            card=paid.card,
            moved_from=paid,
        )
    anew.refresh_from_db()
    return Corrected(bill, note, anew)


def _bill_later_to(subscription: Subscription, wrong: BillTo, right: BillTo) -> None:
    if subscription.bill_to_id == wrong.pk:
        subscription.bill_to = right
        subscription.save(update_fields=["bill_to"])


def _tell(actor: Actor, corrected: Corrected, wrong: BillTo, right: BillTo, at: datetime) -> None:
    old, note, bill = corrected.old, corrected.credit_note, corrected.bill
    remember(
        old.subscription,
        "bill_corrected",
        actor=actor,
        at=at,
        bill=old.number,
        credit_note=note.number,
        replaced_by=bill.number,
    )
    record(
        actor,
        "commerce.bill.corrected",
        at=at,
        target_type="bill",
        target_id=old.pk,
        target_label=old.number,
        after={
            "credit_note": note.number,
            "replaced_by": bill.number,
            "changed": [field for field in DETAILS if getattr(wrong, field) != getattr(right, field)],
        },
    )
    notices.queue_bill_corrected(old=old, credit_note=note, bill=bill, at=at)
