"""What the organization decides about signing in: who becomes a member, and what admins need (product §3.2)."""

from http import HTTPStatus

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Malformed
from directory.models import IdentityProvider, Tenant
from directory.operations.tenants import NoSecondFactor, set_member_creation, set_second_factor
from directory.permissions import Capability
from directory.sessions import SECOND_FACTOR, confirm_url, fresh_to_post


@access.requires(sees=Capability.SEE_SETTINGS)
@fresh_to_post
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in_settings(request: HttpRequest) -> HttpResponse:
    """Where people sign in, who becomes a member, and whether roles need a second factor. POST: change one of them."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    tenant: Tenant = request.tenant  # type: ignore[attr-defined]
    problem: NoSecondFactor | None = None
    if request.method == "POST":
        try:
            _change(request, actor, tenant)
        except NoSecondFactor as refused:
            problem = refused
        else:
            return HttpResponseRedirect(reverse("portal:sign-in-settings"), status=HTTPStatus.SEE_OTHER)
    provider = IdentityProvider.objects.visible_to(actor).filter(is_active=True).first()
    waiting = IdentityProvider.objects.visible_to(actor).filter(switch_at__isnull=False).first()
    context = {
        "title": _("Sign-in"),
        "waiting": waiting,
        "provider": provider,
        "creates_members": tenant.creates_members,
        "needs_second_factor": tenant.admins_need_second_factor,
        "has_second_factor": bool(request.session.get(SECOND_FACTOR)),
        "confirm_url": confirm_url(reverse("portal:sign-in-settings")),
        "may_change": actor.may(Capability.MANAGE_SETTINGS),
        "problem": str(problem) if problem else "",
    }
    status = problem.status if problem else HTTPStatus.OK
    return render_page(request, "directory/sign_in_settings.html", context, status=status)


def _change(request: HttpRequest, actor: Actor, tenant: Tenant) -> None:
    what, wanted = request.POST.get("what", ""), request.POST.get("is_on", "")
    if what not in ("second_factor", "members") or wanted not in ("0", "1"):
        raise Malformed(_("Choose what to change."), field="what")
    is_on = wanted == "1"
    if what == "second_factor":
        has_one = bool(request.session.get(SECOND_FACTOR))
        changed = set_second_factor(actor=actor, is_on=is_on, has_one=has_one, at=now())
    else:
        changed = tenant.creates_members != is_on
        set_member_creation(actor=actor, is_on=is_on, at=now())
    messages.success(request, _("Saved.") if changed else _("Nothing was changed."))
