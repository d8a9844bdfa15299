"""The page of the plan, and what waits for the renewal on the purchase's page (product §4, §5.3)."""

import pytest
import time_machine

from commerce.models import Subscription
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from directory.permissions import Role
from tests.admin.test_seats_page import LATER, words
from tests.factories import client_of, make_self_service_subscription, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])


@pytest.fixture(autouse=True)
def _later():
    with time_machine.travel(LATER, tick=False):
        yield


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters")


@pytest.fixture
def subscription(pat: User) -> Subscription:
    return make_self_service_subscription(pat)


def purchase(subscription: Subscription, page: str = "") -> str:
    return f"/admin/billing/your-products/{subscription.key}/{page}"


def now_of(subscription: Subscription) -> Subscription:
    with tenant_atomic(subscription.tenant_id):
        return Subscription.objects.select_related("next_plan").get(pk=subscription.pk)


def choose(user: User, subscription: Subscription, code: str, version: int = 0):
    posted = {"plan": code, "version": version}
    return client_of(user).post(purchase(subscription, "plan/"), posted, follow=True)


def test_says_prices_days_and_the_three_steps_to_another_product(
    pat: User, subscription: Subscription
) -> None:
    text = words(client_of(pat).get(purchase(subscription, "plan/")).text)

    assert "Monthly (now) €9.40 per license a month, without tax. €113.74" in text
    assert "You commit to 12 charges." in text
    assert "10 Apr 2026 It renews with the plan chosen, at the list price of that day, with VAT 21%." in text
    assert "1. Buy the other product" in text
    assert "3. Stop this one" in text


def test_schedules_a_plan_and_shows_it_on_the_purchase(pat: User, subscription: Subscription) -> None:
    answer = choose(pat, subscription, "yearly")

    text = words(answer.text)
    assert now_of(subscription).next_plan.code == "yearly"
    assert "From 10 Apr 2026 on it is Yearly, paid yearly." in text
    assert "10 Apr 2026: renews 10 licenses, Yearly, paid yearly, at the list price of that day." in text


@pytest.mark.parametrize(
    ("code", "version", "status"), [("weekly", 0, 422), ("", 0, 422), ("yearly", 7, 409)]
)
def test_refuses_with_the_page_and_changes_nothing(
    pat: User, subscription: Subscription, code: str, version: int, status: int
) -> None:
    assert choose(pat, subscription, code, version).status_code == status
    assert now_of(subscription).next_plan is None


def test_without_recurring_billing_it_says_why_and_the_way(pat: User, subscription: Subscription) -> None:
    with tenant_atomic(pat.tenant_id):
        Subscription.objects.update(recurring_billing=False)

    text = words(client_of(pat).get(purchase(subscription, "plan/")).text)

    assert "Recurring billing is off, so it ends on 9 Apr 2026." in text


def test_takes_back_from_the_purchases_page(pat: User, subscription: Subscription) -> None:
    choose(pat, subscription, "yearly")
    with tenant_atomic(pat.tenant_id):
        Subscription.objects.update(next_quantity=8)
    client = client_of(pat)
    shown = words(client.get(purchase(subscription)).text)
    assert "8 licenses from 10 Apr 2026 on Until then at most 8 can be assigned." in shown

    client.post(purchase(subscription, "scheduled/"), {"what": "quantity", "version": 1})
    client.post(purchase(subscription, "scheduled/"), {"what": "plan", "version": 2})

    row = now_of(subscription)
    assert (row.next_quantity, row.next_plan) == (None, None)


def test_an_older_page_takes_nothing_back(pat: User, subscription: Subscription) -> None:
    choose(pat, subscription, "yearly")

    answer = client_of(pat).post(
        purchase(subscription, "scheduled/"), {"what": "plan", "version": 0}, follow=True
    )

    assert "This has changed since you opened the page." in words(answer.text)
    assert now_of(subscription).next_plan.code == "yearly"


def test_an_admin_may_not_change_a_colleagues_plan(contoso: Tenant, subscription: Subscription) -> None:
    gina = make_user(contoso, roles=(Role.GLOBAL_ADMIN,))

    assert client_of(gina).get(purchase(subscription, "plan/")).status_code == 403
    assert client_of(gina).post(purchase(subscription, "scheduled/"), {"what": "plan"}).status_code == 403


def test_buy_another_opens_the_checkout_with_product_and_plan(pat: User, subscription: Subscription) -> None:
    client = client_of(pat)
    assert 'href="/buy/power-bi-pro/?plan=monthly"' in client.get(purchase(subscription)).text

    page = client.get("/buy/power-bi-pro/?plan=yearly", follow=True)

    assert 'value="yearly" checked' in page.text
