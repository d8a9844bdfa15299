"""One request and the ways to answer it: on its own page, and beside the queue (product §7.5)."""

import uuid
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from commerce.models import Product
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import DomainError, Malformed, NotAllowed, NotVisible, Text
from config.kit.tenancy import tenant_atomic
from directory.actors import tenant_row
from directory.permissions import Capability
from licensing.forms import person_ids
from licensing.models import LicenseRequest
from licensing.operations import requests as operations
from licensing.queries import requests as queries
from licensing.views.requests import TONES

CHIPS: dict[str, Text] = {
    "waiting": gettext_lazy("Waiting"),
    "forwarded": gettext_lazy("Forwarded"),
    "approved": gettext_lazy("Approved"),
    "rejected": gettext_lazy("Rejected"),
    "all": gettext_lazy("All"),
}


def crumbs() -> list[tuple[str, str]]:
    return [(_("Requests"), reverse("portal:requests"))]


def decides(actor: Actor) -> bool:
    return actor.may(Capability.GIVE_FREE_SEAT) or actor.may(Capability.ANSWER_WITH_MONEY)


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
    came_from = request.POST.get("from", "")
    address = reverse("portal:request", args=[key])
    if came_from in CHIPS:
        address = f"{reverse('portal:requests')}?{urlencode({'show': came_from})}"
    return HttpResponseRedirect(address, status=HTTPStatus.SEE_OTHER)


def _answer(request: HttpRequest, actor: Actor, key: uuid.UUID, at: datetime) -> str:
    """Do what was pressed; what to say about it."""
    with tenant_atomic(actor):
        queries.request_for(actor, key)
    if not decides(actor):
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
        context = answer_of(request, actor, asked, at, problem=problem)
        context |= {
            "title": asked.product.name,
            "crumbs": crumbs(),
            "history": _history(asked, [each["each"] for each in context["people"]]),
        }
        status = problem.status if problem else HTTPStatus.OK
        return render_page(request, "licensing/request.html", context, status=status)


def answer_of(
    request: HttpRequest,
    actor: Actor,
    asked: LicenseRequest,
    at: datetime,
    *,
    problem: DomainError | None = None,
) -> dict[str, Any]:
    """What `licensing/_request_answer.html` takes: the request, its people, and the ways that the actor has to answer."""
    people = queries.people_of(asked)
    waits = [each for each in people if each.row.state == "waiting"]
    needed = sum(not each.holds for each in waits)
    ways = queries.ways_for(actor, asked, waiting=len(waits), at=at)
    chosen = request.POST.getlist("person") if problem else [str(each.row.user_id) for each in waits]
    is_money = asked.kind == LicenseRequest.Kind.SPENDING
    gives = actor.may(Capability.GIVE_FREE_SEAT)
    may_pay = actor.may(Capability.ANSWER_WITH_MONEY)
    missing = max(1, needed - ways.free)
    return {
        "asked": asked,
        "tone": TONES[LicenseRequest.State(asked.state)],
        "people": [{"each": each, "is_chosen": str(each.row.user_id) in chosen} for each in people],
        "ways": ways,
        "needed": needed,
        "left": max(0, ways.free - needed),
        "has_free": ways.gives and ways.free >= 1,
        "missing": missing,
        "buy": _buying_address(asked.product, missing) if actor.may(Capability.BUY_CENTRALLY) else "",
        "is_open": asked.is_open,
        "may_pay": may_pay,
        "may_reject": asked.is_open and (may_pay or (gives and not is_money)),
        "may_forward": gives and not may_pay and not is_money and asked.state == LicenseRequest.State.WAITING,
        "problem": str(problem) if problem else "",
        "field": problem.field if isinstance(problem, Malformed) else "",
        "message": request.POST.get("message", "") if problem else "",
        "how": request.POST.get("how", ""),
        "zone": tenant_row(actor.tenant_id).time_zone,
    }


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
