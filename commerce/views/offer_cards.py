"""Entering a card for a purchase that a colleague offers, and coming back with it (product §4).

Whoever is offered one may never have bought anything, so has no page of payment methods yet.
"""

import uuid
from datetime import datetime
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _

from commerce.gateways import Declined, NeedsAuthentication
from commerce.models import HandOver
from commerce.operations import payments
from commerce.operations.checkouts import NotEligible
from commerce.operations.handovers import OfferOver, over_because
from commerce.queries import handovers
from commerce.views.cards import not_saved
from commerce.views.payment import Problem, count_try, no_card, processor
from config.kit import access
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.errors import Malformed, PeerUnavailable
from config.kit.rate import TooManyTries
from config.kit.tenancy import tenant_atomic


@access.signed_in(owns_transaction=True)
def offer_card(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: the card fields. POST: keep the card, then to the address that shows how that stands."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    offer = _offer(actor, key)
    if _is_over(actor, offer, at):
        return _see(_offer_address(key))
    if request.method != "POST":
        return _form(request, actor, offer)
    setup, token = request.POST.get("setup", ""), request.POST.get("confirmation_token", "")
    intent = _uuid(setup)
    if intent is None or not token:
        return _form(request, actor, offer, problem=no_card(), status=HTTPStatus.UNPROCESSABLE_ENTITY)
    try:
        count_try(actor)
        payments.save_card(
            actor=actor, key=intent, for_organization=False, confirmation_token=token, offer=key, at=at
        )
    except (OfferOver, NotEligible):
        return _see(_offer_address(key))
    except (Declined, NeedsAuthentication, payments.SetupEnded):
        return _see(_setup_address(key, intent))
    except (Malformed, TooManyTries, PeerUnavailable) as error:
        return _form(request, actor, offer, problem=Problem(str(error), "", "card"), status=error.status)
    return _see(_setup_address(key, intent))


@access.signed_in(owns_transaction=True)
def offer_card_setup(request: HttpRequest, key: uuid.UUID, setup: uuid.UUID) -> HttpResponse:
    """How adding the card stands; saved, back to the offer with it. POST: give it up, to enter another one."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    offer = _offer(actor, key)
    if request.method == "POST":
        try:
            payments.give_up_setup(actor=actor, key=setup, at=at)
        except PeerUnavailable:
            return _see(_setup_address(key, setup))
        return _see(reverse("commerce:offer-card", args=[key]))
    try:
        outcome = payments.finish_setup(actor=actor, key=setup, at=at)
    except (Declined, NeedsAuthentication) as declined:
        code = declined.decline_code if isinstance(declined, Declined) else declined.code
        return _form(request, actor, offer, problem=not_saved(code))
    except (payments.SetupEnded, PeerUnavailable) as ended:
        return _form(request, actor, offer, problem=Problem(str(ended), "", "card"))
    if isinstance(outcome, payments.Saved):
        return _see(f"{_offer_address(key)}?card={outcome.card.pk}")
    context = _frame(offer) | processor()
    context |= {
        "address": _setup_address(key, setup),
        "client_secret": outcome.client_secret if isinstance(outcome, payments.ActionNeeded) else "",
    }
    with tenant_atomic(actor):
        return render(request, "commerce/offer_card_waiting.html", context)


def _form(
    request: HttpRequest,
    actor: Actor,
    offer: HandOver,
    *,
    problem: Problem | None = None,
    status: int = HTTPStatus.OK,
) -> HttpResponse:
    context = _frame(offer) | processor()
    context |= {
        "problem": problem,
        "setup": uuid.uuid4(),
        "address": reverse("commerce:offer-card", args=[offer.key]),
        "cards": [],
        "chosen_card": "new",
        "billing": {
            "name": actor.label,
            "address": {
                "line1": "",
                "line2": "",
                "city": "",
                "state": "",
                "postal_code": "",
                "country": request.tenant.country,  # type: ignore[attr-defined]
            },
        },
    }
    with tenant_atomic(actor):
        return render(request, "commerce/offer_card.html", context, status=status)


def _frame(offer: HandOver) -> dict[str, Any]:
    return {
        "title": _("Add a card"),
        "section": "licenses",
        "offer": offer,
        "product": offer.subscription.product,
        "back": _offer_address(offer.key),
    }


def _offer(actor: Actor, key: uuid.UUID) -> HandOver:
    with tenant_atomic(actor):
        return handovers.offer_for(actor, key)


def _is_over(actor: Actor, offer: HandOver, at: datetime) -> bool:
    with tenant_atomic(actor):
        return bool(over_because(offer, offer.subscription, at))


def _offer_address(key: uuid.UUID) -> str:
    return reverse("commerce:offer", args=[key])


def _setup_address(key: uuid.UUID, setup: uuid.UUID) -> str:
    return reverse("commerce:offer-card-setup", args=[key, setup])


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _see(url: str) -> HttpResponse:
    """Go on by GET, so that a reload never posts again."""
    return HttpResponseRedirect(url, status=HTTPStatus.SEE_OTHER)
