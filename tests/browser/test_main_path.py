"""The main job in one walk: buy by card, hand out, be seen by the admins and the partner, renew, expire."""

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import SignIn


def _buy_ten_seats(page: Page, demo: str) -> None:
    """From the product's page as an anonymous visitor to the confirmation."""
    page.goto("/products/power-bi-pro/")
    page.get_by_role("button", name="Buy", exact=True).click()
    page.get_by_label("Work e-mail").fill("mike@contoso.example")
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url("**/checkout/**")
    page.get_by_label(re.compile("licenses", re.IGNORECASE)).first.fill("10")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Pay €113.74")).to_be_visible()
    card = page.frame_locator("iframe[title='Secure payment input frame']")
    card.get_by_label("Card number").fill("4242 4242 4242 4242")
    card.get_by_label("Expiration date").fill("12 / 34")
    card.get_by_label("Security code").fill("123")
    page.get_by_label("Street and number").fill("Keizersgracht 100")
    page.get_by_label("City").fill("Amsterdam")
    for box in page.get_by_role("checkbox").all():
        box.check()
    page.get_by_role("button", name="Pay €113.74").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You have Power BI Pro")


def _travel(page: Page, days: int) -> None:
    """Move the demo's clock on its own page and wait until Celery has walked there."""
    page.goto("/demo/clock/")
    page.get_by_role("button", name=re.compile(rf"^\+{days} days?$")).click()
    expect(page.get_by_role("heading", name="What happened")).to_be_visible(timeout=180_000)
    expect(page.get_by_role("button", name="+30 days")).to_be_visible(timeout=180_000)


def test_a_purchase_from_the_e_mail_to_its_expiry(
    demo: str, visit: Callable[[], Page], sign_in: SignIn
) -> None:
    buyer = visit()
    _buy_ten_seats(buyer, demo)

    # The product opens at once, and its launcher leads to the limited view.
    buyer.get_by_role("link", name="Open Power BI Pro").click()
    expect(buyer).to_have_url(f"{demo}/apps/power-bi-pro/")
    expect(buyer.get_by_role("heading", level=1)).to_contain_text("Power BI Pro")
    buyer.goto("/")
    buyer.get_by_role("link", name=re.compile("^Admin")).click()
    expect(buyer).to_have_url(f"{demo}/admin/billing/your-products/")
    row = buyer.get_by_role("row").filter(has_text="Power BI Pro")
    expect(row).to_contain_text("1 of 10")

    # Seats for two colleagues, who hold the product centrally: the second click.
    row.get_by_role("link").first.click()
    subscription = buyer.url
    buyer.get_by_role("link", name=re.compile("^Assign")).first.click()
    buyer.get_by_label("Or paste a list").fill("daan@contoso.example\ndiana@contoso.example")
    buyer.get_by_role("button", name=re.compile("^Assign")).click()
    second = buyer.get_by_role("heading", name="Already have this product")
    expect(second).to_be_visible()
    for box in buyer.get_by_role("checkbox").all():
        box.check()
    buyer.get_by_role("button", name="Assign a second license to those ticked").click()
    buyer.goto(subscription)
    expect(buyer.get_by_text("3 of 10")).to_be_visible()

    # The billing admin sees and filters it; the partner sees it under a banner.
    admin = sign_in("bill@contoso.example")
    admin.goto("/admin/billing/your-products/")
    admin.get_by_role("link", name=re.compile("^Self-service")).click()
    expect(admin.get_by_role("row").filter(has_text="mike@contoso.example")).to_contain_text("Power BI Pro")
    expect(admin.get_by_role("row").filter(has_text=re.compile(r"\bCentral\b"))).to_have_count(0)
    partner = sign_in("petra@northwind.example")
    partner.goto("/admin/customers/")
    partner.get_by_role("button", name=re.compile("Act for")).click()
    partner.goto("/admin/billing/your-products/?channel=self-service")
    expect(partner.locator(".sk-banner")).to_contain_text("Contoso")
    expect(partner.get_by_role("row").filter(has_text="mike@contoso.example")).to_have_count(1)

    # A month later Celery has renewed it; with recurring billing off, another month later it is expired.
    clock = visit()
    _travel(clock, 30)
    _travel(clock, 1)
    buyer.goto(subscription)
    expect(buyer.get_by_role("row").filter(has_text="Renewed for 1 month")).to_have_count(1)
    expect(buyer.locator("main")).to_contain_text("Active")
    buyer.get_by_role("link", name=re.compile("^Turn off")).click()
    buyer.get_by_role("button", name=re.compile("^Turn off, end on")).click()
    buyer.goto(subscription)
    expect(buyer.locator("main")).to_contain_text("Renewal off")
    _travel(clock, 30)
    _travel(clock, 1)
    buyer.goto(subscription)
    expect(buyer.locator("main")).to_contain_text("Expired")
