"""Paying on the page: every way to press the button leads to one order (product §3.4, §3.5, F-18)."""

from typing import Any

import pytest
from django.test import Client

from commerce.models import Bill, Checkout, Order
from config.kit.tenancy import tenant_atomic
from directory.models import User
from tests.commerce.test_checkout_pages import checkout_of, enter, fields, text
from tests.factories import client_of, make_tenant, make_user
from tests.processor import authenticate, card_token, charges, fault, intents

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]


@pytest.fixture
def mike() -> User:
    return make_user(make_tenant(name="Contoso"), name="Mike Bos", email="mike@contoso.example")


def pay(client: Client, address: str, user: User, card: str = "pm_card_visa", **changes: str) -> Any:
    changes.setdefault("confirmation_token", card_token(card))
    return client.post(address, fields(user, **changes))


def orders(user: User) -> int:
    with tenant_atomic(user.tenant_id):
        return int(Order.objects.count())


def test_paying_leads_to_the_confirmation_with_everything_on_it(mike: User) -> None:
    client, address = enter(mike, "?quantity=2")

    answer = pay(client, address, mike, quantity="2", seen_total="2275")

    assert answer.status_code == 303
    assert answer.headers["Location"] == f"{address}confirmation/"
    page = text(client.get(f"{address}confirmation/"))
    with tenant_atomic(mike.tenant_id):
        bill = Bill.objects.get()
    assert "You have Power BI Pro" in page
    assert "€22.75 is paid. One license is yours already, one is free for a colleague." in page
    assert f'href="/admin/billing/bills/{bill.number}/">{bill.number}</a>' in page
    assert f'href="/admin/billing/bills/{bill.number}/pdf/"' in page
    assert client.get(f"/admin/billing/bills/{bill.number}/").status_code == 200
    assert "€22.75 (with €3.95 VAT), Visa ending in 4242" in page
    assert "mike@contoso.example" in page
    assert 'href="/apps/power-bi-pro/"' in page
    assert "Assign the free license" in page
    assert "Learn and get help" in page
    assert "https://learn.microsoft.com/en-us/training/powerplatform/power-bi" in page
    assert charges() == 1


def test_without_the_first_license_all_are_free(mike: User) -> None:
    client, address = enter(mike)
    unticked = fields(mike, confirmation_token=card_token())
    del unticked["takes_first_license"]

    client.post(address, unticked)

    assert "€11.37 is paid. The license is free to assign." in text(client.get(f"{address}confirmation/"))


def test_reload_back_and_a_second_click_lead_to_the_same_order(mike: User) -> None:
    client, address = enter(mike)
    pay(client, address, mike)

    again = pay(client, address, mike)
    back = client.get(address)
    changed = client.post(address, fields(mike, action="update", quantity="9"))

    assert again.headers["Location"] == address
    assert back.headers["Location"] == f"{address}confirmation/"
    assert changed.headers["Location"] == address
    assert (charges(), orders(mike)) == (1, 1)


def test_after_paying_buy_opens_another_checkout_with_the_address_filled_in(mike: User) -> None:
    client, address = enter(mike)
    pay(client, address, mike, city="Delft")

    fresh = client.get("/buy/power-bi-pro/").headers["Location"]

    assert fresh != address
    page = text(client.get(fresh))
    assert 'value="Delft"' in page
    assert 'id="id_agrees_to_terms" required>' in page  # consent is asked for each purchase


def test_the_banks_confirmation_is_asked_at_the_same_address_in_every_tab(mike: User) -> None:
    client, address = enter(mike)

    answer = pay(client, address, mike, "pm_card_authenticationRequired")

    assert answer.headers["Location"] == address
    page = text(client.get(address))
    assert "Confirm with your bank" in page
    assert f'data-client-secret="{intents()[0]["id"]}_secret_' in page
    tab = client_of(mike)
    assert tab.get("/buy/power-bi-pro/").headers["Location"] == address
    assert "Confirm with your bank" in text(tab.get(address))
    assert (charges(), orders(mike)) == (0, 0)

    authenticate(intents()[0]["id"])

    assert client.get(address).headers["Location"] == f"{address}confirmation/"
    assert tab.get(address).headers["Location"] == f"{address}confirmation/"
    assert (charges(), orders(mike)) == (1, 1)


def test_a_confirmation_that_fails_leaves_the_form_and_takes_another_card(mike: User) -> None:
    client, address = enter(mike)
    pay(client, address, mike, "pm_card_authenticationRequired", city="Delft")
    authenticate(intents()[0]["id"], succeeds=False)

    assert client.get(address).headers["Location"] == address
    page = text(client.get(address))
    assert "The payment was not confirmed with your bank. Nothing was charged." in page
    assert 'value="Delft"' in page

    assert pay(client, address, mike).headers["Location"] == f"{address}confirmation/"
    assert (charges(), orders(mike)) == (1, 1)


def test_a_declined_card_leaves_the_form_and_another_card_pays(mike: User) -> None:
    client, address = enter(mike, "?quantity=2")

    answer = pay(
        client,
        address,
        mike,
        "pm_card_visa_chargeDeclinedInsufficientFunds",
        quantity="2",
        seen_total="2275",
        city="Delft",
    )

    assert answer.headers["Location"] == address
    page = text(client.get(address))
    assert "The card has not enough funds. Nothing was charged. Try another card." in page
    assert 'value="Delft"' in page
    assert 'id="id_agrees_to_terms" required checked>' in page
    assert (charges(), orders(mike)) == (0, 0)

    again = pay(client, address, mike, quantity="2", seen_total="2275")
    assert again.headers["Location"] == f"{address}confirmation/"
    assert (charges(), orders(mike)) == (1, 1)


def test_while_the_processor_is_away_nothing_is_charged_and_a_reload_finds_out(mike: User) -> None:
    client, address = enter(mike)
    token = card_token()
    fault("lose_answer", "/v1/payment_intents/*/confirm")

    answer = pay(client, address, mike, confirmation_token=token)

    assert answer.headers["Location"] == address
    assert client.get(address).headers["Location"] == f"{address}confirmation/"
    assert (charges(), orders(mike)) == (1, 1)


def test_a_payment_under_way_shows_a_page_that_looks_again(mike: User) -> None:
    client, address = enter(mike)
    fault("lose_answer", "/v1/payment_intents/*/confirm")
    pay(client, address, mike)
    fault("error", "/v1/payment_intents/*", method="GET", status=503, count=5)

    answer = client.get(address)

    assert answer.status_code == 200
    assert "Your payment is under way" in text(answer)
    assert '<meta http-equiv="refresh" content="4">' in text(answer)
    assert charges() == 1


def test_more_than_the_allowed_tries_a_minute_are_not_made(mike: User, settings: Any) -> None:
    settings.BUYS_PER_MINUTE = 1
    client, address = enter(mike)
    pay(client, address, mike, "pm_card_visa_chargeDeclinedInsufficientFunds")

    answer = pay(client, address, mike)

    assert answer.status_code == 429
    assert "Too many tries in a short time." in text(answer)
    assert (charges(), orders(mike)) == (0, 0)


def test_what_is_charged_is_the_servers_sum_in_the_markets_currency(mike: User) -> None:
    client, address = enter(mike)
    forged = {"amount": "1", "total_minor": "1", "currency": "vnd", "unit_price_minor": "1"}

    client.post(address, fields(mike, confirmation_token=card_token()) | forged)

    intent = intents()[0]
    assert (intent["amount"], intent["currency"], intent["status"]) == (1137, "eur", "succeeded")


def test_the_confirmation_asks_the_database_seldom(mike: User, django_assert_max_num_queries: Any) -> None:
    client, address = enter(mike)
    pay(client, address, mike)

    with django_assert_max_num_queries(22):
        client.get(f"{address}confirmation/")


def test_the_paid_checkout_is_told_from_the_open_one(mike: User) -> None:
    client, address = enter(mike)
    pay(client, address, mike)

    assert checkout_of(mike).state == Checkout.State.PAID
