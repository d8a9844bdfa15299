"""Bills on account: money that the vendor's staff found on the bank account, and bills whose last day is over (product §6)."""

from datetime import datetime

from django.conf import settings
from django.db.models import DateField, DateTimeField, F, Func, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast
from django.utils.translation import gettext_lazy as _

from commerce.models import Bill, Payment, PaymentAttempt
from commerce.operations.bills import book_payment, lock_bill
from commerce.operations.subscriptions import remember
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotVisible
from config.kit.tenancy import atomic, connection, use_login
from directory.models import AuditEntry
from directory.operations.audit import entry as audit_entry
from directory.operations.audit import record_all
from directory.operations.mail import QUEUE_SQL

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
    """Make every open on-account bill past due whose last day is over where it is paid; how many. By the worker's login.

    Access is never cut by it. Rows that somebody is changing right now are left to the next sweep.
    """
    total = 0
    with use_login("worker"):
        while True:
            with atomic():
                due = list(
                    Bill.objects.open()
                    .filter(status=Bill.Status.OPEN, collection=Bill.Collection.ON_ACCOUNT, due_at__lte=at)
                    .alias(last_day=_day_of(F("due_at")), today=_day_of(Value(at)))
                    .filter(last_day__lt=F("today"))
                    .order_by("due_at", "id")
                    .select_for_update(of=["self"], no_key=True, skip_locked=True)[:BATCH]
                )
                Bill.objects.filter(pk__in=[bill.pk for bill in due]).update(
                    status=Bill.Status.PAST_DUE, next_dunning_at=at
                )
                record_all([_entry(bill, at) for bill in due])
            total += len(due)
            if len(due) < BATCH:
                return total


def _day_of(instant: Combinable) -> Cast:
    """The calendar day of an instant in the zone of a bill's subscription."""
    local = Func(F("subscription__time_zone"), instant, function="timezone", output_field=DateTimeField())
    return Cast(local, DateField())


def tell_of_bills(*, at: datetime, limit: int = BATCH) -> int:
    """Tell who pays of each bill on account: issued, due in 7 days, and overdue; how many mails.

    Overdue is told on the day after, and 7, 21 and 35 days later; access is never cut by it. `dunning_step` counts what was
    told. Bills of added licenses, of reactivations and in place of corrected ones were told by mails of their own. In
    batches of one statement, under the worker's login.
    """
    told: int = 0
    with use_login("worker"):
        while True:
            with atomic(), connection().cursor() as cursor:
                cursor.execute(_TELL, {"at": at, "limit": limit, "public_url": settings.PUBLIC_URL})
                looked_at, mails = cursor.fetchone()
            told += mails
            if looked_at < limit:
                return told


# Steps: 1 issued, 2 due soon, 3 and on: overdue. One that was issued long before this was told of is not told now.
_TELL = f"""
WITH soon AS MATERIALIZED (
    SELECT b.id, CASE WHEN b.due_at <= %(at)s + interval '7 days' THEN 2 ELSE 1 END AS step
       FROM commerce_bill b
      WHERE b.status = 'open' AND b.collection = 'on_account' AND b.credits_id IS NULL AND b.due_at > %(at)s
        AND b.dunning_step < CASE WHEN b.due_at <= %(at)s + interval '7 days' THEN 2 ELSE 1 END
      ORDER BY b.due_at, b.id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
), late AS MATERIALIZED (
    SELECT b.id, greatest(b.dunning_step, 2) + 1 AS step
       FROM commerce_bill b
      WHERE b.status = 'past_due' AND b.collection = 'on_account' AND b.credits_id IS NULL
        AND b.next_dunning_at <= %(at)s
      ORDER BY b.next_dunning_at, b.id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
), due AS MATERIALIZED (
    SELECT * FROM soon UNION ALL SELECT * FROM late
), moved AS (
    UPDATE commerce_bill b
       SET dunning_step = d.step,
           next_dunning_at = CASE WHEN d.step = 3 THEN %(at)s + interval '7 days'
                                  WHEN d.step IN (4, 5) THEN %(at)s + interval '14 days' END
      FROM due d WHERE b.id = d.id
), mail AS MATERIALIZED (
    SELECT b.tenant_id, b.payer_id AS owner_id, b.number || ':' || d.step AS event_key,
           CASE d.step WHEN 1 THEN 'bill_issued' WHEN 2 THEN 'bill_due' ELSE 'bill_overdue' END AS kind,
           jsonb_build_object(
               'organization', tenant.name, 'vendor', entity.name, 'product', product.name,
               'bill_number', b.number, 'currency', b.currency, 'subtotal_minor', b.subtotal_minor,
               'tax_name', b.tax_name, 'tax_rate', trim_scale(b.tax_rate)::text, 'tax_minor', b.tax_minor,
               'total_minor', b.total_minor - b.credited_minor, 'due_at', b.due_at, 'issued_at', b.issued_at,
               'period_start_at', b.period_start, 'period_last_at', b.period_end - interval '1 microsecond',
               'time_zone', s.time_zone, 'bank_account', entity.bank_account,
               'link', %(public_url)s || '/admin/billing/bills/' || b.number || '/') AS context
      FROM due d
      JOIN commerce_bill b ON b.id = d.id
      JOIN commerce_subscription s ON s.id = b.subscription_id
      JOIN commerce_product product ON product.id = s.product_id
      JOIN directory_tenant tenant ON tenant.id = b.tenant_id
      JOIN commerce_vendorentity entity ON entity.id = b.vendor_entity_id
     WHERE d.step <> 1 OR b.type NOT IN ('add_seats', 'reactivation') AND b.replaces_id IS NULL
           AND b.issued_at > %(at)s - interval '3 days'
), mails AS ({QUEUE_SQL.format(source="mail")})
SELECT (SELECT count(*) FROM due), (SELECT count(*) FROM mails)
"""  # noqa: S608


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
