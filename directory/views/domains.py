"""The organization's e-mail domains, and how it proves that they are its own (product §3.2)."""

from datetime import timedelta
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict, DomainError, Malformed, NotAllowed, NotVisible
from config.kit.rate import Limit
from config.kit.tenancy import tenant_atomic
from directory.models import Domain, User
from directory.operations.domains import (
    GRACE,
    NamesUnavailable,
    add_domain,
    is_last,
    proof_of,
    remove_domain,
    verify_domain,
)
from directory.permissions import Capability
from directory.sessions import fresh_to_post

CHECKS = Limit("domain-check", tries=20, per=timedelta(minutes=10), fails_closed=False)


@access.requires(sees=Capability.SEE_SETTINGS)
@fresh_to_post
@require_http_methods(["GET", "HEAD", "POST"])
def domains(request: HttpRequest) -> HttpResponse:
    """The domains, and what each decides. POST: add one."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    name, problem = request.POST.get("name", ""), None
    if request.method == "POST":
        _require_manager(actor)
        try:
            made = add_domain(actor=actor, name=name[:300], at=now())
        except (Conflict, Malformed) as refused:
            problem = refused
        else:
            return HttpResponseRedirect(reverse("portal:domain", args=[made.pk]), status=HTTPStatus.SEE_OTHER)
    rows = Domain.objects.visible_to(actor).order_by("name")
    context = {
        "title": _("Domains"),
        "rows": [{"domain": row, "state": state_of(row)} for row in rows],
        "name": name[:253],
        "may_change": actor.may(Capability.MANAGE_SETTINGS),
        "problem": str(problem) if problem else "",
    }
    status = problem.status if problem else HTTPStatus.OK
    return render_page(request, "directory/domains.html", context, status=status)


@access.requires(sees=Capability.SEE_SETTINGS, owns_transaction=True)
@fresh_to_post
@require_http_methods(["GET", "HEAD", "POST"])
def domain(request: HttpRequest, domain_id: int) -> HttpResponse:
    """One domain with the record that proves it. POST: look for the record, or remove the domain."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    with tenant_atomic(actor):
        found = _found(actor, domain_id)
    problem: DomainError | None = None
    if request.method == "POST":
        _require_manager(actor)
        try:
            return _change(request, actor, found)
        except (Conflict, NamesUnavailable) as refused:
            problem = refused
    with tenant_atomic(actor):
        found = _found(actor, domain_id)
        people = User.objects.active().filter(tenant_id=actor.tenant_id)
        context = {
            "title": found.name,
            "crumbs": [(_("Domains"), reverse("portal:domains"))],
            "domain": found,
            "state": state_of(found),
            "proof": proof_of(found) if found.token else None,
            "people": people.filter(email__iendswith=f"@{found.name}").count(),
            "gone_by": found.missing_since + GRACE if found.missing_since else None,
            "is_last": is_last(found),
            "may_change": actor.may(Capability.MANAGE_SETTINGS),
            "problem": str(problem) if problem else "",
        }
        status = problem.status if problem else HTTPStatus.OK
        return render_page(request, "directory/domain.html", context, status=status)


def _change(request: HttpRequest, actor: Actor, found: Domain) -> HttpResponse:
    if request.POST.get("action") == "remove":
        remove_domain(actor=actor, domain_id=found.pk, at=now())
        messages.success(request, _("%(domain)s leads here no more.") % {"domain": found.name})
        return HttpResponseRedirect(reverse("portal:domains"), status=HTTPStatus.SEE_OTHER)
    CHECKS.count(str(actor.tenant_id))
    verify_domain(actor=actor, domain_id=found.pk, at=now())
    messages.success(request, _("The record is there: %(domain)s is yours.") % {"domain": found.name})
    return HttpResponseRedirect(reverse("portal:domain", args=[found.pk]), status=HTTPStatus.SEE_OTHER)


def state_of(domain: Domain) -> dict[str, Any]:
    """How a domain stands, in a word and its tone."""
    if domain.verified_at is None:
        return {"label": _("Not proved yet"), "tone": "sk-warn"}
    if domain.missing_since is not None:
        return {"label": _("Record is gone"), "tone": "sk-bad"}
    return {"label": _("In use"), "tone": "sk-ok"}


def _require_manager(actor: Actor) -> None:
    if not actor.may(Capability.MANAGE_SETTINGS):
        raise NotAllowed


def _found(actor: Actor, domain_id: int) -> Domain:
    rows = Domain.objects.visible_to(actor)
    found: Domain | None = rows.filter(pk=domain_id).first() if domain_id < 2**63 else None
    if found is None:
        raise NotVisible
    return found
