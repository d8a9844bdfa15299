"""Tokens for the API: a person's own, and the organization's (product §16). A new one is shown this once."""

import uuid
from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now, real_now
from config.kit.errors import Malformed, NotVisible, Text
from config.kit.once import SentAlready, once
from directory.models import ApiToken, User
from directory.operations.tokens import (
    NAME_LENGTH,
    Issued,
    TooManyTokens,
    issue_personal_token,
    issue_service_token,
    revoke_token,
    service_scopes,
)
from directory.permissions import Capability
from directory.sessions import confirm_url, is_fresh
from directory.tokens import SCIM, SCOPES

MOST_SHOWN = 100
SCOPE_NOTES: dict[str, Text] = {
    "policies.read": gettext_lazy("Read the purchase policy"),
    "policies.write": gettext_lazy("Read and change the purchase policy"),
    "purchases.read": gettext_lazy("List purchases with their prices"),
    "purchases.write": gettext_lazy("Change and cancel purchases"),
    "licenses.read": gettext_lazy("Read licenses and who holds them; check who may use a product"),
    "licenses.write": gettext_lazy("Assign and take back licenses"),
    "capacity.write": gettext_lazy("Report how much storage a product uses"),
    "bills.read": gettext_lazy("Read bills"),
    "requests.write": gettext_lazy("Ask for licenses and answer requests"),
    "audit.read": gettext_lazy("Read the audit trail"),
    "scim": gettext_lazy("Keep accounts in step with a directory (SCIM)"),
    "full": gettext_lazy("Everything below that the roles allow"),
}
LENGTHS = (7, 30, 90, 180, 366)
USUAL_LENGTH = 90


@access.requires(sees=Capability.PERSONAL_TOKENS)
@require_http_methods(["GET", "HEAD", "POST"])
def personal_tokens(request: HttpRequest) -> HttpResponse:
    """The person's tokens. POST: make one, which this answer alone shows, or revoke one."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    address = reverse("directory:tokens")
    if request.POST.get("action") == "revoke":
        return revoke_by_form(request, actor, address)
    context, status = make_token(request, actor, issue_personal_token)
    rows = ApiToken.objects.visible_to(actor).filter(kind=ApiToken.Kind.PERSONAL).order_by("-id")[:MOST_SHOWN]
    context |= {
        "rows": token_lines(rows, actor, frozenset(SCOPES)),
        "choices": _choices(SCOPES.keys() - {SCIM}, context),
        "section": "account",
    }
    return render(request, "directory/tokens.html", context, status=status)


@access.requires(sees=Capability.SEE_SERVICE_TOKENS)
@require_http_methods(["GET", "HEAD", "POST"])
def organization_tokens(request: HttpRequest) -> HttpResponse:
    """The organization's tokens. POST: make one, which this answer alone shows, or revoke one."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    address = reverse("portal:tokens")
    if request.POST.get("action") == "revoke":
        return revoke_by_form(request, actor, address)
    context, status = make_token(request, actor, issue_service_token)
    allowed = service_scopes(actor)
    rows = ApiToken.objects.visible_to(actor).filter(kind=ApiToken.Kind.SERVICE).order_by("-id")[:MOST_SHOWN]
    context |= {
        "title": _("Service tokens"),
        "rows": token_lines(rows, actor, allowed),
        "choices": _choices(allowed - {SCIM}, context),
        "is_organizations": True,
    }
    return render_page(request, "directory/service_tokens.html", context, status=status)


def make_token(
    request: HttpRequest, actor: Actor, issue: Callable[..., Issued], *, scope: str = ""
) -> tuple[dict[str, Any], HTTPStatus]:
    """What the page says of the token just made, or of what was wrong with the form.

    The form is there for who signed in lately; who has filled it in for too long finds it filled in as they return.
    `scope`: the only one that a token of this page has.
    """
    typed = request.POST if request.method == "POST" else request.GET
    name, days = typed.get("name", ""), typed.get("days", "")
    scopes = [] if scope else typed.getlist("scope")
    filled = {
        "lengths": LENGTHS,
        "name": name,
        "chosen": frozenset(scopes),
        "days": int(days) if days in map(str, LENGTHS) else USUAL_LENGTH,
    }
    if not is_fresh(request):
        back = f"{request.path}?{_query(name, scopes, days)}#make" if name or scopes else request.path
        status = HTTPStatus.FORBIDDEN if request.method == "POST" else HTTPStatus.OK
        return filled | {"confirm_url": confirm_url(back), "was_refused": request.method == "POST"}, status
    if request.method != "POST":
        return filled, HTTPStatus.OK
    blank = {"chosen": frozenset(), "days": USUAL_LENGTH, "lengths": LENGTHS}
    try:
        with once(request):
            issued = issue(
                actor=actor,
                name=name,
                scopes=[scope] if scope else scopes,
                days=int(days) if days.isascii() and days.isdecimal() and len(days) < 5 else 0,
                at=now(),
                real_at=real_now(),
            )
    except SentAlready as sent:
        return blank | {"problem": str(sent)}, HTTPStatus(sent.status)
    except (Malformed, TooManyTokens) as refused:
        field = getattr(refused, "field", "")
        return filled | {"problem": str(refused), "wrong": field}, HTTPStatus(refused.status)
    return blank | {"issued": issued}, HTTPStatus.OK


def _query(name: str, scopes: list[str], days: str) -> str:
    """What was typed, as far as it may be kept in an address."""
    kept = [("name", name[:NAME_LENGTH]), *(("scope", scope) for scope in SCOPES if scope in scopes)]
    return urlencode([*kept, *([("days", days)] if days in map(str, LENGTHS) else [])])


def revoke_by_form(request: HttpRequest, actor: Actor, address: str) -> HttpResponse:
    try:
        key = uuid.UUID(request.POST.get("key", ""))
    except ValueError:
        raise NotVisible from None
    revoke_token(actor=actor, key=key, at=now(), real_at=real_now())
    messages.success(request, _("Revoked. Its next call is refused."))
    return HttpResponseRedirect(address, status=HTTPStatus.SEE_OTHER)


def _choices(allowed: Collection[str], context: dict[str, Any]) -> list[dict[str, Any]]:
    """The scopes to choose from, in their order, everything first."""
    order = sorted(SCOPES, key=lambda scope: scope != "full")
    return [
        {"scope": scope, "note": SCOPE_NOTES[scope], "is_chosen": scope in context["chosen"]}
        for scope in order
        if scope in allowed
    ]


def token_lines(rows: Any, actor: Actor, allowed: frozenset[str]) -> list[dict[str, Any]]:
    """Each token with its state; whether its issuer is still here. Two queries."""
    tokens, real = list(rows), real_now()
    here = set(
        User.objects.active()
        .filter(tenant_id=actor.tenant_id, pk__in={token.issued_by_id for token in tokens})
        .values_list("pk", flat=True)
    )
    return [
        {
            "token": token,
            "is_over": token.expires_at <= real,
            "is_live": not token.is_revoked and token.expires_at > real,
            "issuer_left": token.issued_by_id not in here,
            "may_revoke": set(token.scopes) <= allowed,
        }
        for token in tokens
    ]
