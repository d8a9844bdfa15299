"""Groups that have licenses of a subscription: adding one, who of it has none and why, ending it; and
what ends with a group that is deleted (product §7.3)."""

import uuid
from http import HTTPStatus

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import DomainError, NotAllowed, NotVisible, Text
from directory.operations.groups import delete_group, state_of
from directory.operations.provisioning import Moved
from directory.permissions import Capability
from directory.queries import group_for
from directory.queries.partners import gives_roles
from licensing.models import GroupLicense
from licensing.operations.groups import assign_group, unassign_group
from licensing.queries import holders
from licensing.queries.groups import MOST_NAMED, Why, lost_with, members_without, row_of

WHY: dict[Why, Text] = {
    "disabled": gettext_lazy("Account is disabled"),
    "guest": gettext_lazy("Guest, this product is for members only"),
    "taken_back": gettext_lazy("Was taken or given back; assign it by hand to give it again"),
    "service_off": gettext_lazy("Your organization switched this product off for them"),
    "holds_product": gettext_lazy("Has this product through another purchase"),
    "no_seat": gettext_lazy("No license left; gets the next free one"),
}


@access.requires(sees=Capability.SEE_LICENSES)
@require_POST
def add_group(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """Assign a group, and back to the assign page."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    holders.subscription_for(actor, key, to_see=Capability.SEE_LICENSES, to_assign=True)
    address = reverse("portal:license-assign", args=[key])
    try:
        group = uuid.UUID(request.POST.get("group", ""))
    except ValueError:
        messages.error(request, _("Choose a group. Nothing was changed."))
        return HttpResponseRedirect(f"{address}#groups", status=HTTPStatus.SEE_OTHER)
    try:
        license = assign_group(actor=actor, subscription_key=key, group_key=group, at=now())
    except (NotVisible, NotAllowed):
        raise
    except DomainError as problem:
        messages.error(request, str(problem))
    else:
        messages.success(
            request,
            _("%(group)s has licenses now. Who joins it gets one, who leaves it loses it.")
            % {"group": license.group_name},
        )
    return HttpResponseRedirect(f"{address}#groups", status=HTTPStatus.SEE_OTHER)


@access.requires(sees=Capability.SEE_LICENSES)
def group(request: HttpRequest, key: uuid.UUID, license: uuid.UUID) -> HttpResponse:
    """GET: who of the group has no license and why, and what ending it does. POST: end it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    subscription = holders.subscription_for(actor, key, to_see=Capability.SEE_LICENSES)
    address = reverse("portal:license-assign", args=[key])
    found: GroupLicense | None = GroupLicense.objects.filter(
        tenant_id=actor.tenant_id, subscription=subscription, key=license, ended_at__isnull=True
    ).first()
    if found is None:
        raise NotVisible
    if request.method == "POST":
        ended = unassign_group(actor=actor, subscription_key=key, license_key=license, at=now())
        messages.success(
            request,
            _("%(group)s has no licenses from here any more.") % {"group": ended.group_name},
        )
        return HttpResponseRedirect(f"{address}#groups", status=HTTPStatus.SEE_OTHER)
    row = row_of(found)
    page_of = reverse("portal:license-subscription", args=[key])
    context = {
        "title": found.group_name,
        "crumbs": [
            (_("Licenses"), reverse("portal:licenses")),
            (subscription.product.name, page_of),
        ],
        "subscription": subscription,
        "row": row,
        "without": [{"user": each.user, "why": WHY[each.why]} for each in members_without(found)],
        "more": max(0, row.without - MOST_NAMED),
        "address": address,
        "zone": subscription.time_zone,
        "may_assign": holders.may_assign(actor, subscription),
    }
    return render_page(request, "licensing/group.html", context)


@access.requires(sees=Capability.SEE_PEOPLE, may=Capability.MANAGE_MEMBERS)
@require_http_methods(["GET", "HEAD", "POST"])
def delete(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: who loses which license, and what else ends with the group. POST: delete it, if that is still so."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    found = group_for(actor, key)
    state, lost, problem = state_of(found), lost_with(found), ""
    seen = f"{state.members}.{state.last}.{lost.count}"
    if request.method == "POST":
        try:
            if request.POST.get("seen") != seen:
                raise Moved
            delete_group(actor=actor, group_key=key, seen=state, at=now())
        except Moved:
            problem = _("The group has changed since you opened this page. Nothing was deleted. Look again.")
        else:
            messages.success(request, _("The group %(name)s is deleted.") % {"name": found.name})
            return HttpResponseRedirect(reverse("portal:groups"), status=HTTPStatus.SEE_OTHER)
    context = {
        "title": _("Delete %(name)s") % {"name": found.name},
        "crumbs": [
            (_("Groups"), reverse("portal:groups")),
            (found.name, reverse("portal:group", args=[key])),
        ],
        "group": found,
        "members": state.members,
        "lost": lost,
        "more": lost.count - len(lost.seats),
        "gives_roles": gives_roles(found),
        "seen": seen,
        "problem": problem,
    }
    status = HTTPStatus.CONFLICT if problem else HTTPStatus.OK
    return render_page(request, "licensing/group_delete.html", context, status=status)
