"""The partner's page of its solutions (product §12)."""

import uuid
from dataclasses import dataclass
from http import HTTPStatus

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from commerce.models import Product
from commerce.operations.addresses import LONGEST_URL
from commerce.operations.solutions import (
    LONGEST_DESCRIPTION,
    LONGEST_TITLE,
    may_publish,
    send_in_solution,
    withdraw_solution,
)
from commerce.queries.solutions import solutions_made
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
    description: str = ""
    url: str = ""


@access.requires(sees=Capability.ASK_RELATIONSHIP)
@require_http_methods(["GET", "HEAD", "POST"])
def solutions(request: HttpRequest) -> HttpResponse:
    """What the partner offers beside products. POST: send in another one."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if not may_publish(actor):
        raise NotVisible
    typed, problem = Typed(), None
    if request.method == "POST":
        typed = Typed(**{name: request.POST.get(name, "")[:2000] for name in Typed.__slots__})
        try:
            send_in_solution(
                actor=actor,
                product=typed.product,
                title=typed.title,
                description=typed.description,
                url=typed.url,
                at=now(),
            )
        except (Conflict, Malformed) as refused:
            problem = refused
        else:
            messages.success(request, _("Sent in. It is shown once the vendor has approved it."))
            return HttpResponseRedirect(reverse("portal:solutions"), status=HTTPStatus.SEE_OTHER)
    return _page(request, actor, typed, problem)


@access.requires(sees=Capability.ASK_RELATIONSHIP)
@require_POST
def withdraw(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """Take a solution back."""
    withdraw_solution(actor=request.actor, key=key, at=now())  # type: ignore[attr-defined]
    messages.success(request, _("Withdrawn. It is shown no more."))
    return HttpResponseRedirect(reverse("portal:solutions"), status=HTTPStatus.SEE_OTHER)


def _page(request: HttpRequest, actor: Actor, typed: Typed, problem: DomainError | None) -> HttpResponse:
    context = {
        "title": _("Solutions"),
        "crumbs": [(_("Customers"), reverse("portal:customers"))],
        "rows": solutions_made(actor),
        "products": Product.objects.order_by("name").values_list("slug", "name"),
        "typed": typed,
        "problem": str(problem) if problem else "",
        "field": getattr(problem, "field", ""),
        "longest_title": LONGEST_TITLE,
        "longest_description": LONGEST_DESCRIPTION,
        "longest_url": LONGEST_URL,
    }
    status = problem.status if problem else HTTPStatus.OK
    return render_page(request, "commerce/solutions.html", context, status=status)
