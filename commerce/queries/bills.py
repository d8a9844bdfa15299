"""Bills as lists and one by one (product §2, §6). They page by key and never count past 10,000 (architecture §9)."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.core.exceptions import EmptyResultSet
from django.db.models import Count, F, Min, OuterRef, Q, Subquery, Sum

from commerce.models import Bill, BillLine, Payment, Refund, RefundAttempt, Subscription
from commerce.models.bills import PERIOD_TYPES, BillQuerySet, reach_of
from config.kit import keyset
from config.kit.actors import Actor
from config.kit.errors import NotVisible
from config.kit.tenancy import connection
from directory.models.people import fold
from directory.permissions import Capability

_S = Bill.Status
_IS_BILL, _IS_NOTE = Q(credits__isnull=True), Q(credits__isnull=False)
# Name in the address -> what it finds. A credit note has states of its own (design §5).
STATUSES: Mapping[str, Q] = {
    "open": _IS_BILL & Q(status=_S.OPEN),
    "past-due": _IS_BILL & Q(status=_S.PAST_DUE),
    "paid": _IS_BILL & Q(status=_S.PAID),
    "credited": _IS_BILL & Q(status=_S.CREDITED),
    "void": Q(status=_S.VOID),
    "refund-under-way": _IS_NOTE & Q(status=_S.OPEN),
    "refunded": _IS_NOTE & Q(status=_S.PAID),
    "settled": _IS_NOTE & Q(status=_S.CREDITED),
}
ORGANIZATION, ME, OTHERS = "organization", "me", "others"
PAYERS = (ORGANIZATION, ME, OTHERS)

ORDER = ["-issued_at", "-id"]
CHUNK = 1_000


class Row(NamedTuple):
    """One line of the list: plain values, read without building models."""

    id: int
    issued_at: datetime
    number: str
    type: str
    status: str
    collection: str
    currency: str
    subtotal_minor: int
    tax_name: str
    tax_rate: Decimal
    tax_minor: int
    total_minor: int
    paid_minor: int
    credited_minor: int
    refunded_minor: int
    period_start: datetime
    period_end: datetime
    due_at: datetime
    paid_at: datetime | None
    payer_id: int | None
    credits_id: int | None
    decline_kind: str
    product_id: int
    product_name: str
    channel: str
    subscription_key: uuid.UUID
    time_zone: str
    replaces_number: str | None
    replaced_by_number: str | None
    licenses: int | None

    @property
    def is_credit_note(self) -> bool:
        return self.credits_id is not None


class ExportRow(NamedTuple):
    """What an export says beside the list's columns."""

    bill_to_name: str
    bill_to_country: str
    vat_number: str
    own_reference: str
    order_key: uuid.UUID
    credits_number: str | None


_JOINED = {
    "product_id": "subscription__product_id",
    "product_name": "subscription__product__name",
    "channel": "subscription__channel",
    "subscription_key": "subscription__key",
    "time_zone": "subscription__time_zone",
    "bill_to_name": "bill_to__name",
    "bill_to_country": "bill_to__country",
    "vat_number": "bill_to__vat_number",
    "own_reference": "bill_to__own_reference",
    "order_key": "order__key",
    "credits_number": "credits__number",
    "replaces_number": "replaces__number",
    "replaced_by_number": "replaced_by__number",
}
_COLUMNS = [_JOINED.get(name, name) for name in Row._fields]
_EXPORTED = [*_COLUMNS, *(_JOINED[name] for name in ExportRow._fields)]


@dataclass(frozen=True, slots=True)
class Filter:
    """What the person asked to see. Empty means everything. `since` and `until` bound the bill's date, half-open."""

    status: str = ""
    channels: tuple[str, ...] = ()
    product_id: int | None = None
    payer: str = ""
    since: datetime | None = None
    until: datetime | None = None
    words: tuple[str, ...] = ()

    @property
    def is_narrowed(self) -> bool:
        return self != Filter()


@dataclass(frozen=True, slots=True)
class Sums:
    """How many bills, and what they come to by currency. `is_complete` False: only the first 10,001 were read."""

    count: int
    by_currency: Mapping[str, int]
    is_complete: bool


def period_of(text: str, time_zone: str) -> tuple[datetime, datetime] | None:
    """The instants between which a year or month lies, `2026` or `2026-11`; None for anything else."""
    parts = text.split("-")
    if not all(part.isascii() and part.isdigit() for part in parts) or len(parts) > 2 or len(parts[0]) != 4:
        return None
    year, month = int(parts[0]), int(parts[1]) if len(parts) == 2 and len(parts[1]) == 2 else 0
    if not 2000 <= year < 9000 or (len(parts) == 2 and not 1 <= month <= 12):
        return None
    zone = ZoneInfo(time_zone)
    if not month:
        return datetime(year, 1, 1, tzinfo=zone), datetime(year + 1, 1, 1, tzinfo=zone)
    after = (year + 1, 1) if month == 12 else (year, month + 1)
    return datetime(year, month, 1, tzinfo=zone), datetime(*after, 1, tzinfo=zone)


def words_of(text: str) -> tuple[str, ...]:
    """A search text as folded words, at most eight; every one must be in the number or the product."""
    return tuple(fold(word) for word in text.replace("\0", "").split()[:8])


def rows_for(actor: Actor, chosen: Filter) -> BillQuerySet:
    """The bills that the filter leaves: those that the actor may open, and others' of which the amounts show.

    What an amount does not say, number and status, is asked only of the bills that the actor may open.
    """
    rows = Bill.objects.visible_to(actor, Capability.SEE_BILL_AMOUNTS)
    opened = reach_of(actor)
    if chosen.status:
        rows = rows.filter(opened & STATUSES[chosen.status])
    if chosen.channels:
        rows = rows.filter(subscription__channel__in=chosen.channels)
    if chosen.product_id is not None:
        rows = rows.filter(subscription__product_id=chosen.product_id)
    if chosen.since is not None:
        rows = rows.filter(issued_at__gte=chosen.since)
    if chosen.until is not None:
        rows = rows.filter(issued_at__lt=chosen.until)
    for word in chosen.words:
        rows = rows.filter(
            Q(subscription__product_sort__contains=word) | opened & Q(number__contains=word.upper())
        )
    return _of_payer(rows, actor, chosen.payer)


def _of_payer(rows: BillQuerySet, actor: Actor, payer: str) -> BillQuerySet:
    if payer == ORGANIZATION:
        return rows.filter(payer__isnull=True)
    if payer == ME:
        return rows.filter(payer__isnull=False, payer_id=actor.user_id)
    if payer == OTHERS:
        return rows.filter(payer__isnull=False).exclude(payer_id=actor.user_id)
    return rows


def may_open(actor: Actor, row: Row) -> bool:
    """Whether the bill is the actor's to open, rather than one of which the amount shows."""
    return actor.reaches(Capability.SEE_BILLS, **whose(actor, row.payer_id))


def whose(actor: Actor, payer_id: int | None) -> dict[str, bool]:
    """Whose a bill is, for `Actor.reaches` and `Actor.require`."""
    return {"is_own": payer_id is not None and payer_id == actor.user_id, "is_org": payer_id is None}


def page_of(rows: BillQuerySet, *, cursor: str) -> keyset.Page[Row]:
    """One page of 50 bills, latest first. One query.

    :raises Malformed: a cursor that is none of this list's.
    """
    page = keyset.paginate(
        _with_licenses(rows).values_list(*_COLUMNS),
        order=ORDER,
        cursor=cursor,
        key=lambda row: [row[1], row[0]],
    )
    return keyset.Page([Row._make(row) for row in page.rows], page.next, page.back)


def chunk_of(rows: BillQuerySet, *, after: tuple[datetime, int] | None) -> list[tuple[Row, ExportRow]]:
    """The next thousand bills of an export, latest first, behind the place of the last one. One query."""
    if after is not None:
        issued_at, id_ = after
        rows = rows.filter(issued_at__lte=issued_at).filter(Q(issued_at__lt=issued_at) | Q(pk__lt=id_))
    found = _with_licenses(rows).order_by(*ORDER).values_list(*_EXPORTED)[:CHUNK]
    width = len(_COLUMNS)
    return [(Row._make(values[:width]), ExportRow._make(values[width:])) for values in found]


def _with_licenses(rows: BillQuerySet) -> Any:
    lines = BillLine.objects.filter(bill=OuterRef("pk")).order_by().values("bill")
    return rows.annotate(licenses=Subquery(lines.annotate(sum=Sum("quantity")).values("sum")))


def sums_of(rows: BillQuerySet, *, exactly: bool = False) -> Sums:
    """How many bills there are and what they come to, credit notes taken off. One query.

    It reads at most 10,001 rows, unless `exactly`. Void bills come to nothing.
    """
    return _sums(rows, "CASE WHEN status = 'void' THEN 0 ELSE total_minor END", exactly=exactly)


def paid_since(actor: Actor, since: datetime, *, exactly: bool = False) -> Sums:
    """What was paid from an instant on of the bills that the actor may open, less what was given back. One query."""
    rows = Bill.objects.visible_to(actor).filter(_IS_BILL, status=_S.PAID, paid_at__gte=since)
    return _sums(rows, "paid_minor - refunded_minor", exactly=exactly)


def _sums(rows: BillQuerySet, amount: str, *, exactly: bool) -> Sums:
    columns = rows.order_by().values("currency", "status", "total_minor", "paid_minor", "refunded_minor")
    limited = columns if exactly else columns[: keyset.COUNT_LIMIT + 1]
    try:
        sql, params = limited.query.sql_with_params()
    except EmptyResultSet:
        return Sums(0, {}, is_complete=True)
    with connection().cursor() as cursor:
        cursor.execute(
            f"SELECT currency, count(*), sum({amount})::bigint FROM ({sql}) AS chosen"  # noqa: S608 - Django's own
            " GROUP BY currency ORDER BY count(*) DESC, currency",
            params,
        )
        found = cursor.fetchall()
    count = sum(number for _, number, _ in found)
    return Sums(
        count,
        {currency: total for currency, _, total in found},
        is_complete=exactly or count <= keyset.COUNT_LIMIT,
    )


class ToPay(NamedTuple):
    """The open bills of one currency."""

    currency: str
    bills: int
    total_minor: int
    first_due_at: datetime
    waiting_for_bank: int


def to_pay(actor: Actor) -> list[ToPay]:
    """What waits to be paid of the bills that the actor may open, by currency. One query."""
    rows = (
        Bill.objects.visible_to(actor)
        .filter(_IS_BILL)
        .open()
        .order_by()
        .values("currency")
        .annotate(
            count=Count("pk"),
            total=Sum(F("total_minor") - F("credited_minor")),
            first=Min("due_at"),
            auth=Count("pk", filter=Q(decline_kind="auth")),
        )
        .order_by("-count")
        .values_list("currency", "count", "total", "first", "auth")
    )
    return [ToPay._make(row) for row in rows]


def next_charge(actor: Actor) -> Subscription | None:
    """The subscription, the actor's own or the organization's, that is charged next. One query."""
    scopes = actor.scopes(Capability.SEE_BILLS)
    condition = Q(pk__in=[])
    if "own" in scopes and actor.user_id is not None:
        condition |= Q(owner_kind=Subscription.Owner.PERSON, owner_user_id=actor.user_id)
    if "org" in scopes:
        condition |= Q(owner_kind=Subscription.Owner.ORGANIZATION)
    found: Subscription | None = (
        Subscription.objects.filter(condition, tenant_id=actor.tenant_id, state=Subscription.State.ACTIVE)
        .filter(Q(recurring_billing=True) | Q(due_at__lt=F("term_end")))
        .select_related("card", "product", "plan")
        .order_by("due_at", "id")
        .first()
    )
    return found


# --- One bill --------------------------------------------------------------------------------------------


class Money(NamedTuple):
    """Money received for a bill. `moved_from`: the number of the corrected bill that it was paid for first."""

    amount_minor: int
    received_at: datetime
    card: tuple[str, str] | None
    is_card: bool
    reference: str
    moved_from: str


class Given(NamedTuple):
    """Money given back for a credit note; `card`: brand and last four digits, where the reader may know them."""

    amount_minor: int
    refunded_at: datetime
    card: tuple[str, str] | None


class DocumentLine(NamedTuple):
    """One line; `days` of service out of the `of_days` that the unit price is for."""

    description: str
    quantity: int
    unit_price_minor: int
    amount_minor: int
    service_start: datetime
    service_end: datetime
    days: int
    of_days: int


@dataclass(frozen=True, slots=True)
class Document:
    """Everything that a bill's page and its PDF say. `replaced_by`: the number of the bill that was issued anew
    for this one, or for the one that this credit note takes back; empty when none was.
    """

    bill: Bill
    lines: list[DocumentLine]
    payments: list[Money]
    refunds: list[Given]
    credit_notes: list[Bill]
    replaced_by: str
    is_refund_under_way: bool = False

    @property
    def is_credit_note(self) -> bool:
        return self.bill.credits_id is not None

    @property
    def takes_back(self) -> str:
        """The number of the bill that this credit note takes back; empty for a bill."""
        return self.bill.credits.number if self.bill.credits is not None else ""

    @property
    def to_pay_minor(self) -> int:
        """What is still to be paid; nothing of a credit note, and nothing once it was credited or void."""
        is_open = self.bill.status in (_S.OPEN, _S.PAST_DUE) and not self.is_credit_note
        return int(self.bill.total_minor - self.bill.paid_minor) if is_open else 0

    @property
    def is_receipt(self) -> bool:
        """Whether it can be shown as a receipt: it was paid."""
        return self.bill.status == _S.PAID and not self.is_credit_note


def bill_of(actor: Actor, number: str) -> Bill:
    """The bill with everything that names it. One query.

    :raises NotVisible: missing, or not one that the actor may open.
    """
    rows = Bill.objects.visible_to(actor)
    bill: Bill | None = _related(rows).filter(number=number).first()
    if bill is None:
        raise NotVisible
    return bill


def document(actor: Actor, number: str) -> Document:
    """A bill as the actor may open it. Six queries, some more for a corrected or a prorated one.

    :raises NotVisible: as `bill_of`.
    """
    return document_of(bill_of(actor, number))


def document_by_number(tenant_id: int, number: str) -> Document:
    """A bill for the installation's own use, as for the attachment of a mail to who pays it.

    :raises NotVisible: the tenant has no such bill.
    """
    bill: Bill | None = _related(Bill.objects.filter(tenant_id=tenant_id)).filter(number=number).first()
    if bill is None:
        raise NotVisible
    return document_of(bill)


def _related(rows: BillQuerySet) -> Any:
    return rows.select_related(
        "subscription__product", "bill_to", "vendor_entity", "order", "payer", "credits", "replaces", "tenant"
    )


def document_of(bill: Bill) -> Document:
    lines = list(BillLine.objects.filter(tenant_id=bill.tenant_id, bill=bill).order_by("id"))
    notes = Bill.objects.filter(tenant_id=bill.tenant_id, credits=bill).order_by("id")
    replaced_by = Bill.objects.filter(
        tenant_id=bill.tenant_id, replaces_id=bill.credits_id or bill.pk
    ).values_list("number", flat=True)
    return Document(
        bill=bill,
        lines=_lines(bill, lines),
        payments=[_money(bill, payment) for payment in _payments(bill)],
        refunds=_refunds(bill) if bill.credits_id is not None else [],
        credit_notes=list(notes),
        replaced_by=replaced_by.first() or "",
        is_refund_under_way=_is_refund_under_way(bill),
    )


def _is_refund_under_way(note: Bill) -> bool:
    """Whether money of a credit note is on its way; False where it waits for the vendor's staff."""
    if note.credits_id is None or note.status != _S.OPEN:
        return False
    under_way = RefundAttempt.objects.filter(
        tenant_id=note.tenant_id, credit_note=note, state=RefundAttempt.State.CREATED
    )
    return bool(under_way.exists())


def _payments(bill: Bill) -> Sequence[Payment]:
    return list(
        Payment.objects.filter(tenant_id=bill.tenant_id, bill=bill)
        .select_related("card", "moved_from__bill")
        .order_by("id")
    )


def _money(bill: Bill, payment: Payment) -> Money:
    origin: Payment = payment
    while origin.moved_from_id is not None:
        origin = Payment.objects.select_related("card", "moved_from__bill").get(pk=origin.moved_from_id)
    return Money(
        amount_minor=payment.amount_minor,
        received_at=payment.received_at,
        card=_card(bill, origin),
        is_card=origin.card_id is not None or origin.attempt_id is not None,
        reference=origin.reference,
        moved_from=payment.moved_from.bill.number if payment.moved_from is not None else "",
    )


def _card(bill: Bill, payment: Payment) -> tuple[str, str] | None:
    """Brand and last four digits of the card, if it is that of who pays the bill: nobody sees another's."""
    card = payment.card
    if card is None or card.user_id != bill.payer_id:
        return None
    return card.brand, card.last4


def _refunds(note: Bill) -> list[Given]:
    made = (
        Refund.objects.filter(tenant_id=note.tenant_id, credit_note=note, payment__isnull=False)
        .filter(reverses__isnull=True, reversed_by__isnull=True)
        .select_related("payment__card", "payment__moved_from")
        .order_by("id")
    )
    return [
        Given(refund.amount_minor, refund.refunded_at, _money(note, refund.payment).card) for refund in made
    ]


def _lines(bill: Bill, lines: Sequence[BillLine]) -> list[DocumentLine]:
    zone = ZoneInfo(bill.subscription.time_zone)
    return [
        DocumentLine(
            line.description,
            line.quantity,
            line.unit_price_minor,
            line.amount_minor,
            line.service_start,
            line.service_end,
            *_share(bill, line, zone),
        )
        for line in lines
    ]


def _share(bill: Bill, line: BillLine, zone: ZoneInfo) -> tuple[int, int]:
    """Days of service, and days of the whole period that the unit price is for."""
    days = _days(line.service_start, line.service_end, zone)
    if line.amount_minor == line.quantity * line.unit_price_minor:
        return days, days
    period = (
        Bill.objects.filter(
            tenant_id=bill.tenant_id,
            subscription_id=bill.subscription_id,
            type__in=[*PERIOD_TYPES, Bill.Type.REACTIVATION],
            credits__isnull=True,
            period_start__lte=line.service_start,
            period_end__gte=line.service_end,
        )
        .order_by("-period_start", "-id")
        .values_list("period_start", "period_end")
        .first()
    )
    return days, _days(period[0], period[1], zone) if period else days


def _days(start: datetime, end: datetime, zone: ZoneInfo) -> int:
    return (end.astimezone(zone).date() - start.astimezone(zone).date()).days


def all_rows(rows: BillQuerySet, chunks: Any) -> Iterator[tuple[Row, ExportRow]]:
    """Every bill of an export, in chunks, each read inside `chunks()`: one short transaction of its own."""
    after: tuple[datetime, int] | None = None
    while True:
        with chunks():
            found = chunk_of(rows, after=after)
        yield from found
        if len(found) < CHUNK:
            return
        last = found[-1][0]
        after = (last.issued_at, last.id)
