"""Starting a trial with a new card in Chromium: counting anew, the card fields, the bank's window (product §3.6)."""

from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import Page, expect

from commerce.models import Trial
from config.kit.tenancy import tenant_atomic
from directory.models import User
from tests.browser.test_checkout import DECLINED, WITH_BANK, bank_of, fill_card
from tests.factories import client_of, make_tenant, make_user
from tests.processor import charges, reset

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

# The server asks the processor thrice before it answers.
SLOW = 30_000


@pytest.fixture
def mike() -> User:
    return make_user(make_tenant(name="Contoso"), name="Mike Bos", email="mike@contoso.example")


@pytest.fixture
def entered(page: Page, live_server: Any, processor: str, mike: User) -> Page:
    """A browser signed in as Mike; a failing or blocked script or frame stands in `problems`."""
    reset()
    key = client_of(mike).cookies[settings.SESSION_COOKIE_NAME].value
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": key, "url": live_server.url}])
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if "Security Policy" in said.text else None)
    page.problems = problems  # type: ignore[attr-defined]
    return page


@pytest.fixture
def trial(entered: Page, live_server: Any) -> Page:
    """The open page of a trial with a card."""
    entered.goto(f"{live_server.url}/buy/visio-plan-1/trial/?kind=card")
    return entered


def test_a_declined_card_then_one_that_the_bank_asks_about_starts_one_trial(trial: Page, mike: User) -> None:
    trial.get_by_label("Number of licenses").fill("3")
    trial.get_by_role("button", name="Count anew").click()
    expect(trial.locator("#summary")).to_contain_text("€17.06")
    trial.get_by_label("Street and number").fill("Keizersgracht 1")
    trial.get_by_label("City").fill("Amsterdam")
    trial.locator("#id_agrees").check()

    fill_card(trial, DECLINED)
    trial.get_by_role("button", name="Start the trial").click()
    expect(trial.get_by_role("alert").first).to_contain_text("The card has not enough funds.", timeout=SLOW)
    expect(trial.get_by_role("alert").first).to_contain_text("No trial was started.")
    expect(trial.get_by_label("City")).to_have_value("Amsterdam")
    expect(trial.get_by_label("Number of licenses")).to_have_value("3")

    fill_card(trial, WITH_BANK)
    trial.get_by_role("button", name="Start the trial").click()
    expect(trial.locator("dialog iframe")).to_be_visible(timeout=SLOW)
    bank_of(trial).get_by_text("Complete authentication").click()
    expect(trial.get_by_text("30 days left")).to_be_visible(timeout=SLOW)
    trial.go_back()
    expect(trial.get_by_text("You have tried Visio Plan 1 before")).to_be_visible(timeout=SLOW)

    with tenant_atomic(mike.tenant_id):
        started = Trial.objects.select_related("subscription").get()
    assert (started.kind, started.subscription.quantity) == ("card", 3)
    assert charges() == 0
    assert trial.problems == []  # type: ignore[attr-defined]


def test_one_without_a_card_asks_the_processor_for_nothing_and_starts_once(
    entered: Page, live_server: Any, mike: User
) -> None:
    asked: list[str] = []
    posted: list[str] = []
    entered.on("request", lambda sent: asked.append(sent.url))
    entered.on("request", lambda sent: posted.append(sent.url) if sent.method == "POST" else None)
    entered.goto(f"{live_server.url}/buy/visio-plan-1/trial/?kind=free")
    entered.locator("#id_agrees").check()
    begin = entered.get_by_role("button", name="Start the trial")

    pressed = begin.evaluate("button => { button.click(); button.click(); return button.textContent }")

    expect(entered.get_by_text("30 days left")).to_be_visible(timeout=SLOW)
    with tenant_atomic(mike.tenant_id):
        assert Trial.objects.get().kind == "free"
    assert pressed == "Starting…"
    assert len(posted) == 1
    assert not [url for url in asked if url == settings.STRIPE_JS_URL]
    assert entered.problems == []  # type: ignore[attr-defined]
