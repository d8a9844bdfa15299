"""An entry of the audit trail in words."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from django.utils.translation import gettext as _

from config.kit.templatetags.kit import moment
from directory.models import AuditEntry, RoleAssignment, StaffAssignment, Tenant

_ROLES = {
    str(value): str(label) for value, label in (*RoleAssignment.Name.choices, *StaffAssignment.Role.choices)
}
_LONGEST = 500


class Change(NamedTuple):
    """One fact of an entry, before and after; an empty text where there was or is none."""

    name: str
    before: str
    after: str


def who_did(entry: AuditEntry, tenant: Tenant) -> str:
    """Who did it; for a partner's person, both organizations."""
    if not entry.on_behalf_of:
        return entry.actor_label
    facts = {"name": entry.actor_label, "partner": entry.on_behalf_of, "customer": tenant.name}
    return _("%(name)s of %(partner)s, for %(customer)s") % facts


def holder_of(entry: AuditEntry) -> str:
    """Whose license an entry is about; empty for all others."""
    if not entry.code.startswith("licensing.license."):
        return ""
    return str((entry.after or {}).get("user") or (entry.before or {}).get("user") or "")


def changes_of(entry: AuditEntry, zone: str) -> list[Change]:
    """Each fact with its value before and after, in the order of the names."""
    before, after = (dict(_facts(side or {}, zone)) for side in (entry.before, entry.after))
    return [
        Change(name, before.get(name, ""), after.get(name, ""))
        for name in sorted(before.keys() | after.keys())
    ]


def _facts(values: dict[str, Any], zone: str) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        words = name.removesuffix("_minor").removesuffix("_at").replace("_", " ").capitalize()
        if isinstance(value, dict):
            yield from ((f"{words}: {inner}", text) for inner, text in _facts(value, zone))
        else:
            yield words, _said(name, value, zone)[:_LONGEST]


def _said(name: str, value: object, zone: str) -> str:
    match value:
        case None:
            return _("none")
        case bool():
            return _("yes") if value else _("no")
        case list():
            return ", ".join(_said(name, each, zone) for each in value) or _("none")
        case str() if name in ("role", "roles"):
            return _ROLES.get(value, value)
        case str() if name.endswith("_at"):
            return _instant(value, zone)
        case int() if name.endswith("_minor"):
            return _("%(sum)s (smallest units)") % {"sum": value}
        case _:
            return str(value)


def _instant(text: str, zone: str) -> str:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return text
    return moment(found, zone) if found.tzinfo else text
