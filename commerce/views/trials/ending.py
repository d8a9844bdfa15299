"""What a trial's owner sees and does about its end: billing/your-products/<key>/trial/… (product §3.6)."""

import uuid
from datetime import datetime
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from commerce import trials as rules
from commerce.forms import KeepTrialForm
from commerce.models import Card, CardSetup, Subscription, Trial
from commerce.operations import trials
from commerce.operations.checkouts import NotEligible, PriceChanged, TermsNotAccepted
from commerce.operations.trials import TrialOver
from commerce.queries import cards as card_queries
from commerce.queries import details
from commerce.queries.catalogue import offer
from commerce.queries.eligibility import eligibility_for
from commerce.queries.quotes import quote_for
from commerce.quotes import Quote
from commerce.states import last_day
from commerce.views.buying import choice_cards
from commerce.views.payment import Problem, another_total
from commerce.views.subscriptions import day, money
from commerce.views.trials.forms import WITH_CARD, billing_of, initial_of, number, see
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict, Malformed
from config.kit.tenancy import tenant_atomic
from directory.permissions import Capability
from policies.queries.requests import request_door


def _own_trial(actor: Actor, key: uuid.UUID) -> tuple[Subscription, Trial]:
    """A running trial that the person manages.

    :raises NotVisible, NotAllowed: no such purchase, or not theirs. :raises TrialOver: no trial any more.
    """
    subscription = details.purchase(actor, key)
    actor.require(
        Capability.MANAGE_PURCHASES,
        is_own=subscription.is_owned_by(actor),
        is_org=subscription.is_organizations,
        sees=Capability.SEE_PURCHASES,
    )
    trial: Trial | None = Trial.objects.filter(subscription=subscription).first()
    is_running = (
        subscription.channel == Subscription.Channel.TRIAL and subscription.state == Subscription.State.ACTIVE
    )
    if trial is None or not is_running:
        raise TrialOver
    return subscription, trial


def _over(request: HttpRequest, key: uuid.UUID, over: TrialOver) -> HttpResponse:
    messages.warning(request, str(over))
    return see(reverse("portal:subscription", args=[key]))


def _frame(title: str, subscription: Subscription) -> dict[str, Any]:
    address = reverse("portal:subscription", args=[subscription.key])
    return {
        "title": title,
        "crumbs": [
            (_("Your products"), reverse("portal:your-products")),
            (subscription.product.name, address),
        ],
        "subscription": subscription,
        "product": subscription.product,
        "address": address,
        "zone": subscription.time_zone,
    }


@access.requires(sees=Capability.SEE_PURCHASES)
def extend(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: until when, and what then. POST: make it 30 days longer."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    try:
        subscription, trial = _own_trial(actor, key)
    except TrialOver as over:
        return _over(request, key, over)
    problem, status = "", HTTPStatus.OK
    if request.method == "POST":
        try:
            extended = trials.extend_trial(
                actor=actor, key=key, version=number(request.POST.get("version", "")), at=at
            )
        except NotEligible as refused:
            problem = " ".join(f"{reason.heading}." for reason in refused.eligibility.reasons)
            status = HTTPStatus.CONFLICT
        except Conflict as refused:
            problem, status = str(refused), HTTPStatus.CONFLICT
        else:
            end = day(last_day(extended.period_end), extended.time_zone)
            messages.success(request, _("Your trial runs until %(day)s now.") % {"day": end})
            return see(reverse("portal:subscription", args=[key]))
        subscription, trial = _own_trial(actor, key)
    context = _frame(_("Extend the trial"), subscription) | {
        "problem": problem,
        "trial": trial,
        "may_extend": rules.is_extendable(ends_at=trial.ends_at, extended_at=trial.extended_at, at=at),
        "from_day": day(rules.extendable_from(trial.ends_at), subscription.time_zone),
        "was_extended": trial.extended_at is not None,
        "last_day": day(last_day(trial.ends_at), subscription.time_zone),
        "new_last_day": day(
            last_day(trials.extended_end(trial.ends_at, subscription.time_zone)), subscription.time_zone
        ),
        "new_end": day(trials.extended_end(trial.ends_at, subscription.time_zone), subscription.time_zone),
        "charge": money(details.charge_with_tax(subscription), subscription.currency),
    }
    return render_page(request, "commerce/trial_extend.html", context, status=status)


@access.requires(sees=Capability.SEE_PURCHASES, owns_transaction=True)
def keep(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """GET: what keeping a trial without a card means and costs. POST: let it turn paid at its end."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    try:
        with tenant_atomic(actor):
            subscription, _trial = _own_trial(actor, key)
            plans = list(subscription.product.plans.all())
    except TrialOver as over:
        return _over(request, key, over)
    if request.method != "POST":
        initial = initial_of(request, actor, at) | {"plan": subscription.plan.code}
        return _keep_page(request, actor, key, KeepTrialForm(initial=initial, plans=plans), at)
    if request.POST.get("action") == "update":
        return _keep_page(request, actor, key, KeepTrialForm(initial=request.POST.dict(), plans=plans), at)
    form = KeepTrialForm(request.POST, plans=plans)
    problem: Problem | None = None
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    if form.is_valid():
        values = form.cleaned_data
        try:
            trials.keep_after_trial(
                actor=actor,
                key=key,
                version=values["version"],
                plan=values["plan"],
                card_id=number(values["card"]),
                billing=billing_of(values),
                agrees_to_terms=values["agrees"],
                seen_total_minor=values["seen_total"],
                at=at,
            )
        except (Malformed, TermsNotAccepted) as refused:
            field = getattr(refused, "field", "agrees")
            form.add_error(field if field in form.fields else None, str(refused))
        except PriceChanged as changed:
            problem, status = another_total(changed.quote), HTTPStatus.CONFLICT
        except NotEligible as refused:
            reasons = " ".join(f"{reason.heading}." for reason in refused.eligibility.reasons)
            problem, status = Problem(reasons, _("Nothing was changed."), ""), HTTPStatus.CONFLICT
        except Conflict as refused:
            problem, status = Problem(str(refused), "", ""), HTTPStatus.CONFLICT
        else:
            messages.success(request, _("It turns paid at the end of the trial. Nothing was charged now."))
            return see(reverse("portal:subscription", args=[key]))
    if form.errors:
        problem = Problem(
            _("Something is missing or wrong. Nothing was changed."), _("The fields say what."), ""
        )
    return _keep_page(request, actor, key, form, at, problem=problem, status=status)


def _keep_page(
    request: HttpRequest,
    actor: Actor,
    key: uuid.UUID,
    form: KeepTrialForm,
    at: datetime,
    *,
    problem: Problem | None = None,
    status: int = HTTPStatus.OK,
) -> HttpResponse:
    with tenant_atomic(actor):
        subscription, trial = _own_trial(actor, key)
        eligibility = eligibility_for(actor=actor, product=subscription.product, at=at)
        market = trials.market_of_actor(actor)
        offered = offer(product=subscription.product, market=market, at=at)
        price = offered.price_of(str(form["plan"].value() or "")) or offered.prices[0]
        quote: Quote = quote_for(
            plan=price.plan,
            quantity=subscription.quantity,
            market=market,
            time_zone=subscription.time_zone,
            at=at,
            unit_price_minor=price.unit_price_minor,
        )
        cards: list[Card] = card_queries.choices(
            card_queries.cards_of(actor.tenant_id, actor.user_id), at=at, time_zone=subscription.time_zone
        )
        numbers = [str(card.pk) for card in cards]
        chosen = str(form["card"].value() or "")
        context = _frame(_("Keep it after the trial"), subscription) | {
            "problem": problem,
            "form": form,
            "reasons": eligibility.reasons,
            "door": request_door(actor=actor, product_id=subscription.product_id)
            if eligibility.reasons
            else None,
            "plan_code": price.plan.code,
            "choices": choice_cards(offered, subscription.quantity, quote),
            "quote": quote,
            "charge": money(quote.total_minor, quote.currency),
            "ends_on": day(trial.ends_at, subscription.time_zone),
            "last_day": day(last_day(trial.ends_at), subscription.time_zone),
            "cards": cards,
            "chosen_card": chosen if chosen in numbers else next(iter(numbers), ""),
            "add_address": f"{reverse('portal:card-add')}?for={subscription.key}",
            "terms_version": settings.TERMS_VERSION,
        }
        return render_page(request, "commerce/trial_keep.html", context, status=status)


def goes_on_to(setup: CardSetup) -> str:
    """Where a person goes on who added a card on the way to keeping a trial; empty for everybody else."""
    subscription = setup.subscription
    if subscription is None or subscription.channel != Subscription.Channel.TRIAL:
        return ""
    if subscription.recurring_billing or subscription.state != Subscription.State.ACTIVE:
        return ""
    return reverse("portal:trial-keep", args=[subscription.key])


def panel_of(
    actor: Actor, subscription: Subscription, at: datetime, *, may_manage: bool
) -> dict[str, Any] | None:
    """What the purchase's page says about a trial that runs: its days, its end, and what can be done. One query."""
    is_running = (
        subscription.channel == Subscription.Channel.TRIAL and subscription.state == Subscription.State.ACTIVE
    )
    if not is_running:
        return None
    trial: Trial | None = Trial.objects.filter(subscription=subscription).first()
    if trial is None:
        return None
    zone = subscription.time_zone
    return {
        "days_left": rules.days_left(ends_at=trial.ends_at, at=at),
        "last_day": day(last_day(trial.ends_at), zone),
        "ends_on": day(trial.ends_at, zone),
        "turns_paid": subscription.recurring_billing,
        "has_card": trial.kind == WITH_CARD,
        "charge": money(details.charge_with_tax(subscription), subscription.currency),
        "may_manage": may_manage,
        "may_extend": may_manage
        and rules.is_extendable(ends_at=trial.ends_at, extended_at=trial.extended_at, at=at),
        "was_extended": trial.extended_at is not None,
        "extendable_from": day(rules.extendable_from(trial.ends_at), zone),
    }
