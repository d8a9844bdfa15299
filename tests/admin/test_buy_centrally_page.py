"""Buy centrally: what it says before the click, what is bought, and what is not (product §8)."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.test import Client

from commerce.models import Bill, Order, Subscription, SubscriptionEvent
from commerce.operations.agreements import set_price, set_terms
from config.invariants import violations
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, OutgoingMail, Tenant, User
from directory.operations.outbox import message_of
from tests.admin.conftest import SignIn
from tests.factories import (
    make_agreement,
    make_relationship,
    make_tenant,
    make_user,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

AT = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
PAGE = "/admin/billing/buy/"


@pytest.fixture(autouse=True)
def _on_the_tenth_of_march() -> Any:
    with time_machine.travel(AT, tick=False):
        yield


@pytest.fixture
def contoso() -> Tenant:
    tenant = make_tenant(name="Contoso", domain="contoso.example")
    make_agreement(tenant)
    for code, minor in (("yearly", 9_000), ("yearly-monthly", 780)):
        agree("teams-essential", code, minor)
    return tenant


@pytest.fixture
def bill(contoso: Tenant) -> User:
    return make_user(contoso, name="Bill Bakker", roles=("billing_admin",))


def agree(product: str, code: str, minor: int) -> None:
    set_price(
        domain="contoso.example", product=product, plan=code, unit_price_minor=minor, staff="Olga", at=AT
    )


def text_of(response: Any) -> str:
    return " ".join(response.content.decode().split())


def quote_of(page: str) -> str:
    return page.split('name="quote" value="')[1].split('"')[0]


def shown(client: Client, **asked: str) -> str:
    response = client.get(PAGE, asked)
    assert response.status_code == 200
    return text_of(response)


def confirm(client: Client, page: str) -> Any:
    shown_for = page.split('name="shown_for_tenant" value="')[1].split('"')[0]
    return client.post(PAGE, {"quote": quote_of(page), "shown_for_tenant": shown_for}, follow=True)


def bought_by(tenant: Tenant) -> list[Subscription]:
    with tenant_atomic(tenant.pk):
        return list(Subscription.objects.order_by("id").select_related("product", "plan", "bill_to"))


def test_it_shows_the_agreed_price_the_tax_the_total_and_the_day_to_pay_and_bills_exactly_that(
    sign_in: SignIn, contoso: Tenant, bill: User
) -> None:
    gina = make_user(contoso, name="Gina Groot", roles=("global_admin",))
    client = sign_in(bill)

    page = shown(client, product="power-bi-pro", plan="monthly", quantity="25", reference="CC 4711")
    response = confirm(client, page)

    for words in (
        *("25 licenses \u00d7 €8.00", "€200.00", "VAT 21%", "€42.00", "€242.00"),
        *("Today, 10 Mar 2026", "to be paid by 9 Apr 2026 (30 days)", "10 Apr 2026: renews"),
        *("Paid by Contoso under the agreement. No card is charged.", "Buy 25 licenses for €242.00"),
    ):
        assert words in page, words
    assert "Your organization has 25 licenses of Power BI Pro more. The bill is on account." in text_of(
        response
    )
    (made,) = bought_by(contoso)
    assert (made.quantity, made.channel, made.owner_kind) == (25, "central", "organization")
    with tenant_atomic(contoso.pk):
        issued = Bill.objects.select_related("bill_to").get()
        assert (issued.total_minor, issued.collection) == (24_200, "on_account")
        assert issued.bill_to.own_reference == "CC 4711"
        assert SubscriptionEvent.objects.filter(code="purchased", actor_label="Bill Bakker").count() == 1
        assert AuditEntry.objects.filter(code="commerce.order.placed").count() == 1
        (mail,) = OutgoingMail.objects.filter(kind="central_purchase")
    assert mail.to_user_id == gina.pk
    told = str(message_of(mail).body)
    assert "Bill Bakker bought it for Contoso at your agreement's price, on account." in told
    assert "CC 4711" in told
    assert "€242.00" in told
    assert violations(at=AT) == []


def test_two_clicks_buy_once(sign_in: SignIn, contoso: Tenant, bill: User) -> None:
    client = sign_in(bill)
    page = shown(client, product="power-bi-pro", quantity="3")

    addresses = [confirm(client, page).redirect_chain[-1][0] for _click in range(2)]

    (made,) = bought_by(contoso)
    assert addresses == [f"/admin/billing/your-products/{made.key}/"] * 2
    with tenant_atomic(contoso.pk):
        assert Order.objects.count() == Bill.objects.count() == 1


@pytest.mark.parametrize("change", ["price", "days", "midnight"])
def test_what_changed_since_the_page_was_shown_is_shown_anew_and_nothing_is_bought(
    sign_in: SignIn, contoso: Tenant, bill: User, change: str
) -> None:
    at = AT.replace(hour=22)  # 23:30 in Amsterdam
    with time_machine.travel(at, tick=False):
        client = sign_in(bill)
        page = shown(client, product="power-bi-pro", quantity="3")
    if change == "price":
        agree("power-bi-pro", "monthly", 850)
    elif change == "days":
        set_terms(domain="contoso.example", payment_days=14, staff="Olga", at=AT)
    else:
        at = AT.replace(hour=23, minute=10)

    with time_machine.travel(at, tick=False):
        response = client.post(PAGE, {"quote": quote_of(page)})

        assert response.status_code == 409
        assert "Nothing was bought. Look again." in text_of(response)
        assert bought_by(contoso) == []
        confirm(client, text_of(response))
    assert len(bought_by(contoso)) == 1


def test_products_that_are_not_sold_by_self_service_are_bought_where_a_price_is_agreed(
    sign_in: SignIn, contoso: Tenant, bill: User
) -> None:
    client = sign_in(bill)

    page = shown(client, product="teams-essential", plan="yearly-monthly", quantity="10")
    confirm(client, page)

    assert "12 bills for the year that you commit to, €1,132.56 in all" in page
    (made,) = bought_by(contoso)
    assert (made.product.slug, made.plan.code) == ("teams-essential", "yearly-monthly")
    assert "Visio Plan 1" not in page


def test_a_later_start_is_scheduled_and_not_billed_yet(sign_in: SignIn, contoso: Tenant, bill: User) -> None:
    make_user(contoso, roles=("global_admin",))
    client = sign_in(bill)

    page = shown(client, product="power-bi-pro", quantity="5", when="later", starts_on="2026-04-01")
    response = confirm(client, page)

    assert "1 Apr 2026: starts" in page
    assert "to be paid by 1 May 2026 (30 days)" in page
    assert "Power BI Pro starts on 1 Apr 2026. Nothing is billed before." in text_of(response)
    (made,) = bought_by(contoso)
    assert made.state == "scheduled"
    with tenant_atomic(contoso.pk):
        assert Bill.objects.count() == 0
        mail = OutgoingMail.objects.get(kind="central_purchase")
    assert "It starts on 1 Apr 2026; nothing is billed before." in str(message_of(mail).body)
    assert violations(at=AT) == []


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"quantity": "0"}, "Enter a number of licenses from 1 on."),
        ({"quantity": "1000001"}, "Enter a number of licenses from 1 on."),
        ({"quantity": "-1"}, "Enter a whole number, such as 2."),
        ({"quantity": "\u0663"}, "Enter a whole number, such as 2."),
        ({"quantity": "9" * 20}, "Enter a whole number, such as 2."),
        ({"when": "later"}, "Choose the day on which it starts."),
        ({"when": "later", "starts_on": "2026-03-09"}, "Choose a start from today on"),
        ({"when": "later", "starts_on": "2027-03-12"}, "Choose a start from today on"),
        ({"when": "later", "starts_on": "0001-01-01"}, "Choose a start from today on"),
        ({"reference": "x" * 61}, "Use at most 60 letters."),
    ],
)
def test_what_makes_no_sense_says_so_beside_its_field(
    sign_in: SignIn, contoso: Tenant, bill: User, asked: dict[str, str], why: str
) -> None:
    page = shown(sign_in(bill), product="power-bi-pro", **asked)

    assert why in page
    assert 'aria-invalid="true"' in page
    assert 'name="quote"' not in page


@pytest.mark.parametrize("quote", ["", "nonsense", "another organization's"])
def test_a_quote_that_is_not_this_organizations_buys_nothing(
    sign_in: SignIn, contoso: Tenant, bill: User, quote: str
) -> None:
    fabrikam = make_tenant(name="Fabrikam")
    make_agreement(fabrikam)
    if quote.startswith("another"):
        admin = make_user(fabrikam, roles=("billing_admin",))
        quote = quote_of(shown(sign_in(admin), product="power-bi-pro"))

    response = sign_in(bill).post(PAGE, {"quote": quote})

    assert response.status_code == 422
    assert "Nothing was bought." in text_of(response)
    assert bought_by(contoso) == bought_by(fabrikam) == []


def test_without_an_agreement_the_page_says_what_comes_here(sign_in: SignIn) -> None:
    page = shown(sign_in(make_user(make_tenant(name="Fabrikam"), roles=("global_admin",))))

    assert "No prices are agreed yet" in page


def test_a_partner_with_the_role_buys_on_account_and_is_named_with_the_partner(
    sign_in: SignIn, contoso: Tenant, bill: User
) -> None:
    northwind = make_tenant(name="Northwind")
    petra = make_user(northwind, name="Petra")
    make_relationship(contoso, northwind, roles=("billing_admin",), users=(petra,))
    client = sign_in(petra, acting_for=contoso)

    confirm(client, shown(client, product="power-bi-pro", quantity="2"))

    (made,) = bought_by(contoso)
    assert (made.purchaser_id, made.purchaser_name) == (None, "Petra")
    with tenant_atomic(contoso.pk):
        mail = OutgoingMail.objects.get(kind="central_purchase")
        entry = AuditEntry.objects.get(code="commerce.order.placed")
    assert "Petra of Northwind bought it for Contoso" in str(message_of(mail).body)
    assert "Northwind" in entry.on_behalf_of


@pytest.mark.parametrize("role", ["license_admin", "user_admin", "global_reader"])
def test_who_may_not_buy_centrally_sees_neither_page_nor_menu(
    sign_in: SignIn, contoso: Tenant, role: str
) -> None:
    client = sign_in(make_user(contoso, roles=(role,)))

    assert client.get(PAGE).status_code == 404
    assert PAGE not in text_of(client.get("/admin/licenses/"))


def test_a_suspended_organization_buys_nothing(sign_in: SignIn, contoso: Tenant, bill: User) -> None:
    client = sign_in(bill)
    page = shown(client, product="power-bi-pro")
    with tenant_atomic(contoso.pk):
        Tenant.objects.filter(pk=contoso.pk).update(standing="suspended")

    assert client.post(PAGE, {"quote": quote_of(page)}).status_code == 404
    assert bought_by(contoso) == []


def test_the_last_reference_is_offered_again_and_the_details_stay(
    sign_in: SignIn, contoso: Tenant, bill: User
) -> None:
    client = sign_in(bill)
    confirm(client, shown(client, product="power-bi-pro", reference="CC 1"))

    page = shown(client, product="power-bi-pro")
    confirm(client, page)
    confirm(client, shown(client, product="power-bi-pro", reference=""))

    assert re.search(r'name="reference"[^>]* value="CC 1"', page)
    first, second, third = bought_by(contoso)
    assert first.bill_to_id == second.bill_to_id
    assert (third.bill_to.name, third.bill_to.own_reference) == ("Contoso", "")


@pytest.mark.parametrize("asked", [{}, {"product": ""}, {"product": "no-such", "quantity": "5"}])
def test_nothing_can_be_bought_before_a_product_is_chosen(
    sign_in: SignIn, contoso: Tenant, bill: User, asked: dict[str, str]
) -> None:
    page = shown(sign_in(bill), **asked)

    assert '<option value="" selected>Choose a product</option>' in page
    assert "Choose a product to see what it costs." in page
    assert 'name="quote"' not in page
    assert 'name="plan"' not in page


@pytest.mark.parametrize("role", ["billing_admin", "global_admin"])
def test_your_products_leads_who_buys_centrally_there_and_not_to_the_shop(
    sign_in: SignIn, contoso: Tenant, role: str
) -> None:
    page = text_of(sign_in(make_user(contoso, roles=(role,))).get("/admin/billing/your-products/"))

    actions = page.split('sk-adminhead__actions">')[1].split("</header>")[0]
    assert f'<a class="sk-btn sk-btn--primary" href="{PAGE}">' in actions
    assert "Buy a product" not in actions


def test_without_an_agreement_the_way_to_the_shop_stands_on_the_page(sign_in: SignIn) -> None:
    page = shown(sign_in(make_user(make_tenant(name="Fabrikam"), roles=("global_admin",))))

    assert 'href="/products/"' in page.split('id="none"')[1]


def test_the_menu_leads_admins_there(sign_in: SignIn, contoso: Tenant, bill: User) -> None:
    assert f'href="{PAGE}"' in text_of(sign_in(bill).get("/admin/billing/your-products/"))
