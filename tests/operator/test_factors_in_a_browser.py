"""Staff set up an app and a passkey in Chromium and come in with each; the authenticator is Chromium's virtual one (CDP WebAuthn,
docs/adr/0033)."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.conf import settings as configured
from playwright.sync_api import Browser, BrowserContext, Page, expect

from config.kit.clock import real_now
from config.kit.rate import _valkey
from config.kit.tenancy import tenant_atomic
from directory import factors
from directory.models import Tenant, User
from tests.admin.browser import LOOKS, problems_of
from tests.factories import client_of, make_staff

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


@pytest.fixture(autouse=True)
def _no_tries_yet() -> None:
    _valkey().flushdb()


@pytest.fixture
def site(live_server: Any, settings: Any) -> str:
    """The running site by its name: passkeys belong to a name, never to a number."""
    address: str = live_server.url.replace("127.0.0.1", "localhost")
    settings.PUBLIC_URL = address
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
    return address


@pytest.fixture
def sven_of_staff(vendor: Tenant) -> User:
    return make_staff(vendor, "staff_support", name="Sven Larsen", email="sven@vendor.example")


@pytest.fixture
def contexts(browser: Browser) -> Iterator[list[BrowserContext]]:
    made: list[BrowserContext] = []
    yield made
    for context in made:
        context.close()


def open_as(person: User, site: str, browser: Browser, contexts: list[BrowserContext], look: str) -> Page:
    """A browser that has just signed in as the person, and has shown no second factor."""
    context = browser.new_context(base_url=site, **LOOKS[look])
    contexts.append(context)
    name = configured.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": client_of(person).cookies[name].value, "url": site}])
    page = context.new_page()
    page.goto("/operator/")
    return page


def plug_in(page: Page) -> tuple[Any, str]:
    """An authenticator of this device that asks for a finger and gets one; the session that drives it, and its id."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    added = session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return session, str(added["authenticatorId"])


def keys_on(device: tuple[Any, str]) -> list[dict[str, Any]]:
    session, authenticator = device
    found = session.send("WebAuthn.getCredentials", {"authenticatorId": authenticator})
    credentials: list[dict[str, Any]] = found["credentials"]
    return credentials


def kept(person: User) -> list[str]:
    """The kinds of the person's factors."""
    with tenant_atomic(person.tenant_id):
        rows = Authenticator.objects.filter(user=person).order_by("id")
        return list(rows.values_list("type", flat=True))


@pytest.mark.parametrize("look", ["desktop", "phone"])
def test_an_app_is_set_up_by_its_code_and_opens_the_site(
    site: str, sven_of_staff: User, browser: Browser, contexts: list[BrowserContext], look: str
) -> None:
    page = open_as(sven_of_staff, site, browser, contexts, look)

    expect(page.get_by_role("heading", level=1)).to_have_text("Set up an authenticator app")
    assert problems_of(page, "factor app", look) == []
    secret = page.get_by_role("textbox", name="Secret").input_value().replace(" ", "")
    page.get_by_role("textbox", name="Code").fill(
        "000000" if factors.code_at(secret, real_now()) != "000000" else "111111"
    )
    page.get_by_role("button", name="Set it up").click()
    expect(page.get_by_role("alert")).to_contain_text("not the one that the app shows now")
    page.get_by_role("textbox", name="Code").fill(factors.code_at(secret, real_now()))
    page.get_by_role("button", name="Set it up").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your recovery codes")
    codes = re.findall(r"\b\d{8}\b", page.get_by_role("main").inner_text())
    page.get_by_role("link", name="I have kept them").click()
    expect(page).to_have_url(f"{site}/operator/")

    again = open_as(sven_of_staff, site, browser, contexts, look)
    expect(again).to_have_url(f"{site}/operator/second-factor/?next=%2Foperator%2F")
    assert problems_of(again, "factor shown", look) == []
    again.get_by_role("textbox").fill(codes[0])
    again.get_by_role("textbox").press("Enter")
    expect(again).to_have_url(f"{site}/operator/")
    assert len(codes) == 10
    assert kept(sven_of_staff) == ["totp", "recovery_codes"]


def test_a_passkey_is_made_by_the_browser_and_opens_the_site(
    site: str, sven_of_staff: User, browser: Browser, contexts: list[BrowserContext]
) -> None:
    page = open_as(sven_of_staff, site, browser, contexts, "desktop")
    device = plug_in(page)

    page.get_by_role("link", name="Set up a passkey instead").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Set up a passkey")
    page.get_by_label("Name").fill("Blue key")
    page.get_by_role("button", name="Make the passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your recovery codes")
    made = keys_on(device)
    page.get_by_role("link", name="I have kept them").click()
    expect(page).to_have_url(f"{site}/operator/")
    page.goto("/operator/second-factor/own/")
    expect(page.get_by_role("main")).to_contain_text("Passkey: Blue key")

    # The session is over; the device still has the key.
    page.context.clear_cookies()
    name = configured.SESSION_COOKIE_NAME
    cookie = {"name": name, "value": client_of(sven_of_staff).cookies[name].value, "url": site}
    page.context.add_cookies([cookie])  # type: ignore[list-item]
    page.goto("/operator/")
    expect(page).to_have_url(f"{site}/operator/second-factor/?next=%2Foperator%2F")
    page.get_by_role("button", name="Use your passkey").click()
    expect(page).to_have_url(f"{site}/operator/")
    (used,) = keys_on(device)

    assert [key["rpId"] for key in made] == ["localhost"]
    assert used["signCount"] > made[0]["signCount"]
    assert kept(sven_of_staff) == ["webauthn", "recovery_codes"]
