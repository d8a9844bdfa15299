"""The catalogue as people see it: what is sold where, and for how much."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext_lazy as _

from commerce.models import Market, MarketExclusion, Plan, Price, Product, ProductAlias
from config.kit.errors import NotVisible
from policies.rule import Subject

# How plans are shown, cheapest commitment first: term, billing period.
PLAN_ORDER = ((1, 1), (12, 1), (12, 12))


class ListPrice(NamedTuple):
    """One plan of a product with its price in one market at one moment."""

    plan: Plan
    unit_price_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A product in one market. `prices`: by plan, in `PLAN_ORDER`; empty when it is not sold there, or withdrawn.

    `is_open`: it can be bought by self-service there.
    """

    product: Product
    prices: tuple[ListPrice, ...]
    is_open: bool

    @property
    def is_sold(self) -> bool:
        return bool(self.prices)

    @property
    def monthly(self) -> ListPrice | None:
        """The price of the shortest term, what the catalogue shows."""
        return self.prices[0] if self.prices else None

    def price_of(self, code: str) -> ListPrice | None:
        """The price of the plan with that code (`Plan.code`), None when it has none here."""
        return next((price for price in self.prices if price.plan.code == code), None)


class NotSoldHere(NotVisible):
    """The plan has no price in the market."""

    code = "not_sold_here"
    message = _("This is not sold in your country.")


def market_of(code: str) -> Market | None:
    """The market of a country, None when the vendor sells nothing there. One query."""
    return Market.objects.select_related("vendor_entity").filter(pk=code).first()


def markets() -> list[Market]:
    """All markets by name. One query."""
    return list(Market.objects.select_related("vendor_entity").order_by("name"))


def product_keys(product: Product) -> list[str]:
    """The product's current key, then its former ones. One query."""
    former = ProductAlias.objects.filter(product=product).order_by("former_key")
    return [product.key, *former.values_list("former_key", flat=True)]


def product_of_id(product_id: str) -> Product:
    """The product of a current or former id. Two queries at most. :raises NotVisible: of neither."""
    if "\0" in product_id:
        raise NotVisible
    product = Product.objects.filter(key=product_id).first()
    if product is None:
        alias = ProductAlias.objects.filter(former_key=product_id).select_related("product").first()
        product = alias.product if alias else None
    if product is None:
        raise NotVisible
    return product


def products_of_ids(ids: Collection[str]) -> dict[str, Product]:
    """Products by the current and former ids asked for; ids of none are not among them. Two queries at most."""
    wanted = {each for each in ids if "\0" not in each}
    found: dict[str, Product] = {row.key: row for row in Product.objects.filter(key__in=wanted)}
    if former := wanted - found.keys():
        aliases = ProductAlias.objects.filter(former_key__in=former).select_related("product")
        found |= {alias.former_key: alias.product for alias in aliases}
    return found


def named_product(text: str) -> Product:
    """The product of an id, a former one, or a slug. Three queries at most. :raises NotVisible: there is none."""
    by_slug = Product.objects.filter(slug=text).first() if "\0" not in text else None
    return by_slug or product_of_id(text)


def subject_of(product: Product) -> Subject:
    """The product as the purchase policy sees it. One query."""
    return Subject(product_keys(product), product.category, product.added_at)


def subjects_of(products: Sequence[Product]) -> list[Subject]:
    """The same of many, in the order given. One query."""
    former: dict[int, list[str]] = {}
    aliases = ProductAlias.objects.filter(product__in=products).order_by("former_key")
    for product_id, key in aliases.values_list("product_id", "former_key"):
        former.setdefault(product_id, []).append(key)
    return [
        Subject([product.key, *former.get(product.pk, ())], product.category, product.added_at)
        for product in products
    ]


def offers(*, products: list[Product], market: Market | None, at: datetime) -> list[Offer]:
    """Each product with its prices in the market, in the order given. Two queries for any number."""
    if market is None:
        return [Offer(product, (), is_open=False) for product in products]
    closed = set(MarketExclusion.objects.filter(market=market).values_list("category", flat=True))
    prices: dict[int, dict[tuple[int, int], ListPrice]] = {}
    for price in prices_at(market=market, at=at).filter(plan__product__in=products):
        plan = price.plan
        prices.setdefault(plan.product_id, {})[plan.term_months, plan.billing_months] = ListPrice(
            plan, price.unit_price_minor, price.currency
        )
    return [
        Offer(
            product,
            tuple(prices[product.pk][terms] for terms in PLAN_ORDER if terms in prices[product.pk])
            if product.pk in prices and not product.is_withdrawn
            else (),
            is_open=(
                product.self_service
                and not product.is_withdrawn
                and market.self_service
                and product.category not in closed
            ),
        )
        for product in products
    ]


def offer(*, product: Product, market: Market | None, at: datetime) -> Offer:
    """One product with its prices in the market. Two queries."""
    return offers(products=[product], market=market, at=at)[0]


def unit_price(*, plan: Plan, market: Market, at: datetime) -> int:
    """The list price in force, in minor units of the market's currency. One query.

    :raises NotSoldHere: there is none.
    """
    price = prices_at(market=market, at=at).filter(plan=plan).first()
    if price is None:
        raise NotSoldHere
    return int(price.unit_price_minor)


def prices_at(*, market: Market, at: datetime) -> QuerySet[Price]:
    """The prices of a market that are in force at `at`: of each plan the latest that has begun."""
    later = Price.objects.filter(
        plan=OuterRef("plan"),
        market=OuterRef("market"),
        valid_from__gt=OuterRef("valid_from"),
        valid_from__lte=at,
    )
    return (
        Price.objects.filter(market=market, valid_from__lte=at).exclude(Exists(later)).select_related("plan")
    )
