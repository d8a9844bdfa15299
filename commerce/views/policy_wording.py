"""A purchase policy in people's words: values, origins, limits and changes (product §9)."""

from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from commerce.queries.policy import Row
from config.kit.actors import Actor
from config.kit.errors import Text
from config.kit.money import format_money
from directory.models import Tenant
from policies import rule
from policies.models import NewProducts, OfferType, PolicyChange, PolicyValue
from policies.rule import Effective
from policies.spending import Limit

WITHOUT_SELF_SERVICE = (Tenant.Kind.GOVERNMENT, Tenant.Kind.EDUCATION)


ORIGINS: dict[str, Text] = {
    "product": gettext_lazy("Set here"),
    "category": gettext_lazy("Category"),
    "new_products": gettext_lazy("New products"),
    "default": gettext_lazy("Default for every product"),
}


LABELS: dict[str, Text] = dict([*PolicyValue.choices, (rule.ASK, NewProducts.ASK.label)])


def label_of(found: Effective) -> str:
    """A value in people's words."""
    return str(LABELS[rule.ASK if found.is_undecided else found.value])


def origin_of(row: Row) -> str:
    """Where a product's value comes from, in words."""
    origin = row.effective.origin
    return f"{ORIGINS[origin]} {row.product.category}" if origin == "category" else str(ORIGINS[origin])


def limit_text(limit: Limit | None, currency: str) -> str:
    if limit is None:
        return _("No limit")
    told = _("%(sum)s a purchase") if limit.basis == "purchase" else _("%(sum)s a person and month")
    return told % {"sum": format_money(limit.minor, currency)}


def saved_text(count: int) -> str:
    told = ngettext("%(count)d change holds from now on.", "%(count)d changes hold from now on.", count)
    return told % {"count": count}


def lines_of(actor: Actor, changes: Any, tenant: Tenant) -> list[dict[str, Any]]:
    """Changes in words, with whether each can still be undone. Two queries."""
    rows = list(changes)
    undone = set(
        PolicyChange.objects.visible_to(actor)
        .filter(undoes__in=[row.pk for row in rows])
        .values_list("undoes_id", flat=True)
    )
    return [
        {
            "change": row,
            "what": what_changed(row),
            "before": stored_text(row, row.before),
            "after": stored_text(row, row.after),
            "is_undone": row.pk in undone,
        }
        for row in rows
    ]


def what_changed(change: PolicyChange) -> str:
    """What a change is about, in words."""
    name = change.target_label or change.target_key
    match change.target:
        case PolicyChange.Target.PRODUCT:
            return str(name)
        case PolicyChange.Target.CATEGORY:
            return _("Category %(name)s") % {"name": name}
        case PolicyChange.Target.OFFER_TYPE:
            return str(OfferType(change.target_key).label)
        case PolicyChange.Target.GROUP:
            return f"{change.group_name}, {name or _('every product')}"
    return str(PolicyChange.Target(change.target).label)


def stored_text(change: PolicyChange, stored: dict[str, Any]) -> str:
    """What was stored under a change's target, in words."""
    if change.target in (PolicyChange.Target.CAP, PolicyChange.Target.THRESHOLD):
        limit = None if stored["minor"] is None else Limit(stored["minor"], stored["basis"])
        return limit_text(limit, stored["currency"])
    if change.target == PolicyChange.Target.GROUP and stored["value"] is None:
        return _("no rule")
    return str(LABELS[stored["value"]]) if stored["value"] else _("as inherited")


def is_without_self_service(request: HttpRequest) -> bool:
    """Whether the organization is of a kind that has no self-service, so nothing to allow."""
    return request.tenant.kind in WITHOUT_SELF_SERVICE  # type: ignore[attr-defined]


def control_crumbs() -> list[tuple[str, str]]:
    return [(_("Control"), "")]
