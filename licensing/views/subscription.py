"""One purchase: figures, licenses, order history, what happens next, changes (product §4, §8).

It lives here and not in commerce because it shows who holds the licenses.
"""

import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from commerce.gateways.declines import sentence_of
from commerce.models import Subscription
from commerce.operations.cancellations import CANCELABLE
from commerce.operations.cases import can_be_asked_for, open_case_of
from commerce.operations.changes import is_reactivable
from commerce.operations.changes.rules import is_changeable
from commerce.operations.handovers import can_change_hands
from commerce.operations.recurring import SWITCHABLE
from commerce.operations.takeovers import can_be_taken_over
from commerce.queries import details
from commerce.queries.cancel_requests import obstacle_to_asking
from commerce.queries.dunning import failed_payments
from commerce.queries.eligibility import eligibility_for
from commerce.queries.handovers import open_offer
from commerce.queries.training import beside
from commerce.states import last_day, per_period
from commerce.views import wording
from commerce.views.cancel_requests import notice_of
from commerce.views.handovers import former_page
from commerce.views.paying import waiting_lines
from commerce.views.subscriptions import CHANNEL_NAMES, day, list_address, money, sees_all
from commerce.views.trials import panel_of
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import NotVisible
from config.kit.money import tax_label
from directory.models import User
from directory.permissions import Capability
from licensing.queries.centralizing import MOVABLE
from licensing.queries.giving import may_give_central
from licensing.views.licenses import holders_context
from policies.queries.requests import request_door

ASSIGNABLE = frozenset({Subscription.State.ACTIVE, Subscription.State.EXPIRED})


@access.requires(sees=Capability.SEE_PURCHASES)
def subscription(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """The limited view for its purchaser, the full one for admins, readers and partners.

    Who handed it over still reads the own bills and the history up to that day.
    """
    actor: Actor = request.actor  # type: ignore[attr-defined]
    try:
        purchase = details.purchase(actor, key)
    except NotVisible:
        return former_page(request, actor, key)
    whose = {"is_own": purchase.is_owned_by(actor), "is_org": purchase.is_organizations}
    may_manage = actor.reaches(Capability.MANAGE_PURCHASES, **whose)
    is_trial = purchase.channel == Subscription.Channel.TRIAL
    zone = purchase.time_zone
    holders = holders_context(request, actor, purchase)
    may_hand_out = holders["may_assign"] and purchase.state in ASSIGNABLE
    is_full = sees_all(actor) and not whose["is_own"]
    status = details.status_of(purchase)
    fact, note = wording.paid_by(actor, purchase)
    failed = failed_payments(actor, purchase)
    context: dict[str, Any] = {
        "title": _title(purchase, is_full=is_full),
        "crumbs": [(_("Your products"), list_address(request.GET))],
        "subscription": purchase,
        "product": purchase.product,
        "status": status,
        "has_left": purchase.purchaser is not None and purchase.purchaser.has_left,
        "is_full": is_full,
        "is_own": whose["is_own"],
        "channel": CHANNEL_NAMES[purchase.channel],
        "bought_on": day(purchase.created_at, zone),
        "price": money(purchase.period_price_minor, purchase.currency),
        "unit_price": money(purchase.unit_price_minor, purchase.currency),
        "period": per_period(purchase.billing_months),
        "next_date": day(status.next_at, zone),
        "next_charge": money(details.charge_with_tax(purchase), purchase.currency),
        "has_next_charge": details.next_charge_at(purchase) is not None,
        "tax": f"{purchase.tax_rate.normalize():f}% {tax_label(purchase.tax_name)}",
        "paid_by": fact,
        "paid_by_note": note,
        "may_hand_out": may_hand_out,
        "history": [
            (entry, wording.history_title(entry)) for entry in details.order_history(actor, purchase)
        ],
        "failed_payments": [(each, sentence_of(each.decline)) for each in failed],
        "unpaid": wording.unpaid(purchase, failed),
        "steps": wording.life(actor, purchase),
        "events": wording.titled(details.change_log(actor, purchase)),
        "ends_on": day(last_day(purchase.term_end), zone),
        "renews_on": day(purchase.term_end, zone),
        "may_switch": may_manage and purchase.state in SWITCHABLE,
        "may_change": may_manage and is_changeable(purchase),
        **_another(actor, purchase, is_own=whose["is_own"]),
        "may_cancel": may_manage and purchase.state in CANCELABLE and not is_trial,
        "may_reactivate": may_manage and is_reactivable(purchase),
        "trial": panel_of(actor, purchase, now(), may_manage=may_manage),
        "may_take_over": actor.reaches(Capability.TAKE_OVER, **whose) and can_be_taken_over(purchase),
        "waiting": waiting_lines(actor, purchase),
        "asked": notice_of(actor, purchase),
        "may_ask_to_cancel": actor.reaches(Capability.TAKE_OVER, **whose)
        and obstacle_to_asking(purchase) is None,
        **_support(actor, purchase),
        "may_ask_question": actor.reaches(Capability.OPEN_CASES, **whose),
        "may_centralize": actor.reaches(Capability.TAKE_OVER, **whose)
        and purchase.channel == Subscription.Channel.SELF_SERVICE
        and purchase.state in MOVABLE,
        "may_give_central": may_give_central(actor, purchase),
        "may_hand_over": whose["is_own"] and can_change_hands(purchase),
        "offer": open_offer(purchase, now()) if whose["is_own"] else None,
        "beside": beside(purchase.product, actor),
        **holders,
    }
    return render_page(request, "licensing/subscription.html", context)


def _another(actor: Actor, purchase: Subscription, *, is_own: bool) -> dict[str, Any]:
    """Whether its owner can buy another one; where not, whether a license can be asked for (product §3.3)."""
    if not is_own:
        return {"may_buy_another": False, "may_ask": False}
    may_buy = eligibility_for(actor=actor, product=purchase.product, at=now()).is_eligible
    may_ask = not may_buy and request_door(actor=actor, product_id=purchase.product_id).is_open
    return {"may_buy_another": may_buy, "may_ask": may_ask}


def _support(actor: Actor, purchase: Subscription) -> dict[str, Any]:
    """Whether support can be asked to cancel it, and the case by which it was."""
    may_ask = actor.may(Capability.ASK_SUPPORT_TO_CANCEL) and can_be_asked_for(purchase)
    may_ask = may_ask and purchase.state in CANCELABLE and purchase.recurring_billing
    return {"may_ask_support": may_ask, "support_case": open_case_of(purchase) if may_ask else None}


def _title(purchase: Subscription, *, is_full: bool) -> str:
    """The product; with the purchaser where several people may have bought it."""
    purchaser: User | None = purchase.purchaser
    return f"{purchase.product.name}, {purchaser.name}" if is_full and purchaser else purchase.product.name
