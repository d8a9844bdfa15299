"""Words for where a license comes from and until when it works, the same on every page."""

from datetime import datetime, timedelta

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from commerce.models import Subscription
from config.kit.errors import Text
from config.kit.templatetags.kit import day
from licensing.models import Centralization, CentralizedPerson, CentralizedPurchase


def channel_of(subscription: Subscription) -> str:
    """`central`, `self-service`, `self-service, taken over`, `trial`, in the interface's words."""
    if subscription.channel == Subscription.Channel.CENTRAL:
        return _("Central")
    name = _("Trial") if subscription.channel == Subscription.Channel.TRIAL else _("Self-service")
    return _("%(channel)s, taken over") % {"channel": name} if subscription.is_organizations else name


def given_through(subscription: Subscription, user_id: int | None, organization: str) -> str:
    """Where the holder has it from: `Bought by you`, `From Contoso`, `Bought by Pat Mulder`, `Trial, started by you`."""
    if subscription.is_organizations:
        return _("From %(organization)s") % {"organization": organization}
    is_own = subscription.owner_user_id == user_id
    if subscription.channel == Subscription.Channel.TRIAL:
        if is_own:
            return _("Trial, started by you")
        return _("Trial, started by %(name)s") % {"name": subscription.purchaser_name}
    if is_own:
        return _("Bought by you")
    return _("Bought by %(name)s") % {"name": subscription.purchaser_name}


def works_until(subscription: Subscription) -> str:
    """One line for a tile or a row: what comes next, with its date."""
    zone, end = subscription.time_zone, subscription.term_end
    State = Subscription.State
    if subscription.state == State.EXPIRED:
        return _("Expired, works until %(day)s") % {"day": _last_day(subscription.due_at, zone)}
    if subscription.state == State.DISABLED:
        return _("Disabled, no access")
    if subscription.state == State.SCHEDULED:
        return _("Starts %(day)s") % {"day": day(subscription.due_at, zone)}
    if subscription.channel == Subscription.Channel.TRIAL:
        return _("Trial until %(day)s") % {"day": _last_day(end, zone)}
    if not subscription.recurring_billing:
        return _("Ends %(day)s") % {"day": _last_day(end, zone)}
    return _("Renews %(day)s") % {"day": day(end, zone)}


def _last_day(end: datetime | None, zone: str) -> str:
    """Periods are half-open: people read them with the last day included."""
    return day(end - timedelta(microseconds=1) if end else None, zone)


# What becomes of a person and of a purchase when purchases are centralized: words and the badge's color.
CENTRALIZED: dict[str, tuple[Text, str]] = {
    CentralizedPerson.Outcome.MOVED: (gettext_lazy("Gets a central license"), "sk-ok"),
    CentralizedPerson.Outcome.HELD: (gettext_lazy("Has a central license, keeps it"), ""),
    CentralizedPerson.Outcome.GUEST: (gettext_lazy("Guest, cannot hold a central license"), "sk-bad"),
    CentralizedPerson.Outcome.SERVICE_OFF: (gettext_lazy("Switched off for them, gets none"), ""),
    CentralizedPerson.Outcome.DISABLED: (gettext_lazy("Account is disabled, gets none"), ""),
    CentralizedPerson.Outcome.NO_SEAT: (gettext_lazy("No central license was free"), "sk-bad"),
    CentralizedPerson.Outcome.UNDONE: (gettext_lazy("Central license taken back"), ""),
    CentralizedPerson.Outcome.KEPT: (gettext_lazy("Kept the central license"), "sk-ok"),
}
ENDINGS: dict[str, tuple[Text, str]] = {
    CentralizedPurchase.State.WAITING: (gettext_lazy("Waiting"), "sk-badge--ring"),
    CentralizedPurchase.State.TAKEN_OVER: (gettext_lazy("Taken over"), "sk-info"),
    CentralizedPurchase.State.ASKED: (gettext_lazy("Purchaser asked to cancel"), "sk-info"),
    CentralizedPurchase.State.LEFT: (gettext_lazy("Ends by itself"), ""),
    CentralizedPurchase.State.BLOCKED: (gettext_lazy("Not ended"), "sk-bad"),
    CentralizedPurchase.State.ENDED: (gettext_lazy("Ended"), "sk-ok"),
    CentralizedPurchase.State.UNDONE: (gettext_lazy("As before"), ""),
}
RUN_STATES: dict[str, tuple[Text, str]] = {
    Centralization.State.RUNNING: (gettext_lazy("Running"), "sk-info"),
    Centralization.State.WAITING: (gettext_lazy("Moved, can be undone"), "sk-ok"),
    Centralization.State.DONE: (gettext_lazy("Done"), "sk-ok"),
    Centralization.State.UNDOING: (gettext_lazy("Being undone"), "sk-warn"),
    Centralization.State.UNDONE: (gettext_lazy("Undone"), ""),
}
