"""The queue of requests for who decides: list, decision of one and of several, the organization's own way (product §7.5)."""

import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_safe

from commerce.models import Product
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import DomainError, Malformed, NotAllowed
from config.kit.keyset import shown_count
from config.kit.tenancy import tenant_atomic
from directory.permissions import Capability
from licensing.models import LicenseRequest
from licensing.operations import requests as operations
from licensing.queries import requests as queries
from licensing.views.answering import CHIPS, answer_of, crumbs
from licensing.views.requests import TONES
from policies.operations.requests import set_request_process
from policies.queries.requests import request_process

MOST_AT_ONCE = 50
# --- The list -------------------------------------------------------------------------------------------------------


@access.requires(sees=Capability.SEE_QUEUE)
@require_safe
def requests(request: HttpRequest) -> HttpResponse:
    """Who asked for which product; what waits comes first."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    show = request.GET.get("show", "waiting")
    if show not in CHIPS:
        raise Malformed(_("There is no such filter."), field="show")
    slug = request.GET.get("product", "")
    product = Product.objects.filter(slug=slug).first() if slug and "\0" not in slug else None
    page = queries.queue_page(
        actor, show=show, product_id=product.pk if product else None, cursor=request.GET.get("page", "")
    )
    kept = {"show": show} | ({"product": product.slug} if product else {})
    here = kept | ({"page": request.GET["page"]} if request.GET.get("page") else {})
    opened = next((row.request for row in page.rows if str(row.request.key) == request.GET.get("open")), None)
    context = {
        "title": _("Requests"),
        "rows": [
            {
                "each": row,
                "tone": TONES[LicenseRequest.State(row.request.state)],
                "address": f"?{urlencode(here | {'open': row.request.key})}#panel",
            }
            for row in page.rows
        ],
        "shows_status": show in ("waiting", "all") and opened is None,
        "chips": [
            {
                "label": label,
                "address": f"?{urlencode(kept | {'show': code})}",
                "is_current": code == show,
                "count": shown_count(queries.waiting_count(actor)) if code == "waiting" else "",
            }
            for code, label in CHIPS.items()
        ],
        "show": show,
        "product": product,
        "products": Product.objects.filter(
            Q(pk__in=LicenseRequest.objects.visible_to(actor).values("product_id"))
            | Q(pk=product.pk if product else None)
        ).order_by("name"),
        "may_decide": show in ("waiting", "forwarded") and actor.may(Capability.GIVE_FREE_SEAT),
        "sees_settings": actor.may(Capability.SEE_SETTINGS),
        "process": request_process(actor=actor),
        "next": f"?{urlencode(kept | {'page': page.next})}" if page.next else "",
        "back": f"?{urlencode(kept | {'page': page.back})}" if page.back else "",
        "zone": request.tenant.time_zone,  # type: ignore[attr-defined]
    }
    if opened is not None:
        context |= answer_of(request, actor, opened, now())
    return render_page(request, "licensing/requests.html", context)


@access.requires(sees=Capability.SEE_QUEUE)
@require_safe
def waiting(request: HttpRequest) -> HttpResponse:
    """The number for the menu, asked for once a page is there."""
    count = queries.waiting_count(request.actor)  # type: ignore[attr-defined]
    return render(request, "licensing/_waiting.html", {"count": shown_count(count) if count else ""})


# --- Several at once ------------------------------------------------------------------------------------------------


@access.requires(sees=Capability.SEE_QUEUE, owns_transaction=True)
@require_http_methods(["GET", "HEAD", "POST"])
def decide_several(request: HttpRequest) -> HttpResponse:
    """GET with the requests ticked: what would happen to each. POST: each is decided for itself."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    values = request.POST if request.method == "POST" else request.GET
    keys = _keys(values.getlist("request"))
    action = "reject" if values.get("action") == "reject" else "approve"
    with tenant_atomic(actor):
        rows = queries.requests_by_key(actor, keys)
    if rows and not actor.may(Capability.GIVE_FREE_SEAT):
        raise NotAllowed
    if not rows:
        messages.warning(request, _("Tick at least one request that waits. Nothing was changed."))
        return HttpResponseRedirect(reverse("portal:requests"), status=HTTPStatus.SEE_OTHER)
    message, problem = values.get("message", ""), ""
    if request.method == "POST" and action == "reject" and not message.strip():
        problem = _("Say why, so that they know what to do. Nothing was changed.")
    elif request.method == "POST":
        _decide_each(request, actor, rows, action, message)
        return HttpResponseRedirect(reverse("portal:requests"), status=HTTPStatus.SEE_OTHER)
    context = {
        "title": _("Approve requests") if action == "approve" else _("Reject requests"),
        "crumbs": crumbs(),
        "rows": rows,
        "action": action,
        "message": message,
        "problem": problem,
    }
    with tenant_atomic(actor):
        status = HTTPStatus.UNPROCESSABLE_ENTITY if problem else HTTPStatus.OK
        return render_page(request, "licensing/requests_decide.html", context, status=status)


def _decide_each(
    request: HttpRequest, actor: Actor, rows: list[queries.Row], action: str, message: str
) -> None:
    """Each in a transaction of its own: what cannot be decided leaves the rest."""
    decide: Callable[..., LicenseRequest] = (
        operations.approve_request if action == "approve" else operations.reject_request
    )
    done = 0
    for row in rows:
        try:
            decide(actor=actor, key=row.request.key, message=message, at=now())
        except DomainError as refused:
            who = row.request.requester.name
            messages.error(request, f"{who}, {row.request.product.name}: {refused}")
        else:
            done += 1
    if done:
        messages.success(
            request, ngettext("%(n)d request decided.", "%(n)d requests decided.", done) % {"n": done}
        )


def _keys(values: list[str]) -> list[uuid.UUID]:
    """:raises Malformed: no keys, or too many."""
    if len(values) > MOST_AT_ONCE:
        raise Malformed(_("Decide about up to 50 requests at a time."), field="request")
    try:
        return [uuid.UUID(value) for value in values]
    except ValueError:
        raise Malformed(_("Choose requests from the list."), field="request") from None


# --- The organization's own way -------------------------------------------------------------------------------------


@access.requires(sees=Capability.SEE_SETTINGS)
@require_http_methods(["GET", "HEAD", "POST"])
def settings_page(request: HttpRequest) -> HttpResponse:
    """Take requests here, or show the organization's own message and link instead."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    process = request_process(actor=actor)
    values: dict[str, Any] = {"is_on": process.is_on, "text": process.text, "url": process.url}
    errors: dict[str, str] = {}
    if request.method == "POST":
        values = {
            "is_on": request.POST.get("queue", "on") == "on",
            "text": request.POST.get("text", ""),
            "url": request.POST.get("url", ""),
        }
        try:
            set_request_process(actor=actor, at=now(), **values)
        except Malformed as refused:
            errors[refused.field] = str(refused)
        else:
            messages.success(request, _("Saved."))
            return HttpResponseRedirect(reverse("portal:requests-settings"), status=HTTPStatus.SEE_OTHER)
    context = {
        "title": _("How people ask"),
        "crumbs": crumbs(),
        "errors": errors,
        "problem": next(iter(errors.values()), ""),
        "may_change": actor.may(Capability.MANAGE_SETTINGS),
        **values,
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if errors else HTTPStatus.OK
    return render_page(request, "licensing/requests_settings.html", context, status=status)
