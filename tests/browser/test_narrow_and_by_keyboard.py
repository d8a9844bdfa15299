"""The main pages in Dutch, whose words are longer, on the narrowest screen and zoomed in; menus by the keyboard alone
(WCAG 1.4.10, 1.4.4, 2.1.1, 2.4.3; product §18)."""

import re
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from config.kit.clock import now
from directory.models import User
from licensing.operations.assignments import assign_licenses
from tests.browser.newcomers import Newcomer
from tests.browser.walking import Walk
from tests.factories import (
    actor_of,
    make_agreement,
    make_central_subscription,
    make_relationship,
    make_self_service_subscription,
    make_staff,
    make_tenant,
    make_user,
    plan,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

# Wide enough for the admin center's menu beside the page.
WIDE = {"width": 1440, "height": 900}
NARROWEST = {"width": 320, "height": 700}
# 1280 x 900 at 200 %.
ZOOMED = {"width": 640, "height": 450}


class Cast:
    """Contoso, which reads Dutch, with a purchase of Pat's and a central one; a partner, and support at the vendor."""

    def __init__(self) -> None:
        at = now()
        contoso, northwind = make_tenant(name="Contoso"), make_tenant(name="Northwind Partners")
        dutch = {"chosen_language": "nl"}
        self.gina = make_user(contoso, name="Gina de Vries", roles=("global_admin",), **dutch)
        self.pat = make_user(contoso, name="Pat Peters", purchaser_since=at, signed_in_at=at, **dutch)
        self.petra = make_user(northwind, name="Petra Schmidt", roles=("global_admin",), **dutch)
        self.sven = make_staff(make_tenant(kind="vendor"), "staff_superuser", name="Sven Larsen", **dutch)
        times = {"starts_at": at - timedelta(days=1), "ends_at": at + timedelta(days=300)}
        make_relationship(contoso, northwind, users=(self.petra,), **times)
        ann = make_user(contoso, name="Ann Alders", email="ann@contoso.example")
        make_agreement(contoso)
        self.own = make_self_service_subscription(self.pat, at=at)
        make_central_subscription(self.gina, plan=plan("visio-plan-1"), at=at)
        assign_licenses(actor=actor_of(self.pat), subscription_key=self.own.key, user_ids=[ann.pk], at=at)

    def pages(self) -> dict[User, tuple[str, ...]]:
        products = "/admin/billing/your-products/"
        own = f"{products}{self.own.key}/"
        billing = "/admin/billing/"
        return {
            self.pat: (
                *(
                    "/",
                    "/products/",
                    "/products/power-bi-pro/",
                    "/my/licenses/",
                    "/my/requests/",
                    "/my/language/",
                ),
                *("/my/notifications/", "/my/notices/", products, own, f"{own}seats/", f"{own}cancel/"),
                f"{billing}payment-methods/",
            ),
            self.gina: (
                *(
                    products,
                    own,
                    f"{own}take-over/",
                    f"{billing}bills/",
                    f"{billing}policy/",
                    f"{billing}buy/",
                ),
                *(f"{billing}centralize/", "/admin/licenses/", "/admin/requests/", "/admin/capacity/"),
                *("/admin/people/", "/admin/groups/", "/admin/roles/", "/admin/audit/", "/admin/language/"),
            ),
            self.petra: ("/admin/customers/", "/admin/customers/drift/"),
            self.sven: ("/operator/", "/operator/organizations/", "/operator/cases/", "/operator/catalogue/"),
        }


def test_main_pages_in_dutch_fit_the_narrowest_screen_and_zoom(walk: Walk) -> None:
    cast = Cast()
    for person, addresses in cast.pages().items():
        page = walk(person, "phone", addresses[0], with_factor=person == cast.sven)
        for address in addresses:
            page.set_viewport_size(NARROWEST)  # type: ignore[arg-type]
            page.goto(address)
            Newcomer(page, "nl").look()
            page.set_viewport_size(ZOOMED)  # type: ignore[arg-type]
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
    own = f"/admin/billing/your-products/{cast.own.key}/"
    admin = Newcomer(walk(cast.gina, "phone", f"{own}take-over/"), "nl")
    admin.press("Take it over")
    admin.sees(
        "%(product)s belongs to %(organization)s now. Nobody lost a license.",
        product="Power BI Pro",
        organization="Contoso",
    )
    former = Newcomer(walk(cast.pat, "phone", own), "nl")
    former.arrives_at("Power BI Pro")


def test_menus_open_and_close_by_the_keyboard_and_the_focus_comes_back(walk: Walk) -> None:
    cast = Cast()
    page = walk(cast.pat, "desktop", "/products/")
    skips_to_the_content(page, "#main")
    summary = page.locator("summary.sk-person")
    summary.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Meldingen")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Meldingen")).to_be_hidden()
    expect(summary).to_be_focused()

    for width in (WIDE, NARROWEST):
        page.set_viewport_size(width)  # type: ignore[arg-type]
        page.goto("/admin/billing/your-products/")
        skips_to_the_content(page, "#content-start")
    opener = page.get_by_role("button", name="Menu tonen of verbergen")
    opener.focus()
    page.keyboard.press("Enter")
    first = page.locator("#nav-sidebar-apps a").first
    expect(first).to_be_focused()
    expect(first).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(first).to_be_hidden()
    expect(opener).to_be_focused()


def test_the_menu_is_narrowed_by_what_is_typed_and_enter_leads_there(walk: Walk) -> None:
    page = walk(Cast().gina, "desktop")
    page.set_viewport_size(WIDE)  # type: ignore[arg-type]
    menu = page.locator("#nav-sidebar-apps")
    field = page.get_by_role("searchbox", name="Ga naar een pagina van het menu")
    key = page.locator(".sk-side__goto kbd")
    expect(field).to_be_visible()
    expect(key).to_be_visible()

    page.keyboard.press("Control+k")
    expect(field).to_be_focused()
    expect(key).to_be_hidden()
    page.keyboard.type("beleid")
    expect(menu.locator("a:visible")).to_have_text(
        [re.compile("Aankoopbeleid"), re.compile("Gegevensbeleid")]
    )
    expect(menu.get_by_role("heading")).to_have_count(1)
    nothing = page.get_by_text("Niets gevonden")
    expect(nothing).to_be_hidden()
    page.keyboard.type("xyz")
    expect(nothing).to_be_visible()
    page.keyboard.press("Escape")
    expect(nothing).to_be_hidden()
    expect(menu.get_by_role("link", name="Betaalmethoden")).to_be_visible()
    page.keyboard.type("gegevensb")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Gegevensbeleid")


def skips_to_the_content(page: Page, content: str) -> None:
    """The first key of Tab shows the way past the menu."""
    page.keyboard.press("Tab")
    skip = page.locator(".sk-skip")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator(f"{content} :focus")).to_have_count(1)


def test_a_person_switches_in_the_footer_and_stays_on_the_page(walk: Walk) -> None:
    page = walk(Cast().pat, "phone", "/my/licenses/")
    expect(page.get_by_role("heading", name="Mijn licenties")).to_be_visible()

    page.get_by_role("button", name="English").click()

    expect(page.get_by_role("heading", name="My licenses")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "en")
