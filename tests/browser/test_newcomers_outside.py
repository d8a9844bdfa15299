"""A partner and the vendor's staff find the main job by the words on the pages, in English and in Dutch (product §12, §16)."""

from datetime import timedelta

import pytest
from playwright.sync_api import expect

from commerce.models import Subscription
from config.kit.clock import now, real_now
from config.kit.tenancy import tenant_atomic
from directory import factors
from directory.operations import second_factor
from licensing.models import Assignment
from tests.browser.newcomers import READERS, Arrive, organization, person
from tests.factories import (
    make_relationship,
    make_self_service_subscription,
    make_subscription,
    make_tenant,
    make_user,
    staff_actor_of,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

each_language = pytest.mark.parametrize("language", READERS)
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@each_language
def test_a_partner_acts_for_a_customer_under_its_banner_and_stops(arrive: Arrive, language: str) -> None:
    at = now()
    contoso, northwind = make_tenant(name="Contoso"), organization("northwind")
    row = person(northwind, "northwind", "petra")
    make_relationship(
        contoso, northwind, users=(row,), starts_at=at - timedelta(days=1), ends_at=at + timedelta(days=300)
    )
    pat = make_user(contoso, name="Pat Mulder", email="pat@contoso.example")
    make_subscription(contoso, quantity=25)
    petra = arrive(language)
    page = petra.page
    petra.administer("petra@northwind.example", "Your products")
    petra.choose("Customers")
    petra.press("Act for %(name)s", name="Contoso")
    petra.arrives("Your products")
    banner = page.get_by_role("region", name=petra.says("Acting for a customer"))
    expect(banner).to_contain_text("Northwind Partners")

    petra.choose("Licenses")
    petra.follow_name("Power BI Pro")
    petra.arrives_at("Power BI Pro")
    petra.follow("Assign licenses")
    petra.arrives("Assign licenses")
    petra.field("Find a person at %(name)s", name="Contoso").fill("pat@")
    page.get_by_label("Pat Mulder").check()
    petra.press("Assign %(n)s license", plural="Assign %(n)s licenses", n=1)
    petra.sees("%(count)d license assigned.", plural="%(count)d licenses assigned.", n=1, count=1)
    expect(banner).to_be_visible()
    petra.press("Stop")
    petra.arrives("Customers")
    expect(banner).to_have_count(0)
    petra.choose("Policy drift")
    petra.follow("Make a template…")
    petra.arrives("Make a template")
    with tenant_atomic(contoso.pk):
        assert Assignment.objects.live().get(user=pat).assigned_by == "Petra Schmidt"


@each_language
def test_support_shows_the_second_factor_and_takes_up_what_is_stuck(arrive: Arrive, language: str) -> None:
    contoso = make_tenant(name="Contoso")
    bought = make_self_service_subscription(make_user(contoso), at=now() - timedelta(days=3))
    with tenant_atomic(contoso.pk):
        rows = Subscription.objects.filter(pk=bought.pk)
        rows.update(parked_at=now(), parked_reason="no_price NL")
    row = person(organization("vendor"), "vendor", "sven")
    then = real_now() - timedelta(days=1)
    second_factor.set_up_app(
        actor=staff_actor_of(row),
        secret=SECRET,
        code=factors.code_at(SECRET, then),
        has_shown=False,
        at=then,
        real_at=then,
    )
    sven = arrive(language)
    page = sven.page
    sven.come_in(row.email)
    page.locator("summary.sk-person").click()
    sven.follow("Vendor's site")
    sven.arrives("Show your second factor")
    sven.field("Code of your app").fill(factors.code_at(SECRET, real_now()))
    sven.press("Continue")
    sven.arrives("What needs a look")

    stuck = sven.says("Purchases that could not be renewed, ended or billed")
    page.get_by_role("listitem").filter(has_text=stuck).get_by_role("link").click()
    sven.arrives("Purchases")
    sven.press("Try again")
    sven.sees(
        "%(product)s of %(organization)s goes on with the next sweep, within two minutes.",
        product="Power BI Pro",
        organization="Contoso",
    )
    sven.sees("Nothing waits here")
    sven.look()
    sven.choose("Cases")
    with tenant_atomic(contoso.pk):
        assert Subscription.objects.get(pk=bought.pk).parked_at is None
