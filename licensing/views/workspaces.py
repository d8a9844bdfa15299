"""Workspaces: the organization's list, handing one on, and making and sharing one's own in a product (product §14)."""

import uuid
from http import HTTPStatus
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from commerce.models import Product
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import DomainError, Malformed, NotAllowed, NotVisible
from directory.permissions import Capability
from licensing.lists import rows_of
from licensing.operations.workspaces import hand_workspace, make_workspace, share_workspace
from licensing.queries.holders import named_ids
from licensing.queries.workspaces import workspace_for, workspaces_page

SEE_OTHER = HTTPStatus.SEE_OTHER
FILTERS = ("product", "person", "ending")


@access.requires(sees=Capability.SEE_WORKSPACES)
@require_safe
def workspaces(request: HttpRequest) -> HttpResponse:
    """What people made, in which product, who has it, and what will be deleted when."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    values = {name: request.GET.get(name, "")[:100].strip() for name in FILTERS}
    products = list(Product.objects.order_by("name"))
    chosen = next((each for each in products if each.slug == values["product"]), None)
    if values["product"] and chosen is None:
        raise Malformed(_("This page address is not valid."))
    page = workspaces_page(
        actor,
        cursor=request.GET.get("page", "")[:200],
        product_id=chosen.pk if chosen else None,
        person=values["person"].replace("\0", ""),
        is_ending=values["ending"] == "1",
    )
    kept = {name: value for name, value in values.items() if value}
    context = {
        "title": _("Workspaces"),
        "crumbs": [(_("Control"), "")],
        "rows": page.rows,
        "products": products,
        "values": values,
        "is_narrowed": bool(kept),
        "sees_all": "all" in actor.scopes(Capability.SEE_WORKSPACES),
        "may_hand": actor.may(Capability.CHANGE_DATA_POLICY),
        "may_read_policy": actor.may(Capability.READ_DATA_POLICY),
        "next": f"?{urlencode(kept | {'page': page.next})}" if page.next else "",
        "back": f"?{urlencode(kept | {'page': page.back})}" if page.back else "",
        "zone": request.tenant.time_zone,  # type: ignore[attr-defined]
    }
    return render_page(request, "licensing/workspaces.html", context)


@access.requires(sees=Capability.SEE_WORKSPACES)
def hand_over(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: whose it is, and who is to have it. POST: give it to that person."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    workspace = workspace_for(actor, key)
    if not actor.may(Capability.CHANGE_DATA_POLICY):
        raise NotAllowed
    problem, status, typed = "", HTTPStatus.OK, ""
    if request.method == "POST":
        typed = request.POST.get("person", "")[:254].strip()
        try:
            user_id = _person(actor, typed)
            workspace = hand_workspace(actor=actor, key=key, user_id=user_id, at=now())
        except NotVisible:
            raise
        except DomainError as refused:
            problem, status = str(refused), HTTPStatus(refused.status)
        else:
            told = _("%(name)s has %(workspace)s from now on.")
            facts = {"name": workspace.holder.name, "workspace": workspace.name}
            messages.success(request, told % facts)
            return HttpResponseRedirect(reverse("portal:workspaces"), status=SEE_OTHER)
    context = {
        "title": _("Hand over a workspace"),
        "crumbs": [(_("Control"), ""), (_("Workspaces"), reverse("portal:workspaces"))],
        "workspace": workspace,
        "problem": problem,
        "typed": typed,
        "zone": request.tenant.time_zone,  # type: ignore[attr-defined]
    }
    return render_page(request, "licensing/workspace_hand_over.html", context, status=status)


def _person(actor: Actor, typed: str) -> int:
    """:raises Malformed: nobody, or more than one, has this name or address."""
    if not typed:
        raise Malformed(_("Enter the e-mail address of who is to have it."), field="person")
    try:
        return named_ids(actor.tenant_id, rows_of([typed]))[0]
    except Malformed as unclear:
        told = _("Nobody, or more than one person, has this name or address. Nothing was changed.")
        raise Malformed(told, field="person") from unclear


# --- In a product ---------------------------------------------------------------------------------------------------


@access.signed_in
@require_POST
def make(request: HttpRequest, slug: str) -> HttpResponse:
    """Make one, where the data policy lets the person."""
    product = _product(slug)
    try:
        made = make_workspace(
            actor=request.actor,  # type: ignore[attr-defined]
            product=product,
            name=request.POST.get("name", "")[:200],
            at=now(),
        )
    except NotVisible:
        raise
    except DomainError as refused:
        messages.error(request, str(refused))
    else:
        told = _("%(workspace)s is made. It belongs to your organization.")
        messages.success(request, told % {"workspace": made.name})
    return HttpResponseRedirect(reverse("licensing:app", args=[slug]), status=SEE_OTHER)


@access.signed_in
@require_POST
def share(request: HttpRequest, slug: str, key: uuid.UUID) -> HttpResponse:
    """Share one's own outside the organization, or end that."""
    _product(slug)
    shared = request.POST.get("shared") == "yes"
    try:
        found = share_workspace(actor=request.actor, key=key, shared=shared, at=now())  # type: ignore[attr-defined]
    except NotVisible:
        raise
    except DomainError as refused:
        messages.error(request, str(refused))
    else:
        told = (
            _("%(workspace)s is shared outside your organization.")
            if shared
            else _("%(workspace)s is not shared outside your organization any more.")
        )
        messages.success(request, told % {"workspace": found.name})
    return HttpResponseRedirect(reverse("licensing:app", args=[slug]), status=SEE_OTHER)


def _product(slug: str) -> Product:
    found: Product | None = Product.objects.filter(slug=slug).first()
    if found is None:
        raise NotVisible
    return found
