"""Asking a purchaser to cancel: what the purchaser gets, when, and what follows, before the click (product §10)."""

import uuid
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from commerce.models import CancelRequest, Subscription
from commerce.operations.cancel_requests import (
    MOST_WORDS,
    NobodyToAsk,
    ask_to_cancel,
    require_may_ask,
    withdraw_cancel_request,
)
from commerce.operations.takeovers import can_be_taken_over
from commerce.queries import details
from commerce.queries.cancel_requests import obstacle_to_asking, open_cancel_request
from commerce.queries.cancellations import Ending, cancellation_of
from commerce.states import last_day, per_period
from commerce.views.subscriptions import day, money
from commerce.views.wording import Told
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict, DomainError, Malformed, Text
from config.kit.templatetags.kit import moment
from config.kit.tenancy import tenant_atomic
from directory.permissions import Capability


@access.requires(sees=Capability.SEE_PURCHASES, owns_transaction=True)
def ask_page(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: what asking would do, or how an open request stands. POST: ask, or take the request back."""
    at = now()
    actor: Actor = request.actor  # type: ignore[attr-defined]
    with tenant_atomic(actor):
        require_may_ask(actor, details.purchase(actor, key))
    if request.method != "POST":
        return _page(request, actor, key, at)
    try:
        told = _act(request, actor, key, at)
    except (Conflict, Malformed) as refused:
        return _page(request, actor, key, at, refused=refused)
    messages.success(request, told)
    return HttpResponseRedirect(reverse("portal:subscription", args=[key]), status=HTTPStatus.SEE_OTHER)


def _act(request: HttpRequest, actor: Actor, key: uuid.UUID, at: datetime) -> str:
    if request.POST.get("action") == "withdraw":
        taken_back = withdraw_cancel_request(actor=actor, key=key, at=at)
        return _("%(name)s is no longer asked, and gets no reminder.") % {"name": taken_back.purchaser.name}
    asked = ask_to_cancel(actor=actor, key=key, message=request.POST.get("message", ""), at=at)
    return _("%(name)s was asked by mail to cancel. Nothing else changed.") % {"name": asked.purchaser.name}


def notice_of(actor: Actor, subscription: Subscription) -> dict[str, Any] | None:
    """An open request as its purchaser or an admin reads it on the purchase's page; None without one. One query."""
    request = open_cancel_request(subscription)
    if request is None:
        return None
    zone = subscription.time_zone
    return {
        "by": request.asked_by,
        "name": request.purchaser.name,
        "message": request.message,
        "asked_on": day(request.asked_at, zone),
        "reminded": _reminded(request),
        "next_on": day(request.next_reminder_at, zone),
        "in_vain": request.was_reminded_in_vain,
        "has_left": request.purchaser.has_left,
    }


def _reminded(request: CancelRequest) -> str:
    count = request.reminders
    if not count:
        return _("Not reminded yet.")
    return ngettext("Reminded %d time.", "Reminded %d times.", count) % count


def _page(
    request: HttpRequest, actor: Actor, key: uuid.UUID, at: datetime, *, refused: DomainError | None = None
) -> HttpResponse:
    with tenant_atomic(actor):
        subscription = details.purchase(actor, key)
        product = subscription.product
        address = reverse("portal:subscription", args=[key])
        context: dict[str, Any] = {
            "title": _("Ask to cancel %(product)s") % {"product": product.name},
            "crumbs": [(_("Your products"), reverse("portal:your-products")), (product.name, address)],
            "problem": str(refused) if refused else "",
            "subscription": subscription,
            "product": product,
            "address": address,
            "status": details.status_of(subscription),
            "may_take_over": can_be_taken_over(subscription),
            "open": notice_of(actor, subscription),
        }
        obstacle = obstacle_to_asking(subscription)
        if obstacle is not None and context["open"] is None:
            context["problem"] = context["problem"] or str(NobodyToAsk(obstacle))
            return render_page(
                request, "commerce/ask_to_cancel_nobody.html", context, status=HTTPStatus.CONFLICT
            )
        context |= {
            "figures": _figures(subscription, at),
            "steps": _steps(subscription, at),
            "message": request.POST.get("message", ""),
            "most_words": MOST_WORDS,
            "has_left": subscription.owner_user is not None and subscription.owner_user.has_left,
        }
        return render_page(
            request,
            "commerce/ask_to_cancel.html",
            context,
            status=refused.status if refused else HTTPStatus.OK,
        )


def _figures(subscription: Subscription, at: datetime) -> list[tuple[Text, Text, Text]]:
    """Label, value and note: who is asked, what the purchase costs, and what canceling would do today."""
    owner = subscription.owner_user
    assert owner is not None
    zone, currency = subscription.time_zone, subscription.currency
    people = ngettext("%d person uses it", "%d people use it", subscription.assigned) % subscription.assigned
    cancellation = cancellation_of(subscription, at)
    if cancellation.ending == Ending.AT_ONCE:
        ends: Text = _("Today")
        note = _("At once, with the unused days refunded; until %(until)s") % {
            "until": moment(cancellation.refund_until, zone)
        }
    else:
        ends = day(last_day(subscription.term_end), zone)
        note = _("Nothing is refunded; everybody keeps working until then")
    return [
        (_("Who is asked"), owner.name, owner.email),
        (
            _("Price"),
            money(subscription.period_price_minor, currency),
            _("%(period)s, without tax") % {"period": per_period(subscription.billing_months)},
        ),
        (_("Licenses"), str(subscription.quantity), people),
        (_("Last day, if canceled today"), ends, note),
    ]


def _steps(subscription: Subscription, at: datetime) -> list[Told]:
    owner = subscription.owner_user
    assert owner is not None
    zone, name = subscription.time_zone, {"name": owner.name}
    reminders = [day(at + timedelta(days=days), zone) for days in CancelRequest.REMINDED]
    return [
        Told(
            "is-change",
            _("Today, %(day)s") % {"day": day(at, zone)},
            _("%(name)s gets a mail with a link to the page that cancels. The link itself does nothing.")
            % name,
        ),
        Told(
            "",
            _("%(days)s: reminders") % {"days": ", ".join(reminders)},
            _("Each by mail, until it is canceled."),
        ),
        Told("", _("After the last one"), _("You are offered to take it over. You can do that before, too.")),
        Told(
            "", _("Meanwhile"), _("Everybody keeps the license they have; it goes on and renews as before.")
        ),
    ]
