"""Setting what a template says for many customers: every change before anything happens, then a job (product §12)."""

import json
import uuid
from datetime import datetime
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from commerce.operations.fleet import LONGEST_WHY, MOST_CUSTOMERS, Chosen, look_at_customers, start_applying
from commerce.queries.fleet import Compared, catalogue, customers_served
from commerce.views.fleet import lines_of
from commerce.views.fleet_wording import (
    WHY_NOT,
    crumbs,
    has_second_factor,
    name_of,
    over_customers,
    said_text,
)
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict, Malformed, NotAllowed, NotVisible
from config.kit.objects import read_json
from policies.models import PolicyTemplate
from policies.queries.templates import changes_templates, sees_templates, template_for

SEE_OTHER = HTTPStatus.SEE_OTHER


@access.signed_in
@require_http_methods(["GET", "HEAD", "POST"])
@over_customers
def fleet_apply(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: what would change at each chosen customer. POST: start the job that changes exactly that."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    actors = [each.actor for each in customers_served(actor, at=at)]
    if not sees_templates(actors):
        raise NotVisible
    template = template_for(actor, key)
    if not changes_templates(actors):
        raise NotAllowed
    if request.method != "POST":
        return _page(request, actor, template, at)
    try:
        job = start_applying(
            actor=actor,
            key=key,
            version=_whole(request.POST.get("version", "")),
            chosen=Chosen(lines=request.POST.getlist("line"), seen=_seen(request)),
            why=request.POST.get("why", ""),
            has_second_factor=has_second_factor(request),
            back=reverse("portal:fleet-template", args=[key]),
            at=at,
        )
    except Malformed as wrong:
        return _page(request, actor, template, at, str(wrong), HTTPStatus.UNPROCESSABLE_ENTITY)
    except Conflict as moved:
        return _page(request, actor, template, at, str(moved), HTTPStatus.CONFLICT)
    return HttpResponseRedirect(reverse("portal:job", args=[job.key]), status=SEE_OTHER)


def _seen(request: HttpRequest) -> dict[int, dict[str, str]]:
    """Of each chosen customer what the page showed of theirs.

    :raises Malformed: not what such a page says.
    """
    seen = {}
    for chosen in request.POST.getlist("customer"):
        try:
            shown = read_json(request.POST.get(f"seen:{chosen}", ""))
        except ValueError:
            shown = None
        if not isinstance(shown, dict) or not all(isinstance(value, str) for value in shown.values()):
            raise Malformed(_("Look at the changes again before saving."), field="customer")
        seen[_whole(chosen)] = shown
    return seen


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Malformed(_("Look at the changes again before saving."), field="customer")
    return int(text)


def _page(
    request: HttpRequest,
    actor: Actor,
    template: PolicyTemplate,
    at: datetime,
    problem: str = "",
    status: int = HTTPStatus.OK,
) -> HttpResponse:
    asked = set((request.POST if request.method == "POST" else request.GET).getlist("customer"))
    served = [each for each in customers_served(actor, at=at) if str(each.actor.tenant_id) in asked]
    products = catalogue()
    says = products.said_in(template)
    found = look_at_customers(
        actor=actor,
        customers=served[:MOST_CUSTOMERS],
        said=says,
        products=products,
        has_second_factor=has_second_factor(request),
        at=at,
    )
    changing = [each for each in found if each.may_change and each.differences]
    counts: dict[str, int] = {}
    for each in changing:
        for line in each.differences:
            counts[line.name] = counts.get(line.name, 0) + 1
    ticked = request.POST.getlist("line") if request.method == "POST" else None
    changes = sum(counts.values())
    context: dict[str, Any] = {
        "title": _("Apply %(template)s") % {"template": template.name},
        "crumbs": crumbs((_("Policy drift"), reverse("portal:fleet-template", args=[template.key]))),
        "problem": problem,
        "template": template,
        "targets": [
            {
                "name": name,
                "label": name_of(name, products),
                "wanted": said_text(name, value),
                "count": counts[name],
                "is_ticked": ticked is None or name in ticked,
            }
            for name, value in says.items()
            if name in counts
        ],
        "customers": [
            {
                "customer": each.served.customer,
                "seen": json.dumps({line.name: line.seen for line in each.differences}),
                "lines": [line for line in lines_of(each, products) if line["line"].differs],
            }
            for each in changing
        ],
        "left_alone": [
            (each.served.customer.name, _why_alone(each)) for each in found if each not in changing
        ],
        "changes": changes,
        "button": ngettext("Apply to %(n)d customer", "Apply to %(n)d customers", len(changing))
        % {"n": len(changing)},
        "why": request.POST.get("why", "")[:LONGEST_WHY],
        "longest_why": LONGEST_WHY,
    }
    return render_page(request, "commerce/fleet_apply.html", context, status=status)


def _why_alone(found: Compared) -> str:
    if found.why_not:
        return str(WHY_NOT[found.why_not])
    if not found.may_change:
        return _("You may only read its policy")
    return _("It says so already")
