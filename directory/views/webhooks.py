"""Webhooks of the organization: where it is told of what happens, and what became of each message (product §16)."""

import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now, real_now
from config.kit.errors import DomainError, Malformed, NotAllowed, NotVisible
from config.kit.keyset import paginate
from config.kit.once import SentAlready, once
from directory.events import TYPES
from directory.models import Tenant, WebhookDelivery, WebhookEndpoint
from directory.operations.webhooks import (
    KEPT,
    NAME_LENGTH,
    URL_LENGTH,
    Registered,
    TooManyEndpoints,
    change_endpoint,
    delete_endpoint,
    may_change,
    pause_endpoint,
    register_endpoint,
    resume_endpoint,
    rotate_secret,
    send_again,
    send_all_again,
    send_test,
    types_allowed,
)
from directory.permissions import Capability
from directory.sessions import fresh_to_post

State = WebhookDelivery.State
TONES: Mapping[str, str] = {State.DELIVERED: "sk-ok", State.DEAD: "sk-bad", State.QUEUED: ""}


@access.requires(sees=Capability.SEE_SERVICE_TOKENS)
@fresh_to_post
@require_http_methods(["GET", "HEAD", "POST"])
def webhooks(request: HttpRequest) -> HttpResponse:
    """The endpoints. POST: register one, whose secret the answer alone shows."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    typed, problem = _typed(request), None
    if request.method == "POST":
        try:
            with once(request):
                made = register_endpoint(actor=actor, **typed, at=now())
        except (Malformed, TooManyEndpoints, SentAlready) as refused:
            problem = refused
        else:
            return _rendered(request, actor, made.endpoint, made=made)
    allowed = types_allowed(actor)
    rows = WebhookEndpoint.objects.visible_to(actor).order_by("name", "pk")
    context = {
        "title": _("Webhooks"),
        "rows": [{"endpoint": row, "state": state_of(row)} for row in rows],
        "may_register": bool(allowed),
        **_form(typed, allowed, problem),
    }
    status = problem.status if problem else HTTPStatus.OK
    return render_page(request, "directory/webhooks.html", context, status=status)


@access.requires(sees=Capability.SEE_SERVICE_TOKENS)
@fresh_to_post
@require_http_methods(["GET", "HEAD", "POST"])
def webhook(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """One endpoint with its messages, latest first. POST: change it, or send again."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    endpoint = _found(actor, key)
    problem: Malformed | None = None
    if request.method == "POST":
        if not may_change(actor, endpoint):
            raise NotAllowed
        action = request.POST.get("action", "")
        if action == "rotate":
            return _rotate(request, actor, endpoint)
        if action not in _ACTIONS:
            raise Malformed(_("There is no such action."), field="action")
        try:
            said = _ACTIONS[action](request, actor, key)
        except Malformed as refused:
            problem = refused
        else:
            messages.success(request, said)
            there = reverse("portal:webhooks") if action == "delete" else request.path
            return HttpResponseRedirect(there, status=HTTPStatus.SEE_OTHER)
    return _rendered(request, actor, endpoint, problem=problem)


def _rotate(request: HttpRequest, actor: Actor, endpoint: WebhookEndpoint) -> HttpResponse:
    try:
        with once(request):
            made = rotate_secret(actor=actor, key=endpoint.key, at=now(), real_at=real_now())
    except SentAlready as sent:
        return _rendered(request, actor, endpoint, problem=sent)
    return _rendered(request, actor, made.endpoint, made=made)


def state_of(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """How an endpoint stands, in a word and its tone."""
    if endpoint.is_paused:
        return {"label": endpoint.get_state_display(), "tone": "sk-warn"}
    if endpoint.failing_since is not None:
        return {"label": _("Does not answer"), "tone": "sk-bad"}
    return {"label": endpoint.get_state_display(), "tone": "sk-ok"}


def _rendered(
    request: HttpRequest,
    actor: Actor,
    endpoint: WebhookEndpoint,
    *,
    made: Registered | None = None,
    problem: DomainError | None = None,
) -> HttpResponse:
    rows = WebhookDelivery.objects.visible_to(actor).filter(endpoint=endpoint)
    page = paginate(rows, order=("-id",), cursor=request.GET.get("page", ""), key=lambda row: (row.pk,))
    is_change = request.POST.get("action") == "change"
    typed = (
        _typed(request)
        if problem and is_change
        else {"name": endpoint.name, "url": endpoint.url, "types": endpoint.types}
    )
    both_until = (
        endpoint.former_until if endpoint.former_until and endpoint.former_until > real_now() else None
    )
    context = {
        "title": endpoint.name,
        "crumbs": [(_("Webhooks"), reverse("portal:webhooks"))],
        "endpoint": endpoint,
        "state": state_of(endpoint),
        "secret": made.secret if made else "",
        "both_until": both_until,
        "lines": [_line(row) for row in page.rows],
        "next": f"?{urlencode({'page': page.next})}" if page.next else "",
        "back": f"?{urlencode({'page': page.back})}" if page.back else "",
        "may_change": may_change(actor, endpoint),
        "days": KEPT.days,
        "since": request.POST.get("since", "")[:10],
        "chosen_types": [(name, TYPES[name].label) for name in endpoint.types if name in TYPES],
        **_form(typed, types_allowed(actor), problem),
    }
    status = problem.status if problem else HTTPStatus.OK
    return render_page(request, "directory/webhook.html", context, status=status)


def _line(row: WebhookDelivery) -> dict[str, Any]:
    return {
        "row": row,
        "message_id": f"msg_{row.key.hex}",
        "tone": TONES[State(row.state)],
        "is_tried": row.tried_at is not None,
        "may_repeat": row.state != State.QUEUED,
    }


def _typed(request: HttpRequest) -> dict[str, Any]:
    typed = request.POST
    return {
        "name": typed.get("name", "")[: NAME_LENGTH + 1],
        "url": typed.get("url", "")[: URL_LENGTH + 1],
        "types": typed.getlist("type"),
    }


def _form(typed: dict[str, Any], allowed: frozenset[str], problem: DomainError | None) -> dict[str, Any]:
    """What the form of an endpoint needs."""
    return {
        "typed": typed,
        "choices": [
            {"name": name, "note": each.label, "is_chosen": name in typed["types"]}
            for name, each in TYPES.items()
            if name in allowed
        ],
        "problem": str(problem) if problem else "",
        "wrong": getattr(problem, "field", ""),
    }


def _change(request: HttpRequest, actor: Actor, key: uuid.UUID) -> str:
    change_endpoint(actor=actor, key=key, **_typed(request), at=now())
    return _("Changed.")


def _test(request: HttpRequest, actor: Actor, key: uuid.UUID) -> str:
    send_test(actor=actor, key=key, at=now())
    return _("A test message is on its way. Reload the page in a few seconds to see the answer.")


def _pause(request: HttpRequest, actor: Actor, key: uuid.UUID) -> str:
    pause_endpoint(actor=actor, key=key, at=now())
    return _("Paused. What happens meanwhile waits.")


def _resume(request: HttpRequest, actor: Actor, key: uuid.UUID) -> str:
    resume_endpoint(actor=actor, key=key, at=now())
    return _("Active again. What waited is on its way.")


def _delete(request: HttpRequest, actor: Actor, key: uuid.UUID) -> str:
    delete_endpoint(actor=actor, key=key, at=now())
    return _("Deleted. Nothing is sent there any more.")


def _repeat(request: HttpRequest, actor: Actor, key: uuid.UUID) -> str:
    try:
        delivery = uuid.UUID(request.POST.get("message", ""))
    except ValueError:
        raise NotVisible from None
    send_again(actor=actor, key=key, delivery=delivery, at=now())
    return _("The message is on its way again, under the same id.")


def _repeat_since(request: HttpRequest, actor: Actor, key: uuid.UUID) -> str:
    tenant: Tenant = request.tenant  # type: ignore[attr-defined]
    since = _start_of(request.POST.get("since", ""), tenant.time_zone)
    count = send_all_again(actor=actor, key=key, since=since, at=now())
    if not count:
        return _("There was nothing to send since then.")
    return ngettext(
        "%(count)s message is on its way again.", "%(count)s messages are on their way again.", count
    ) % {"count": count}


def _start_of(text: str, zone: str) -> datetime:
    """The first instant of a day. :raises Malformed: that is none."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.min
    if not 2000 <= day.year < 9999:
        raise Malformed(_("Enter a day such as 2026-11-30."), field="since")
    return datetime.combine(day, time(), tzinfo=ZoneInfo(zone))


_ACTIONS: Mapping[str, Callable[[HttpRequest, Actor, uuid.UUID], str]] = {
    "change": _change,
    "test": _test,
    "pause": _pause,
    "resume": _resume,
    "delete": _delete,
    "repeat": _repeat,
    "repeat-since": _repeat_since,
}


def _found(actor: Actor, key: uuid.UUID) -> WebhookEndpoint:
    found: WebhookEndpoint | None = WebhookEndpoint.objects.visible_to(actor).filter(key=key).first()
    if found is None:
        raise NotVisible
    return found
