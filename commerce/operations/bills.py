"""Issuing bills, with numbers that have no gaps (product §6, I-19), and booking what was paid for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import F

from commerce.models import (
    Bill,
    BillLine,
    BillTo,
    Card,
    Order,
    Payment,
    PaymentAttempt,
    Subscription,
    VendorEntity,
)
from config.kit.actors import Actor
from config.kit.errors import Conflict
from config.kit.money import tax_on
from config.kit.tenancy import atomic, connection
from directory.models import User
from directory.operations.audit import entry, record, record_all

# The counter's row stays locked until the transaction ends: one issuer at a time per series, and a rolled-back
# bill gives its number back.
_TAKE_NUMBER = """
    INSERT INTO commerce_billseries AS series (vendor_entity_id, year, next_number) VALUES (%s, %s, 2)
    ON CONFLICT (vendor_entity_id, year) DO UPDATE SET next_number = series.next_number + 1
    RETURNING next_number - 1
"""


class BillNotOpen(Conflict):
    """Money cannot be booked on a bill that is paid, credited or void."""

    code = "bill_not_open"


@dataclass(frozen=True, slots=True)
class Line:
    """One line to bill: what, how many, at what price; the amount is quantity * unit price unless prorated."""

    description: str
    quantity: int
    unit_price_minor: int
    amount_minor: int
    service_start: datetime
    service_end: datetime


def line_of(row: BillLine) -> Line:
    """A line that is on a bill, to be billed or credited again."""
    return Line(
        description=row.description,
        quantity=row.quantity,
        unit_price_minor=row.unit_price_minor,
        amount_minor=row.amount_minor,
        service_start=row.service_start,
        service_end=row.service_end,
    )


def series_year(at: datetime) -> int:
    """The calendar year, in UTC, whose series a bill issued at `at` belongs to."""
    return at.astimezone(UTC).year


def bill_number(series: str, year: int, number: int) -> str:
    """`SK-NL-2026-000941`."""
    return f"{series}-{year}-{number:06d}"


def next_number(vendor_entity: VendorEntity, at: datetime) -> dict[str, Any]:
    """The fields of a bill that say its number, the next of its series, whose row is locked from here on."""
    year = series_year(at)
    with connection().cursor() as cursor:
        cursor.execute(_TAKE_NUMBER, [vendor_entity.pk, year])
        number: int = cursor.fetchone()[0]
    return {
        "number": bill_number(vendor_entity.bill_series, year, number),
        "vendor_entity": vendor_entity,
        "series_year": year,
        "series_number": number,
    }


def write_lines(bill: Bill, lines: Sequence[Line]) -> None:
    BillLine.objects.bulk_create(
        BillLine(
            tenant_id=bill.tenant_id,
            bill=bill,
            description=line.description,
            quantity=line.quantity,
            unit_price_minor=line.unit_price_minor,
            amount_minor=line.amount_minor,
            service_start=line.service_start,
            service_end=line.service_end,
        )
        for line in lines
    )


def issue_bill(
    *,
    actor: Actor,
    subscription: Subscription,
    order: Order,
    type: str,
    bill_to: BillTo,
    payer: User | None,
    collection: str,
    lines: Sequence[Line],
    period_start: datetime,
    period_end: datetime,
    at: datetime,
    due_at: datetime,
    charge_due_at: datetime | None = None,
    replaces: Bill | None = None,
) -> Bill:
    """Issue one bill with the next number of its vendor entity and year: open, or paid where its total is 0.

    `replaces` is the bill, credited before, that is issued anew by this one, with its seller, currency and tax.
    Call it late in the caller's transaction: the series' row is locked from here to the commit.
    """
    terms: Bill | Subscription = replaces or subscription
    subtotal_minor = sum(line.amount_minor for line in lines)
    tax_minor = tax_on(subtotal_minor, terms.tax_rate)
    is_free = subtotal_minor + tax_minor == 0
    with atomic():
        bill = Bill.objects.create(
            tenant_id=subscription.tenant_id,
            **next_number(terms.vendor_entity, at),
            order=order,
            subscription=subscription,
            bill_to=bill_to,
            payer=payer,
            type=type,
            status=Bill.Status.PAID if is_free else Bill.Status.OPEN,
            paid_at=at if is_free else None,
            collection=collection,
            issued_at=at,
            due_at=due_at,
            period_start=period_start,
            period_end=period_end,
            currency=terms.currency,
            subtotal_minor=subtotal_minor,
            tax_name=terms.tax_name,
            tax_rate=terms.tax_rate,
            tax_minor=tax_minor,
            total_minor=subtotal_minor + tax_minor,
            charge_due_at=None if is_free else charge_due_at,
            replaces=replaces,
        )
        write_lines(bill, lines)
        record(
            actor,
            "commerce.bill.issued",
            at=at,
            target_type="bill",
            target_id=bill.pk,
            target_label=bill.number,
            after={"total_minor": bill.total_minor, "currency": bill.currency, "type": bill.type},
        )
    return bill


def bill_seats(
    *,
    actor: Actor,
    subscription: Subscription,
    order: Order,
    type: str,
    quantity: int,
    unit_price_minor: int,
    amount_minor: int,
    period: tuple[datetime, datetime],
    collection: str,
    due_at: datetime,
    at: datetime,
) -> Bill:
    """`issue_bill` with one line: seats of the subscription for a period, to who owns it and whom it is billed to."""
    starts, ends = period
    line = Line(subscription.product.name, quantity, unit_price_minor, amount_minor, starts, ends)
    return issue_bill(
        actor=actor,
        subscription=subscription,
        order=order,
        type=type,
        bill_to=subscription.bill_to,
        payer=subscription.owner_user,
        collection=collection,
        lines=[line],
        period_start=starts,
        period_end=ends,
        at=at,
        due_at=due_at,
    )


def lock_bill(bill_id: int) -> Bill:
    """The bill with its subscription, both locked, the subscription first as every sweep does.

    Alone, three times a charge: planning a join with all that a receipt names costs more than the charge's rows.
    """
    subscription_id = Bill.objects.values_list("subscription_id", flat=True).get(pk=bill_id)
    subscription = Subscription.objects.select_for_update(no_key=True).get(pk=subscription_id)
    bill: Bill = (
        Bill.objects.select_for_update(of=["self"]).select_related("payer", "vendor_entity").get(pk=bill_id)
    )
    bill.subscription = subscription
    return bill


def book_payment(
    *,
    actor: Actor,
    bill: Bill,
    attempt: PaymentAttempt | None,
    charge_id: str,
    received_at: datetime,
    at: datetime,
    card: Card | None = None,
    reference: str = "",
    moved_from: Payment | None = None,
) -> Payment:
    """Book one payment of the whole bill and make it paid, both or neither.

    `card` paid it; `reference` is that of money which the vendor's staff found on the account; `moved_from` is
    the payment, of the bill that was corrected, whose money this is.

    :raises BillNotOpen: it was paid, credited or voided meanwhile; nothing is booked.
    """
    booking = Booking(actor, bill, attempt, charge_id, card, reference, moved_from)
    (payment,) = book_payments([booking], received_at=received_at, at=at)
    bill.refresh_from_db()
    return payment


@dataclass(frozen=True, slots=True)
class Booking:
    """What `book_payments` books on one bill, and in whose name."""

    actor: Actor
    bill: Bill
    attempt: PaymentAttempt | None
    charge_id: str
    card: Card | None = None
    reference: str = ""
    moved_from: Payment | None = None


def _moved(booking: Booking) -> dict[str, str]:
    return {} if booking.moved_from is None else {"moved_from": booking.moved_from.bill.number}


def book_payments(bookings: Sequence[Booking], *, received_at: datetime, at: datetime) -> list[Payment]:
    """Book one payment of each whole bill and make them paid, all or none. Three statements.

    :raises BillNotOpen: one was paid, credited or voided meanwhile; nothing is booked.
    """
    with atomic():
        changed = (
            Bill.objects.open()
            .filter(pk__in=[booking.bill.pk for booking in bookings])
            .update(
                status=Bill.Status.PAID,
                paid_minor=F("total_minor"),
                paid_at=received_at,
                charge_due_at=None,
                leased_until=None,
                next_dunning_at=None,
                last_decline="",
            )
        )
        if changed != len(bookings):
            raise BillNotOpen
        payments: list[Payment] = Payment.objects.bulk_create(
            Payment(
                tenant_id=bill.tenant_id,
                bill=bill,
                attempt=booking.attempt,
                amount_minor=bill.total_minor,
                currency=bill.currency,
                received_at=received_at,
                processor_charge_id=booking.charge_id,
                card=booking.card,
                reference=booking.reference,
                moved_from=booking.moved_from,
            )
            for booking in bookings
            for bill in [booking.bill]
        )
        record_all(
            [
                entry(
                    booking.actor,
                    "commerce.bill.paid",
                    at=at,
                    target_type="bill",
                    target_id=bill.pk,
                    target_label=bill.number,
                    before={"status": bill.status},
                    after={
                        "status": Bill.Status.PAID,
                        "paid_minor": bill.total_minor,
                        "charge": booking.charge_id,
                    }
                    | _moved(booking),
                )
                for booking in bookings
                for bill in [booking.bill]
            ]
        )
    return payments
