"""The organization's own links beside products (product §14)."""

import uuid
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from commerce.models import Product, TrainingLink
from commerce.operations.addresses import LONGEST_URL
from commerce.operations.training import (
    LONGEST_TITLE,
    add_training_link,
    move_training_link,
    remove_training_link,
)
from commerce.queries.training import own_links
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict, DomainError, Malformed, NotVisible
from directory.permissions import Capability


@dataclass(frozen=True, slots=True)
class Typed:
    """The form as it was filled in."""

    product: str = ""
    title: str = ""
    url: str = ""


@access.requires(sees=Capability.EDIT_CONTACT_TEXT)
@require_http_methods(["GET", "HEAD", "POST"])
def training(request: HttpRequest) -> HttpResponse:
    """The links by product. POST: add one, remove one, or move one."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    typed, problem = Typed(product=request.GET.get("product", "")[:100]), None
    if request.method == "POST":
        typed = Typed(**{name: request.POST.get(name, "")[:2000] for name in Typed.__slots__})
        try:
            said = _do(request, actor, typed)
        except (Conflict, Malformed) as refused:
            problem = refused
        else:
            messages.success(request, said)
            return HttpResponseRedirect(reverse("portal:training"), status=HTTPStatus.SEE_OTHER)
    return _page(request, actor, typed, problem)


def _do(request: HttpRequest, actor: Actor, typed: Typed) -> str:
    at = now()
    match request.POST.get("action", ""):
        case "add":
            add_training_link(actor=actor, product=typed.product, title=typed.title, url=typed.url, at=at)
            return _("Added. Your people see it beside the product.")
        case "remove":
            remove_training_link(actor=actor, key=_key(request), at=at)
            return _("Removed. It is shown no more.")
        case "up":
            move_training_link(actor=actor, key=_key(request), direction="up", at=at)
            return _("Moved.")
        case "down":
            move_training_link(actor=actor, key=_key(request), direction="down", at=at)
            return _("Moved.")
    raise Malformed(_("Choose what to do."), field="action")


def _key(request: HttpRequest) -> uuid.UUID:
    try:
        return uuid.UUID(request.POST.get("link", ""))
    except ValueError:
        raise NotVisible from None


def _page(request: HttpRequest, actor: Actor, typed: Typed, problem: DomainError | None) -> HttpResponse:
    links = own_links(actor)
    context = {
        "title": _("Training links"),
        "crumbs": [],
        "rows": [_row(links, place) for place in range(len(links))],
        "products": Product.objects.order_by("name").values_list("slug", "name"),
        "typed": typed,
        "problem": str(problem) if problem else "",
        "field": getattr(problem, "field", ""),
        "longest_title": LONGEST_TITLE,
        "longest_url": LONGEST_URL,
    }
    status = problem.status if problem else HTTPStatus.OK
    return render_page(request, "commerce/training.html", context, status=status)


def _row(links: Any, place: int) -> dict[str, Any]:
    """A link, and whether one of its product stands above or below it."""
    link: TrainingLink = links[place]
    above = links[place - 1].product_id == link.product_id if place else False
    below = links[place + 1].product_id == link.product_id if place + 1 < len(links) else False
    return {"link": link, "above": above, "below": below}
