"""Bills on account: money that the vendor's staff found on the bank account, and bills whose day has come (product §6)."""

from datetime import datetime

from django.utils.translation import gettext_lazy as _

from commerce.models import Bill, Payment, PaymentAttempt
from commerce.operations.bills import book_payment, lock_bill
from commerce.operations.subscriptions import remember
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotVisible
from config.kit.tenancy import atomic, use_login
from directory.models import AuditEntry
from directory.operations.audit import entry as audit_entry
from directory.operations.audit import record_all

# So many bills become past due in one transaction.
BATCH = 500
LONGEST_REFERENCE = 100


class NotOnAccount(Conflict):
    """A bill that is charged to a card takes no transfer."""

    code = "not_on_account"
    message = _("This bill is paid by card. Nothing was booked.")


class ChargeUnderWay(Conflict):
    """A card is being charged for the bill at this moment."""

    code = "charge_under_way"
    message = _("A card is being charged for this bill. Nothing was booked. Try again in a few minutes.")


def book_received(*, number: str, reference: str, staff: str, at: datetime) -> Payment:
    """Book the whole of an on-account bill as received by transfer. By the worker's login.

    `reference` is that of the bank's statement, `staff` who says so; both stay on the row and in the trail.

    :raises NotVisible: there is no such bill. :raises Malformed: no reference, or one too long.
    :raises NotOnAccount: it is paid by card. :raises ChargeUnderWay: a card is being charged for it.
    :raises BillNotOpen: it is paid, credited or void.
    """
    reference = reference.strip()
    if not 1 <= len(reference) <= LONGEST_REFERENCE:
        raise Malformed(
            _("Give the reference of the bank statement, at most 100 letters."), field="reference"
        )
    with use_login("worker"), atomic():
        found = Bill.objects.filter(number=number, credits__isnull=True).values_list("pk", flat=True).first()
        if found is None:
            raise NotVisible
        bill = lock_bill(found)
        if bill.collection != Bill.Collection.ON_ACCOUNT:
            raise NotOnAccount
        if bill.attempts.exclude(state__in=PaymentAttempt.FINAL).exists():
            raise ChargeUnderWay
        actor = Actor.system(bill.tenant_id, label=staff, door="cli")
        payment = book_payment(
            actor=actor, bill=bill, attempt=None, charge_id="", received_at=at, at=at, reference=reference
        )
        remember(bill.subscription, "paid", actor=actor, at=at, bill=bill.number, reference=reference)
    return payment


def mark_past_due(*, at: datetime) -> int:
    """Make every open on-account bill past due whose day has come; how many. By the worker's login.

    Access is never cut by it. Rows that somebody is changing right now are left to the next sweep.
    """
    total = 0
    with use_login("worker"):
        while True:
            with atomic():
                due = list(
                    Bill.objects.open()
                    .filter(status=Bill.Status.OPEN, collection=Bill.Collection.ON_ACCOUNT, due_at__lte=at)
                    .order_by("due_at", "id")
                    .select_for_update(of=["self"], no_key=True, skip_locked=True)[:BATCH]
                )
                Bill.objects.filter(pk__in=[bill.pk for bill in due]).update(status=Bill.Status.PAST_DUE)
                record_all([_entry(bill, at) for bill in due])
            total += len(due)
            if len(due) < BATCH:
                return total


def _entry(bill: Bill, at: datetime) -> AuditEntry:
    return audit_entry(
        Actor.system(bill.tenant_id),
        "commerce.bill.became_past_due",
        at=at,
        target_type="bill",
        target_id=bill.pk,
        target_label=bill.number,
        before={"status": Bill.Status.OPEN},
        after={"status": Bill.Status.PAST_DUE},
    )
