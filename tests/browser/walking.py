"""What walks through the pages of a purchase's life share: real purchases, and what each page must stand."""

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from commerce.models import Subscription
from commerce.operations.payments import pay_checkout
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import User
from tests.axe import violations
from tests.factories import actor_of, make_checkout, plan
from tests.processor import card_token

LOOKS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
}
# A folder to keep pictures in, for a look beside the mockups.
PICTURES = os.environ.get("PICTURES", "")

type Walk = Callable[..., Page]


def buy(buyer: User, *, quantity: int = 10, code: str = "monthly", at: datetime) -> Subscription:
    """Seats of Power BI Pro, paid at the card processor by a Visa ending in 4242."""
    checkout = make_checkout(buyer, plan=plan(code=code), quantity=quantity, at=at)
    actor = actor_of(buyer, at=at)
    pay_checkout(actor=actor, key=checkout.key, confirmation_token=card_token(), at=at)
    with tenant_atomic(buyer.tenant_id):
        buyer.refresh_from_db()
        found: Subscription = Subscription.objects.latest("id")
    return found


def now_of(subscription: Subscription) -> Subscription:
    """The purchase as the database has it now."""
    with use_login("worker"):
        found: Subscription = Subscription.objects.select_related("card", "owner_user").get(
            pk=subscription.pk
        )
    return found


def pass_by(page: Page, name: str = "") -> None:
    """The page that is open has nothing that axe finds, and on a phone nothing beside the screen."""
    if PICTURES and name:
        width = page.viewport_size["width"] if page.viewport_size else 0
        page.screenshot(path=Path(PICTURES) / f"{name}-{width}.png", full_page=True)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def press_to(page: Page, name: str) -> None:
    """Go on with the Tab key until something of that name has the focus, as somebody without a mouse does."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if name in page.evaluate(
            "(document.activeElement.labels?.[0] ?? document.activeElement).innerText.replace(/\\s+/g, ' ')"
        ):
            return
    raise AssertionError(f"The keyboard does not reach {name!r} at {page.url}")
