"""The page on which added seats are paid: every state and every answer of the bank (product §5.4, F-18)."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client

from commerce.models import Card, Checkout, Subscription
from commerce.operations.payments import finish_checkout, pay_checkout
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import User
from tests.admin.test_seats_page import address as seats_address
from tests.admin.test_seats_page import quote_in, words
from tests.factories import actor_of, client_of, make_checkout, make_tenant, make_user
from tests.processor import authenticate, card_token, charges, fault, intents

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]


@pytest.fixture
def pat() -> User:
    return make_user(make_tenant(name="Contoso"), name="Pat Peters")


def buy(user: User, card: str = "pm_card_visa") -> Subscription:
    """Ten seats, bought today."""
    at = now()
    checkout = make_checkout(user, quantity=10, at=at)
    actor = actor_of(user, at=at)
    pay_checkout(actor=actor, key=checkout.key, confirmation_token=card_token(card), at=at)
    if intents()[0]["status"] == "requires_action":
        authenticate(intents()[0]["id"])
        finish_checkout(actor=actor, key=checkout.key, at=at)
    with tenant_atomic(user.tenant_id):
        user.refresh_from_db()
        return Subscription.objects.get()


@pytest.fixture
def subscription(pat: User) -> Subscription:
    return buy(pat)


def begin(client: Client, subscription: Subscription, **posted: str) -> Any:
    """Press the button of the seats page for four more."""
    quote = quote_in(client, subscription, quantity=14)
    return client.post(seats_address(subscription), {"quote": quote, **posted})


def open_page(client: Client, subscription: Subscription) -> str:
    """The address of the page on which four more are paid."""
    location: str = begin(client, subscription, card="new").headers["Location"]
    return location.split("?")[0]


def shown_version(client: Client, page: str) -> str:
    text = client.get(page).text
    return text.split('name="version" value="')[1].split('"')[0]


def card_of(user: User) -> str:
    with tenant_atomic(user.tenant_id):
        return str(Card.objects.get().pk)


def quantity(subscription: Subscription) -> int:
    with tenant_atomic(subscription.tenant_id):
        return Subscription.objects.get().quantity


def purchase_address(subscription: Subscription) -> str:
    return f"/admin/billing/your-products/{subscription.key}/"


def test_one_click_on_the_seats_page_pays_with_the_saved_card(pat: User, subscription: Subscription) -> None:
    client = client_of(pat)

    answer = begin(client, subscription, card=card_of(pat))

    assert answer.status_code == 303
    assert answer.headers["Location"] == purchase_address(subscription)
    text = words(client.get(answer.headers["Location"]).text)
    assert "€45.50 is paid. You have 14 licenses now, 13 of them free." in text
    assert "4 licenses added" in text
    assert (charges(), quantity(subscription)) == (2, 14)


def test_a_second_click_on_the_seats_page_finds_it_paid(pat: User, subscription: Subscription) -> None:
    client = client_of(pat)
    quote = quote_in(client, subscription, quantity=14)
    posted = {"quote": quote, "card": card_of(pat)}
    client.post(seats_address(subscription), posted)

    again = client.post(seats_address(subscription), posted, follow=True)

    assert again.redirect_chain[-1][0] == purchase_address(subscription)
    assert (charges(), quantity(subscription)) == (2, 14)


def test_the_page_says_what_is_paid_with_what(pat: User, subscription: Subscription) -> None:
    client = client_of(pat)

    response = client.get(open_page(client, subscription))

    text = words(response.text)
    assert "Add 4 licenses" in text
    assert "4 licenses \u00d7 €9.40 \u00d7" in text
    assert "Visa ending in 4242" in text
    assert "You pay, personally. Contoso is not charged." in text
    assert "Pay €45.50 and add 4" in text
    policy = response.headers["Content-Security-Policy"]
    assert "frame-src http://127.0.0.1" in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]


def test_a_new_card_pays_by_its_token(pat: User, subscription: Subscription) -> None:
    client = client_of(pat)
    page = open_page(client, subscription)
    posted = {"version": shown_version(client, page), "card": "new"}

    answer = client.post(page, posted | {"confirmation_token": card_token("pm_card_mastercard")})

    assert answer.headers["Location"] == purchase_address(subscription)
    assert quantity(subscription) == 14


def test_without_script_a_new_card_is_explained_and_nothing_charged(
    pat: User, subscription: Subscription
) -> None:
    client = client_of(pat)
    page = open_page(client, subscription)

    answer = client.post(page, {"version": shown_version(client, page), "card": "new"})

    assert answer.status_code == 422
    assert "Nothing was charged: the card is missing." in words(answer.text)
    assert (charges(), quantity(subscription)) == (1, 10)


@pytest.mark.parametrize("card", ["", "999999999", "abc", "-1"])
def test_a_card_that_is_not_ones_own_is_no_choice(pat: User, subscription: Subscription, card: str) -> None:
    client = client_of(pat)
    page = open_page(client, subscription)

    answer = client.post(page, {"version": shown_version(client, page), "card": card})

    assert answer.status_code == 422
    assert "Choose one of the cards." in words(answer.text)
    assert charges() == 1


def test_a_declined_card_leaves_the_page_and_another_one_pays(pat: User, subscription: Subscription) -> None:
    client = client_of(pat)
    page = open_page(client, subscription)
    posted = {"version": shown_version(client, page), "card": "new"}
    declined = card_token("pm_card_visa_chargeDeclinedInsufficientFunds")

    answer = client.post(page, posted | {"confirmation_token": declined}, follow=True)

    assert answer.redirect_chain == [(page, 303)]
    text = words(answer.text)
    assert "The card has not enough funds. Nothing was charged. Try another card." in text
    assert "Nothing has changed yet." in text
    assert (charges(), quantity(subscription)) == (1, 10)

    paid = client.post(page, {"version": shown_version(client, page), "card": card_of(pat)})

    assert paid.headers["Location"] == purchase_address(subscription)
    assert (charges(), quantity(subscription)) == (2, 14)


def test_the_banks_confirmation_is_asked_on_a_page_of_its_own_in_every_tab(pat: User) -> None:
    subscription = buy(pat, "pm_card_threeDSecure2Required")
    client = client_of(pat)
    answer = begin(client, subscription, card=card_of(pat))
    page = answer.headers["Location"]
    for tab in (client, client_of(pat)):
        assert f'data-client-secret="{intents()[0]["id"]}_secret_' in tab.get(page).text
    assert quantity(subscription) == 10
    authenticate(intents()[0]["id"])

    done = client.get(page, follow=True)

    assert done.redirect_chain == [(purchase_address(subscription), 303)]
    assert "€45.50 is paid. You have 14 licenses now" in words(done.text)
    assert charges() == 2


def test_what_was_settled_elsewhere_while_the_bank_was_asked_is_said_once(pat: User) -> None:
    subscription = buy(pat, "pm_card_authenticationRequired")
    client = client_of(pat)
    page = begin(client, subscription, card=card_of(pat)).headers["Location"]
    authenticate(intents()[0]["id"])
    with tenant_atomic(pat.tenant_id):
        key = Checkout.objects.get(kind="add_seats").key
    finish_checkout(actor=actor_of(pat, at=now()), key=key, at=now())

    back = words(client.get(page, follow=True).text)
    again = words(client.get(page, follow=True).text)

    assert "€45.50 is paid. You have 14 licenses now" in back
    assert "is paid. You have 14 licenses now" not in again


def waiting(user: User) -> tuple[Client, Subscription, str]:
    """Ten seats, and the page of four more whose payment waits for the bank."""
    subscription = buy(user, "pm_card_authenticationRequired")
    client = client_of(user)
    page = begin(client, subscription, card=card_of(user)).headers["Location"]
    assert "Confirm with your bank" in client.get(page).text
    return client, subscription, page


def change_state(user: User) -> str:
    with tenant_atomic(user.tenant_id):
        return str(Checkout.objects.get(kind="add_seats").state)


def test_the_purchase_and_the_start_page_lead_to_a_payment_that_waits_for_the_bank(pat: User) -> None:
    colleague = make_user(pat.tenant)
    client, subscription, page = waiting(pat)

    for address in (purchase_address(subscription), "/"):
        text = client.get(address).text
        assert "€45.50 for Power BI Pro waits for your bank" in words(text)
        assert f'href="{page}"' in text
    assert "waits for your bank" not in client_of(colleague).get("/").text


def test_a_payment_that_waits_for_the_bank_can_be_dropped(pat: User) -> None:
    client, subscription, page = waiting(pat)

    dropped = client.post(page, {"action": "drop"}, follow=True)

    assert dropped.redirect_chain == [(purchase_address(subscription), 303)]
    assert "The payment is dropped. Nothing was charged, and nothing has changed." in words(dropped.text)
    assert "waits for your bank" not in words(dropped.text)
    assert intents()[0]["status"] == "canceled"
    assert (change_state(pat), charges(), quantity(subscription)) == ("abandoned", 1, 10)


def test_one_that_was_approved_meanwhile_is_paid_and_not_dropped(pat: User) -> None:
    client, subscription, page = waiting(pat)
    authenticate(intents()[0]["id"])

    answered = client.post(page, {"action": "drop"}, follow=True)

    assert "is paid. You have 14 licenses now" in words(answered.text)
    assert (change_state(pat), charges(), quantity(subscription)) == ("paid", 2, 14)


def test_while_the_bank_waits_another_card_can_be_used(pat: User) -> None:
    client, subscription, page = waiting(pat)

    form = client.post(page, {"action": "another-card"}, follow=True)
    posted = {"version": shown_version(client, page), "card": "new"}
    client.post(page, posted | {"confirmation_token": card_token("pm_card_mastercard")})

    assert "How you pay" in words(form.text)
    assert 'role="alert" id="problem"' not in form.text
    assert (change_state(pat), charges(), quantity(subscription)) == ("paid", 2, 14)


def test_what_cannot_be_ended_now_goes_on_waiting(pat: User) -> None:
    client, _subscription, page = waiting(pat)
    fault("error", "/v1/payment_intents/*/cancel", status=503, count=9)

    answered = client.post(page, {"action": "drop"}, follow=True)

    assert "Confirm with your bank" in answered.text
    assert change_state(pat) == "action"


def test_nobody_drops_anothers_payment(pat: User) -> None:
    admin = make_user(pat.tenant, roles=("global_admin",))
    _client, _subscription, page = waiting(pat)

    answer = client_of(admin).post(page, {"action": "drop"})

    assert answer.status_code == 404
    assert change_state(pat) == "action"


def test_a_lost_answer_shows_the_page_that_looks_again(pat: User, subscription: Subscription) -> None:
    client = client_of(pat)
    fault("lose_answer", "/v1/payment_intents/*/confirm")
    fault("error", "/v1/payment_intents/*", method="GET", count=3)
    answer = begin(client, subscription, card=card_of(pat))

    waiting = client.get(answer.headers["Location"])

    assert "Your payment is under way" in words(waiting.text)
    assert '<meta http-equiv="refresh" content="4">' in waiting.text
    done = client.get(answer.headers["Location"])
    assert done.headers["Location"] == purchase_address(subscription)
    assert (charges(), quantity(subscription)) == (2, 14)


def test_the_processor_away_leaves_the_page_open(pat: User, subscription: Subscription) -> None:
    client = client_of(pat)
    page = open_page(client, subscription)
    posted = {"version": shown_version(client, page), "card": card_of(pat)}
    fault("lose_request", "/v1/payment_intents", count=3)
    away = client.post(page, posted)

    done = client.get(page)

    assert away.headers["Location"] == page

    assert done.headers["Location"] == purchase_address(subscription)
    assert (charges(), quantity(subscription)) == (2, 14)


def test_an_open_page_of_yesterday_shows_todays_sum_and_charges_it(
    pat: User, subscription: Subscription
) -> None:
    client = client_of(pat)
    page = open_page(client, subscription)
    old = shown_version(client, page)

    with time_machine.travel(now() + timedelta(hours=23, minutes=50)):
        fresh = client_of(pat)
        refused = fresh.post(page, {"version": old, "card": card_of(pat)})
        version = shown_version(fresh, page)
        paid = fresh.post(page, {"version": version, "card": card_of(pat)})

    assert refused.status_code == 409
    assert "The total is now " in words(refused.text)
    assert paid.headers["Location"] == purchase_address(subscription)
    with tenant_atomic(pat.tenant_id):
        assert Checkout.objects.get(kind="add_seats").total_minor < 4_550


def test_one_that_was_kept_for_a_day_says_so(pat: User, subscription: Subscription) -> None:
    client = client_of(pat)
    page = open_page(client, subscription)

    with time_machine.travel(now() + timedelta(hours=25)):
        answer = client_of(pat).get(page, follow=True)

    assert answer.redirect_chain == [(purchase_address(subscription), 303)]
    assert "Nothing was charged for it." in words(answer.text)
    assert quantity(subscription) == 10


def test_too_many_tries_are_stopped(pat: User, subscription: Subscription, settings: Any) -> None:
    settings.BUYS_PER_MINUTE = 1
    client = client_of(pat)
    page = open_page(client, subscription)
    posted = {"version": shown_version(client, page), "card": "new"}
    client.post(page, posted | {"confirmation_token": card_token("pm_card_visa_chargeDeclined")})

    answer = client.post(page, posted | {"confirmation_token": card_token()})

    assert answer.status_code == 429
    assert (charges(), quantity(subscription)) == (1, 10)


def test_another_purchases_change_is_not_here(pat: User, subscription: Subscription) -> None:
    client = client_of(pat)
    page = open_page(client, subscription)
    other = page.replace(str(subscription.key), "0b6ad7c5-47f8-4ac4-9c53-0c2ab0a0ab35")

    assert client.get(other).status_code == 404
    assert client_of(make_user(make_tenant())).get(page).status_code == 404
