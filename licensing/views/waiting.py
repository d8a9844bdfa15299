"""The waiting list of a subscription of the organization: its order, adding, taking off (product §7.6)."""

import uuid
from http import HTTPStatus
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import DomainError, Malformed, NotAllowed, NotVisible
from directory.permissions import Capability
from licensing.forms import person_ids
from licensing.operations.waiting import add_to_waiting_list, remove_from_waiting_list
from licensing.queries import holders
from licensing.queries.waiting import line_page


@access.requires(sees=Capability.SEE_LICENSES)
def waiting_list(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: who waits, in order. POST: `person` puts people at its end, `place` takes one off."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    subscription = holders.subscription_for(actor, key, to_see=Capability.SEE_LICENSES)
    if not subscription.is_organizations:
        raise NotVisible
    if request.method == "POST":
        if not holders.may_assign(actor, subscription):
            raise NotAllowed
        try:
            _change(request, actor, key)
        except (NotVisible, NotAllowed):
            raise
        except DomainError as problem:
            messages.error(request, str(problem))
        return HttpResponseRedirect(
            reverse("portal:license-waiting", args=[key]), status=HTTPStatus.SEE_OTHER
        )
    page = line_page(subscription, cursor=request.GET.get("page", ""))
    address = reverse("portal:license-subscription", args=[key])
    context = {
        "title": _("Waiting list"),
        "crumbs": [(_("Licenses"), reverse("portal:licenses")), (subscription.product.name, address)],
        "subscription": subscription,
        "rows": page.rows,
        "next": _turn(page.next),
        "back": _turn(page.back),
        "may_assign": holders.may_assign(actor, subscription),
        "assign_address": reverse("portal:license-assign", args=[key]),
        "zone": subscription.time_zone,
    }
    return render_page(request, "licensing/waiting_list.html", context)


def _change(request: HttpRequest, actor: Actor, key: uuid.UUID) -> None:
    if "place" in request.POST:
        try:
            place = uuid.UUID(request.POST["place"])
        except ValueError:
            raise Malformed(_("Choose somebody from the list. Nothing was changed.")) from None
        gone = remove_from_waiting_list(actor=actor, subscription_key=key, place_key=place, at=now())
        messages.success(request, _("%(name)s waits no more.") % {"name": gone.user.name})
        return
    ids = person_ids(request.POST.getlist("person"))
    added, served = add_to_waiting_list(actor=actor, subscription_key=key, user_ids=ids, at=now())
    messages.success(
        request,
        ngettext("%(count)d person waits now.", "%(count)d people wait now.", added) % {"count": added},
    )
    if served:
        messages.success(
            request,
            ngettext(
                "%(count)d license was free: the first in line has it now.",
                "%(count)d licenses were free: the first in line have them now.",
                served,
            )
            % {"count": served},
        )


def _turn(cursor: str) -> str:
    return "?" + urlencode({"page": cursor}) if cursor else ""
