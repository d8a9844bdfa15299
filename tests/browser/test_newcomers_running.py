"""Each kind of admin finds the main job by the words on the pages, in English and in Dutch (product §2, §8 to §11)."""

import re
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from commerce.models import Subscription
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from licensing.models import Assignment
from policies.models import PolicyChange
from tests.browser.newcomers import READERS, Arrive, organization, person
from tests.factories import make_agreement, make_self_service_subscription, make_subscription, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

each_language = pytest.mark.parametrize("language", READERS)


@pytest.fixture
def contoso() -> Tenant:
    return organization("contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Mulder", email="pat@contoso.example")


@pytest.fixture
def bought(contoso: Tenant, pat: User) -> Subscription:
    """What Pat bought ten days ago, beside what the organization has."""
    make_subscription(contoso, quantity=25)
    return make_self_service_subscription(pat, at=now() - timedelta(days=10))


@each_language
def test_a_global_admin_sees_who_bought_what_and_stops_further_purchases_of_it(
    arrive: Arrive, contoso: Tenant, bought: Subscription, language: str
) -> None:
    person(contoso, "contoso", "gina")
    gina = arrive(language)
    page = gina.page
    gina.administer("gina@contoso.example", "Your products")

    gina.follow("Self-service")
    expect(page.get_by_role("row").filter(has_text=re.compile("Contoso"))).to_have_count(0)
    expect(page.get_by_role("row").filter(has_text="Pat Mulder")).to_be_visible()
    gina.look()
    gina.follow_name("Power BI Pro")
    gina.arrives_at("Power BI Pro, Pat Mulder")

    gina.choose("Purchase policy")
    value = gina.field("Self-service purchase of %(product)s", product="Power BI Pro")
    value.select_option(gina.says("Do not allow"))
    gina.press("Save changes…")
    gina.arrives("Save the policy")
    gina.press("Save %(n)s change", plural="Save %(n)s changes", n=1)
    gina.sees(
        "%(count)d change holds from now on.", plural="%(count)d changes hold from now on.", n=1, count=1
    )
    expect(value).to_have_value("Disabled")

    gina.choose("People")
    gina.follow_name("Pat Mulder")
    gina.arrives_at("Pat Mulder")
    with tenant_atomic(contoso.pk):
        assert PolicyChange.objects.get().actor_label == "Gina de Vries"


@each_language
def test_a_billing_admin_buys_centrally_sees_the_bill_and_takes_a_purchase_over(
    arrive: Arrive, contoso: Tenant, bought: Subscription, language: str
) -> None:
    person(contoso, "contoso", "bill")
    make_agreement(contoso)
    bill = arrive(language)
    page = bill.page
    bill.administer("bill@contoso.example", "Your products")

    bill.choose("Buy centrally")
    bill.field("Product").select_option(label="Power BI Pro")
    bill.field("How many licenses?").fill("12")
    page.keyboard.press("Tab")
    total = {"en": "€116.16", "nl": "€\u00a0116,16"}[language]
    button = ("Buy %(count)d license for %(total)s", "Buy %(count)d licenses for %(total)s")
    bill.press(*button, n=12, count=12, total=total)
    bill.arrives_at("Power BI Pro, Bill Bakker")
    bill.choose("Bills & payments")
    page.get_by_role("row").filter(has_text=total).get_by_role("link").first.click()
    bill.sees("Belongs to this bill")
    bill.look()

    bill.choose("Your products")
    page.get_by_role("row").filter(has_text="Pat Mulder").get_by_role("link").click()
    bill.arrives_at("Power BI Pro, Pat Mulder")
    bill.follow("Take over")
    bill.arrives("Take over %(product)s", product="Power BI Pro")
    bill.press("Take it over")
    bill.sees(
        "%(product)s belongs to %(organization)s now. Nobody lost a license.",
        product="Power BI Pro",
        organization="Contoso",
    )
    bill.look()
    with tenant_atomic(contoso.pk):
        assert Subscription.objects.get(pk=bought.pk).owner_kind == "organization"


@each_language
def test_a_license_admin_gives_a_central_license_to_somebody(
    arrive: Arrive, contoso: Tenant, bought: Subscription, language: str
) -> None:
    person(contoso, "contoso", "lisa")
    mike = person(contoso, "contoso", "mike")
    lisa = arrive(language)
    page = lisa.page
    lisa.administer("lisa@contoso.example", "Licenses")

    page.get_by_role("row").filter(has_text="Contoso").get_by_role("link").click()
    lisa.arrives_at("Power BI Pro")
    lisa.follow("Assign licenses")
    lisa.arrives("Assign licenses")
    lisa.field("Find a person at %(name)s", name="Contoso").fill("mike@")
    page.get_by_label("Mike Bos").check()
    lisa.press("Assign %(n)s license", plural="Assign %(n)s licenses", n=1)
    lisa.sees("%(count)d license assigned.", plural="%(count)d licenses assigned.", n=1, count=1)
    expect(page.get_by_role("row").filter(has_text="Mike Bos")).to_be_visible()
    lisa.choose("Requests")
    lisa.choose("People")
    with tenant_atomic(contoso.pk):
        assert Assignment.objects.live().get(user=mike).assigned_by == "Lisa Visser"


@each_language
def test_a_user_admin_disables_somebody_who_leaves(
    arrive: Arrive, contoso: Tenant, bought: Subscription, pat: User, language: str
) -> None:
    person(contoso, "contoso", "uma")
    uma = arrive(language)
    uma.administer("uma@contoso.example", "Licenses")
    uma.choose("People")
    uma.find("searchbox", "Find somebody by name or mail").fill("pat@")
    uma.press("Find")
    expect(uma.page.get_by_role("row")).to_have_count(2)
    uma.follow_name("Pat Mulder")
    uma.arrives_at("Pat Mulder")
    uma.follow("Disable…")
    uma.sees("If you disable %(name)s", name="Pat Mulder")
    uma.look()
    uma.press("Disable %(name)s", name="Pat Mulder")
    uma.sees("%(name)s is disabled, and signed out everywhere.", name="Pat Mulder")
    uma.look()
    with tenant_atomic(contoso.pk):
        assert User.objects.get(pk=pat.pk).status == "disabled"


@each_language
def test_a_global_reader_reads_all_of_it_and_has_no_button_that_changes_anything(
    arrive: Arrive, contoso: Tenant, bought: Subscription, language: str
) -> None:
    person(contoso, "contoso", "rhea")
    rhea = arrive(language)
    rhea.administer("rhea@contoso.example", "Your products")
    # An export changes nothing, nor does what belongs to another form: a search.
    changes = rhea.page.locator("main form[method=post]:not([action$='/export/']) button:not([form])")

    rhea.page.get_by_role("row").filter(has_text="Pat Mulder").get_by_role("link").click()
    rhea.arrives_at("Power BI Pro, Pat Mulder")
    expect(changes).to_have_count(0)
    for title in (
        "Bills & payments",
        "Licenses",
        "Requests",
        "Purchase policy",
        "People",
        "Roles",
        "Audit trail",
    ):
        rhea.choose(title)
        expect(changes).to_have_count(0)
