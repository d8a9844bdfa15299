"""The pictures of the guides, taken of a running demo: `make pictures`, with `make run` in another terminal.

Each is taken as the person whom the guide is for, in a browser of their own, and written to docs/images/. A page that does
not answer ends the run, so that no picture shows an error.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from http import HTTPStatus
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urljoin

from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from config.demo import chromium

# Wide enough for the menu beside the page.
SIZE: ViewportSize = {"width": 1440, "height": 900}
PICTURES = Path("docs/images")


class Picture(NamedTuple):
    """One picture: its file, whose eyes see it ("" for a visitor), the address, and what is clicked there first."""

    name: str
    who: str
    address: str
    steps: Callable[[Page], None] = lambda page: None


def _open(link: str) -> Callable[[Page], None]:
    def follow(page: Page) -> None:
        page.get_by_role("link", name=link).first.click()
        page.wait_for_load_state()

    return follow


def _in_turn(*links: str) -> Callable[[Page], None]:
    def follow(page: Page) -> None:
        for link in links:
            _open(link)(page)

    return follow


def _act_for(customer: str, address: str) -> Callable[[Page], None]:
    def switch(page: Page) -> None:
        page.get_by_role("button", name=f"Act for {customer}").click()
        expect(page.get_by_role("button", name="Stop acting").first).to_be_visible()
        page.goto(urljoin(page.url, address))

    return switch


PAT, GINA, BILL = "pat@contoso.example", "gina@contoso.example", "bill@contoso.example"
LISA, PETRA = "lisa@contoso.example", "petra@northwind.example"
YOURS = "/admin/billing/your-products/"
ALL = (
    Picture("guide/shop", "", "/products/"),
    Picture("guide/checkout", "mike@contoso.example", "/buy/power-bi-pro/"),
    Picture("guide/purchase", PAT, YOURS, _open("Power BI Pro")),
    Picture("guide/assign", PAT, YOURS, _in_turn("Power BI Pro", "Assign licenses")),
    Picture("your-products", BILL, YOURS),
    Picture("guide/policy", GINA, "/admin/billing/policy/"),
    Picture("guide/requests", GINA, "/admin/requests/"),
    Picture("guide/centralize", GINA, "/admin/billing/centralize/"),
    Picture("guide/data-policies", GINA, "/admin/data-policies/"),
    Picture("guide/roles", GINA, "/admin/roles/"),
    Picture("guide/relationship", GINA, "/admin/relationships/", _open("Northwind Partners")),
    Picture("guide/licenses", LISA, "/admin/licenses/"),
    Picture("guide/bulk", LISA, "/admin/licenses/", _open("Power BI Pro")),
    Picture("guide/person", "uma@contoso.example", "/admin/people/", _open("Pat Mulder")),
    Picture("guide/drift", PETRA, "/admin/customers/drift/"),
    Picture("guide/acting", PETRA, "/admin/customers/", _act_for("Contoso", YOURS)),
)


def take(base: str, pictures: Iterable[Picture]) -> None:
    """Take `pictures` of the demo at `base`, those of one person in one session."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium.executable(), args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        for who, group in groupby(sorted(pictures, key=lambda each: each.who), key=lambda each: each.who):
            page = _browse(browser, base, who)
            for picture in group:
                answer = page.goto(base + picture.address)
                picture.steps(page)
                if answer is None or answer.status != HTTPStatus.OK or not page.locator("h1").count():
                    sys.exit(f"{picture.name}: {page.url} shows no page")
                page.wait_for_timeout(400)
                (PICTURES / picture.name).parent.mkdir(parents=True, exist_ok=True)
                page.screenshot(path=PICTURES / f"{picture.name}.png")
                print(f"{picture.name}  {who or 'visitor'}  {page.url.removeprefix(base)}", flush=True)
            page.context.close()
        browser.close()


def _browse(browser: Browser, base: str, who: str) -> Page:
    """A page of a new session, signed in as `who`."""
    page = browser.new_context(viewport=SIZE, locale="en-GB").new_page()
    if who:
        page.goto(f"{base}/sign-in/")
        page.get_by_label("Work e-mail").fill(who)
        page.get_by_role("button", name="Continue").click()
        page.wait_for_url(f"{base}/")
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the demo's address")
    parser.add_argument("names", nargs="*", help="these alone, for example guide/shop")
    asked = parser.parse_args()
    take(asked.url, [each for each in ALL if not asked.names or each.name in asked.names])


if __name__ == "__main__":
    main()
