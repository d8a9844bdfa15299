"""Buying by card: from the product's Buy button to the confirmation (product §3.2 to §3.5).

The page of a checkout is always the same address. What it shows follows from the checkout's state, so that a
reload, the back button, a second tab and a lost answer all lead to the one order (F-18).
"""

import uuid
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.forms import BooleanField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _

from commerce.addresses import LONGEST_ADDRESS
from commerce.forms import CheckoutForm, ChoiceForm
from commerce.gateways import Declined, NeedsAuthentication, Rejected
from commerce.models import Checkout, Market, Product
from commerce.operations import payments
from commerce.operations.checkouts import (
    BillingDetails,
    CheckoutClosed,
    NotEligible,
    OverLimit,
    PriceChanged,
    change_checkout,
    save_checkout,
    start_checkout,
)
from commerce.queries import checkouts as queries
from commerce.queries.cards import choices
from commerce.queries.catalogue import Offer, offer
from commerce.queries.quotes import quote_for
from commerce.queries.sites import way_back
from commerce.queries.spending import over_limit_reason
from commerce.queries.standing import standing_of
from commerce.queries.training import beside
from commerce.quotes import Quote
from commerce.views.market import shown_market
from commerce.views.paying import (
    ANOTHER_CARD,
    DROP,
    NEW_CARD,
    chosen_of,
    number,
    saved_cards,
    use_another_card,
    withdrawn,
)
from commerce.views.payment import Problem, another_total, count_try, declined, no_card, over_limit, processor
from config.kit import access
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.errors import Conflict, Malformed, NotVisible, PeerUnavailable
from config.kit.rate import CounterAway, TooManyTries
from config.kit.tenancy import tenant_atomic
from directory.actors import tenant_row
from directory.views.accounts import ORGANIZATION, named_elsewhere
from directory.views.sign_in import email_step
from policies.eligibility import Eligibility
from policies.queries.policies import contact_text
from policies.queries.requests import request_door

SEE_OTHER = HTTPStatus.SEE_OTHER


def _see(url: str) -> HttpResponse:
    """Go on by GET, so that a reload never posts again."""
    return HttpResponseRedirect(url, status=SEE_OTHER)


def checkout_url(checkout: Checkout) -> str:
    return reverse("commerce:checkout", args=[checkout.product.slug, checkout.key])


def buy_url(checkout: Checkout) -> str:
    """Where the same is begun anew, with the way back."""
    address = reverse("commerce:buy", args=[checkout.product.slug])
    return f"{address}?{urlencode({'return': checkout.return_to})}" if checkout.return_to else address


# --- /buy/<slug>/ ---------------------------------------------------------------------------------------


@access.public
def buy(request: HttpRequest, slug: str) -> HttpResponse:
    """Sign in first; then the reasons against buying, or the checkout that is under way or new."""
    at = now()
    product = Product.objects.prefetch_related("plans").filter(slug=slug).first()
    if product is None:
        raise NotVisible
    actor: Actor | None = request.actor  # type: ignore[attr-defined]
    if actor is None:
        return email_step(
            request,
            next_path=_way_here(request, product),
            about="commerce/_buy_about.html",
            **_about(request, product, at),
        )
    if elsewhere := named_elsewhere(request, _way_here(request, product)):
        return elsewhere
    form = ChoiceForm(request.GET, plans=product.plans.all())
    form.is_valid()
    try:
        checkout = start_checkout(
            actor=actor,
            product=product,
            plan=form.cleaned_data.get("plan"),
            quantity=_wanted(form, product),
            return_to=request.GET.get("return", ""),
            at=at,
        )
    except NotEligible as refusal:
        return _not_eligible(request, actor, product, refusal.eligibility)
    return HttpResponseRedirect(checkout_url(checkout))


def _way_here(request: HttpRequest, product: Product) -> str:
    """This address with what it understands, to come back to; a way back to nowhere registered is left out."""
    asked = {name: request.GET.get(name, "")[:LONGEST_ADDRESS] for name in ("plan", "quantity", ORGANIZATION)}
    asked["return"] = (
        request.GET.get("return", "") if way_back(product, request.GET.get("return", "")) else ""
    )
    query = urlencode({name: value for name, value in asked.items() if value})
    return f"{request.path}?{query}" if query else request.path


def _about(request: HttpRequest, product: Product, at: datetime) -> dict[str, Any]:
    """The product shown above the work e-mail, with its price where the visitor seems to be."""
    found = offer(product=product, market=shown_market(request).market, at=at)
    return {"product": product, "price": found.monthly if found.is_open else None}


def _wanted(form: ChoiceForm, product: Product) -> int | None:
    """The number that a link asks for, when it can be bought."""
    quantity = form.cleaned_data.get("quantity")
    return quantity if quantity and quantity <= product.max_quantity else None


def _not_eligible(
    request: HttpRequest, actor: Actor, product: Product, eligibility: Eligibility
) -> HttpResponse:
    context = {
        "product": product,
        "reasons": eligibility.reasons,
        "leads_home": any(reason.leads_home for reason in eligibility.reasons),
        "contact": contact_text(actor=actor),
        "door": request_door(actor=actor, product_id=product.pk),
        "free_licenses": queries.free_licenses(actor=actor, product=product),
        "standing": standing_of(actor=actor, product=product),
        "back": way_back(product, request.GET.get("return", "")),
    }
    return render(request, "commerce/not_eligible.html", context, status=HTTPStatus.FORBIDDEN)


# --- /buy/<slug>/checkout/<key>/ ------------------------------------------------------------------------


@access.signed_in(owns_transaction=True)
def checkout(request: HttpRequest, slug: str, key: uuid.UUID) -> HttpResponse:
    """One page from choosing to paid. It talks to the card processor, so it opens its own transactions."""
    at = now()
    actor: Actor = request.actor  # type: ignore[attr-defined]
    with tenant_atomic(actor):
        request.tenant = tenant_row(actor.tenant_id)  # type: ignore[attr-defined]
        found = queries.checkout_of(actor=actor, key=key, slug=slug)
    if request.method == "POST":
        action = request.POST.get("action", "")
        if action == DROP:
            return _drop(request, found, at)
        if action == ANOTHER_CARD:
            return use_another_card(request, found, at, address=checkout_url(found))
        return _pay(request, found, at) if action in ("pay", "check") else _change(request, found, at)
    return _show(request, found, at)


def _show(request: HttpRequest, found: Checkout, at: datetime) -> HttpResponse:
    state = found.state
    if state == Checkout.State.PAID:
        return _see(reverse("commerce:confirmation", args=[found.product.slug, found.key]))
    if state in (Checkout.State.PAYING, Checkout.State.ACTION):
        return _settle(request, found, at)
    if state == Checkout.State.ABANDONED or found.expires_at <= at:
        return _see(buy_url(found))
    problem = declined(found.last_error) if found.last_error else None
    return _form_page(request, found, at, problem=problem)


def _drop(request: HttpRequest, found: Checkout, at: datetime) -> HttpResponse:
    if not withdrawn(request, found, at, payments.drop_checkout):
        return _see(checkout_url(found))
    messages.success(request, _("The purchase is dropped. Nothing was charged."))
    return _see(reverse("commerce:product", args=[found.product.slug]))


def _settle(request: HttpRequest, found: Checkout, at: datetime) -> HttpResponse:
    """Ask the processor how a payment that is under way stands, and go where its answer leads."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    try:
        outcome = payments.finish_checkout(actor=actor, key=found.key, at=at)
    except NotEligible:
        return _see(buy_url(found))
    except (Declined, NeedsAuthentication, Conflict, Rejected):
        # It has ended: the page of the state that the checkout is in now says how.
        return _see(checkout_url(found))
    except PeerUnavailable:
        outcome = payments.Pending()
    return _go_on(request, found, outcome)


def _go_on(request: HttpRequest, found: Checkout, outcome: payments.Outcome) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    context: dict[str, Any] = {}
    template = "commerce/checkout_waiting.html"
    if isinstance(outcome, payments.Paid):
        return _see(reverse("commerce:confirmation", args=[found.product.slug, found.key]))
    if isinstance(outcome, payments.ActionNeeded):
        context["client_secret"] = outcome.client_secret
        template = "commerce/checkout_bank.html"
    with tenant_atomic(actor):
        market = Market.objects.select_related("vendor_entity").get(pk=found.market_id)
        context |= {"checkout": found, "product": found.product, "seller": market.vendor_entity.name}
        return render(request, template, context | processor())


def _change(request: HttpRequest, found: Checkout, at: datetime) -> HttpResponse:
    """Another number or plan: count anew. Answers htmx with the two parts that change, else the whole page."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    choice = ChoiceForm(_stepped(request, found.product), plans=found.product.plans.all())
    if choice.is_valid():
        try:
            found = change_checkout(actor=actor, key=found.key, at=at, **choice.cleaned_data)
        except Malformed as error:
            choice.add_error(error.field, str(error))
        except CheckoutClosed:
            return _elsewhere(request, checkout_url(found))
    form = _typed_form(request, found)
    if choice.errors:
        form.errors.update(choice.errors)
        form.initial["quantity"] = choice.data.get("quantity", "")
    status = HTTPStatus.UNPROCESSABLE_ENTITY if choice.errors and not request.htmx else HTTPStatus.OK  # type: ignore[attr-defined]
    template = "commerce/_checkout_parts.html" if request.htmx else "commerce/checkout.html"  # type: ignore[attr-defined]
    return _form_page(request, found, at, form=form, status=status, template=template)


def _elsewhere(request: HttpRequest, url: str) -> HttpResponse:
    """Leave the page, also when htmx asked for a part of it."""
    if request.htmx:  # type: ignore[attr-defined]
        response = HttpResponse(status=HTTPStatus.NO_CONTENT)
        response["HX-Redirect"] = url
        return response
    return _see(url)


def _stepped(request: HttpRequest, product: Product) -> dict[str, str]:
    """The posted values, with the number moved by the minus or plus button that was pressed."""
    values = {name: str(value) for name, value in request.POST.items()}
    step, quantity = values.get("step", ""), values.get("quantity", "")
    if step in ("less", "more") and quantity.isascii() and quantity.isdigit():
        moved = int(quantity[:9]) + (1 if step == "more" else -1)
        values["quantity"] = str(min(max(moved, 1), product.max_quantity))
    return values


def _typed_form(request: HttpRequest, found: Checkout) -> CheckoutForm:
    """What was typed so far, not yet judged; plan and number as they were saved."""
    plans = found.product.plans.all()
    typed: dict[str, Any] = {
        name: name in request.POST if isinstance(field, BooleanField) else request.POST.get(name, "")
        for name, field in CheckoutForm(plans=plans).fields.items()
    }
    typed |= {"quantity": found.quantity, "plan": found.plan.code}
    return CheckoutForm(initial=typed, plans=plans)


def _pay(request: HttpRequest, found: Checkout, at: datetime) -> HttpResponse:
    """Save what the person agreed to, then charge. With `check` nothing is charged: it answers 204 or the page."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    form = CheckoutForm(request.POST, plans=found.product.plans.all())
    is_check = request.POST.get("action") == "check"
    problem: Problem | None = None
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    if form.is_valid():
        try:
            if not is_check:
                count_try(actor)
            _save(actor, found, form.cleaned_data, at)
        except Malformed as error:
            form.add_error(error.field if error.field in form.fields else None, str(error))
        except PriceChanged as error:
            found = _keep_choice(actor, found, form.cleaned_data, at)
            problem = another_total(error.quote)
            status = HTTPStatus.CONFLICT
        except CheckoutClosed:
            return _see(checkout_url(found))
        except OverLimit as refused:
            found = _keep_choice(actor, found, form.cleaned_data, at)
            problem = over_limit(refused)
            status = HTTPStatus.FORBIDDEN
        except NotEligible:
            return _see(buy_url(found))
        except (TooManyTries, CounterAway) as error:
            problem = Problem(str(error), _("Nothing was charged."), "")
            status = HTTPStatus(error.status)
        else:
            if is_check:
                return HttpResponse(status=HTTPStatus.NO_CONTENT)
            if _is_saved(request) or request.POST.get("confirmation_token", ""):
                return _charge(request, found, at)
            problem = no_card()
    if form.errors:
        problem = Problem(
            _("Something is missing or wrong. Nothing was charged."), _("The fields say what."), "pay"
        )
    return _form_page(request, found, at, form=form, problem=problem, status=status)


def _save(actor: Actor, found: Checkout, values: dict[str, Any], at: datetime) -> None:
    save_checkout(
        actor=actor,
        key=found.key,
        plan=values["plan"],
        quantity=values["quantity"],
        billing=BillingDetails(
            name=values["name"],
            street=values["street"],
            postal_code=values["postal_code"],
            city=values["city"],
            country=values["country"],
            vat_number=values["vat_number"],
            own_reference=values["own_reference"],
        ),
        takes_first_license=values["takes_first_license"],
        agrees_to_terms=values["agrees_to_terms"] and values["agrees_to_data"],
        seen_total_minor=values["seen_total"],
        at=at,
    )


def _keep_choice(actor: Actor, found: Checkout, values: dict[str, Any], at: datetime) -> Checkout:
    """Plan and number as posted, so that the page shows the total that they cost now."""
    return change_checkout(
        actor=actor,
        key=found.key,
        plan=values["plan"],
        quantity=values["quantity"],
        takes_first_license=values["takes_first_license"],
        at=at,
    )


def _is_saved(request: HttpRequest) -> bool:
    """Whether a saved card was chosen."""
    return request.POST.get("card", NEW_CARD) != NEW_CARD


def _charge(request: HttpRequest, found: Checkout, at: datetime) -> HttpResponse:
    """One charge. Every answer leads back to the checkout's own address, which shows how it stands."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    try:
        if _is_saved(request):
            outcome = payments.pay_checkout(
                actor=actor,
                key=found.key,
                card_id=number(request.POST["card"]),
                tries=number(request.POST.get("tries", "")),
                at=at,
            )
        else:
            token = request.POST.get("confirmation_token", "")
            outcome = payments.pay_checkout(actor=actor, key=found.key, confirmation_token=token, at=at)
    except Malformed as error:
        problem = Problem(str(error), _("Nothing was charged."), "card")
        return _form_page(request, found, at, problem=problem, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    except OverLimit as refused:
        with tenant_atomic(actor):
            found = queries.checkout_of(actor=actor, key=found.key, slug=found.product.slug)
        return _form_page(request, found, at, problem=over_limit(refused), status=HTTPStatus.FORBIDDEN)
    except NotEligible:
        return _see(buy_url(found))
    except PeerUnavailable as error:
        return _unavailable(request, found, error, at)
    except (Declined, NeedsAuthentication, Conflict):
        return _see(checkout_url(found))
    if isinstance(outcome, payments.Paid):
        return _see(reverse("commerce:confirmation", args=[found.product.slug, found.key]))
    return _see(checkout_url(found))


def _unavailable(request: HttpRequest, found: Checkout, error: PeerUnavailable, at: datetime) -> HttpResponse:
    """The processor is away: the form again when nothing is under way, else the page that waits."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    with tenant_atomic(actor):
        found = queries.checkout_of(actor=actor, key=found.key, slug=found.product.slug)
    if found.state != Checkout.State.OPEN:
        return _see(checkout_url(found))
    problem = Problem(str(error), "", "")
    response = _form_page(request, found, at, problem=problem, status=HTTPStatus.SERVICE_UNAVAILABLE)
    response["Retry-After"] = "60"
    return response


# --- What the form page shows ---------------------------------------------------------------------------


def _form_page(
    request: HttpRequest,
    found: Checkout,
    at: datetime,
    *,
    form: CheckoutForm | None = None,
    problem: Problem | None = None,
    status: int = HTTPStatus.OK,
    template: str = "commerce/checkout.html",
) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    tenant = request.tenant  # type: ignore[attr-defined]
    product: Product = found.product
    with tenant_atomic(actor):
        offered = offer(product=product, market=found.market, at=at)
        price = offered.price_of(found.plan.code)
        quote = quote_for(
            plan=found.plan,
            quantity=found.quantity,
            market=found.market,
            time_zone=tenant.time_zone,
            at=at,
            unit_price_minor=price.unit_price_minor if price else None,
        )
        form = form or _fresh_form(actor, found, tenant.country, at)
        free = queries.free_licenses(actor=actor, product=product)
        refused = over_limit_reason(actor=actor, checkout=found, at=at)
        context = {
            "checkout": found,
            "product": product,
            "quote": quote,
            "choices": choice_cards(offered, found.quantity, quote),
            "form": form,
            "problem": problem,
            "zone": tenant.time_zone,
            "free_licenses": free,
            "standing": standing_of(actor=actor, product=product),
            "over_limit": refused,
            "door": request_door(actor=actor, product_id=product.pk) if free or refused else None,
            "terms_version": settings.TERMS_VERSION,
            **_cards(request, actor, found, at, tenant.time_zone),
        }
        return render(request, template, context | processor(), status=status)


def _cards(
    request: HttpRequest, actor: Actor, found: Checkout, at: datetime, time_zone: str
) -> dict[str, Any]:
    """The buyer's cards for `_card_choice.html`; a new one stays chosen that was declined."""
    cards = choices(saved_cards(actor, found.payer, found.attempts.all()), at=at, time_zone=time_zone)
    tokens = list(found.attempts.order_by("id").values_list("confirmation_token", flat=True))
    entered = NEW_CARD if tokens and tokens[-1] else ""
    return chosen_of(cards, request.POST.get("card", entered)) | {"tries": len(tokens)}


def _fresh_form(actor: Actor, found: Checkout, country: str, at: datetime) -> CheckoutForm:
    """The form as saved; an address from the person's last purchase where this one has none."""
    initial: dict[str, Any] = {
        "quantity": found.quantity,
        "plan": found.plan.code,
        "takes_first_license": found.takes_first_license,
        "country": country,
        "name": actor.label,
    }
    saved = found.bill_to or queries.last_bill_to(actor=actor, at=at)
    if saved is not None:
        initial |= {
            name: getattr(saved, name)
            for name in ("name", "street", "postal_code", "city", "country", "vat_number")
        }
    if found.bill_to is not None:
        initial["own_reference"] = found.bill_to.own_reference
    if found.consented_at is not None and found.terms_version == settings.TERMS_VERSION:
        initial |= {"agrees_to_terms": True, "agrees_to_data": True}
    return CheckoutForm(initial=initial, plans=found.product.plans.all())


def choice_cards(offered: Offer, quantity: int, quote: Quote) -> list[dict[str, Any]]:
    """The terms with what `quantity` seats cost in each, without tax."""
    titles = {
        "monthly": (_("1 month"), _("Renews each month. Stop any time.")),
        "yearly-monthly": (_("1 year, billed monthly"), _("You commit to 12 months. Renews each year.")),
        "yearly": (_("1 year, billed yearly"), _("Renews each year.")),
    }
    return [
        {
            "code": price.plan.code,
            "title": titles[price.plan.code][0],
            "note": titles[price.plan.code][1],
            "amount_minor": price.unit_price_minor * quantity,
            "currency": price.currency,
            "is_yearly": price.plan.billing_months == 12,
        }
        for price in offered.prices
    ]


# --- The confirmation -----------------------------------------------------------------------------------


@access.signed_in
def confirmation(request: HttpRequest, slug: str, key: uuid.UUID) -> HttpResponse:
    """What was bought. Reached once, or again from history: the same order's page."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    found = queries.checkout_of(actor=actor, key=key, slug=slug)
    receipt = queries.receipt_of(actor=actor, checkout=found)
    if receipt is None:
        return _see(checkout_url(found))
    context = {
        "product": found.product,
        "checkout": found,
        "receipt": receipt,
        "zone": receipt.subscription.time_zone,
        "refund_until": receipt.charged_at + settings.REFUND_WINDOW,
        "back": way_back(found.product, found.return_to),
        "beside": beside(found.product, actor),
    }
    return render(request, "commerce/confirmation.html", context)
