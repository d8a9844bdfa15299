"""A newcomer, who opens the first page and goes on by what the pages say, in the language that the browser asks for.

Every step is written once, in the English of the code; what is looked for on a page is its translation. Each page that is
arrived at must be in the reader's language as a whole, without anything that axe finds, and as wide as the screen.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from django.utils import translation
from django.utils.translation import trans_real
from playwright.sync_api import Locator, Page, expect

from commerce.models import Product
from config.demo import people
from config.demo.environment import client_of, issuers
from config.kit.actors import Actor
from directory.models import Tenant, User
from directory.operations.tenants import configure_identity_provider
from tests.axe import violations
from tests.factories import AT, make_staff, make_tenant, make_user

# One look for each language: what a language does to a page and what a look does to it are two questions.
READERS: Final[dict[str, dict[str, Any]]] = {
    "en": {"locale": "en-US", "viewport": {"width": 1440, "height": 1000}},
    "nl": {"locale": "nl-NL", "viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
}
# Words that no Dutch sentence has.
_ENGLISH = re.compile(
    r"\b(the|you|your|yours|and|with|from|has|have|are|who|which|what|this|that|not|nothing|nobody|everybody|until|each"
    r"|when|buy|bought|pay|paid|bills|license|licenses|purchase|people|search|show|free|month|year|today)\b",
    re.IGNORECASE,
)
# Every text of the page, its names for screen readers included, outside of what says to be in another language.
_TEXTS = """() => {
  const texts = [document.title], own = document.documentElement.lang;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT, node => {
    if (node.nodeType === Node.TEXT_NODE) return NodeFilter.FILTER_ACCEPT;
    const other = node.lang && node.lang !== own;
    return other || ["SCRIPT", "STYLE"].includes(node.tagName) || node.classList.contains("material-symbols-outlined")
      ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT;
  });
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (node.nodeType === Node.TEXT_NODE) texts.push(node.data);
    else for (const name of ["aria-label", "placeholder", "alt", "title"]) texts.push(node.getAttribute(name) ?? "");
  }
  return texts.map(text => text.replace(/\\s+/g, " ").trim()).filter(Boolean);
}"""


class Newcomer:
    """Somebody with a browser of the own language, before the first page."""

    def __init__(self, page: Page, language: str) -> None:
        self.page = page
        self.language = language

    # --- What the pages say ---

    def says(self, text: str, plural: str = "", *, n: int | None = None, **values: object) -> str:
        """What a page says for a text of the code, filled in; a text that is not translated at all fails the walk."""
        known = trans_real.translation("nl")._catalog  # type: ignore[attr-defined]
        assert text in known or (text, 0) in known, f"No page says {text!r}"
        with translation.override(self.language):
            found = translation.ngettext(text, plural, n) if n is not None else translation.gettext(text)
        return found % ({"n": n} | values) if values or n is not None else found

    def find(self, kind: Any, text: str, plural: str = "", **said: Any) -> Locator:
        """The first thing on the page of that kind whose name begins so: hidden words say more to screen readers."""
        words = self.says(text, plural, **said).split()
        name = re.compile("^" + r"\s+".join(map(re.escape, words)))
        return self.page.get_by_role(kind, name=name).filter(visible=True).first

    def field(self, text: str, **said: Any) -> Locator:
        return self.page.get_by_label(self.says(text, **said)).filter(visible=True).first

    # --- What somebody does ---

    def open(self) -> None:
        """The first page, the only address that is typed."""
        self.page.goto("/")
        self.arrives("Buy the tools you need, today")

    def press(self, text: str, plural: str = "", **said: Any) -> None:
        self.find("button", text, plural, **said).click()

    def follow(self, text: str, plural: str = "", **said: Any) -> None:
        self.find("link", text, plural, **said).click()

    def follow_name(self, name: str) -> None:
        """A link that is named as a thing is: a product, a person, an organization."""
        self.page.get_by_role("main").get_by_role("link", name=name).filter(visible=True).first.click()

    def choose(self, text: str) -> None:
        """An entry of the menu, on a page that was looked at; a phone shows the menu on request."""
        menu = self.page.locator("#nav-sidebar-apps")
        entry = menu.get_by_role("link", name=self.says(text))
        if not menu.is_visible():
            self.press("Show or hide the menu")
            expect(entry).to_be_visible()
        entry.click()
        self.arrives(text)

    def sign_in(self, mail: str) -> None:
        """From the page that asks for the work e-mail, by way of the organization's own sign-in page."""
        self.arrives("Enter your work e-mail")
        self.field("Work e-mail").fill(mail)
        self.press("Continue")

    def come_in(self, mail: str) -> None:
        """From the first page to the own apps."""
        self.open()
        self.follow("Sign in")
        self.sign_in(mail)
        self.sees("Your apps")
        self.look()

    def administer(self, mail: str, first: str) -> None:
        """From the first page to the admin center, which opens with the page `first`."""
        self.come_in(mail)
        self.follow("Admin")
        self.arrives(first)

    # --- What somebody sees ---

    def sees(self, text: str, plural: str = "", **said: Any) -> None:
        """Waits for a text."""
        expect(
            self.page.get_by_text(self.says(text, plural, **said)).filter(visible=True).first
        ).to_be_visible()

    def arrives(self, text: str, **said: Any) -> None:
        """Waits for a page by its heading, and looks at it."""
        self.arrives_at(self.says(text, **said))

    def arrives_at(self, heading: str) -> None:
        expect(self.page.get_by_role("heading", level=1)).to_have_text(heading)
        self.look()

    def look(self) -> None:
        """The page is in the reader's language, open to everybody, and not wider than the screen."""
        page = self.page
        page.wait_for_load_state()
        expect(page.locator("html")).to_have_attribute("lang", self.language)
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{page.url} is too wide"
        if self.language != "en":
            names = Product.objects.order_by("-name").values_list("name", flat=True)
            texts = re.sub("|".join(map(re.escape, names)), "", "\n".join(page.evaluate(_TEXTS)))
            english = [text for text in texts.splitlines() if _ENGLISH.search(text)]
            assert english == [], f"{page.url} says {english}"


type Arrive = Callable[[str], Newcomer]


def organization(key: str) -> Tenant:
    """An organization of the demo with its real identity provider, and nobody yet."""
    facts = people.tenant(key)
    made = make_tenant(
        name=facts.name,
        domain=facts.domain,
        issuer=None,
        kind=facts.kind,
        country=facts.country,
        currency=facts.currency,
        time_zone=facts.time_zone,
    )
    client_id, secret = client_of(key)
    configure_identity_provider(
        actor=Actor.system(made.pk), issuer=issuers()[key], client_id=client_id, client_secret=secret, at=AT
    )
    return made


def person(tenant: Tenant, key: str, name: str, **fields: Any) -> User:
    """Somebody of the demo, in the organization, whom the identity provider knows."""
    facts = people.tenant(key)
    who = facts.person(name)
    identity = {"issuer": issuers()[key], "subject": facts.object_id(who)}
    said: dict[str, Any] = {"name": who.full_name, "email": facts.mail(who), **identity, **fields}
    if who.staff_roles:
        return make_staff(tenant, *who.staff_roles, **said)
    return make_user(tenant, roles=who.roles, **said)
