"""Links beside products in Chromium: axe, the policy for scripts and styles, light, dark, on a phone."""

from datetime import datetime
from typing import Any

import pytest
from playwright.sync_api import expect

from commerce.operations.training import add_training_link
from config.kit.clock import now
from directory.models import User
from licensing.operations.assignments import assign_licenses
from tests.admin.browser import LOOKS, problems_of
from tests.factories import actor_of, make_self_service_subscription, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

TRAINING = "/admin/training/"


@pytest.fixture
def at() -> datetime:
    return now()


@pytest.fixture
def gina() -> User:
    return make_user(make_tenant(name="Contoso"), name="Gina de Groot", roles=("global_admin",))


def test_every_place_is_accessible_and_keeps_to_its_policy(gina: User, at: datetime, open_page: Any) -> None:
    for title in ("How we report at Contoso", "Whom to ask"):
        add_training_link(
            actor=actor_of(gina),
            product="power-bi-pro",
            title=title,
            url="https://wiki.contoso.example/",
            at=at,
        )
    bought = make_self_service_subscription(gina, at=at)
    assign_licenses(actor=actor_of(gina), subscription_key=bought.key, user_ids=[gina.pk], at=at)
    places = {
        "training links": TRAINING,
        "training at the product": "/products/power-bi-pro/",
        "training beside the license": "/apps/power-bi-pro/",
        "training at the purchase": f"/admin/billing/your-products/{bought.key}/",
    }
    problems = []

    for title, address in places.items():
        for look in LOOKS:
            page = open_page(gina, address, look)
            problems += problems_of(page, title, look)
            page.close()

    assert problems == []


def test_a_link_is_added_put_first_and_removed_by_its_buttons(gina: User, open_page: Any) -> None:
    page = open_page(gina, TRAINING, "desktop")
    for title in ("First", "Second"):
        page.get_by_label("Product", exact=True).select_option("power-bi-pro")
        page.get_by_label("Title", exact=True).fill(title)
        page.get_by_label("Address", exact=True).fill("https://wiki.contoso.example/")
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.get_by_role("link", name=title)).to_be_visible()

    page.get_by_role("button", name="Up Second").click()
    expect(page.get_by_role("row").nth(1)).to_contain_text("Second")
    page.get_by_role("button", name="Remove First").click()

    expect(page.get_by_role("link", name="First")).to_have_count(0)
    expect(page.get_by_role("link", name="Second")).to_be_visible()
