"""Offering a purchase to a colleague, and the colleague's answer (product §4)."""

import uuid
from datetime import datetime
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _

from commerce.forms import TakeOverForm
from commerce.models import Card, HandOver, Subscription
from commerce.operations.checkouts import BillingDetails, NotEligible, TermsNotAccepted
from commerce.operations.handovers import (
    ColleagueMayNotBuy,
    NotHandedOver,
    accept_hand_over,
    can_change_hands,
    decline_offer,
    offer_hand_over,
    over_because,
    withdraw_offer,
)
from commerce.queries import checkouts, details, handovers
from commerce.queries.eligibility import eligibility_for
from commerce.states import per_period
from commerce.views.subscriptions import CHANNEL_NAMES, day, money
from commerce.views.wording import history_title, titled
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict, DomainError, Malformed
from directory.models import User
from directory.permissions import Capability
from directory.queries import search_users

MOST_FOUND = 20
BILLING_NAMES = ("name", "street", "postal_code", "city", "country", "vat_number", "own_reference")
LONGEST_TYPED = 200


# --- The owner's page: billing/your-products/<key>/hand-over/ -------------------------------------------------


@access.requires(sees=Capability.SEE_PURCHASES)
def hand_over(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: to whom it is offered, or whom to choose. POST: offer it, or take the offer back."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    subscription = details.purchase(actor, key)
    actor.require(
        Capability.MANAGE_PURCHASES,
        is_own=subscription.is_owned_by(actor),
        is_org=False,
        sees=Capability.SEE_PURCHASES,
    )
    if request.method == "POST":
        return _offer_or_withdraw(request, actor, subscription, at)
    return _owners_page(request, actor, subscription, at)


def _offer_or_withdraw(
    request: HttpRequest, actor: Actor, subscription: Subscription, at: datetime
) -> HttpResponse:
    try:
        if request.POST.get("action") == "withdraw":
            offer = withdraw_offer(actor=actor, key=subscription.key, at=at)
            told = _("Withdrawn: %(name)s can no longer take it over.") % {"name": offer.to_user.name}
        else:
            person = _number(request.POST.get("person", ""))
            offer = offer_hand_over(actor=actor, key=subscription.key, to_user_id=person, at=at)
            told = _("Offered to %(name)s, who has until %(day)s to answer. Nothing changes before.") % {
                "name": offer.to_user.name,
                "day": day(offer.expires_at, subscription.time_zone),
            }
    except ColleagueMayNotBuy as refused:
        reasons = [reason.heading for reason in refused.eligibility.reasons]
        return _owners_page(request, actor, subscription, at, refused=refused, reasons=reasons)
    except (Malformed, Conflict) as refused:
        return _owners_page(request, actor, subscription, at, refused=refused)
    messages.success(request, told)
    return HttpResponseRedirect(reverse("portal:subscription", args=[subscription.key]))


def _owners_page(
    request: HttpRequest,
    actor: Actor,
    subscription: Subscription,
    at: datetime,
    *,
    refused: DomainError | None = None,
    reasons: list[str] | None = None,
) -> HttpResponse:
    offer = handovers.open_offer(subscription, at)
    if offer is None and not can_change_hands(subscription):
        raise NotHandedOver
    query = request.POST.get("q", request.GET.get("q", ""))[:100].strip()
    address = reverse("portal:subscription", args=[subscription.key])
    context: dict[str, Any] = {
        "title": _("Hand over %(product)s") % {"product": subscription.product.name},
        "crumbs": [
            (_("Your products"), reverse("portal:your-products")),
            (subscription.product.name, address),
        ],
        "problem": str(refused) if refused else "",
        "reasons": reasons or [],
        "subscription": subscription,
        "offer": offer,
        "query": query,
        "people": [] if offer else _people(actor, query),
        "address": address,
        "has_open_bill": handovers.has_open_bill(subscription),
        "zone": subscription.time_zone,
    }
    return render_page(
        request,
        "commerce/hand_over.html",
        context,
        status=refused.status if refused else HTTPStatus.OK,
    )


def _people(actor: Actor, query: str) -> list[dict[str, Any]]:
    """Whom the search finds, and why some of them cannot be chosen."""
    found = []
    for person in search_users(query, limit=MOST_FOUND) if query else []:
        if person.pk == actor.user_id:
            why = _("That is you")
        elif person.kind == User.Kind.GUEST:
            why = _("Guests cannot buy")
        elif not person.is_active:
            why = _("Account is disabled")
        else:
            why = ""
        found.append({"user": person, "why": why})
    return found


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


# --- The colleague's page: /my/offers/<key>/ ------------------------------------------------------------------


@access.signed_in
def offered(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """What one would take over and pay from then on. POST: take it over, or decline."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    offer = handovers.offer_for(actor, key)
    if request.method == "POST" and not over_because(offer, offer.subscription, at):
        return _decide(request, actor, offer, at)
    return _colleagues_page(request, actor, offer, at)


def _decide(request: HttpRequest, actor: Actor, offer: HandOver, at: datetime) -> HttpResponse:
    product = offer.subscription.product.name
    if request.POST.get("action") == "decline":
        decline_offer(actor=actor, key=offer.key, at=at)
        told = _("You declined %(product)s. %(name)s keeps it.")
        messages.success(request, told % {"product": product, "name": offer.from_user.name})
        return HttpResponseRedirect(reverse("licensing:my-licenses"))
    if request.POST.get("action") == "card":
        _keep_typed(request, offer)
        return HttpResponseRedirect(
            reverse("commerce:offer-card", args=[offer.key]), status=HTTPStatus.SEE_OTHER
        )
    form = TakeOverForm(request.POST)
    problem = ""
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    if form.is_valid():
        try:
            taken = accept_hand_over(
                actor=actor,
                key=offer.key,
                version=form.cleaned_data["version"],
                card_id=form.cleaned_data["card"],
                billing=_billing(form.cleaned_data),
                agrees_to_terms=form.cleaned_data["agrees"],
                at=at,
            )
        except (Malformed, TermsNotAccepted) as refused:
            field = getattr(refused, "field", "agrees")
            form.add_error(field if field in form.fields else None, str(refused))
        except NotEligible:
            return _colleagues_page(request, actor, offer, at, status=HTTPStatus.FORBIDDEN)
        except Conflict as conflict:
            problem, status = str(conflict), HTTPStatus.CONFLICT
            offer = handovers.offer_for(actor, offer.key)
        else:
            request.session.pop(_typed_name(offer), None)
            messages.success(
                request, _("You took over %(product)s. Nothing was charged.") % {"product": product}
            )
            return HttpResponseRedirect(reverse("portal:subscription", args=[taken.key]))
    if form.errors:
        problem = _("Something is missing or wrong. Nothing was charged. The fields say what.")
    return _colleagues_page(request, actor, offer, at, form=form, problem=problem, status=status)


def _keep_typed(request: HttpRequest, offer: HandOver) -> None:
    """What was typed waits in the session while a card is entered on its own page."""
    typed = {name: request.POST.get(name, "")[:LONGEST_TYPED] for name in BILLING_NAMES}
    request.session[_typed_name(offer)] = typed | {"agrees": "agrees" in request.POST}


def _typed_name(offer: HandOver) -> str:
    return f"take_over:{offer.key}"


def _billing(values: dict[str, Any]) -> BillingDetails:
    return BillingDetails(**{name: values[name] for name in BILLING_NAMES})


def _colleagues_page(
    request: HttpRequest,
    actor: Actor,
    offer: HandOver,
    at: datetime,
    *,
    form: TakeOverForm | None = None,
    problem: str = "",
    status: int = HTTPStatus.OK,
) -> HttpResponse:
    subscription = offer.subscription
    context: dict[str, Any] = {
        "section": "licenses",
        "offer": offer,
        "subscription": subscription,
        "product": subscription.product,
        "zone": subscription.time_zone,
        "over": over_because(offer, subscription, at),
        "is_owner": subscription.is_owned_by(actor),
    }
    if context["over"]:
        return render(request, "commerce/offer_over.html", context, status=status)
    eligibility = eligibility_for(actor=actor, product=subscription.product, at=at)
    cards = list(Card.objects.visible_to(actor).order_by("-is_default", "id"))
    next_charge_at = details.next_charge_at(subscription)
    context |= {
        "reasons": eligibility.reasons,
        "problem": problem,
        "form": form or TakeOverForm(initial=_initial(request, actor, offer, cards, at)),
        "cards": cards,
        "status": details.status_of(subscription),
        "price": money(subscription.period_price_minor, subscription.currency),
        "unit_price": money(subscription.unit_price_minor, subscription.currency),
        "period": per_period(subscription.billing_months),
        "charge": money(details.charge_with_tax(subscription), subscription.currency),
        "next_charge_on": day(next_charge_at, subscription.time_zone),
        "ends_at": subscription.term_end,
        "still": details.still_to_be_charged(subscription),
        "has_open_bill": handovers.has_open_bill(subscription),
    }
    return render(request, "commerce/offer.html", context, status=status)


def _initial(
    request: HttpRequest, actor: Actor, offer: HandOver, cards: list[Card], at: datetime
) -> dict[str, Any]:
    """What the person typed here or for the last purchase, else name and country alone; the card just added."""
    country = request.tenant.country  # type: ignore[attr-defined]
    initial: dict[str, Any] = {"name": actor.label, "country": country}
    saved = checkouts.last_bill_to(actor=actor, at=at)
    if saved is not None:
        names = ("name", "street", "postal_code", "city", "country", "vat_number")
        initial |= {name: getattr(saved, name) for name in names}
    initial |= request.session.get(_typed_name(offer), {})
    numbers = [card.pk for card in cards]
    added = _number(request.GET.get("card", ""))
    return initial | {"card": added if added in numbers else next(iter(numbers), None)}


# --- What a former owner still reads ----------------------------------------------------------------------------


def former_page(request: HttpRequest, actor: Actor, key: uuid.UUID) -> HttpResponse:
    """A purchase that was handed over or taken over: the own bills and the history up to that day, nothing else (product §2).

    :raises NotVisible: it never was theirs.
    """
    handed = handovers.former_purchase(actor, key)
    subscription = handed.subscription
    history = details.order_history(actor, subscription, only_own=True)
    context = {
        "title": subscription.product.name,
        "crumbs": [(_("Your products"), reverse("portal:your-products"))],
        "product": subscription.product,
        "subscription": subscription,
        "channel": CHANNEL_NAMES[subscription.channel],
        "handed": handed,
        "zone": subscription.time_zone,
        "history": [(entry, history_title(entry)) for entry in history],
        "events": titled(handovers.events_until(subscription, handed.at)),
    }
    return render_page(request, "commerce/former_purchase.html", context)
