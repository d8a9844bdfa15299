"""How a subscription's state is shown: one badge, never without its next date (product §5.1, design §1.3, §5).

Pure: reads values, asks nothing. The list, the details and the launcher all speak through `status_of`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

type Label = str | Promise

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


def per_period(billing_months: int) -> Label:
    """What one price covers: `a month`, `a year`."""
    return _("a year") if billing_months == 12 else _("a month")
