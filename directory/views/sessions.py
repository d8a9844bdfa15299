"""Where somebody is signed in: the own sessions, and those of a person for who manages them."""

import uuid
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now, real_now
from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.agents import browser_of, system_of
from directory.models import BrowserSession, RoleAssignment, Tenant, User
from directory.operations.sessions import end_other_sessions, end_own_session, end_sessions_of
from directory.permissions import Capability
from directory.queries import person_for
from directory.queries.sessions import sessions_of
from directory.sessions import ROW


@access.signed_in(owns_transaction=True)
@require_http_methods(["GET", "HEAD", "POST"])
def my_sessions(request: HttpRequest) -> HttpResponse:
    """Where the person is signed in. POST: end one of them, or all but this one."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if request.method == "POST":
        said = _end(request, actor)
        messages.success(request, said)
        return HttpResponseRedirect(reverse("directory:sessions"), status=HTTPStatus.SEE_OTHER)
    assert actor.user_id is not None  # who has a session is a person
    with tenant_atomic(actor.home_tenant_id):
        rows = _alive(actor.home_tenant_id, actor.user_id)
        zone = Tenant.objects.get(pk=actor.home_tenant_id).time_zone
    context = {"rows": _lines(rows, current=request.session.get(ROW)), "zone": zone, "section": "account"}
    return render(request, "directory/sessions.html", context)


def _end(request: HttpRequest, actor: Actor) -> str:
    """Do what was pressed; what to say about it."""
    times = {"at": now(), "real_at": real_now()}
    if request.POST.get("action") == "others":
        count = end_other_sessions(actor=actor, current=request.session.get(ROW), **times)
        return ngettext("%d other session is ended.", "%d other sessions are ended.", count) % count
    try:
        key = uuid.UUID(request.POST.get("key", ""))
    except ValueError:
        raise Malformed(_("Choose a session from the list."), field="key") from None
    end_own_session(actor=actor, key=key, **times)
    return _("Ended. Whoever uses it must sign in again.")


@access.requires(sees=Capability.SEE_PEOPLE, may=Capability.MANAGE_MEMBERS)
@require_http_methods(["GET", "HEAD", "POST"])
def person_sessions(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """Where a person is signed in, for who manages them. POST: end all of it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    user = person_for(actor, key)
    if user.status == User.Status.DELETED:
        raise NotVisible
    _require_managed(actor, user)
    if request.method == "POST":
        count = end_sessions_of(actor=actor, user_id=user.pk, at=now(), real_at=real_now())
        said = ngettext("%d session is ended.", "%d sessions are ended.", count) % count
        messages.success(request, said)
        if user.pk == actor.user_id:
            return HttpResponseRedirect(reverse("directory:sign-in"), status=HTTPStatus.SEE_OTHER)
        return HttpResponseRedirect(
            reverse("portal:person-sessions", args=[key]), status=HTTPStatus.SEE_OTHER
        )
    context = {
        "title": _("Sessions of %(name)s") % {"name": user.name},
        "crumbs": [
            (_("People"), reverse("portal:people")),
            (user.name, reverse("portal:person", args=[user.key])),
        ],
        "who": user,
        "rows": _lines(_alive(actor.tenant_id, user.pk), current=request.session.get(ROW)),
    }
    return render_page(request, "directory/person_sessions.html", context)


def _require_managed(actor: Actor, user: User) -> None:
    """:raises NotAllowed: an admin, whom a global admin manages."""
    is_admin = bool(user.role_assignments.all())
    if not actor.may(Capability.MANAGE_ADMINS if is_admin else Capability.MANAGE_MEMBERS):
        raise NotAllowed(_("Global admins manage the accounts of admins. Nothing was changed."))


def _alive(tenant_id: int, user_id: int) -> Sequence[BrowserSession]:
    is_admin = RoleAssignment.objects.filter(tenant_id=tenant_id, user_id=user_id).exists()
    return sessions_of(tenant_id=tenant_id, user_id=user_id, is_admin=is_admin, real_at=real_now())


def _lines(rows: Sequence[BrowserSession], *, current: int | None) -> list[dict[str, Any]]:
    return [{"row": row, "device": _device(row.agent), "is_current": row.pk == current} for row in rows]


def _device(agent: str) -> str:
    browser, system = browser_of(agent), system_of(agent)
    if browser and system:
        return _("%(browser)s on %(system)s") % {"browser": browser, "system": system}
    return browser or system or _("Unknown browser")
