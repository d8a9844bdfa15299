"""Ending a relationship, from either side: what happens then, before the click (product §12)."""

import uuid
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
from config.kit.errors import NotAllowed
from directory.models import Relationship
from directory.operations import partners
from directory.queries.partners import assignments_of, relationship_for
from directory.views.relationship_words import crumbs, names


@access.signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def end(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: what ending it does. POST: end it; twice is once. Whoever it is not for gets the answer of its own page."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    found = relationship_for(actor, key)
    if found is None:
        return render(request, "directory/invitation_closed.html", status=HTTPStatus.FORBIDDEN)
    if not partners.may_end(actor, found):
        raise NotAllowed
    address, at = reverse("portal:relationship", args=[key]), now()
    if request.method == "POST":
        partners.end_relationship(actor=actor, key=key, at=at)
        messages.success(request, _("Ended. From now on nobody of the partner can act here."))
        return HttpResponseRedirect(address, status=HTTPStatus.SEE_OTHER)
    if not found.is_running(at):
        return HttpResponseRedirect(address)
    return render_page(request, "directory/relationship_end.html", _context(actor, found, address))


def _context(actor: Actor, found: Relationship, address: str) -> dict[str, Any]:
    is_customer = found.tenant_id == actor.tenant_id
    other = found.partner_name if is_customer else found.customer_name
    return {
        "title": _("End the relationship with %(other)s") % {"other": other},
        "crumbs": [*crumbs(is_customer=is_customer), (other, address)],
        "relationship": found,
        "is_customer": is_customer,
        "address": address,
        "holders": [(row, names(set(row.roles) & set(found.roles))) for row in assignments_of(found)],
    }
