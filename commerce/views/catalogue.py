"""The public product pages (product §3.1)."""

from collections import Counter
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from commerce.models import Market, Product
from commerce.queries.catalogue import ListPrice, Offer, offer, offers
from commerce.queries.eligibility import eligibility_by_way
from commerce.queries.standing import Standing, standing_of
from commerce.queries.training import beside
from commerce.views.market import shown_market
from config.kit import access
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.errors import NotVisible
from config.kit.money import format_money, round_half_up, tax_on
from config.kit.tenancy import tenant_atomic
from directory.models.people import fold
from policies.queries.policies import contact_text
from policies.queries.requests import request_door


@access.public
def catalogue(request: HttpRequest) -> HttpResponse:
    return catalogue_page(request)


def catalogue_page(request: HttpRequest) -> HttpResponse:
    """What is sold by self-service, and on request the rest; also the start page of who is not signed in."""
    at = now()
    shown = shown_market(request)
    products = list(Product.objects.filter(withdrawn_at=None))
    everything = "all" in request.GET
    listed = [product for product in products if everything or product.self_service]
    category, words = request.GET.get("category", ""), request.GET.get("q", "").strip()[:100]
    counts = Counter(product.category for product in listed)
    chosen = [
        product
        for product in listed
        if (not category or product.category == category) and _matches(product, words)
    ]
    context = {
        "section": "products",
        "shown": shown,
        "offers": _in_order(offers(products=chosen, market=shown.market, at=at)),
        "categories": sorted(counts.items(), key=lambda item: (-item[1], item[0])),
        "category": category,
        "q": words,
        "everything": everything,
        "listed": len(listed),
        "total": len(products),
        "others": len(products) - len(listed),
    }
    return render(request, "commerce/catalogue.html", context)


def _matches(product: Product, words: str) -> bool:
    said = _(product.tagline) if product.tagline else ""
    text = fold(f"{product.name} {said} {product.category}")
    return all(word in text for word in fold(words).split())


def _in_order(found: list[Offer]) -> list[Offer]:
    """What can be bought here first, the most common family first, then by price and name."""
    families = {"Power Platform": 0, "Project": 1, "Visio": 2}

    def place(one: Offer) -> tuple[bool, int, str, int, str]:
        product = one.product
        price = one.monthly.unit_price_minor if one.monthly else 0
        return not one.is_open, families.get(product.category, 9), product.category, price, product.name

    return sorted(found, key=place)


@access.public
def product_page(request: HttpRequest, slug: str) -> HttpResponse:
    at = now()
    product = Product.objects.filter(slug=slug).first()
    if product is None:
        raise NotVisible
    actor: Actor | None = request.actor  # type: ignore[attr-defined]
    shown = shown_market(request)
    found = offer(product=product, market=shown.market, at=at)
    context = {
        "section": "products",
        "shown": shown,
        "product": product,
        "offer": found,
        "plans": plan_cards(found, shown.market),
        "standing": Standing(),
        "may_try": True,
        "beside": beside(product, actor),
    }
    if actor is not None:
        context |= _for_person(actor, product, at)
    return render(request, "commerce/product.html", context)


def _for_person(actor: Actor, product: Product, at: datetime) -> dict[str, Any]:
    """What who looks has of the product, and what stands against buying or trying it (product §3.3)."""
    with tenant_atomic(actor):
        ways = eligibility_by_way(actor=actor, product=product, at=at)
        standing = standing_of(actor=actor, product=product)
        bought = ways["purchase"]
        return {
            "standing": standing,
            "reasons": bought.reasons,
            "leads_home": any(reason.leads_home for reason in bought.reasons),
            "is_off": "service_off" in bought.codes,
            "may_try": standing.is_new and (ways["trial"].is_eligible or ways["free_trial"].is_eligible),
            "door": request_door(actor=actor, product_id=product.pk),
            "contact": contact_text(actor=actor),
        }


def plan_cards(found: Offer, market: Market | None) -> list[dict[str, Any]]:
    """The three terms for the choice cards: what is billed when, with and without tax, and the price a month."""
    return [_plan_card(price, market.tax_rate) for price in found.prices] if market else []


def _plan_card(price: ListPrice, tax_rate: Decimal) -> dict[str, Any]:
    plan = price.plan
    if plan.billing_months == 12:
        at_once = format_money(price.unit_price_minor, price.currency)
        note = _("Billed yearly, %(amount)s at once") % {"amount": at_once}
        monthly = round_half_up(Decimal(price.unit_price_minor) / 12)
    else:
        note, monthly = _("Billed monthly"), price.unit_price_minor
    return {
        "code": plan.code,
        "title": _("1 month") if plan.term_months == 1 else _("1 year"),
        "note": note,
        "monthly_minor": monthly,
        "unit_price_minor": price.unit_price_minor,
        "with_tax_minor": price.unit_price_minor + tax_on(price.unit_price_minor, tax_rate),
        "currency": price.currency,
    }


@access.public
def terms(request: HttpRequest) -> HttpResponse:
    return render(request, "commerce/terms.html")


@access.public
def privacy(request: HttpRequest) -> HttpResponse:
    return render(request, "commerce/privacy.html")
