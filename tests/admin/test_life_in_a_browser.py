"""The pages of a purchase's life in Chromium: handing over and taking over (product §4, §5)."""

from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import expect

from commerce.models import Card, Subscription
from commerce.operations.handovers import offer_hand_over
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from tests.admin.browser import LOOKS, problems_of
from tests.factories import actor_of, make_self_service_subscription, make_tenant, make_user, plan

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

PRODUCTS = "/admin/billing/your-products/"


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters", email="pat@contoso.example")


@pytest.fixture
def erik(contoso: Tenant) -> User:
    return make_user(contoso, name="Erik Evers", email="erik@contoso.example")


@pytest.fixture
def bought(pat: User) -> Subscription:
    return make_self_service_subscription(pat, quantity=10, at=now() - timedelta(days=10))


def make_card(user: User) -> Card:
    with tenant_atomic(user.tenant_id):
        return Card.objects.create(
            tenant_id=user.tenant_id,
            user=user,
            processor_id=f"pm_{user.pk}",
            brand="mastercard",
            last4="4444",
            expires_year=2031,
            expires_month=4,
            is_default=True,
            added_at=now(),
        )


@pytest.mark.parametrize("look", ["desktop", "phone"])
def test_a_purchase_is_handed_over(
    open_page: Any, contoso: Tenant, pat: User, erik: User, bought: Subscription, look: str
) -> None:
    make_card(erik)
    owner = open_page(pat, f"{PRODUCTS}{bought.key}/hand-over/", look)
    owner.get_by_label("Find a person at Contoso").fill("erik")
    owner.get_by_role("button", name="Find").click()
    owner.get_by_label("Erik Evers").check()
    owner.get_by_role("button", name="Offer it to the person chosen").click()
    expect(owner.get_by_text("Offered to Erik Evers, who has until")).to_be_visible()

    colleague = open_page(erik, "/", look)
    colleague.get_by_role("link", name="See the offer").click()
    expect(colleague.get_by_role("heading", level=1)).to_have_text("Pat Peters offers you Power BI Pro")
    colleague.get_by_label("Street and number").fill("Herengracht 2")
    colleague.get_by_label("City").fill("Amsterdam")
    colleague.get_by_role("button", name="Take over Power BI Pro").click()
    expect(colleague.get_by_role("alert")).to_contain_text("Something is missing or wrong.")
    expect(colleague.get_by_label("City")).to_have_value("Amsterdam")
    colleague.get_by_label("I agree to the").check()
    colleague.get_by_role("button", name="Take over Power BI Pro").click()

    expect(colleague.get_by_text("You took over Power BI Pro. Nothing was charged.")).to_be_visible()
    expect(colleague.get_by_text("•• 4444")).to_be_visible()
    owner.goto(owner.url)
    expect(owner.get_by_text("You handed this over to Erik Evers")).to_be_visible()
    expect(owner.get_by_role("row").filter(has_text="Bought")).to_have_count(1)


def test_every_page_is_clean_in_every_look(
    open_page: Any, contoso: Tenant, pat: User, erik: User, bought: Subscription
) -> None:
    make_card(erik)
    yearly = make_self_service_subscription(
        pat, plan=plan("visio-plan-2", "yearly-monthly"), quantity=2, at=now() - timedelta(days=10)
    )
    offer = offer_hand_over(actor=actor_of(pat), key=yearly.key, to_user_id=erik.pk, at=now())
    pages = {
        "hand over": (pat, f"{PRODUCTS}{bought.key}/hand-over/?q=e"),
        "offered": (pat, f"{PRODUCTS}{yearly.key}/hand-over/"),
        "offer": (erik, f"/my/offers/{offer.key}/"),
    }
    found = []

    for title, (user, address) in pages.items():
        for look in LOOKS:
            found += problems_of(open_page(user, address, look), title, look)

    assert found == []
