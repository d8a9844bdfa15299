"""Asking for licenses and following it, and deciding by the link of a mail (product §7.5)."""

import uuid
from dataclasses import replace
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from commerce.models import Checkout, Product
from commerce.queries.checkouts import checkout_of
from commerce.queries.sites import WayBack, way_back
from commerce.queries.standing import standing_of
from config.kit import access
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.errors import DomainError, Malformed, NotAllowed, NotVisible
from config.kit.rate import MAIL_LINKS, client_network
from config.kit.tenancy import tenant_atomic
from directory.actors import build_actor, tenant_row
from directory.models import Tenant, User
from directory.permissions import Capability, suspended
from directory.views.accounts import ORGANIZATION, named_elsewhere
from licensing.forms import UNREADABLE, person_ids
from licensing.lists import Unreadable, read_pasted
from licensing.models import LicenseRequest
from licensing.operations import requests as operations
from licensing.operations.request_notices import NoSuchDecisionLink, read_decision_link
from licensing.queries import holders
from licensing.queries import requests as queries
from policies.queries.policies import contact_text
from policies.queries.requests import request_door

TONES = {
    LicenseRequest.State.WAITING: "sk-info",
    LicenseRequest.State.FORWARDED: "sk-info",
    LicenseRequest.State.APPROVED: "sk-ok",
    LicenseRequest.State.PARTLY: "sk-warn",
    LicenseRequest.State.REJECTED: "sk-bad",
    LicenseRequest.State.LAPSED: "",
    LicenseRequest.State.WITHDRAWN: "",
}


# --- /my/requests/ --------------------------------------------------------------------------------------------------


@access.requires(sees=Capability.REQUEST_LICENSE)
@require_safe
def own_requests(request: HttpRequest) -> HttpResponse:
    """What the person asked for, or was asked for, and what became of it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    page = queries.own_page(actor, cursor=request.GET.get("page", ""))
    context = {
        "section": "requests",
        "rows": [
            {
                "request": row,
                "people": list(row.people.all()),
                "tone": TONES[LicenseRequest.State(row.state)],
                "is_own": row.requester_id == actor.user_id,
            }
            for row in page.rows
        ],
        "came_from": _came_from(request),
        "next": _turn(page.next),
        "back": _turn(page.back),
        "zone": request.tenant.time_zone,  # type: ignore[attr-defined]
    }
    return render(request, "licensing/my_requests.html", context)


def _came_from(request: HttpRequest) -> WayBack | None:
    """Where the product runs from which the person came to ask for a license of it."""
    slug, address = request.GET.get("product", ""), request.GET.get("return", "")
    product = Product.objects.filter(slug=slug).first() if slug and address and "\0" not in slug else None
    return way_back(product, address) if product else None


@access.requires(sees=Capability.REQUEST_LICENSE)
@require_POST
def withdraw(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """Take an open request back."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    try:
        operations.withdraw_request(actor=actor, key=key, at=now())
    except operations.RequestOver as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, _("You withdrew the request. Nobody is asked any more."))
    return HttpResponseRedirect(reverse("licensing:requests"), status=HTTPStatus.SEE_OTHER)


# --- /my/requests/ask/<slug>/ ---------------------------------------------------------------------------------------


@access.requires(sees=Capability.REQUEST_LICENSE)
@require_http_methods(["GET", "HEAD", "POST"])
def ask(request: HttpRequest, slug: str) -> HttpResponse:
    """A license for oneself and others; with `checkout`, leave to make that purchase."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    product = Product.objects.filter(slug=slug).first()
    if product is None:
        raise NotVisible
    back = way_back(product, request.GET.get("return", ""))
    if elsewhere := named_elsewhere(request, _way_here(request, back)):
        return elsewhere
    checkout = _checkout(request, actor, slug)
    if request.method != "POST":
        return _ask_page(request, product, checkout, back)
    try:
        asked = _ask(request, actor, product, checkout)
    except (NotVisible, NotAllowed):
        raise
    except DomainError as problem:
        return _ask_page(request, product, checkout, back, problem=problem)
    if not asked.is_new:
        messages.info(request, _("You asked for this before, and it still waits. Nothing was sent again."))
    elif asked.left_out:
        messages.success(
            request, _("Your request was sent, without those who have a license or an open request.")
        )
    else:
        messages.success(request, _("Your request was sent. You get a mail when it is decided."))
    way_on = f"?{urlencode({'product': slug, 'return': back.address})}" if back else ""
    return HttpResponseRedirect(reverse("licensing:requests") + way_on, status=HTTPStatus.SEE_OTHER)


def _way_here(request: HttpRequest, back: WayBack | None) -> str:
    """This address with what a product's prompt says in it, to come back to."""
    asked = {ORGANIZATION: request.GET.get(ORGANIZATION, "")[:254], "return": back.address if back else ""}
    return f"{request.path}?{urlencode({name: value for name, value in asked.items() if value})}"


def _checkout(request: HttpRequest, actor: Actor, slug: str) -> Checkout | None:
    """The purchase that is asked about. :raises NotVisible: it is not the person's."""
    text = (request.POST if request.method == "POST" else request.GET).get("checkout", "")
    if not text:
        return None
    try:
        return checkout_of(actor=actor, key=uuid.UUID(text), slug=slug)
    except ValueError:
        raise NotVisible from None


def _ask(request: HttpRequest, actor: Actor, product: Product, checkout: Checkout | None) -> operations.Asked:
    reason = request.POST.get("reason", "")
    if checkout is not None:
        return operations.ask_for_approval(
            actor=actor, slug=product.slug, checkout=checkout.key, reason=reason, at=now()
        )
    user_ids = _named(actor, request.POST.get("people", ""))
    if request.POST.get("me") == "yes" and actor.user_id is not None:
        user_ids = [actor.user_id, *user_ids]
    return operations.ask_for_licenses(
        actor=actor, product=product, user_ids=user_ids, reason=reason, at=now()
    )


def _named(actor: Actor, text: str) -> list[int]:
    """The people of a typed list. :raises Malformed: unreadable, or a line that names nobody for certain."""
    if not text.strip():
        return []
    try:
        found = read_pasted(text)
    except Unreadable as refusal:
        raise Malformed(UNREADABLE[refusal.reason], field="people") from None
    return holders.named_ids(actor.tenant_id, found.rows, found.bad)


def _ask_page(
    request: HttpRequest,
    product: Product,
    checkout: Checkout | None,
    back: WayBack | None,
    *,
    problem: DomainError | None = None,
) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    field = problem.field if isinstance(problem, Malformed) else ""
    typed = request.POST
    standing = standing_of(actor=actor, product=product)
    context: dict[str, Any] = {
        "section": "requests",
        "product": product,
        "checkout": checkout,
        "standing": standing,
        "door": request_door(actor=actor, needs_money=checkout is not None, product_id=product.pk),
        "contact": contact_text(actor=actor),
        "free": queries.free_seats(tenant_id=actor.tenant_id, product_ids=[product.pk]).get(product.pk, 0),
        "estimate": queries.estimate_of(actor=actor, product=product, seats=1, at=now()),
        "reason": typed.get("reason", ""),
        "people": typed.get("people", ""),
        "me": typed.get("me") == "yes" or not problem,
        "problem": str(problem) if problem else "",
        "field": field,
        "back": back,
        "lives": operations.LIVES.days,
    }
    return render(request, "licensing/ask.html", context, status=problem.status if problem else HTTPStatus.OK)


def _turn(cursor: str) -> str:
    return f"?{urlencode({'page': cursor})}" if cursor else ""


# --- The link of a mail ---------------------------------------------------------------------------------------------


@access.public(owns_transaction=True)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def decide_by_link(request: HttpRequest, token: str) -> HttpResponse:
    """GET: what would happen, with the buttons; a link never acts. POST: a free license for all, or a rejection.

    The token is the right, of one admin for one request for seven days, while that admin still has it. Nothing that
    costs money is decided here.
    """
    MAIL_LINKS.count(client_network(request))
    at = now()
    link = read_decision_link(token, at)
    with tenant_atomic(link.tenant_id):
        actor, tenant = _decider(link.tenant_id, link.user_id)
        asked = queries.request_for(actor, link.request)
        people = [each for each in queries.people_of(asked) if each.row.state == "waiting"]
        free = queries.free_seats(tenant_id=tenant.pk, product_ids=[asked.product_id]).get(
            asked.product_id, 0
        )
    problem: DomainError | None = None
    done = ""
    if request.method == "POST":
        try:
            done = _decide(request, actor, asked.key)
        except DomainError as refused:
            problem = refused
    context = {
        "asked": asked,
        "people": people,
        "needed": sum(not each.holds for each in people),
        "free": free,
        "organization": tenant.name,
        "zone": tenant.time_zone,
        "by": actor.label,
        "done": done,
        "problem": str(problem) if problem else "",
        "field": problem.field if isinstance(problem, Malformed) else "",
        "message": request.POST.get("message", ""),
    }
    return render(
        request, "licensing/decide.html", context, status=problem.status if problem else HTTPStatus.OK
    )


def _decider(tenant_id: int, user_id: int) -> tuple[Actor, Tenant]:
    """:raises NoSuchDecisionLink: the person left, or may give no licenses any more."""
    user = User.objects.active().filter(tenant_id=tenant_id, pk=user_id).first()
    actor = build_actor(user, acting_tenant_id=tenant_id, at=now()) if user else None
    tenant = tenant_row(tenant_id)
    if actor is not None and tenant.standing != Tenant.Standing.GOOD:
        actor = replace(actor, grants=suspended(actor.grants))
    if actor is None or not actor.may(Capability.GIVE_FREE_SEAT):
        raise NoSuchDecisionLink
    return actor, tenant


def _decide(request: HttpRequest, actor: Actor, key: uuid.UUID) -> str:
    message = request.POST.get("message", "")
    user_ids = person_ids(request.POST.getlist("person"))
    if request.POST.get("action") == "approve":
        operations.approve_request(actor=actor, key=key, user_ids=user_ids, message=message, at=now())
        return "approved"
    if request.POST.get("action") == "reject":
        operations.reject_request(actor=actor, key=key, user_ids=user_ids, message=message, at=now())
        return "rejected"
    raise Malformed(_("Choose what to decide."), field="action")
