"""A purchase that began in a product goes back there, and to no other address (product §3.1, docs/embed.md)."""

from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.test import Client

from commerce.models import Checkout, ProductSite
from commerce.queries.catalogue import product_keys
from config.kit.rate import _valkey
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from directory.permissions import Role
from directory.sessions import PENDING
from policies.operations.policies import set_product_policy
from tests.access.hostile_addresses import TEXTS
from tests.commerce.test_checkout_pages import checkout_of, enter
from tests.commerce.test_paying_pages import pay
from tests.factories import AT, actor_of, client_of, make_tenant, make_user, product
from tests.processor import authenticate, intents

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])

APP = "https://app.powerbi.example"
REPORT = f"{APP}/reports/7?page=2#top"
BACK = f'href="{REPORT}">Back to Power BI</a>'


@pytest.fixture
def site() -> ProductSite:
    with tenant_atomic(make_tenant(kind="vendor").pk):
        return ProductSite.objects.create(product=product(), name="Power BI", origin=APP, path="/reports/")


@pytest.fixture
def no_tries_yet() -> None:
    """Nobody has tried to sign in within the last minute."""
    _valkey().flushdb()


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso", domain="contoso.example")


@pytest.fixture
def mike(contoso: Tenant) -> User:
    return make_user(contoso, name="Mike Bos", email="mike@contoso.example")


def asking(address: str, **more: str) -> str:
    return f"?{urlencode({'return': address, **more})}"


# --- Through sign-in ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("site", "contoso", "no_tries_yet")
def test_sign_in_keeps_the_way_back(client: Client) -> None:
    client.post(f"/buy/power-bi-pro/{asking(REPORT, plan='yearly')}", {"email": "mike@contoso.example"})

    way = urlsplit(client.session[PENDING]["next"])
    assert way.path == "/buy/power-bi-pro/"
    assert parse_qs(way.query) == {"return": [REPORT], "plan": ["yearly"]}


@pytest.mark.usefixtures("site", "contoso", "no_tries_yet")
@pytest.mark.parametrize("address", ["https://evil.example/", f"{APP}/", f"{REPORT}{'x' * 5000}"])
def test_sign_in_leaves_out_a_way_back_that_is_not_registered_and_goes_on_buying(
    client: Client, address: str
) -> None:
    client.post(f"/buy/power-bi-pro/{asking(address)}", {"email": "mike@contoso.example"})

    assert client.session[PENDING]["next"] == "/buy/power-bi-pro/"


# --- The checkout -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("site")
def test_the_checkout_keeps_the_way_back(mike: User) -> None:
    enter(mike, asking(REPORT))

    assert checkout_of(mike).return_to == REPORT


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    "form", [*TEXTS, f"{APP}/", f"{APP}/reports/../x", f"{APP}.evil.example/reports/"], ids=ascii
)
def test_the_checkout_keeps_no_other_address_and_nobody_is_sent_there(mike: User, form: str) -> None:
    _client, address = enter(mike, asking(form))

    assert checkout_of(mike).return_to == ""
    assert address.startswith("/buy/power-bi-pro/checkout/")


@pytest.mark.usefixtures("site")
def test_a_checkout_that_is_under_way_takes_the_way_back_and_is_not_begun_anew(mike: User) -> None:
    _client, before = enter(mike)
    _client, after = enter(mike, asking(REPORT))
    enter(mike)

    assert before == after
    assert checkout_of(mike).return_to == REPORT


@pytest.mark.usefixtures("site")
def test_a_checkout_that_was_kept_too_long_is_begun_anew_with_the_way_back(mike: User) -> None:
    client, address = enter(mike, asking(REPORT))
    with tenant_atomic(mike.tenant_id):
        Checkout.objects.update(state=Checkout.State.ABANDONED)

    assert client.get(address).headers["Location"] == f"/buy/power-bi-pro/{asking(REPORT)}"


@pytest.mark.usefixtures("site")
def test_who_may_not_buy_is_led_back(contoso: Tenant, mike: User) -> None:
    admin = actor_of(make_user(contoso, roles=(Role.GLOBAL_ADMIN,)))
    set_product_policy(actor=admin, product_keys=product_keys(product()), value="Disabled", at=AT)

    answer = client_of(mike).get(f"/buy/power-bi-pro/{asking(REPORT)}")
    elsewhere = client_of(mike).get(f"/buy/power-bi-pro/{asking('https://evil.example/')}")

    assert answer.status_code == 403
    assert BACK in answer.text
    assert "evil.example" not in elsewhere.text


# --- After payment ------------------------------------------------------------------------------------------

paying = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


def confirmed(client: Client, address: str) -> str:
    return client.get(f"{address}confirmation/").text


@paying
@pytest.mark.usefixtures("empty_processor", "site")
def test_the_confirmation_offers_the_way_back_first(mike: User) -> None:
    client, address = enter(mike, asking(REPORT))
    pay(client, address, mike)

    page = confirmed(client, address)

    assert f'<a class="sk-btn sk-btn--primary sk-btn--lg" {BACK}' in page
    assert "Open Power BI Pro" not in page


@paying
@pytest.mark.usefixtures("empty_processor", "site")
def test_the_way_back_outlasts_the_banks_question(mike: User) -> None:
    client, address = enter(mike, asking(REPORT))
    pay(client, address, mike, card="pm_card_authenticationRequired")
    authenticate(intents()[0]["id"])

    assert client.get(address).headers["Location"] == f"{address}confirmation/"
    assert BACK in confirmed(client, address)


@paying
@pytest.mark.usefixtures("empty_processor", "site")
def test_a_site_that_was_removed_meanwhile_is_no_way_back(mike: User, site: ProductSite) -> None:
    client, address = enter(mike, asking(REPORT))
    pay(client, address, mike)
    with tenant_atomic(make_tenant(kind="vendor").pk):
        site.delete()

    page = confirmed(client, address)

    assert "powerbi.example" not in page
    assert "Open Power BI Pro" in page


# --- The organization that a prompt names -------------------------------------------------------------------


@pytest.fixture
def frank(contoso: Tenant) -> tuple[User, User]:
    """At home at Fabrikam, and a guest of Contoso: one person at one provider."""
    fabrikam = make_tenant(name="Fabrikam", domain="fabrikam.example")
    home = make_user(fabrikam, name="Frank Miller")
    guest = make_user(contoso, kind="guest", name="Frank Miller", issuer=home.issuer, subject=home.subject)
    return home, guest


def test_a_link_for_another_organization_of_theirs_asks_which_one(frank: tuple[User, User]) -> None:
    home, guest = frank
    browser = client_of(home)

    answer = browser.get("/buy/power-bi-pro/?organization=contoso.example")

    menu = answer.headers["Location"]
    way = "/buy/power-bi-pro/?organization=contoso.example"
    assert menu == f"/my/accounts/?{urlencode({'next': way})}"
    page = browser.get(menu).text
    assert "Go to Contoso" in page
    assert '<a class="sk-btn" href="/buy/power-bi-pro/">Go on for Fabrikam</a>' in page
    chosen = browser.post(menu, {"user_id": guest.pk, "shown_for_tenant": home.tenant_id})
    assert chosen.headers["Location"] == way
    assert "You are a guest of Contoso" in browser.get(way).text


@pytest.mark.parametrize(
    "domain", ["fabrikam.example", "nobody.example", "litware.example", "", "a@b", "x" * 9000]
)
def test_a_link_for_the_own_or_no_organization_of_theirs_is_for_the_one_they_use(
    frank: tuple[User, User], domain: str
) -> None:
    make_tenant(domain="litware.example")

    _client, address = enter(frank[0], f"?{urlencode({'organization': domain})}")

    assert address.startswith("/buy/power-bi-pro/checkout/")


@pytest.mark.parametrize("form", TEXTS, ids=ascii)
def test_the_account_menu_goes_on_within_the_site(frank: tuple[User, User], form: str) -> None:
    home, guest = frank
    browser = client_of(home)
    menu = f"/my/accounts/?{urlencode({'next': form})}"

    page = browser.get(menu)
    switched = browser.post(menu, {"user_id": guest.pk, "shown_for_tenant": home.tenant_id})

    assert (switched.status_code, switched.headers["Location"]) == (302, "/")
    assert "evil" not in page.text


# --- Asking for a license -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("site")
def test_who_asks_for_a_license_is_led_back(contoso: Tenant, mike: User) -> None:
    make_user(contoso, roles=(Role.GLOBAL_ADMIN,))
    browser, address = client_of(mike), f"/my/requests/ask/power-bi-pro/{asking(REPORT)}"

    page = browser.get(address)
    sent = browser.post(address, {"me": "yes", "reason": "For reports.", "shown_for_tenant": mike.tenant_id})

    assert BACK in page.text
    assert sent.status_code == 303
    assert BACK in browser.get(sent.headers["Location"]).text


@pytest.mark.usefixtures("site")
def test_who_asks_is_led_to_no_other_address(contoso: Tenant, mike: User) -> None:
    make_user(contoso, roles=(Role.GLOBAL_ADMIN,))
    browser, evil = client_of(mike), "https://evil.example/"

    page: Any = browser.get(f"/my/requests/ask/power-bi-pro/{asking(evil)}")
    own = browser.get(f"/my/requests/{asking(evil, product='power-bi-pro')}")

    assert "evil.example" not in page.text + own.text
