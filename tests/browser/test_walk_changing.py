"""Another plan, more seats, fewer seats, as somebody does who paid for them and has nobody to ask (product §5.3, §5.4)."""

from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from config.kit.clock import now
from directory.models import User
from tests.browser.test_checkout import WITH_BANK, bank_of, fill_card
from tests.browser.walking import Walk, buy, now_of, pass_by
from tests.factories import make_tenant, make_user
from tests.processor import charges, refunds

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

both = pytest.mark.parametrize("look", ["desktop", "phone"])


@pytest.fixture
def pat() -> User:
    return make_user(make_tenant(name="Contoso"), name="Pat Peters", email="pat@contoso.example")


def open_purchase(page: Page) -> None:
    page.get_by_role("link", name="Power BI Pro", exact=True).click()
    expect(page.get_by_role("heading", name="What happens next")).to_be_visible()


@both
def test_another_plan_from_the_renewal_on_and_back(walk: Walk, pat: User, look: str) -> None:
    bought = buy(pat, at=now() - timedelta(days=10))
    page = walk(pat, look)
    open_purchase(page)

    page.get_by_role("link", name="Change plan").click()
    page.get_by_label("Yearly, paid monthly").check()
    pass_by(page, "plan")
    page.get_by_role("button", name="Use this plan from").click()
    expect(page.get_by_text("on it is Yearly, paid monthly.")).to_be_visible()
    pass_by(page, "plan scheduled")
    assert now_of(bought).next_plan_id is not None

    page.get_by_role("button", name="Take back the scheduled plan").click()

    expect(page.get_by_text("Taken back. The renewal goes on as it was.")).to_be_visible()
    assert now_of(bought).next_plan_id is None


@both
def test_more_seats_with_a_new_card_that_the_bank_asks_about(walk: Walk, pat: User, look: str) -> None:
    bought = buy(pat, at=now())
    page = walk(pat, look)
    open_purchase(page)

    page.get_by_role("link", name="Change number").click()
    page.get_by_label("How many licenses do you want in all?").fill("14")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Pay €45.50 and add 4")).to_be_visible()
    pass_by(page, "more seats")
    page.get_by_text("A new card").click()
    page.get_by_label("Use this card for Power BI Pro from now on.").check()
    page.get_by_role("button", name="Pay €45.50 and add 4").click()
    expect(page.get_by_role("heading", name="How you pay")).to_be_visible()
    expect(page.get_by_label("Use this card for Power BI Pro from now on.")).to_be_checked()
    fill_card(page, WITH_BANK)
    pass_by(page, "pay for more seats")
    page.get_by_role("button", name="Pay €45.50 and add 4").click()
    bank_of(page).get_by_text("Complete authentication").click()

    expect(page.get_by_text("You have 14 licenses now")).to_be_visible()
    expect(page.get_by_text("•• 3184")).to_be_visible()
    after = now_of(bought)
    assert (after.quantity, after.card.last4, charges()) == (14, "3184", 2)


@both
def test_fewer_seats_inside_their_window_with_the_unused_days_back(walk: Walk, pat: User, look: str) -> None:
    bought = buy(pat, at=now())
    page = walk(pat, look)
    open_purchase(page)

    page.get_by_role("link", name="Change number").click()
    page.get_by_label("How many licenses do you want in all?").fill("8")
    page.keyboard.press("Tab")
    expect(page.get_by_text("2 licenses go at once, and you get their unused days back.")).to_be_visible()
    pass_by(page, "fewer seats")
    page.get_by_role("button", name="Remove 2 and get").click()

    expect(page.get_by_text("You have 8 licenses now. The refund is on its way")).to_be_visible()
    assert (now_of(bought).quantity, len(refunds())) == (8, 1)
