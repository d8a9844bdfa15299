"""Ending a purchase and bringing it back, as somebody does who paid for it and has nobody to ask (product §5.5)."""

from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from commerce.operations.recurring import set_recurring_billing
from commerce.operations.renewals import expire_due
from config.kit.clock import now
from directory.models import User
from tests.browser.walking import Walk, buy, now_of, pass_by, press_to
from tests.factories import actor_of, make_tenant, make_user
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
def test_cancel_with_a_refund_and_bring_it_back_the_same_day(walk: Walk, pat: User, look: str) -> None:
    bought = buy(pat, at=now())
    page = walk(pat, look)
    open_purchase(page)

    page.get_by_role("link", name="Cancel Power BI Pro").click()
    expect(page.get_by_text("Access ends at once")).to_be_visible()
    expect(page.get_by_text("you can bring it back: a new period starts that day")).to_be_visible()
    pass_by(page, "cancel with refund")
    page.get_by_label("Why do you stop?").select_option(label="Another reason")
    page.get_by_role("button", name="Cancel now, refund €").click()
    expect(page.get_by_text("Power BI Pro is canceled. Nobody has access from now on.")).to_be_visible()
    pass_by(page, "canceled")
    assert (now_of(bought).state, len(refunds())) == ("disabled", 1)

    page.get_by_role("link", name="Reactivate Power BI Pro").click()
    expect(page.get_by_role("heading", name="What comes back")).to_be_visible()
    expect(page.get_by_text("The person with a license has access again at once.")).to_be_visible()
    pass_by(page, "reactivate disabled")
    page.get_by_role("button", name="Pay €113.74 and reactivate").click()

    expect(page.get_by_text("€113.74 is paid. Power BI Pro is active again until")).to_be_visible()
    assert (now_of(bought).state, charges()) == ("active", 2)


@both
def test_cancel_at_the_end_and_think_again(walk: Walk, pat: User, look: str) -> None:
    bought = buy(pat, at=now() - timedelta(days=10))
    page = walk(pat, look)
    open_purchase(page)

    page.get_by_role("link", name="Cancel Power BI Pro").click()
    expect(page.get_by_text("Renewal stops")).to_be_visible()
    pass_by(page, "cancel at the end")
    page.get_by_role("button", name="Stop the renewal on").click()
    expect(page.get_by_text("The renewal of Power BI Pro is stopped.")).to_be_visible()
    assert not now_of(bought).recurring_billing

    page.get_by_role("link", name="Turn on recurring billing").click()
    pass_by(page, "turn on again")
    page.get_by_role("button", name="Turn on, renew on").click()

    expect(page.get_by_text("Recurring billing is on. It renews on")).to_be_visible()
    assert now_of(bought).recurring_billing


def test_bring_an_expired_one_back_by_the_keyboard_alone(walk: Walk, pat: User) -> None:
    at = now()
    bought = buy(pat, at=at - timedelta(days=40))
    set_recurring_billing(actor=actor_of(pat, at=at), key=bought.key, on=False, version=0, at=at)
    expire_due(at=at)
    page = walk(pat, "desktop")

    press_to(page, "Power BI Pro")
    page.keyboard.press("Enter")
    expect(page.get_by_text("It can still be renewed.").first).to_be_visible()
    press_to(page, "Reactivate")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Where the last term ended: access never stopped")).to_be_visible()
    pass_by(page, "reactivate expired")
    press_to(page, "Visa ending in 4242")
    press_to(page, "and reactivate")
    page.keyboard.press("Enter")

    expect(page.get_by_text("Power BI Pro is active again until")).to_be_visible()
    after = now_of(bought)
    assert (after.state, after.period_start, charges()) == ("active", bought.period_end, 2)
