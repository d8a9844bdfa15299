"""Prompts and launcher in Chromium: on the product's own page, and on pages of another origin (docs/embed.md)."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings
from playwright.sync_api import Browser, Page, expect

from commerce.models import ProductSite
from config.kit.clock import real_now
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from directory.permissions import Role
from licensing.operations.assignments import assign_licenses
from licensing.operations.prompts import issue_prompt_token
from tests.admin.browser import EVERY_LOOK, PICTURES, problems_of
from tests.axe import violations
from tests.factories import AT, actor_of, client_of, make_subscription, make_tenant, make_user, product

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

HERE = settings.PUBLIC_URL
# As strict as a page of another origin can be that embeds the script.
POLICY = f"default-src 'none'; script-src {HERE}; connect-src {HERE}; style-src 'none'; require-trusted-types-for 'script'"


class Product:
    """A product of the vendor's on a server of its own: one page, which says what the test wants it to."""

    def __init__(self) -> None:
        self.places = ""
        product = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = (
                    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Reports</title>'
                    f'<script src="{HERE}/embed/v1.js" async></script></head>'
                    f"<body><header>{product.places}</header><main><h1>Reports</h1></main></body></html>"
                )
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Security-Policy", POLICY)
                self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
                self.end_headers()
                self.wfile.write(page.encode())

            def log_message(self, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        # Another host, so another site: no cookie of the portal goes with what its pages ask.
        self.origin = f"http://localhost:{self.port}"


@contextmanager
def serving() -> Iterator[Product]:
    running = Product()
    thread = threading.Thread(target=running.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        running.server.shutdown()
        running.server.server_close()
        thread.join()


@pytest.fixture
def reports() -> Iterator[Product]:
    """A server at which Power BI Pro is registered to run."""
    with serving() as running:
        register(running.origin)
        yield running


def register(origin: str) -> None:
    with tenant_atomic(make_tenant(kind="vendor").pk):
        ProductSite.objects.create(product=product(), name="Power BI", origin=origin, path="/reports/")


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso", domain="contoso.example")


@pytest.fixture
def mike(contoso: Tenant) -> User:
    return make_user(contoso, name="Mike Bos", email="mike@contoso.example")


@pytest.fixture
def open_in(browser: Browser, live_server: Any) -> Iterator[Callable[..., Page]]:
    """A page in a browser of its own, signed in to the portal as `person`; what a policy refuses fails the test."""
    expect.set_options(timeout=20_000)
    contexts, problems = [], []

    def opened(address: str, look: str = "desktop", *, person: User | None = None) -> Page:
        context = browser.new_context(**EVERY_LOOK[look])
        contexts.append(context)
        if person is not None:
            name = settings.SESSION_COOKIE_NAME
            key = client_of(person).cookies[name].value
            context.add_cookies([{"name": name, "value": key, "url": HERE}])
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: problems.append(said.text) if "Policy" in said.text else None)
        page.goto(address)
        return page

    yield opened
    expect.set_options(timeout=5_000)
    for context in contexts:
        context.close()
    assert [each for each in problems if "CORS" not in each] == []


def token_for(user: User) -> str:
    with tenant_atomic(user.tenant_id):
        return issue_prompt_token(
            actor=actor_of(user), user=str(user.key), product=product(), real_at=real_now()
        ).token


def give(user: User) -> None:
    subscription = make_subscription(user.tenant)
    admin = make_user(user.tenant, roles=(Role.LICENSE_ADMIN,))
    assign_licenses(actor=actor_of(admin), subscription_key=subscription.key, user_ids=[user.pk], at=AT)


def place(kind: str, inside: str = "", **said: str) -> str:
    facts = {"product": "power-bi-pro"} | said
    attributes = " ".join(f'data-{name}="{value}"' for name, value in facts.items())
    return f"<div data-seatkeeper-{kind} {attributes}>{inside}</div>"


# --- On another origin --------------------------------------------------------------------------------------


def test_a_page_elsewhere_draws_buy_with_a_token_under_the_strictest_policy(
    reports: Product, mike: User, open_in: Callable[..., Page]
) -> None:
    reports.places = place("prompt", token=token_for(mike))

    page = open_in(f"{reports.origin}/reports/7?page=2")

    prompt = page.get_by_role("region", name="You have no license of Power BI Pro")
    expect(prompt).to_contain_text("Contoso")
    buy = prompt.get_by_role("link", name="Buy Power BI Pro")
    way = urlsplit(str(buy.get_attribute("href")))
    assert f"{way.scheme}://{way.netloc}" == HERE
    assert parse_qs(way.query) == {
        "return": [f"{reports.origin}/reports/7?page=2"],
        "organization": ["contoso.example"],
    }
    expect(buy).to_have_css("color", "rgb(255, 255, 255)")
    buy.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Enter your work e-mail")


def test_a_page_that_is_not_registered_draws_nothing_and_keeps_what_it_has(
    mike: User, open_in: Callable[..., Page]
) -> None:
    with serving() as stranger:
        stranger.places = place("prompt", "<p>Ask us</p>", token=token_for(mike))
        page = open_in(f"{stranger.origin}/reports/7")

        expect(page.locator("[data-state=unavailable]")).to_have_text("Ask us")
        assert page.get_by_role("link").count() == 0
        assert "Contoso" not in page.content()


def test_the_session_of_the_portal_is_not_told_to_a_page_of_another_site(
    reports: Product, mike: User, open_in: Callable[..., Page]
) -> None:
    reports.places = place("prompt") + place("launcher")

    page = open_in(f"{reports.origin}/reports/7", person=mike)

    expect(page.get_by_role("link", name="Buy Power BI Pro")).to_be_visible()
    expect(page.get_by_text("Your work e-mail comes first.")).to_be_visible()
    expect(page.get_by_text("Contoso")).to_have_count(0)


def test_whoever_has_a_license_is_shown_nothing_and_the_page_is_told(
    reports: Product, mike: User, open_in: Callable[..., Page]
) -> None:
    give(mike)
    reports.places = place("prompt", "<p>One moment</p>", token=token_for(mike))

    page = open_in(f"{reports.origin}/reports/7")

    expect(page.locator("[data-state=licensed]")).to_have_count(1)
    expect(page.get_by_text("One moment")).to_be_hidden()


def test_a_token_that_is_over_is_told_to_the_page_which_hands_in_another(
    reports: Product, mike: User, open_in: Callable[..., Page]
) -> None:
    reports.places = place("prompt", token="over")

    page = open_in(f"{reports.origin}/reports/7")
    expect(page.locator("[data-state=expired]")).to_have_count(1)
    page.evaluate("token => document.querySelector('[data-token]').dataset.token = token", token_for(mike))

    expect(page.get_by_role("link", name="Buy Power BI Pro")).to_be_visible()


def test_a_place_that_the_page_adds_later_is_drawn(
    reports: Product, mike: User, open_in: Callable[..., Page]
) -> None:
    page = open_in(f"{reports.origin}/reports/7")
    page.wait_for_function("window.seatkeeperEmbed === 1")

    page.evaluate(
        """token => {
          const place = document.createElement("div");
          Object.assign(place.dataset, { seatkeeperPrompt: "", product: "power-bi-pro", token });
          const around = document.createElement("div");
          around.append(place);
          document.querySelector("main").append(around);
        }""",
        token_for(mike),
    )

    expect(page.get_by_role("link", name="Buy Power BI Pro")).to_be_visible()


@pytest.mark.parametrize("look", ["desktop", "dark", "phone"])
def test_prompt_and_open_launcher_elsewhere_pass_axe_and_fit(
    reports: Product, mike: User, open_in: Callable[..., Page], look: str
) -> None:
    give(mike)
    colleague = make_user(mike.tenant)
    reports.places = place("launcher", token=token_for(mike)) + place("prompt", token=token_for(colleague))

    page = open_in(f"{reports.origin}/reports/7", look)
    expect(page.get_by_role("link", name="Buy Power BI Pro")).to_be_visible()
    page.get_by_role("button", name="My apps").click()
    expect(page.get_by_role("navigation", name="My apps")).to_be_visible()
    photograph(page, f"embedded {look}")

    assert violations(page, frames=True) == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def photograph(page: Page, title: str) -> None:
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{title}.png".replace(" ", "-"))


# --- The launcher -------------------------------------------------------------------------------------------


def test_the_launcher_opens_and_closes_by_keyboard_and_gives_the_focus_back(
    reports: Product, contoso: Tenant, open_in: Callable[..., Page]
) -> None:
    gina = make_user(contoso, roles=(Role.GLOBAL_ADMIN,))
    give(gina)
    reports.places = place("launcher", token=token_for(gina)) + '<a href="#next">Next</a>'
    page = open_in(f"{reports.origin}/reports/7")
    button, apps = page.get_by_role("button", name="My apps"), page.get_by_role("navigation", name="My apps")
    expect(button).to_have_attribute("aria-expanded", "false")

    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(apps).to_be_visible()
    expect(button).to_have_attribute("aria-expanded", "true")
    expect(apps.get_by_role("link")).to_have_text(
        [re.compile("Power BI Pro"), re.compile("Admin"), "All apps"]
    )
    page.keyboard.press("Tab")
    expect(apps.get_by_role("link", name=re.compile("Power BI Pro"))).to_be_focused()
    page.keyboard.press("Escape")
    expect(apps).to_be_hidden()
    expect(button).to_be_focused()

    page.keyboard.press("Space")
    expect(apps).to_be_visible()
    for _link in range(4):
        page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Next")).to_be_focused()
    expect(apps).to_be_hidden()

    button.click()
    expect(apps).to_be_visible()
    page.mouse.click(1300, 900)
    expect(apps).to_be_hidden()


def test_the_launcher_follows_the_colors_that_the_person_prefers(
    reports: Product, mike: User, open_in: Callable[..., Page]
) -> None:
    reports.places = place("launcher", token=token_for(mike))
    grounds = []
    for look in ("desktop", "dark"):
        button = open_in(f"{reports.origin}/reports/7", look).get_by_role("button", name="My apps")
        expect(button).to_be_visible()
        grounds.append(button.evaluate("node => getComputedStyle(node).backgroundColor"))

    assert grounds[0] == "rgb(255, 255, 255)"
    assert grounds[1] != grounds[0]


# --- The product's page of the portal -----------------------------------------------------------------------


@pytest.mark.usefixtures("empty_processor")
def test_from_the_product_to_the_purchase_and_back(mike: User, open_in: Callable[..., Page]) -> None:
    page = open_in(f"{HERE}/apps/power-bi-pro/", person=mike)
    prompt = page.locator("[data-seatkeeper-prompt][data-state=buy]")
    expect(prompt.get_by_role("link", name="Buy Power BI Pro")).to_be_visible()

    prompt.get_by_role("link", name="Buy Power BI Pro").click()
    page.wait_for_url("**/checkout/**")
    card = page.frame_locator("iframe[title='Secure payment input frame']")
    card.get_by_label("Card number").fill("4242 4242 4242 4242")
    card.get_by_label("Expiration date").fill("12 / 34")
    card.get_by_label("Security code").fill("123")
    page.get_by_label("Street and number").fill("Keizersgracht 100")
    page.get_by_label("City").fill("Amsterdam")
    for box in page.get_by_role("checkbox").all():
        box.check()
    page.get_by_role("button", name=re.compile("^Pay €")).click()
    page.get_by_role("link", name="Back to Power BI Pro").click()

    expect(page.get_by_role("heading", name="You have Power BI Pro")).to_be_visible()
    launcher = page.locator("[data-seatkeeper-launcher][data-state=known]")
    launcher.get_by_role("button", name="My apps").click()
    expect(launcher.get_by_role("link", name=re.compile("^Admin"))).to_have_attribute(
        "href", re.compile("/admin/billing/your-products/$")
    )


@pytest.mark.parametrize("look", ["desktop", "dark", "phone", "no script"])
def test_the_products_page_stands_what_every_page_must(
    mike: User, open_in: Callable[..., Page], look: str
) -> None:
    page = open_in(f"{HERE}/apps/power-bi-pro/", look, person=mike)

    expect(page.get_by_role("link", name="Buy Power BI Pro")).to_be_visible()

    assert problems_of(page, "product without a license", look) == []
