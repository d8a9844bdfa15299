"""Another plan from the renewal on, and taking back what waits for the renewal (product §5.3).

Nothing is charged here: the page says today's prices, and that the renewal costs the list price of its day.
"""

import uuid
from datetime import datetime
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from commerce import states
from commerce.models import Subscription
from commerce.operations import changes
from commerce.operations.changes import rules
from commerce.operations.changes.scheduling import Scheduled
from commerce.queries import details
from commerce.queries.plans import PlanPrice, plan_prices
from commerce.views.subscriptions import day, money
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import DomainError
from config.kit.money import tax_label, tax_on
from directory.permissions import Capability

_SCHEDULED: dict[str, Scheduled] = {"quantity": "quantity", "plan": "plan"}


@access.requires(sees=Capability.SEE_PURCHASES)
def plan(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: the plans and their prices today. POST: schedule one, or stay with the present one."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    subscription = _own(actor, key)
    rules.require_changeable(subscription)
    if request.method != "POST":
        return _page(request, subscription, now())
    return _schedule(request, actor, subscription, now())


@access.requires(sees=Capability.SEE_PURCHASES)
def revoke(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """POST alone: take back the number or the plan that waits for the renewal."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    subscription = _own(actor, key)
    what = _SCHEDULED.get(request.POST.get("what", ""))
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    try:
        if what is None:
            messages.error(request, _("Nothing was changed. Choose again."))
        else:
            changes.revoke_scheduled(
                actor=actor, key=key, what=what, version=_number(request.POST.get("version", "")), at=now()
            )
            messages.success(request, _("Taken back. The renewal goes on as it was."))
    except DomainError as refused:
        if refused.status in (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN):
            raise
        messages.error(request, str(refused))
    return _see(subscription)


def _own(actor: Actor, key: uuid.UUID) -> Subscription:
    subscription = details.purchase(actor, key)
    rules.require_may_manage(actor, subscription)
    return subscription


def _schedule(request: HttpRequest, actor: Actor, subscription: Subscription, at: datetime) -> HttpResponse:
    prices = {price.plan.code: price for price in plan_prices(subscription, at)}
    chosen = prices.get(request.POST.get("plan", ""))
    if chosen is None:
        problem = _("Choose one of the plans. Nothing was changed.")
        return _page(request, subscription, at, problem=problem, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    try:
        changed = changes.schedule_plan(
            actor=actor,
            key=subscription.key,
            plan=chosen.plan,
            version=_number(request.POST.get("version", "")),
            at=at,
        )
    except DomainError as refused:
        if refused.status in (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN):
            raise
        fresh = details.purchase(actor, subscription.key)
        return _page(request, fresh, at, problem=str(refused), status=HTTPStatus.CONFLICT)
    if changed.next_plan is None:
        told = _("It stays with the plan that it has.")
    else:
        told = _("From %(day)s on it is %(plan)s.") % {
            "day": day(changed.term_end, changed.time_zone),
            "plan": changed.next_plan.label,
        }
    messages.success(request, told)
    return _see(changed)


def _page(
    request: HttpRequest,
    subscription: Subscription,
    at: datetime,
    *,
    problem: str = "",
    status: int = HTTPStatus.OK,
) -> HttpResponse:
    zone = subscription.time_zone
    product, plan_id = subscription.product, subscription.next_plan_id or subscription.plan_id
    address = reverse("portal:subscription", args=[subscription.key])
    context: dict[str, Any] = {
        "title": _("Change the plan"),
        "crumbs": [(_("Your products"), reverse("portal:your-products")), (product.name, address)],
        "problem": problem,
        "subscription": subscription,
        "address": address,
        "choices": [_choice(subscription, price, plan_id) for price in plan_prices(subscription, at)],
        "renews_on": day(subscription.term_end, zone),
        "last_day": day(states.last_day(subscription.term_end), zone),
        "tax": f"{tax_label(subscription.tax_name)} {subscription.tax_rate.normalize():f}%",
    }
    return render_page(request, "commerce/plan.html", context, status=status)


def _choice(subscription: Subscription, price: PlanPrice, chosen_id: int) -> dict[str, Any]:
    count = subscription.next_quantity or subscription.quantity
    net = count * price.unit_price_minor
    return {
        "code": price.plan.code,
        "title": price.plan.label,
        "is_present": price.plan.pk == subscription.plan_id,
        "is_chosen": price.plan.pk == chosen_id,
        "text": _("%(price)s per license %(period)s, without tax.")
        % {
            "price": money(price.unit_price_minor, subscription.currency),
            "period": states.per_period(price.plan.billing_months),
        },
        "commits": price.plan.term_months > price.plan.billing_months,
        "amount": money(net + tax_on(net, subscription.tax_rate), subscription.currency),
    }


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1


def _see(subscription: Subscription) -> HttpResponse:
    return HttpResponseRedirect(
        reverse("portal:subscription", args=[subscription.key]), status=HTTPStatus.SEE_OTHER
    )
