"""The page of the recurring-billing switch: what it says before the click, and what a post does."""

from datetime import timedelta

import pytest

from commerce.models import Subscription
from config.kit.tenancy import tenant_atomic
from tests.admin.conftest import SignIn
from tests.factories import AT, make_bill, make_subscription, make_tenant, make_user, plan

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])


@pytest.fixture
def contoso():
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso):
    return make_user(contoso, name="Pat Peters")


def address(subscription) -> str:
    return f"/admin/billing/your-products/{subscription.key}/recurring-billing/"


def is_on(subscription) -> bool:
    with tenant_atomic(subscription.tenant_id):
        return Subscription.objects.get(pk=subscription.pk).recurring_billing


def test_says_what_turning_off_does_and_when(sign_in: SignIn, contoso, pat):
    subscription = make_subscription(contoso, owner=pat)

    response = sign_in(pat).get(address(subscription))

    assert "Turn off, end on 31 Mar 2026" in response.text
    assert "1 Apr 2026: Expired" in response.text
    assert "1 May 2026: Disabled" in response.text
    assert "30 Jul 2026: Deleted" in response.text


def test_says_what_a_yearly_term_paid_monthly_still_costs(sign_in: SignIn, contoso, pat):
    from datetime import UTC, datetime

    subscription = make_subscription(
        contoso,
        owner=pat,
        plan=plan("power-bi-pro", "yearly-monthly"),
        quantity=10,
        unit_price_minor=1_000,
        term_end=datetime(2027, 2, 28, 23, 0, tzinfo=UTC),
    )

    response = sign_in(pat).get(address(subscription))

    assert "€1,331.00" in response.text  # 11 x (100.00 + 21.00)
    assert "Turn off, end on 28 Feb 2027" in response.text


def test_says_what_is_open_of_a_failed_payment_and_where_paying_or_not_leads(sign_in: SignIn, contoso, pat):
    subscription = make_subscription(
        contoso,
        owner=pat,
        payment_failed_at=AT,
        next_try_at=AT + timedelta(days=4),
        pay_by_at=AT + timedelta(days=20),
    )
    bill = make_bill(
        subscription,
        failed_at=AT,
        dunning_step=1,
        decline_kind="soft",
        next_dunning_at=AT + timedelta(days=4),
    )

    page = sign_in(pat).get(address(subscription)).text

    assert f"Open now</dt><dd>€{bill.total_minor / 100:.2f}</dd>" in page
    assert "Next try on 14 Mar 2026" in page
    assert "Active until 31 Mar 2026, then Expired." in page
    assert "30 Mar 2026: Disabled, if nothing is paid" in page
    assert "Still to be charged" not in page


def test_turns_off_and_says_so(sign_in: SignIn, contoso, pat):
    subscription = make_subscription(contoso, owner=pat)

    response = sign_in(pat).post(address(subscription), {"on": "no", "version": 0}, follow=True)

    assert not is_on(subscription)
    assert "Recurring billing is off. It ends on 31 Mar 2026." in response.text


def test_turns_on_again(sign_in: SignIn, contoso, pat):
    subscription = make_subscription(contoso, owner=pat, recurring_billing=False)

    response = sign_in(pat).post(address(subscription), {"on": "yes", "version": 0}, follow=True)

    assert is_on(subscription)
    assert "Recurring billing is on. It renews on 1 Apr 2026." in response.text


def test_an_older_page_is_refused_with_the_present_state(sign_in: SignIn, contoso, pat):
    subscription = make_subscription(contoso, owner=pat, version=3)

    response = sign_in(pat).post(address(subscription), {"on": "no", "version": 2})

    assert response.status_code == 409
    assert 'name="version" value="3"' in response.text
    assert is_on(subscription)


@pytest.mark.parametrize(
    "form", [{}, {"on": "no"}, {"on": "maybe", "version": 0}, {"on": "no", "version": "-1"}]
)
def test_a_forged_form_changes_nothing(sign_in: SignIn, contoso, pat, form):
    subscription = make_subscription(contoso, owner=pat)

    assert sign_in(pat).post(address(subscription), form).status_code == 422
    assert is_on(subscription)


def test_a_form_shown_for_another_customer_is_refused(sign_in: SignIn, contoso, pat):
    subscription = make_subscription(contoso, owner=pat)

    response = sign_in(pat).post(
        address(subscription), {"on": "no", "version": 0, "shown_for_tenant": contoso.pk + 1}
    )

    assert response.status_code == 409
    assert is_on(subscription)
