"""Organizations, billing and the catalogue at the vendor's site in Chromium: clean for axe, light, dark and on a phone."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import Browser, BrowserContext, Page, expect

from commerce.catalogue_files import HEADS
from commerce.operations import billing_control
from commerce.operations.billing_pauses import pause_billing
from commerce.operations.organizations import suspend_organization
from commerce.operations.prices import add_price
from config.kit.clock import now
from directory.models import User
from tests.admin.browser import LOOKS, listen, problems_of
from tests.factories import (
    client_of,
    make_staff,
    make_subscription,
    make_tenant,
    make_user,
    plan,
    staff_actor_of,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

CATALOGUE = "/operator/catalogue/"


@pytest.fixture
def root() -> User:
    vendor = make_tenant(name="Seatkeeper", kind="vendor")
    return make_staff(vendor, "staff_superuser", name="Roos Maas")


@pytest.fixture
def open_page(browser: Browser, live_server: Any, root: User) -> Iterator[Callable[[str, str], Page]]:
    """`open_page(address, look)` gives a page in Chromium, signed in with the second factor."""
    contexts: dict[str, BrowserContext] = {}

    def open_as(address: str, look: str) -> Page:
        if look not in contexts:
            client = client_of(root, with_factor=True)
            contexts[look] = browser.new_context(**LOOKS[look])
            name = settings.SESSION_COOKIE_NAME
            contexts[look].add_cookies(
                [{"name": name, "value": client.cookies[name].value, "url": live_server.url}]
            )
        page = listen(contexts[look].new_page())
        page.goto(live_server.url + address)
        return page

    yield open_as
    for context in contexts.values():
        context.close()


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_is_clean(look: str, open_page: Callable[[str, str], Page], root: User) -> None:
    actor = staff_actor_of(root)
    contoso = make_tenant(name="Contoso", domain="contoso.example")
    fabrikam = make_tenant(name="Fabrikam", country="US", currency="USD", issuer=None)
    make_subscription(contoso, owner=make_user(contoso))
    suspend_organization(staff=actor, tenant_id=fabrikam.pk, reason="Did not pay", at=now())
    billing_control.look(at=now())
    begins_at = now() + timedelta(days=40)
    price = add_price(
        staff=actor, plan_id=plan().pk, market="NL", unit_price_minor=1_990, begins_at=begins_at, at=now()
    )
    one = f"/operator/organizations/{contoso.pk}/"
    pages = {
        "organizations": "/operator/organizations/",
        "organization": one,
        "organization suspended": f"/operator/organizations/{fabrikam.pk}/",
        "organization new": "/operator/organizations/new/",
        "organization change": f"{one}change/?kind=government&country=US",
        "billing": "/operator/billing/",
        "catalogue": CATALOGUE,
        "product": f"{CATALOGUE}products/power-bi-pro/",
        "product new": f"{CATALOGUE}new/",
        "prices": f"{CATALOGUE}products/power-bi-pro/prices/?market=NL",
        "price": f"{CATALOGUE}prices/{price.pk}/",
        "import": f"{CATALOGUE}import/",
    }

    found: list[str] = []
    for title, address in pages.items():
        found += problems_of(open_page(address, look), title, look)
    pause_billing(staff=actor, reason="Moving the database", at=now())
    found += problems_of(open_page("/operator/billing/", look), "billing paused", look)

    assert found == []


def test_a_file_is_imported_as_its_dry_run_shows(open_page: Callable[[str, str], Page]) -> None:
    lines = [
        ",".join(HEADS["products"]),
        "PAINT-1,Paint,paint,Art,yes,no,0f1f7f6a-0a6b-4b0e-9d0a-6b1f6c7f7a10,PAINT,",
        "PAINT-2,Pen,pen,Art,maybe,no,0f1f7f6a-0a6b-4b0e-9d0a-6b1f6c7f7a11,PEN,",
    ]
    content = "\n".join(lines).encode()
    page = open_page(f"{CATALOGUE}import/", "phone")

    page.get_by_label("CSV file").set_input_files(
        {"name": "products.csv", "mimeType": "text/csv", "buffer": content}
    )
    page.get_by_role("button", name="See what it would do").click()
    expect(page.get_by_text("Self-service and trial are yes or no.")).to_be_visible()
    problems = problems_of(page, "import plan", "no script")
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    page.get_by_role("button", name="Import 1 line").click()

    assert problems == []
    assert wide <= 0
    expect(page.get_by_text("Imported: 1 added, 0 changed, 0 as before, 1 left out.")).to_be_visible()


@pytest.mark.parametrize("look", ["desktop", "phone"])
def test_a_form_with_mistakes_says_so_at_its_fields(look: str, open_page: Callable[[str, str], Page]) -> None:
    page = open_page("/operator/organizations/new/", look)

    page.get_by_role("textbox", name="E-mail domain").fill("nonsense")
    page.get_by_label("Work e-mail").fill("nobody")
    page.get_by_role("button", name="Set up the organization").click()
    expect(page.get_by_text("Nothing was set up.")).to_be_visible()

    assert problems_of(page, f"organization mistakes {look}", "no script") == []
    assert page.get_by_role("textbox", name="Name", exact=True).get_attribute("aria-invalid") == "true"


def test_an_organization_is_suspended_and_taken_up_in_the_browser(
    open_page: Callable[[str, str], Page],
) -> None:
    contoso = make_tenant(name="Contoso")
    page = open_page("/operator/organizations/", "desktop")

    page.get_by_role("link", name="Contoso").click()
    page.get_by_label("Why").fill("Did not pay")
    page.get_by_role("button", name="Suspend").click()
    expect(page.get_by_text("Contoso is suspended from now on.")).to_be_visible()
    page.get_by_label("Why").fill("Paid")
    page.get_by_role("button", name="Take up again").click()

    expect(page.get_by_text("Contoso is in good standing again.")).to_be_visible()
    assert page.url.endswith(f"/{contoso.pk}/")
