"""The admin center's menu, by capability: what a person may not see is not there (design §1.6)."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import NoReverseMatch, get_script_prefix, get_urlconf, reverse
from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Text
from directory.permissions import Capability
from directory.queries.audit import sees_any


def tokens_css(request: HttpRequest) -> str:
    return static("tokens.css")


def seatkeeper_css(request: HttpRequest) -> str:
    return static("seatkeeper.css")


def admin_css(request: HttpRequest) -> str:
    return static("admin.css")


def mark_svg(request: HttpRequest) -> str:
    return static("mark.svg")


def subheader(request: HttpRequest) -> str:
    """The name under the brand: the organization whose rows are shown."""
    tenant = getattr(request, "tenant", None)
    return tenant.name if tenant else ""


class Item(NamedTuple):
    """One page of the menu: its group for admins, its group in the limited view, and who sees it."""

    group: Text
    limited_group: Text
    title: Text
    icon: str
    url_name: str
    is_for: Callable[[Actor], bool]
    # Where the page asks for the number beside the title; empty: there is none.
    badge: str = ""


def _sees_purchases(actor: Actor) -> bool:
    return actor.may(Capability.SEE_PURCHASES)


def _sees_bills(actor: Actor) -> bool:
    return actor.may(Capability.SEE_BILLS)


def _pays(actor: Actor) -> bool:
    return actor.may(Capability.PAY_BILLS)


def _buys_centrally(actor: Actor) -> bool:
    return actor.may(Capability.BUY_CENTRALLY)


def _centralizes(actor: Actor) -> bool:
    return actor.may(Capability.TAKE_OVER)


def _sees_others_licenses(actor: Actor) -> bool:
    return actor.is_purchaser or bool(actor.scopes(Capability.SEE_LICENSES) & {"org", "all"})


def _sees_service_tokens(actor: Actor) -> bool:
    return actor.may(Capability.SEE_SERVICE_TOKENS)


def _reads_audit(actor: Actor) -> bool:
    """Not in the limited view: a purchaser finds the entries of a purchase at the purchase (product §4)."""
    return has_full_view(actor) and sees_any(actor)


def _sees_capacity(actor: Actor) -> bool:
    return actor.may(Capability.SEE_CAPACITY)


def _keeps_training_links(actor: Actor) -> bool:
    return actor.may(Capability.EDIT_CONTACT_TEXT)


def _sees_settings(actor: Actor) -> bool:
    return actor.may(Capability.SEE_SETTINGS)


def _sees_requests(actor: Actor) -> bool:
    return actor.may(Capability.SEE_QUEUE)


def _reads_policy(actor: Actor) -> bool:
    return actor.may(Capability.READ_POLICY)


def _reads_data_policy(actor: Actor) -> bool:
    return actor.may(Capability.READ_DATA_POLICY)


def _sees_all_workspaces(actor: Actor) -> bool:
    """Those whose list is the organization's; the others find their own in the product."""
    return "all" in actor.scopes(Capability.SEE_WORKSPACES)


def _sees_people(actor: Actor) -> bool:
    return actor.may(Capability.SEE_PEOPLE)


def _sees_partners(actor: Actor) -> bool:
    return actor.may(Capability.SEE_RELATIONSHIPS)


def _sees_cases(actor: Actor) -> bool:
    """Who buys, or reads the organization's: of others no purchase can be asked about."""
    scopes = actor.scopes(Capability.SEE_CASES)
    return "org" in scopes or ("own" in scopes and actor.is_purchaser)


def _compares_customers(actor: Actor) -> bool:
    """At home, where all customers are side by side."""
    return actor.has_customers and not actor.is_partner


def _has_customers(actor: Actor) -> bool:
    return actor.has_customers or (actor.is_of_partner and actor.may(Capability.SEE_RELATIONSHIPS))


ITEMS = (
    Item(
        _("Billing"), _("Billing"), _("Your products"), "inventory_2", "portal:your-products", _sees_purchases
    ),
    Item(
        *(_("Billing"), _("Billing"), _("Buy centrally"), "add_shopping_cart", "portal:buy-centrally"),
        _buys_centrally,
    ),
    Item(_("Billing"), _("Billing"), _("Bills & payments"), "receipt_long", "portal:bills", _sees_bills),
    Item(_("Billing"), _("Billing"), _("Payment methods"), "credit_card", "portal:payment-methods", _pays),
    Item(_("Licenses"), _("Work"), _("Licenses"), "key", "portal:licenses", _sees_others_licenses),
    Item(
        _("Licenses"),
        _("Work"),
        _("Requests"),
        "inbox",
        "portal:requests",
        _sees_requests,
        "portal:requests-waiting",
    ),
    Item(_("Licenses"), _("Work"), _("Capacity"), "database", "portal:capacity", _sees_capacity),
    Item(_("Control"), _("Work"), _("Purchase policy"), "shield", "portal:policy", _reads_policy),
    Item(_("Control"), _("Work"), _("Data policies"), "policy", "portal:data-policies", _reads_data_policy),
    Item(_("Control"), _("Work"), _("Workspaces"), "workspaces", "portal:workspaces", _sees_all_workspaces),
    Item(_("Control"), _("Work"), _("Centralize"), "merge", "portal:centralize", _centralizes),
    Item(_("Control"), _("Work"), _("Training links"), "school", "portal:training", _keeps_training_links),
    Item(_("Control"), _("Work"), _("Partners"), "link", "portal:relationships", _sees_partners),
    Item(_("Control"), _("Work"), _("People"), "group", "portal:people", _sees_people),
    Item(_("Control"), _("Work"), _("Groups"), "groups", "portal:groups", _sees_people),
    Item(_("Settings"), _("Settings"), _("Roles"), "admin_panel_settings", "portal:roles", _sees_settings),
    Item(_("Settings"), _("Settings"), _("Sign-in"), "login", "portal:sign-in-settings", _sees_settings),
    Item(_("Settings"), _("Settings"), _("Domains"), "language", "portal:domains", _sees_settings),
    Item(_("Settings"), _("Settings"), _("Language"), "translate", "portal:language", _sees_settings),
    Item(_("Settings"), _("Settings"), _("Service tokens"), "vpn_key", "portal:tokens", _sees_service_tokens),
    Item(_("Settings"), _("Settings"), _("Webhooks"), "webhook", "portal:webhooks", _sees_service_tokens),
    Item(
        *(_("Settings"), _("Settings"), _("Provisioning"), "sync", "portal:provisioning"),
        _sees_settings,
    ),
    Item(_("Settings"), _("Settings"), _("Audit trail"), "history", "portal:audit", _reads_audit),
    Item(_("Help"), _("Work"), _("Support"), "help", "portal:support", _sees_cases),
    Item(_("Partner"), _("Partner"), _("Customers"), "handshake", "portal:customers", _has_customers),
    Item(_("Partner"), _("Partner"), _("Policy drift"), "rule", "portal:fleet", _compares_customers),
)


def has_full_view(actor: Actor) -> bool:
    """Whether the person sees more than the own purchases: an admin, a reader, or a partner."""
    return actor.is_partner or bool(actor.roles)


def is_open_to(actor: Actor | None) -> bool:
    """Whether the admin center has any page for the person; the launcher's Admin tile asks the same."""
    return actor is not None and any(item.is_for(actor) and _address(item) for item in ITEMS)


def first_page(actor: Actor) -> str:
    """The address of the first page that the person may see; empty when there is none."""
    return next((_address(item) for item in ITEMS if item.is_for(actor) and _address(item)), "")


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Groups of links for unfold's side bar."""
    actor: Actor | None = getattr(request, "actor", None)
    if actor is None:
        return []
    groups: dict[str, list[dict[str, Any]]] = {}
    shown = [(item, _address(item)) for item in ITEMS if item.is_for(actor)]
    # A page below another's is that of the longer address.
    here = max(
        (address for _item, address in shown if address and request.path.startswith(address)),
        default="",
        key=len,
    )
    for item, address in shown:
        if address:
            group = item.group if has_full_view(actor) else item.limited_group
            groups.setdefault(str(group), []).append(
                {
                    "title": item.title,
                    "icon": item.icon,
                    "link": address,
                    "badge_address": _url(item.badge) if item.badge else "",
                    "active": address == here,
                }
            )
    return [{"title": title, "items": items} for title, items in groups.items()]


def _address(item: Item) -> str:
    return _url(item.url_name)


def _url(name: str) -> str:
    return _reversed(name, get_urlconf() or settings.ROOT_URLCONF, get_script_prefix())


@cache
def _reversed(name: str, urlconf: Any, _prefix: str) -> str:
    """The menu stands on every page, and looking its addresses up costs more than writing them."""
    try:
        return reverse(name, urlconf)
    except NoReverseMatch:
        return ""
