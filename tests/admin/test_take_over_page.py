"""The take-over page: what it says before the click, and what it answers (product §10)."""

from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.test import Client

from commerce.models import Subscription
from commerce.operations.renewals import renew_due
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from directory.operations.people import disable_user
from tests.admin.conftest import SignIn
from tests.factories import (
    actor_of,
    make_agreement,
    make_card,
    make_relationship,
    make_self_service_subscription,
    make_tenant,
    make_user,
    plan,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

LATER = datetime(2027, 1, 1, tzinfo=UTC)
BOUGHT = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
AT = datetime(2026, 4, 12, 9, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _on_the_twelfth_of_april() -> Any:
    with time_machine.travel(AT, tick=False):
        yield


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters")


@pytest.fixture
def bill(contoso: Tenant) -> User:
    return make_user(contoso, name="Bill Bakker", roles=("billing_admin",))


@pytest.fixture
def bought(pat: User) -> Subscription:
    """Ten licenses, renewed two days ago; the bill of that is open."""
    made = make_self_service_subscription(pat, at=BOUGHT)
    renew_due(at=datetime(2026, 4, 10, 6, tzinfo=UTC))
    return made


def purchase(subscription: Subscription) -> str:
    return f"/admin/billing/your-products/{subscription.key}/"


def text_of(response: Any) -> str:
    return " ".join(response.content.decode().split())


def shown(client: Client, subscription: Subscription) -> str:
    response = client.get(purchase(subscription) + "take-over/")
    assert response.status_code == 200
    return text_of(response)


def confirm(client: Client, subscription: Subscription, page: str) -> Any:
    posted = {
        name: page.split(f'name="{name}" value="')[1].split('"')[0] for name in ("quote", "shown_for_tenant")
    }
    return client.post(purchase(subscription) + "take-over/", posted, follow=True)


def fresh(subscription: Subscription) -> Subscription:
    with tenant_atomic(subscription.tenant_id):
        return Subscription.objects.get(pk=subscription.pk)


def test_a_year_paid_monthly_says_what_is_still_to_be_charged_in_it(
    sign_in: SignIn, contoso: Tenant, pat: User, bill: User
) -> None:
    make_agreement(contoso)
    yearly = make_self_service_subscription(pat, plan=plan(code="yearly-monthly"), at=BOUGHT)

    page = shown(sign_in(bill), yearly)

    still = page.split("Still to be charged in this term")[1].split("</div>")[0]
    assert "€1,151.37" in still
    assert "11 bills, VAT included" in still


def test_a_month_has_nothing_left_to_be_charged_in_it(
    sign_in: SignIn, contoso: Tenant, bill: User, bought: Subscription
) -> None:
    make_agreement(contoso)

    assert "Still to be charged" not in shown(sign_in(bill), bought)


def test_it_says_who_pays_what_moves_and_when_and_does_that(
    sign_in: SignIn, contoso: Tenant, pat: User, bill: User, bought: Subscription
) -> None:
    make_agreement(contoso)
    client = sign_in(bill)

    assert f'href="{purchase(bought)}take-over/"' in text_of(client.get(purchase(bought)))
    page = shown(client, bought)
    response = confirm(client, bought, page)

    for words in (
        *("On account, 30 days to pay", "€94.00", "without tax: its own price", "10 May 2026"),
        *("1 open bill moves", "€113.74, to be paid by 12 May 2026", "SK-NL-2026-000002"),
        "The card of Pat Peters is not charged for it again. Bills that are paid stay theirs.",
        "Pat Peters gets a mail, and keeps reading their own bills and the history up to today.",
        "Stays on: it renews on 10 May 2026, unless you switch it off before.",
    ):
        assert words in page, words
    text = text_of(response)
    assert "Power BI Pro belongs to Contoso now. Nobody lost a license." in text
    assert "Billed under the agreement" in text
    assert "Taken over for the organization" in text
    assert "take-over/" not in text
    assert fresh(bought).is_organizations
    assert "Taken over by Bill Bakker on 12 Apr 2026" in text_of(client.get("/admin/billing/your-products/"))


def test_the_former_purchaser_sees_that_it_was_taken_over_and_the_own_bills(
    sign_in: SignIn, contoso: Tenant, pat: User, bill: User, bought: Subscription
) -> None:
    make_agreement(contoso)
    confirm(sign_in(bill), bought, shown(sign_in(bill), bought))
    client = sign_in(pat)

    listed = text_of(client.get("/admin/billing/your-products/"))
    page = text_of(client.get(purchase(bought)))

    assert "No longer yours" in listed
    assert "Contoso took this over on 12 Apr 2026" in page
    assert "SK-NL-2026-000001" in page
    assert "SK-NL-2026-000004" not in page
    assert client.get(purchase(bought) + "seats/").status_code == 404


def test_the_organizations_card_is_named_to_who_pays_with_it_and_to_no_partner(
    sign_in: SignIn, contoso: Tenant, bill: User, bought: Subscription
) -> None:
    make_card(contoso, last4="0341")
    northwind = make_tenant(name="Northwind")
    petra = make_user(northwind, name="Petra")
    make_relationship(contoso, northwind, roles=("billing_admin",), users=(petra,), ends_at=LATER)
    partner = sign_in(petra, acting_for=contoso)

    own, delegated = shown(sign_in(bill), bought), shown(partner, bought)
    response = confirm(partner, bought, delegated)

    assert "charged today to Visa ending in 0341" in own
    assert "charged today to the organization" in delegated
    assert "0341" not in delegated
    assert "Organization's card" in response.content.decode().replace("&#x27;", "'")
    assert fresh(bought).is_organizations


def test_without_agreement_and_card_it_leads_to_adding_the_organizations_card(
    sign_in: SignIn, bill: User, bought: Subscription
) -> None:
    client = sign_in(bill)

    response = client.get(purchase(bought) + "take-over/")

    assert response.status_code == 409
    text = text_of(response)
    assert "Add a card of the organization first. Nothing was changed." in text
    assert 'href="/admin/billing/payment-methods/add/?payer=organization"' in text
    assert client.get("/admin/billing/payment-methods/add/?payer=organization").status_code == 200


def test_what_moved_on_comes_back_with_what_would_happen_now(
    sign_in: SignIn, contoso: Tenant, bill: User, bought: Subscription
) -> None:
    make_agreement(contoso)
    client = sign_in(bill)
    page = shown(client, bought)
    with tenant_atomic(contoso.pk):
        Subscription.objects.filter(pk=bought.pk).update(version=99)

    response = confirm(client, bought, page)

    assert response.status_code == 409
    assert 'role="alert"' in text_of(response)
    assert not fresh(bought).is_organizations


@pytest.mark.parametrize("quote", ["", "nonsense"])
def test_an_answer_that_is_no_page_of_ours_changes_nothing(
    sign_in: SignIn, contoso: Tenant, bill: User, bought: Subscription, quote: str
) -> None:
    make_agreement(contoso)

    response = sign_in(bill).post(purchase(bought) + "take-over/", {"quote": quote})

    assert response.status_code == 422
    assert not fresh(bought).is_organizations


def test_of_a_purchaser_who_left_it_says_so_and_offers_it_on_the_purchase(
    sign_in: SignIn, contoso: Tenant, pat: User, bill: User, bought: Subscription
) -> None:
    make_agreement(contoso)
    gina = make_user(contoso, roles=("global_admin",))
    disable_user(actor=actor_of(gina), user_id=pat.pk, at=AT)
    client = sign_in(bill)

    before = text_of(client.get(purchase(bought)))
    page = shown(client, bought)
    after = text_of(confirm(client, bought, page))

    assert "Take it over" in before
    assert "on the purchaser's card" in before
    assert "Pat Peters left Contoso and gets no mail." in page
    assert "on the purchaser's card" not in after


def test_a_reader_sees_no_button_and_may_not(sign_in: SignIn, contoso: Tenant, bought: Subscription) -> None:
    client = sign_in(make_user(contoso, roles=("global_reader",)))

    assert "take-over/" not in text_of(client.get(purchase(bought)))
    assert client.get(purchase(bought) + "take-over/").status_code == 403
