"""Payment methods in the admin center: what the pages say and do, by hand and in Chromium (product §4, §6)."""

import os
import re
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import Browser, Page, expect

from commerce.models import Bill, Card, Subscription
from config.kit.tenancy import tenant_atomic
from tests.admin.conftest import SignIn
from tests.axe import violations
from tests.factories import (
    AT,
    client_of,
    make_card,
    make_open_bill,
    make_subscription,
    make_tenant,
    make_user,
)
from tests.processor import card_token, charges, reset

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

PAGE = "/admin/billing/payment-methods/"
DECLINED, WITH_BANK = "4000000000009995", "4000002760003184"


@pytest.fixture
def contoso() -> Any:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Any) -> Any:
    return make_user(contoso, name="Pat Peters", purchaser_since=AT)


def live_cards(user: Any) -> list[tuple[str, bool]]:
    with tenant_atomic(user.tenant_id):
        return list(Card.objects.live().order_by("id").values_list("last4", "is_default"))


def test_lists_the_own_cards_with_what_they_pay_and_no_others(
    sign_in: SignIn, contoso: Any, pat: Any
) -> None:
    card = make_card(contoso, pat, last4="1111", expires_year=2026, expires_month=2)
    make_subscription(contoso, owner=pat, card=card)
    make_card(contoso, make_user(contoso), last4="2222")
    make_card(contoso, last4="3333")

    text = sign_in(pat).get(PAGE).text

    assert "Visa ending in 1111" in text
    assert "Power BI Pro" in text
    assert "2222" not in text
    assert "3333" not in text


def test_a_card_that_failed_is_said_to_be_tried_again_or_not(sign_in: SignIn, contoso: Any, pat: Any) -> None:
    card = make_card(contoso, pat)
    tried, given_up, _coming = (
        make_open_bill(make_subscription(contoso, owner=pat, card=card), at=AT) for _n in range(3)
    )
    with tenant_atomic(contoso.pk):
        next_try = datetime(2026, 3, 4, 12, tzinfo=UTC)
        Bill.objects.filter(pk=tried.pk).update(tries=1, failed_at=AT, charge_due_at=next_try)
        Bill.objects.filter(pk=given_up.pk).update(tries=4, failed_at=AT, charge_due_at=None)

    text = re.sub(r"\s+", " ", sign_in(pat).get(PAGE).text)

    pays = text.split('data-label="Pays"')[1].split("</td>")[0]
    assert "€113.74 failed, next try 4 Mar 2026" in pays
    assert "€113.74 failed, no further try" in pays
    assert f'href="/admin/billing/bills/{tried.number}/pay/?from=payment-methods"' in pays
    assert "1 open bill" in pays


def test_an_admin_without_purchases_sees_the_organizations_cards_alone(
    sign_in: SignIn, contoso: Any, pat: Any
) -> None:
    bill = make_user(contoso, roles=("billing_admin",))
    make_card(contoso, pat, last4="1111")
    make_card(contoso, last4="3333")

    text = sign_in(bill).get(PAGE).text

    assert "Cards of Contoso" in text
    assert "3333" in text
    assert "1111" not in text


def test_an_empty_page_says_what_comes_here(sign_in: SignIn, pat: Any) -> None:
    assert "No card yet. The first comes with your first purchase" in sign_in(pat).get(PAGE).text


def test_a_posted_token_is_a_card_once(sign_in: SignIn, processor: str, pat: Any) -> None:
    reset()
    client, form = sign_in(pat), {"setup": str(uuid.uuid4()), "confirmation_token": card_token()}

    first = client.post(f"{PAGE}add/", form, follow=True)
    second = client.post(f"{PAGE}add/", form, follow=True)

    assert "Visa ending in 4242 is saved." in first.text
    assert second.redirect_chain[-1][0] == PAGE
    assert live_cards(pat) == [("4242", True)]


@pytest.mark.parametrize(
    "form", [{}, {"setup": "x", "confirmation_token": "y"}, {"setup": str(uuid.uuid4())}]
)
def test_a_form_without_a_card_saves_nothing(sign_in: SignIn, pat: Any, form: dict[str, str]) -> None:
    response = sign_in(pat).post(f"{PAGE}add/", form)

    assert response.status_code == 422
    assert "Nothing was charged: the card is missing." in response.text
    assert live_cards(pat) == []


def test_makes_a_card_the_default(sign_in: SignIn, contoso: Any, pat: Any) -> None:
    make_card(contoso, pat, last4="1111")
    other = make_card(contoso, pat, last4="2222")

    response = sign_in(pat).post(f"{PAGE}{other.pk}/default/", follow=True)

    assert "Visa ending in 2222 is the default card." in response.text
    assert live_cards(pat) == [("1111", False), ("2222", True)]


def test_chooses_the_card_of_one_purchase(sign_in: SignIn, contoso: Any, pat: Any) -> None:
    first, other = make_card(contoso, pat), make_card(contoso, pat, last4="2222")
    bought = make_subscription(contoso, owner=pat, card=first)
    address = f"{PAGE}subscriptions/{bought.key}/"
    client = sign_in(pat)
    assert "nothing is charged now" in client.get(address).text

    refused = client.post(address, {"card": "x"})
    client.post(address, {"card": other.pk})
    to_new = client.post(address, {"card": "new"})

    assert refused.status_code == 409
    with tenant_atomic(contoso.pk):
        assert Subscription.objects.get().card_id == other.pk
    assert to_new["Location"] == f"{PAGE}add/?for={bought.key}"


def test_a_card_in_use_says_what_it_pays_and_offers_to_move_it(
    sign_in: SignIn, processor: str, contoso: Any, pat: Any
) -> None:
    reset()
    card = make_card(contoso, pat, last4="1111")
    other = make_card(contoso, pat, last4="2222")
    make_subscription(contoso, owner=pat, card=card)
    client, address = sign_in(pat), f"{PAGE}{card.pk}/remove/"
    page = client.get(address).text
    assert "Choose what pays it from then on" in page
    assert "Power BI Pro" in page
    assert client.post(address).status_code == 409

    response = client.post(address, {"card": other.pk}, follow=True)

    assert "Visa ending in 1111 is removed." in response.text
    assert live_cards(pat) == [("2222", True)]


# --- In Chromium ----------------------------------------------------------------------------------------


@pytest.fixture
def opened(browser: Browser, live_server: Any, processor: str, pat: Any) -> Any:
    reset()
    contexts = []

    def open_page(address: str, **looks: Any) -> Page:
        context = browser.new_context(**looks)
        contexts.append(context)
        key = client_of(pat).cookies[settings.SESSION_COOKIE_NAME].value
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": key, "url": live_server.url}])
        page = context.new_page()
        page.goto(live_server.url + address)
        return page

    yield open_page
    for context in contexts:
        context.close()


def fill_card(page: Page, number: str) -> None:
    card = page.frame_locator("#card iframe")
    card.locator("[autocomplete=cc-number]").fill(number)
    card.locator("[autocomplete=cc-exp]").fill("12 / 34")
    card.locator("[autocomplete=cc-csc]").fill("123")


@pytest.mark.parametrize("width", [1440, 390])
def test_a_declined_card_then_one_that_the_bank_asks_about(opened: Any, pat: Any, width: int) -> None:
    page = opened(f"{PAGE}add/", viewport={"width": width, "height": 900})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    fill_card(page, DECLINED)
    page.get_by_role("button", name="Save the card").click()
    expect(page.get_by_role("alert").first).to_contain_text("The card has not enough funds.")

    fill_card(page, WITH_BANK)
    page.get_by_role("button", name="Save the card").click()
    page.frame_locator("dialog iframe").get_by_text("Complete authentication").click()

    expect(page.get_by_text("Visa ending in 3184 is saved.")).to_be_visible()
    assert live_cards(pat) == [("3184", True)]
    assert charges() == 0
    assert problems == []


def test_every_page_is_clean_in_every_look(opened: Any, contoso: Any, pat: Any) -> None:
    card = make_card(contoso, pat, expires_year=2026, expires_month=2)
    make_card(contoso, pat, brand="mastercard", last4="4444")
    bought = make_subscription(contoso, owner=pat, card=card)
    pages = {
        "list": PAGE,
        "add": f"{PAGE}add/",
        "replace": f"{PAGE}add/?replaces={card.pk}",
        "remove": f"{PAGE}{card.pk}/remove/",
        "choose": f"{PAGE}subscriptions/{bought.key}/",
    }
    found: list[str] = []
    for title, address in pages.items():
        for look, facts in {
            "desktop": {"viewport": {"width": 1440, "height": 900}},
            "dark phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
        }.items():
            page = opened(address, **facts)
            if os.environ.get("PICTURES"):
                page.wait_for_timeout(500)
                name = re.sub(r"\W", "-", f"cards {title} {look}")
                page.screenshot(path=Path(os.environ["PICTURES"]) / f"{name}.png", full_page=True)
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                found.append(f"{title}, {look}: wider than the screen")
            found += [f"{title}, {look}: {each}" for each in violations(page)]

    assert found == []
