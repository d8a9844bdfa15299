"""Purchases, charges, refunds and the processor's events that stopped, for the vendor's staff (docs/operator.md)."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from commerce.models import PaymentAttempt
from commerce.operations import staff_work
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
from config.kit.errors import Text
from config.kit.listings import oldest
from config.kit.money import format_money
from config.kit.operator import Look, look_at_waiting
from config.kit.templatetags.kit import moment
from config.kit.worklists import Asked, Column, Deed, Said, Shown, WorkList, page_of
from directory.staff import StaffCapability

# An event that waits for so long is not taken up by the reconciler.
EVENT_WAITS = timedelta(hours=1)
WAITING, HANDLED, ALL = "waiting", "handled", ""


# --- Purchases that were parked ----------------------------------------------------------------------------

# How the reasons begin that the sweeps give, and what removes the cause. Any other is the database's own.
_CURES: tuple[tuple[str, Text], ...] = (
    ("The agreement has no price", gettext_lazy("Agree on a price for its plan first.")),
    ("There is no price", gettext_lazy("Publish a price for its plan in that market first.")),
    ("Its price is in", gettext_lazy("Publish a price in the currency of the subscription first.")),
    (
        "Period ",
        gettext_lazy("Its dates must be set by hand first: see the runbook, under Parked subscriptions."),
    ),
    (
        "Its first period",
        gettext_lazy("Its dates must be set by hand first: see the runbook, under Parked subscriptions."),
    ),
    (
        "It has no order",
        gettext_lazy("Trying again does not help. Hand it to whoever runs the installation."),
    ),
    (
        "It is a trial without",
        gettext_lazy("Trying again does not help. Hand it to whoever runs the installation."),
    ),
)
_UNKNOWN_CAUSE = gettext_lazy("Try it once. If it stops again, hand it to whoever runs the installation.")


def _reason(row: Parked, zone: str) -> Shown:
    cure = next((cure for begins, cure in _CURES if row.reason.startswith(begins)), _UNKNOWN_CAUSE)
    return Shown(row.reason or _("No reason was noted."), cure)


def _parked_since(row: Parked, zone: str) -> Shown:
    return Shown(moment(row.parked_at, zone), _("Was due %s") % moment(row.due_at, zone))


def _try_again(asked: Asked) -> Said:
    row = staff_work.try_again(staff=asked.actor, subscription_id=asked.row_id, at=asked.at)
    facts = {"product": row.product, "organization": row.organization}
    return Said(_("%(product)s of %(organization)s goes on with the next sweep, within two minutes.") % facts)


PURCHASES = WorkList(
    title=gettext_lazy("Purchases"),
    about=gettext_lazy(
        "Purchases that could not be renewed, ended or billed. Their users keep access, and all others go on. Remove the "
        "cause, then try again: it goes on from where it stopped."
    ),
    nothing=gettext_lazy("Every purchase was renewed, ended or billed when it was due."),
    sees=StaffCapability.OPERATE_WORK,
    listing=PARKED,
    filters=lambda chosen, at: (chosen.words,),
    columns=(
        Column(gettext_lazy("Organization"), lambda row, zone: Shown(row.organization, row.product)),
        Column(gettext_lazy("Why it stopped"), _reason),
        Column(gettext_lazy("Since"), _parked_since),
    ),
    deeds=(Deed("again", gettext_lazy("Try again"), _try_again),),
)
purchases = page_of(PURCHASES)


# --- Charges without an answer -----------------------------------------------------------------------------

State = PaymentAttempt.State
_ADVICE: dict[str, Text] = {
    State.CREATED: gettext_lazy(
        "The processor may not know of it. Asking charges it, if that is still right."
    ),
    State.INTENT: gettext_lazy("It was not charged yet. Asking charges it, if that is still right."),
    State.CONFIRMING: gettext_lazy("It may be charged or not. Asking finds out."),
    State.UNKNOWN: gettext_lazy("It may be charged or not. Asking finds out."),
    State.ACTION: gettext_lazy("The bank waits for the cardholder. Asking ends it once that is too late."),
}
_MISMATCH = gettext_lazy(
    "The processor has another amount than we asked for. Compare the two there; asking charges nothing."
)
_TOO_LATE = gettext_lazy(
    "There is nothing to give for it, and the processor refused to give it back. Asking tries again; refund it at the "
    "processor's dashboard otherwise, to the cent, and ask."
)
_SETTLED: dict[str, Text] = {
    State.SUCCEEDED: gettext_lazy("It is charged and booked."),
    State.FAILED: gettext_lazy("It was not charged, and that is booked."),
    State.CANCELED: gettext_lazy("It was called off. Nothing was charged."),
}


def _charge(row: StuckCharge, zone: str) -> Shown:
    return Shown(row.organization, row.bill or _("A checkout"))


def _charge_state(row: StuckCharge, zone: str) -> Shown:
    if row.is_mismatch:
        return Shown(_("Another amount"), _MISMATCH, "sk-bad")
    if row.is_to_refund:
        return Shown(_("Came too late"), _TOO_LATE, "sk-bad")
    return Shown(State(row.state).label, _ADVICE.get(row.state, ""))


def _charge_since(row: StuckCharge, zone: str) -> Shown:
    return Shown(moment(row.updated_at, zone), row.intent_id)


def _ask(asked: Asked) -> Said:
    row, state = staff_work.ask_about_charge(staff=asked.actor, attempt_id=asked.row_id, at=asked.at)
    about = {"bill": row.bill or _("The checkout"), "organization": row.organization}
    told = _("%(bill)s of %(organization)s:") % about
    if row.is_to_refund:
        return Said(f"{told} {_('What went back leaves this list; it stays while the processor refuses.')}")
    if state in _SETTLED:
        return Said(f"{told} {_SETTLED[state]}")
    still = _("There is no outcome yet. It stays here; ask again later.")
    return Said(f"{told} {still}", is_done=False)


CHARGES = WorkList(
    title=gettext_lazy("Charges"),
    about=gettext_lazy(
        "Charges of cards whose outcome is not known after an hour, or that have to go back. Asking does now what the reconciler does each minute: "
        "nobody is charged twice."
    ),
    nothing=gettext_lazy("Every charge has an outcome."),
    sees=StaffCapability.OPERATE_WORK,
    listing=STUCK_CHARGES,
    filters=lambda chosen, at: (chosen.words, at - CHARGE_WAITS),
    columns=(
        Column(gettext_lazy("Organization"), _charge),
        Column(
            gettext_lazy("Amount"),
            lambda row, zone: Shown(format_money(row.amount_minor, row.currency)),
            is_number=True,
        ),
        Column(gettext_lazy("What is known"), _charge_state),
        Column(gettext_lazy("Since"), _charge_since),
    ),
    deeds=(Deed("ask", gettext_lazy("Ask the processor"), _ask),),
)
charges = page_of(CHARGES)


# --- Bills that the processor refuses ----------------------------------------------------------------------


def _refused_why(row: RefusedBill, zone: str) -> Shown:
    if row.is_too_small:
        return Shown(
            _("Less than a card can be charged with"), _("Nobody can pay it. Raise the price."), "sk-bad"
        )
    return Shown(
        _("The processor refuses the charge"), _("Its log says why. Remove the cause, then charge again.")
    )


def _refused_since(row: RefusedBill, zone: str) -> Shown:
    ends = _("Access ends %s") % moment(row.pay_by_at, zone) if row.pay_by_at else ""
    return Shown(moment(row.failed_at, zone), ends)


def _charge_again(asked: Asked) -> Said:
    row = staff_work.charge_again(staff=asked.actor, bill_id=asked.row_id, at=asked.at)
    facts = {"bill": row.bill, "organization": row.organization}
    return Said(_("%(bill)s of %(organization)s is charged by the next sweep, within a minute.") % facts)


BILLS = WorkList(
    title=gettext_lazy("Refused bills"),
    about=gettext_lazy(
        "Bills whose charge the card processor does not take, whatever the card. Payers are told as of a failed payment, "
        "and access ends in time: remove the cause before that."
    ),
    nothing=gettext_lazy("The processor takes every charge."),
    sees=StaffCapability.OPERATE_WORK,
    listing=REFUSED_BILLS,
    filters=lambda chosen, at: (chosen.words,),
    columns=(
        Column(gettext_lazy("Organization"), lambda row, zone: Shown(row.organization, row.product)),
        Column(gettext_lazy("Bill"), lambda row, zone: Shown(row.bill)),
        Column(
            gettext_lazy("Amount"),
            lambda row, zone: Shown(format_money(row.amount_minor, row.currency)),
            is_number=True,
        ),
        Column(gettext_lazy("Why it waits"), _refused_why),
        Column(gettext_lazy("Since"), _refused_since),
    ),
    deeds=(
        Deed("again", gettext_lazy("Charge again"), _charge_again, fits=lambda row: not row.is_too_small),
    ),
)
bills = page_of(BILLS)


# --- Refunds -----------------------------------------------------------------------------------------------

# The processor's words for why it gave nothing back (docs.stripe.com/refunds).
_REFUSALS: dict[str, Text] = {
    "charge_for_pending_refund_disputed": gettext_lazy("The charge is contested at the bank"),
    "charge_disputed": gettext_lazy("The charge is contested at the bank"),
    "declined": gettext_lazy("The bank declined it"),
    "expired_or_canceled_card": gettext_lazy("The card has expired or was canceled"),
    "insufficient_funds": gettext_lazy("Our balance at the processor is too low"),
    "lost_or_stolen_card": gettext_lazy("The card was reported lost or stolen"),
    "merchant_request": gettext_lazy("It was called off at the processor"),
}


def _refund_state(row: StuckRefund, zone: str) -> Shown:
    if row.has_failed:
        why = _REFUSALS.get(row.reason) or _("The processor refused it")
        advice = _("Ask again once the cause is gone, or pay it back otherwise and book that.")
        return Shown(why, f"{advice} ({row.reason})" if row.reason else advice)
    if row.reason:
        return Shown(_("Another amount"), _("Compare the two at the processor."), "sk-bad")
    return Shown(_("No outcome yet"), _("It is asked about again by itself. Look at the processor."))


def _refund_since(row: StuckRefund, zone: str) -> Shown:
    return Shown(moment(row.updated_at if row.has_failed else row.created_at, zone), row.refund_id)


def _refund_again(asked: Asked) -> Said:
    row = staff_work.refund_again(staff=asked.actor, refund_id=asked.row_id, at=asked.at)
    return Said(
        _("%(note)s of %(organization)s is given back by the next sweep, within a minute.") % _of(row)
    )


def _book(asked: Asked) -> Said:
    row = staff_work.book_refund(
        staff=asked.actor, refund_id=asked.row_id, reference=asked.words, at=asked.at
    )
    return Said(_("%(amount)s is booked as paid back: %(note)s of %(organization)s.") % _of(row))


def _of(row: StuckRefund) -> dict[str, str]:
    amount = format_money(row.amount_minor, row.currency)
    return {"note": row.note, "organization": row.organization, "amount": amount}


REFUNDS = WorkList(
    title=gettext_lazy("Refunds"),
    about=gettext_lazy(
        "Money that is owed and did not go back: the processor or the bank refused, or nothing was heard for a day. What is "
        "refunded at the processor's own dashboard, to the cent, is found within an hour and leaves this list by itself."
    ),
    nothing=gettext_lazy("Everything that is owed went back, or is on its way."),
    sees=StaffCapability.OPERATE_WORK,
    listing=STUCK_REFUNDS,
    filters=lambda chosen, at: (chosen.words, at - REFUND_WAITS),
    columns=(
        Column(gettext_lazy("Organization"), lambda row, zone: Shown(row.organization, row.note)),
        Column(
            gettext_lazy("Owed"),
            lambda row, zone: Shown(format_money(row.amount_minor, row.currency)),
            is_number=True,
        ),
        Column(gettext_lazy("Why it waits"), _refund_state),
        Column(gettext_lazy("Since"), _refund_since),
    ),
    deeds=(
        Deed("again", gettext_lazy("Refund again"), _refund_again, fits=lambda row: row.has_failed),
        Deed(
            "book",
            gettext_lazy("Book as paid back"),
            _book,
            fits=lambda row: row.has_failed,
            asks=gettext_lazy("How it was paid back, such as: bank transfer of 26 November"),
            longest=staff_work.LONGEST_REFERENCE,
        ),
    ),
)
refunds = page_of(REFUNDS)


# --- What the processor told -------------------------------------------------------------------------------


def _whose(row: ProcessorEvent, zone: str) -> Shown:
    return Shown(row.organization or _("Nobody's yet"), row.bill)


def _received(row: ProcessorEvent, zone: str) -> Shown:
    handled = _("Handled %s") % moment(row.handled_at, zone) if row.handled_at else _("Waits")
    return Shown(moment(row.received_at, zone), handled)


def _handle_again(asked: Asked) -> Said:
    row = staff_work.handle_again(staff=asked.actor, event_id=asked.row_id, at=asked.at)
    return Said(
        _("The processor is asked anew about %(object)s, within a minute.") % {"object": row.object_id}
    )


EVENTS = WorkList(
    title=gettext_lazy("Processor's events"),
    about=gettext_lazy(
        "What the card processor told by its webhook. Each only names what to ask about; handling one again asks anew, and "
        "what is found takes effect once."
    ),
    nothing=gettext_lazy("Every event that came was handled."),
    sees=StaffCapability.OPERATE_WORK,
    listing=PROCESSOR_EVENTS,
    filters=lambda chosen, at: (chosen.state, chosen.words),
    columns=(
        Column(gettext_lazy("Event"), lambda row, zone: Shown(row.type, row.event_id)),
        Column(gettext_lazy("About"), lambda row, zone: Shown(row.object_id)),
        Column(gettext_lazy("Organization"), _whose),
        Column(gettext_lazy("Received"), _received),
    ),
    deeds=(
        Deed(
            "again",
            gettext_lazy("Handle again"),
            _handle_again,
            fits=lambda row: row.handled_at is not None,
        ),
    ),
    states=(
        (WAITING, gettext_lazy("Waits")),
        (HANDLED, gettext_lazy("Handled")),
        (ALL, gettext_lazy("All events")),
    ),
    searches=gettext_lazy("Whole id of event or object, or whole type"),
)
events = page_of(EVENTS)


# --- The first page ----------------------------------------------------------------------------------------


def looks(actor: Actor, at: datetime) -> Iterator[Look]:
    """What of these needs a look: what concerns money is urgent."""
    yield from look_at_waiting(
        _("Charges without an answer"),
        (row.updated_at for row in oldest(STUCK_CHARGES, "", at - CHARGE_WAITS)),
        address=reverse("operator:work-charges"),
        at=at,
        is_urgent=True,
    )
    yield from look_at_waiting(
        _("Bills that the card processor refuses"),
        (row.failed_at for row in oldest(REFUSED_BILLS, "")),
        address=reverse("operator:work-bills"),
        at=at,
        is_urgent=True,
    )
    yield from look_at_waiting(
        _("Refunds that did not go back"),
        (row.updated_at for row in oldest(STUCK_REFUNDS, "", at - REFUND_WAITS)),
        address=reverse("operator:work-refunds"),
        at=at,
        is_urgent=True,
    )
    yield from look_at_waiting(
        _("Purchases that could not be renewed, ended or billed"),
        (row.parked_at for row in oldest(PARKED, "")),
        address=reverse("operator:work-purchases"),
        at=at,
        is_urgent=True,
    )
    waiting = (row.received_at for row in oldest(PROCESSOR_EVENTS, WAITING, ""))
    yield from look_at_waiting(
        _("Events of the processor that nobody took up for an hour"),
        (since for since in waiting if since <= at - EVENT_WAITS),
        address=reverse("operator:work-events"),
        at=at,
        is_urgent=True,
    )
