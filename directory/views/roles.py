"""Roles: who holds which, and the page that gives and takes them (product §2)."""

import uuid
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_safe

from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict, DomainError, Malformed, NotAllowed, NotVisible, Text
from directory.models import RoleAssignment, User
from directory.operations.roles import LONGEST_REASON, set_roles
from directory.permissions import ROLES, Capability, Role
from directory.queries import person_for, search_users
from directory.queries.roles import role_holders_page
from directory.sessions import fresh_to_post

NAMES = dict(RoleAssignment.Name.choices)
MEANINGS: dict[str, Text] = {
    Role.GLOBAL_ADMIN: gettext_lazy(
        "Everything of the organization: people, purchases, policy and settings."
    ),
    Role.BILLING_ADMIN: gettext_lazy("Buys, pays, takes purchases over, and decides what people may buy."),
    Role.LICENSE_ADMIN: gettext_lazy("Assigns the organization's licenses; sees no prices."),
    Role.USER_ADMIN: gettext_lazy("Manages people and groups, but no admins, and assigns licenses."),
    Role.GLOBAL_READER: gettext_lazy("Sees everything and changes nothing."),
}


@access.requires(sees=Capability.SEE_SETTINGS)
@require_safe
def roles(request: HttpRequest) -> HttpResponse:
    """Who holds which role, and a search for somebody to give one."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    role, query = request.GET.get("role", ""), request.GET.get("q", "").strip()[:200]
    if role and role not in ROLES:
        raise Malformed(_("There is no such role."), field="role")
    may_change = actor.may(Capability.MANAGE_SETTINGS)
    page = role_holders_page(actor, role=role, cursor=request.GET.get("page", ""))
    kept = {"role": role} if role else {}
    context = {
        "title": _("Roles"),
        "rows": [{"user": user, "held": _held(user)} for user in page.rows],
        "chips": [
            {
                "label": label,
                "address": f"?{urlencode({'role': code} if code else {})}",
                "is_current": code == role,
            }
            for code, label in [("", _("Everybody with a role")), *NAMES.items()]
        ],
        "role": role,
        "meaning": MEANINGS.get(role, ""),
        "may_change": may_change,
        "query": query,
        "found": _candidates(query) if query and may_change else [],
        "next": f"?{urlencode(kept | {'page': page.next})}" if page.next else "",
        "back": f"?{urlencode(kept | {'page': page.back})}" if page.back else "",
    }
    return render_page(request, "directory/roles.html", context)


def _held(user: User) -> list[dict[str, Any]]:
    return [
        {"name": NAMES[each.role], "by": each.granted_by, "at": each.granted_at}
        for each in user.role_assignments.all()
    ]


def _candidates(query: str) -> list[User]:
    """Whom a role can be given: active members whom the query finds."""
    return [user for user in search_users(query) if user.is_active and user.kind == User.Kind.MEMBER]


@access.requires(sees=Capability.SEE_SETTINGS, may=Capability.MANAGE_SETTINGS)
@fresh_to_post
@require_http_methods(["GET", "HEAD", "POST"])
@fresh_to_post
def person_roles(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """The roles of one person. POST: make those that are ticked the person's, with the reason."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    user = person_for(actor, key)
    if user.status == User.Status.DELETED:
        raise NotVisible
    held = {each.role for each in user.role_assignments.all()}
    chosen, reason, problem = held, "", None
    if request.method == "POST":
        chosen, reason = set(request.POST.getlist("role")), request.POST.get("reason", "")
        try:
            changed = set_roles(actor=actor, user_id=user.pk, roles=chosen, reason=reason, at=now())
        except (Malformed, Conflict, NotAllowed) as refused:
            problem = refused
        else:
            messages.success(request, _said(user, changed=changed))
            return HttpResponseRedirect(_after(actor, user, chosen), status=HTTPStatus.SEE_OTHER)
    return _roles_page(request, user, chosen, reason, problem)


def _said(user: User, *, changed: bool) -> str:
    if not changed:
        return _("Nothing was changed: these are the roles already.")
    return _("%(name)s has other roles from the next click on, and has been told.") % {"name": user.name}


def _after(actor: Actor, user: User, chosen: set[str]) -> str:
    """The person's page; for who gave up the own rights to see it, the start page."""
    if user.pk == actor.user_id and not chosen:
        return reverse("licensing:home")
    return reverse("portal:person", args=[user.key])


def _roles_page(
    request: HttpRequest, user: User, chosen: set[str], reason: str, problem: DomainError | None
) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    context = {
        "title": _("Roles of %(name)s") % {"name": user.name},
        "crumbs": [
            (_("People"), reverse("portal:people")),
            (user.name, reverse("portal:person", args=[user.key])),
        ],
        "who": user,
        "choices": [
            {"role": role, "name": NAMES[role], "meaning": MEANINGS[role], "is_held": role in chosen}
            for role in ROLES
        ],
        "reason": reason[:LONGEST_REASON],
        "longest": LONGEST_REASON,
        "is_oneself": user.pk == actor.user_id,
        "may_have_any": user.kind == User.Kind.MEMBER and user.is_active,
        "problem": str(problem) if problem else "",
        "wrong": getattr(problem, "field", ""),
    }
    status = problem.status if problem else HTTPStatus.OK
    return render_page(request, "directory/person_roles.html", context, status=status)
