"""The partner's customers: the switcher, and every relationship for its admins (product §12)."""

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Malformed, NotVisible, Text
from directory.operations.partners import record_acting
from directory.permissions import Capability
from directory.queries import customers_of
from directory.queries.partners import invitations_made, relationships_page
from directory.sessions import act_in, rights_of
from directory.views import staff_sessions
from directory.views.relationship_words import names

CHIPS: dict[str, Text] = {
    "all": gettext_lazy("All"),
    "active": gettext_lazy("Active"),
    "ended": gettext_lazy("Ended"),
}
# So long before its end a relationship is marked.
SOON_DAYS = 30


@access.signed_in
@require_http_methods(["GET", "HEAD"])
def customers(request: HttpRequest) -> HttpResponse:
    """The customers that the person may act for; for the partner's admins also every relationship and invitation."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    sees_all = sees_relationships_as_partner(actor)
    if not actor.has_customers and not sees_all:
        raise NotVisible
    show = request.GET.get("show", "all")
    if show not in CHIPS:
        raise Malformed(_("There is no such filter."), field="show")
    at, query = now(), request.GET.get("q", "").strip()[:200]
    found = customers_of(home_tenant_id=actor.home_tenant_id, user_id=actor.user_id or 0, at=at)
    context: dict[str, Any] = {
        "title": _("Customers"),
        "rows": [
            {"customer": customer, "roles": names(customer.roles), "days": _days_left(customer.ends_at, at)}
            for customer in found
            if query.casefold() in customer.name.casefold()
        ],
        "query": query,
        "total": len(found),
        "sees_all": sees_all,
    }
    if sees_all:
        context |= _relationships(request, actor, show, query, at)
    return render_page(request, "directory/customers.html", context)


def sees_relationships_as_partner(actor: Actor) -> bool:
    """Whoever sees the relationships of an organization that is a partner, and whoever could make it one."""
    if actor.is_partner:
        return False
    return actor.may(Capability.ASK_RELATIONSHIP) or (
        actor.is_of_partner and actor.may(Capability.SEE_RELATIONSHIPS)
    )


def _relationships(request: HttpRequest, actor: Actor, show: str, query: str, at: datetime) -> dict[str, Any]:
    """Every relationship of the partner, a page by key, and what waits for a customer's answer."""
    page = relationships_page(actor, show=show, query=query, cursor=request.GET.get("page", ""), at=at)
    kept = ({"show": show} if show != "all" else {}) | ({"q": query} if query else {})
    made = invitations_made(actor, query=query) if show == "all" and not request.GET.get("page") else []
    return {
        "relationships": [
            {
                "relationship": row,
                "roles": names(row.roles),
                "is_running": row.is_running(at),
                "days": _days_left(row.ends_at, at),
            }
            for row in page.rows
        ],
        "waiting": [{"invitation": each, "roles": names(each.roles)} for each in made if each.is_open(at)],
        "refused": [{"invitation": each} for each in made if not each.is_open(at)],
        "chips": [
            {
                "label": label,
                "address": f"?{urlencode({'show': code} | ({'q': query} if query else {}))}",
                "is_current": code == show,
            }
            for code, label in CHIPS.items()
        ],
        "show": show,
        "may_ask": actor.may(Capability.ASK_RELATIONSHIP),
        "next": f"?{urlencode(kept | {'page': page.next})}" if page.next else "",
        "back": f"?{urlencode(kept | {'page': page.back})}" if page.back else "",
    }


def _days_left(ends_at: datetime, at: datetime) -> int | None:
    """The days that are left of what ends soon; None of all else."""
    days = (ends_at - at).days
    return days if 0 <= days < SOON_DAYS else None


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
    act_in(request, chosen.tenant_id, rights_of(chosen.tenant_id, chosen.roles))
    return redirect("portal:index")


@access.signed_in
@require_POST
def stop_acting(request: HttpRequest) -> HttpResponse:
    """Be at home again."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if actor.is_staff:
        return staff_sessions.leave(request, actor)
    if not actor.has_customers:
        raise NotVisible
    act_in(request, actor.home_tenant_id)
    return redirect("portal:customers")
