"""What an admin can do with somebody's purchase, on its notice, and the page of the simplest of it (product §3.5).

The four ways: keep it, ask the purchaser to cancel, take it over, stop further purchases of the product. Each is a
link to a page that says what happens, and nothing happens before its button.
"""

import uuid
from datetime import datetime
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from commerce.models import Subscription
from commerce.operations.reviews import NothingToKeep, can_be_kept, keep_purchase
from commerce.operations.takeovers import can_be_taken_over, require_may_take_over
from commerce.queries import details
from commerce.queries.cancel_requests import obstacle_to_asking
from commerce.queries.catalogue import subject_of
from commerce.queries.reviews import review_of
from commerce.views.cancel_requests import notice_of as ask_notice_of
from commerce.views.subscriptions import day, money
from commerce.views.wording import Told, life
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict, NotVisible
from directory.models import OutgoingMail
from directory.operations.parts import Part
from directory.permissions import Capability
from policies import rule
from policies.queries.policies import policy_of
from policies.rule import effective


def choices_of(actor: Actor, notice: OutgoingMail, at: datetime) -> Part | None:
    """The ways that are open to the reader now; None where the person no longer decides about this purchase."""
    key = _key_of(notice)
    try:
        subscription = details.purchase(actor, key) if key is not None else None
    except NotVisible:
        return None
    if subscription is None or not _may_decide(actor, subscription):
        return None
    kept, zone = review_of(subscription), subscription.time_zone
    stops_by = actor.may(Capability.CHANGE_POLICY) and not _is_stopped(actor, subscription)
    context = {
        "subscription": subscription,
        "status": details.status_of(subscription),
        "kept": kept,
        "kept_on": day(kept.at, zone) if kept else "",
        "may_keep": kept is None and can_be_kept(subscription),
        "asked": ask_notice_of(actor, subscription),
        "may_ask": obstacle_to_asking(subscription) is None,
        "may_take_over": can_be_taken_over(subscription),
        "may_stop": stops_by,
        "is_stopped": not stops_by and actor.may(Capability.CHANGE_POLICY),
        "price": money(subscription.period_price_minor, subscription.currency),
    }
    return Part("commerce/_purchase_choices.html", context)


@access.requires(sees=Capability.SEE_PURCHASES)
def keep(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: what keeping it means. POST: it is recorded."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    subscription = details.purchase(actor, key)
    require_may_take_over(actor, subscription)
    if request.method != "POST":
        return _keep_page(request, actor, subscription)
    try:
        keep_purchase(actor=actor, key=key, at=now())
    except NothingToKeep as refused:
        return _keep_page(request, actor, subscription, refused=refused)
    told = _("%(product)s of %(name)s stays as it is. The other admins see that you looked at it.")
    facts = {"product": subscription.product.name, "name": subscription.purchaser_name}
    messages.success(request, told % facts)
    return HttpResponseRedirect(reverse("portal:subscription", args=[key]), status=HTTPStatus.SEE_OTHER)


def _keep_page(
    request: HttpRequest, actor: Actor, subscription: Subscription, *, refused: Conflict | None = None
) -> HttpResponse:
    product, address = subscription.product, reverse("portal:subscription", args=[subscription.key])
    if refused is None and not can_be_kept(subscription):
        refused = NothingToKeep()
    kept = review_of(subscription)
    context: dict[str, Any] = {
        "title": _("Keep %(product)s") % {"product": product.name},
        "crumbs": [(_("Your products"), reverse("portal:your-products")), (product.name, address)],
        "problem": str(refused) if refused else "",
        "subscription": subscription,
        "address": address,
        "kept": kept,
        "kept_on": day(kept.at, subscription.time_zone) if kept else "",
        "price": money(subscription.period_price_minor, subscription.currency),
        "steps": [_stays(subscription), *life(actor, subscription)],
    }
    status = refused.status if refused else HTTPStatus.OK
    return render_page(request, "commerce/keep.html", context, status=status)


def _stays(subscription: Subscription) -> Told:
    text = _("%(name)s owns, manages and pays it. Everybody keeps the license they have.")
    return Told("is-now", _("Nothing changes"), text % {"name": subscription.purchaser_name})


def _may_decide(actor: Actor, subscription: Subscription) -> bool:
    return actor.reaches(
        Capability.TAKE_OVER,
        is_own=subscription.is_owned_by(actor),
        is_org=subscription.is_organizations,
    )


def _is_stopped(actor: Actor, subscription: Subscription) -> bool:
    """Whether nobody can buy the product any more, groups apart."""
    subject = subject_of(subscription.product)
    rules = policy_of(actor=actor, product_keys=subject.keys).rules
    return effective(rules, subject).value == rule.DISABLED


def _key_of(notice: OutgoingMail) -> uuid.UUID | None:
    """The purchase that the notice is about; None in what was told before notices named it."""
    text = notice.context.get("key", "")
    return uuid.UUID(text) if text else None
