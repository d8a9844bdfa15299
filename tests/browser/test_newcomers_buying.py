"""Who buys, asks or only looks finds the way by the words on the pages, in English and in Dutch (product §3, §4, §7.5)."""

import re

import pytest
from playwright.sync_api import expect

from commerce.models import Card, Subscription
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant
from licensing.models import Assignment, LicenseRequest
from policies.models import PolicyValue
from policies.operations.policies import set_product_policy
from tests.browser.newcomers import READERS, Arrive, organization, person
from tests.browser.test_checkout import fill_card
from tests.factories import actor_of, make_subscription, product
from tests.processor import charges

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

each_language = pytest.mark.parametrize("language", READERS)
MASTERCARD = "5555555555554444"


@pytest.fixture
def contoso() -> Tenant:
    return organization("contoso")


@each_language
def test_a_visitor_sees_what_a_product_costs_and_why_a_private_address_cannot_buy(
    arrive: Arrive, contoso: Tenant, language: str
) -> None:
    visitor = arrive(language)
    visitor.open()
    visitor.follow_name("Power BI Pro")
    visitor.arrives_at("Power BI Pro")

    visitor.page.get_by_text(visitor.says("Change country")).click()
    visitor.field("Country").select_option("NL")
    visitor.press("Show prices")
    expect(visitor.page.get_by_text({"en": "€9.40", "nl": "€\u00a09,40"}[language]).first).to_be_visible()
    visitor.look()
    visitor.follow("Privacy")
    visitor.arrives("Privacy notice")
    visitor.page.go_back()
    visitor.press("Buy")
    visitor.sign_in("somebody@outlook.example")

    visitor.sees("We can't take this address to a sign-in page")
    visitor.look()


@each_language
def test_a_member_buys_hands_out_sees_the_bill_and_stops_the_renewal(
    arrive: Arrive, contoso: Tenant, language: str
) -> None:
    person(contoso, "contoso", "mike", signed_in_at=now())
    erik = person(contoso, "contoso", "erik", signed_in_at=now())
    mike = arrive(language)
    page = mike.page
    mike.open()
    mike.follow_name("Power BI Pro")
    mike.arrives_at("Power BI Pro")
    mike.press("Buy")
    mike.sign_in("mike@contoso.example")

    mike.arrives("Check and pay")
    mike.press("One license more")
    total = {"en": "€22.75", "nl": "€\u00a022,75"}[language]
    expect(page.locator("#pay-button")).to_have_text(mike.says("Pay %(total)s", total=total))
    fill_card(page, "4242424242424242")
    mike.field("Street and number").fill("Keizersgracht 1")
    mike.field("City").fill("Amsterdam")
    for box in page.get_by_role("checkbox").all():
        box.check()
    mike.press("Pay %(total)s", total=total)
    mike.arrives("You have %(product)s", product="Power BI Pro")

    mike.follow("Assign the free license", plural="Assign the %(n)s free licenses", n=1)
    mike.arrives("Assign licenses")
    mike.field("Find a person at %(name)s", name="Contoso").fill("erik")
    page.get_by_label("Erik Peters").check()
    mike.press("Assign %(n)s license", plural="Assign %(n)s licenses", n=1)
    expect(page.get_by_role("row").filter(has_text="Erik Peters")).to_be_visible()
    mike.arrives_at("Power BI Pro")

    mike.choose("Bills & payments")
    page.get_by_role("row").filter(has_text="Power BI Pro").get_by_role("link").first.click()
    mike.sees("Belongs to this bill")
    mike.look()
    mike.choose("Payment methods")
    mike.follow("Replace…")
    mike.sees("It is removed, and pays nothing any more.")
    fill_card(page, MASTERCARD)
    mike.look()
    mike.press("Save and replace")
    expect(page.get_by_role("row").filter(has_text="4444")).to_be_visible()

    mike.choose("Your products")
    mike.follow("Manage")
    mike.sees("What happens next")
    mike.follow("Turn off")
    mike.arrives("Turn recurring billing off")
    page.get_by_role("button", name=mike.says("Turn off, end on %(last_day)s").partition("%")[0]).click()
    mike.sees("Recurring billing is off")
    mike.look()

    with tenant_atomic(contoso.pk):
        bought = Subscription.objects.get()
        assert Assignment.objects.live().filter(user=erik).count() == 1
        assert list(Card.objects.live().values_list("last4", flat=True)) == ["4444"]
    assert (bought.quantity, bought.recurring_billing, charges()) == (2, False, 1)


@each_language
def test_a_member_who_may_not_buy_asks_for_a_license_and_follows_the_request(
    arrive: Arrive, contoso: Tenant, language: str
) -> None:
    gina = person(contoso, "contoso", "gina")
    person(contoso, "contoso", "mike", signed_in_at=now())
    make_subscription(contoso, quantity=3)
    set_product_policy(
        actor=actor_of(gina), product_keys=[product().key], value=PolicyValue.DISABLED, at=now()
    )
    mike = arrive(language)
    mike.come_in("mike@contoso.example")
    mike.follow("See products")
    mike.arrives("Buy the tools you need, today")
    mike.follow_name("Power BI Pro")
    mike.arrives_at("Power BI Pro")
    mike.follow("Request a license")

    mike.arrives("Request a license of %(name)s", name="Power BI Pro")
    mike.field("What it is for").fill("Maandag is de aanbesteding.")
    mike.press("Send request")

    mike.arrives("My requests")
    row = mike.page.get_by_role("row").filter(has_text="Power BI Pro")
    expect(row).to_contain_text(mike.says("Waiting"))
    expect(row).to_contain_text(
        re.compile({"en": r"[A-Z][a-z]{2} 20\d\d", "nl": r"[a-z]{3,4} 20\d\d"}[language])
    )
    mike.press("Withdraw")
    expect(row).to_contain_text(mike.says("Withdrawn"))
    mike.look()
    with tenant_atomic(contoso.pk):
        assert LicenseRequest.objects.get().state == "withdrawn"
