"""The page that brings an ended subscription back: what it says before the click, what a click does (product §5.1)."""

import html
import re
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.test import Client

from commerce.models import Subscription
from commerce.operations.payments import pay_checkout
from commerce.operations.recurring import set_recurring_billing
from commerce.operations.renewals import expire_due
from commerce.queries.catalogue import product_keys
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import Tenant, User
from directory.permissions import Role
from policies.operations.policies import set_product_policy
from tests.admin.test_seats_page import words
from tests.factories import (
    actor_of,
    client_of,
    make_bill,
    make_central_subscription,
    make_checkout,
    make_tenant,
    make_user,
    product,
)
from tests.processor import card_token, charges

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]

BOUGHT = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
APRIL_1 = datetime(2026, 3, 31, 22, 0, tzinfo=UTC)
APRIL_12 = datetime(2026, 4, 12, 12, 0, tzinfo=UTC)
MAY_12 = datetime(2026, 5, 12, 12, 0, tzinfo=UTC)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters", email="pat@contoso.example")


@pytest.fixture
def expired(pat: User) -> Subscription:
    """Ten seats bought on 1 March, one of them Pat's, that ran out on 1 April."""
    checkout = make_checkout(pat, quantity=10, at=BOUGHT)
    pay_checkout(actor=actor_of(pat, at=BOUGHT), key=checkout.key, confirmation_token=card_token(), at=BOUGHT)
    with tenant_atomic(pat.tenant_id):
        pat.refresh_from_db()
        subscription = Subscription.objects.get()
    set_recurring_billing(actor=actor_of(pat), key=subscription.key, on=False, version=0, at=BOUGHT)
    expire_due(at=APRIL_1)
    return subscription


def address(subscription: Subscription) -> str:
    return f"/admin/billing/your-products/{subscription.key}/"


def page(client: Client, subscription: Subscription, *, status: int = 200) -> str:
    response = client.get(f"{address(subscription)}reactivate/")
    assert response.status_code == status
    return words(response.text)


def confirm(client: Client, subscription: Subscription, **posted: Any) -> Any:
    text = client.get(f"{address(subscription)}reactivate/").text
    quote = html.unescape(re.search(r'name="quote" value="([^"]+)"', text)[1])
    return client.post(f"{address(subscription)}reactivate/", {"quote": quote, **posted})


def card_in(client: Client, subscription: Subscription) -> str:
    return re.search(r'name="card" value="(\d+)"', client.get(f"{address(subscription)}reactivate/").text)[1]


def state(subscription: Subscription) -> str:
    with use_login("worker"):
        return Subscription.objects.get(pk=subscription.pk).state


def test_an_expired_one_says_what_it_costs_from_when_until_when(pat: User, expired: Subscription) -> None:
    with time_machine.travel(APRIL_12, tick=False):
        text = page(client_of(pat), expired)

    assert "Licenses 10 1 is assigned" in text
    assert "Begins 1 Apr 2026 Where the last term ended: access never stopped" in text
    assert "Paid until 30 Apr 2026" in text
    assert "10 licenses \u00d7 €9.40 €94.00 VAT 21% €19.74 Today €113.74" in text
    assert (
        "€113.74 is charged for 1 Apr 2026 to 30 Apr 2026. The person with a license goes on working." in text
    )
    assert "Until 19 Apr 2026, 14:00 Cancel and get the unused days back." in text
    assert (
        "1 May 2026: renews €113.74 at today's price, unless you turn recurring billing off before." in text
    )
    assert "Pay €113.74 and reactivate" in text


def test_a_disabled_one_begins_today_and_says_who_comes_back(pat: User, expired: Subscription) -> None:
    expire_due(at=datetime(2026, 4, 30, 22, 0, tzinfo=UTC))

    with time_machine.travel(MAY_12, tick=False):
        text = page(client_of(pat), expired)

    assert "Begins Today" in text
    assert (
        "charged for 12 May 2026 to 11 Jun 2026. The person with a license has access again at once." in text
    )


def test_one_click_pays_with_the_saved_card_and_says_so(pat: User, expired: Subscription) -> None:
    client = client_of(pat)

    with time_machine.travel(APRIL_12, tick=False):
        answer = confirm(client, expired, card=card_in(client, expired))
        text = words(client.get(answer.headers["Location"]).text)

    assert (answer.status_code, answer.headers["Location"]) == (303, address(expired))
    assert "€113.74 is paid. Power BI Pro is active again until 30 Apr 2026." in text
    assert "Reactivated" in text
    assert (state(expired), charges()) == ("active", 2)


def test_a_new_card_is_entered_on_the_page_of_the_change(pat: User, expired: Subscription) -> None:
    client = client_of(pat)
    with time_machine.travel(APRIL_12, tick=False):
        pay_page = confirm(client, expired, card="new").headers["Location"].split("?")[0]
        shown = client.get(pay_page).text
        version = re.search(r'name="version" value="(\d+)"', shown)[1]
        token = card_token("pm_card_mastercard")

        answer = client.post(pay_page, {"version": version, "card": "new", "confirmation_token": token})

    assert "Reactivate Power BI Pro" in words(shown)
    assert "Pay €113.74 and reactivate" in words(shown)
    assert answer.headers["Location"] == address(expired)
    assert (state(expired), charges()) == ("active", 2)


def test_a_preview_of_yesterday_comes_back_with_todays(pat: User, expired: Subscription) -> None:
    expire_due(at=datetime(2026, 4, 30, 22, 0, tzinfo=UTC))
    client = client_of(pat)
    with time_machine.travel(MAY_12, tick=False):
        text = client.get(f"{address(expired)}reactivate/").text
        quote = html.unescape(re.search(r'name="quote" value="([^"]+)"', text)[1])
    forged = quote[:-1] + ("A" if quote[-1] != "A" else "B")

    with time_machine.travel(MAY_12, tick=False):
        answer = client.post(f"{address(expired)}reactivate/", {"quote": forged})

    assert answer.status_code == 422
    assert "Nothing was changed. Look at what it costs, and decide again." in words(answer.text)
    assert (state(expired), charges()) == ("disabled", 1)


def test_an_open_bill_comes_first_with_its_button(pat: User, expired: Subscription) -> None:
    with tenant_atomic(pat.tenant_id):
        bill = make_bill(expired, at=APRIL_12)

    with time_machine.travel(APRIL_12, tick=False):
        response = client_of(pat).get(f"{address(expired)}reactivate/")

    assert response.status_code == 409
    assert "Something is to be paid first" in words(response.text)
    assert f"/admin/billing/bills/{bill.number}/pay/" in response.text


def test_what_is_no_longer_allowed_says_every_reason(
    pat: User, expired: Subscription, contoso: Tenant
) -> None:
    gina = make_user(contoso, roles=(Role.GLOBAL_ADMIN,))
    with tenant_atomic(contoso.pk):
        keys = product_keys(product())
    set_product_policy(actor=actor_of(gina), product_keys=keys, value="Disabled", at=BOUGHT)
    expire_due(at=datetime(2026, 4, 30, 22, 0, tzinfo=UTC))

    with time_machine.travel(MAY_12, tick=False):
        text = page(client_of(pat), expired, status=403)

    assert "It cannot be brought back now" in text
    assert "Contoso" in text
    assert "Request a license" in text


def test_what_is_active_has_nothing_to_bring_back(pat: User, expired: Subscription) -> None:
    with use_login("worker"):
        Subscription.objects.update(state="active")

    assert "there is nothing to bring back" in page(client_of(pat), expired, status=409)


def test_a_central_one_is_brought_back_on_account(contoso: Tenant) -> None:
    gina = make_user(contoso, name="Gina", roles=(Role.GLOBAL_ADMIN,))
    subscription = make_central_subscription(gina, at=BOUGHT)
    set_recurring_billing(actor=actor_of(gina), key=subscription.key, on=False, version=0, at=BOUGHT)
    expire_due(at=APRIL_1)
    client = client_of(gina)

    with time_machine.travel(APRIL_12, tick=False):
        text = page(client, subscription)
        answer = confirm(client, subscription)

    assert "€242.00 on account for 1 Apr 2026 to 30 Apr 2026, to be paid in 30 days." in text
    assert "Reactivate for €242.00" in text
    assert "How you pay" not in text
    assert answer.headers["Location"] == address(subscription)
    assert (state(subscription), charges()) == ("active", 0)


def test_the_purchase_offers_it_and_the_cancel_page_leads_to_it(pat: User, expired: Subscription) -> None:
    client = client_of(pat)

    with time_machine.travel(APRIL_12, tick=False):
        purchase = client.get(address(expired)).text
        over = client.get(f"{address(expired)}cancel/").text

    assert f'{address(expired)}reactivate/">Reactivate' in purchase
    assert "It can still be renewed." in words(purchase)
    assert f'{address(expired)}reactivate/">Reactivate' in over
