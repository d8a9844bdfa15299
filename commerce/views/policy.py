"""The purchase policy's page: what holds and why, several changes at once after a look at whom they affect (product §9).

The form never saves by itself. It leads to a page that says what changes and who is affected, and whose button saves
exactly what that page shows, or nothing where somebody changed it meanwhile.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from commerce.models import Product
from commerce.queries.policy import Affected, Table, affected_by, table_of, undecided
from commerce.views.policy_check import check_of
from commerce.views.policy_form import Chosen, change_of, chosen_of, fields_of, rules_with, with_drafts
from commerce.views.policy_wording import (
    LABELS,
    ORIGINS,
    control_crumbs,
    is_without_self_service,
    label_of,
    limit_text,
    lines_of,
    origin_of,
    saved_text,
)
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict, Malformed, NotAllowed, NotVisible
from directory.permissions import Capability
from policies import rule
from policies.models import OfferType, PolicyChange
from policies.operations import policies as operations
from policies.queries.policies import contact_text

SEE_OTHER = HTTPStatus.SEE_OTHER


# How many of the latest changes the page shows.
LATEST = 5
# Buttons that lead to the page anew: narrowed, with everything, with a person checked.
GOES_ON = ("narrow", "clear", "check")


@access.requires(sees=Capability.READ_POLICY)
def policy(request: HttpRequest) -> HttpResponse:
    """GET: what holds, and what an address says is chosen but not saved yet. POST: a page with whom the changes
    affect, from there save; or another filter, with what is chosen."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    if is_without_self_service(request):
        return render_page(
            request, "commerce/policy_none.html", {"title": _("Purchase policy"), "crumbs": control_crumbs()}
        )
    if request.method == "POST":
        if not actor.may(Capability.CHANGE_POLICY):
            raise NotAllowed
        action = request.POST.get("action")
        if action in GOES_ON:
            return _go_on(request, actor, at)
        return _save(request, actor, at) if action == "save" else _review(request, actor, at)
    return _page(request, actor, at)


def _page(
    request: HttpRequest, actor: Actor, at: datetime, *, problem: str = "", status: int = HTTPStatus.OK
) -> HttpResponse:
    table = table_of(actor)
    fields = with_drafts(fields_of(actor, table), request.POST if request.method == "POST" else request.GET)
    tenant = request.tenant  # type: ignore[attr-defined]
    limits = table.policy.limits
    typed, origin = request.GET.get("q", "")[:100].strip(), request.GET.get("origin", "")
    listed = [
        row
        for row in table.rows
        if typed.casefold() in row.product.name.casefold()
        and (origin not in ORIGINS or row.effective.origin == origin)
    ]
    out_of_sight = {f"product:{row.product.key}" for row in table.rows} - {
        f"product:{row.product.key}" for row in listed
    }
    drafts = [field for field in fields.values() if field.selected != field.value]
    context: dict[str, Any] = {
        "title": _("Purchase policy"),
        "crumbs": control_crumbs(),
        "problem": problem,
        "may_change": actor.may(Capability.CHANGE_POLICY),
        "may_write_contact": actor.may(Capability.EDIT_CONTACT_TEXT),
        "default": fields["default"],
        "new_products": fields["new_products"],
        "covered": sum(1 for row in table.rows if row.effective.origin == "default"),
        "categories": [fields[f"category:{name}"] for name in table.categories],
        "lines": [
            {
                "row": row,
                "product": row.product,
                "field": fields[f"product:{row.product.key}"],
                "origin": origin_of(row),
                "groups": [(each.group.name, LABELS[each.value]) for each in row.groups],
                "value": label_of(row.effective),
            }
            for row in listed
        ],
        "unsaved": len(drafts),
        "carried": [field for field in drafts if field.name in out_of_sight],
        "without_drafts": _address({"q": typed, "origin": origin}),
        "q": typed,
        "origin": origin,
        "origins": list(ORIGINS.items()),
        "is_narrowed": bool(typed) or origin in ORIGINS,
        "offers": [fields[f"offer:{kind}"] for kind in OfferType],
        "undecided": [row.product for row in undecided(table)],
        "limits": [
            (_("Most that may be spent"), limit_text(limits.cap, limits.currency)),
            (_("Ask an admin above"), limit_text(limits.threshold, limits.currency)),
        ],
        "history": lines_of(actor, PolicyChange.objects.visible_to(actor).order_by("-id")[:LATEST], tenant),
        "contact": contact_text(actor=actor),
        "check": check_of(request, actor, table, at),
        "products": [row.product for row in table.rows],
        "zone": tenant.time_zone,
    }
    return render_page(request, "commerce/policy.html", context, status=status)


def _address(kept: Mapping[str, str], chosen: Sequence[Chosen] = (), anchor: str = "") -> str:
    """The page with a filter, and with what was chosen and is not saved yet."""
    params = {name: value for name, value in kept.items() if value}
    query = urlencode(params | {each.field.name: each.value for each in chosen})
    return f"{reverse('portal:policy')}{'?' if query else ''}{query}{anchor}"


def _go_on(request: HttpRequest, actor: Actor, at: datetime) -> HttpResponse:
    """The page as a button asked for it, with what was chosen."""
    action = request.POST["action"]
    names = [] if action == "clear" else ["q", "origin"]
    names += ["person", "product"] if request.POST.get("person", "").strip() else []
    try:
        chosen = chosen_of(request, fields_of(actor, table_of(actor)))
    except Malformed as wrong:
        return _page(request, actor, at, problem=str(wrong), status=HTTPStatus.UNPROCESSABLE_ENTITY)
    kept = {name: request.POST.get(name, "")[:254] for name in names}
    address = _address(kept, chosen, "#try" if action == "check" else "")
    return HttpResponseRedirect(address, status=SEE_OTHER)


@access.requires(sees=Capability.READ_POLICY, may=Capability.CHANGE_POLICY)
@require_safe
def policy_stop(request: HttpRequest, slug: str) -> HttpResponse:
    """What stops and for whom when nobody may buy one product any more: the page from which it is saved."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    product = Product.objects.filter(slug=slug).first()
    if product is None or is_without_self_service(request):
        raise NotVisible
    table = table_of(actor)
    field = fields_of(actor, table)[f"product:{product.key}"]
    if field.value == rule.DISABLED:
        messages.info(request, _("%(product)s is not allowed already.") % {"product": product.name})
        return HttpResponseRedirect(reverse("portal:policy-product", args=[slug]))
    return _confirm_page(request, actor, table, [Chosen(field, rule.DISABLED)], now())


# --- Saving ---------------------------------------------------------------------------------------------------------


def _review(request: HttpRequest, actor: Actor, at: datetime) -> HttpResponse:
    table = table_of(actor)
    try:
        chosen = chosen_of(request, fields_of(actor, table))
    except Malformed as wrong:
        return _page(request, actor, at, problem=str(wrong), status=HTTPStatus.UNPROCESSABLE_ENTITY)
    if not chosen:
        told = _("Nothing is different from what holds now, so there is nothing to save.")
        return _page(request, actor, at, problem=told, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    return _confirm_page(request, actor, table, chosen, at)


def _confirm_page(
    request: HttpRequest,
    actor: Actor,
    table: Table,
    chosen: Sequence[Chosen],
    at: datetime,
    *,
    problem: str = "",
    status: int = HTTPStatus.OK,
) -> HttpResponse:
    affected = affected_by(actor, table, rules_with(table, chosen, at), at)
    context = {
        "title": _("Save the policy"),
        "crumbs": [*control_crumbs(), (_("Purchase policy"), reverse("portal:policy"))],
        "problem": problem,
        "chosen": chosen,
        "affected": [_affected_line(each) for each in affected],
        "stops": any(
            rule.STRICTNESS[each.after.value] > rule.STRICTNESS[each.before.value] for each in affected
        ),
        "count": len(chosen),
        "choose_more": _address({}, chosen),
        "why": request.POST.get("why", "")[: operations.WHY_LENGTH],
    }
    return render_page(request, "commerce/policy_confirm.html", context, status=status)


def _affected_line(each: Affected) -> dict[str, Any]:
    return {
        "product": each.product,
        "before": label_of(each.before),
        "after": label_of(each.after),
        "use": each.use,
        "is_stricter": rule.STRICTNESS[each.after.value] > rule.STRICTNESS[each.before.value],
    }


def _save(request: HttpRequest, actor: Actor, at: datetime) -> HttpResponse:
    """Save what the confirmation showed; where something moved, the page again with what holds now."""
    table = table_of(actor)
    fields = fields_of(actor, table)
    try:
        chosen = chosen_of(request, fields)
        changes = [change_of(each, table, request.POST.get(f"was:{each.field.name}")) for each in chosen]
        made = operations.change_policies(
            actor=actor, changes=changes, why=request.POST.get("why", ""), at=at
        )
    except Malformed as wrong:
        if wrong.field == "why":
            return _confirm_page(
                request, actor, table, chosen, at, problem=str(wrong), status=HTTPStatus.UNPROCESSABLE_ENTITY
            )
        return _page(request, actor, at, problem=str(wrong), status=HTTPStatus.UNPROCESSABLE_ENTITY)
    except Conflict as moved:
        return _page(request, actor, at, problem=str(moved), status=HTTPStatus.CONFLICT)
    if not made:
        told = _("Nothing is different from what holds now, so there is nothing to save.")
        return _page(request, actor, at, problem=told, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    messages.success(request, saved_text(len(made)))
    return HttpResponseRedirect(reverse("portal:policy"), status=SEE_OTHER)
