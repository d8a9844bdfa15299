"""Bills & payments: who sees which, filters, sums, pages, and what the list costs (product §2, §4, §6)."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from commerce.models import Bill, Subscription
from commerce.operations.bills import Line, issue_bill
from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from tests.admin.conftest import SignIn
from tests.factories import (
    AT,
    make_central_subscription,
    make_relationship,
    make_self_service_subscription,
    make_tenant,
    make_user,
    plan,
)

pytestmark = pytest.mark.django_db

ADDRESS = "/admin/billing/bills/"


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso", created_at=datetime(2025, 6, 1, tzinfo=UTC))


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters", email="pat@contoso.example")


@pytest.fixture
def bill(contoso: Tenant) -> User:
    """Bill, the billing admin."""
    return make_user(contoso, name="Bill Bakker", roles=("billing_admin",))


@pytest.fixture
def purchases(bill: User, pat: User) -> dict[str, Subscription]:
    """Pat's ten Power BI Pro, paid; Sam's Visio, paid; 25 central ones, due in thirty days."""
    sam = make_user(bill.tenant, name="Sam Sanders")
    return {
        "own": make_self_service_subscription(pat),
        "others": make_self_service_subscription(
            sam, plan=plan("visio-plan-1"), quantity=1, at=AT + timedelta(hours=1)
        ),
        "central": make_central_subscription(bill, at=AT + timedelta(hours=2)),
    }


def bill_of(subscription: Subscription) -> Bill:
    with tenant_atomic(subscription.tenant_id):
        return Bill.objects.select_related("order", "bill_to", "payer").filter(subscription=subscription)[0]


def add_bill(
    subscription: Subscription,
    *,
    month: int,
    type: str = "renewal",
    at: datetime | None = None,
    **fields: Any,
) -> Bill:
    """One more bill of the purchase, `month` periods after the first, as it would be issued then."""
    first = bill_of(subscription)
    start, end = (
        first.period_end + timedelta(days=30 * (month - 1)),
        first.period_end + timedelta(days=30 * month),
    )
    at = at or start
    with tenant_atomic(subscription.tenant_id):
        row = Subscription.objects.select_related("vendor_entity").get(pk=subscription.pk)
        made = issue_bill(
            actor=Actor.system(subscription.tenant_id),
            subscription=row,
            order=first.order,
            type=type,
            bill_to=first.bill_to,
            payer=first.payer,
            collection=first.collection,
            lines=[Line("Power BI Pro", 10, 940, 9400, start, end)],
            period_start=start,
            period_end=end,
            at=at,
            due_at=at,
        )
        Bill.objects.filter(pk=made.pk).update(**fields) if fields else None
    return made


def seen(response: Any) -> list[tuple[str, str]]:
    """Number and what of each line; without a number where only the amount shows."""
    return [(line.get("number", ""), line["what"]) for line in response.context["lines"]]


def numbers(response: Any) -> list[str]:
    return [line.get("number", "") for line in response.context["lines"]]


def test_a_purchaser_sees_the_own_bills_and_nothing_of_others(sign_in: SignIn, pat, purchases):
    response = sign_in(pat).get(ADDRESS)

    assert seen(response) == [("SK-NL-2026-000001", "Power BI Pro, 10 licenses")]
    assert "Visio" not in "".join(line["what"] for line in response.context["lines"])
    assert response.context["totals"] == "€113.74"
    assert "Who pays" not in response.text


def test_an_admin_opens_the_organizations_and_sees_what_others_come_to(sign_in: SignIn, bill, purchases):
    response = sign_in(bill).get(ADDRESS)

    assert seen(response) == [
        ("SK-NL-2026-000003", "Power BI Pro, 25 licenses"),
        ("", "Visio Plan 1, 1 license"),
        ("", "Power BI Pro, 10 licenses"),
    ]
    assert [line["total"] for line in response.context["lines"]] == ["€242.00", "€5.69", "€113.74"]
    assert response.context["totals"] == "€361.43"


def test_of_others_neither_number_name_status_nor_card_is_shown(sign_in: SignIn, bill, purchases):
    text = sign_in(bill).get(ADDRESS).text

    assert "SK-NL-2026-000001" not in text
    assert "SK-NL-2026-000002" not in text
    assert "Pat Peters" not in text
    assert "Sam Sanders" not in text
    assert "Keizersgracht" not in text
    assert "4242" not in text
    assert text.count("Amount only") == 2
    assert ">Paid</span>" not in text


@pytest.mark.parametrize("role", ["billing_admin", "global_admin", "global_reader"])
def test_the_full_view_is_for_these_roles(sign_in: SignIn, contoso, purchases, role):
    assert len(numbers(sign_in(make_user(contoso, roles=(role,))).get(ADDRESS))) == 3


@pytest.mark.parametrize("roles", [("license_admin",), ("user_admin",), ()])
def test_others_do_not_see_the_page(sign_in: SignIn, contoso, purchases, roles):
    assert sign_in(make_user(contoso, roles=roles)).get(ADDRESS).status_code == 404


def test_an_admin_who_bought_too_opens_the_own_bill(sign_in: SignIn, bill, purchases):
    make_self_service_subscription(bill, plan=plan("visio-plan-2"), quantity=2, at=AT + timedelta(hours=3))

    response = sign_in(bill).get(ADDRESS)

    assert numbers(response) == ["SK-NL-2026-000004", "SK-NL-2026-000003", "", ""]
    assert [line["payer"] for line in response.context["lines"]] == [
        "You",
        "Organization",
        "Purchaser",
        "Purchaser",
    ]


def test_a_partner_sees_as_the_delegated_role(sign_in: SignIn, contoso, purchases):
    northwind = make_tenant(name="Northwind")
    petra = make_user(northwind)
    make_relationship(contoso, northwind, users=(petra,))

    response = sign_in(petra, acting_for=contoso).get(ADDRESS)

    assert numbers(response) == ["SK-NL-2026-000003", "", ""]
    assert response.context["lines"][0]["pay"] == ""


def test_a_former_owner_keeps_the_own_bills(sign_in: SignIn, contoso, pat, purchases):
    with tenant_atomic(contoso.pk):
        Subscription.objects.filter(pk=purchases["own"].pk).update(
            owner_kind="organization", owner_user=None, card=None
        )

    client = sign_in(pat)

    assert numbers(client.get(ADDRESS)) == ["SK-NL-2026-000001"]
    assert client.get(f"{ADDRESS}SK-NL-2026-000001/").status_code == 200


def test_another_tenants_admin_sees_nothing_of_it(sign_in: SignIn, purchases):
    fiona = make_user(make_tenant(name="Fabrikam"), roles=("global_admin",))

    response = sign_in(fiona).get(ADDRESS)

    assert seen(response) == []
    assert "No bills yet" in response.text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=open", ["SK-NL-2026-000003"]),
        ("status=paid", []),
        ("status=void", []),
        ("channel=central", ["SK-NL-2026-000003"]),
        ("channel=self-service", ["", ""]),
        ("channel=central&channel=self-service", ["SK-NL-2026-000003", "", ""]),
        ("product=visio-plan-1", [""]),
        ("payer=organization", ["SK-NL-2026-000003"]),
        ("payer=others", ["", ""]),
        ("payer=me", []),
        ("period=2026", ["SK-NL-2026-000003", "", ""]),
        ("period=2026-03", ["SK-NL-2026-000003", "", ""]),
        ("period=2026-02", []),
        ("period=2025", []),
        ("q=000003", ["SK-NL-2026-000003"]),
        ("q=sk-nl-2026-000003", ["SK-NL-2026-000003"]),
        ("q=000001", []),
        ("q=visio", [""]),
        ("q=power+000003", ["SK-NL-2026-000003"]),
        ("q=%25", []),
        ("q=%27+OR+1%3D1", []),
    ],
)
def test_filters_and_searches(sign_in: SignIn, bill, purchases, query, expected):
    assert numbers(sign_in(bill).get(f"{ADDRESS}?{query}")) == expected


@pytest.mark.parametrize(
    "query",
    [
        "status=odd",
        "channel=mosa",
        "product=no-such",
        "payer=everybody",
        "period=yesterday",
        "period=2026-13",
        "period=2026-1",
        "period=1-1",
        "period=99999",
        "period=2026-11-30",
        "page=rubbish",
        "page=WyJmIiwxLDJd",
        "page=WyJmIiwieWVzdGVyZGF5IiwxXQ",
    ],
)
def test_refuses_an_address_that_makes_no_sense(sign_in: SignIn, bill, purchases, query):
    assert sign_in(bill).get(f"{ADDRESS}?{query}").status_code == 422


def test_every_state_has_its_filter_badge_and_date(sign_in: SignIn, pat, purchases):
    own = purchases["own"]
    add_bill(own, month=1)
    add_bill(own, month=2, status="past_due")
    add_bill(own, month=3, decline_kind="auth")
    void = add_bill(own, month=4, status="void")
    client = sign_in(pat)

    lines = client.get(ADDRESS).context["lines"]

    assert [(line["status"], line["status_note"]) for line in lines] == [
        ("Void", ""),
        ("Open", "Your bank waits for you"),
        ("Past due", "Since 10 May 2026"),
        ("Open", "Due 10 Apr 2026"),
        ("Paid", "10 Mar 2026"),
    ]
    assert numbers(client.get(f"{ADDRESS}?status=void")) == [void.number]
    assert len(numbers(client.get(f"{ADDRESS}?status=open"))) == 2
    assert len(numbers(client.get(f"{ADDRESS}?status=past-due"))) == 1
    assert numbers(client.get(f"{ADDRESS}?status=paid")) == ["SK-NL-2026-000001"]


def test_of_several_open_bills_the_one_due_first_has_the_main_button(sign_in: SignIn, pat, purchases):
    later, first = (
        add_bill(
            purchases["own"], month=month, at=AT + timedelta(days=days), due_at=AT + timedelta(days=days)
        )
        for month, days in ((1, 60), (2, 40))
    )

    text = sign_in(pat).get(ADDRESS).text

    buttons = re.findall(r'class="sk-btn sk-btn--sm( sk-btn--primary)?" href="([^"]*/pay/)"', text)
    assert sorted(buttons) == [
        ("", f"{ADDRESS}{later.number}/pay/"),
        (" sk-btn--primary", f"{ADDRESS}{first.number}/pay/"),
    ]


def test_a_void_bill_comes_to_nothing(sign_in: SignIn, pat, purchases):
    add_bill(purchases["own"], month=1, status="void")

    response = sign_in(pat).get(ADDRESS)

    assert response.context["totals"] == "€113.74"
    assert response.context["count"] == "2"


def test_the_figures_say_what_to_pay_and_what_comes(sign_in: SignIn, pat, purchases):
    add_bill(purchases["own"], month=1)
    add_bill(purchases["own"], month=2, decline_kind="auth")

    figures = sign_in(pat).get(ADDRESS).context["figures"]

    assert [(figure["label"], figure["value"]) for figure in figures[:2]] == [
        ("To pay now", "€227.48"),
        ("Next charge", "10 Apr 2026"),
    ]
    assert figures[0]["note"] == "2 bills, your bank waits for your confirmation"
    assert figures[1]["note"] == "€113.74 to Visa ending in 4242"


def test_the_figures_of_nobodys_bills(sign_in: SignIn, bill):
    figures = sign_in(bill).get(ADDRESS).context["figures"]

    assert [figure["value"] for figure in figures] == ["€0.00", "\N{EN DASH}", "€0.00"]


def test_paid_this_year_counts_from_new_year_in_the_organizations_zone(sign_in: SignIn, pat, purchases):
    late = add_bill(purchases["own"], month=1)
    paid = {"status": "paid", "paid_minor": late.total_minor}
    year = datetime.now(UTC).year
    with tenant_atomic(pat.tenant_id):
        Bill.objects.filter(pk=late.pk).update(**paid, paid_at=datetime(year - 1, 12, 31, 23, 30, tzinfo=UTC))
        Bill.objects.exclude(pk=late.pk).update(paid_at=datetime(year - 1, 12, 31, 22, 30, tzinfo=UTC))

    figure = sign_in(pat).get(ADDRESS).context["figures"][2]

    assert (figure["label"], figure["value"]) == (f"Paid in {year}", "€113.74")


def test_pages_forth_and_back_without_losing_a_bill(sign_in: SignIn, pat, purchases):
    made = [add_bill(purchases["own"], month=number, at=AT) for number in range(1, 120)]
    client = sign_in(pat)
    pages = []
    address = "?status=open"

    while address:
        response = client.get(ADDRESS + address)
        pages.append(numbers(response))
        address = response.context["next"]
    back = client.get(ADDRESS + response.context["back"])

    assert [len(page) for page in pages] == [50, 50, 19]
    assert [number for page in pages for number in page] == [each.number for each in reversed(made)]
    assert numbers(back) == pages[1]


def test_sums_of_more_than_are_counted_come_later(sign_in: SignIn, bill, purchases, monkeypatch):
    monkeypatch.setattr("config.kit.keyset.COUNT_LIMIT", 2)
    client = sign_in(bill)

    page = client.get(f"{ADDRESS}?period=2026")
    later = client.get(f"{ADDRESS}{page.context['totals_address']}")

    assert page.context["totals"] == ""
    assert page.context["totals_address"] == "sums/?period=2026"
    assert 'hx-get="sums/?period=2026"' in page.text
    assert "CSV, 2+ bills" in page.text
    assert later.text == "€361.43"


def test_what_was_paid_this_year_comes_later_too(sign_in: SignIn, pat, purchases, monkeypatch):
    add = add_bill(purchases["own"], month=1)
    with tenant_atomic(pat.tenant_id):
        Bill.objects.filter(pk=add.pk).update(
            status="paid", paid_minor=add.total_minor, paid_at=datetime.now(UTC)
        )
        Bill.objects.exclude(pk=add.pk).update(paid_at=datetime.now(UTC))
    monkeypatch.setattr("config.kit.keyset.COUNT_LIMIT", 1)
    client = sign_in(pat)

    page = client.get(ADDRESS)

    assert page.context["figures"][2]["address"] == "sums/?of=year"
    assert client.get(f"{ADDRESS}sums/?of=year").text == "€227.48"


@pytest.mark.parametrize(
    ("query", "expected"),
    [("", 6), ("?q=visio", 6), ("?channel=central&status=open&payer=organization&period=2026", 6)],
)
@pytest.mark.parametrize("who", ["bill", "pat"])
def test_the_list_takes_few_queries(sign_in: SignIn, bill, pat, purchases, who, query, expected):
    add_bill(purchases["own"], month=1)
    client = sign_in({"bill": bill, "pat": pat}[who])

    with CaptureQueriesContext(connection) as captured:
        client.get(ADDRESS + query)

    asked = [q["sql"] for q in captured if "commerce_" in q["sql"]]
    assert len(asked) == expected, asked


def test_the_menu_has_the_page(sign_in: SignIn, pat, bill, purchases):
    for person in (pat, bill):
        text = sign_in(person).get(ADDRESS).text
        assert "receipt_long" in text
        assert f'href="{ADDRESS}" class="active" aria-current="page"' in text
