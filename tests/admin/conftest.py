"""Browsers of the admin center, signed in without the identity provider."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.http import HttpRequest
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page

from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from directory.sessions import ACTING, start_session
from tests.admin.browser import EVERY_LOOK, listen

type SignIn = Callable[..., Client]


@pytest.fixture
def sign_in() -> SignIn:
    """`sign_in(user, acting_for=tenant)` gives a client whose session is that person's."""

    def sign_in_as(user: User, *, acting_for: Tenant | None = None) -> Client:
        client = Client()
        request = HttpRequest()
        request.session = client.session
        with tenant_atomic(user.tenant_id):
            start_session(request, user, proved=time.time())
        if acting_for:
            request.session[ACTING] = acting_for.pk
        request.session.save()
        client.cookies["session"] = request.session.session_key
        return client

    return sign_in_as


@pytest.fixture
def open_page(browser: Browser, live_server: Any, sign_in: SignIn) -> Iterator[Callable[..., Page]]:
    """`open_page(user, address, look)` gives a page in Chromium, signed in; `acting_for` a customer."""
    contexts: dict[tuple[int, int | None, str], BrowserContext] = {}

    def context_of(user: User, look: str, acting_for: Tenant | None) -> BrowserContext:
        """One for each person and look, which keeps files as a browser does."""
        key = (user.pk, acting_for and acting_for.pk, look)
        if key not in contexts:
            client = sign_in(user, acting_for=acting_for)
            contexts[key] = browser.new_context(**EVERY_LOOK[look])
            name = settings.SESSION_COOKIE_NAME
            contexts[key].add_cookies(
                [{"name": name, "value": client.cookies["session"].value, "url": live_server.url}]
            )
        return contexts[key]

    def open_as(user: User, address: str, look: str, *, acting_for: Tenant | None = None) -> Page:
        page = listen(context_of(user, look, acting_for).new_page())
        page.goto(live_server.url + address)
        return page

    yield open_as
    for context in contexts.values():
        context.close()
