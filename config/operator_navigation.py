"""The menu of the vendor's staff, by capability: what a person may not see is not there (design §1.6)."""

from typing import Any, NamedTuple

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Text
from directory.staff import StaffCapability as May


class Item(NamedTuple):
    """One page of the menu: its group, and the capability that shows it."""

    group: Text
    title: Text
    icon: str
    url_name: str
    sees: str


_ASKED = _("What others ask")
_WORK = _("Work that stopped")
_CUSTOMERS = _("Customers")
ITEMS = (
    Item(_("Today"), _("What needs a look"), "inbox", "operator:index", May.OPERATE),
    Item(_ASKED, _("Cases"), "help", "operator:cases", May.OPERATE_CASES),
    Item(_ASKED, _("Partners' solutions"), "extension", "operator:solutions", May.OPERATE_SOLUTIONS),
    Item(_WORK, _("Purchases"), "autorenew", "operator:work-purchases", May.OPERATE_WORK),
    Item(_WORK, _("Charges"), "credit_card", "operator:work-charges", May.OPERATE_WORK),
    Item(_WORK, _("Refused bills"), "receipt_long", "operator:work-bills", May.OPERATE_WORK),
    Item(_WORK, _("Refunds"), "undo", "operator:work-refunds", May.OPERATE_WORK),
    Item(_WORK, _("Processor's events"), "link", "operator:work-events", May.OPERATE_WORK),
    Item(_WORK, _("Mails"), "mail", "operator:work-mails", May.OPERATE_WORK),
    Item(_WORK, _("Jobs"), "schedule", "operator:work-jobs", May.OPERATE_WORK),
    Item(_CUSTOMERS, _("Organizations"), "apartment", "operator:organizations", May.SEE_TENANTS),
    Item(_CUSTOMERS, _("Read a customer's pages"), "search", "operator:sessions", May.OPEN_STAFF_SESSION),
    Item(_CUSTOMERS, _("Changes of sign-in"), "key", "operator:sign-in-changes", May.OPERATE_TENANTS),
    Item(_CUSTOMERS, _("Agreements"), "handshake", "operator:agreements", May.OPERATE_CATALOGUE),
    Item(_("Catalogue"), _("Products & prices"), "inventory_2", "operator:catalogue", May.OPERATE_CATALOGUE),
    Item(_("Installation"), _("Billing"), "payments", "operator:billing", May.OPERATE_TENANTS),
)


def is_open_to(actor: Actor | None) -> bool:
    """Whether the vendor's site is there for the person."""
    return actor is not None and actor.may(May.OPERATE)


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Groups of links for the side bar."""
    actor: Actor | None = getattr(request, "actor", None)
    if actor is None:
        return []
    groups: dict[str, list[dict[str, Any]]] = {}
    for item in ITEMS:
        address = _address(item.url_name)
        if address and actor.may(item.sees):
            groups.setdefault(str(item.group), []).append(
                {
                    "title": item.title,
                    "icon": item.icon,
                    "link": address,
                    "active": _is_active(request.path, address),
                }
            )
    return [{"title": title, "items": items} for title, items in groups.items()]


def _is_active(path: str, address: str) -> bool:
    """The first page's address begins all others."""
    return path == address or (address != reverse("operator:index") and path.startswith(address))


def _address(name: str) -> str:
    try:
        return reverse(name)
    except NoReverseMatch:
        return ""
