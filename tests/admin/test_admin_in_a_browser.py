"""The admin center's pages in Chromium: no violation of axe, no error of the policy, light, dark and on a phone."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from playwright.sync_api import Browser, Page

from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from licensing.models import Assignment
from tests.admin.conftest import SignIn
from tests.factories import AT, make_relationship, make_subscription, make_tenant, make_user, plan

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

LOOKS = {
    "desktop": {"viewport": {"width": 1440, "height": 1000}},
    "dark": {"viewport": {"width": 1440, "height": 1000}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}},
    "no script": {"viewport": {"width": 1440, "height": 1000}, "java_script_enabled": False},
}
# A folder to keep pictures in, for a look beside the mockups.
PICTURES = os.environ.get("PICTURES", "")


class Cast:
    """Contoso as in the demo, small: Bill its billing admin, Pat a purchaser, Petra who acts for it."""

    def __init__(self) -> None:
        self.contoso: Tenant = make_tenant(name="Contoso")
        self.bill = make_user(self.contoso, name="Bill Bakker", roles=("billing_admin",))
        self.pat = make_user(self.contoso, name="Pat Peters", email="pat@contoso.example")
        dora = make_user(self.contoso, name="Dora de Vries", status="disabled")
        sam = make_user(self.contoso, name="Sam Sanders")
        self.bought = make_subscription(self.contoso, owner=self.pat, quantity=10, assigned=2)
        self.central = make_subscription(self.contoso, quantity=25)
        make_subscription(self.contoso, owner=dora, plan=plan("power-apps-per-user"), quantity=3)
        make_subscription(
            self.contoso,
            owner=self.pat,
            plan=plan("visio-plan-2"),
            quantity=2,
            state="expired",
            recurring_billing=False,
        )
        make_subscription(
            self.contoso, owner=sam, plan=plan("visio-plan-1"), quantity=1, recurring_billing=False
        )
        make_subscription(
            self.contoso, owner=sam, plan=plan("project-plan-1"), quantity=4, payment_failed_at=AT
        )
        make_subscription(
            self.contoso, owner=sam, plan=plan("project-plan-3"), state="disabled", recurring_billing=False
        )
        northwind = make_tenant(name="Northwind Partners")
        self.petra = make_user(northwind, name="Petra Pfeiffer")
        make_relationship(self.contoso, northwind, users=(self.petra,))
        with tenant_atomic(self.contoso.pk):
            for user in (self.pat, sam):
                Assignment.objects.create(
                    tenant=self.contoso,
                    subscription=self.bought,
                    user=user,
                    product_id=self.bought.product_id,
                    assigned_at=AT,
                    assigned_by="Pat Peters",
                )

    def pages(self) -> dict[str, tuple[User, str]]:
        products = "/admin/billing/your-products/"
        return {
            "full list": (self.bill, products),
            "own list": (self.pat, products),
            "own detail": (self.pat, f"{products}{self.bought.key}/"),
            "full detail": (self.bill, f"{products}{self.bought.key}/"),
            "switch": (self.pat, f"{products}{self.bought.key}/recurring-billing/"),
            "partner list": (self.petra, products),
        }


@pytest.fixture
def open_page(browser: Browser, live_server: Any, sign_in: SignIn) -> Iterator[Any]:
    contexts = []

    def open_as(cast: Cast, user: User, address: str, look: str) -> Page:
        client = sign_in(user, acting_for=cast.contoso if user is cast.petra else None)
        context = browser.new_context(**LOOKS[look])
        contexts.append(context)
        name = settings.SESSION_COOKIE_NAME
        context.add_cookies(
            [{"name": name, "value": client.cookies["session"].value, "url": live_server.url}]
        )
        page = context.new_page()
        page.goto(live_server.url + address)
        return page

    yield open_as
    for context in contexts:
        context.close()


def test_every_page_is_clean_in_every_look(open_page: Any):
    cast = Cast()
    found: list[str] = []

    for title, (user, address) in cast.pages().items():
        for look in LOOKS:
            complaints: list[str] = []
            page = open_page(cast, user, address, look)
            page.on("console", lambda message, heard=complaints: heard.append(message.text))
            if PICTURES:
                page.wait_for_timeout(300)
                page.screenshot(path=Path(PICTURES) / f"{title} {look}.png".replace(" ", "-"), full_page=True)
            assert page.locator("h1").is_visible(), (title, look)
            wide = (
                page.evaluate("document.documentElement.scrollWidth - innerWidth") if look == "phone" else 0
            )
            if wide > 0:
                found.append(f"{title}, {look}: {wide} px wider than the screen")
            if look != "no script":
                page.reload()
                violations = Axe().run(page).response["violations"]
                found += [
                    f"{title}, {look}: {each['id']} {each['nodes'][0]['html'][:200]}"
                    for each in violations
                    if each["impact"] in ("serious", "critical")
                ]
                found += [
                    f"{title}, {look}: {text}"
                    for text in complaints
                    if "Refused" in text or "violates" in text
                ]

    assert found == []


def test_the_switch_is_walked_through(open_page: Any):
    cast = Cast()
    page = open_page(cast, cast.pat, f"/admin/billing/your-products/{cast.bought.key}/", "desktop")

    page.get_by_role("link", name="Turn off").click()
    page.get_by_role("button", name="Turn off").click()

    assert page.get_by_text("Recurring billing is off. It ends on 31 Mar 2026.").is_visible()
    assert page.get_by_text("Renewal off").first.is_visible()
