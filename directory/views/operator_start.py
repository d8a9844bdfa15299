"""The first page of the vendor's site: what needs a look by whoever opens it (product §16)."""

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from config.kit import access
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.operator import looks_for, render_operator_page
from directory.models import StaffAssignment
from directory.staff import STAFF_ROLES, StaffCapability

NAMES = dict(StaffAssignment.Role.choices)


@access.requires(sees=StaffCapability.OPERATE)
@require_safe
def start(request: HttpRequest) -> HttpResponse:
    """What needs a look, and what the person works at."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    context = {
        "title": _("What needs a look"),
        "looks": looks_for(actor, now()),
        "works_at": [NAMES[role] for role in STAFF_ROLES if role in actor.staff_roles],
    }
    return render_operator_page(request, "directory/operator_start.html", context)
