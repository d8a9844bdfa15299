"""Taking licenses back from everybody on a pasted list or in a CSV file (product §7.3)."""

import uuid
from datetime import datetime

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from commerce.models import Subscription
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import DomainError, Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.permissions import Capability
from licensing.forms import read_choice
from licensing.operations.assignments import BATCH_LIMIT, AssignmentResult, unassign_licenses
from licensing.queries import holders
from licensing.views.assigning import (
    LICENSES,
    PRODUCTS,
    Area,
    Line,
    keep_lines,
    kept_lines,
    lines_of,
    shown,
    start_job,
)


@access.requires(sees=Capability.SEE_PURCHASES, may=Capability.ASSIGN, owns_transaction=True)
def unassign_list(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """Take licenses of a purchase back from a list of people."""
    return _unassign_list(request, key, PRODUCTS)


@access.requires(sees=Capability.SEE_LICENSES, owns_transaction=True)
def license_unassign_list(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """The same for who sees licenses without prices."""
    return _unassign_list(request, key, LICENSES)


def _unassign_list(request: HttpRequest, key: uuid.UUID, area: Area) -> HttpResponse:
    """GET: the page. POST: take back at once, or as a job where the list is long, and say who had none.

    What is done is a transaction of its own, as in assigning.
    """
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if request.method == "POST":
        try:
            return _post(request, actor, key, area, at=now())
        except (NotVisible, NotAllowed):
            raise
        except DomainError as problem:
            with tenant_atomic(actor):
                return _page(
                    request,
                    holders.subscription_for(actor, key, to_see=area.to_see, to_assign=True),
                    area,
                    pasted=request.POST.get("people", "")[:100_000],
                    problem=str(problem),
                    field=problem.field if isinstance(problem, Malformed) else "",
                    status=problem.status,
                )
    with tenant_atomic(actor):
        subscription = holders.subscription_for(actor, key, to_see=area.to_see, to_assign=True)
        return _page(request, subscription, area, lines=kept_lines(request))


def _post(request: HttpRequest, actor: Actor, key: uuid.UUID, area: Area, *, at: datetime) -> HttpResponse:
    choice = read_choice(request)
    if not choice.size:
        raise Malformed(_("Name somebody, in the list or in a file. Nothing was changed."), field="people")
    if choice.size > BATCH_LIMIT:
        return start_job(request, actor, key, area, choice, at=at, gives=False)
    with tenant_atomic(actor):
        subscription = holders.subscription_for(actor, key, to_see=area.to_see, to_assign=True)
        resolved = holders.resolve(actor.tenant_id, [row for each in choice.lists for row in each.rows])
    asked = tuple(dict.fromkeys((*choice.user_ids, *resolved.people)))
    result = AssignmentResult((), 0)
    if asked:
        result = unassign_licenses(actor=actor, subscription_key=key, user_ids=asked, at=at)
    with tenant_atomic(actor):
        lines = lines_of(subscription, choice, resolved, result)
    say = messages.success if result.done else messages.warning
    say(
        request,
        ngettext("%(count)d license taken back.", "%(count)d licenses taken back.", result.done)
        % {"count": result.done},
    )
    if lines:
        return keep_lines(request, reverse(area.unassign_list_url, args=[key]), lines)
    return HttpResponseRedirect(reverse(area.subscription_url, args=[key]))


def _page(
    request: HttpRequest,
    subscription: Subscription,
    area: Area,
    *,
    lines: list[Line] | None = None,
    pasted: str = "",
    problem: str = "",
    field: str = "",
    status: int = 200,
) -> HttpResponse:
    address = reverse(area.subscription_url, args=[subscription.key])
    context = {
        "title": _("Take licenses back by a list"),
        "crumbs": [(area.title(), reverse(area.list_url)), (subscription.product.name, address)],
        "subscription": subscription,
        "address": address,
        "pasted": pasted,
        "problem": problem,
        "field": field,
        **shown(lines or []),
    }
    return render_page(request, "licensing/unassign_list.html", context, status=status)
