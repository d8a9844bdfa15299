"""Filling the catalogue from the files that come with Seatkeeper (product §17)."""

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from django.db import models

from commerce.models import (
    Market,
    MarketExclusion,
    Plan,
    Price,
    Product,
    ProductAlias,
    VendorEntity,
)
from config.kit.tenancy import atomic

DATA = Path(__file__).resolve().parent.parent / "data"

# The list prices of the files hold from here on; later ones are rows of their own.
PRICES_VALID_FROM = datetime(2020, 1, 1, tzinfo=UTC)

# Term and billing period as the price file writes them, in months.
PLANS = {"P1M/P1M": (1, 1), "P1Y/P1M": (12, 1), "P1Y/P1Y": (12, 12)}

WITHOUT_SELF_SERVICE = frozenset({"IN"})
EXCLUDED_CATEGORIES = {"BR": ("Project", "Visio"), "CD": ("Project", "Visio")}


class Loaded(NamedTuple):
    """How many rows of each kind the catalogue holds of those in the files."""

    products: int
    plans: int
    markets: int
    prices: int


def load_catalogue(*, at: datetime, folder: Path = DATA) -> Loaded:
    """Write the files' vendor entities, markets, products, plans and prices; run again, it changes nothing more.

    A product that is not there yet came into the catalogue at `at`.

    Rows that are not in the files stay. Needs the owner's login: the tables are the vendor's, read-only to
    everyone else. One statement per table. Source: product §3.3 (markets), §17 (catalogue).
    """
    texts = json.loads((folder / "texts.json").read_text())
    with atomic():
        entities = _load_entities(list(_rows(folder / "vendor_entities.csv")))
        markets = _load_markets(list(_rows(folder / "markets.csv")), entities)
        products = _load_products(list(_rows(folder / "products.csv")), texts, at)
        plans = _load_plans(products)
        prices = _load_prices(list(_rows(folder / "prices.csv")), plans, markets)
    return Loaded(len(products), len(plans), len(markets), prices)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="") as file:
        yield from csv.DictReader(file)


def _upsert(rows: list[Any], unique: list[str], updated: list[str]) -> None:
    """Insert what is new and overwrite `updated` of what is there, in one statement."""
    model: type[models.Model] = type(rows[0])
    model._default_manager.bulk_create(
        rows, update_conflicts=True, unique_fields=unique, update_fields=updated
    )


def _load_entities(rows: list[dict[str, str]]) -> dict[str, VendorEntity]:
    _upsert(
        [
            VendorEntity(
                name=row["vendor_entity"],
                bill_series=row["bill_series"],
                address="\n".join([row["street"], row["city"], row["country"]]),
                tax_number=row["tax_number"],
                bank_account=row["bank_account"],
            )
            for row in rows
        ],
        ["name"],
        ["bill_series", "address", "tax_number", "bank_account"],
    )
    return VendorEntity.objects.in_bulk(field_name="name")


def _load_markets(rows: list[dict[str, str]], entities: dict[str, VendorEntity]) -> dict[str, Market]:
    _upsert(
        [
            Market(
                code=row["market"],
                name=row["name"],
                currency=row["currency"],
                tax_name=row["tax_name"],
                tax_rate=row["tax_percent"],
                vendor_entity=entities[row["vendor_entity"]],
                self_service=row["market"] not in WITHOUT_SELF_SERVICE,
            )
            for row in rows
        ],
        ["code"],
        ["name", "currency", "tax_name", "tax_rate", "vendor_entity", "self_service"],
    )
    MarketExclusion.objects.bulk_create(
        [
            MarketExclusion(market_id=code, category=category)
            for code, categories in EXCLUDED_CATEGORIES.items()
            for category in categories
        ],
        ignore_conflicts=True,
    )
    return Market.objects.in_bulk([row["market"] for row in rows])


def _load_products(
    rows: list[dict[str, str]], texts: dict[str, dict[str, Any]], at: datetime
) -> dict[str, Product]:
    _upsert(
        [
            Product(
                key=row["product_id"],
                slug=row["slug"],
                name=row["name"],
                category=row["category"],
                self_service=row["self_service"] == "yes",
                trial_without_card=row["trial_without_payment_method"] == "yes",
                sku_id=row["sku_id"],
                sku_part_number=row["sku_part_number"],
                added_at=at,
                **texts[row["slug"]],
            )
            for row in rows
        ],
        ["key"],
        [
            *("slug", "name", "category", "self_service", "trial_without_card", "sku_id", "sku_part_number"),
            *("tagline", "description", "features", "links"),
        ],
    )
    products = Product.objects.in_bulk([row["product_id"] for row in rows], field_name="key")
    _upsert(
        [
            ProductAlias(former_key=row["former_product_id"], product=products[row["product_id"]])
            for row in rows
            if row["former_product_id"]
        ],
        ["former_key"],
        ["product"],
    )
    return products


def _load_plans(products: dict[str, Product]) -> dict[tuple[int, int, int], Plan]:
    Plan.objects.bulk_create(
        [
            Plan(product=product, term_months=term, billing_months=billing)
            for product in products.values()
            for term, billing in PLANS.values()
        ],
        ignore_conflicts=True,
    )
    plans = Plan.objects.filter(product__in=products.values())
    return {(plan.product_id, plan.term_months, plan.billing_months): plan for plan in plans}


def _load_prices(
    rows: list[dict[str, str]], plans: dict[tuple[int, int, int], Plan], markets: dict[str, Market]
) -> int:
    product_ids = dict(Product.objects.values_list("key", "id"))
    prices = [
        Price(
            plan=plans[product_ids[row["product_id"]], *PLANS[row["plan_term/billing_period"]]],
            market=markets[row["market"]],
            currency=row["currency"],
            unit_price_minor=int(row["unit_price_minor"]),
            valid_from=PRICES_VALID_FROM,
            published_at=PRICES_VALID_FROM,
        )
        for row in rows
    ]
    _upsert(prices, ["plan", "market", "valid_from"], ["currency", "unit_price_minor"])
    return len(prices)
