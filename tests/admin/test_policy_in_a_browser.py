"""The purchase policy in Chromium: several changes saved at once after a look, and axe on its pages (product §9)."""

from typing import Any

import pytest
from playwright.sync_api import expect

from config.kit.tenancy import tenant_atomic
from directory.models import Group, Tenant, User
from policies.operations import policies as operations
from policies.operations.policies import change_policies
from policies.spending import Limit
from tests.admin.browser import LOOKS, problems_of
from tests.axe import violations
from tests.factories import AT, actor_of, make_subscription, make_tenant, make_user, plan, product

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

PAGE = "/admin/billing/policy/"


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def bill(contoso: Tenant) -> User:
    return make_user(contoso, name="Bill Bakker", roles=("billing_admin",))


@pytest.fixture
def said(contoso: Tenant, bill: User) -> None:
    """A policy in which every kind of value was said."""
    with tenant_atomic(contoso.pk):
        makers = Group.objects.create(tenant=contoso, name="Makers")
    pat = make_user(contoso, name="Pat Peters", email="pat@contoso.example")
    make_subscription(contoso, owner=pat, quantity=10)
    make_subscription(contoso, owner=pat, plan=plan("visio-plan-1"), quantity=2)
    visio, apps = product("visio-plan-1"), product("power-apps-per-user")
    change_policies(
        actor=actor_of(bill),
        changes=[
            operations.default_for_all("OnlyTrialsWithoutPaymentMethod"),
            operations.of_category("Power Platform", "Enabled"),
            operations.of_product([visio.key], "Disabled", name=visio.name),
            operations.of_group(makers.pk, "Enabled", level="product", keys=[apps.key], name=apps.name),
            operations.spend_cap(Limit(5_000, "person_month"), currency="EUR"),
        ],
        why="Data team may buy.",
        at=AT,
    )


def test_without_script_two_changes_are_saved_after_a_look_at_whom_they_affect(
    open_page: Any, bill: User, said: None
) -> None:
    page = open_page(bill, PAGE, "no script")
    page.get_by_label("For every product").select_option("Do not allow")
    page.get_by_label("Self-service purchase of Power BI Pro", exact=True).select_option("Do not allow")
    page.get_by_role("button", name="Save changes").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Save the policy")
    expect(page.get_by_role("row", name="Power BI Pro")).to_contain_text("1 person, 10 licenses")
    page.get_by_label("Why (optional)").fill("The budget is spent.")
    page.get_by_role("button", name="Save 2 changes").click()

    expect(page.get_by_text("2 changes hold from now on.")).to_be_visible()
    expect(page.get_by_label("For every product")).to_have_value("Disabled")


def test_changes_are_counted_outlive_a_filter_and_are_not_left_behind_unasked(
    open_page: Any, bill: User, said: None
) -> None:
    page = open_page(bill, PAGE, "desktop")
    count, save = page.locator("[data-count]"), page.get_by_role("button", name="Save changes")
    expect(save).to_be_in_viewport()
    expect(count).to_be_hidden()
    page.get_by_label("Self-service purchase of Visio Plan 2", exact=True).select_option("Do not allow")
    expect(count).to_have_text("1")

    page.get_by_label("Search products").fill("power bi pro")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Self-service purchase of Visio Plan 2", exact=True)).to_have_count(0)
    page.get_by_label("Self-service purchase of Power BI Pro", exact=True).select_option("Do not allow")
    expect(count).to_have_text("2")
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.get_by_role("link", name="Requests").click(no_wait_after=True)
    page.wait_for_function("true")
    assert asked == ["beforeunload"]

    save.click()
    expect(page.get_by_role("heading", name="2 changes")).to_be_visible()
    page.get_by_role("link", name="Change more").click()
    expect(count).to_have_text("2")
    page.get_by_role("link", name="Discard").click()
    expect(count).to_be_hidden()


@pytest.mark.parametrize("look", LOOKS)
def test_the_pages_stand_axe_and_a_phone(open_page: Any, bill: User, said: None, look: str) -> None:
    wrong = []
    page = open_page(bill, f"{PAGE}?person=pat@contoso.example&product=visio-plan-1", look)
    wrong += problems_of(page, "Policy", look)
    for title, address in (
        ("Policy of a product", f"{PAGE}products/power-apps-per-user/"),
        ("Spending", f"{PAGE}spending/"),
        ("Contact", f"{PAGE}contact/"),
        ("History", f"{PAGE}history/"),
    ):
        wrong += problems_of(open_page(bill, address, look), title, look)
    page.goto(page.url.split("?")[0])
    page.get_by_label("For every product").select_option("Do not allow")
    page.get_by_role("button", name="Save changes").click()
    if look == "no script":
        expect(page.get_by_role("heading", level=1)).to_be_visible()
    else:
        wrong += reviewed(page, look)

    assert wrong == []


def reviewed(page: Any, look: str) -> list[str]:
    """The confirmation answers a post, so it is looked at without loading it again."""
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth") if look == "phone" else 0
    return [f"Confirmation, {look}: {each}" for each in violations(page)] + (
        [f"Confirmation, {look}: {wide} px wider than the screen"] if wide > 0 else []
    )
