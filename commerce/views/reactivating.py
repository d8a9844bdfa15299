"""The page that brings an ended subscription back: what it costs, from when, until when, for whom (product §5.1).

What is confirmed is the signed preview: the sum that was shown is the sum that is charged, or the page comes back with
the new one. By card the change is then paid as added seats are (`commerce.views.paying`).
"""

import uuid
from datetime import datetime
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from commerce import states
from commerce.models import Agreement, Checkout, Subscription
from commerce.operations import changes
from commerce.operations.changes import UnpaidFirst, paid, rules
from commerce.queries import details
from commerce.queries.reactivations import reactivation_of
from commerce.quotes import Reactivation
from commerce.views import paying
from commerce.views.paying import card_choice, shown_quote, why_not_made
from commerce.views.subscriptions import day, money
from commerce.views.wording import Told
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import DomainError, NotVisible
from config.kit.money import tax_label
from config.kit.templatetags.kit import moment
from config.kit.tenancy import tenant_atomic
from directory.permissions import Capability
from policies.queries.requests import request_door

SALT = "commerce.reactivate"


@access.requires(sees=Capability.SEE_PURCHASES, owns_transaction=True)
def reactivate(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: what bringing it back costs now, or why it cannot be. POST: the signed preview is confirmed."""
    at = now()
    actor: Actor = request.actor  # type: ignore[attr-defined]
    with tenant_atomic(actor):
        subscription = _own(actor, key)
    if request.method == "POST":
        return _confirm(request, subscription, at)
    return _page(request, subscription, at)


def _own(actor: Actor, key: uuid.UUID) -> Subscription:
    subscription = details.purchase(actor, key)
    rules.require_may_manage(actor, subscription)
    if not subscription.is_on_account:
        paid.require_may_pay(actor, subscription)
    return subscription


# --- Confirming -----------------------------------------------------------------------------------------


def _confirm(request: HttpRequest, subscription: Subscription, at: datetime) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    quote = shown_quote(request, subscription, salt=SALT)
    if not quote:
        problem = _("Nothing was changed. Look at what it costs, and decide again.")
        return _page(request, subscription, at, problem=problem, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    try:
        return _make(request, subscription, quote, at)
    except DomainError as refused:
        if refused.status == HTTPStatus.NOT_FOUND:
            raise
        with tenant_atomic(actor):
            subscription = _own(actor, subscription.key)
        return _page(request, subscription, at, problem=why_not_made(refused), status=HTTPStatus.CONFLICT)


def _make(
    request: HttpRequest, subscription: Subscription, quote: dict[str, Any], at: datetime
) -> HttpResponse:
    decided = {
        "actor": request.actor,  # type: ignore[attr-defined]
        "key": subscription.key,
        "version": quote["version"],
        "seen_total_minor": quote["total_minor"],
        "at": at,
    }
    if subscription.is_on_account:
        placed = changes.reactivate_on_account(**decided)
        messages.success(request, _done(placed.subscription))
        return HttpResponseRedirect(
            reverse("portal:subscription", args=[subscription.key]), status=HTTPStatus.SEE_OTHER
        )
    checkout = changes.start_reactivation(**decided, intent=uuid.UUID(quote["intent"]))
    return paying.pay_or_go_on(request, checkout, at)


def _done(subscription: Subscription) -> str:
    return _("%(product)s is active again until %(day)s.") % {
        "product": subscription.product.name,
        "day": day(states.last_day(subscription.term_end), subscription.time_zone),
    }


# --- The page -------------------------------------------------------------------------------------------


def _page(
    request: HttpRequest,
    subscription: Subscription,
    at: datetime,
    *,
    problem: str = "",
    status: int = HTTPStatus.OK,
) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    with tenant_atomic(actor):
        product = subscription.product
        context: dict[str, Any] = {
            "title": _("Reactivate %(product)s") % {"product": product.name},
            "crumbs": [
                (_("Your products"), reverse("portal:your-products")),
                (product.name, reverse("portal:subscription", args=[subscription.key])),
            ],
            "subscription": subscription,
            "product": product,
            "address": reverse("portal:subscription", args=[subscription.key]),
            "status": details.status_of(subscription),
            "zone": subscription.time_zone,
            "problem": problem,
        }
        try:
            quote = changes.quote_reactivation(actor=actor, subscription=subscription, at=at)
        except DomainError as refused:
            if isinstance(refused, NotVisible):
                raise
            return _refused(request, actor, subscription, context, refused, status)
        context |= {
            "quote": _sign(subscription, quote),
            "figures": _figures(subscription, quote),
            "sums": _sums(quote),
            "total": money(quote.total_minor, quote.currency),
            "steps": _steps(subscription, quote, at),
            "button": _button(subscription, quote),
            "price_note": _price_note(subscription, quote),
            "asks_for_card": not subscription.is_on_account,
            "is_organizations": subscription.is_organizations,
        }
        if context["asks_for_card"]:
            context |= card_choice(actor, subscription, from_now_on=True) | {
                "terms_version": settings.TERMS_VERSION
            }
        return render_page(request, "commerce/reactivate.html", context, status=status)


def _refused(
    request: HttpRequest,
    actor: Actor,
    subscription: Subscription,
    context: dict[str, Any],
    refused: DomainError,
    status: int,
) -> HttpResponse:
    """Why it cannot be brought back now, and what to do instead."""
    eligibility = getattr(refused, "eligibility", None)
    bills = refused.bills if isinstance(refused, UnpaidFirst) else []
    context |= {
        "refused": str(refused),
        "reasons": eligibility.reasons if eligibility else [],
        "door": request_door(actor=actor, product_id=subscription.product_id)
        if eligibility and not subscription.is_organizations
        else None,
        "bills": [
            {
                "number": bill.number,
                "amount": money(bill.total_minor, bill.currency),
                "address": f"{reverse('portal:bill-pay', args=[bill.number])}?from=purchase",
            }
            for bill in bills
        ],
        # Paying what is owed brings it back by itself, in the period that was not paid (product §5.6).
        "paying_brings_back": bool(bills)
        and subscription.disabled_reason == Subscription.DisabledReason.UNPAID,
        "may_buy": subscription.product.self_service and not subscription.is_organizations and not bills,
    }
    refuses = HTTPStatus(refused.status) if status == HTTPStatus.OK else status
    return render_page(request, "commerce/reactivate_refused.html", context, status=refuses)


def _sign(subscription: Subscription, quote: Reactivation) -> str:
    """The preview, as the button sends it back; its intent makes two clicks one change (F-18)."""
    return signing.dumps(
        {
            "key": str(subscription.key),
            "intent": str(uuid.uuid4()),
            "version": subscription.version,
            "total_minor": quote.total_minor,
        },
        salt=SALT,
    )


def _figures(subscription: Subscription, quote: Reactivation) -> list[tuple[str, str, str]]:
    """Label, value and note of each figure: for whom, from when, until when."""
    zone = subscription.time_zone
    people = ngettext("%(count)d is assigned", "%(count)d are assigned", subscription.assigned)
    if quote.starts_anew:
        starts = (_("Begins"), _("Today"), _("A new term, counted from this day"))
    else:
        note = _("Where the last term ended: access never stopped")
        starts = (_("Begins"), day(quote.service_start, zone), note)
    return [
        (_("Licenses"), str(quote.quantity), people % {"count": subscription.assigned}),
        starts,
        (_("Paid until"), day(states.last_day(quote.service_end), zone), _until_note(quote, zone)),
    ]


def _until_note(quote: Reactivation, zone: str) -> str:
    if quote.commitment_minor is None:
        return _("Then it renews, unless you turn that off")
    return _("You commit to %(count)d charges, to %(day)s") % {
        "count": quote.bills_per_term,
        "day": day(states.last_day(quote.term_end), zone),
    }


def _sums(quote: Reactivation) -> list[tuple[str, str]]:
    line = ngettext(
        "%(count)d license \u00d7 %(price)s", "%(count)d licenses \u00d7 %(price)s", quote.quantity
    )
    facts = {"count": quote.quantity, "price": money(quote.unit_price_minor, quote.currency)}
    return [
        (line % facts, money(quote.subtotal_minor, quote.currency)),
        (
            f"{tax_label(quote.tax_name)} {quote.tax_rate.normalize():f}%",
            money(quote.tax_minor, quote.currency),
        ),
    ]


def _price_note(subscription: Subscription, quote: Reactivation) -> str:
    """That the price is another one than before; empty when it is the same."""
    if quote.unit_price_minor == subscription.unit_price_minor:
        return ""
    return _("A license costs %(now)s %(period)s now; before it was %(before)s.") % {
        "now": money(quote.unit_price_minor, quote.currency),
        "before": money(subscription.unit_price_minor, quote.currency),
        "period": states.per_period(quote.billing_months),
    }


def _steps(subscription: Subscription, quote: Reactivation, at: datetime) -> list[Told]:
    zone = subscription.time_zone
    total = money(quote.total_minor, quote.currency)
    return [
        Told("is-change", _("Today, %(day)s") % {"day": day(at, zone)}, _today(subscription, quote, total)),
        Told(
            "",
            _("Until %(moment)s") % {"moment": moment(quote.refund_until, zone)},
            _("Cancel and get the unused days back."),
        ),
        *_later(quote, zone, total, at),
    ]


def _today(subscription: Subscription, quote: Reactivation, total: str) -> str:
    zone = subscription.time_zone
    facts = {
        "total": total,
        "count": subscription.assigned,
        "first": day(quote.service_start, zone),
        "last": day(states.last_day(quote.service_end), zone),
    }
    if subscription.is_on_account:
        agreement = Agreement.objects.get(pk=subscription.agreement_id or 0)
        facts["days"] = agreement.payment_days
        charged = _("%(total)s on account for %(first)s to %(last)s, to be paid in %(days)d days.") % facts
    else:
        charged = _("%(total)s is charged for %(first)s to %(last)s.") % facts
    if not subscription.assigned:
        return charged + " " + _("Nobody has a license; you can hand them out.")
    if quote.starts_anew:
        back = ngettext(
            "The person with a license has access again at once.",
            "The %(count)d people with a license have access again at once.",
            subscription.assigned,
        )
    else:
        back = ngettext(
            "The person with a license goes on working.",
            "The %(count)d people with a license go on working.",
            subscription.assigned,
        )
    return f"{charged} {back % facts}"


def _later(quote: Reactivation, zone: str, total: str, at: datetime) -> list[Told]:
    """The charges that follow. A short period that went by while it was expired is followed by the next at once."""
    facts = {
        "day": day(quote.service_end, zone),
        "total": total,
        "end": day(quote.term_end, zone),
        "all": money(quote.commitment_minor or 0, quote.currency),
    }
    if quote.service_end <= at:
        told = _("%(total)s for the period that has begun since, charged right after this one.") % facts
        return [Told("", _("%(day)s: next charge") % facts, told)]
    if quote.commitment_minor is not None:
        told = _("%(total)s, and so each month: %(all)s in all until it renews on %(end)s.") % facts
        return [Told("", _("%(day)s: next charge") % facts, told)]
    told = _("%(total)s at today's price, unless you turn recurring billing off before.") % facts
    return [Told("", _("%(day)s: renews") % facts, told)]


def _button(subscription: Subscription, quote: Reactivation) -> str:
    total = {"total": money(quote.total_minor, quote.currency)}
    if subscription.is_on_account:
        return _("Reactivate for %(total)s") % total
    return _("Pay %(total)s and reactivate") % total


# --- Its words on the page where it is paid ---------------------------------------------------------------


def _words(actor: Actor, checkout: Checkout, at: datetime) -> paying.Words:
    subscription: Subscription = checkout.changed
    total = money(checkout.total_minor, checkout.currency)
    if checkout.state == Checkout.State.PAID:
        done = _("%(total)s is paid.") % {"total": total} + " " + _done(subscription)
        return paying.Words("", [], total, [], "", done)
    quote = reactivation_of(subscription, at)
    title = _("Reactivate %(product)s") % {"product": subscription.product.name}
    return paying.Words(
        title, _sums(quote), total, _steps(subscription, quote, at), _button(subscription, quote), ""
    )


paying.describe(
    Checkout.Kind.REACTIVATION,
    paying.ChangePage(
        count_anew=changes.count_reactivation_anew,
        words=_words,
        back="portal:reactivate",
        card_pays_from_now_on=True,
    ),
)
