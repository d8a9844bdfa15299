"""The partners of an organization, and asking a customer to become one (product §12)."""

from dataclasses import dataclass, replace
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import DomainError, Malformed, NotVisible
from config.kit.rate import Limit
from directory.operations.invitations import (
    LONGEST_MESSAGE,
    VALID_FOR,
    OwnOrganization,
    TooManyInvitations,
    ask_for_relationship,
)
from directory.operations.partners import LONGEST_DAYS, LONGEST_NAME
from directory.permissions import ROLES, Capability
from directory.queries.partners import invitations_received, partners_of
from directory.views.relationship_words import names, role_lines

# So often an organization may ask; each one is a mail to somebody else's admins.
PER_PARTNER = Limit("ask-relationship", tries=50, per=timedelta(days=1), fails_closed=False)


@access.requires(sees=Capability.SEE_RELATIONSHIPS)
@require_safe
def relationships(request: HttpRequest) -> HttpResponse:
    """Who may act for the organization, who asks to, and who could once."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    rows = [
        {"relationship": row, "roles": names(row.roles), "is_running": row.is_running(at)}
        for row in partners_of(actor)
    ]
    context = {
        "title": _("Partners"),
        "invitations": [
            {"invitation": each, "roles": names(each.roles)} for each in invitations_received(actor, at=at)
        ],
        "running": [row for row in rows if row["is_running"]],
        "over": [row for row in rows if not row["is_running"]],
        "may_ask": not actor.is_partner and actor.may(Capability.ASK_RELATIONSHIP),
    }
    return render_page(request, "directory/relationships.html", context)


@dataclass(frozen=True, slots=True)
class Asked:
    """The form as it was filled in."""

    domain: str = ""
    name: str = ""
    roles: tuple[str, ...] = ()
    days: str = "365"
    message: str = ""
    extends: bool = False


@access.requires(sees=Capability.ASK_RELATIONSHIP, owns_transaction=True)
@require_http_methods(["GET", "HEAD", "POST"])
def ask(request: HttpRequest) -> HttpResponse:
    """Ask a customer for a relationship. POST: make the invitation and show its link."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if actor.is_partner:
        raise NotVisible
    asked, problem = Asked(), None
    if request.method == "POST":
        asked = _read(request)
        try:
            made = _ask(actor, asked)
        except (Malformed, OwnOrganization, TooManyInvitations) as refused:
            problem = refused
        else:
            messages.success(
                request, _("Here is the invitation. Give its link to a global admin of the customer.")
            )
            return HttpResponseRedirect(made, status=HTTPStatus.SEE_OTHER)
    return _form(request, asked, problem)


def _read(request: HttpRequest) -> Asked:
    posted = request.POST
    return replace(
        Asked(),
        domain=posted.get("domain", "").strip().removeprefix("@")[:300],
        name=posted.get("name", "")[: LONGEST_NAME + 1],
        roles=tuple(role for role in posted.getlist("roles") if role in ROLES),
        days=posted.get("days", "").strip()[:20],
        message=posted.get("message", "")[: 2 * LONGEST_MESSAGE],
        extends=posted.get("extends") == "yes",
    )


def _ask(actor: Actor, asked: Asked) -> str:
    """The address of the invitation."""
    is_number = asked.days.isascii() and asked.days.isdecimal() and len(asked.days) < 5
    PER_PARTNER.count(str(actor.tenant_id))
    made = ask_for_relationship(
        actor=actor,
        domain=asked.domain,
        name=asked.name,
        roles=asked.roles,
        days=int(asked.days) if is_number else 0,
        message=asked.message,
        extends=asked.extends,
        at=now(),
    )
    return reverse("portal:relationship", args=[made.key])


def _form(request: HttpRequest, asked: Asked, problem: DomainError | None) -> HttpResponse:
    context: dict[str, Any] = {
        "title": _("Ask a customer"),
        "crumbs": [(_("Customers"), reverse("portal:customers"))],
        "asked": asked,
        "roles": role_lines(ROLES),
        "most_days": LONGEST_DAYS,
        "longest_name": LONGEST_NAME,
        "longest_message": LONGEST_MESSAGE,
        "valid_days": VALID_FOR.days,
        "problem": str(problem) if problem else "",
        "field": getattr(problem, "field", "domain") if problem else "",
    }
    return render_page(
        request,
        "directory/relationship_ask.html",
        context,
        status=problem.status if problem else HTTPStatus.OK,
    )
