"""A complete demo behind a real browser: what `make run` starts, in a folder and on ports of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from config.demo.servers import free_port
from config.kit.rate import _valkey
from directory.models import User
from tests.browser.newcomers import READERS, Arrive, Newcomer
from tests.browser.walking import LOOKS, Walk
from tests.factories import client_of
from tests.processor import reset

CHECKOUT = Path(__file__).resolve().parents[2]
# Nothing of the test run's own servers reaches the demo.
OWN = (
    "DATABASE",
    "REDIS",
    "CACHE",
    "STRIPE",
    "CLOCK",
    "DEMO",
    "PUBLIC",
    "SEATKEEPER",
    "SECRET",
    "FIELD",
    "EMAIL",
)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running demo; Celery, the card processor and the identity providers included."""
    var = tmp_path_factory.mktemp("demo") / "var"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
    environment |= {"SEATKEEPER_VAR": str(var), "PORT": str(free_port())}
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "config.demo.supervisor"],
        cwd=CHECKOUT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if "Logs are in" in line:
            break
    else:
        pytest.fail("The demo did not start:\n" + "".join(said))
    yield f"http://127.0.0.1:{environment['PORT']}"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0


type SignIn = Callable[[str], Page]


@pytest.fixture
def visit(demo: str, browser: Browser) -> Iterator[Callable[[], Page]]:
    """A page in a browser context of its own; a script error or a blocked resource fails the test."""
    problems: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if "Security Policy" in message.text:
            problems.append(message.text)

    def opened() -> Page:
        page = browser.new_context(base_url=demo, viewport={"width": 1280, "height": 900}).new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", note)
        return page

    yield opened
    for context in browser.contexts:
        context.close()
    assert problems == []


@pytest.fixture
def sign_in(demo: str, visit: Callable[[], Page]) -> SignIn:
    """Sign a person in by work e-mail at their organization's identity provider."""

    def enter(mail: str) -> Page:
        page = visit()
        page.goto("/sign-in/")
        page.get_by_label("Work e-mail").fill(mail)
        page.get_by_role("button", name="Continue").click()
        page.wait_for_url(f"{demo}/")
        return page

    return enter


@pytest.fixture
def walk(browser: Browser, live_server: Any, processor: str) -> Iterator[Walk]:
    """`walk(person, look)` gives a browser on the person's own products, signed in without the identity provider.

    The card processor begins empty. A script error or a blocked resource fails the test.
    """
    reset()
    # Long enough for a machine that runs the whole suite; a page that answers is not waited for.
    expect.set_options(timeout=20_000)
    problems: list[str] = []
    contexts = []

    def note(message: ConsoleMessage) -> None:
        if "Security Policy" in message.text:
            problems.append(message.text)

    def begin(
        person: User, look: str, address: str = "/admin/billing/your-products/", *, with_factor: bool = False
    ) -> Page:
        context = browser.new_context(base_url=live_server.url, **LOOKS[look])
        contexts.append(context)
        key = client_of(person, with_factor=with_factor).cookies[settings.SESSION_COOKIE_NAME].value
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": key, "url": live_server.url}])
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", note)
        page.goto(address)
        return page

    yield begin
    expect.set_options(timeout=5_000)
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def arrive(browser: Browser, live_server: Any, identity_provider: Any, processor: str) -> Iterator[Arrive]:
    """`arrive(language)` gives a newcomer with a browser that knows nobody; sign-in goes by the real way.

    The card processor begins empty. A script error or a blocked resource fails the test.
    """
    reset()
    _valkey().flushdb()
    expect.set_options(timeout=20_000)
    problems: list[str] = []
    contexts = []

    def note(message: ConsoleMessage) -> None:
        if "Security Policy" in message.text:
            problems.append(message.text)

    def begin(language: str) -> Newcomer:
        context = browser.new_context(base_url=live_server.url, **READERS[language])
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", note)
        return Newcomer(page, language)

    yield begin
    expect.set_options(timeout=5_000)
    for context in contexts:
        context.close()
    assert problems == []
