"""A case walked in Chromium from the purchase to solved, by customer and staff, and axe on its pages (product §14)."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from commerce.models import Subscription, SupportCase
from commerce.operations.case_talk import Written
from config.kit.clock import now
from directory.models import Tenant, User
from tests.admin.browser import LOOKS, problems_of
from tests.commerce.talking import PNG, again, ask, grant
from tests.factories import (
    make_central_subscription,
    make_self_service_subscription,
    make_tenant,
    make_user,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peeters", email="pat@contoso.example")


@pytest.fixture
def bill(contoso: Tenant) -> User:
    return make_user(contoso, name="Bill Boer", email="bill@contoso.example", roles=("billing_admin",))


@pytest.fixture
def own(pat: User) -> Subscription:
    return make_self_service_subscription(pat, at=now() - timedelta(days=2))


@pytest.mark.parametrize("look", ["desktop", "phone", "no script"])
def test_from_the_purchase_to_a_solved_case(
    open_page: Any, tmp_path: Path, pat: User, own: Subscription, look: str
) -> None:
    picture = tmp_path / "screen.png"
    picture.write_bytes(PNG)
    page = open_page(pat, f"/admin/billing/your-products/{own.key}/", look)

    page.get_by_role("link", name="Ask support").click()
    expect(page.get_by_text("is not in charge of it")).to_be_visible()
    page.get_by_label("What it is about").select_option("question")
    page.get_by_label("Subject").fill("Report is gone")
    page.get_by_label("What happened, and what you need").fill("Where is it?")
    page.get_by_label("Files").set_input_files(picture)
    page.get_by_role("button", name="Send to support").click()
    expect(page.get_by_text("Your case is with support.")).to_be_visible()
    expect(page.get_by_role("link", name="screen.png")).to_be_visible()
    page.get_by_label("Your message").fill("It is back.")
    page.get_by_role("button", name="Send to support").click()
    expect(page.get_by_text("Sent to support.")).to_be_visible()
    page.get_by_role("button", name="It is solved").click()
    expect(page.get_by_text("Write here within 14 days if it is not.")).to_be_visible()


def test_every_page_is_sound_in_every_look(
    open_page: Any, contoso: Tenant, pat: User, bill: User, own: Subscription
) -> None:
    central = make_central_subscription(bill, at=now() - timedelta(days=2))
    assert central.agreement is not None
    grant(central.agreement, 5, 2)
    case: SupportCase = ask(
        pat, own, written=Written("Where is it?\nI looked everywhere.", [("screen.png", PNG)]), at=now()
    )
    pages = (
        ("support", pat, "/admin/support/"),
        ("support choose", pat, "/admin/support/new/"),
        ("support ask", pat, f"/admin/support/new/{own.key}/"),
        ("support ask premier", bill, f"/admin/support/new/{central.key}/"),
        ("support case", pat, f"/admin/support/{case.key}/"),
        ("support empty", bill, "/admin/support/"),
    )
    problems: list[str] = []

    for look in LOOKS:
        for title, user, address in pages:
            problems += problems_of(open_page(user, address, look), title, look)

    assert problems == []
    assert again(case).state == "open"
