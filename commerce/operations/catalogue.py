"""Filling the catalogue from the files that come with Seatkeeper (product §17)."""

import csv
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from django.db import models

from commerce.catalogue_files import PLANS, PriceLine, PricesFile, ProductLine, ProductsFile, read_file
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

CAPACITY = ("database_mb", "file_mb", "log_mb")
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

    Rows that are not in the files stay. Needs the owner's login: entities, markets and prices that have begun are nobody
    else's to write. One statement per table. Source: product §3.3 (markets), §17 (catalogue).

    :raises ValueError: a line of the files cannot be used.
    """
    texts = json.loads((folder / "texts.json").read_text())
    product_lines, price_lines = _product_lines(folder), _price_lines(folder)
    capacity = _capacity(folder)
    with atomic():
        entities = _load_entities(list(_rows(folder / "vendor_entities.csv")))
        markets = _load_markets(list(_rows(folder / "markets.csv")), entities)
        products = _load_products(product_lines, texts, capacity, at)
        plans = _load_plans(products)
        prices = _load_prices(price_lines, plans, markets)
    return Loaded(len(products), len(plans), len(markets), prices)


def _product_lines(folder: Path) -> tuple[ProductLine, ...]:
    file = read_file((folder / "products.csv").read_bytes())
    if not isinstance(file, ProductsFile) or file.bad:
        raise ValueError(f"products.csv cannot be used: {file.bad}")
    return file.lines


def _price_lines(folder: Path) -> tuple[PriceLine, ...]:
    file = read_file((folder / "prices.csv").read_bytes())
    if not isinstance(file, PricesFile) or file.bad:
        raise ValueError(f"prices.csv cannot be used: {file.bad}")
    return file.lines


def _capacity(folder: Path) -> dict[str, dict[str, int]]:
    """What each license of a product gives, in MB, by product key; products without storage are not among them."""
    return {
        row["product_id"]: {name: int(row[name]) for name in CAPACITY}
        for row in _rows(folder / "capacity.csv")
    }


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
    lines: Sequence[ProductLine],
    texts: dict[str, dict[str, Any]],
    capacity: dict[str, dict[str, int]],
    at: datetime,
) -> dict[str, Product]:
    _upsert(
        [
            Product(
                key=line.key,
                slug=line.slug,
                name=line.name,
                category=line.category,
                self_service=line.self_service,
                trial_without_card=line.trial_without_card,
                sku_id=line.sku_id,
                sku_part_number=line.sku_part_number,
                added_at=at,
                **texts[line.slug],
                **capacity.get(line.key, {}),
            )
            for line in lines
        ],
        ["key"],
        [
            *("slug", "name", "category", "self_service", "trial_without_card", "sku_id", "sku_part_number"),
            *("tagline", "description", "features", "links", *CAPACITY),
        ],
    )
    products = Product.objects.in_bulk([line.key for line in lines], field_name="key")
    _upsert(
        [
            ProductAlias(former_key=line.former_key, product=products[line.key])
            for line in lines
            if line.former_key
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
    lines: Sequence[PriceLine], plans: dict[tuple[int, int, int], Plan], markets: dict[str, Market]
) -> int:
    product_ids = dict(Product.objects.values_list("key", "id"))
    prices = [
        Price(
            plan=plans[product_ids[line.product_key], *line.terms],
            market=markets[line.market],
            currency=line.currency,
            unit_price_minor=line.unit_price_minor,
            valid_from=PRICES_VALID_FROM,
            published_at=PRICES_VALID_FROM,
        )
        for line in lines
    ]
    _upsert(prices, ["plan", "market", "valid_from"], ["currency", "unit_price_minor"])
    return len(prices)
