"""The page that makes a purchase the organization's: what happens, the money, the dates, before the click (product §10).

What is confirmed is the signed preview: it happens as it was shown, or the page comes back with what would happen now.
"""

import uuid
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from commerce.models import Subscription
from commerce.operations.takeovers import (
    NeedsCard,
    NotTakenOver,
    can_be_taken_over,
    require_may_take_over,
    take_over,
)
from commerce.queries import details
from commerce.queries.handovers import open_offer
from commerce.queries.takeovers import TakeOverPlan, plan_take_over, quote_take_over, read_quote
from commerce.states import per_period
from commerce.views.subscriptions import day, money
from commerce.views.wording import Told
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict, DomainError, Malformed, PeerUnavailable, Text
from config.kit.money import tax_label
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant
from directory.permissions import Capability


@access.requires(sees=Capability.SEE_PURCHASES, owns_transaction=True)
def take_over_page(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: what taking it over would do now. POST: do it."""
    at = now()
    actor: Actor = request.actor  # type: ignore[attr-defined]
    with tenant_atomic(actor):
        subscription = details.purchase(actor, key)
        require_may_take_over(actor, subscription)
    if request.method == "POST":
        return _take_over(request, actor, subscription, at)
    return _page(request, actor, key, at)


def _take_over(request: HttpRequest, actor: Actor, subscription: Subscription, at: datetime) -> HttpResponse:
    tenant: Tenant = request.tenant  # type: ignore[attr-defined]
    try:
        version, seen = read_quote(request.POST.get("quote", ""), subscription.key)
        taken = take_over(actor=actor, key=subscription.key, version=version, seen=seen, at=at)
    except (Conflict, Malformed, PeerUnavailable) as refused:
        return _page(request, actor, subscription.key, at, refused=refused)
    told = _("%(product)s belongs to %(organization)s now. Nobody lost a license.")
    messages.success(request, told % {"product": taken.product.name, "organization": tenant.name})
    address = reverse("portal:subscription", args=[taken.key])
    return HttpResponseRedirect(address, status=HTTPStatus.SEE_OTHER)


# --- What the page says ------------------------------------------------------------------------------------------


def _page(
    request: HttpRequest,
    actor: Actor,
    key: uuid.UUID,
    at: datetime,
    *,
    refused: DomainError | None = None,
) -> HttpResponse:
    tenant: Tenant = request.tenant  # type: ignore[attr-defined]
    with tenant_atomic(actor):
        subscription = details.purchase(actor, key)
        product = subscription.product
        address = reverse("portal:subscription", args=[key])
        context: dict[str, Any] = {
            "title": _("Take over %(product)s") % {"product": product.name},
            "crumbs": [(_("Your products"), reverse("portal:your-products")), (product.name, address)],
            "problem": str(refused) if refused else "",
            "subscription": subscription,
            "product": product,
            "address": address,
        }
        plan = plan_take_over(subscription)
        if not can_be_taken_over(subscription) or not plan.is_payable:
            return _not_now(request, actor, subscription, plan, context, refused)
        context |= {
            "quote": quote_take_over(subscription, plan),
            "figures": _figures(actor, tenant, subscription, plan),
            "steps": _steps(actor, tenant, subscription, plan, at),
            "bills": [(bill.number, money(bill.total_minor, bill.currency)) for bill in plan.bills],
            "has_left": subscription.purchaser is not None and subscription.purchaser.has_left,
        }
        return render_page(
            request, "commerce/take_over.html", context, status=refused.status if refused else HTTPStatus.OK
        )


def _not_now(
    request: HttpRequest,
    actor: Actor,
    subscription: Subscription,
    plan: TakeOverPlan,
    context: dict[str, Any],
    refused: DomainError | None,
) -> HttpResponse:
    """Why it cannot be taken over, and what can be done first."""
    needs_card = can_be_taken_over(subscription) and not plan.is_payable
    why: DomainError = NeedsCard() if needs_card else NotTakenOver()
    context |= {
        "problem": str(refused or why),
        "needs_card": needs_card,
        "may_add_card": actor.reaches(Capability.PAY_BILLS, is_own=False, is_org=True),
        "is_organizations": subscription.is_organizations,
        "status": details.status_of(subscription),
    }
    return render_page(request, "commerce/take_over_not_now.html", context, status=HTTPStatus.CONFLICT)


def _card_text(actor: Actor, plan: TakeOverPlan) -> str:
    """The organization's card, for who may pay with it; others read that it is one."""
    card = plan.card
    if card is None or not actor.reaches(Capability.PAY_BILLS, is_own=False, is_org=True):
        return _("the organization's card")
    return _("%(brand)s ending in %(last4)s") % {"brand": card.brand.capitalize(), "last4": card.last4}


def _figures(
    actor: Actor, tenant: Tenant, subscription: Subscription, plan: TakeOverPlan
) -> list[tuple[Text, Text, Text]]:
    """Label, value and note of each figure: who pays, the price, the next charge, the rest of the term, what moves."""
    currency = subscription.currency
    if plan.agreement is not None:
        how = _("On account, %(days)d days to pay") % {"days": plan.agreement.payment_days}
    else:
        how = _("By %(card)s") % {"card": _card_text(actor, plan)}
    next_charge_at = details.next_charge_at(subscription)
    figures: list[tuple[Text, Text, Text]] = [
        (_("Who pays from now on"), tenant.name, how),
        (
            _("Price"),
            money(subscription.period_price_minor, currency),
            _("%(period)s, without tax: its own price") % {"period": per_period(subscription.billing_months)},
        ),
    ]
    if next_charge_at is not None:
        figures.append(
            (
                _("Next bill"),
                money(details.charge_with_tax(subscription), currency),
                day(next_charge_at, subscription.time_zone),
            )
        )
    left = details.charges_left(subscription)
    if left and subscription.state == Subscription.State.ACTIVE:
        still = ngettext("%(count)d bill, %(tax)s included", "%(count)d bills, %(tax)s included", left)
        facts = {"count": left, "tax": tax_label(subscription.tax_name)}
        total = money(details.still_to_be_charged(subscription), currency)
        figures.append((_("Still to be charged in this term"), total, still % facts))
    count = len(plan.bills)
    note = (
        ngettext("%d open bill moves", "%d open bills move", count) % count if count else _("No bill is open")
    )
    figures.append((_("Open bills that move"), money(plan.moved_minor, currency), note))
    return figures


def _steps(
    actor: Actor, tenant: Tenant, subscription: Subscription, plan: TakeOverPlan, at: datetime
) -> list[Told]:
    zone = subscription.time_zone
    facts = {"organization": tenant.name, "name": subscription.purchaser_name}
    today = _("%(organization)s owns it, and its admins manage it. Everybody keeps the license they have.")
    steps = [Told("is-change", _("Today, %(day)s") % {"day": day(at, zone)}, today % facts)]
    if plan.bills:
        steps.append(Told("", _("Open bills"), _bills_text(actor, tenant, plan, at)))
    card = _("The card of %(name)s is not charged for it again. Bills that are paid stay theirs.")
    steps.append(Told("", _("The purchaser's card"), card % facts))
    if subscription.purchaser is not None and subscription.purchaser.has_left:
        told = _("%(name)s left %(organization)s and gets no mail.")
    else:
        told = _("%(name)s gets a mail, and keeps reading their own bills and the history up to today.")
    steps.append(Told("", _("The purchaser"), told % facts))
    if open_offer(subscription, at) is not None:
        offer = _("What %(name)s offered to a colleague is withdrawn.")
        steps.append(Told("", _("The offer to a colleague"), offer % facts))
    steps.append(Told("", _("Recurring billing"), _recurring_text(subscription)))
    return steps


def _bills_text(actor: Actor, tenant: Tenant, plan: TakeOverPlan, at: datetime) -> str:
    total = money(plan.moved_minor, plan.bills[0].currency)
    if plan.agreement is None:
        text = _(
            "They are credited and issued anew to %(organization)s: %(total)s, charged today to %(card)s."
        )
        return text % {"organization": tenant.name, "total": total, "card": _card_text(actor, plan)}
    due = day(at + timedelta(days=plan.agreement.payment_days), tenant.time_zone)
    text = _("They are credited and issued anew to %(organization)s: %(total)s, to be paid by %(due)s.")
    return text % {"organization": tenant.name, "total": total, "due": due}


def _recurring_text(subscription: Subscription) -> str:
    until = {"day": day(subscription.term_end, subscription.time_zone)}
    if subscription.state == Subscription.State.ACTIVE and subscription.recurring_billing:
        return _("Stays on: it renews on %(day)s, unless you switch it off before.") % until
    if subscription.state == Subscription.State.ACTIVE:
        return _("Stays off: its term ends on %(day)s.") % until
    return _("It stays as it is. You can bring it back afterwards.")
