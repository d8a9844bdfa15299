"""The page on which the vendor's staff begin to read one organization's pages, and end it (product §2)."""

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from config.kit import access
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.errors import Malformed
from config.kit.operator import render_operator_page
from directory.models import STAFF_SESSION_LASTS, StaffSession
from directory.operations.staff_sessions import LONGEST_REASON, end_staff_session, open_staff_session
from directory.sessions import act_in
from directory.staff import StaffCapability

MOST_SHOWN = 50


@access.requires(sees=StaffCapability.OPEN_STAFF_SESSION)
@require_http_methods(["GET", "HEAD", "POST"])
def staff_sessions(request: HttpRequest) -> HttpResponse:
    """Which organization, and why; below it what the person opened lately."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    if request.method != "POST":
        return _page(request, actor, at, {"domain": request.GET.get("domain", "")[:253]})
    typed = {name: request.POST.get(name, "") for name in ("domain", "reason")}
    try:
        session = open_staff_session(staff=actor, **typed, at=at)
    except Malformed as problem:
        return _page(request, actor, at, typed, problem)
    return _enter(request, session)


@access.requires(sees=StaffCapability.OPEN_STAFF_SESSION)
@require_POST
def staff_session_enter(request: HttpRequest, key: Any) -> HttpResponse:
    """Go on in a session that runs."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    running = _own(actor).running(now()).filter(key=key).first()
    if running is None:
        messages.warning(request, _("It is over. Open another one."))
        return redirect("operator:sessions")
    return _enter(request, running)


@access.requires(sees=StaffCapability.OPEN_STAFF_SESSION)
@require_POST
def staff_session_end(request: HttpRequest, key: Any) -> HttpResponse:
    """End one from the list."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    session = end_staff_session(staff=actor, key=key, at=now())
    messages.success(request, _("You no longer read the pages of %(name)s.") % {"name": session.organization})
    return redirect("operator:sessions")


def _enter(request: HttpRequest, session: StaffSession) -> HttpResponse:
    act_in(request, session.tenant_id)
    return redirect("portal:index")


def _own(actor: Actor) -> Any:
    return StaffSession.objects.of(user_id=actor.user_id or 0, home_tenant_id=actor.home_tenant_id)


def _page(
    request: HttpRequest, actor: Actor, at: datetime, typed: dict[str, str], problem: Malformed | None = None
) -> HttpResponse:
    rows = _own(actor).order_by("-id")[:MOST_SHOWN]
    context = {
        "title": _("Read an organization's pages"),
        "typed": typed,
        "problem": problem,
        "field": problem.field if problem else "",
        "minutes": int(STAFF_SESSION_LASTS.total_seconds() // 60),
        "longest": LONGEST_REASON,
        "rows": [{"session": row, "is_running": row.ends_at > at} for row in rows],
    }
    response = render_operator_page(request, "directory/staff_sessions.html", context)
    response.status_code = problem.status if problem else 200
    return response


def leave(request: HttpRequest, actor: Actor) -> HttpResponseRedirect:
    """End the session in which the person reads now, and be at home again."""
    assert actor.staff_session_id is not None
    session = StaffSession.objects.get(pk=actor.staff_session_id)
    end_staff_session(staff=actor, key=session.key, at=now())
    act_in(request, actor.home_tenant_id)
    return HttpResponseRedirect(reverse("operator:sessions"))
