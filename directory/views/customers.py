"""The partner's customer switcher (product §12)."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import NotVisible
from directory.models import RoleAssignment
from directory.operations.partners import record_acting
from directory.queries import customers_of
from directory.sign_in import ACTING

NAMES = dict(RoleAssignment.Name.choices)


@access.signed_in
@require_http_methods(["GET", "HEAD"])
def customers(request: HttpRequest) -> HttpResponse:
    """The customers that the person may act for; not there for whoever has none."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if not actor.has_customers:
        raise NotVisible
    query = request.GET.get("q", "").strip()[:200]
    found = customers_of(home_tenant_id=actor.home_tenant_id, user_id=actor.user_id or 0, at=now())
    rows = [
        {"customer": customer, "roles": [NAMES[role] for role in customer.roles]}
        for customer in found
        if query.casefold() in customer.name.casefold()
    ]
    context = {"title": _("Customers"), "rows": rows, "query": query, "total": len(found)}
    return render_page(request, "directory/customers.html", context)


@access.signed_in
@require_POST
def act_for(request: HttpRequest) -> HttpResponse:
    """Act for a customer from now on; the right to do so is read again, here and at every request."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    found = customers_of(home_tenant_id=actor.home_tenant_id, user_id=actor.user_id or 0, at=at)
    chosen = next((c for c in found if str(c.tenant_id) == request.POST.get("customer")), None)
    if chosen is None:
        raise NotVisible
    record_acting(user=request.user, customer_id=chosen.tenant_id, at=at)  # type: ignore[arg-type]
    request.session.cycle_key()
    request.session[ACTING] = chosen.tenant_id
    return redirect("portal:index")


@access.signed_in
@require_POST
def stop_acting(request: HttpRequest) -> HttpResponse:
    """Be at home again."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if not actor.has_customers:
        raise NotVisible
    request.session.cycle_key()
    request.session[ACTING] = actor.home_tenant_id
    return redirect("portal:customers")
