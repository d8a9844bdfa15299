"""The pages of trials and of notifications in Chromium (product §3.6, §15)."""

from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import expect

from commerce.models import Subscription, Trial
from commerce.operations.trials import Choice, start_trial_without_card
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import Tenant, User
from tests.admin.browser import LOOKS, problems_of
from tests.factories import actor_of, make_card, make_tenant, make_user, plan

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

PRODUCTS = "/admin/billing/your-products/"
VISIO = "visio-plan-1"


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters", email="pat@contoso.example")


def ends_soon(user: User) -> Subscription:
    """A trial without a card in its last days."""
    chosen = plan(VISIO)
    started = start_trial_without_card(
        actor=actor_of(user), choice=Choice(chosen.product, chosen, 5), agrees_to_terms=True, at=now()
    )
    ends_at = started.period_end - timedelta(days=18)
    with use_login("worker"):
        Subscription.objects.filter(pk=started.pk).update(
            period_end=ends_at, term_end=ends_at, due_at=ends_at
        )
        Trial.objects.filter(subscription=started).update(ends_at=ends_at)
    return started


@pytest.mark.parametrize("look", ["desktop", "no script"])
def test_a_trial_without_a_card_is_started_extended_and_kept(
    open_page: Any, contoso: Tenant, pat: User, look: str
) -> None:
    page = open_page(pat, f"/products/{VISIO}/", look)
    page.get_by_role("link", name="Try it free for 30 days").click()
    page.get_by_role("link", name="Without a card").click()
    page.get_by_label("Number of licenses").fill("4")
    page.get_by_label("I agree to the").check()
    page.get_by_role("button", name="Start the trial").click()

    expect(page.get_by_text("30 days left")).to_be_visible()
    expect(page.get_by_text("Nothing was charged.").first).to_be_visible()
    make_card(contoso, pat)
    page.get_by_role("link", name="Keep it after the trial").click()
    page.get_by_label("1 year, billed yearly").check()
    page.get_by_label("Street and number").fill("Herengracht 2")
    page.get_by_label("City").fill("Amsterdam")
    page.get_by_label("I agree to the").check()
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("alert")).to_contain_text("The total is now")
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("link", name="Do not turn it paid")).to_be_visible()
    with tenant_atomic(pat.tenant_id):
        trial = Trial.objects.select_related("subscription__plan").get()
    assert (trial.kind, trial.subscription.plan.code) == ("card", "yearly")


def test_every_page_is_clean_in_every_look(open_page: Any, contoso: Tenant, pat: User) -> None:
    trial = ends_soon(make_user(contoso, name="Sam Smit"))
    sam = trial.owner_user
    make_card(contoso, sam)
    pages = {
        "product": (pat, f"/products/{VISIO}/"),
        "trial": (pat, f"/buy/{VISIO}/trial/?kind=card"),
        "trial without a card": (pat, f"/buy/{VISIO}/trial/?kind=free"),
        "trial used": (sam, f"/buy/{VISIO}/trial/"),
        "trial purchase": (sam, f"{PRODUCTS}{trial.key}/"),
        "trial extend": (sam, f"{PRODUCTS}{trial.key}/trial/extend/"),
        "trial keep": (sam, f"{PRODUCTS}{trial.key}/trial/keep/"),
        "notifications": (pat, "/my/notifications/"),
    }
    found = []

    for title, (user, address) in pages.items():
        for look in LOOKS:
            found += problems_of(open_page(user, address, look), title, look)

    assert found == []
