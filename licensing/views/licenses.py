"""The licenses pages of the admin center: what there is and who holds it, without prices (product §2, §8)."""

import uuid
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from commerce.models import Product, Subscription
from commerce.queries import details
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.errors import Malformed, NotVisible
from directory.permissions import Capability
from licensing.queries import holders
from licensing.queries.giving import may_give_central
from licensing.views.assigning import LICENSES, PRODUCTS, Area
from licensing.views.overviews import tabs
from licensing.views.wording import channel_of
from policies.queries.data import data_policies


@access.requires(sees=Capability.SEE_LICENSES)
def licenses(request: HttpRequest) -> HttpResponse:
    """Every subscription whose licenses the person sees, one a row."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if not holders.sees_others_licenses(actor):
        raise NotVisible
    slug = request.GET.get("product", "")
    product = Product.objects.filter(slug=slug).first() if slug and "\0" not in slug else None
    if slug and product is None:
        raise Malformed(_("This page address is not valid."))
    cursor = request.GET.get("page", "")
    page = holders.licenses_page(actor, cursor=cursor, product_id=product.pk if product else None)
    context = {
        "title": product.name if product else _("Licenses"),
        "crumbs": [(_("Licenses by product"), reverse("portal:licenses-by-product"))] if product else [],
        "tabs": tabs(actor, "" if product else "portal:licenses"),
        "rows": [_row(each) for each in page.rows],
        "next": _turn(page.next, "page", product=slug),
        "back": _turn(page.back, "page", product=slug),
    }
    return render_page(request, "licensing/licenses.html", context)


@access.requires(sees=Capability.SEE_LICENSES)
def license_subscription(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """One subscription's licenses: figures and holders, with assigning where it is theirs."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if not holders.sees_others_licenses(actor):
        raise NotVisible
    subscription = holders.subscription_for(actor, key, to_see=Capability.SEE_LICENSES)
    context = {
        "title": subscription.product.name,
        "crumbs": [(_("Licenses"), reverse("portal:licenses"))],
        **_row(subscription),
        "may_give_central": may_give_central(actor, subscription),
        **holders_context(request, actor, subscription, LICENSES),
    }
    return render_page(request, "licensing/license_subscription.html", context)


def holders_context(
    request: HttpRequest, actor: Actor, subscription: Subscription, area: Area = PRODUCTS
) -> dict[str, Any]:
    """What `licensing/_holders.html` shows: who has a license, 50 a page by key, and whether a data policy switched the
    product off. Two queries, three when searched."""
    query = request.GET.get("q", "")[:100]
    page = holders.holders_page(subscription, cursor=request.GET.get("holders", ""), query=query)
    return {
        "subscription": subscription,
        "holders": page.rows,
        "holders_query": query,
        "next": _turn(page.next, "holders", q=query),
        "back": _turn(page.back, "holders", q=query),
        "may_assign": holders.may_assign(actor, subscription),
        "assign_address": reverse(area.assign_url, args=[subscription.key]),
        "unassign_address": reverse(area.unassign_url, args=[subscription.key]),
        "unassign_list_address": reverse(area.unassign_list_url, args=[subscription.key]),
        "waiting_address": _waiting_address(actor, subscription),
        "switched_off": data_policies(actor=actor).is_off(subscription.product_id),
        "may_read_data_policy": actor.may(Capability.READ_DATA_POLICY),
        "zone": subscription.time_zone,
        "own_id": actor.user_id,
    }


def _waiting_address(actor: Actor, subscription: Subscription) -> str:
    """The line for its licenses, for whoever may see it; empty where there is none."""
    is_seen = subscription.is_organizations and actor.reaches(
        Capability.SEE_LICENSES, is_own=False, is_org=True
    )
    return reverse("portal:license-waiting", args=[subscription.key]) if is_seen else ""


def _row(subscription: Subscription) -> dict[str, Any]:
    return {
        "subscription": subscription,
        "product": subscription.product,
        "channel": channel_of(subscription),
        "status": details.status_of(subscription),
        "address": reverse("portal:license-subscription", args=[subscription.key]),
    }


def _turn(cursor: str, name: str, **others: str) -> str:
    return "?" + urlencode({**{k: v for k, v in others.items() if v}, name: cursor}) if cursor else ""
