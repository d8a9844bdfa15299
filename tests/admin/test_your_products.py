"""Your products, as limited and as full view (product §4, §8)."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from commerce.models import Order, OrderLine, SavedView, Subscription
from commerce.views.subscriptions import money
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from tests.admin.conftest import SignIn
from tests.factories import (
    AT,
    make_bill,
    make_central_subscription,
    make_credit_note,
    make_relationship,
    make_self_service_subscription,
    make_subscription,
    make_tenant,
    make_user,
    plan,
)

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


def test_the_product_filter_offers_what_the_organization_ever_bought(sign_in: SignIn, bill, purchases):
    make_subscription(make_tenant(), plan=plan("project-plan-1"))

    client = sign_in(bill)
    offered = [product.name for product in client.get(ADDRESS).context["products"]]
    with_asked = [
        product.name for product in client.get(f"{ADDRESS}?product=project-plan-3").context["products"]
    ]

    assert offered == ["Power BI Pro", "Visio Plan 1", "Visio Plan 2"]
    assert with_asked == ["Power BI Pro", "Project Plan 3", "Visio Plan 1", "Visio Plan 2"]


def test_a_purchase_leads_back_to_the_list_as_it_was(sign_in: SignIn, bill, purchases):
    client = sign_in(bill)
    key = purchases["pat"].key

    plain, narrowed = client.get(ADDRESS), client.get(f"{ADDRESS}?q=pat+p&sort=-seats&page=")
    page = client.get(f"{ADDRESS}{key}/?list=q%3Dpat%2Bp%26sort%3D-seats")
    odd = client.get(f"{ADDRESS}{key}/?list=next%3D//evil.example%26q%3D%22x")

    assert f'href="{key}/"' in plain.text
    assert f'href="{key}/?list=q%3Dpat%2Bp%26sort%3D-seats"' in narrowed.text
    assert f'<a href="{ADDRESS}?q=pat+p&amp;sort=-seats">Your products</a>' in page.text
    assert f'<a href="{ADDRESS}?q=%22x">Your products</a>' in odd.text
    assert f'<a href="{ADDRESS}">Your products</a>' in client.get(f"{ADDRESS}{key}/").text


def test_what_cannot_be_ticked_stands_in_the_same_column(sign_in: SignIn, contoso, bill, purchases):
    reader = make_user(contoso, roles=("global_reader",))

    page, read = sign_in(bill).get(ADDRESS).text, sign_in(reader).get(ADDRESS).text

    assert page.count('name="purchase"') == 2
    assert page.count('class="sk-check__none"') == 1
    assert "sk-check__none" not in read


def test_the_views_are_in_sight_and_the_current_one_is_marked(sign_in: SignIn, bill, purchases):
    client = sign_in(bill)

    save(client, "Gone people", "left=1&sort=-price")
    page = client.get(f"{ADDRESS}?left=1&sort=-price").text

    views = page.split('aria-labelledby="views"')[1].split("</ul>")[0]
    assert '<a class="sk-chip" href="?left=1&amp;sort=-price" aria-current="true">Gone people</a>' in views
    assert views.count("aria-current") == 1
    assert page.index('<details class="sk-more') > page.index("Gone people")


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


@pytest.mark.parametrize(
    ("query", "expected"),
    [("", 11), ("?q=pat", 10), ("?channel=central&sort=-price", 9), ("?left=1&owner=purchaser&within=30", 9)],
)
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


def people_bought(response) -> list[str]:
    return [line["purchaser"] for line in response.context["lines"]]


def test_filters_by_owner(sign_in: SignIn, contoso, bill, pat, purchases):
    taken = make_subscription(contoso, owner=pat, quantity=4)
    with tenant_atomic(contoso.pk):
        Subscription.objects.filter(pk=taken.pk).update(owner_kind="organization", owner_user=None)
        order = Order.objects.create(
            tenant=contoso, type="take_over", placed_at=AT, actor_label="Bill Bakker"
        )
        OrderLine.objects.create(
            tenant=contoso, order=order, subscription=taken, quantity=4, currency="EUR",
            unit_price_minor=1, amount_minor=4,
        )  # fmt: skip
    client = sign_in(bill)
    shown = {
        owner: [line["bought"] for line in client.get(f"{ADDRESS}?owner={owner}&sort=seats").context["lines"]]
        for owner in ("purchaser", "organization", "taken-over")
    }

    assert shown == {"purchaser": ["1", "10"], "organization": ["4", "25"], "taken-over": ["4"]}
    assert "Taken over by Bill Bakker on 10 Mar 2026" in client.get(f"{ADDRESS}?owner=taken-over").text


def test_filters_by_purchaser_and_says_whose(sign_in: SignIn, bill, pat, purchases):
    response = sign_in(bill).get(f"{ADDRESS}?purchaser={pat.key}")

    assert names(response) == ["Power BI Pro of Pat Peters"]
    assert "Bought by Pat Peters" in response.text


def test_another_tenants_person_is_nobodys_filter(sign_in: SignIn, bill, purchases):
    stranger = make_user(make_tenant(), name="Stranger")

    response = sign_in(bill).get(f"{ADDRESS}?purchaser={stranger.key}")

    assert names(response) == []
    assert "Stranger" not in response.text


def test_filters_by_people_who_left(sign_in: SignIn, contoso, bill, purchases):
    for status in ("disabled", "deleted"):
        make_subscription(contoso, owner=make_user(contoso, name=status, status=status))

    assert people_bought(sign_in(bill).get(f"{ADDRESS}?left=1&sort=purchaser")) == ["deleted", "disabled"]


def test_filters_by_what_ends_soon_and_not_by_what_renews(sign_in: SignIn, contoso, bill, purchases):
    at = now()
    for days, renews in ((5, False), (29, False), (31, False), (5, True)):
        made = make_subscription(contoso, quantity=100 + days, recurring_billing=renews)
        with tenant_atomic(contoso.pk):
            Subscription.objects.filter(pk=made.pk).update(
                period_start=at - timedelta(days=2),
                term_end=at + timedelta(days=days),
                period_end=at + timedelta(days=days),
            )
    client = sign_in(bill)
    ends = {
        days: [line["bought"] for line in client.get(f"{ADDRESS}?within={days}&sort=seats").context["lines"]]
        for days in (7, 30, 90, 366)
    }

    assert ends == {7: ["105"], 30: ["105", "129"], 90: ["105", "129", "131"], 366: ["105", "129", "131"]}


@pytest.mark.parametrize(
    "query", ["owner=odd", "purchaser=rubbish", "left=2", "within=0", "within=367", "within=-1", "within=٣"]
)
def test_refuses_a_further_filter_that_makes_no_sense(sign_in: SignIn, bill, purchases, query):
    assert sign_in(bill).get(f"{ADDRESS}?{query}").status_code == 422


# --- Totals ------------------------------------------------------------------------------------------------


def test_totals_count_licenses_that_work(sign_in: SignIn, contoso, bill, pat, purchases):
    make_subscription(contoso, owner=pat, quantity=1000, state="disabled")
    make_subscription(contoso, owner=pat, quantity=3, assigned=1, state="expired")

    context = sign_in(bill).get(ADDRESS).context

    assert (context["bought"], context["assigned"], context["free"], context["share"]) == (
        "39", "8", "31", "21% of all",
    )  # fmt: skip
    assert [(bar["label"], bar["free"]) for bar in context["bars"]] == [
        ("Power BI Pro", "30"),
        ("Visio Plan 1", "1"),
    ]


def test_spend_is_what_was_billed_in_the_month_less_credits(sign_in: SignIn, contoso, bill, pat):
    at = now()
    own = make_self_service_subscription(pat, at=at)
    central = make_central_subscription(bill, at=at)
    late = make_bill(own, at=at - timedelta(days=40))
    with tenant_atomic(contoso.pk):
        paid = own.bills.get(type="purchase")
    make_credit_note(paid, 100, at=at)

    response = sign_in(bill).get(ADDRESS)

    months = dict(response.context["months"])
    assert next(iter(months.values())) == [
        money(central.period_price_minor, "EUR"), money(own.period_price_minor - 100, "EUR"),
    ]  # fmt: skip
    assert [money(0, "EUR"), money(late.subtotal_minor, "EUR")] in months.values()
    assert len(months) == 6
    assert response.text.count('role="img"') == 2
    assert "Show as a table" in response.text


def test_totals_of_a_narrowed_list_come_after_the_rows(sign_in: SignIn, bill, purchases):
    client = sign_in(bill)

    page = client.get(f"{ADDRESS}?channel=central")
    fragment = client.get(f"{ADDRESS}totals/", headers={"HX-Request": "true"})
    alone = client.get(f"{ADDRESS}totals/")

    assert 'hx-get="/admin/billing/your-products/totals/"' in page.text
    assert "bought" not in page.context
    assert (fragment.context["bought"], "<html" in fragment.text) == ("36", False)
    assert "<html" in alone.text


def test_totals_of_a_large_list_come_after_the_rows(sign_in: SignIn, bill, purchases, monkeypatch):
    monkeypatch.setattr("config.kit.keyset.COUNT_LIMIT", 2)

    page = sign_in(bill).get(ADDRESS)

    assert 'hx-get="/admin/billing/your-products/totals/"' in page.text
    assert "bought" not in page.context


def test_another_organizations_bills_are_no_part_of_it(sign_in: SignIn, contoso, bill, pat):
    make_self_service_subscription(pat, at=now())
    fiona = make_user(make_tenant(name="Fabrikam"), roles=("global_admin",))

    ours = sign_in(bill).get(f"{ADDRESS}totals/")
    theirs = sign_in(fiona).get(f"{ADDRESS}totals/")

    assert "months" in ours.context
    assert "months" not in theirs.context
    assert theirs.context["bought"] == "0"


def test_a_purchaser_has_no_totals(sign_in: SignIn, pat, purchases):
    assert sign_in(pat).get(f"{ADDRESS}totals/").status_code == 404


# --- Saved views -------------------------------------------------------------------------------------------


def save(client, name: str, query: str):
    return client.post(f"{ADDRESS}views/", {"name": name, "query": query})


def own_views(response) -> list[tuple[str, str]]:
    return [(view["name"], view["address"]) for view in response.context["views"] if view["id"]]


def test_a_view_is_kept_under_a_name_and_shown_as_the_current_one(sign_in: SignIn, bill, purchases):
    client = sign_in(bill)

    response = save(client, "  Gone   people ", "left=1&page=abc&utm=1&sort=-price")
    page = client.get(response["Location"])

    assert response["Location"] == f"{ADDRESS}?left=1&sort=-price"
    assert own_views(page) == [("Gone people", "?left=1&sort=-price")]
    assert [view["is_current"] for view in page.context["views"]] == [False] * 4 + [True]


def test_a_view_of_the_same_name_is_replaced(sign_in: SignIn, bill, purchases):
    client = sign_in(bill)

    save(client, "Mine", "left=1")
    save(client, "Mine", "owner=organization")

    assert own_views(client.get(ADDRESS)) == [("Mine", "?owner=organization")]


def test_views_are_the_persons_own(sign_in: SignIn, contoso, bill, purchases):
    gert = make_user(contoso, roles=("global_admin",))
    save(sign_in(bill), "Mine", "left=1")
    with tenant_atomic(contoso.pk):
        view = SavedView.objects.get()

    other = sign_in(gert)

    assert own_views(other.get(ADDRESS)) == []
    assert other.post(f"{ADDRESS}views/{view.pk}/delete/").status_code == 404
    with tenant_atomic(contoso.pk):
        assert SavedView.objects.count() == 1


def test_a_view_is_deleted(sign_in: SignIn, contoso, bill, purchases):
    client = sign_in(bill)
    save(client, "Mine", "left=1")
    with tenant_atomic(contoso.pk):
        view = SavedView.objects.get()

    response = client.post(f"{ADDRESS}views/{view.pk}/delete/")

    assert response.status_code == 303
    assert own_views(client.get(ADDRESS)) == []


@pytest.mark.parametrize("name", ["", "   ", "x" * 61])
def test_a_view_needs_a_name_that_fits(sign_in: SignIn, bill, purchases, name):
    client = sign_in(bill)

    save(client, name, "left=1")

    assert own_views(client.get(ADDRESS)) == []


def test_no_view_is_kept_of_what_makes_no_sense(sign_in: SignIn, bill, purchases):
    client = sign_in(bill)

    assert save(client, "Odd", "status=odd").status_code == 422
    assert own_views(client.get(ADDRESS)) == []


def test_twenty_views_are_enough(sign_in: SignIn, contoso, bill, purchases):
    client = sign_in(bill)
    for number in range(21):
        save(client, f"View {number}", "left=1")

    with tenant_atomic(contoso.pk):
        assert SavedView.objects.count() == 20
    assert "You keep twenty views already" in client.get(ADDRESS).text
