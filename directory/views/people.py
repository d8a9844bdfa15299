"""The people of the organization, as a list, and what it decides about those who leave (product §2, §11)."""

from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_safe

from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Malformed, Text
from directory.models import RoleAssignment, Tenant, User
from directory.models.tenants import MOST_SEATS_KEPT_DAYS
from directory.operations.leaving import set_seats_kept
from directory.permissions import Capability
from directory.queries import people_page

CHIPS: dict[str, Text] = {
    "all": gettext_lazy("All"),
    "active": gettext_lazy("Active"),
    "disabled": gettext_lazy("Disabled"),
    "guests": gettext_lazy("Guests"),
    "synced": gettext_lazy("Synced from on-premises"),
    "deleted": gettext_lazy("Deleted"),
}
TONES = {User.Status.ACTIVE: "sk-ok", User.Status.DISABLED: "sk-warn", User.Status.DELETED: "sk-bad"}
ROLE_NAMES = dict(RoleAssignment.Name.choices)


@access.requires(sees=Capability.SEE_PEOPLE)
@require_safe
def people(request: HttpRequest) -> HttpResponse:
    """Everybody with an account here, by name."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    show = request.GET.get("show", "all")
    if show not in CHIPS:
        raise Malformed(_("There is no such filter."), field="show")
    query = request.GET.get("q", "").strip()[:200]
    page = people_page(actor, show=show, query=query, cursor=request.GET.get("page", ""))
    kept = {"show": show} if show != "all" else {}
    searched = {"q": query} if query else {}
    context = {
        "title": _("People"),
        "rows": [line_of(user) for user in page.rows],
        "chips": [
            {
                "label": label,
                "address": _address(searched | ({"show": code} if code != "all" else {})),
                "is_current": code == show,
            }
            for code, label in CHIPS.items()
        ],
        "show": show,
        "query": query,
        "sees_settings": actor.may(Capability.SEE_SETTINGS),
        "next": _address(kept | {"page": page.next}) if page.next else "",
        "back": _address(kept | {"page": page.back}) if page.back else "",
    }
    return render_page(request, "directory/people.html", context)


def line_of(user: User) -> dict[str, Any]:
    """A person with what a list or a page says beside the name; the roles are there already."""
    roles = sorted(assignment.role for assignment in user.role_assignments.all())
    return {
        "user": user,
        "tone": TONES[User.Status(user.status)],
        "roles": [ROLE_NAMES[role] for role in roles],
    }


def _address(values: dict[str, str]) -> str:
    return f"?{urlencode(values)}"


@access.requires(sees=Capability.SEE_SETTINGS)
@require_http_methods(["GET", "HEAD", "POST"])
def settings_page(request: HttpRequest) -> HttpResponse:
    """For how long the licenses of a disabled person are kept."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    tenant: Tenant = request.tenant  # type: ignore[attr-defined]
    days, problem = str(tenant.seats_kept_days), ""
    if request.method == "POST":
        days = request.POST.get("days", "").strip()[:20]
        is_number = days.isascii() and days.isdecimal() and len(days) < 4
        try:
            set_seats_kept(actor=actor, days=int(days) if is_number else None, at=now())
        except Malformed as refused:
            problem = str(refused)
        else:
            messages.success(request, _("Saved. It holds for everybody who is disabled already, too."))
            return HttpResponseRedirect(reverse("portal:people-settings"), status=HTTPStatus.SEE_OTHER)
    context = {
        "title": _("When somebody leaves"),
        "crumbs": [(_("People"), reverse("portal:people"))],
        "days": days,
        "most": MOST_SEATS_KEPT_DAYS,
        "problem": problem,
        "may_change": actor.may(Capability.MANAGE_SETTINGS),
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if problem else HTTPStatus.OK
    return render_page(request, "directory/people_settings.html", context, status=status)
