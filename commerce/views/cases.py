"""The page that asks the vendor's support to cancel what somebody who left still owns (product §11, §14)."""

import uuid
from datetime import datetime
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods

from commerce import states
from commerce.models import Subscription
from commerce.operations import cases
from commerce.operations.cancellations import CancellationQuote, quote_cancellation
from commerce.queries import details
from commerce.queries.cancellations import Ending
from commerce.views.subscriptions import day, money
from commerce.views.wording import Told
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict, DomainError, Malformed
from config.kit.tenancy import tenant_atomic
from directory.permissions import Capability


@access.requires(sees=Capability.SEE_PURCHASES, owns_transaction=True)
@require_http_methods(["GET", "HEAD", "POST"])
def support_cancel(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: what support would do. POST: open the case."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    if request.method != "POST":
        return _page(request, actor, key, at)
    try:
        cases.ask_to_cancel(actor=actor, key=key, message=request.POST.get("message", ""), at=at)
    except (Conflict, Malformed) as refused:
        return _page(request, actor, key, at, refused=refused)
    messages.success(request, _("Support was asked to cancel it. You get a mail with the answer."))
    return HttpResponseRedirect(reverse("portal:subscription", args=[key]), status=HTTPStatus.SEE_OTHER)


def _page(
    request: HttpRequest,
    actor: Actor,
    key: uuid.UUID,
    at: datetime,
    *,
    refused: DomainError | None = None,
) -> HttpResponse:
    with tenant_atomic(actor):
        subscription = details.purchase(actor, key)
        cases.require_may_ask_support(actor, subscription)
        case = cases.open_case_of(subscription)
        why, quote = refused, None
        if case is None:
            try:
                quote = _quote(subscription, at)
            except Conflict as stands_in_the_way:
                why = why or stands_in_the_way
        address = reverse("portal:subscription", args=[key])
        name = subscription.product.name
        context: dict[str, Any] = {
            "title": _("Ask support to cancel %(product)s") % {"product": name},
            "crumbs": [(_("Your products"), reverse("portal:your-products")), (name, address)],
            "subscription": subscription,
            "product": subscription.product,
            "address": address,
            "case": case,
            "quote": quote,
            "steps": _steps(subscription, quote, at) if quote else [],
            "problem": str(why) if why else "",
            "message": request.POST.get("message", "")[: cases.LONGEST],
            "may_take_over": actor.may(Capability.TAKE_OVER),
        }
        status = why.status if why else HTTPStatus.OK
        return render_page(request, "commerce/support_cancel.html", context, status=status)


def _quote(subscription: Subscription, at: datetime) -> CancellationQuote:
    """:raises PurchaserIsHere, NothingToCancel, AlreadyStopped: support is not needed for it."""
    if not cases.can_be_asked_for(subscription):
        raise cases.PurchaserIsHere
    return quote_cancellation(subscription=subscription, at=at)


def _steps(subscription: Subscription, quote: CancellationQuote, at: datetime) -> list[Told]:
    """What happens now, and what canceling would do if support did it today."""
    zone = subscription.time_zone
    facts = {
        "name": subscription.purchaser_name,
        "day": day(states.last_day(subscription.term_end), zone),
        "refund": money(quote.refund_minor, quote.currency),
        "still": money(quote.plan.still_minor, quote.currency),
    }
    asked = _("The vendor's support gets your case. Nothing is canceled or charged by it yet.")
    steps = [Told("is-change", _("Today"), asked)]
    if quote.ending == Ending.AT_ONCE:
        text = _("It ends at once, and %(refund)s goes back to the card of %(name)s.") % facts
        lose = ngettext("%d person loses it.", "%d people lose it.", subscription.assigned)
        told = f"{text} {lose % subscription.assigned}"
        steps.append(Told("", _("If support cancels it today"), told))
    elif quote.ending == Ending.AT_TERM:
        text = _("Its renewal stops. Everybody keeps their license until %(day)s. Nothing is refunded.")
        if quote.plan.still_minor:
            still = _("%(still)s is still charged until then, month by month.")
            text = f"{text} {still}"
        steps.append(Told("", _("When support cancels it"), text % facts))
    else:
        steps.append(Told("", _("When support cancels it"), _("It never starts. Nothing was charged.")))
    answer = _("You and the other billing and global admins get a mail with what was done.")
    steps.append(Told("", _("The answer"), answer))
    return steps
