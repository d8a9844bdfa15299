"""The catalogue as the vendor's staff see it: every product, and every price with when it holds (product §16)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.db.models import Exists, OuterRef, Q

from commerce.models import Market, Plan, Price, Product, ProductAlias
from commerce.queries.catalogue import PLAN_ORDER
from config.kit.keyset import Page, paginate

type Standing = Literal["ended", "in_force", "to_come"]

SHOWN: Mapping[str, Q] = {
    "": Q(),
    "self-service": Q(self_service=True, withdrawn_at=None),
    "central": Q(self_service=False, withdrawn_at=None),
    "withdrawn": Q(withdrawn_at__isnull=False),
}


@dataclass(frozen=True, slots=True)
class PriceLine:
    """One price of a plan in a market. `ends_at`: when the next one begins, None where none does."""

    price: Price
    ends_at: datetime | None
    standing: Standing


@dataclass(frozen=True, slots=True)
class PlanPrices:
    """A plan with all its prices in one market, the latest first."""

    plan: Plan
    lines: tuple[PriceLine, ...]

    @property
    def in_force(self) -> PriceLine | None:
        return next((line for line in self.lines if line.standing == "in_force"), None)

    @property
    def next(self) -> PriceLine | None:
        """The earliest that has not begun."""
        return next((line for line in reversed(self.lines) if line.standing == "to_come"), None)


def products_page(*, show: str, query: str, cursor: str) -> Page[Product]:
    """Products by name, found by a part of name, id, former id or category. One query.

    :raises Malformed: a cursor of another list.
    """
    rows = Product.objects.filter(SHOWN[show])
    if query:
        former = ProductAlias.objects.filter(product=OuterRef("pk"), former_key__icontains=query)
        rows = rows.filter(
            Q(name__icontains=query)
            | Q(key__icontains=query)
            | Q(category__icontains=query)
            | Q(sku_part_number__icontains=query)
            | Exists(former)
        )
    return paginate(rows, order=("name", "id"), cursor=cursor, key=lambda product: (product.name, product.pk))


def prices_of(*, product: Product, market: Market, at: datetime) -> list[PlanPrices]:
    """Every plan of the product with its prices in the market, as things stand at `at`. Two queries."""
    plans = {(plan.term_months, plan.billing_months): plan for plan in product.plans.all()}
    rows = Price.objects.filter(plan__product=product, market=market).order_by("-valid_from", "-pk")
    by_plan: dict[int, list[Price]] = {}
    for price in rows:
        by_plan.setdefault(price.plan_id, []).append(price)
    return [
        PlanPrices(plans[terms], _lines(by_plan.get(plans[terms].pk, []), at))
        for terms in PLAN_ORDER
        if terms in plans
    ]


def _lines(prices: list[Price], at: datetime) -> tuple[PriceLine, ...]:
    """Prices come the latest first."""
    lines: list[PriceLine] = []
    ends_at: datetime | None = None
    for price in prices:
        standing: Standing = "ended"
        if price.valid_from > at:
            standing = "to_come"
        elif ends_at is None or ends_at > at:
            standing = "in_force"
        lines.append(PriceLine(price, ends_at, standing))
        ends_at = price.valid_from
    return tuple(lines)


def priced_markets(product: Product) -> set[str]:
    """The markets in which the product has a price, now or later. One query."""
    return set(Price.objects.filter(plan__product=product).values_list("market_id", flat=True).distinct())
