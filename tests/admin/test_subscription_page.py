"""One purchase's page, limited and full (product §4, §8)."""

import uuid
from datetime import timedelta

import pytest

from commerce.models import SubscriptionEvent
from config.kit.tenancy import tenant_atomic
from licensing.models import Assignment
from tests.admin.conftest import SignIn
from tests.factories import AT, make_bill, make_relationship, make_subscription, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])


def address(subscription) -> str:
    return f"/admin/billing/your-products/{subscription.key}/"


@pytest.fixture
def contoso():
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso):
    return make_user(contoso, name="Pat Peters")


@pytest.fixture
def bill(contoso):
    return make_user(contoso, name="Bill Bakker", roles=("billing_admin",))


@pytest.fixture
def bought(contoso, pat):
    subscription = make_subscription(contoso, owner=pat, quantity=10, assigned=2)
    erik = make_user(contoso, name="Erik Evers")
    with tenant_atomic(contoso.pk):
        for user in (pat, erik):
            Assignment.objects.create(
                tenant=contoso,
                subscription=subscription,
                user=user,
                product_id=subscription.product_id,
                assigned_at=AT,
                assigned_by="Pat Peters",
            )
        SubscriptionEvent.objects.create(
            tenant=contoso, subscription=subscription, at=AT, code="purchased", actor_label="Pat Peters"
        )
    return subscription


def test_what_failed_is_said_to_be_open_also_once_nothing_more_is_charged(sign_in: SignIn, contoso, pat):
    subscription = make_subscription(
        contoso, owner=pat, recurring_billing=False, payment_failed_at=AT, pay_by_at=AT + timedelta(days=20)
    )
    failed = make_bill(subscription, failed_at=AT, dunning_step=8, next_dunning_at=AT + timedelta(days=20))

    page = sign_in(pat).get(address(subscription)).text

    assert (
        f'Pay by</dt><dd>30 Mar 2026</dd><dd class="is-note">€{failed.total_minor / 100:.2f} is open' in page
    )
    assert "No further charge" not in page


def test_the_purchaser_sees_holders_dates_and_the_switch(sign_in: SignIn, pat, bought):
    response = sign_in(pat).get(address(bought))

    assert response.status_code == 200
    assert "Erik Evers" in response.text
    assert "Active until 31 Mar 2026" in response.text
    assert "1 Apr 2026: renews" in response.text
    assert f"{address(bought)}recurring-billing/" in response.text
    assert [what for _event, what in response.context["events"]] == ["Bought"]


def test_a_billing_admin_sees_it_and_may_not_change_it(sign_in: SignIn, bill, bought):
    response = sign_in(bill).get(address(bought))

    assert response.status_code == 200
    assert "Purchaser&#x27;s card" in response.text
    assert "recurring-billing/" not in response.text
    assert response.context["may_hand_out"] is False
    assert sign_in(bill).get(f"{address(bought)}recurring-billing/").status_code == 403


def test_an_admin_may_switch_what_the_organization_owns(sign_in: SignIn, contoso, bill):
    central = make_subscription(contoso)

    assert "recurring-billing/" in sign_in(bill).get(address(central)).text


def test_a_leavers_purchase_is_marked(sign_in: SignIn, contoso, bill):
    dora = make_user(contoso, name="Dora de Vries", status="disabled")
    subscription = make_subscription(contoso, owner=dora, assigned=0)

    assert "Dora de Vries left Contoso" in sign_in(bill).get(address(subscription)).text


def test_a_partner_sees_it_under_the_banner(sign_in: SignIn, contoso, bought):
    northwind = make_tenant(name="Northwind")
    petra = make_user(northwind, name="Petra")
    make_relationship(contoso, northwind, users=(petra,))

    assert sign_in(petra, acting_for=contoso).get(address(bought)).status_code == 200


def test_what_is_not_visible_is_like_what_is_missing(sign_in: SignIn, contoso, bought):
    fiona = make_user(make_tenant(name="Fabrikam"), roles=("global_admin",))
    sam = make_user(contoso, name="Sam", purchaser_since=AT)
    missing = sign_in(sam).get(f"/admin/billing/your-products/{uuid.uuid4()}/")

    colleagues = sign_in(sam).get(address(bought))
    foreign = sign_in(fiona).get(address(bought))

    assert (missing.status_code, colleagues.status_code, foreign.status_code) == (404, 404, 404)
    assert missing.content == colleagues.content == foreign.content


@pytest.mark.parametrize("place", ["rubbish", "WyJmIiwiYSJd", "WyJmIiwxLDJd"])
def test_refuses_a_place_that_is_not_in_the_list(sign_in: SignIn, pat, bought, place):
    assert sign_in(pat).get(f"{address(bought)}?holders={place}").status_code == 422


def test_holders_page_by_key(sign_in: SignIn, contoso, pat):
    subscription = make_subscription(contoso, owner=pat, quantity=60, assigned=60)
    people = [make_user(contoso) for _ in range(60)]
    with tenant_atomic(contoso.pk):
        Assignment.objects.bulk_create(
            Assignment(
                tenant=contoso,
                subscription=subscription,
                user=user,
                product_id=subscription.product_id,
                assigned_at=AT,
                assigned_by="Pat Peters",
            )
            for user in people
        )
    client = sign_in(pat)

    first = client.get(address(subscription))
    second = client.get(address(subscription) + first.context["next"])

    assert [holder.user for holder in [*first.context["holders"], *second.context["holders"]]] == people[::-1]
    assert len(first.context["holders"]) == 50
