"""The way from Buy to the form, and what the form takes (product §3.2 to §3.4, reliability §6)."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from commerce.models import Checkout, Order, PaymentAttempt
from commerce.operations.checkouts import change_checkout
from commerce.queries.catalogue import product_keys
from config.kit.clock import now
from config.kit.templatetags.kit import moment
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from directory.permissions import Role
from policies.operations.policies import set_contact_text, set_product_policy
from tests.factories import (
    AT,
    actor_of,
    client_of,
    make_central_subscription,
    make_tenant,
    make_user,
    plan,
    product,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def mike(contoso: Tenant) -> User:
    return make_user(contoso, name="Mike Bos", email="mike@contoso.example")


def text(response: Any) -> str:
    return str(response.content.decode())


def checkout_of(user: User) -> Checkout:
    with tenant_atomic(user.tenant_id):
        found: Checkout = Checkout.objects.select_related("plan", "bill_to").get()
        return found


def enter(user: User, query: str = "") -> tuple[Client, str]:
    """Press Buy: the browser and the address of the checkout."""
    client = client_of(user)
    answer = client.get(f"/buy/power-bi-pro/{query}")
    assert answer.status_code == 302
    return client, answer.headers["Location"]


def fields(user: User, **changes: str) -> dict[str, str]:
    values = {
        "shown_for_tenant": str(user.tenant_id),
        "action": "pay",
        "quantity": "1",
        "plan": "monthly",
        "takes_first_license": "on",
        "name": "Mike Bos",
        "street": "Keizersgracht 1",
        "postal_code": "1015 CJ",
        "city": "Amsterdam",
        "country": "NL",
        "agrees_to_terms": "on",
        "agrees_to_data": "on",
        "seen_total": "1137",
        "confirmation_token": "",
    }
    return {name: value for name, value in (values | changes).items() if value is not None}


def assert_nothing_was_asked_of_the_processor(user: User) -> None:
    with tenant_atomic(user.tenant_id):
        assert not PaymentAttempt.objects.exists()
        assert not Order.objects.exists()


# --- Buy ------------------------------------------------------------------------------------------------


def test_who_is_not_signed_in_is_asked_for_the_work_e_mail_below_the_product(client: Client) -> None:
    answer = client.get("/buy/power-bi-pro/?plan=yearly", headers={"accept-language": "en-NL"})

    page = text(answer)
    assert answer.status_code == 200
    assert "Enter your work e-mail" in page
    assert "<b>Power BI Pro</b><small>€9.40 per license a month</small>" in page


def test_buy_opens_the_checkout_with_the_chosen_plan_and_number(mike: User) -> None:
    _client, address = enter(mike, "?plan=yearly&quantity=3")

    checkout = checkout_of(mike)
    assert address == f"/buy/power-bi-pro/checkout/{checkout.key}/"
    assert (checkout.plan.code, checkout.quantity) == ("yearly", 3)


@pytest.mark.parametrize("query", ["?plan=weekly&quantity=0", "?quantity=301", "?quantity=1e3", "?plan[]=x"])
def test_a_link_that_asks_for_what_is_not_sold_opens_one_seat(mike: User, query: str) -> None:
    enter(mike, query)

    assert (checkout_of(mike).plan.code, checkout_of(mike).quantity) == ("monthly", 1)


def test_buying_again_reopens_the_same_checkout(mike: User) -> None:
    client, address = enter(mike, "?quantity=3")

    assert client.get("/buy/power-bi-pro/").headers["Location"] == address


def test_every_reason_is_shown_with_the_organizations_own_words(contoso: Tenant) -> None:
    admin = actor_of(make_user(contoso, roles=(Role.GLOBAL_ADMIN,), name="Gina de Vries"))
    set_product_policy(actor=admin, product_keys=product_keys(product()), value="Disabled", at=AT)
    set_contact_text(actor=admin, text="Ask <the> desk.", url="https://it.contoso.example/", at=AT)
    frank = make_user(contoso, kind="guest", name="Frank Miller")

    answer = client_of(frank).get("/buy/power-bi-pro/")

    page = text(answer)
    assert answer.status_code == 403
    assert "You are a guest of Contoso" in page
    assert "Contoso does not allow buying Power BI Pro" in page
    assert "2 things stand in the way." in page
    assert "Ask &lt;the&gt; desk." in page
    assert 'href="https://it.contoso.example/"' in page
    assert "Buy for your home organization" in page
    assert "Gina" not in page


def test_without_own_words_the_generic_sentence_is_shown(contoso: Tenant) -> None:
    make_user(contoso, roles=(Role.GLOBAL_ADMIN,), name="Gina de Vries")
    guest = make_user(contoso, kind="guest")

    page = text(client_of(guest).get("/buy/power-bi-pro/"))

    assert "Ask your IT department for a license." in page
    assert "Gina" not in page


# --- The form -------------------------------------------------------------------------------------------


def test_the_page_says_everything_before_the_click(mike: User) -> None:
    client, address = enter(mike, "?quantity=2")

    page = text(client.get(address))

    assert "Check and pay" in page
    assert "For <strong>mike@contoso.example</strong> at <strong>Contoso</strong>." in page
    assert "Power BI Pro, 2 × €9.40" in page  # noqa: RUF001
    assert "€18.80 a month" in page
    assert "€17.30 a month" in page
    assert "€203.00 a year" in page
    assert "VAT 21%" in page
    assert "€22.75 is charged. You can start at once." in page
    assert "Next charge: €22.75, and so each month until you stop it." in page
    assert "Pay €22.75" in page
    assert "You pay, personally. Contoso is not charged." in page
    assert "These prices may differ from what your organization pays centrally or through a partner." in page
    assert "terms of sale</a> (version 2026-11)" in page
    assert 'name="seen_total" value="2275"' in page
    assert 'name="agrees_to_terms" id="id_agrees_to_terms" required>' in page  # the box starts empty
    assert 'name="takes_first_license" id="id_takes_first_license" checked>' in page


def test_the_refund_deadline_is_named_to_the_minute_in_the_tenants_zone(mike: User) -> None:
    client, address = enter(mike)

    page = text(client.get(address))

    deadline = now() + timedelta(days=7)
    minutes = [moment(deadline - timedelta(minutes=late), "Europe/Amsterdam") for late in (0, 1)]
    assert any(f"Until {minute}" in page for minute in minutes)


def test_a_year_paid_monthly_shows_the_sum_of_the_commitment(mike: User) -> None:
    client, address = enter(mike, "?plan=yearly-monthly&quantity=2")

    page = text(client.get(address))

    assert "You commit to 12 charges, €251.16 in all" in page
    assert "Next charge: €20.93, and so each month to" in page


def test_free_licenses_of_the_organization_are_counted(mike: User, contoso: Tenant) -> None:
    make_central_subscription(make_user(contoso, roles=(Role.BILLING_ADMIN,)), quantity=25)
    client, address = enter(mike)

    assert "Contoso already has 25 free licenses of Power BI Pro" in text(client.get(address))


def test_an_organization_without_free_licenses_is_not_mentioned(mike: User) -> None:
    client, address = enter(mike)

    assert "already has" not in text(client.get(address))


def questions(captured: Any) -> list[str]:
    """The statements that ask or write something, without those that open and close what they run in."""
    frame = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "SELECT set_config", "WITH enclosing")
    return [q["sql"] for q in captured if not q["sql"].lstrip().startswith(frame)]


def test_how_often_the_pages_ask_the_database(mike: User) -> None:
    client = client_of(mike)
    with CaptureQueriesContext(connection) as buying:
        address = client.get("/buy/power-bi-pro/").headers["Location"]
    with CaptureQueriesContext(connection) as page:
        client.get(address)

    # Session, person, roles, tenant; product, plans; the person's lock, five of eligibility, three of policies, a
    # checkout under way; tenant, market, price, calendar; the checkout and its audit.
    assert len(questions(buying)) == 21
    # Session, person, roles, tenant; tenant, checkout; exclusions, prices, calendar, address, plans, free licenses,
    # own purchases, request, license; limits on spending; buyer, cards, tries; the bell.
    assert len(questions(page)) == 20


@pytest.mark.parametrize("who", ["colleague", "stranger"])
def test_nobody_elses_checkout_is_there(mike: User, contoso: Tenant, who: str) -> None:
    _client, address = enter(mike)
    other = make_user(contoso if who == "colleague" else make_tenant())
    browser = client_of(other)

    assert browser.get(address).status_code == 404
    assert browser.post(address, fields(other)).status_code == 404
    assert browser.get(f"{address}confirmation/").status_code == 404
    assert browser.get(address).content == browser.get("/buy/power-bi-pro/checkout/0/").content


def test_another_products_address_does_not_show_it(mike: User) -> None:
    client, address = enter(mike)

    assert client.get(address.replace("power-bi-pro", "visio-plan-1")).status_code == 404


def test_the_confirmation_of_what_is_not_paid_leads_back(mike: User) -> None:
    client, address = enter(mike)

    assert client.get(f"{address}confirmation/").headers["Location"] == address


# --- Changing -------------------------------------------------------------------------------------------


def test_update_counts_anew_and_keeps_what_was_typed(mike: User) -> None:
    client, address = enter(mike)

    answer = client.post(address, fields(mike, action="update", quantity="4", plan="yearly", city="Delft"))

    page = text(answer)
    assert answer.status_code == 200
    assert "Power BI Pro, 4 × €101.50" in page  # noqa: RUF001
    assert 'value="Delft"' in page
    assert (checkout_of(mike).quantity, checkout_of(mike).plan.code) == (4, "yearly")


@pytest.mark.parametrize(
    ("step", "before", "after"), [("more", "1", 2), ("less", "3", 2), ("less", "1", 1), ("more", "300", 300)]
)
def test_the_stepper_works_without_script(mike: User, step: str, before: str, after: int) -> None:
    client, address = enter(mike)

    client.post(address, fields(mike, action="", step=step, quantity=before))

    assert checkout_of(mike).quantity == after


def test_htmx_gets_the_two_parts_that_change(mike: User) -> None:
    client, address = enter(mike)

    answer = client.post(address, fields(mike, action="update", quantity="2"), headers={"HX-Request": "true"})

    page = text(answer)
    assert page.startswith('<section class="sk-card sk-card--lg" id="what"') or 'id="what"' in page[:300]
    assert 'id="summary"' in page
    assert 'hx-swap-oob="true"' in page
    assert "<html" not in page
    assert "Pay €22.75" in page


BAD_NUMBERS = [
    *("", "0", "-1", "+1", "1.5", "1,5", "1e3", "1E308", "NaN", "inf", "0x10", "1_0", "2147483648"),
    *("9223372036854775808", "0.005", "301", "١٢", "１２", "²", "1 2", "1\x00", "one", "9" * 30, "<b>1</b>"),  # noqa: RUF001
]


@pytest.mark.parametrize("number", BAD_NUMBERS)
def test_a_bad_number_is_refused_at_its_field(mike: User, number: str) -> None:
    client, address = enter(mike)

    for action in ("update", "pay"):
        answer = client.post(address, fields(mike, action=action, quantity=number, seen_total="1137"))
        assert answer.status_code == 422
        assert 'id="id_quantity_error"' in text(answer)
        assert "<b>1</b>" not in text(answer)

    assert checkout_of(mike).quantity == 1
    assert checkout_of(mike).consented_at is None
    assert_nothing_was_asked_of_the_processor(mike)


# --- Paying: what never reaches the processor ------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "x" * 201),
        ("street", ""),
        ("city", ""),
        ("country", ""),
        ("country", "ZZ"),
        ("country", "Netherlands"),
        ("name", "a\x00b"),
        ("vat_number", "NL123456783B90"),
        ("vat_number", "<script>"),
        ("own_reference", "x" * 61),
        ("plan", "weekly"),
        ("plan", ""),
        ("agrees_to_terms", ""),
        ("agrees_to_data", ""),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_charged(mike: User, field: str, value: str) -> None:
    client, address = enter(mike)
    changed = fields(mike, **{field: value}, confirmation_token="ctoken_1")
    if field.startswith("agrees"):
        del changed[field]

    answer = client.post(address, changed)

    page = text(answer)
    assert answer.status_code == 422
    assert f'id="id_{field}_error"' in page
    assert "<title>Problem: Check and pay" in page
    assert 'role="alert" tabindex="-1"' in page
    assert "<script>" not in page.replace("<script>alert", "")
    assert checkout_of(mike).consented_at is None
    assert_nothing_was_asked_of_the_processor(mike)


@pytest.mark.parametrize(
    "tampered",
    [
        {"seen_total": "1"},
        {"seen_total": "0"},
        {"seen_total": "-1137"},
        {"seen_total": ""},
        {"seen_total": "1e3"},
        {"seen_total": "١١٣٧"},
        {"seen_total": "9" * 400},
        {"quantity": "5"},
        {"plan": "yearly"},
    ],
)
def test_a_total_that_does_not_fit_is_shown_anew_and_not_charged(
    mike: User, tampered: dict[str, str]
) -> None:
    client, address = enter(mike)

    answer = client.post(address, fields(mike, confirmation_token="ctoken_1", **tampered))

    assert answer.status_code in (409, 422)
    assert "Nothing was charged." in text(answer)
    assert checkout_of(mike).consented_at is None
    assert_nothing_was_asked_of_the_processor(mike)


def test_prices_currencies_and_products_of_the_client_are_ignored(mike: User) -> None:
    client, address = enter(mike)
    forged = {
        "unit_price_minor": "1",
        "total_minor": "1",
        "subtotal_minor": "1",
        "tax_rate": "0",
        "currency": "VND",
        "market": "CD",
        "product": "visio-plan-1",
        "user": "1",
        "tenant": "1",
        "state": "paid",
        "bill_to": "1",
        "expires_at": "2099-01-01",
    }

    answer = client.post(address, fields(mike, action="check") | forged)

    saved = checkout_of(mike)
    assert answer.status_code == 204
    assert (saved.unit_price_minor, saved.subtotal_minor, saved.tax_minor, saved.total_minor) == (
        940,
        940,
        197,
        1137,
    )
    assert (saved.currency, saved.market_id, saved.product_id) == ("EUR", "NL", product().pk)
    assert (saved.user_id, saved.tenant_id, saved.state) == (mike.pk, mike.tenant_id, "open")


def test_checking_saves_and_charges_nothing(mike: User) -> None:
    client, address = enter(mike)

    answer = client.post(address, fields(mike, action="check", name="Mike\r\nBcc: x@evil.example"))

    saved = checkout_of(mike)
    assert answer.status_code == 204
    assert saved.bill_to is not None
    assert saved.bill_to.name == "Mike Bcc: x@evil.example"
    assert_nothing_was_asked_of_the_processor(mike)


def test_without_a_card_the_page_says_what_is_missing(mike: User) -> None:
    client, address = enter(mike)

    answer = client.post(address, fields(mike))

    assert answer.status_code == 422
    assert "Nothing was charged: the card is missing." in text(answer)
    assert_nothing_was_asked_of_the_processor(mike)


def test_a_form_shown_for_another_tenant_answers_409(mike: User) -> None:
    client, address = enter(mike)

    answer = client.post(address, fields(mike, shown_for_tenant="1", confirmation_token="ctoken_1"))

    assert answer.status_code == 409
    assert_nothing_was_asked_of_the_processor(mike)


def test_who_may_no_longer_buy_is_led_to_the_reasons(mike: User, contoso: Tenant) -> None:
    client, address = enter(mike)
    admin = actor_of(make_user(contoso, roles=(Role.BILLING_ADMIN,)))
    set_product_policy(actor=admin, product_keys=product_keys(product()), value="Disabled", at=AT)

    answer = client.post(address, fields(mike, confirmation_token="ctoken_1"))

    assert answer.headers["Location"] == "/buy/power-bi-pro/"
    assert_nothing_was_asked_of_the_processor(mike)


def test_a_saved_address_is_not_asked_for_twice(mike: User) -> None:
    client, address = enter(mike)
    client.post(address, fields(mike, action="check", city="Delft", vat_number="NL123456782B90"))

    page = text(client.get(address))

    assert 'value="Delft"' in page
    assert 'value="NL123456782B90"' in page
    assert 'id="id_agrees_to_terms" required checked>' in page


def test_a_decline_is_shown_over_the_form_as_it_was_left(mike: User) -> None:
    client, address = enter(mike)
    client.post(address, fields(mike, action="check", city="Delft"))
    with tenant_atomic(mike.tenant_id):
        Checkout.objects.update(last_error="insufficient_funds")

    page = text(client.get(address))

    assert "<title>Problem: Check and pay" in page
    assert "The card has not enough funds. Nothing was charged. Try another card." in page
    assert "Your order is kept." in page
    assert 'value="Delft"' in page


def test_what_is_over_begins_anew(mike: User) -> None:
    client, address = enter(mike)
    with tenant_atomic(mike.tenant_id):
        Checkout.objects.update(expires_at=AT)

    assert client.get(address).headers["Location"] == "/buy/power-bi-pro/"
    fresh = client.get("/buy/power-bi-pro/").headers["Location"]
    assert fresh != address


def test_changing_what_is_over_begins_anew(mike: User) -> None:
    client, address = enter(mike)
    change_checkout(
        actor=actor_of(mike),
        key=checkout_of(mike).key,
        plan=plan(),
        quantity=2,
        takes_first_license=True,
        at=now(),
    )
    with tenant_atomic(mike.tenant_id):
        Checkout.objects.update(expires_at=AT)

    answer = client.post(address, fields(mike, action="update", quantity="3"), headers={"HX-Request": "true"})

    assert answer.status_code == 204
    assert answer.headers["HX-Redirect"] == address
    assert checkout_of(mike).quantity == 2
