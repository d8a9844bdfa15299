"""Every change of the purchase policy, and the page that undoes one (product §9)."""

import uuid
from http import HTTPStatus

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from commerce.views.policy_wording import control_crumbs, lines_of
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict, NotVisible
from config.kit.keyset import paginate
from directory.permissions import Capability
from policies.models import PolicyChange
from policies.operations import policies as operations

SEE_OTHER = HTTPStatus.SEE_OTHER


@access.requires(sees=Capability.READ_POLICY)
def policy_history(request: HttpRequest) -> HttpResponse:
    """Every change, the latest first, 50 a page."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    tenant = request.tenant  # type: ignore[attr-defined]
    page = paginate(
        PolicyChange.objects.visible_to(actor),
        order=["-id"],
        cursor=request.GET.get("page", "")[:200],
        key=lambda row: [row.pk],
    )
    context = {
        "title": _("History"),
        "crumbs": [*control_crumbs(), (_("Purchase policy"), reverse("portal:policy"))],
        "may_change": actor.may(Capability.CHANGE_POLICY),
        "history": lines_of(actor, page.rows, tenant),
        "next": f"?page={page.next}" if page.next else "",
        "back": f"?page={page.back}" if page.back else "",
        "zone": tenant.time_zone,
    }
    return render_page(request, "commerce/policy_history.html", context)


@access.requires(sees=Capability.READ_POLICY, may=Capability.CHANGE_POLICY)
def policy_undo(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: what undoing one change sets back. POST: set it back."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    change = PolicyChange.objects.visible_to(actor).filter(key=key).first()
    if change is None:
        raise NotVisible
    problem, status = "", HTTPStatus.OK
    if request.method == "POST":
        try:
            operations.undo_change(actor=actor, key=key, at=now())
        except Conflict as refused:
            problem, status = str(refused), HTTPStatus.CONFLICT
        else:
            messages.success(request, _("The change is undone. What held before holds from now on."))
            return HttpResponseRedirect(reverse("portal:policy"), status=SEE_OTHER)
    tenant = request.tenant  # type: ignore[attr-defined]
    context = {
        "title": _("Undo a change"),
        "crumbs": [*control_crumbs(), (_("Purchase policy"), reverse("portal:policy"))],
        "problem": problem,
        "line": lines_of(actor, [change], tenant)[0],
        "zone": tenant.time_zone,
    }
    return render_page(request, "commerce/policy_undo.html", context, status=status)
