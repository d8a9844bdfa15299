"""What the roles of a relationship allow, and what happened to it, in words."""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from config.kit.errors import Text
from config.kit.templatetags.kit import day
from directory.models import AuditEntry, RoleAssignment
from directory.permissions import ROLES, Role

NAMES: Mapping[str, Text] = dict(RoleAssignment.Name.choices)

# What a partner may do with a role, after the capability table of product §2.
MAY: Mapping[str, Text] = {
    Role.GLOBAL_ADMIN: gettext_lazy(
        "Does all that is listed for the other roles, and manages accounts, groups and data policies. "
        "Never sees or uses cards, pays no bills, and does not change roles, domains, sign-in or tokens."
    ),
    Role.BILLING_ADMIN: gettext_lazy(
        "Sees every purchase with its price and bills, buys on account under the organization's agreement, takes purchases over, "
        "centralizes them, and changes the purchase policy. Sees no cards and pays no bills."
    ),
    Role.LICENSE_ADMIN: gettext_lazy(
        "Sees who holds which license, without prices; gives and takes back the licenses of the organization, and gives "
        "free ones to people who ask."
    ),
    Role.USER_ADMIN: gettext_lazy(
        "Does what a license admin does, and manages people and groups, but no admins."
    ),
    Role.GLOBAL_READER: gettext_lazy("Sees all that the other roles see, and changes nothing."),
}


class Line(NamedTuple):
    """One thing that happened: what, its facts, when, and who did it for which organization."""

    title: str
    detail: str
    at: datetime
    by: str
    organization: str


def role_lines(roles: Collection[str]) -> list[dict[str, Any]]:
    """Each role with its name and what it allows, in the order of the table."""
    return [{"code": role, "name": NAMES[role], "may": MAY[role]} for role in ROLES if role in roles]


def crumbs(*, is_customer: bool) -> list[tuple[str, str]]:
    """The way to a relationship, from the side that looks at it."""
    if is_customer:
        return [(_("Partners"), reverse("portal:relationships"))]
    return [(_("Customers"), reverse("portal:customers"))]


def names(roles: Collection[str]) -> str:
    return ", ".join(str(NAMES[role]).lower() for role in ROLES if role in roles)


def line_of(entry: AuditEntry, *, zone: str, organizations: Mapping[int, str]) -> Line:
    """A row of the audit trail as a sentence; `organizations` are the names of both sides."""
    title, detail = _WORDS[entry.code](entry.before or {}, entry.after or {}, zone)
    return Line(title, detail, entry.at, entry.actor_label, organizations.get(entry.actor_tenant_id, ""))


def is_told(entry: AuditEntry) -> bool:
    return entry.code in _WORDS


type Facts = Mapping[str, Any]


def _asked(before: Facts, after: Facts, zone: str) -> tuple[str, str]:
    days, roles = after["days"], names(after["roles"])
    return _("Asked for"), _("%(roles)s, for %(days)s days") % {"roles": roles, "days": days}


def _approved(before: Facts, after: Facts, zone: str) -> tuple[str, str]:
    facts = {"roles": names(after["roles"]), "until": _day(after["ends_at"], zone)}
    struck = set(before.get("roles", ())) - set(after["roles"])
    if struck:
        facts["struck"] = names(struck)
        return _("Approved"), _("%(roles)s, until %(until)s; struck: %(struck)s") % facts
    return _("Approved"), _("%(roles)s, until %(until)s") % facts


def _created(before: Facts, after: Facts, zone: str) -> tuple[str, str]:
    return _("Set up"), _approved({}, after, zone)[1]


def _ended(before: Facts, after: Facts, zone: str) -> tuple[str, str]:
    until = before.get("ends_at")
    return _("Ended"), _("It would have run until %(day)s") % {"day": _day(until, zone)} if until else ""


def _extended(before: Facts, after: Facts, zone: str) -> tuple[str, str]:
    facts = {"before": _day(before["ends_at"], zone), "after": _day(after["ends_at"], zone)}
    return _("Extended by itself"), _("From %(before)s to %(after)s") % facts


def _assigned(before: Facts, after: Facts, zone: str) -> tuple[str, str]:
    facts = {"to": after["to"], "roles": names(after["roles"])}
    return _("Given to %(to)s") % facts, facts["roles"]


def _unassigned(before: Facts, after: Facts, zone: str) -> tuple[str, str]:
    facts = {"to": before["to"], "roles": names(before["roles"])}
    return _("Taken back from %(to)s") % facts, facts["roles"]


def _plain(title: Text) -> Callable[[Facts, Facts, str], tuple[str, str]]:
    return lambda before, after, zone: (str(title), "")


_WORDS: Mapping[str, Callable[[Facts, Facts, str], tuple[str, str]]] = {
    "directory.relationship.asked": _asked,
    "directory.relationship.approved": _approved,
    "directory.relationship.created": _created,
    "directory.relationship.declined": _plain(gettext_lazy("Declined")),
    "directory.relationship.withdrawn": _plain(gettext_lazy("Withdrawn")),
    "directory.relationship.lapsed": _plain(gettext_lazy("Lapsed without an answer")),
    "directory.relationship.ended": _ended,
    "directory.relationship.extended": _extended,
    "directory.relationship.extension_stopped": _plain(gettext_lazy("Extends no more")),
    "directory.relationship.assigned": _assigned,
    "directory.relationship.unassigned": _unassigned,
    "directory.partner.acting_started": _plain(gettext_lazy("Began to act")),
}


def _day(text: str, zone: str) -> str:
    return day(datetime.fromisoformat(text), zone)
