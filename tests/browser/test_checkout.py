"""The checkout page in Chromium: counting anew, the card fields, the bank's window (product §3.4)."""

import re
from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import FrameLocator, Page, expect

from directory.models import User
from tests.axe import violations
from tests.factories import client_of, make_tenant, make_user
from tests.processor import charges, reset

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

DECLINED, WITH_BANK = "4000000000009995", "4000002760003184"


@pytest.fixture
def mike() -> User:
    return make_user(make_tenant(name="Contoso"), name="Mike Bos", email="mike@contoso.example")


@pytest.fixture
def checkout(page: Page, live_server: Any, processor: str, mike: User) -> Page:
    """The open page of two seats, signed in as Mike."""
    reset()
    key = client_of(mike).cookies[settings.SESSION_COOKIE_NAME].value
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": key, "url": live_server.url}])
    page.goto(f"{live_server.url}/buy/power-bi-pro/?quantity=2")
    return page


def fill_card(page: Page, number: str) -> None:
    card = page.frame_locator("#card iframe")
    card.locator("[autocomplete=cc-number]").fill(number)
    card.locator("[autocomplete=cc-exp]").fill("12 / 34")
    card.locator("[autocomplete=cc-csc]").fill("123")


def fill_form(page: Page) -> None:
    page.get_by_label("Street and number").fill("Keizersgracht 1")
    page.get_by_label("City").fill("Amsterdam")
    page.locator("#id_agrees_to_terms").check()
    page.locator("#id_agrees_to_data").check()


def bank_of(page: Page) -> FrameLocator:
    """The bank's window; whoever looks into it waits until it is there."""
    window = 'dialog iframe[src*="/v3/issuer"]'
    expect(page.locator(window)).to_be_visible()
    return page.frame_locator(window)


def test_counts_anew_without_loading_the_page(checkout: Page) -> None:
    checkout.get_by_label("City").fill("Delft")

    checkout.get_by_role("button", name="One license more").click()
    expect(checkout.locator("#pay-button")).to_have_text("Pay €34.12")
    checkout.get_by_text("1 year, billed monthly").click()
    expect(checkout.locator("#summary")).to_contain_text("You commit to 12 charges, €376.80 in all")
    checkout.get_by_label("Number of licenses").fill("0")
    checkout.keyboard.press("Tab")

    expect(checkout.locator("#id_quantity_error")).to_contain_text("Buy 1 to 300 licenses at a time.")
    expect(checkout.get_by_label("City")).to_have_value("Delft")


def test_a_declined_card_then_one_that_the_bank_asks_about(checkout: Page) -> None:
    problems: list[str] = []
    checkout.on("pageerror", lambda error: problems.append(str(error)))
    fill_form(checkout)
    fill_card(checkout, DECLINED)

    checkout.locator("#pay-button").click()
    expect(checkout.get_by_role("alert").first).to_contain_text("The card has not enough funds.")
    expect(checkout).to_have_title(re.compile("^Problem: Check and pay"))
    expect(checkout.get_by_label("City")).to_have_value("Amsterdam")
    assert charges() == 0

    fill_card(checkout, WITH_BANK)
    checkout.locator("#pay-button").click()
    bank_of(checkout).get_by_text("Complete authentication").click()
    expect(checkout.get_by_role("heading", name="You have Power BI Pro")).to_be_visible()
    checkout.go_back()
    expect(checkout.get_by_role("heading", name="You have Power BI Pro")).to_be_visible()
    assert charges() == 1
    assert problems == []


def test_who_leaves_while_the_bank_asks_is_asked_again(checkout: Page) -> None:
    fill_form(checkout)
    fill_card(checkout, WITH_BANK)
    checkout.locator("#pay-button").click()
    bank_of(checkout)

    checkout.reload()

    expect(checkout.get_by_role("heading", name="Confirm with your bank").first).to_be_visible()
    bank_of(checkout).get_by_text("Complete authentication").click()
    expect(checkout.get_by_role("heading", name="You have Power BI Pro")).to_be_visible()
    assert charges() == 1


def test_who_comes_back_pays_with_the_saved_card_or_enters_another(checkout: Page) -> None:
    problems: list[str] = []
    checkout.on("pageerror", lambda error: problems.append(str(error)))
    fill_form(checkout)
    fill_card(checkout, "4242424242424242")
    checkout.locator("#pay-button").click()
    expect(checkout.get_by_role("heading", name="You have Power BI Pro")).to_be_visible()

    checkout.goto(f"{checkout.url.split('/buy/')[0]}/buy/power-bi-pro/")
    expect(checkout.get_by_label("Visa ending in 4242")).to_be_checked()
    expect(checkout.locator("#new-card")).to_be_hidden()
    checkout.get_by_label("A new card").check()
    expect(checkout.locator("#new-card")).to_be_visible()
    fill_card(checkout, DECLINED)
    checkout.locator("#id_agrees_to_terms").check()
    checkout.locator("#id_agrees_to_data").check()
    checkout.locator("#pay-button").click()
    expect(checkout.get_by_role("alert").first).to_contain_text("The card has not enough funds.")
    expect(checkout.locator("#new-card")).to_be_visible()
    assert violations(checkout) == []

    checkout.get_by_label("Visa ending in 4242").check()
    checkout.locator("#pay-button").click()
    expect(checkout.get_by_role("heading", name="You have Power BI Pro")).to_be_visible()
    assert charges() == 2
    assert problems == []


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark"), (320, "light")])
def test_nothing_stands_in_the_way_of_reading_it(checkout: Page, width: int, scheme: Any) -> None:
    checkout.set_viewport_size({"width": width, "height": 900})
    checkout.emulate_media(color_scheme=scheme)

    assert violations(checkout) == []
    assert checkout.evaluate("document.documentElement.scrollWidth <= innerWidth")
