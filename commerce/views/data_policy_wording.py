"""Data policies in people's words: values, where they come from, and changes (product §14)."""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from config.kit.actors import Actor
from config.kit.errors import Text
from directory.models import AuditEntry, Tenant
from directory.queries.audit import entries_for
from directory.views.audit_wording import who_did
from policies.data_rule import DataPolicy, Said, Value
from policies.models import Creators
from policies.operations.data import CODE

LATEST = 5

NAMES: dict[str, Text] = {
    "service_on": gettext_lazy("Service"),
    "external_sharing": gettext_lazy("External sharing"),
    "retention_days": gettext_lazy("Data is kept"),
    "creators": gettext_lazy("Who makes workspaces"),
}
ORIGINS: dict[str, Text] = {
    "group_product": gettext_lazy("A group, here"),
    "group": gettext_lazy("A group"),
    "product": gettext_lazy("Set here"),
    "tenant": gettext_lazy("Every product"),
    "built_in": gettext_lazy("Built in"),
}


def settings_of(policy: DataPolicy) -> list[tuple[str, str, Value[Any]]]:
    """Name, label and value of each setting, in the order of the pages."""
    values = (policy.service, policy.sharing, policy.retention, policy.creators)
    return [(name, str(NAMES[name]), value) for name, value in zip(NAMES, values, strict=True)]


def value_text(name: str, value: Any) -> str:
    """One value; None: nothing was said."""
    if value is None:
        return _("as inherited")
    match name:
        case "service_on":
            return _("On") if value else _("Switched off")
        case "external_sharing":
            return _("Allowed") if value else _("Not allowed")
        case "retention_days":
            return ngettext("%(days)d day", "%(days)d days", value) % {"days": value}
    return str(Creators(value).label)


def origin_text(value: Value[Any]) -> str:
    """Where a value comes from."""
    return value.group or str(ORIGINS[value.origin])


def parts_of(said: Said) -> list[tuple[str, str]]:
    """What is said in one place: label and value of each setting that it names."""
    return [
        (str(label), value_text(name, getattr(said, name)))
        for name, label in NAMES.items()
        if getattr(said, name) is not None
    ]


def history_of(actor: Actor, tenant: Tenant, product_id: int | None) -> list[dict[str, Any]]:
    """The latest changes that the person may read in the audit trail: of one product, or of all. One query."""
    entries = entries_for(actor).filter(code=CODE)
    if product_id is not None:
        entries = entries.filter(target_type="data_policy", target_id=str(product_id))
    return [_change(entry, tenant) for entry in entries.order_by("-id")[:LATEST]]


def _change(entry: AuditEntry, tenant: Tenant) -> dict[str, Any]:
    before, after = entry.before or {}, entry.after or {}
    return {
        "about": entry.target_label or _("Every product"),
        "changes": [
            (str(NAMES[name]), value_text(name, value), value_text(name, after.get(name)))
            for name, value in before.items()
            if name in NAMES
        ],
        "why": after.get("why", ""),
        "who": who_did(entry, tenant),
        "at": entry.at,
    }
