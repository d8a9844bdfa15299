"""Bills & payments: the list, one bill, its PDF, and the list as a file (product §2, §4, §6)."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from babel.dates import format_date
from django.conf import settings
from django.http import HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.translation import get_language, gettext_lazy, ngettext, override
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from commerce import documents, states
from commerce.models import Bill, Product
from commerce.queries import bills as queries
from commerce.queries import details
from commerce.queries.subscriptions import CHANNELS, products_by_id
from commerce.views.subscriptions import CHANNEL_NAMES, day, money
from config.kit import access, keyset
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict, Malformed, Text
from config.kit.money import Money
from config.kit.rate import Limit
from config.kit.sheets import Cell, csv_lines
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant
from directory.permissions import Capability

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
PAYERS: tuple[tuple[str, Text], ...] = (
    (queries.ORGANIZATION, gettext_lazy("Paid by the organization")),
    (queries.ME, gettext_lazy("Paid by me")),
    (queries.OTHERS, gettext_lazy("Paid by purchasers")),
)
FILTERS = ("q", "status", "period", "channel", "product", "payer")
# So many months, and years, are offered; an address may name any.
MONTHS, YEARS = 12, 11


class NotPaid(Conflict):
    """There is no receipt of what was not paid."""

    code = "not_paid"
    message = gettext_lazy("This bill is not paid, so there is no receipt of it.")


# --- The list --------------------------------------------------------------------------------------------


@access.requires(sees=Capability.SEE_BILLS)
@require_safe
def bills(request: HttpRequest) -> HttpResponse:
    """The bills that the person may open; for admins and readers also what others' come to."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    tenant: Tenant = request.tenant  # type: ignore[attr-defined]
    at = now()
    products = products_by_id()
    chosen = parse_filter(request.GET, products, tenant.time_zone)
    rows = queries.rows_for(actor, chosen)
    page = queries.page_of(rows, cursor=request.GET.get("page", ""))
    sums = queries.sums_of(rows)
    is_full = sees_others(actor)
    lines = [_line(actor, row) for row in page.rows]
    _mark_most_urgent(lines)
    context = {
        "title": _("Bills & payments"),
        "crumbs": [(_("Billing"), "")],
        "figures": _figures(actor, tenant, at),
        "lines": lines,
        "next": _address(request.GET, page=page.next) if page.next else "",
        "back": _address(request.GET, page=page.back) if page.back else "",
        "is_full": is_full,
        "is_narrowed": chosen.is_narrowed,
        "chosen": chosen,
        "values": {name: request.GET.get(name, "") for name in FILTERS},
        "statuses": states.BILL_FILTERS.items(),
        "periods": _periods(tenant, at),
        "channels": [(channel, CHANNEL_NAMES[channel]) for channel in CHANNELS],
        "products": sorted(products.values(), key=lambda product: product.name),
        "payers": [(code, label) for code, label in PAYERS if code != queries.ME or actor.is_purchaser],
        "totals": _totals(sums) if sums.is_complete else "",
        "totals_address": "" if sums.is_complete else f"sums/{_address(request.GET)}",
        "count": keyset.shown_count(sums.count, keyset.COUNT_LIMIT),
        "count_number": sums.count,
        "csv_address": f"export.csv{_address(request.GET)}",
        "json_address": f"export.json{_address(request.GET)}",
        "may_buy": actor.may(Capability.BUY),
    }
    return render_page(request, "commerce/bills.html", context)


@access.requires(sees=Capability.SEE_BILLS)
@require_safe
def bills_sums(request: HttpRequest) -> HttpResponse:
    """What more than 10,000 bills come to, asked for after the rows; with `of=year`, what was paid this year."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    tenant: Tenant = request.tenant  # type: ignore[attr-defined]
    if request.GET.get("of") == "year":
        sums = queries.paid_since(actor, _start_of_year(tenant, now()), exactly=True)
    else:
        chosen = parse_filter(request.GET, products_by_id(), tenant.time_zone)
        sums = queries.sums_of(queries.rows_for(actor, chosen), exactly=True)
    return HttpResponse(_totals(sums), content_type="text/plain; charset=utf-8")


def sees_others(actor: Actor) -> bool:
    """Whether the full view is the person's: the organization's bills, and what others' come to."""
    return bool(actor.scopes(Capability.SEE_BILL_AMOUNTS) & {"org", "all"})


def parse_filter(params: QueryDict, products: dict[int, Product], time_zone: str) -> queries.Filter:
    """The filter of an address.

    :raises Malformed: a status, channel, product, payer or period that does not exist.
    """
    channels = tuple(dict.fromkeys(value for value in params.getlist("channel") if value))
    status, payer, slug = (params.get(name, "") for name in ("status", "payer", "product"))
    by_slug = {product.slug: pk for pk, product in products.items()}
    period = params.get("period", "")
    bounds = queries.period_of(period, time_zone) if period else None
    known = (
        set(channels) <= set(CHANNELS)
        and (not status or status in queries.STATUSES)
        and (not payer or payer in queries.PAYERS)
        and (not slug or slug in by_slug)
        and (not period or bounds is not None)
    )
    if not known:
        raise Malformed(_("This page address is not valid."))
    return queries.Filter(
        status=status,
        channels=channels,
        product_id=by_slug.get(slug),
        payer=payer,
        since=bounds[0] if bounds else None,
        until=bounds[1] if bounds else None,
        words=queries.words_of(params.get("q", "")),
    )


def pay_address(actor: Actor, *, number: str, payer_id: int | None, to_pay_minor: int) -> str:
    """Where the person pays the bill now; empty when there is nothing to pay, or it is not theirs to pay."""
    may_pay = actor.reaches(Capability.PAY_BILLS, **queries.whose(actor, payer_id))
    if not may_pay or to_pay_minor <= 0:
        return ""
    try:
        return reverse("portal:bill-pay", args=[number])
    except NoReverseMatch:
        return ""


def _line(actor: Actor, row: queries.Row) -> dict[str, Any]:
    """What one row says, put together here once: the template only prints it, fifty times."""
    line: dict[str, Any] = {
        "is_open": False,
        "date": day(row.issued_at, row.time_zone),
        "what": what(row.product_name, row.licenses),
        "purchase": reverse("portal:subscription", args=[row.subscription_key]),
        "type": str(Bill.Type(row.type).label),
        "total": money(row.total_minor, row.currency),
        "payer": _("Organization") if row.payer_id is None else _("Purchaser"),
        "channel": str(CHANNEL_NAMES[row.channel]),
    }
    if not queries.may_open(actor, row):
        return line
    status = states.bill_status_of(row.status, is_credit_note=row.is_credit_note)
    is_due = status.code in ("open", "past-due")
    return line | {
        "is_open": True,
        "number": row.number,
        "address": f"{row.number}/",
        "payer": line["payer"] if row.payer_id is None else _("You"),
        "status": str(status.label),
        "tone": status.tone,
        "status_note": _status_note(row, status.code),
        "others": [
            (label, number, f"{number}/")
            for label, number in (
                (_("Replaced by"), row.replaced_by_number),
                (_("Replaces"), row.replaces_number),
            )
            if number
        ],
        "pay": pay_address(
            actor, number=row.number, payer_id=row.payer_id, to_pay_minor=row.total_minor if is_due else 0
        ),
        "due_at": row.due_at,
    }


def _mark_most_urgent(lines: list[dict[str, Any]]) -> None:
    """Of the bills to pay the one that is due first has the page's main button (design §1.2)."""
    first = min((line for line in lines if line.get("pay")), key=lambda line: line["due_at"], default=None)
    if first is not None:
        first["is_first"] = True


def what(product_name: str, licenses: int | None) -> str:
    """`Power BI Pro, 4 licenses`, whichever way they went."""
    count = abs(licenses or 0)
    return f"{product_name}, {ngettext('%d license', '%d licenses', count) % count}"


def _status_note(row: queries.Row, code: str) -> str:
    """The date that belongs to the state: none is shown without its next one (design §1.3)."""
    if code == "open" and row.decline_kind == "auth":
        return _("Your bank waits for you")
    if code == "open":
        return _("Due %(day)s") % {"day": day(row.due_at, row.time_zone)}
    if code == "past-due":
        return _("Since %(day)s") % {"day": day(row.due_at, row.time_zone)}
    if code == "paid" and row.credited_minor:
        return _("%(amount)s credited") % {"amount": money(row.credited_minor, row.currency)}
    return day(row.paid_at, row.time_zone) if code in ("paid", "refunded") else ""


def _figures(actor: Actor, tenant: Tenant, at: datetime) -> list[dict[str, str]]:
    """To pay now, the next charge, and what was paid this year."""
    year = _start_of_year(tenant, at)
    paid = queries.paid_since(actor, year)
    return [
        _to_pay_figure(queries.to_pay(actor), tenant),
        _next_figure(actor),
        {
            "label": _("Paid in %(year)d") % {"year": year.year},
            "value": _totals(paid) or money(0, tenant.currency),
            "note": _("with tax, less refunds"),
            "address": "" if paid.is_complete else "sums/?of=year",
        },
    ]


def _to_pay_figure(open_bills: list[queries.ToPay], tenant: Tenant) -> dict[str, str]:
    label = _("To pay now")
    if not open_bills:
        return {"label": label, "value": money(0, tenant.currency), "note": _("No bill is open")}
    count = sum(each.bills for each in open_bills)
    bills = ngettext("%d bill", "%d bills", count) % count
    if any(each.waiting_for_bank for each in open_bills):
        note = _("%(bills)s, your bank waits for your confirmation") % {"bills": bills}
    else:
        first = day(min(each.first_due_at for each in open_bills), tenant.time_zone)
        note = _("%(bills)s, due from %(day)s on") % {"bills": bills, "day": first}
    value = ", ".join(money(each.total_minor, each.currency) for each in open_bills)
    return {"label": label, "value": value, "note": note}


def _next_figure(actor: Actor) -> dict[str, str]:
    label = _("Next charge")
    found = queries.next_charge(actor)
    if found is None:
        return {"label": label, "value": "\N{EN DASH}", "note": _("Nothing is charged by itself")}
    amount = {"amount": money(details.charge_with_tax(found), found.currency)}
    if found.is_on_account:
        note = _("%(amount)s on account") % amount
    elif found.is_organizations:
        note = _("%(amount)s to the organization's card") % amount
    elif found.card is not None:
        card = documents.card_text((found.card.brand, found.card.last4))
        note = _("%(amount)s to %(card)s") % (amount | {"card": card})
    else:
        note = amount["amount"]
    return {"label": label, "value": day(found.due_at, found.time_zone), "note": note}


def _totals(sums: queries.Sums) -> str:
    """What bills come to, by currency; empty for none."""
    return ", ".join(money(minor, currency) for currency, minor in sums.by_currency.items())


def _start_of_year(tenant: Tenant, at: datetime) -> datetime:
    zone = ZoneInfo(tenant.time_zone)
    return datetime(at.astimezone(zone).year, 1, 1, tzinfo=zone)


def _periods(tenant: Tenant, at: datetime) -> list[tuple[str, list[tuple[str, str]]]]:
    """What the period filter offers: the last twelve months, and the years since the organization came."""
    zone = ZoneInfo(tenant.time_zone)
    today, first = at.astimezone(zone), tenant.created_at.astimezone(zone).year
    locale = (get_language() or "en").replace("-", "_")
    months = []
    for back in range(MONTHS):
        year, month = divmod(today.year * 12 + today.month - 1 - back, 12)
        name = format_date(datetime(year, month + 1, 1, tzinfo=zone), "LLLL y", locale=locale)
        months.append((f"{year}-{month + 1:02d}", str(name)))
    years = [(str(year), str(year)) for year in range(today.year, first - 1, -1)][:YEARS]
    return [(_("Year"), years), (_("Month"), months)]


def _kept(params: QueryDict) -> list[tuple[str, str]]:
    """The filter's own parts of an address, in order; the page is left behind."""
    return [(name, value) for name in FILTERS for value in params.getlist(name) if value]


def _address(params: QueryDict, **more: str) -> str:
    return "?" + urlencode([*_kept(params), *more.items()])


# --- The list as a file ----------------------------------------------------------------------------------

COLUMNS = (
    *("number", "date", "type", "status", "channel", "product", "licenses", "period_start", "period_end"),
    *("currency", "subtotal", "tax_name", "tax_rate", "tax", "total", "paid", "credited", "refunded"),
    *("due", "paid_at", "paid_by", "bill_to", "country", "vat_number", "own_reference", "order"),
    *("credits", "replaces"),
)
# What an amount says, and nothing else (product §2).
AMOUNTS = frozenset(
    {
        *("date", "type", "channel", "product", "licenses", "period_start", "period_end", "currency"),
        *("subtotal", "tax_name", "tax_rate", "tax", "total", "paid_by"),
    }
)


@access.requires(sees=Capability.SEE_BILLS, owns_transaction=True)
@require_safe
def bills_csv(request: HttpRequest) -> StreamingHttpResponse:
    """The filtered list, safe to open in a spreadsheet; amounts as decimals."""
    rows = _exported(request)
    lines = csv_lines(COLUMNS, ([row.get(name) for name in COLUMNS] for row in rows))
    return _file(lines, "text/csv; charset=utf-8", "csv")


@access.requires(sees=Capability.SEE_BILLS, owns_transaction=True)
@require_safe
def bills_json(request: HttpRequest) -> StreamingHttpResponse:
    """The filtered list as `{"items": [...]}`; amounts as decimal texts, keys that one may not see left out."""
    return _file(_json_lines(_exported(request)), "application/json", "json")


def _json_lines(rows: Iterator[dict[str, Cell]]) -> Iterator[str]:
    yield '{"items": ['
    for number, row in enumerate(rows):
        yield (",\n" if number else "\n") + json.dumps(row, default=_json_value, ensure_ascii=False)
    yield "\n]}\n"


def _json_value(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _exported(request: HttpRequest) -> Iterator[dict[str, Cell]]:
    """The rows of an export, read in short transactions while the answer is being sent.

    :raises TooManyTries: the person has had as many within the hour as are allowed.
    """
    actor: Actor = request.actor  # type: ignore[attr-defined]
    tenant: Tenant = request.tenant  # type: ignore[attr-defined]
    with tenant_atomic(actor):
        chosen = parse_filter(request.GET, products_by_id(), tenant.time_zone)
    _count("export", settings.EXPORTS_PER_HOUR, HOUR, actor)
    language = get_language() or "en"

    def chunks() -> AbstractContextManager[None]:
        return tenant_atomic(actor)

    def rows() -> Iterator[dict[str, Cell]]:
        for row, more in queries.all_rows(queries.rows_for(actor, chosen), chunks):
            with override(language):
                yield _export_row(actor, row, more)

    return rows()


def _export_row(actor: Actor, row: queries.Row, more: queries.ExportRow) -> dict[str, Cell]:
    def amount(minor: int) -> Decimal:
        return Money(minor, row.currency).decimal

    def local(at: datetime | None) -> datetime | None:
        return at.astimezone(ZoneInfo(row.time_zone)) if at else None

    values: dict[str, Cell] = {
        "number": row.number,
        "date": local(row.issued_at),
        "type": row.type,
        "status": states.bill_status_of(row.status, is_credit_note=row.is_credit_note).code,
        "channel": row.channel,
        "product": row.product_name,
        "licenses": row.licenses or 0,
        "period_start": local(row.period_start),
        "period_end": local(row.period_end),
        "currency": row.currency,
        "subtotal": amount(row.subtotal_minor),
        "tax_name": row.tax_name,
        "tax_rate": Decimal(f"{row.tax_rate.normalize():f}"),
        "tax": amount(row.tax_minor),
        "total": amount(row.total_minor),
        "paid": amount(row.paid_minor),
        "credited": amount(row.credited_minor),
        "refunded": amount(row.refunded_minor),
        "due": local(row.due_at),
        "paid_at": local(row.paid_at),
        "paid_by": "organization" if row.payer_id is None else "purchaser",
        "bill_to": more.bill_to_name,
        "country": more.bill_to_country,
        "vat_number": more.vat_number,
        "own_reference": more.own_reference,
        "order": str(more.order_key),
        "credits": more.credits_number,
        "replaces": row.replaces_number,
    }
    if queries.may_open(actor, row):
        return values
    return {name: value for name, value in values.items() if name in AMOUNTS}


def _count(name: str, tries: int, per: timedelta, actor: Actor) -> None:
    """Reading stays possible while the counters are away (F-06).

    :raises TooManyTries: it is one too many.
    """
    Limit(name, tries=tries, per=per, fails_closed=False).count(str(actor.user_id))


def _file(lines: Iterator[str], content_type: str, ending: str) -> StreamingHttpResponse:
    response = StreamingHttpResponse(lines, content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="bills-{now():%Y-%m-%d}.{ending}"'
    return response


# --- One bill --------------------------------------------------------------------------------------------


@access.requires(sees=Capability.SEE_BILLS)
@require_safe
def bill(request: HttpRequest, number: str) -> HttpResponse:
    """One bill or credit note, as it is printed, with what can be done about it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    document = queries.document(actor, number)
    found: Bill = document.bill
    status = states.bill_status_of(found.status, is_credit_note=document.is_credit_note)
    context = {
        "title": found.number,
        "crumbs": [(_("Bills & payments"), reverse("portal:bills"))],
        "bill": found,
        "document": document,
        "sheet": documents.sheet_of(document),
        "tone": status.tone,
        "related": _related(document),
        "product": found.subscription.product.name,
        "purchase": reverse("portal:subscription", args=[found.subscription.key]),
        "may_see_purchase": actor.reaches(
            Capability.SEE_PURCHASES,
            is_own=found.subscription.is_owned_by(actor),
            is_org=found.subscription.is_organizations,
        ),
        "pay": pay_address(
            actor, number=found.number, payer_id=found.payer_id, to_pay_minor=document.to_pay_minor
        ),
        "may_correct": found.is_correctable
        and actor.reaches(Capability.PAY_BILLS, **queries.whose(actor, found.payer_id)),
        "amount_to_pay": money(document.to_pay_minor, found.currency),
        "zone": found.subscription.time_zone,
    }
    return render_page(request, "commerce/bill.html", context)


def _related(document: queries.Document) -> list[tuple[str, str, str]]:
    """Label, number and address of every bill that belongs to this one."""
    found: Bill = document.bill
    pairs = [(_("Takes back"), document.takes_back)] if document.is_credit_note else []
    if found.replaces is not None:
        pairs.append((_("Replaces"), found.replaces.number))
    if document.replaced_by:
        pairs.append((_("Replaced by"), document.replaced_by))
    pairs += [(_("Credit note"), note.number) for note in document.credit_notes]
    return [(label, number, reverse("portal:bill", args=[number])) for label, number in pairs]


@access.requires(sees=Capability.SEE_BILLS, owns_transaction=True)
@require_safe
def bill_pdf(request: HttpRequest, number: str) -> HttpResponse:
    """The bill or credit note as PDF, in the reader's language."""
    return _pdf(request, number, as_receipt=False)


@access.requires(sees=Capability.SEE_BILLS, owns_transaction=True)
@require_safe
def bill_receipt(request: HttpRequest, number: str) -> HttpResponse:
    """A paid bill as a receipt.

    :raises NotPaid: it is not paid, or is a credit note.
    """
    return _pdf(request, number, as_receipt=True)


def _pdf(request: HttpRequest, number: str, *, as_receipt: bool) -> HttpResponse:
    """Rows first, then the drawing, outside of any transaction."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    _count("pdf", settings.PDFS_PER_MINUTE, MINUTE, actor)
    with tenant_atomic(actor):
        document = queries.document(actor, number)
    if as_receipt and not document.is_receipt:
        raise NotPaid
    content = documents.pdf_of(document, as_receipt=as_receipt, at=document.bill.issued_at)
    response = HttpResponse(content, content_type="application/pdf")
    name = f"receipt-{number}" if as_receipt else number
    response["Content-Disposition"] = f'attachment; filename="{name}.pdf"'
    return response
