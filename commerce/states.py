"""How a subscription's state is shown: one badge, never without its next date (product §5.1, design §1.3, §5).

Pure: reads values, asks nothing. The list, the details and the launcher all speak through `status_of`.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

type Label = str | Promise

# Each text is one object, however often it is told: a list may translate it once for all of its lines.
_ = cache(gettext_lazy)

# The values of `Subscription.State`, `.Channel`; strings, since this module imports no model.
SCHEDULED, ACTIVE, EXPIRED, DISABLED, DELETED = "scheduled", "active", "expired", "disabled", "deleted"
TRIAL = "trial"

# A period is half-open: its last day is the one that holds the instant before its end.
_INSTANT = timedelta(microseconds=1)

# What the status filter offers, in the order in which a subscription lives.
FILTERS: dict[str, Label] = {
    "scheduled": _("Scheduled"),
    "active": _("Active"),
    "payment-failed": _("Payment failed"),
    "renewal-off": _("Renewal off"),
    "expired": _("Expired"),
    "disabled": _("Disabled"),
    "deleted": _("Deleted"),
}


# The same of bills. A credit note waits for our money, not for the payer's, so it has words of its own.
BILL_FILTERS: dict[str, Label] = {
    "open": _("Open"),
    "past-due": _("Past due"),
    "paid": _("Paid"),
    "credited": _("Credited"),
    "void": _("Void"),
    "refund-under-way": _("Refund under way"),
    "refunded": _("Refunded"),
    "settled": _("Settled"),
}
_BILL_CODES = {"open": "open", "past_due": "past-due", "paid": "paid", "credited": "credited", "void": "void"}
_NOTE_CODES = {"open": "refund-under-way", "paid": "refunded", "credited": "settled"}
_BILL_TONES = {
    "open": "sk-warn",
    "past-due": "sk-bad",
    "paid": "sk-ok",
    "refund-under-way": "sk-info",
    "refunded": "sk-ok",
}


@dataclass(frozen=True, slots=True)
class BillStatus:
    """The badge of a bill or credit note; `tone` is a CSS class of design §5."""

    code: str
    label: Label
    tone: str


def bill_status_of(status: str, *, is_credit_note: bool) -> BillStatus:
    """The badge for a value of `Bill.Status`."""
    code = _BILL_CODES[status]
    if is_credit_note:
        code = _NOTE_CODES.get(status, code)
    return BillStatus(code, BILL_FILTERS[code], _BILL_TONES.get(code, ""))


@dataclass(frozen=True, slots=True)
class Status:
    """A badge and what comes next. `tone` is a CSS class of design §5; `next_at` is None only when Deleted."""

    code: str
    label: Label
    tone: str
    next_label: Label
    next_at: datetime | None


def last_day(end: datetime) -> datetime:
    """An instant on the last day of a period that ends at `end`: people read periods with that day included."""
    return end - _INSTANT


def status_of(
    *,
    state: str,
    channel: str,
    recurring_billing: bool,
    payment_failed_at: datetime | None,
    parked_at: datetime | None,
    due_at: datetime | None,
    term_end: datetime,
    next_try_at: datetime | None = None,
    pay_by_at: datetime | None = None,
) -> Status:
    """The badge, and the date of the next change with the word for it.

    While active with recurring billing off, that date is the last day of the term, whatever is still charged
    until then; in every other case it is the instant of the next change.
    """
    if state == SCHEDULED:
        return Status("scheduled", _("Scheduled"), "sk-badge--ring", _("Starts"), due_at)
    if state == EXPIRED:
        return Status("expired", _("Expired"), "sk-warn", _("Access ends"), due_at)
    if state == DISABLED:
        return Status("disabled", _("Disabled"), "sk-bad", _("Deleted"), due_at)
    if state == DELETED:
        return Status("deleted", _("Deleted"), "", _("Final"), None)
    next_label, next_at = _next_while_active(recurring_billing, parked_at, due_at, term_end, channel)
    if payment_failed_at is not None:
        if next_try_at is not None:
            next_label, next_at = _("Next try"), next_try_at
        elif pay_by_at is not None:
            next_label, next_at = _("Pay by"), pay_by_at
        return Status("payment-failed", _("Payment failed"), "sk-bad", next_label, next_at)
    if channel == TRIAL:
        return Status("trial", _("Trial"), "sk-info", next_label, next_at)
    if not recurring_billing:
        return Status("renewal-off", _("Renewal off"), "sk-warn", next_label, next_at)
    return Status("active", _("Active"), "sk-ok", next_label, next_at)


def _next_while_active(
    recurring_billing: bool,
    parked_at: datetime | None,
    due_at: datetime | None,
    term_end: datetime,
    channel: str,
) -> tuple[Label, datetime | None]:
    if not recurring_billing:
        return _("Ends"), last_day(term_end)
    if parked_at is not None:
        return _("Renewal delayed"), due_at
    if channel == TRIAL:
        return _("Turns paid"), due_at
    if due_at is not None and due_at < term_end:
        return _("Next charge"), due_at
    return _("Renews"), due_at


def next_charge_at(
    *, state: str, recurring_billing: bool, due_at: datetime | None, term_end: datetime
) -> datetime | None:
    """When the next period is billed, as things stand; None when nothing more is."""
    if state not in (SCHEDULED, ACTIVE) or due_at is None:
        return None
    return due_at if state == SCHEDULED or recurring_billing or due_at < term_end else None


def per_period(billing_months: int) -> Label:
    """What one price covers: `a month`, `a year`."""
    return _("a year") if billing_months == 12 else _("a month")


@dataclass(frozen=True, slots=True)
class Step:
    """One point of a subscription's life: what happens on `day`. `kind` is `now`, `change` or `later`."""

    code: str
    kind: str
    day: date | None


def life_of(
    *,
    state: str,
    recurring_billing: bool,
    due_at: datetime | None,
    term_end: datetime,
    ended_at: datetime | None,
    expired_days: int,
    disabled_days: int,
    time_zone: str,
    channel: str = "",
    next_try_at: datetime | None = None,
    pay_by_at: datetime | None = None,
) -> list[Step]:
    """What happens next, from the present state to Deleted, by calendar day in the subscription's zone.

    `ended_at` is the instant at which the present state began, for the states after Active. States after the
    next one are computed from it by their lengths in days, as the sweep does when it gets there. A trial turns paid or
    is Disabled at its end. `pay_by_at`: a payment failed, and access ends then unless it is made.
    """
    zone = ZoneInfo(time_zone)

    def local(at: datetime | None) -> date | None:
        return at.astimezone(zone).date() if at else None

    if state == SCHEDULED:
        return [Step("scheduled", "now", None), Step("starts", "change", local(due_at))]
    if state == DELETED:
        return [Step("deleted", "now", local(ended_at))]
    if state == DISABLED:
        return [Step("is_disabled", "now", local(ended_at)), Step("deleted", "change", local(due_at))]
    if state == EXPIRED:
        disabled = local(due_at)
        return [
            Step("is_expired", "now", local(ended_at)),
            Step("disabled", "change", disabled),
            Step("deleted", "later", _later(disabled, disabled_days)),
        ]
    if channel == TRIAL:
        end = local(term_end)
        steps = [Step("trial", "now", local(last_day(term_end)))]
        if recurring_billing:
            return [*steps, Step("turns_paid", "change", end), Step("if_payment_fails", "later", None)]
        return [*steps, Step("disabled", "change", end), Step("deleted", "later", _later(end, disabled_days))]
    if pay_by_at is not None:
        tries = [Step("next_try", "change", local(next_try_at))] if next_try_at else []
        paid = [] if recurring_billing else [Step("if_paid", "later", local(last_day(term_end)))]
        unpaid = local(pay_by_at)
        return [
            Step("payment_failed", "now", None),
            *tries,
            *paid,
            Step("unpaid", "later" if tries else "change", unpaid),
            Step("deleted", "later", _later(unpaid, disabled_days)),
        ]
    steps = [Step("active", "now", local(last_day(term_end)))]
    if due_at is not None and due_at < term_end:
        steps.append(Step("charged", "later", local(due_at)))
    end = local(term_end)
    if recurring_billing:
        return [*steps, Step("renews", "change", end), Step("if_payment_fails", "later", None)]
    disabled = _later(end, expired_days)
    return [
        *steps,
        Step("expired", "change", end),
        Step("disabled", "later", disabled),
        Step("deleted", "later", _later(disabled, disabled_days)),
    ]


def charges_left(*, due_at: datetime | None, term_end: datetime, billing_months: int, time_zone: str) -> int:
    """How many periods of the running term are still to be billed: those that begin before its end."""
    if due_at is None or due_at >= term_end:
        return 0
    zone = ZoneInfo(time_zone)
    # Both instants are local midnights on the anchor's day, clamped to the month: whole months lie between.
    first, end = due_at.astimezone(zone).date(), term_end.astimezone(zone).date()
    months = (end.year - first.year) * 12 + end.month - first.month
    return months // billing_months


def _later(day: date | None, days: int) -> date | None:
    return day + timedelta(days=days) if day else None
