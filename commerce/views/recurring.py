"""The recurring-billing switch: what happens and when, before the click (product §5.3, §5.5)."""

import uuid
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from commerce import states
from commerce.models import Subscription
from commerce.operations.recurring import SWITCHABLE, NothingToRenew, set_recurring_billing
from commerce.queries import details
from commerce.queries.dunning import failed_payments
from commerce.views.subscriptions import day, money
from commerce.views.wording import life, unpaid
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict
from directory.permissions import Capability


@access.requires(sees=Capability.SEE_PURCHASES)
def recurring_billing(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: what switching would do. POST: switch, and back to the purchase."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    subscription = details.purchase(actor, key)
    actor.require(
        Capability.MANAGE_PURCHASES,
        is_own=subscription.is_owned_by(actor),
        is_org=subscription.is_organizations,
        sees=Capability.SEE_PURCHASES,
    )
    if request.method == "POST":
        return _switch(request, actor, subscription)
    return _page(request, actor, subscription)


def _switch(request: HttpRequest, actor: Actor, subscription: Subscription) -> HttpResponse:
    on, version = request.POST.get("on"), request.POST.get("version", "")
    if on not in ("yes", "no") or not (version.isascii() and version.isdigit() and len(version) < 10):
        return _page(
            request, actor, subscription, problem=_("Nothing was changed. Decide again."), status=422
        )
    try:
        changed = set_recurring_billing(
            actor=actor, key=subscription.key, on=on == "yes", version=int(version), at=now()
        )
    except Conflict as conflict:
        return _page(
            request, actor, details.purchase(actor, subscription.key), problem=str(conflict), status=409
        )
    zone, end = changed.time_zone, changed.term_end
    if changed.recurring_billing:
        told = _("Recurring billing is on. It renews on %(day)s.") % {"day": day(end, zone)}
        if changed.channel == Subscription.Channel.TRIAL:
            told = _("It turns paid on %(day)s.") % {"day": day(end, zone)}
    else:
        told = _("Recurring billing is off. It ends on %(day)s.") % {"day": day(states.last_day(end), zone)}
    messages.success(request, told)
    return HttpResponseRedirect(reverse("portal:subscription", args=[changed.key]))


def _page(
    request: HttpRequest, actor: Actor, subscription: Subscription, *, problem: str = "", status: int = 200
) -> HttpResponse:
    if subscription.state not in SWITCHABLE:
        raise NothingToRenew
    turns_on = not subscription.recurring_billing
    product = subscription.product
    address = reverse("portal:subscription", args=[subscription.key])
    zone, end = subscription.time_zone, subscription.term_end
    still = details.still_to_be_charged(subscription)
    context: dict[str, Any] = {
        "title": _("Turn recurring billing on") if turns_on else _("Turn recurring billing off"),
        "crumbs": [(_("Your products"), reverse("portal:your-products")), (product.name, address)],
        "problem": problem,
        "subscription": subscription,
        "turns_on": turns_on,
        "is_trial": subscription.channel == Subscription.Channel.TRIAL,
        "address": address,
        "steps": life(actor, subscription, recurring_billing=turns_on),
        "last_day": day(states.last_day(end), zone),
        "renews_on": day(end, zone),
        "charge": money(details.charge_with_tax(subscription), subscription.currency),
        "still": money(still, subscription.currency) if still else "",
        "unpaid": unpaid(subscription, failed_payments(actor, subscription)),
    }
    return render_page(request, "commerce/recurring_billing.html", context, status=status)
