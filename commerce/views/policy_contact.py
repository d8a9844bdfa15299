"""The organization's own words for people who may not buy (product §3.3)."""

from http import HTTPStatus

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from commerce.views.policy_wording import control_crumbs, is_without_self_service
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Malformed, NotVisible
from directory.permissions import Capability
from policies.operations import policies as operations
from policies.queries.policies import contact_text

SEE_OTHER = HTTPStatus.SEE_OTHER


@access.requires(sees=Capability.EDIT_CONTACT_TEXT)
def policy_contact(request: HttpRequest) -> HttpResponse:
    """The organization's own words for people who may not buy, with one link."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if is_without_self_service(request):
        raise NotVisible
    saved = contact_text(actor=actor)
    text, url = saved.text, saved.url
    errors: dict[str, str] = {}
    if request.method == "POST":
        text, url = request.POST.get("text", ""), request.POST.get("url", "")
        try:
            operations.set_contact_text(actor=actor, text=text, url=url, at=now())
        except Malformed as wrong:
            errors[wrong.field] = str(wrong)
        else:
            messages.success(request, _("People who may not buy read this from now on."))
            return HttpResponseRedirect(reverse("portal:policy"), status=SEE_OTHER)
    context = {
        "title": _("IT contact"),
        "crumbs": [*control_crumbs(), (_("Purchase policy"), reverse("portal:policy"))],
        "problem": _("Something is missing or wrong. Nothing was saved. The fields say what.")
        if errors
        else "",
        "errors": errors,
        "text": text,
        "url": url,
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if errors else HTTPStatus.OK
    return render_page(request, "commerce/policy_contact.html", context, status=status)
