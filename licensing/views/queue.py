"""The queue of requests for who decides: list, decision of one and of several, the organization's own way (product §7.5)."""

import uuid
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_http_methods, require_safe

from commerce.models import Product
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import DomainError, Malformed, NotAllowed, NotVisible, Text
from config.kit.keyset import shown_count
from config.kit.tenancy import tenant_atomic
from directory.actors import tenant_row
from directory.permissions import Capability
from licensing.forms import person_ids
from licensing.models import LicenseRequest
from licensing.operations import requests as operations
from licensing.queries import requests as queries
from licensing.views.requests import TONES
from policies.operations.requests import set_request_process
from policies.queries.requests import request_process

MOST_AT_ONCE = 50
CHIPS: dict[str, Text] = {
    "waiting": gettext_lazy("Waiting"),
    "forwarded": gettext_lazy("Forwarded"),
    "approved": gettext_lazy("Approved"),
    "rejected": gettext_lazy("Rejected"),
    "all": gettext_lazy("All"),
}


def _crumbs() -> list[tuple[str, str]]:
    return [(_("Requests"), reverse("portal:requests"))]


def _decides(actor: Actor) -> bool:
    return actor.may(Capability.GIVE_FREE_SEAT) or actor.may(Capability.ANSWER_WITH_MONEY)


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
    context = {
        "title": _("Requests"),
        "rows": [{"each": row, "tone": TONES[LicenseRequest.State(row.request.state)]} for row in page.rows],
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
        "products": Product.objects.order_by("name"),
        "may_decide": show in ("waiting", "forwarded") and actor.may(Capability.GIVE_FREE_SEAT),
        "sees_settings": actor.may(Capability.SEE_SETTINGS),
        "process": request_process(actor=actor),
        "next": f"?{urlencode(kept | {'page': page.next})}" if page.next else "",
        "back": f"?{urlencode(kept | {'page': page.back})}" if page.back else "",
        "zone": request.tenant.time_zone,  # type: ignore[attr-defined]
    }
    return render_page(request, "licensing/requests.html", context)


@access.requires(sees=Capability.SEE_QUEUE)
@require_safe
def waiting(request: HttpRequest) -> HttpResponse:
    """The number for the menu, asked for once a page is there."""
    count = queries.waiting_count(request.actor)  # type: ignore[attr-defined]
    return render(request, "licensing/_waiting.html", {"count": shown_count(count) if count else ""})


# --- One request ----------------------------------------------------------------------------------------------------


@access.requires(sees=Capability.SEE_QUEUE, owns_transaction=True)
@require_http_methods(["GET", "HEAD", "POST"])
def request_page(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """What was asked, for whom and why, what it costs, and the ways to answer. POST: one of them."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    if request.method != "POST":
        return _request_page(request, actor, key, at)
    try:
        said = _answer(request, actor, key, at)
    except (NotVisible, NotAllowed):
        raise
    except DomainError as problem:
        return _request_page(request, actor, key, at, problem=problem)
    messages.success(request, said)
    return HttpResponseRedirect(reverse("portal:request", args=[key]), status=HTTPStatus.SEE_OTHER)


def _answer(request: HttpRequest, actor: Actor, key: uuid.UUID, at: datetime) -> str:
    """Do what was pressed; what to say about it."""
    with tenant_atomic(actor):
        queries.request_for(actor, key)
    if not _decides(actor):
        raise NotAllowed
    action, how = request.POST.get("action", ""), request.POST.get("how", "")
    message = request.POST.get("message", "")
    if action == "reject":
        ids = person_ids(request.POST.getlist("person"))
        operations.reject_request(actor=actor, key=key, user_ids=ids, message=message, at=at)
        return _("Rejected. The requester gets a mail with your message.")
    if action == "forward":
        operations.forward_request(actor=actor, key=key, at=at)
        return _("Forwarded to the billing and global admins.")
    if action == "answer" and how == "seats":
        ids = person_ids(request.POST.getlist("person"))
        operations.approve_request(actor=actor, key=key, user_ids=ids, message=message, at=at)
        return _("Assigned. Everybody who got a license gets a mail.")
    if action == "answer" and how == "spending":
        operations.approve_spending(actor=actor, key=key, message=message, at=at)
        return _("Approved. The purchase can be made once within 14 days; nothing was charged.")
    if action == "answer" and how == "policy":
        operations.allow_product(actor=actor, key=key, message=message, at=at)
        return _("The product is allowed from now on. Nothing was charged.")
    raise Malformed(_("Choose how to answer."), field="how")


def _request_page(
    request: HttpRequest, actor: Actor, key: uuid.UUID, at: datetime, *, problem: DomainError | None = None
) -> HttpResponse:
    with tenant_atomic(actor):
        asked = queries.request_for(actor, key)
        people = queries.people_of(asked)
        waits = [each for each in people if each.row.state == "waiting"]
        needed = sum(not each.holds for each in waits)
        ways = queries.ways_for(actor, asked, waiting=len(waits), at=at)
        chosen = request.POST.getlist("person") if problem else [str(each.row.user_id) for each in waits]
        is_money = asked.kind == LicenseRequest.Kind.SPENDING
        gives = actor.may(Capability.GIVE_FREE_SEAT)
        may_pay = actor.may(Capability.ANSWER_WITH_MONEY)
        context: dict[str, Any] = {
            "title": asked.product.name,
            "crumbs": _crumbs(),
            "asked": asked,
            "tone": TONES[LicenseRequest.State(asked.state)],
            "people": [{"each": each, "is_chosen": str(each.row.user_id) in chosen} for each in people],
            "ways": ways,
            "needed": needed,
            "left": max(0, ways.free - needed),
            "has_free": ways.gives and ways.free >= 1,
            "is_open": asked.is_open,
            "may_pay": may_pay,
            "may_reject": asked.is_open and (may_pay or (gives and not is_money)),
            "may_forward": gives
            and not may_pay
            and not is_money
            and asked.state == LicenseRequest.State.WAITING,
            "history": _history(asked, people),
            "problem": str(problem) if problem else "",
            "field": problem.field if isinstance(problem, Malformed) else "",
            "message": request.POST.get("message", "") if problem else "",
            "how": request.POST.get("how", ""),
            "buy": _buying_address(asked.product, max(1, needed - ways.free))
            if actor.may(Capability.BUY_CENTRALLY)
            else "",
            "zone": tenant_row(actor.tenant_id).time_zone,
        }
        status = problem.status if problem else HTTPStatus.OK
        return render_page(request, "licensing/request.html", context, status=status)


def _buying_address(product: Product, quantity: int) -> str:
    """The page that buys so many licenses of a product for the organization."""
    return f"{reverse('portal:buy-centrally')}?{urlencode({'product': product.slug, 'quantity': quantity})}"


def _history(asked: LicenseRequest, people: list[queries.Person]) -> list[dict[str, Any]]:
    """What happened, the latest first."""
    entries = [{"at": asked.asked_at, "by": asked.requester.name, "what": _("Asked")}]
    if asked.forwarded_at:
        entries.append(
            {
                "at": asked.forwarded_at,
                "by": asked.forwarded_by,
                "what": _("Forwarded to the billing and global admins"),
            }
        )
    entries += [
        {
            "at": each.row.decided_at,
            "by": each.row.decided_by or "Seatkeeper",
            "what": f"{each.row.user.name}: {each.row.get_state_display()}",
        }
        for each in people
        if each.row.decided_at
    ]
    return sorted(entries, key=lambda entry: entry["at"], reverse=True)


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
        "crumbs": _crumbs(),
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
        "crumbs": _crumbs(),
        "errors": errors,
        "problem": next(iter(errors.values()), ""),
        "may_change": actor.may(Capability.MANAGE_SETTINGS),
        **values,
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if errors else HTTPStatus.OK
    return render_page(request, "licensing/requests_settings.html", context, status=status)
