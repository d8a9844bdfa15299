"""A bill, receipt or credit note in words: the same for its page, its PDF and the mails that bring it (product §6).

Everything in a sheet is text in the language in use, in its formats and in the purchase's time zone.
"""

from datetime import datetime, timedelta
from typing import Any

from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

from commerce.models import Bill, BillTo
from commerce.queries.bills import Document, DocumentLine, Given, Money, document_by_number
from commerce.states import bill_status_of
from config.kit.errors import NotVisible
from config.kit.languages import country_name
from config.kit.money import format_money, tax_label
from config.kit.pdf import PdfFailed, render_pdf
from config.kit.templatetags.kit import day, moment
from config.kit.tenancy import tenant_atomic
from directory.models import OutgoingMail
from directory.operations.mail import Attachment, AttachmentFailed

TEMPLATE = "bill.typ"
# The kinds of mail that bring PDFs, and where their context names the bills.
BRINGING_BILLS = {
    "receipt": ("bill_number",),
    "renewal_receipt": ("bill_number",),
    "reactivated": ("bill_number",),
    "trial_converted": ("bill_number",),
    "refund": ("credit_note_number",),
    "bill_corrected": ("credit_note_number", "bill_number"),
}
# The last instant of a half-open period, so that people read its last day.
_INSTANT = timedelta(microseconds=1)

type Sheet = dict[str, Any]


def sheet_of(document: Document, *, as_receipt: bool = False) -> Sheet:
    """What the document says, as JSON: the data of `templates/pdf/bill.typ` and of `commerce/bill.html`."""
    bill: Bill = document.bill
    number = bill.number
    if document.is_credit_note:
        title = _("Credit note %(number)s")
    elif as_receipt:
        title = _("Receipt %(number)s")
    else:
        title = _("Bill %(number)s")
    entity = bill.vendor_entity
    return {
        "lang": (get_language() or "en").split("-")[0],
        "title": title % {"number": number},
        "badge": str(bill_status_of(bill.status, is_credit_note=document.is_credit_note).label),
        "vendor": entity.name,
        "from": {"label": _("From"), "lines": _seller(bill)},
        "to": {"label": _("To"), "lines": _payer(bill)},
        "facts": _facts(document),
        "heads": [
            *(_("Description"), _("Service dates"), _("Quantity"), _("Unit price"), _("Days")),
            *(_tax_head(bill), _("Amount")),
        ],
        "lines": [_line(bill, line) for line in document.lines],
        "payment": {
            "label": _("Refund") if document.is_credit_note else _("Payment"),
            "lines": _paid(document),
        },
        "notes": _notes(document),
        "sums": _sums(document),
        "footer": f"{number}, {entity.name}",
        "page": _("Page {page} of {pages}"),
    }


def pdf_of(document: Document, *, as_receipt: bool = False, at: datetime) -> bytes:
    """The document on A4, in the language in use. Not inside a transaction.

    :raises PdfFailed: the template is broken.
    """
    return render_pdf(TEMPLATE, sheet_of(document, as_receipt=as_receipt), at=at)


def bills_of_mail(mail: OutgoingMail) -> list[Attachment]:
    """The PDFs of the bills that a mail names, in the language in use.

    :raises AttachmentFailed: there is no such bill, or it cannot be drawn.
    """
    return [_attachment(mail, str(mail.context[name])) for name in BRINGING_BILLS[mail.kind]]


def _attachment(mail: OutgoingMail, number: str) -> Attachment:
    try:
        with tenant_atomic(mail.tenant_id):
            document = document_by_number(mail.tenant_id, number)
        content = pdf_of(document, at=document.bill.issued_at)
    except (NotVisible, PdfFailed) as error:
        raise AttachmentFailed(f"{number}: {error}") from error
    return Attachment(name=f"{number}.pdf", content=content, media_type="application/pdf")


def period_text(start: datetime, end: datetime, zone: str) -> str:
    """`3 Sep to 2 Oct 2026`: the last day included, the year once where it is one."""
    first, last = day(start, zone), day(end - _INSTANT, zone)
    if first == last:
        return first
    year = f" {first.split()[-1]}"
    if last.endswith(year):
        first = first.removesuffix(year)
    return _("%(first)s to %(last)s") % {"first": first, "last": last}


def card_text(card: tuple[str, str]) -> str:
    brand, last4 = card
    return _("%(brand)s ending in %(last4)s") % {"brand": brand.capitalize(), "last4": last4}


def _money(bill: Bill, minor: int) -> str:
    return format_money(minor, bill.currency)


def _seller(bill: Bill) -> list[str]:
    entity = bill.vendor_entity
    lines = [entity.name, *entity.address.splitlines()]
    if entity.tax_number:
        lines.append(_("VAT number %(number)s") % {"number": entity.tax_number})
    return lines


def _payer(bill: Bill) -> list[str]:
    to: BillTo = bill.bill_to
    town = f"{to.postal_code} {to.city}".strip()
    lines = [
        to.name or _("Name and address are kept no longer"),
        to.street,
        town,
        country_name(to.country) if to.country else "",
        to.email,
    ]
    if to.vat_number:
        lines.append(vat_text(to))
    return [line for line in lines if line]


def vat_text(to: BillTo) -> str:
    """The VAT number, and whether the public register has it: `not verified` where nobody could ask."""
    number = {"number": to.vat_number}
    if to.vat_is_verified:
        return _("VAT number %(number)s (verified)") % number
    return _("VAT number %(number)s (not verified)") % number


def _facts(document: Document) -> list[list[str]]:
    bill, zone = document.bill, document.bill.subscription.time_zone
    facts = [[_("Date"), day(bill.issued_at, zone)]]
    if document.is_credit_note:
        facts.append([_("Takes back"), document.takes_back])
    else:
        facts.append([_("Due"), day(bill.due_at, zone)])
    facts.append([_("Period"), period_text(bill.period_start, bill.period_end, zone)])
    facts.append([_("Order"), str(bill.order.key)[:8].upper()])
    if bill.bill_to.own_reference:
        facts.append([_("Your reference"), bill.bill_to.own_reference])
    return facts


def _tax_head(bill: Bill) -> str:
    name = tax_label(bill.tax_name)
    return name[:1].upper() + name[1:]


def _rate(bill: Bill) -> str:
    return f"{bill.tax_rate.normalize():f}%"


def _line(bill: Bill, line: DocumentLine) -> dict[str, str]:
    zone = bill.subscription.time_zone
    return {
        "description": line.description,
        "note": bill.get_type_display(),
        "dates": period_text(line.service_start, line.service_end, zone),
        "quantity": f"{line.quantity}".replace("-", "\N{MINUS SIGN}"),
        "price": _money(bill, line.unit_price_minor),
        "days": _("%(days)d of %(all)d") % {"days": line.days, "all": line.of_days},
        "tax": _rate(bill),
        "amount": _money(bill, line.amount_minor),
    }


def _paid(document: Document) -> list[str]:
    if document.is_credit_note:
        return _given_back(document)
    if document.payments:
        return [_received(document.bill, payment) for payment in document.payments]
    bill, zone = document.bill, document.bill.subscription.time_zone
    if not document.to_pay_minor:
        return [_("Nothing was paid, and nothing is to be paid.")]
    facts = {
        "amount": _money(bill, document.to_pay_minor),
        "day": day(bill.due_at, zone),
        "number": bill.number,
        "account": bill.vendor_entity.bank_account,
    }
    if bill.collection == Bill.Collection.CARD:
        return [_("%(amount)s was due on %(day)s and has not been paid yet.") % facts]
    if not facts["account"]:
        return [_("Pay %(amount)s until %(day)s.") % facts]
    return [_("Pay %(amount)s until %(day)s to %(account)s and name %(number)s.") % facts]


def _received(bill: Bill, payment: Money) -> str:
    facts = {
        "amount": _money(bill, payment.amount_minor),
        "at": moment(payment.received_at, bill.subscription.time_zone),
        "card": card_text(payment.card) if payment.card else _("card"),
        "reference": payment.reference,
        "number": payment.moved_from,
    }
    if payment.moved_from:
        if payment.is_card:
            return _("%(amount)s by %(card)s on %(at)s, moved here from bill %(number)s.") % facts
        return _("%(amount)s received on %(at)s, moved here from bill %(number)s.") % facts
    if payment.is_card:
        return _("%(amount)s by %(card)s on %(at)s.") % facts
    if payment.reference:
        return _("%(amount)s received on %(at)s, reference %(reference)s.") % facts
    return _("%(amount)s received on %(at)s.") % facts


def _given_back(document: Document) -> list[str]:
    note: Bill = document.bill
    if document.refunds:
        return [_refunded(note, refund) for refund in document.refunds]
    if note.status == Bill.Status.OPEN and not document.is_refund_under_way:
        return [
            _("%(amount)s could not be given back to the card. We will ask you where to send it.")
            % {"amount": _money(note, -note.total_minor)}
        ]
    if note.status == Bill.Status.OPEN:
        return [
            _("%(amount)s goes back to the card that paid. Banks take up to ten days.")
            % {"amount": _money(note, -note.total_minor)}
        ]
    if document.replaced_by:
        return [
            _("Nothing is refunded: what was billed is billed by %(number)s now.")
            % {"number": document.replaced_by}
        ]
    return [_("Nothing is refunded: bill %(number)s was not paid.") % {"number": document.takes_back}]


def _refunded(note: Bill, refund: Given) -> str:
    facts = {
        "amount": _money(note, refund.amount_minor),
        "at": moment(refund.refunded_at, note.subscription.time_zone),
        "card": card_text(refund.card) if refund.card else _("the card that paid"),
    }
    return _("%(amount)s to %(card)s on %(at)s.") % facts


def _notes(document: Document) -> list[str]:
    bill = document.bill
    notes = []
    if bill.replaces is not None:
        notes.append(
            _("Bill %(number)s was credited and is replaced by this one.") % {"number": bill.replaces.number}
        )
    if document.replaced_by and not document.is_credit_note:
        notes.append(_("Credited and replaced by bill %(number)s.") % {"number": document.replaced_by})
    if document.credit_notes:
        numbers = ", ".join(note.number for note in document.credit_notes)
        notes.append(
            ngettext("Credit note: %(numbers)s.", "Credit notes: %(numbers)s.", len(document.credit_notes))
            % {"numbers": numbers}
        )
    notes.append(_("A bill is never edited: a mistake is put right by a credit note."))
    return notes


def _sums(document: Document) -> list[dict[str, Any]]:
    """Label, value, and whether it is one of the two that count; what follows the total adds up to what is to pay."""
    bill = document.bill
    net = {"tax": _tax_head(bill), "rate": _rate(bill), "net": _money(bill, bill.subtotal_minor)}
    rows: list[tuple[str, int, bool]] = [
        (_("Subtotal"), bill.subtotal_minor, False),
        (_("%(tax)s %(rate)s on %(net)s") % net, bill.tax_minor, False),
        (_("Total"), bill.total_minor, True),
    ]
    if not document.is_credit_note:
        moved = bill.paid_minor - bill.refunded_minor if document.replaced_by else 0
        rows += [
            row
            for row in (
                (_("Paid"), -bill.paid_minor, False),
                (_("Credited"), -bill.credited_minor, False),
                (_("Refunded"), bill.refunded_minor, False),
                (_("Moved to bill %(number)s") % {"number": document.replaced_by}, moved, False),
            )
            if row[1]
        ]
        rows.append((_("To pay"), document.to_pay_minor, True))
    return [{"label": label, "value": _money(bill, minor), "strong": strong} for label, minor, strong in rows]
