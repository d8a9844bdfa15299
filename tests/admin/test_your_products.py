"""Your products, as limited and as full view (product §4, §8)."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests.admin.conftest import SignIn
from tests.factories import make_relationship, make_subscription, make_tenant, make_user, plan

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])

ADDRESS = "/admin/billing/your-products/"


def names(response) -> list[str]:
    return [
        line["name"] + (f" of {line['purchaser']}" if line["purchaser"] else "")
        for line in response.context["lines"]
    ]


@pytest.fixture
def contoso():
    return make_tenant(name="Contoso")


@pytest.fixture
def bill(contoso):
    return make_user(contoso, name="Bill Bakker", roles=("billing_admin",))


@pytest.fixture
def pat(contoso):
    return make_user(contoso, name="Pat Peters", email="pat@contoso.example")


@pytest.fixture
def sam(contoso):
    return make_user(contoso, name="Sam Sanders", email="sam@contoso.example")


@pytest.fixture
def purchases(contoso, pat, sam):
    """Power BI Pro of Pat and central, Visio Plan 1 of Sam, and one of Sam's that is deleted."""
    return {
        "pat": make_subscription(contoso, owner=pat, quantity=10, assigned=7),
        "central": make_subscription(contoso, quantity=25),
        "sam": make_subscription(contoso, owner=sam, plan=plan("visio-plan-1"), quantity=1),
        "gone": make_subscription(
            contoso, owner=sam, plan=plan("visio-plan-2"), state="deleted", due_at=None, quantity=3
        ),
    }


def test_a_purchaser_sees_the_own_purchases_alone(sign_in: SignIn, pat, purchases):
    response = sign_in(pat).get(ADDRESS)

    assert response.status_code == 200
    assert names(response) == ["Power BI Pro of Pat Peters"]
    assert "commerce/your_products_own.html" in [template.name for template in response.templates]
    assert "Sam" not in response.text


def test_an_admin_sees_every_purchase_but_the_deleted(sign_in: SignIn, bill, purchases):
    response = sign_in(bill).get(ADDRESS)

    assert names(response) == ["Power BI Pro of Pat Peters", "Power BI Pro", "Visio Plan 1 of Sam Sanders"]
    assert [(chip["label"], chip["count"]) for chip in response.context["chips"]] == [
        ("All", "3"),
        ("Central", "1"),
        ("Self-service", "2"),
        ("Trials", "0"),
    ]


@pytest.mark.parametrize("role", ["global_admin", "billing_admin", "global_reader"])
def test_the_full_view_is_for_these_roles(sign_in: SignIn, contoso, purchases, role):
    admin = make_user(contoso, roles=(role,))

    assert len(names(sign_in(admin).get(ADDRESS))) == 3


@pytest.mark.parametrize("role", ["license_admin", "user_admin"])
def test_other_roles_do_not_see_the_page(sign_in: SignIn, contoso, purchases, role):
    admin = make_user(contoso, roles=(role,))

    assert sign_in(admin).get(ADDRESS).status_code == 404


def test_a_member_does_not_see_the_page(sign_in: SignIn, contoso, purchases):
    assert sign_in(make_user(contoso)).get(ADDRESS).status_code == 404


def test_another_tenants_admin_sees_nothing_of_it(sign_in: SignIn, purchases):
    fiona = make_user(make_tenant(name="Fabrikam"), roles=("global_admin",))

    response = sign_in(fiona).get(ADDRESS)

    assert names(response) == []
    assert "No purchases yet" in response.text


def test_a_partner_sees_the_customers_purchases(sign_in: SignIn, contoso, purchases):
    northwind = make_tenant(name="Northwind")
    petra = make_user(northwind, name="Petra")
    make_relationship(contoso, northwind, users=(petra,))

    response = sign_in(petra, acting_for=contoso).get(ADDRESS)

    assert len(names(response)) == 3
    assert "Contoso" in response.text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("channel=central", ["Power BI Pro"]),
        ("channel=self-service", ["Power BI Pro of Pat Peters", "Visio Plan 1 of Sam Sanders"]),
        (
            "channel=central&channel=self-service",
            ["Power BI Pro of Pat Peters", "Power BI Pro", "Visio Plan 1 of Sam Sanders"],
        ),
        ("channel=trial", []),
        ("product=visio-plan-1", ["Visio Plan 1 of Sam Sanders"]),
        ("status=deleted", ["Visio Plan 2 of Sam Sanders"]),
        ("status=active&channel=central", ["Power BI Pro"]),
        ("status=expired", []),
        ("q=pat", ["Power BI Pro of Pat Peters"]),
        ("q=PETERS+power", ["Power BI Pro of Pat Peters"]),
        ("q=pat+visio", []),
        ("q=sam@contoso.example", ["Visio Plan 1 of Sam Sanders"]),
        ("q=%25", []),
        ("q=_", []),
        ("q=%27+OR+1%3D1", []),
    ],
)
def test_filters_and_searches(sign_in: SignIn, bill, purchases, query, expected):
    assert names(sign_in(bill).get(f"{ADDRESS}?{query}")) == expected


def test_words_that_hit_a_lot_are_found_all_the_same(sign_in: SignIn, bill, purchases, monkeypatch):
    monkeypatch.setattr("commerce.queries.subscriptions.FEW", 1)

    assert names(sign_in(bill).get(f"{ADDRESS}?q=power")) == ["Power BI Pro of Pat Peters", "Power BI Pro"]
    assert names(sign_in(bill).get(f"{ADDRESS}?q=%25")) == []


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("seats", [1, 10, 25]),
        ("-seats", [25, 10, 1]),
        ("purchaser", [25, 10, 1]),
        ("-purchaser", [1, 10, 25]),
        ("product", [10, 25, 1]),
        ("-product", [1, 25, 10]),
        ("price", [1, 10, 25]),
        ("-price", [25, 10, 1]),
    ],
)
def test_sorts_in_both_directions(sign_in: SignIn, bill, purchases, sort, expected):
    response = sign_in(bill).get(f"{ADDRESS}?sort={sort}")

    assert [int(line["bought"]) for line in response.context["lines"]] == expected


@pytest.mark.parametrize(
    "sort", ["product", "-product", "purchaser", "expires", "-expires", "seats", "price", "-price"]
)
def test_pages_forth_and_back_without_losing_a_row(sign_in: SignIn, contoso, bill, pat, sort):
    made = [make_subscription(contoso, owner=pat, quantity=1 + number % 3) for number in range(120)]
    client = sign_in(bill)
    pages = []
    address = f"?sort={sort}"

    while address:
        response = client.get(ADDRESS + address)
        pages.append([line["address"] for line in response.context["lines"]])
        address = response.context["next"]
    back = client.get(ADDRESS + response.context["back"])

    assert [len(page) for page in pages] == [50, 50, 20]
    assert {row for page in pages for row in page} == {f"{subscription.key}/" for subscription in made}
    assert [line["address"] for line in back.context["lines"]] == pages[1]


@pytest.mark.parametrize("sort", ["expires", "-expires", "product"])
def test_deleted_ones_page_too(sign_in: SignIn, contoso, bill, sort):
    for _ in range(60):
        make_subscription(contoso, state="deleted", due_at=None)
    client = sign_in(bill)

    first = client.get(f"{ADDRESS}?status=deleted&sort={sort}")
    second = client.get(ADDRESS + first.context["next"])

    assert [len(names(first)), len(names(second))] == [50, 10]


@pytest.mark.parametrize(
    "query",
    [
        "channel=mosa",
        "status=odd",
        "sort=tenant__name",
        "sort=--product",
        "product=no-such",
        "page=rubbish",
        "page=WyJmIiwiYSJd",
        "sort=expires&page=WyJmIiwieWVzdGVyZGF5IiwxXQ",
        "sort=seats&page=WyJmIiwiYSIsMV0",
        "sort=seats&page=WyJmIiwxLDFlMzA5XQ",
    ],
)
def test_refuses_an_address_that_makes_no_sense(sign_in: SignIn, bill, purchases, query):
    assert sign_in(bill).get(f"{ADDRESS}?{query}").status_code == 422


def test_counts_stop_at_ten_thousand(sign_in: SignIn, bill, purchases, monkeypatch):
    monkeypatch.setattr("config.kit.keyset.COUNT_LIMIT", 1)

    page = sign_in(bill).get(f"{ADDRESS}?sort=seats")

    assert [chip["count"] for chip in page.context["chips"]] == ["1+", "1", "1+", "0"]


def test_a_purchaser_who_left_is_marked(sign_in: SignIn, contoso, bill):
    dora = make_user(contoso, name="Dora", status="disabled")
    make_subscription(contoso, owner=dora)

    assert "Left" in sign_in(bill).get(ADDRESS).text


@pytest.mark.parametrize(("query", "expected"), [("", 6), ("?q=pat", 7), ("?channel=central&sort=-price", 6)])
def test_the_full_list_takes_few_queries(sign_in: SignIn, bill, purchases, query, expected):
    client = sign_in(bill)

    with CaptureQueriesContext(connection) as captured:
        client.get(ADDRESS + query)

    asked = [q["sql"] for q in captured if q["sql"].startswith("SELECT") and "_setting" not in q["sql"]]
    asked = [sql for sql in asked if "set_config" not in sql]
    assert len(asked) == expected, asked


def test_the_index_leads_to_the_first_page(sign_in: SignIn, bill, pat, purchases):
    assert sign_in(bill).get("/admin/").url == reverse("portal:your-products")
    assert sign_in(pat).get("/admin/").url == reverse("portal:your-products")


@pytest.mark.parametrize(
    "path", ["login/", "logout/", "password_change/", "r/1/1/", "search/", "jsi18n/", "commerce/"]
)
def test_djangos_own_pages_are_not_there(sign_in: SignIn, bill, path):
    assert sign_in(bill).get(f"/admin/{path}").status_code == 404


def test_the_admin_center_is_closed_to_members(sign_in: SignIn, contoso):
    assert sign_in(make_user(contoso)).get("/admin/").status_code == 404
