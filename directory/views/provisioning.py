"""How the organization's own directory keeps its accounts: the address, the tokens, what it did last (product §16)."""

from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.errors import NotAllowed
from directory import trail
from directory.models import ApiToken, AuditEntry
from directory.operations.people import is_kept_by_directory
from directory.operations.tokens import issue_service_token, service_scopes
from directory.permissions import Capability
from directory.tokens import SCIM
from directory.views.tokens import MOST_SHOWN, make_token, revoke_by_form, token_lines

LATEST = 20


@access.requires(sees=Capability.SEE_SETTINGS)
@require_http_methods(["GET", "HEAD", "POST"])
def provisioning(request: HttpRequest) -> HttpResponse:
    """The page. POST: make a token, which this answer alone shows, or revoke one."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    address = reverse("portal:provisioning")
    may_change = actor.may(Capability.MANAGE_SETTINGS)
    if request.method == "POST" and not may_change:
        raise NotAllowed
    if request.POST.get("action") == "revoke":
        return revoke_by_form(request, actor, address)
    context, status = make_token(request, actor, issue_service_token, scope=SCIM)
    rows = (
        ApiToken.objects.visible_to(actor)
        .filter(kind=ApiToken.Kind.SERVICE, scopes__contains=[SCIM])
        .order_by("-id")[:MOST_SHOWN]
    )
    return _rendered(
        request, actor, context | {"rows": token_lines(rows, actor, service_scopes(actor))}, status
    )


def _rendered(
    request: HttpRequest, actor: Actor, context: dict[str, Any], status: HTTPStatus
) -> HttpResponse:
    latest = AuditEntry.objects.visible_to(actor).filter(door="scim").order_by("-id")[:LATEST]
    context |= {
        "title": _("Provisioning"),
        "scim_address": f"{settings.PUBLIC_URL}{reverse('scim:root').rstrip('/')}",
        "is_connected": is_kept_by_directory(actor.tenant_id),
        "latest": [{"entry": entry, "said": trail.title_of(entry.code)} for entry in latest],
        "may_change": actor.may(Capability.MANAGE_SETTINGS),
        "is_organizations": True,
        "is_provisioning": True,
    }
    return render_page(request, "directory/provisioning.html", context, status=status)
