"""The tokens pages in Chromium: no violation of axe, no error of the policy, light, dark and on a phone."""

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.admin.browser import LOOKS, problems_of
from tests.factories import make_tenant, make_user, service_token_of, token_of

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


def test_the_tokens_pages_are_clean_in_every_look(open_page: Any) -> None:
    gina = make_user(make_tenant(name="Contoso"), name="Gina Groot", roles=("global_admin",))
    token_of(gina, "policies.read", "bills.read")
    service_token_of(gina, "policies.write", "purchases.read", "bills.read")
    found: list[str] = []

    for title, address in (("my tokens", "/my/tokens/"), ("service tokens", "/admin/tokens/")):
        for look in LOOKS:
            found += problems_of(open_page(gina, address, look), title, look)

    assert found == []


def test_a_token_is_made_and_revoked_in_the_browser(open_page: Any) -> None:
    gina = make_user(make_tenant(name="Contoso"), name="Gina Groot", roles=("global_admin",))
    page = open_page(gina, "/my/tokens/", "phone")

    page.get_by_label("What is it for?").fill("Nightly script")
    page.get_by_label("policies.read").check()
    page.get_by_role("button", name="Make the token").click()
    secret = page.get_by_label("Token", exact=True).input_value()
    problems = problems_of(page, "new token", "no script")
    page.get_by_role("button", name="Revoke Nightly script").click()

    assert problems == []
    assert secret.startswith("seatkeeper_pat_")
    expect(page.get_by_text("Its next call is refused.")).to_be_visible()
