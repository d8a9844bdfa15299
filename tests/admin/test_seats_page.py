"""The page of the number of seats: what it says before the click, what a click does (product §5.4, design 06-seats)."""

import html
import re
from datetime import timedelta

import pytest
import time_machine
from django.test import Client

from commerce.models import Bill, Checkout, Subscription
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from directory.permissions import Role
from tests.factories import (
    AT,
    client_of,
    make_central_subscription,
    make_relationship,
    make_self_service_subscription,
    make_subscription,
    make_tenant,
    make_user,
    plan,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])

# Ten days into a period of 31 days.
LATER = AT + timedelta(days=10)


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


def address(subscription: Subscription) -> str:
    return f"/admin/billing/your-products/{subscription.key}/seats/"


def page(client: Client, subscription: Subscription, **choice: object) -> str:
    response = client.get(address(subscription), choice)
    assert response.status_code == 200
    return words(response.text)


def words(text: str) -> str:
    """What one reads, on one line."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", text)))


def quote_in(client: Client, subscription: Subscription, **choice: object) -> str:
    text = client.get(address(subscription), choice).text
    return html.unescape(re.search(r'name="quote" value="([^"]+)"', text)[1])


def now_of(subscription: Subscription) -> Subscription:
    with tenant_atomic(subscription.tenant_id):
        return Subscription.objects.get(pk=subscription.pk)


def checkouts(subscription: Subscription) -> list[tuple[int, int, str]]:
    with tenant_atomic(subscription.tenant_id):
        rows = Checkout.objects.filter(subscription=subscription).order_by("id")
        return list(rows.values_list("quantity", "total_minor", "state"))


def test_shows_todays_number_and_nothing_to_confirm(pat: User, subscription: Subscription) -> None:
    text = page(client_of(pat), subscription)

    assert "Now 10, of which 1 assigned" in text
    assert "This is the number that you have." in text


def test_says_what_four_more_cost_and_when_before_the_click(pat: User, subscription: Subscription) -> None:
    text = page(client_of(pat), subscription, quantity=14)

    assert "4 licenses \u00d7 €9.40 \u00d7 21 of 31 days €25.47" in text
    assert "VAT 21% €5.35" in text
    assert "Today €30.82" in text
    assert "Today, 20 Mar 2026 10 → 14 licenses, 13 free. €30.82 is charged." in text
    assert "Until 27 Mar 2026, 10:30 Go back to 10 and get the unused days of these 4 refunded." in text
    assert "10 Apr 2026 Renews: 14 licenses, €159.24 to Visa ending in 4242 (now €113.74)." in text
    assert "Pay €30.82 and add 4" in text
    assert "Visa ending in 4242 Expires 12/2030" in text


def test_says_that_the_renewal_costs_nothing_today(pat: User, subscription: Subscription) -> None:
    text = page(client_of(pat), subscription, quantity=14, when="renewal")

    assert "Today €0.00" in text
    assert "Schedule 14 licenses for 10 Apr 2026" in text


@pytest.mark.parametrize(
    ("typed", "step", "shown"),
    [("12", "more", "13"), ("12", "less", "11"), ("1", "less", "1"), ("300", "more", "300")],
)
def test_minus_and_plus_work_without_script(
    pat: User, subscription: Subscription, typed: str, step: str, shown: str
) -> None:
    text = client_of(pat).get(address(subscription), {"quantity": typed, "step": step}).text

    assert f'value="{shown}" aria-describedby' in text


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("0", "Choose 1 to 300 licenses in all. To have none, cancel instead."),
        ("301", "Choose 1 to 300 licenses in all."),
        ("-1", "Enter a whole number, such as 12."),
        ("1e3", "Enter a whole number"),
        ("٣", "Enter a whole number"),
        ("9" * 40, "Enter a whole number"),
        ("", "Enter a whole number"),
    ],
)
def test_a_number_that_cannot_be_is_explained(
    pat: User, subscription: Subscription, typed: str, said: str
) -> None:
    text = page(client_of(pat), subscription, quantity=typed)

    assert said in text
    assert "Nothing can be confirmed yet." in text


def test_not_below_those_assigned_with_the_way_to_take_them_back(
    pat: User, subscription: Subscription
) -> None:
    with tenant_atomic(pat.tenant_id):
        Subscription.objects.update(assigned=7)

    response = client_of(pat).get(address(subscription), {"quantity": 5})

    assert "7 licenses are assigned. Take 2 back first." in words(response.text)
    assert (
        f'<a href="/admin/billing/your-products/{subscription.key}/">take licenses back</a>' in response.text
    )


def test_a_click_on_now_leads_to_paying_that_sum(pat: User, subscription: Subscription) -> None:
    client = client_of(pat)
    quote = quote_in(client, subscription, quantity=14)

    answer = client.post(address(subscription), {"quote": quote, "card": "new"})

    assert answer.status_code == 303
    assert checkouts(subscription) == [(4, 3_082, "open")]
    paying = words(client.get(answer.headers["Location"]).text)
    assert "Add 4 licenses" in paying
    assert "Pay €30.82 and add 4" in paying
    assert now_of(subscription).quantity == 10


def test_two_clicks_begin_one_payment(pat: User, subscription: Subscription) -> None:
    client = client_of(pat)
    quote = quote_in(client, subscription, quantity=14)

    first = client.post(address(subscription), {"quote": quote, "card": "new"})
    second = client.post(address(subscription), {"quote": quote, "card": "new"})

    assert first.headers["Location"] == second.headers["Location"]
    assert checkouts(subscription) == [(4, 3_082, "open")]


def test_another_number_ends_the_payment_begun_before(pat: User, subscription: Subscription) -> None:
    client = client_of(pat)
    client.post(address(subscription), {"quote": quote_in(client, subscription, quantity=14), "card": "new"})

    client.post(address(subscription), {"quote": quote_in(client, subscription, quantity=12), "card": "new"})

    assert checkouts(subscription) == [(4, 3_082, "abandoned"), (2, 1_542, "open")]


def test_a_preview_of_yesterday_is_refused_with_todays_sum(pat: User, subscription: Subscription) -> None:
    client = client_of(pat)
    quote = quote_in(client, subscription, quantity=14)

    with time_machine.travel(LATER + timedelta(days=1), tick=False):
        answer = client_of(pat).post(address(subscription), {"quote": quote, "card": "new"})

    assert answer.status_code == 409
    text = words(answer.text)
    assert "The sum is another one than the page showed you. Nothing was charged." in text
    assert "Pay €29.35 and add 4" in text
    assert checkouts(subscription) == []


def test_a_preview_of_an_older_state_is_refused(pat: User, subscription: Subscription) -> None:
    client = client_of(pat)
    quote = quote_in(client, subscription, quantity=14)
    with tenant_atomic(pat.tenant_id):
        Subscription.objects.update(version=9)

    answer = client.post(address(subscription), {"quote": quote, "card": "new"})

    assert answer.status_code == 409
    assert "This has changed since you opened the page." in words(answer.text)
    assert checkouts(subscription) == []


@pytest.mark.parametrize("change", ["forged", "of another purchase", "none"])
def test_only_our_own_preview_of_this_purchase_counts(
    contoso: Tenant, pat: User, subscription: Subscription, change: str
) -> None:
    client = client_of(pat)
    other = make_subscription(contoso, owner=pat)
    quotes = {
        "forged": quote_in(client, subscription, quantity=14)[:-1] + "x",
        "of another purchase": quote_in(client, other, quantity=14, when="renewal"),
        "none": "",
    }

    answer = client.post(
        address(subscription), {"quote": quotes[change], "quantity": "300", "total_minor": "1"}
    )

    assert answer.status_code == 422
    assert (now_of(subscription).quantity, now_of(subscription).next_quantity) == (10, None)
    assert checkouts(subscription) == []


def test_schedules_for_the_renewal_and_takes_it_back(pat: User, subscription: Subscription) -> None:
    client = client_of(pat)
    quote = quote_in(client, subscription, quantity=8, when="renewal")

    answer = client.post(address(subscription), {"quote": quote}, follow=True)

    assert "From 10 Apr 2026 on it is 8 licenses." in words(answer.text)
    assert now_of(subscription).next_quantity == 8
    shown = page(client, subscription)
    assert "8 licenses are scheduled for 10 Apr 2026" in shown
    assert "Take it back and stay at 10" in shown

    back = quote_in(client, subscription, quantity=10, when="renewal")
    client.post(address(subscription), {"quote": back})

    assert now_of(subscription).next_quantity is None


def test_without_recurring_billing_there_is_no_renewal_to_wait_for(
    pat: User, subscription: Subscription
) -> None:
    with tenant_atomic(pat.tenant_id):
        Subscription.objects.update(recurring_billing=False)

    text = page(client_of(pat), subscription, quantity=14)

    assert "Recurring billing is off, so there is no renewal. Turn it on first." in text
    assert "10 Apr 2026" not in text.split("If you confirm")[1]
    assert "9 Apr 2026 It ends: recurring billing is off." in text


def test_a_contested_charge_stops_more_and_not_fewer(pat: User, subscription: Subscription) -> None:
    with tenant_atomic(pat.tenant_id):
        Subscription.objects.update(disputed_at=LATER)

    more = page(client_of(pat), subscription, quantity=14)
    fewer = page(client_of(pat), subscription, quantity=8)

    assert "Until that is decided no licenses are added or refunded." in more
    assert "This number cannot be had" in more
    assert "Schedule 8 licenses for 10 Apr 2026" in fewer


def test_a_sum_that_no_card_can_be_charged_with_is_explained(pat: User, subscription: Subscription) -> None:
    with time_machine.travel(AT + timedelta(days=30), tick=False):
        text = page(client_of(pat), subscription, quantity=11)

    assert "€0.36 is less than a card can be charged with, which is €0.50." in text
    assert "Schedule 11 licenses for 10 Apr 2026" in text


def test_an_admin_adds_to_a_central_purchase_on_account_at_once(contoso: Tenant) -> None:
    bill = make_user(contoso, roles=(Role.BILLING_ADMIN,))
    central = make_central_subscription(bill, quantity=25)
    client = client_of(bill)
    text = page(client, central, quantity=30)
    assert "25 → 30 licenses, 30 free. €32.79 on account, to be paid in 30 days." in text
    assert "Add 5 licenses for €32.79" in text
    quote = quote_in(client, central, quantity=30)

    answer = client.post(address(central), {"quote": quote}, follow=True)
    again = client.post(address(central), {"quote": quote})

    assert "You have 30 licenses now, 30 of them free." in words(answer.text)
    assert again.status_code == 409
    assert now_of(central).quantity == 30
    with tenant_atomic(contoso.pk):
        added = Bill.objects.get(type="add_seats")
        assert (added.collection, added.status, added.total_minor) == ("on_account", "open", 3_279)
        assert added.due_at == LATER + timedelta(days=30)


def test_a_partner_with_the_role_adds_on_account(contoso: Tenant) -> None:
    central = make_central_subscription(make_user(contoso, roles=(Role.BILLING_ADMIN,)), quantity=25)
    northwind = make_tenant(name="Northwind")
    petra = make_user(northwind)
    make_relationship(contoso, northwind, users=(petra,))
    client = client_of(petra, contoso)
    quote = quote_in(client, central, quantity=26)

    client.post(address(central), {"quote": quote, "shown_for_tenant": contoso.pk})

    assert now_of(central).quantity == 26


def test_an_admin_sees_a_colleagues_purchase_and_may_not_change_it(
    contoso: Tenant, subscription: Subscription
) -> None:
    gina = make_user(contoso, roles=(Role.GLOBAL_ADMIN,))

    assert client_of(gina).get(address(subscription)).status_code == 403
    assert client_of(gina).post(address(subscription), {"quote": ""}).status_code == 403


def test_an_ended_purchase_has_no_number_to_change(contoso: Tenant, pat: User) -> None:
    ended = make_subscription(contoso, owner=pat, state="expired")

    assert client_of(pat).get(address(ended)).status_code == 409


def test_a_yearly_term_paid_monthly_is_charged_to_the_end_of_the_month(pat: User) -> None:
    yearly = make_self_service_subscription(pat, plan=plan("power-bi-pro", "yearly-monthly"))

    text = page(client_of(pat), yearly, quantity=14)

    assert "of 31 days" in text
    assert "At the renewal, 10 Mar 2027" in text


def test_says_what_fewer_give_back_and_removes_them(pat: User, subscription: Subscription) -> None:
    with time_machine.travel(AT + timedelta(days=3), tick=False):
        client = client_of(pat)
        text = page(client, subscription, quantity=8)
        quote = quote_in(client, subscription, quantity=8)
        answer = client.post(address(subscription), {"quote": quote}, follow=True)

    assert "Unused days of 2 licenses \u2212€16.37 VAT 21% \u2212€3.44 Today \u2212€19.81" in text
    assert "10 → 8 licenses, 7 free. €19.81 goes back to the card that paid." in text
    assert "Remove 2 and get €19.81 back" in text
    assert "You have 8 licenses now. The refund is on its way" in words(answer.text)
    assert now_of(subscription).quantity == 8


def test_after_the_window_fewer_wait_for_the_renewal(pat: User, subscription: Subscription) -> None:
    text = page(client_of(pat), subscription, quantity=8)

    assert "The refund window of these licenses is over. They can go at the renewal." in text
    assert "Nothing is refunded today. From now on at most 8 can be assigned." in text
    assert "Schedule 8 licenses for 10 Apr 2026" in text
