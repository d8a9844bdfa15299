"""Paying on the page: every way to press the button leads to one order (product §3.4, §3.5, F-18)."""

import uuid
from typing import Any

import pytest
from django.test import Client

from commerce.models import Bill, Card, Checkout, Order
from commerce.operations.payments import Saved, save_card
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import User
from tests.commerce.test_checkout_pages import checkout_of, enter, fields, text
from tests.factories import actor_of, client_of, make_card, make_tenant, make_user
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


# --- A saved card ----------------------------------------------------------------------------------------


def bought_before(user: User, card: str = "pm_card_visa") -> Card:
    """The card with which the person bought Power BI Pro."""
    client, address = enter(user)
    pay(client, address, user, card=card)
    if intents()[0]["status"] == "requires_action":
        authenticate(intents()[0]["id"])
        client.get(address)
    with tenant_atomic(user.tenant_id):
        return Card.objects.get()


def kept_card(user: User, card: str) -> Card:
    """Another card of a person who bought before."""
    with tenant_atomic(user.tenant_id):
        user.refresh_from_db()
    outcome = save_card(
        actor=actor_of(user, at=now()),
        key=uuid.uuid4(),
        for_organization=False,
        confirmation_token=card_token(card),
        at=now(),
    )
    assert isinstance(outcome, Saved)
    return outcome.card


def tries_on(page: str) -> str:
    return page.split('name="tries" value="')[1].split('"')[0]


def pay_with(client: Client, address: str, user: User, card: Card, **changes: str) -> Any:
    shown = text(client.get(address))
    posted = fields(user, card=str(card.pk), tries=tries_on(shown), **changes)
    return client.post(address, posted)


def test_who_bought_before_pays_with_the_saved_card(mike: User) -> None:
    card = bought_before(mike)
    client, address = enter(mike)

    shown = text(client.get(address))
    answer = pay_with(client, address, mike, card)

    assert f'name="card" value="{card.pk}" checked' in shown
    assert "Visa ending in 4242" in shown
    assert answer.headers["Location"] == f"{address}confirmation/"
    assert (orders(mike), charges()) == (2, 2)


def test_a_second_click_with_the_saved_card_charges_nothing_more(mike: User) -> None:
    card = bought_before(mike)
    client, address = enter(mike)
    posted = fields(mike, card=str(card.pk), tries=tries_on(text(client.get(address))))

    client.post(address, posted)
    again = client.post(address, posted)

    assert again.headers["Location"] in (address, f"{address}confirmation/")
    assert (orders(mike), charges()) == (2, 2)


def test_a_saved_card_whose_bank_asks_is_confirmed_at_the_same_address(mike: User) -> None:
    card = bought_before(mike, "pm_card_authenticationRequired")
    client, address = enter(mike)

    answer = pay_with(client, address, mike, card)

    assert answer.headers["Location"] == address
    assert "Confirm with your bank" in text(client.get(address))
    authenticate(intents()[0]["id"])
    assert client.get(address).headers["Location"] == f"{address}confirmation/"
    assert charges() == 2


def test_a_saved_card_that_is_declined_is_marked_and_another_one_chosen(mike: User) -> None:
    good = bought_before(mike)
    bad = kept_card(mike, "pm_card_chargeCustomerFail")
    client, address = enter(mike)
    posted = fields(mike, card=str(bad.pk), tries=tries_on(text(client.get(address))))

    client.post(address, posted)
    shown = text(client.get(address))
    client.post(address, posted)

    assert 'role="alert"' in shown
    assert shown.count("Declined on") == 1
    assert f'name="card" value="{good.pk}" checked' in shown
    assert len(intents()) == 2
    assert (orders(mike), charges()) == (1, 1)


@pytest.mark.parametrize("chosen", ["0", "x", "99999999999999999999", "colleague's"])
def test_a_card_that_is_not_the_buyers_is_refused(mike: User, chosen: str) -> None:
    if chosen == "colleague's":
        chosen = str(make_card(mike.tenant, make_user(mike.tenant)).pk)
    client, address = enter(mike)

    answer = client.post(address, fields(mike, card=chosen, tries=tries_on(text(client.get(address)))))

    assert answer.status_code == 422
    assert "Choose one of the cards." in text(answer)
    assert charges() == 0


def test_an_expired_card_is_not_offered(mike: User) -> None:
    card = make_card(mike.tenant, mike, last4="1111", expires_year=2020, expires_month=1)
    client, address = enter(mike)

    shown = text(client.get(address))

    assert "1111" not in shown
    assert f'value="{card.pk}"' not in shown


# --- While the bank waits --------------------------------------------------------------------------------


def waiting(user: User) -> tuple[Client, str]:
    client, address = enter(user)
    pay(client, address, user, card="pm_card_threeDSecure2Required")
    assert "Confirm with your bank" in text(client.get(address))
    return client, address


def test_a_purchase_that_waits_for_the_bank_is_on_the_start_page_and_can_be_dropped(mike: User) -> None:
    client, address = waiting(mike)
    start = text(client.get("/"))

    dropped = client.post(address, {"action": "drop"})

    assert "€11.37 for Power BI Pro waits for your bank" in start
    assert f'action="{address}"' in start
    assert dropped.headers["Location"] == "/products/power-bi-pro/"
    assert "The purchase is dropped. Nothing was charged." in text(client.get("/products/power-bi-pro/"))
    assert intents()[0]["status"] == "canceled"
    assert (checkout_of(mike).state, orders(mike), charges()) == ("abandoned", 0, 0)


def test_a_purchase_that_waits_for_the_bank_takes_another_card(mike: User) -> None:
    client, address = waiting(mike)

    client.post(address, {"action": "another-card"})
    form = text(client.get(address))
    paid = pay(client, address, mike)

    assert "Check and pay" in form
    assert 'role="alert" tabindex' not in form
    assert paid.headers["Location"] == f"{address}confirmation/"
    assert (orders(mike), charges()) == (1, 1)
