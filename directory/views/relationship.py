"""One relationship, from what a partner asks to its end, as each side sees it (product §12).

The address is the invitation link. Whoever it is not for gets one answer, whether there is such a link or not.
"""

import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict, DomainError, Malformed, NotAllowed
from directory.models import Invitation, Relationship
from directory.operations import delegations, invitations, partners
from directory.operations.partner_notices import address_of
from directory.permissions import ROLES, Capability
from directory.queries import search_users
from directory.queries.partners import (
    assignments_of,
    groups_named,
    history_of,
    invitation_for,
    relationship_for,
)
from directory.sessions import require_fresh
from directory.views.relationship_words import NAMES, crumbs, is_told, line_of, names, role_lines


@access.signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def relationship(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """What is asked, given and assigned, and all that happened. POST: what was pressed."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    found = relationship_for(actor, key)
    invitation = invitation_for(actor, key) if found is None else None
    if found is None and invitation is None:
        return render(request, "directory/invitation_closed.html", status=HTTPStatus.FORBIDDEN)
    problem: DomainError | None = None
    if request.method == "POST":
        try:
            said = _change(request, actor, key, is_invitation=invitation is not None)
        except (Conflict, Malformed) as refused:
            problem = refused
        else:
            messages.success(request, said)
            return HttpResponseRedirect(
                reverse("portal:relationship", args=[key]), status=HTTPStatus.SEE_OTHER
            )
    context = _of_relationship(request, actor, found) if found else _of_invitation(request, actor, invitation)
    context |= {"history": _history(request, actor, key, context), "problem": str(problem) if problem else ""}
    template = "directory/relationship.html" if found else "directory/invitation.html"
    return render_page(request, template, context, status=problem.status if problem else HTTPStatus.OK)


def _change(request: HttpRequest, actor: Actor, key: uuid.UUID, *, is_invitation: bool) -> str:
    """Do what was pressed; what to say about it.

    :raises NotAllowed: not for this person. :raises Malformed: that is no such button.
    :raises SignInTooOld: roles are given, and the person signed in too long ago.
    """
    action, at = request.POST.get("action", ""), now()
    if action in ("approve", "assign"):
        # What gives somebody rights is not for a browser that was found open.
        require_fresh(request)
    roles = [role for role in request.POST.getlist("roles") if role in ROLES]
    if is_invitation and action == "approve":
        made = invitations.approve_invitation(actor=actor, key=key, roles=roles, at=at)
        return _("%(partner)s can act for you once it gave the roles to its people.") % {
            "partner": made.partner_name
        }
    if is_invitation and action == "decline":
        invitations.decline_invitation(actor=actor, key=key, at=at)
        return _("Declined. The partner gets a notice; nothing was delegated.")
    if is_invitation and action == "withdraw":
        invitations.withdraw_invitation(actor=actor, key=key, at=at)
        return _("Withdrawn. The link leads nowhere any more.")
    if not is_invitation and action == "stop-extending":
        partners.stop_extending(actor=actor, key=key, at=at)
        return _("It runs out at its end and is not extended.")
    if not is_invitation and action == "assign":
        return _assign(request, actor, key, roles)
    if not is_invitation and action == "unassign":
        delegations.unassign(actor=actor, key=key, assignment_id=_number(request, "assignment"), at=at)
        return _("Taken back. It holds from their next request on.")
    if not (actor.may(Capability.MANAGE_RELATIONSHIPS) or actor.may(Capability.ASK_RELATIONSHIP)):
        raise NotAllowed
    raise Malformed(_("Press one of the buttons."), field="action")


def _assign(request: HttpRequest, actor: Actor, key: uuid.UUID, roles: list[str]) -> str:
    """Give roles to the person or the group that was named."""
    at = now()
    if "group" in request.POST:
        try:
            group = uuid.UUID(request.POST["group"])
        except ValueError as error:
            raise Malformed(_("Choose somebody from the list."), field="group") from error
        delegations.assign_to_group(actor=actor, key=key, group_key=group, roles=roles, at=at)
    else:
        person = _number(request, "person")
        delegations.assign_to_person(actor=actor, key=key, user_id=person, roles=roles, at=at)
    return _("Given. They find the customer under Customers.")


def _number(request: HttpRequest, field: str) -> int:
    text = request.POST.get(field, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Malformed(_("Choose somebody from the list."), field=field)
    return int(text)


def _of_invitation(request: HttpRequest, actor: Actor, invitation: Invitation | None) -> dict[str, Any]:
    assert invitation is not None
    is_customer = invitation.customer_tenant_id == actor.tenant_id
    at = now()
    is_open = invitation.is_open(at)
    title = (
        _("%(partner)s asks to act for you") % {"partner": invitation.partner_name}
        if is_customer
        else _("Asked of %(domain)s") % {"domain": invitation.customer_domain}
    )
    return {
        "title": title,
        "crumbs": crumbs(is_customer=is_customer),
        "invitation": invitation,
        "is_customer": is_customer,
        "is_open": is_open,
        "state": Invitation.State.LAPSED.label
        if invitation.state == Invitation.State.WAITING and not is_open
        else invitation.get_state_display(),
        "roles": role_lines(invitation.roles),
        "link": address_of(invitation.key),
        "may_answer": is_open and invitations.may_answer(actor, invitation),
        "may_withdraw": is_open and not is_customer and actor.may(Capability.ASK_RELATIONSHIP),
        "organizations": {
            invitation.tenant_id: invitation.partner_name,
            actor.tenant_id: request.tenant.name,  # type: ignore[attr-defined]
        },
    }


def _of_relationship(request: HttpRequest, actor: Actor, found: Relationship) -> dict[str, Any]:
    is_customer = found.tenant_id == actor.tenant_id
    is_running = found.is_running(now())
    may_assign = is_running and delegations.may_assign(actor, found)
    query = request.GET.get("q", "").strip()[:200] if may_assign else ""
    other = found.partner_name if is_customer else found.customer_name
    return {
        "title": other,
        "crumbs": crumbs(is_customer=is_customer),
        "relationship": found,
        "is_customer": is_customer,
        "is_running": is_running,
        "roles": role_lines(found.roles),
        "assignments": [
            {"row": row, "roles": names(set(row.roles) & set(found.roles))} for row in assignments_of(found)
        ],
        "may_assign": may_assign,
        "may_end": is_running and partners.may_end(actor, found),
        "query": query,
        "people": [user for user in search_users(query) if user.is_active and user.kind == user.Kind.MEMBER]
        if query
        else [],
        "groups": groups_named(actor, query) if query else [],
        "role_names": [(role, NAMES[role]) for role in found.roles],
        "organizations": {found.tenant_id: found.customer_name, found.partner_tenant_id: found.partner_name},
    }


def _history(request: HttpRequest, actor: Actor, key: uuid.UUID, context: Mapping[str, Any]) -> list[Any]:
    zone = request.tenant.time_zone  # type: ignore[attr-defined]
    return [
        line_of(entry, zone=zone, organizations=context["organizations"])
        for entry in history_of(actor, key)
        if is_told(entry)
    ]
