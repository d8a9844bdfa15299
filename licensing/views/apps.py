"""Everyone's pages: the start page, the own licenses, and the products themselves (product §4, §16)."""

import uuid
from collections.abc import Collection
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _

from commerce.models import Product
from commerce.queries.eligibility import eligibility_for
from commerce.queries.handovers import offers_to
from commerce.queries.training import beside
from commerce.views.catalogue import catalogue_page
from commerce.views.paying import waiting_lines
from config.kit import access
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.errors import NotVisible
from directory.permissions import Capability
from licensing.operations.assignments import give_back_license
from licensing.operations.workspaces import NAME_LENGTH
from licensing.queries import entitlements
from licensing.queries.workspaces import may_make, own_workspaces
from licensing.views.wording import channel_of, given_through, works_until
from policies.queries.data import data_policy_for, products_off_for
from policies.queries.policies import contact_text
from policies.queries.requests import request_door


@access.public
def home(request: HttpRequest) -> HttpResponse:
    """The app launcher; who is not signed in sees what there is to buy."""
    actor: Actor | None = request.actor  # type: ignore[attr-defined]
    if actor is None:
        return catalogue_page(request)
    at = now()
    tenant = request.tenant  # type: ignore[attr-defined]
    context = {
        "section": "apps",
        "greeting": _greeting(actor, at, tenant.time_zone),
        "apps": app_tiles(actor, tenant.name),
        "admin": admin_tile(actor),
        "needs": entitlements.subscriptions_that_need(actor),
        "offers": offers_to(actor, at),
        "waiting": waiting_lines(actor),
    }
    return render(request, "licensing/home.html", context)


@access.signed_in
def my(request: HttpRequest) -> HttpResponse:
    """Everyone's own pages begin with the licenses."""
    return HttpResponseRedirect(reverse("licensing:my-licenses"))


@access.signed_in
def my_licenses(request: HttpRequest) -> HttpResponse:
    """What the person holds: product, from whom, through which channel, until when."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    rows = [] if actor.is_partner else entitlements.licenses_of(user_id=actor.user_id or 0)
    off = products_off_for(actor=actor, product_ids=[row.product.pk for row in rows])
    context = {
        "section": "licenses",
        "rows": [
            _held(row, actor, request.tenant.name) | {"is_off": row.product.pk in off}  # type: ignore[attr-defined]
            for row in rows
        ],
        "offers": offers_to(actor, now()),
    }
    return render(request, "licensing/my_licenses.html", context)


@access.signed_in
def give_back(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: what happens. POST: the own license is given back."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    rows = [] if actor.is_partner else entitlements.licenses_of(user_id=actor.user_id or 0)
    held = next((row for row in rows if row.subscription.key == key), None)
    if held is None:
        raise NotVisible
    if request.method == "POST":
        give_back_license(actor=actor, subscription_key=key, at=now())
        messages.success(
            request, _("You gave your license of %(product)s back.") % {"product": held.product.name}
        )
        return HttpResponseRedirect(reverse("licensing:my-licenses"))
    others = [row for row in rows if row.product == held.product and row is not held]
    context = {
        "section": "licenses",
        "is_own": held.subscription.is_owned_by(actor),
        "still_has": any(row.subscription.state in ("active", "expired") for row in others),
        **_held(held, actor, request.tenant.name),  # type: ignore[attr-defined]
    }
    return render(request, "licensing/give_back.html", context)


@access.signed_in
def app(request: HttpRequest, slug: str) -> HttpResponse:
    """A product behind the license check and the data policy: its own page, or how to get it (status 403)."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    product = Product.objects.filter(slug=slug).first()
    if product is None:
        raise NotVisible
    tenant = request.tenant  # type: ignore[attr-defined]
    held = (
        None if actor.is_partner else entitlements.entitlement_of(user_id=actor.user_id or 0, product=product)
    )
    policy = data_policy_for(
        actor=actor, product_id=product.pk, user_id=None if actor.is_partner else actor.user_id
    )
    context: dict[str, Any] = {
        "product": product,
        "admin": admin_tile(actor),
        "app_page": True,
        "is_off": not policy.service_on,
    }
    if held is None or not policy.service_on:
        may_buy = (
            actor.may(Capability.BUY) and eligibility_for(actor=actor, product=product, at=now()).is_eligible
        )
        contact = contact_text(actor=actor)
        door = request_door(actor=actor, product_id=product.pk)
        return render(
            request,
            "licensing/app_closed.html",
            context | {"may_buy": may_buy, "contact": contact, "door": door},
            status=403,
        )
    context |= _held(held, actor, tenant.name) | {
        "beside": beside(product, actor),
        "workspaces": own_workspaces(actor, product),
        "may_make": may_make(policy, user_id=actor.user_id or 0, is_entitled=True),
        "may_share": policy.sharing.value,
        "kept_days": policy.retention.value,
        "name_length": NAME_LENGTH,
    }
    return render(request, "licensing/app.html", context)


def admin_tile(actor: Actor) -> dict[str, str] | None:
    """The Admin tile: for purchasers, admins and partners (product §4); None for everybody else."""
    sees_purchases = actor.may(Capability.SEE_PURCHASES)
    sees_licenses = bool(actor.scopes(Capability.SEE_LICENSES) & {"org", "all"})
    if sees_purchases:
        return {"address": reverse("portal:your-products"), "note": _("Licenses and bills")}
    if sees_licenses:
        return {"address": reverse("portal:licenses"), "note": _("Licenses")}
    return None


def app_tiles(actor: Actor, organization: str) -> list[dict[str, Any]]:
    """The launcher's tiles: one for each product that the person may use, by name. Three queries at most."""
    if actor.is_partner or actor.user_id is None:
        return []
    held = entitlements.entitlements_of(user_id=actor.user_id)
    off = products_off_for(actor=actor, product_ids=[each.product.pk for each in held])
    return [_app(each, actor, organization, off) for each in held]


def _app(
    held: entitlements.Entitlement, actor: Actor, organization: str, off: Collection[int]
) -> dict[str, Any]:
    """A tile: who pays for the own one wants its next date, the others where it comes from."""
    subscription = held.subscription
    is_calm = subscription.state == "active" and not subscription.is_owned_by(actor)
    if held.product.pk in off:
        note = _("Switched off by %(organization)s") % {"organization": organization}
    elif is_calm and subscription.channel != "trial":
        note = given_through(subscription, actor.user_id, organization)
    else:
        note = works_until(subscription)
    return {
        "product": held.product,
        "note": note,
        "address": reverse("licensing:app", args=[held.product.slug]),
    }


def _held(held: entitlements.Entitlement, actor: Actor, organization: str) -> dict[str, Any]:
    subscription = held.subscription
    return {
        "product": held.product,
        "subscription": subscription,
        "assignment": held.assignment,
        "channel": channel_of(subscription),
        "through": given_through(subscription, actor.user_id, organization),
        "until": works_until(subscription),
        "opens": subscription.state in ("active", "expired"),
        "zone": subscription.time_zone,
    }


def _greeting(actor: Actor, at: datetime, zone: str) -> str:
    name = actor.label.split()[0] if actor.label.split() else actor.label
    hour = at.astimezone(ZoneInfo(zone)).hour
    if 5 <= hour < 12:
        return _("Good morning, %(name)s") % {"name": name}
    if 12 <= hour < 18:
        return _("Good afternoon, %(name)s") % {"name": name}
    return _("Good evening, %(name)s") % {"name": name}
