"""Starting a trial in the shop (product §3.6).

One address per person and product. With a card that is not here yet there is a second one, that of keeping the card, at
which a reload, the way back from the bank and a lost answer all lead to the one trial (F-18).
"""

import uuid
from datetime import datetime
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _

from commerce import trials as rules
from commerce.forms import TrialForm
from commerce.gateways import Declined, NeedsAuthentication
from commerce.models import Checkout, Product, Subscription
from commerce.operations import payments, trials
from commerce.operations.checkouts import NotEligible, PriceChanged, TermsNotAccepted
from commerce.operations.payments.setups import visible_setup
from commerce.operations.trials import Choice, TrialUsed
from commerce.queries import cards as card_queries
from commerce.queries import checkouts
from commerce.queries.catalogue import offer
from commerce.queries.eligibility import eligibility_by_way, eligibility_for
from commerce.queries.quotes import quote_for
from commerce.queries.standing import standing_of
from commerce.states import last_day
from commerce.views.buying import choice_cards
from commerce.views.payment import Problem, another_total, count_try, declined, processor
from commerce.views.subscriptions import day
from commerce.views.trials.forms import NEW_CARD, WITH_CARD, WITHOUT_CARD, billing_of, initial_of, number, see
from config.kit import access
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.errors import Conflict, Malformed, NotVisible, PeerUnavailable
from config.kit.rate import TooManyTries
from config.kit.tenancy import tenant_atomic
from directory.actors import tenant_row
from directory.views.sign_in import email_step
from policies.eligibility import Eligibility
from policies.queries.policies import contact_text
from policies.queries.requests import request_door


@access.public(owns_transaction=True)
def start(request: HttpRequest, slug: str) -> HttpResponse:
    """GET: what a trial is, what happens at its end, and what that costs. POST: start it."""
    at = now()
    product = Product.objects.filter(slug=slug).first()
    if product is None:
        raise NotVisible
    actor: Actor | None = request.actor  # type: ignore[attr-defined]
    if actor is None:
        return email_step(
            request,
            next_path=request.get_full_path(),
            about="commerce/_buy_about.html",
            product=product,
            price=None,
        )
    with tenant_atomic(actor):
        request.tenant = tenant_row(actor.tenant_id)  # type: ignore[attr-defined]
        ways = eligibility_by_way(actor=actor, product=product, at=at)
        decisions = {kind: ways[trials.WANTED[kind]] for kind in (WITH_CARD, WITHOUT_CARD)}
    kinds = [kind for kind, decision in decisions.items() if decision.is_eligible]
    asked = request.POST.get("kind", request.GET.get("kind", ""))
    if not kinds:
        decision = decisions[WITHOUT_CARD if product.trial_without_card else WITH_CARD]
        return not_eligible(request, actor, product, decision)
    kind = next((each for each in kinds if each == asked), kinds[-1])
    if request.method == "POST":
        return _post(request, actor, product, kinds, kind, at)
    form = TrialForm(initial=initial_of(request, actor, at), plans=product.plans.all())
    return _page(request, actor, product, kinds, kind, form, at)


def _post(
    request: HttpRequest, actor: Actor, product: Product, kinds: list[Any], kind: str, at: datetime
) -> HttpResponse:
    form = TrialForm(request.POST, plans=product.plans.all(), with_card=kind == WITH_CARD)
    if request.POST.get("action") == "update":
        typed = TrialForm(initial=request.POST.dict(), plans=product.plans.all())
        return _page(request, actor, product, kinds, kind, typed, at)
    problem: Problem | None = None
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    if form.is_valid():
        try:
            count_try(actor)
            return _start(request, actor, product, kind, form.cleaned_data, at)
        except (Malformed, TermsNotAccepted) as refused:
            field = getattr(refused, "field", "agrees")
            form.add_error(field if field in form.fields else None, str(refused))
        except PriceChanged as changed:
            problem, status = another_total(changed.quote), HTTPStatus.CONFLICT
        except NotEligible as refused:
            return not_eligible(request, actor, product, refused.eligibility)
        except (TrialUsed, TooManyTries, PeerUnavailable, Conflict) as refused:
            problem, status = Problem(str(refused), "", "card"), HTTPStatus(refused.status)
    if form.errors:
        problem = Problem(
            _("Something is missing or wrong. Nothing was started, and nothing was charged."),
            _("The fields say what."),
            "",
        )
    return _page(request, actor, product, kinds, kind, form, at, problem=problem, status=status)


def _start(
    request: HttpRequest, actor: Actor, product: Product, kind: str, values: dict[str, Any], at: datetime
) -> HttpResponse:
    """Start it, or go on to the address at which its card is kept.

    :raises Malformed: no card. :raises DomainError: as the operations of `commerce.operations.trials`.
    """
    choice = Choice(product, values["plan"], values["quantity"], values["seen_total"])
    if kind == WITHOUT_CARD:
        started = trials.start_trial_without_card(
            actor=actor, choice=choice, agrees_to_terms=values["agrees"], at=at
        )
        return _started(request, started)
    if values["card"] != NEW_CARD:
        started = trials.start_trial_with_card(
            actor=actor,
            choice=choice,
            card_id=number(values["card"]),
            billing=billing_of(values),
            agrees_to_terms=values["agrees"],
            at=at,
        )
        return _started(request, started)
    key, token = values["intent"], values["confirmation_token"]
    if key is None or not token:
        raise Malformed(_("The card is missing. Card details need JavaScript."), field="card")
    trials.prepare_trial(
        actor=actor,
        key=key,
        choice=choice,
        billing=billing_of(values),
        agrees_to_terms=values["agrees"],
        at=at,
    )
    address = reverse("commerce:trial-card", args=[product.slug, key])
    try:
        payments.save_card(
            actor=actor, key=key, for_organization=False, confirmation_token=token, checkout=key, at=at
        )
    except (Declined, NeedsAuthentication, payments.SetupEnded):
        return see(address)
    return see(address)


def _started(request: HttpRequest, subscription: Subscription) -> HttpResponse:
    end = day(last_day(subscription.period_end), subscription.time_zone)
    messages.success(
        request,
        _("Your trial of %(product)s runs until %(day)s. Nothing was charged.")
        % {"product": subscription.product.name, "day": end},
    )
    return see(reverse("portal:subscription", args=[subscription.key]))


@access.signed_in(owns_transaction=True)
def keep_card(request: HttpRequest, slug: str, key: uuid.UUID) -> HttpResponse:
    """How keeping the card of a new trial stands. POST: give it up, to enter another one."""
    at = now()
    actor: Actor = request.actor  # type: ignore[attr-defined]
    setup = visible_setup(actor, key)
    with tenant_atomic(actor):
        request.tenant = tenant_row(actor.tenant_id)  # type: ignore[attr-defined]
        checkout: Checkout | None = (
            Checkout.objects.visible_to(actor)
            .filter(pk=setup.checkout_id, product__slug=slug)
            .select_related("product", "plan", "bill_to", "market__vendor_entity")
            .first()
        )
    if checkout is None:
        raise NotVisible
    if request.method == "POST":
        try:
            payments.give_up_setup(actor=actor, key=key, at=at)
        except PeerUnavailable:
            return see(reverse("commerce:trial-card", args=[slug, key]))
        return see(reverse("commerce:trial", args=[slug]))
    try:
        outcome = payments.finish_setup(actor=actor, key=key, at=at)
    except (Declined, NeedsAuthentication) as refused:
        code = refused.decline_code if isinstance(refused, Declined) else refused.code
        problem = declined(code, _("No trial was started."))
        return _again(request, actor, checkout, at, problem)
    except (payments.SetupEnded, PeerUnavailable) as ended:
        return _again(request, actor, checkout, at, Problem(str(ended), _("No trial was started."), "card"))
    if isinstance(outcome, payments.Saved):
        return _kept(request, actor, checkout)
    context = {
        "checkout": checkout,
        "product": checkout.product,
        "address": reverse("commerce:trial-card", args=[slug, key]),
        "client_secret": outcome.client_secret if isinstance(outcome, payments.ActionNeeded) else "",
    }
    with tenant_atomic(actor):
        return render(request, "commerce/trial_waiting.html", context | processor())


def _kept(request: HttpRequest, actor: Actor, checkout: Checkout) -> HttpResponse:
    """The card is kept: to the trial; or, where it may not start after all, to the reasons."""
    with tenant_atomic(actor):
        fresh = Checkout.objects.get(pk=checkout.pk)
        started: Subscription | None = (
            Subscription.objects.select_related("product")
            .filter(order_lines__order__checkout=fresh, tenant_id=actor.tenant_id)
            .first()
        )
    if started is not None:
        return _started(request, started)
    messages.error(request, _("The trial could not be started any more. Nothing was charged."))
    return see(reverse("commerce:trial", args=[checkout.product.slug]))


def _again(
    request: HttpRequest, actor: Actor, checkout: Checkout, at: datetime, problem: Problem
) -> HttpResponse:
    """The form as it was filled in, for another card; an intent is good for one card alone."""
    product = checkout.product
    with tenant_atomic(actor):
        decision = eligibility_for(actor=actor, product=product, at=at, wanted="trial")
    if not decision.is_eligible:
        return not_eligible(request, actor, product, decision)
    bill_to = checkout.bill_to
    initial: dict[str, Any] = {
        "quantity": checkout.quantity,
        "plan": checkout.plan.code,
        "agrees": True,
        "card": NEW_CARD,
        "intent": uuid.uuid4(),
    }
    if bill_to is not None:
        names = ("name", "street", "postal_code", "city", "country", "vat_number", "own_reference")
        initial |= {name: getattr(bill_to, name) for name in names}
    form = TrialForm(initial=initial, plans=product.plans.all())
    return _page(request, actor, product, [WITH_CARD], WITH_CARD, form, at, problem=problem)


def not_eligible(
    request: HttpRequest, actor: Actor, product: Product, eligibility: Eligibility
) -> HttpResponse:
    with tenant_atomic(actor):
        context = {
            "product": product,
            "is_trial": True,
            "reasons": eligibility.reasons,
            "leads_home": any(reason.leads_home for reason in eligibility.reasons),
            "contact": contact_text(actor=actor),
            "door": request_door(actor=actor, product_id=product.pk),
            "free_licenses": checkouts.free_licenses(actor=actor, product=product),
            "standing": standing_of(actor=actor, product=product),
        }
        return render(request, "commerce/not_eligible.html", context, status=HTTPStatus.FORBIDDEN)


def _page(
    request: HttpRequest,
    actor: Actor,
    product: Product,
    kinds: list[Any],
    kind: str,
    form: TrialForm,
    at: datetime,
    *,
    problem: Problem | None = None,
    status: int = HTTPStatus.OK,
) -> HttpResponse:
    most = rules.most_seats(product.max_quantity)
    with tenant_atomic(actor):
        tenant = tenant_row(actor.tenant_id)
        market = trials.market_of_actor(actor)
        offered = offer(product=product, market=market, at=at)
        code = form["plan"].value() or ""
        price = offered.price_of(str(code)) or offered.prices[0]
        quantity = _within(form["quantity"].value(), most)
        quote = quote_for(
            plan=price.plan,
            quantity=quantity,
            market=market,
            time_zone=tenant.time_zone,
            at=at,
            unit_price_minor=price.unit_price_minor,
        )
        cards = card_queries.choices(
            card_queries.cards_of(actor.tenant_id, actor.user_id), at=at, time_zone=tenant.time_zone
        )
        numbers = [str(card.pk) for card in cards]
        chosen = str(form["card"].value() or "")
        context = {
            "product": product,
            "kinds": [str(each) for each in kinds],
            "kind": str(kind),
            "with_card": kind == WITH_CARD,
            "form": form,
            "intent": form["intent"].value() or uuid.uuid4(),
            "problem": problem,
            "quote": quote,
            "plan_code": price.plan.code,
            "quantity": quantity,
            "choices": choice_cards(offered, quantity, quote),
            "most": most,
            "zone": tenant.time_zone,
            "ends_at": trials.end_of_trial(at, tenant.time_zone),
            "cards": cards,
            "chosen_card": chosen if chosen in (*numbers, NEW_CARD) else (numbers or [NEW_CARD])[0],
            "terms_version": settings.TERMS_VERSION,
            "free_licenses": checkouts.free_licenses(actor=actor, product=product),
            "billing": _holder(actor.label, tenant.country),
        }
        if kind == WITH_CARD:
            context |= processor()
        return render(request, "commerce/trial.html", context, status=status)


def _holder(name: str, country: str) -> dict[str, Any]:
    """What the processor is told of a new card's holder, as its script names it."""
    address = dict.fromkeys(("line1", "line2", "city", "state", "postal_code"), "")
    return {"name": name, "address": address | {"country": country}}


def _within(value: Any, most: int) -> int:
    """The number in the field as far as it can be tried, to count the sum with; else 1."""
    text = str(value or "")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 1
    return number if 1 <= number <= most else 1
