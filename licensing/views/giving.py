"""The page that gives the users of a purchase licenses of the organization's (product §5.1, §11)."""

import uuid
from datetime import datetime
from http import HTTPStatus
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict, DomainError, Malformed
from config.kit.tenancy import tenant_atomic
from directory.permissions import Capability
from licensing.operations.assignments import Busy, NotAssignable
from licensing.operations.giving import give_central_licenses_to_users, purchase_for
from licensing.queries.giving import central_choices, users_of


@access.requires(sees=Capability.SEE_LICENSES, owns_transaction=True)
@require_http_methods(["GET", "HEAD", "POST"])
def give_central(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: who would get one, and from where. POST: give them."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    if request.method != "POST":
        return _page(request, actor, key)
    try:
        given = _give(request, actor, key, at)
    except (Conflict, Malformed, NotAssignable, Busy) as refused:
        return _page(request, actor, key, refused=refused)
    told = ngettext("%d license was assigned.", "%d licenses were assigned.", given) % given
    messages.success(request, told)
    return HttpResponseRedirect(
        reverse("portal:license-subscription", args=[key]), status=HTTPStatus.SEE_OTHER
    )


def _give(request: HttpRequest, actor: Actor, key: uuid.UUID, at: datetime) -> int:
    """How many were given. :raises Malformed: no subscription was chosen."""
    with tenant_atomic(actor):
        purchase_for(actor, key)
    try:
        central = uuid.UUID(request.POST.get("central", ""))
    except ValueError:
        raise Malformed(_("Choose where the licenses come from."), field="central") from None
    return give_central_licenses_to_users(actor=actor, source_key=key, central_key=central, at=at).done


def _page(
    request: HttpRequest, actor: Actor, key: uuid.UUID, *, refused: DomainError | None = None
) -> HttpResponse:
    with tenant_atomic(actor):
        source = purchase_for(actor, key)
        users = users_of(source)
        needed = len(users.need)
        buying = urlencode({"product": source.product.slug, "quantity": max(1, needed)})
        context = {
            "title": _("Give its users central licenses"),
            "crumbs": [
                (_("Licenses"), reverse("portal:licenses")),
                (source.product.name, reverse("portal:license-subscription", args=[key])),
            ],
            "subscription": source,
            "product": source.product,
            "needed": needed,
            "have": users.have,
            "choices": [
                {"each": each, "is_enough": each.assignable >= needed}
                for each in central_choices(actor, source)
            ],
            "buy": f"{reverse('portal:buy-centrally')}?{buying}"
            if actor.may(Capability.BUY_CENTRALLY)
            else "",
            "problem": str(refused) if refused else "",
            "address": reverse("portal:license-subscription", args=[key]),
        }
        status = refused.status if refused else HTTPStatus.OK
        return render_page(request, "licensing/give_central.html", context, status=status)
