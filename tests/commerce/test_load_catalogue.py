"""`load_catalogue` fills the vendor's tables from the files (product §17)."""

from decimal import Decimal

import pytest

from commerce.models import Market, MarketExclusion, Plan, Price, Product, ProductAlias, VendorEntity
from commerce.operations.catalogue import PRICES_VALID_FROM, Loaded, load_catalogue
from config.kit.tenancy import use_login
from tests.factories import plan, product

pytestmark = pytest.mark.django_db


def test_every_test_finds_the_catalogue() -> None:
    assert Product.objects.count() == 24
    assert Plan.objects.count() == 72
    assert Price.objects.count() == 504
    assert VendorEntity.objects.count() == 3
    assert VendorEntity.objects.get(bill_series="SK-NL").address == (
        "Keizersgracht 1\n1015 CN Amsterdam\nNetherlands"
    )
    assert ProductAlias.objects.get(former_key="CFQ7TTC0L3PB").product == product("power-bi-pro")


def test_sells_nine_products_by_self_service() -> None:
    slugs = Product.objects.sold_by_self_service().values_list("slug", flat=True)

    assert sorted(slugs) == [
        "power-apps-per-user",
        "power-automate-per-user",
        "power-automate-rpa",
        "power-bi-premium-per-user",
        "power-bi-pro",
        "project-plan-1",
        "project-plan-3",
        "visio-plan-1",
        "visio-plan-2",
    ]


def test_every_self_service_product_has_its_texts() -> None:
    for each in Product.objects.sold_by_self_service():
        assert each.tagline
        assert each.description
        assert len(each.features) == 4
        assert [link["kind"] for link in each.links] == ["learning", "documentation", "samples", "community"]


def test_markets_know_tax_and_where_nothing_is_sold_by_self_service() -> None:
    assert Market.objects.get(pk="NL").tax_rate == Decimal(21)
    assert list(Market.objects.filter(self_service=False).values_list("code", flat=True)) == ["IN"]
    assert sorted(MarketExclusion.objects.values_list("market_id", "category")) == [
        ("BR", "Project"),
        ("BR", "Visio"),
        ("CD", "Project"),
        ("CD", "Visio"),
    ]


@pytest.mark.django_db(databases=["owner"])
def test_loading_again_changes_nothing() -> None:
    with use_login("owner"):
        before = list(Price.objects.order_by("id").values()), list(Product.objects.order_by("id").values())

        loaded = load_catalogue(at=PRICES_VALID_FROM)

        after = list(Price.objects.order_by("id").values()), list(Product.objects.order_by("id").values())
    assert loaded == Loaded(products=24, plans=72, markets=7, prices=504)
    assert after == before


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])
def test_a_flush_is_followed_by_loading() -> None:
    with use_login("owner"):
        Product.objects.filter(slug="visio-plan-2").update(name="Renamed")

    assert product("visio-plan-2").name == "Renamed"


def test_after_the_flush_the_files_hold_again() -> None:
    assert product("visio-plan-2").name == "Visio Plan 2"
    assert plan("visio-plan-2", "yearly-monthly").billing_months == 1
