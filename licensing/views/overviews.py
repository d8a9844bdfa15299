"""Licenses by product and by purchaser: who uses what, over all channels, without prices (product §8)."""

import uuid
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.errors import NotVisible
from directory.permissions import Capability
from licensing.queries import holders, overviews


@access.requires(sees=Capability.SEE_LICENSES)
@require_safe
def licenses_by_product(request: HttpRequest) -> HttpResponse:
    """One row a product; its name leads to the subscriptions in which its licenses are assigned."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if not holders.sees_others_licenses(actor):
        raise NotVisible
    rows = [
        {
            "each": each,
            "product": each.product,
            "address": f"{reverse('portal:licenses')}?{urlencode({'product': each.product.slug})}",
        }
        for each in overviews.by_product(actor)
    ]
    context = {
        "title": _("Licenses by product"),
        "crumbs": [(_("Licenses"), reverse("portal:licenses"))],
        "rows": rows,
        "tabs": tabs(actor, "portal:licenses-by-product"),
    }
    return render_page(request, "licensing/licenses_by_product.html", context)


@access.requires(sees=Capability.SEE_PEOPLE)
@require_safe
def licenses_by_purchaser(request: HttpRequest) -> HttpResponse:
    """Whoever bought something, and how many colleagues use it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    page = overviews.purchasers_page(actor, cursor=request.GET.get("page", ""))
    context = {
        "title": _("Users by purchaser"),
        "crumbs": [(_("Licenses"), reverse("portal:licenses"))],
        "rows": page.rows,
        "next": _turn(page.next),
        "back": _turn(page.back),
        "tabs": tabs(actor, "portal:licenses-by-purchaser"),
    }
    return render_page(request, "licensing/licenses_by_purchaser.html", context)


@access.requires(sees=Capability.SEE_PEOPLE)
@require_safe
def purchaser_users(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """Who uses what one person bought."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    purchaser = overviews.purchaser_for(actor, key)
    page = overviews.users_of(actor, purchaser.user, cursor=request.GET.get("page", ""))
    context = {
        "title": purchaser.user.name,
        "crumbs": [
            (_("Licenses"), reverse("portal:licenses")),
            (_("Users by purchaser"), reverse("portal:licenses-by-purchaser")),
        ],
        "purchaser": purchaser,
        "rows": page.rows,
        "next": _turn(page.next),
        "back": _turn(page.back),
        "purchases": f"{reverse('portal:your-products')}?{urlencode({'purchaser': str(key)})}"
        if "all" in actor.scopes(Capability.SEE_PURCHASES)
        else "",
    }
    return render_page(request, "licensing/purchaser_users.html", context)


def tabs(actor: Actor, current: str) -> list[dict[str, Any]]:
    """The ways to look at licenses that the person has."""
    ways = [("portal:licenses", _("By subscription")), ("portal:licenses-by-product", _("By product"))]
    ways.append(("portal:licenses-idle", _("Idle")))
    if actor.may(Capability.SEE_PEOPLE):
        ways.append(("portal:licenses-by-purchaser", _("By purchaser")))
    return [{"label": label, "address": reverse(name), "is_current": name == current} for name, label in ways]


def _turn(cursor: str) -> str:
    return f"?{urlencode({'page': cursor})}" if cursor else ""
