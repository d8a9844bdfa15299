"""The pages of agreements, as who works at the catalogue uses them (product §1, §6; docs/operator.md)."""

import pytest
from django.test import Client

from commerce.models import Agreement, AgreementPrice
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, Tenant
from tests.factories import client_of, make_agreement, make_staff, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

LIST = "/operator/agreements/"
NEW = "/operator/agreements/new/"


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso", domain="contoso.test")


@pytest.fixture
def browser(vendor: Tenant) -> Client:
    return client_of(make_staff(vendor, "staff_catalogue", name="Olga Kuiper"), with_factor=True)


def agreements_of(tenant: Tenant) -> list[Agreement]:
    with tenant_atomic(tenant.pk):
        return list(Agreement.objects.order_by("pk"))


def prices_of(tenant: Tenant) -> list[tuple[int, str]]:
    with tenant_atomic(tenant.pk):
        return list(AgreementPrice.objects.order_by("pk").values_list("unit_price_minor", "currency"))


def deeds_of(tenant: Tenant) -> list[str]:
    with tenant_atomic(tenant.pk):
        rows = AuditEntry.objects.filter(actor_label="Support: Olga Kuiper").order_by("pk")
        return [code.removeprefix("commerce.agreement.") for code in rows.values_list("code", flat=True)]


def make(browser: Client, domain: str = "contoso.test", days: str = "45") -> str:
    answer = browser.post(NEW, {"domain": domain, "days": days})
    assert answer.status_code == 303
    return str(answer["Location"])


def test_the_catalogue_and_superusers_see_agreements_and_nobody_else(vendor: Tenant, contoso: Tenant) -> None:
    make_agreement(contoso)
    pages = (LIST, NEW, f"{LIST}{agreements_of(contoso)[0].pk}/")
    for role in ("staff_catalogue", "staff_superuser"):
        browser = client_of(make_staff(vendor, role), with_factor=True)
        assert [browser.get(page).status_code for page in pages] == [200] * 3
    not_there = Client().get("/no/such/page/").content
    others = (
        client_of(make_staff(vendor, "staff_support"), with_factor=True),
        client_of(make_user(contoso, roles=("global_admin",))),
    )
    for browser in others:
        for page in pages:
            for answer in (browser.get(page), browser.post(page, {"action": "end"})):
                assert answer.status_code in (404, 405)
                assert answer.status_code == 405 or answer.content == not_there
    assert agreements_of(contoso)[0].ended_at is None


def test_an_agreement_is_made_by_domain_once(browser: Client, contoso: Tenant) -> None:
    shown = browser.get(make(browser, " Contoso.Test ")).text
    again = browser.post(NEW, {"domain": "contoso.test", "days": "10"})

    assert (again.status_code, "in force already" in again.text) == (409, True)
    assert [each.payment_days for each in agreements_of(contoso)] == [45]
    assert "The agreement with Contoso is in force." in shown
    assert "Bills are to be paid within 45 days." in shown


@pytest.mark.parametrize(
    ("domain", "days"),
    [
        ("nobody.test", "30"),
        ("", "30"),
        ("contoso.test", "366"),
        ("contoso.test", "-1"),
        ("contoso.test", "x"),
    ],
)
def test_no_agreement_is_made_with_nobody_or_for_no_days(
    browser: Client, contoso: Tenant, domain: str, days: str
) -> None:
    answer = browser.post(NEW, {"domain": domain, "days": days})

    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.text
    assert agreements_of(contoso) == []


def test_prices_and_days_are_agreed_on(browser: Client, contoso: Tenant) -> None:
    page = make(browser)

    for price in ("7,50", "7.5"):
        answer = browser.post(page, {"action": "price", "plan": "power-bi-pro monthly", "price": price})
        assert answer.status_code == 303
    browser.post(page, {"action": "terms", "days": "10"})

    assert prices_of(contoso) == [(750, "EUR")]
    assert agreements_of(contoso)[0].payment_days == 10
    assert deeds_of(contoso) == ["made", "terms_set", "price_set", "terms_set"]
    shown = browser.get(page).text
    assert "€7.50" in shown
    assert "within 10 days" in shown


@pytest.mark.parametrize(
    "form",
    [
        {"action": "price", "plan": "power-bi-pro monthly", "price": ""},
        {"action": "price", "plan": "power-bi-pro monthly", "price": "-1"},
        {"action": "price", "plan": "power-bi-pro monthly", "price": "1.234"},
        {"action": "price", "plan": "power-bi-pro monthly", "price": "1e999999"},
        {"action": "price", "plan": "power-bi-pro monthly", "price": "99999999999999"},
        {"action": "price", "plan": "no-such monthly", "price": "5"},
        {"action": "price", "plan": "", "price": "5"},
        {"action": "terms", "days": "366"},
        {"action": "terms", "days": ""},
        {"action": "raise"},
        {},
    ],
)
def test_what_makes_no_sense_is_not_agreed_on(browser: Client, contoso: Tenant, form: dict[str, str]) -> None:
    page = make(browser)

    assert browser.post(page, form).status_code == 422
    assert (prices_of(contoso), agreements_of(contoso)[0].payment_days) == ([], 45)


def test_an_agreement_ends_and_is_taken_up_once(browser: Client, contoso: Tenant) -> None:
    page = make(browser)

    statuses = [
        browser.post(page, {"action": action}).status_code for action in ("end", "end", "take_up", "take_up")
    ]

    assert statuses == [303, 409, 303, 409]
    assert deeds_of(contoso)[-2:] == ["ended", "taken_up"]
    assert agreements_of(contoso)[0].ended_at is None


def test_nothing_is_agreed_on_from_the_page_of_one_that_ended(browser: Client, contoso: Tenant) -> None:
    """Nor is another made by that, or the one that is in force now changed."""
    page = make(browser)
    browser.post(page, {"action": "end"})

    for _ in range(2):
        for form in (
            {"action": "terms", "days": "10"},
            {"action": "price", "plan": "power-bi-pro monthly", "price": "5"},
        ):
            answer = browser.post(page, form)
            assert (answer.status_code, "Nothing was changed." in answer.text) == (409, True)
        if len(agreements_of(contoso)) == 1:
            make(browser, days="20")

    assert [each.payment_days for each in agreements_of(contoso)] == [45, 20]
    assert prices_of(contoso) == []


@pytest.mark.parametrize("number", [10**12, 10**30])
def test_no_made_up_number_is_an_agreement(browser: Client, contoso: Tenant, number: int) -> None:
    for answer in (browser.get(f"{LIST}{number}/"), browser.post(f"{LIST}{number}/", {"action": "end"})):
        assert answer.status_code == 404
