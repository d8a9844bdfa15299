"""The page on which an open bill is paid: which card it offers, and where it leads (product §5.6, §6)."""

import re

import pytest

from commerce.models import Bill, Card, PaymentAttempt, Subscription
from commerce.views.subscriptions import day
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from tests.factories import (
    AT,
    client_of,
    make_card,
    make_open_bill,
    make_subscription,
    make_tenant,
    make_user,
)
from tests.processor import card_token

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters", purchaser_since=AT)


@pytest.fixture
def card(contoso: Tenant, pat: User) -> Card:
    return make_card(contoso, pat, last4="1111")


@pytest.fixture
def bought(contoso: Tenant, pat: User, card: Card) -> Subscription:
    return make_subscription(contoso, owner=pat, card=card)


@pytest.fixture
def bill(bought: Subscription) -> Bill:
    return make_open_bill(bought)


def page_of(bill: Bill) -> str:
    return f"/admin/billing/bills/{bill.number}/pay/"


def purchase_of(subscription: Subscription) -> str:
    return f"/admin/billing/your-products/{subscription.key}/"


def decline(bill: Bill, card: Card, *, kind: str = "soft") -> None:
    """The sweep tried the card, and the bank said no."""
    with tenant_atomic(bill.tenant_id):
        PaymentAttempt.objects.create(
            tenant_id=bill.tenant_id,
            bill=bill,
            key=f"att_{card.pk}_{kind}",
            intent_id=f"pi_{card.pk}_{kind}",
            card_processor_id=card.processor_id,
            amount_minor=bill.total_minor,
            currency=bill.currency,
            state=PaymentAttempt.State.FAILED,
            decline_kind=kind,
            decline_code="insufficient_funds",
            created_at=AT,
            updated_at=AT,
        )


def cards_on(text: str) -> dict[str, tuple[bool, bool]]:
    """By the last four digits, or "new": whether the card is chosen, and whether it says that it was declined."""
    found = {}
    for choice in re.findall(r'<label class="sk-choice".*?</label>', text, re.DOTALL):
        name = re.search(r"ending in (\d+)", choice)
        found[name[1] if name else "new"] = (" checked" in choice, "Declined on" in choice)
    return found


def test_the_card_that_pays_is_chosen_while_nothing_speaks_against_it(
    contoso: Tenant, pat: User, bill: Bill
) -> None:
    make_card(contoso, pat, last4="2222")

    text = client_of(pat).get(page_of(bill)).text

    assert cards_on(text) == {"1111": (True, False), "2222": (False, False), "new": (False, False)}


def test_a_declined_card_is_marked_and_another_one_chosen(
    contoso: Tenant, pat: User, card: Card, bill: Bill
) -> None:
    make_card(contoso, pat, last4="2222")
    decline(bill, card)

    text = client_of(pat).get(page_of(bill)).text

    assert cards_on(text) == {"1111": (False, True), "2222": (True, False), "new": (False, False)}
    assert f"Declined on {day(AT, 'Europe/Amsterdam')}" in text


def test_where_every_card_was_declined_a_new_one_is_chosen(pat: User, card: Card, bill: Bill) -> None:
    decline(bill, card)

    assert cards_on(client_of(pat).get(page_of(bill)).text)["new"] == (True, False)


def test_a_bank_that_waits_for_the_cardholder_declined_nothing(pat: User, card: Card, bill: Bill) -> None:
    decline(bill, card, kind="auth")

    assert cards_on(client_of(pat).get(page_of(bill)).text)["1111"] == (True, False)


@pytest.mark.parametrize("origin", ["purchase", "payment-methods", "", "https://evil.example/"])
def test_the_page_leads_back_to_where_one_came_from(
    pat: User, bought: Subscription, bill: Bill, origin: str
) -> None:
    client, address = client_of(pat), f"{page_of(bill)}?from={origin}"
    back = {
        "purchase": purchase_of(bought),
        "payment-methods": "/admin/billing/payment-methods/",
    }.get(origin, f"/admin/billing/bills/{bill.number}/")

    shown = client.get(address).text
    paid = client.post(address, {"card": "new", "confirmation_token": card_token()})

    assert f'href="{back}">Back</a>' in shown
    assert paid.headers["Location"] == back
    assert f"{bill.number} is paid: €113.74." in client.get(back).text


def test_a_declined_try_comes_back_to_the_page_that_still_knows_the_way(
    pat: User, bought: Subscription, bill: Bill
) -> None:
    client, address = client_of(pat), f"{page_of(bill)}?from=purchase"
    token = card_token("pm_card_chargeDeclined")

    refused = client.post(address, {"card": "new", "confirmation_token": token})

    assert refused.headers["Location"] == address
    assert f'href="{purchase_of(bought)}">Back</a>' in client.get(address).text


def test_the_purchase_and_the_payment_methods_say_where_one_comes_from(
    pat: User, bought: Subscription, bill: Bill
) -> None:
    with tenant_atomic(pat.tenant_id):
        Bill.objects.filter(pk=bill.pk).update(tries=1, failed_at=AT, last_decline="insufficient_funds")
        Subscription.objects.filter(pk=bought.pk).update(payment_failed_at=AT)
    client = client_of(pat)

    assert f'href="{page_of(bill)}?from=purchase"' in client.get(purchase_of(bought)).text
    methods = client.get("/admin/billing/payment-methods/").text
    assert f'href="{page_of(bill)}?from=payment-methods"' in methods
