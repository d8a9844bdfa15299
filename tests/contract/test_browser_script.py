"""The browser script, in Chromium, on a page with Seatkeeper's own content security policy."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest
import stripe
from playwright.sync_api import Browser, FrameLocator, Page, expect

from .peer import PUBLISHABLE_KEY, Peer

NOT_AUTHENTICATED = "We are unable to authenticate your payment method. Please choose a different payment method and try again."
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Shop</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style nonce="n0nce">
  :root {{ color-scheme: {scheme}; font: 16px/1.5 system-ui; }}
  body {{ max-width: 34rem; margin: 0 auto; padding: 24px 16px; background: Canvas; color: CanvasText; }}
  button {{ width: 100%; height: 46px; margin-top: 20px; font: inherit; }}
</style>
<script nonce="n0nce" src="{peer}/v3/"></script></head><body>
<h1>Check and pay</h1><form id="form"><div id="payment"></div><button>Pay</button></form>
<p id="result" role="status"></p>
<script nonce="n0nce" src="/pay.js"></script></body></html>"""
SCRIPT = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
const settings = {settings};
const stripe = Stripe({key});
const elements = stripe.elements(settings.elements);
const payment = elements.create("payment", settings.payment);
payment.on("ready", () => {{ document.body.dataset.ready = "yes"; }});
payment.on("change", (event) => {{ document.body.dataset.complete = event.complete; }});
payment.mount("#payment");
const show = (text) => {{ document.getElementById("result").textContent = text; }};
document.getElementById("form").addEventListener("submit", async (event) => {{
  event.preventDefault();
  const {{ error: incomplete }} = await elements.submit();
  if (incomplete) return show("incomplete: " + incomplete.message);
  const {{ error, confirmationToken }} = await stripe.createConfirmationToken({{ elements, params: {{
    payment_method_data: {{ billing_details: {{ name: "M. Mulder", address: {{ country: "NL" }} }} }},
    return_url: location.origin + "/back",
  }} }});
  if (error) return show("no token: " + error.message);
  const answer = await (await fetch("/pay", {{ method: "POST", body: new URLSearchParams({{ token: confirmationToken.id }}) }})).json();
  if (answer.error) return show("declined: " + answer.error);
  if (answer.status !== "requires_action") return show(answer.status);
  show("asking the bank");
  const outcome = await stripe.handleNextAction({{ clientSecret: answer.clientSecret }});
  show(outcome.error ? "refused: " + outcome.error.message : outcome.paymentIntent.status);
}});
"""


@dataclass
class Shop:
    """The embedding page and its server side; remembers every byte that the page sent it."""

    peer: Peer
    scheme: str = "light"
    elements: dict[str, Any] = field(default_factory=dict)
    payment: dict[str, Any] = field(default_factory=dict)
    received: list[str] = field(default_factory=list)
    url: str = ""

    def page(self) -> str:
        return PAGE.format(scheme=self.scheme, peer=self.peer.url)

    def script(self) -> str:
        elements = {
            "mode": "payment",
            "amount": 2275,
            "currency": "eur",
            "paymentMethodTypes": ["card"],
            "setupFutureUsage": "off_session",
            "locale": "en",
        } | self.elements
        payment = {"fields": {"billingDetails": {"address": {"country": "never"}}}} | self.payment
        settings = {"elements": elements, "payment": payment}
        return SCRIPT.format(settings=json.dumps(settings), key=json.dumps(PUBLISHABLE_KEY))

    def pay(self, body: str) -> dict[str, Any]:
        """Create, then confirm that one intent with the token, as the portal does."""
        self.received.append(body)
        client = self.peer.client
        intents = client.v1.payment_intents
        customer = client.v1.customers.create({"email": "mike@contoso.example"})
        intent = intents.create(
            {
                "amount": 2275,
                "currency": "eur",
                "customer": customer.id,
                "setup_future_usage": "off_session",
                "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            }
        )
        try:
            intent = intents.confirm(intent.id, {"confirmation_token": parse_qs(body)["token"][0]})
        except stripe.CardError as declined:
            return {"error": declined.user_message}
        return {"status": intent.status, "clientSecret": intent.client_secret}


@pytest.fixture
def shop(peer: Peer) -> Iterator[Shop]:
    shop = Shop(peer)
    policy = (
        f"default-src 'none'; script-src 'nonce-n0nce' 'strict-dynamic' {peer.url}; frame-src {peer.url}; "
        f"connect-src 'self' {peer.url}; style-src 'self' 'nonce-n0nce'; form-action 'self'; img-src 'self' data:; "
        "font-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    )

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            pages = {"/": ("text/html", shop.page), "/pay.js": ("text/javascript", shop.script)}
            kind, content = pages.get(self.path, ("text/plain", lambda: ""))
            self._send(kind, content())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._send("application/json", json.dumps(shop.pay(body)))

        def _send(self, kind: str, content: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Security-Policy", policy)
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    shop.url = f"http://127.0.0.1:{server.server_address[1]}/"
    yield shop
    server.shutdown()
    server.server_close()


@pytest.fixture
def page(browser: Browser, shop: Shop) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 720, "height": 720})
    page = context.new_page()
    page.on("pageerror", lambda error: pytest.fail(f"error on the page: {error}"))
    yield page
    assert page.evaluate("window.violations") == []
    context.close()


def fill_card(page: Page, number: str, *, expiry: str = "1234", cvc: str = "123") -> FrameLocator:
    expect(page.locator("body")).to_have_attribute("data-ready", "yes")
    card = page.frame_locator('iframe[title="Secure payment input frame"]')
    card.get_by_label("Card number").press_sequentially(number)
    card.get_by_label("Expiration date").press_sequentially(expiry)
    card.get_by_label("Security code").press_sequentially(cvc)
    return card


def bank(page: Page) -> FrameLocator:
    return page.frame_locator('iframe[title="3D Secure"]')


def test_pays_with_a_good_card_whose_number_never_reaches_the_page(page: Page, shop: Shop) -> None:
    page.goto(shop.url)
    card = fill_card(page, "4242424242424242")

    expect(card.get_by_label("Card number")).to_have_value("4242 4242 4242 4242")
    expect(card.get_by_label("Expiration date")).to_have_value("12 / 34")
    expect(page.locator("body")).to_have_attribute("data-complete", "true")
    page.get_by_role("button", name="Pay").click()

    expect(page.locator("#result")).to_have_text("succeeded")
    assert "4242" not in "".join(shop.received)
    assert "4242" not in page.content()
    token_id = parse_qs(shop.received[-1])["token"][0]
    token = shop.peer.client.v1.confirmation_tokens.retrieve(token_id)
    assert token.payment_method_preview is not None
    assert token.payment_method_preview.billing_details.name == "M. Mulder"
    assert token.setup_future_usage == "off_session"


def test_shows_a_decline_and_takes_another_card(page: Page, shop: Shop) -> None:
    page.goto(shop.url)
    card = fill_card(page, "4000000000009995")
    page.get_by_role("button", name="Pay").click()
    expect(page.locator("#result")).to_have_text("declined: Your card has insufficient funds.")

    card.get_by_label("Card number").fill("5555555555554444")
    page.get_by_role("button", name="Pay").click()

    expect(page.locator("#result")).to_have_text("succeeded")


def test_completes_3d_secure_in_the_banks_window(page: Page, shop: Shop) -> None:
    page.goto(shop.url)
    fill_card(page, "4000002760003184")
    page.get_by_role("button", name="Pay").click()
    expect(bank(page).get_by_text("€22.75")).to_be_visible()
    expect(bank(page).get_by_text("Visa ending in 3184")).to_be_visible()

    bank(page).get_by_role("button", name="Complete authentication").click()

    expect(page.locator("#result")).to_have_text("succeeded")
    expect(page.locator('iframe[title="3D Secure"]')).to_have_count(0)


@pytest.mark.parametrize("way", ["button", "escape"])
def test_a_failed_3d_secure_is_an_error_that_charges_nothing(page: Page, shop: Shop, way: str) -> None:
    before = shop.peer.control("GET", "charges/count")["count"]
    page.goto(shop.url)
    fill_card(page, "4000002760003184")
    page.get_by_role("button", name="Pay").click()
    refuse = bank(page).get_by_role("button", name="Fail authentication")

    if way == "button":
        refuse.click()
    else:
        refuse.press("Escape")

    expect(page.locator("#result")).to_have_text(f"refused: {NOT_AUTHENTICATED}")
    assert shop.peer.control("GET", "charges/count")["count"] == before


def test_a_decline_after_3d_secure_is_the_cards_own_error(page: Page, shop: Shop) -> None:
    page.goto(shop.url)
    fill_card(page, "4000008400001629")
    page.get_by_role("button", name="Pay").click()

    bank(page).get_by_role("button", name="Complete authentication").click()

    expect(page.locator("#result")).to_have_text("refused: Your card was declined.")


def test_names_what_is_wrong_with_the_card_in_its_field(page: Page, shop: Shop) -> None:
    page.goto(shop.url)
    card = fill_card(page, "42424242", expiry="0120", cvc="1")

    page.get_by_role("button", name="Pay").click()

    expect(page.locator("#result")).to_have_text("incomplete: Your card number is incomplete.")
    number = card.get_by_label("Card number")
    expect(number).to_have_attribute("aria-invalid", "true")
    expect(number).to_have_accessible_description("Your card number is incomplete.")
    expect(number).to_be_focused()
    expect(card.get_by_text("Your card's expiration year is in the past.")).to_be_visible()
    expect(card.get_by_text("Your card's security code is incomplete.")).to_be_visible()


def test_a_wrong_number_is_found_by_its_check_digit(page: Page, shop: Shop) -> None:
    page.goto(shop.url)
    card = fill_card(page, "4242424242424241")

    expect(card.get_by_text("Your card number is invalid.")).to_be_visible()


def test_asks_for_country_and_postal_code_unless_told_not_to(page: Page, shop: Shop) -> None:
    shop.payment = {"fields": {}}
    shop.elements = {"locale": "en-US"}
    page.goto(shop.url)
    card = fill_card(page, "4242424242424242")
    expect(card.get_by_label("Country or region")).to_have_value("US")

    page.get_by_role("button", name="Pay").click()
    expect(page.locator("#result")).to_have_text("incomplete: Your postal code is incomplete.")
    card.get_by_label("Country or region").select_option("NL")
    expect(card.get_by_label("Postal code")).to_be_hidden()
    page.get_by_role("button", name="Pay").click()

    expect(page.locator("#result")).to_have_text("succeeded")


def test_speaks_dutch_and_fills_in_a_test_card(page: Page, shop: Shop) -> None:
    shop.elements = {"locale": "nl"}
    page.goto(shop.url)
    expect(page.locator("body")).to_have_attribute("data-ready", "yes")
    card = page.frame_locator('iframe[title="Secure payment input frame"]')

    expect(card.get_by_label("Kaartnummer")).to_be_visible()
    card.get_by_role("button", name="Slaagt").click()
    page.get_by_role("button", name="Pay").click()

    expect(page.locator("#result")).to_have_text("succeeded")


def test_the_frame_is_as_high_as_its_fields(page: Page, shop: Shop) -> None:
    page.set_viewport_size({"width": 360, "height": 720})
    page.goto(shop.url)
    card = fill_card(page, "42424242", expiry="0120", cvc="1")
    card.get_by_label("Card number").focus()
    frame = page.locator('iframe[title="Secure payment input frame"]')

    expect(card.get_by_text("Your card's security code is incomplete.")).to_be_visible()
    page.wait_for_timeout(100)

    box = frame.bounding_box()
    assert box is not None
    assert card.locator("html").evaluate("root => root.scrollHeight") <= box["height"]
    assert card.locator("html").evaluate("root => root.scrollWidth <= root.clientWidth")


def test_a_cardholder_sent_to_the_banks_page_comes_back(page: Page, shop: Shop) -> None:
    client = shop.peer.client
    intent = client.v1.payment_intents.create(
        {
            "amount": 900,
            "currency": "eur",
            "payment_method": "pm_card_authenticationRequired",
            "allowed_payment_method_types": ["card"],
            "confirm": True,
            "return_url": f"{shop.url}back",
        }
    )
    assert intent.next_action is not None
    assert intent.next_action.redirect_to_url is not None
    page.goto(str(intent.next_action.redirect_to_url.url))

    page.get_by_role("button", name="Complete authentication").click()

    page.wait_for_url(f"{shop.url}back?**")
    assert "redirect_status=succeeded" in page.url
    page.evaluate("window.violations = []")
    assert client.v1.payment_intents.retrieve(intent.id).status == "succeeded"
