"""What the script of `/embed/v1.js` draws on the pages of products (product §3.1, docs/embed.md, docs/adr/0045).

Read alone: nothing is changed here, whoever asks. A page learns something only if its origin is registered for the
product, or is the portal's own. Who it is about says the prompt token, else the session, which a browser sends along
from the same site alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from commerce.models import Product
from commerce.queries.catalogue import named_product
from commerce.queries.sites import may_embed, site_of
from config.kit import access
from config.kit.actors import Actor
from config.kit.clock import now, real_now
from config.kit.errors import NotVisible
from config.kit.rate import Limit, client_network
from config.kit.templatetags.kit import tile_colour, tile_letters
from config.kit.tenancy import tenant_atomic
from directory.actors import build_actor, tenant_row
from directory.models import Domain, Tenant, User
from directory.permissions import suspended
from directory.queries import account_at
from directory.views.accounts import ORGANIZATION
from licensing.operations.prompts import PromptTokenOver, read_prompt_token
from licensing.queries.prompts import NOTHING_SAID, Prompt, prompt_for, prompt_for_anybody
from licensing.views.apps import admin_tile, app_tiles

# Many people of one network open a product at nine in the morning.
ASKED = Limit("embed", tries=3_000, per=timedelta(minutes=1), fails_closed=False)


class _Nobody(Exception):
    """An account is named that there is not, or not for this person: nothing of it is told."""


@csrf_exempt
@require_POST
@access.public(owns_transaction=True)
def prompt(request: HttpRequest) -> HttpResponse:
    """Buy, Request a license, Contact your admin, or nothing for whoever has a license."""
    return _answer(request, _prompt)


@csrf_exempt
@require_POST
@access.public(owns_transaction=True)
def launcher(request: HttpRequest) -> HttpResponse:
    """The apps of the person, and the Admin tile where it is theirs."""
    return _answer(request, _launcher)


def _answer(request: HttpRequest, draw: Callable[[HttpRequest, Product], dict[str, Any]]) -> HttpResponse:
    """:raises NotVisible: no such product, or a page of an origin that is not registered for it."""
    ASKED.count(client_network(request))
    product = named_product(request.POST.get("product", ""))
    origin = request.headers.get("Origin", "")
    if not may_embed(product, origin):
        raise NotVisible
    try:
        response = JsonResponse(draw(request, product))
    except PromptTokenOver as over:
        response = JsonResponse({"state": "expired"}, status=over.status)
    response["Access-Control-Allow-Origin"] = origin
    if not request.POST.get("token"):
        response["Access-Control-Allow-Credentials"] = "true"
    patch_vary_headers(response, ("Origin",))
    return response


def _account(request: HttpRequest, product: Product) -> tuple[int, int] | None:
    """Tenant and account that it is about; None for somebody who is not known yet.

    :raises PromptTokenOver: the token is not good. :raises _Nobody: no account of theirs in the organization named.
    """
    token = request.POST.get("token", "")
    if token:
        return read_prompt_token(token, product=product, real_at=real_now())
    if request.actor is None:  # type: ignore[attr-defined]
        return None
    user: User = request.user  # type: ignore[assignment]
    domain = request.POST.get(ORGANIZATION, "")
    if not domain:
        return user.tenant_id, user.pk
    named = account_at(domain[:254], issuer=user.issuer, subject=user.subject)
    if named is None:
        raise _Nobody
    return named.tenant_id, named.user_id


def _actor(tenant_id: int, user_id: int, at: datetime) -> tuple[Actor, Tenant]:
    """The person with the rights of now; inside the tenant. :raises _Nobody: not active there."""
    user = User.objects.active().filter(pk=user_id, tenant_id=tenant_id).first()
    actor = build_actor(user, acting_tenant_id=tenant_id, at=at, door="api") if user else None
    if actor is None:
        raise _Nobody
    tenant = tenant_row(tenant_id)
    if tenant.standing == Tenant.Standing.SUSPENDED:
        actor = replace(actor, grants=suspended(actor.grants))
    return actor, tenant


# --- The prompt ---------------------------------------------------------------------------------------------


def _prompt(request: HttpRequest, product: Product) -> dict[str, Any]:
    at, name, named = now(), "", request.POST.get(ORGANIZATION, "")[:254]
    try:
        account = _account(request, product)
        if account is None:
            found = prompt_for_anybody(product)
        else:
            with tenant_atomic(account[0]):
                actor, tenant = _actor(*account, at)
                found, name = prompt_for(actor=actor, product=product, at=at), tenant.name
                if request.POST.get("token"):
                    named = _domain_of(tenant)
    except _Nobody:
        found, named = NOTHING_SAID, ""
    asked = {"return": _back(request, product), ORGANIZATION: named}
    return {
        "state": found.state,
        "title": _("You have no license of %(name)s") % {"name": product.name},
        "text": _text(found, is_known=bool(name)),
        "organization": name,
        "tile": _tile(product),
        "links": [] if found.state == "licensed" else _links(found, product, asked),
    }


def _text(found: Prompt, *, is_known: bool) -> str:
    if found.state == "buy" and is_known:
        return _("Buy it with a card and open it at once.")
    if found.state == "buy":
        return _("Buy it with a card. Your work e-mail comes first.")
    if found.door.has_own_way and found.door.process.text:
        return found.door.process.text
    if found.contact.text:
        return found.contact.text
    if found.state == "request":
        return _("Ask here: those who decide get a mail, and you get one with the answer.")
    return _("Contact your admin: they can assign a license to you.")


def _links(found: Prompt, product: Product, asked: Mapping[str, str]) -> list[dict[str, Any]]:
    """What can be done next, the first as the main button."""
    process, links = found.door.process, []
    if found.state == "buy":
        label = _("Buy %(name)s") % {"name": product.name}
        links.append((label, _portal("commerce:buy", product.slug, query=asked)))
    elif found.state == "request":
        links.append((_("Request a license"), _portal("licensing:request", product.slug, query=asked)))
    elif found.door.has_own_way and process.url:
        links.append((_("Ask for a license"), process.url))
    if found.state != "buy" and found.contact.url:
        links.append((_("Contact your admin"), found.contact.url))
    links.append((_("See what it does"), _portal("commerce:product", product.slug)))
    return [{"label": label, "href": href} for label, href in links]


def _back(request: HttpRequest, product: Product) -> str:
    address = request.POST.get("return", "")
    return address if site_of(product, address) else ""


def _domain_of(tenant: Tenant) -> str:
    """By which a link names the organization; empty where it has proved none."""
    proved = Domain.objects.filter(tenant=tenant, verified_at__isnull=False).order_by("pk")
    return proved.values_list("name", flat=True).first() or ""


def _portal(name: str, *args: str, query: Mapping[str, str] | None = None) -> str:
    """An address of the portal, whole, since it stands on pages of others."""
    kept = {key: value for key, value in (query or {}).items() if value}
    return f"{settings.PUBLIC_URL}{reverse(name, args=args)}" + (f"?{urlencode(kept)}" if kept else "")


def _tile(product: Product) -> dict[str, str]:
    colour = tile_colour(product.category).removeprefix("sk-")
    return {"letters": tile_letters(product.name), "colour": colour}


# --- The launcher -------------------------------------------------------------------------------------------


def _launcher(request: HttpRequest, product: Product) -> dict[str, Any]:
    at, tiles, admin = now(), [], None
    try:
        account = _account(request, product)
        if account is not None:
            with tenant_atomic(account[0]):
                actor, tenant = _actor(*account, at)
                tiles, admin = app_tiles(actor, tenant.name), admin_tile(actor)
        state = "known" if account else "unknown"
    except _Nobody:
        state = "unknown"
    is_known = state == "known"
    return {
        "state": state,
        "label": _("My apps"),
        "tiles": [
            {
                "name": each["product"].name,
                "note": each["note"],
                "href": f"{settings.PUBLIC_URL}{each['address']}",
                **_tile(each["product"]),
            }
            for each in tiles
        ],
        "admin": admin
        and {
            "name": _("Admin"),
            "note": admin["note"],
            "href": f"{settings.PUBLIC_URL}{admin['address']}",
        },
        "empty": ""
        if tiles
        else _("No apps yet. What you hold a license of opens from here.")
        if is_known
        else "",
        "all": {
            "label": _("All apps") if is_known else _("Sign in"),
            "href": _portal("licensing:home") if is_known else _portal("directory:sign-in"),
        },
    }
