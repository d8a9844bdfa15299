"""Licenses by product over all channels, and users by purchaser (product §8)."""

from typing import Any

import pytest
from django.test.utils import CaptureQueriesContext

from commerce.models import Subscription
from config.kit.tenancy import connection
from directory.models import Tenant, User
from licensing.operations.assignments import assign_licenses
from tests.factories import AT, actor_of, client_of, make_subscription, make_tenant, make_user, plan

pytestmark = pytest.mark.django_db

PRODUCTS, PURCHASERS = "/admin/licenses/by-product/", "/admin/licenses/by-purchaser/"


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def lisa(contoso: Tenant) -> User:
    return make_user(contoso, name="Lisa", roles=("license_admin",))


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters", purchaser_since=AT)


@pytest.fixture
def purchases(contoso: Tenant, pat: User) -> list[Subscription]:
    """Two of one product through different channels, one of another, one deleted."""
    own = make_subscription(contoso, owner=pat, quantity=10)
    ann = make_user(contoso, name="Ann", email="ann@contoso.example")
    assign_licenses(actor=actor_of(pat), subscription_key=own.key, user_ids=[ann.pk], at=AT)
    return [
        own,
        make_subscription(contoso, quantity=25),
        make_subscription(contoso, owner=pat, plan=plan("visio-plan-1"), quantity=2),
        make_subscription(contoso, owner=pat, quantity=99, state="deleted", due_at=None),
    ]


def numbers(response: Any) -> list[tuple[Any, ...]]:
    return [(row["product"].name, *row["each"][1:], row["each"].free) for row in response.context["rows"]]


@pytest.mark.parametrize(
    "role", ["license_admin", "user_admin", "billing_admin", "global_admin", "global_reader"]
)
def test_every_admin_sees_licenses_by_product(
    contoso: Tenant, purchases: list[Subscription], role: str
) -> None:
    response = client_of(make_user(contoso, roles=(role,))).get(PRODUCTS)

    assert numbers(response) == [
        ("Power BI Pro", 2, 25, 10, 0, 35, 1, 34),
        ("Visio Plan 1", 1, 0, 2, 0, 2, 0, 2),
    ]


def test_a_purchaser_sees_the_own_licenses_by_product(pat: User, purchases: list[Subscription]) -> None:
    assert numbers(client_of(pat).get(PRODUCTS)) == [
        ("Power BI Pro", 1, 0, 10, 0, 10, 1, 9),
        ("Visio Plan 1", 1, 0, 2, 0, 2, 0, 2),
    ]


def test_a_product_leads_to_where_its_licenses_are_assigned(
    lisa: User, purchases: list[Subscription]
) -> None:
    client = client_of(lisa)

    page = client.get("/admin/licenses/?product=power-bi-pro")
    central = client.get(f"/admin/licenses/{purchases[1].key}/").content.decode()
    of_pat = client.get(f"/admin/licenses/{purchases[0].key}/").content.decode()

    assert [row["subscription"].pk for row in page.context["rows"]] == [purchases[0].pk, purchases[1].pk]
    assert f"/admin/licenses/{purchases[1].key}/assign/" in central
    assert f"/admin/licenses/{purchases[0].key}/assign/" not in of_pat


@pytest.mark.parametrize("slug", ["no-such-product", "%00"])
def test_refuses_a_product_that_is_none(lisa: User, slug: str) -> None:
    assert client_of(lisa).get(f"/admin/licenses/?product={slug}").status_code in (400, 422)


def test_purchasers_are_listed_with_what_they_bought(
    contoso: Tenant, lisa: User, purchases: list[Subscription]
) -> None:
    make_subscription(contoso, owner=make_user(contoso, name="Dora", status="disabled"), quantity=1)

    response = client_of(lisa).get(PURCHASERS)

    rows = [(row.user.name, row.purchases, row.bought, row.assigned) for row in response.context["rows"]]
    assert rows == [("Dora", 1, 1, 0), ("Pat Peters", 2, 12, 1)]
    assert "Left" in response.content.decode()


def test_a_purchasers_page_names_who_uses_it(lisa: User, pat: User, purchases: list[Subscription]) -> None:
    response = client_of(lisa).get(f"{PURCHASERS}{pat.key}/")

    assert [(row.user.name, row.subscription.product.name) for row in response.context["rows"]] == [
        ("Ann", "Power BI Pro")
    ]
    assert response.context["purchases"] == ""


def test_whoever_sees_purchases_gets_the_way_to_them(
    contoso: Tenant, pat: User, purchases: list[Subscription]
) -> None:
    admin = make_user(contoso, roles=("billing_admin",))

    response = client_of(admin).get(f"{PURCHASERS}{pat.key}/")

    assert response.context["purchases"] == f"/admin/billing/your-products/?purchaser={pat.key}"


def test_whoever_bought_nothing_has_no_page(
    contoso: Tenant, lisa: User, purchases: list[Subscription]
) -> None:
    client = client_of(lisa)
    stranger = make_user(make_tenant())

    assert client.get(f"{PURCHASERS}{make_user(contoso).key}/").status_code == 404
    assert client.get(f"{PURCHASERS}{stranger.key}/").status_code == 404


def test_no_price_is_on_any_of_them(lisa: User, pat: User, purchases: list[Subscription]) -> None:
    client = client_of(lisa)

    for address in (PRODUCTS, PURCHASERS, f"{PURCHASERS}{pat.key}/", "/admin/licenses/?product=power-bi-pro"):
        assert "\N{EURO SIGN}" not in client.get(address).content.decode()


def test_pages_forth_and_back(contoso: Tenant, lisa: User) -> None:
    for number in range(60):
        make_subscription(contoso, owner=make_user(contoso, name=f"Buyer {number:02d}"), quantity=1)
    client = client_of(lisa)

    first = client.get(PURCHASERS)
    second = client.get(PURCHASERS + first.context["next"])

    assert [len(first.context["rows"]), len(second.context["rows"])] == [50, 10]
    assert second.context["rows"][0].user.name == "Buyer 50"


@pytest.mark.parametrize(("address", "expected"), [(PRODUCTS, 6), (PURCHASERS, 6)])
def test_takes_few_queries(lisa: User, purchases: list[Subscription], address: str, expected: int) -> None:
    client = client_of(lisa)

    with CaptureQueriesContext(connection()) as captured:
        client.get(address)

    asked = [q["sql"] for q in captured if q["sql"].startswith("SELECT") and "_setting" not in q["sql"]]
    asked = [sql for sql in asked if "set_config" not in sql]
    assert len(asked) == expected, asked


def test_says_what_comes_here_while_there_is_nothing(lisa: User) -> None:
    client = client_of(lisa)

    assert "No licenses yet" in client.get(PRODUCTS).content.decode()
    assert "Nobody has bought anything yet" in client.get(PURCHASERS).content.decode()
