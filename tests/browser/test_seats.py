"""The seats page and the page on which a change is paid, in Chromium (product §5.4, design 06-seats)."""

from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import Page, expect

from commerce.models import Subscription
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import User
from tests.browser.test_checkout import DECLINED, WITH_BANK, bank_of, fill_card
from tests.factories import client_of, make_self_service_subscription, make_tenant, make_user
from tests.processor import charges, reset

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


@pytest.fixture
def pat() -> User:
    return make_user(make_tenant(name="Contoso"), name="Pat Peters", email="pat@contoso.example")


@pytest.fixture
def seats(page: Page, live_server: Any, processor: str, pat: User) -> Page:
    """The open page of ten seats bought today, signed in as Pat; a blocked script or frame fails the test."""
    reset()
    subscription = make_self_service_subscription(pat, at=now())
    key = client_of(pat).cookies[settings.SESSION_COOKIE_NAME].value
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": key, "url": live_server.url}])
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if "Security Policy" in said.text else None)
    page.goto(f"{live_server.url}/admin/billing/your-products/{subscription.key}/seats/")
    page.problems = problems  # type: ignore[attr-defined]
    return page


def quantity(user: User) -> int:
    with tenant_atomic(user.tenant_id):
        return Subscription.objects.get().quantity


def test_counts_anew_without_loading_the_page(seats: Page) -> None:
    seats.get_by_role("button", name="One license more").click()
    expect(seats.get_by_role("button", name="Pay €11.37 and add 1")).to_be_visible()
    seats.get_by_label("How many licenses do you want in all?").fill("14")
    seats.keyboard.press("Tab")
    expect(seats.get_by_role("button", name="Pay €45.50 and add 4")).to_be_visible()

    seats.get_by_text("At the renewal,").click()

    expect(seats.get_by_role("button", name="Schedule 14 licenses for")).to_be_visible()
    assert seats.problems == []  # type: ignore[attr-defined]


def test_a_new_card_is_declined_then_another_asks_the_bank_and_adds_the_seats(seats: Page, pat: User) -> None:
    seats.get_by_label("How many licenses do you want in all?").fill("14")
    seats.keyboard.press("Tab")
    seats.get_by_text("A new card").click()
    seats.get_by_role("button", name="Pay €45.50 and add 4").click()
    expect(seats.get_by_role("heading", name="Add 4 licenses")).to_be_visible()

    fill_card(seats, DECLINED)
    seats.get_by_role("button", name="Pay €45.50 and add 4").click()
    expect(seats.get_by_role("alert").first).to_contain_text("The card has not enough funds.")
    assert (charges(), quantity(pat)) == (0, 10)

    seats.get_by_text("A new card").click()
    fill_card(seats, WITH_BANK)
    seats.get_by_role("button", name="Pay €45.50 and add 4").click()
    bank_of(seats).get_by_text("Complete authentication").click()
    expect(seats.get_by_text("You have 14 licenses now")).to_be_visible()
    assert (charges(), quantity(pat)) == (1, 14)
    assert seats.problems == []  # type: ignore[attr-defined]
