"""The cancel page: what it says before the click, and what it answers (product §5.5, F-19)."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client

from commerce.models import Subscription
from config.kit.tenancy import tenant_atomic
from directory.models import OutgoingMail, Tenant, User
from directory.operations.outbox import message_of
from directory.sessions import PROVED
from tests.admin.conftest import SignIn
from tests.factories import (
    make_agreement,
    make_central_subscription,
    make_self_service_subscription,
    make_tenant,
    make_user,
    plan,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

BOUGHT = datetime(2026, 3, 1, 9, 5, tzinfo=UTC)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters")


@pytest.fixture
def bought(pat: User) -> Subscription:
    return make_self_service_subscription(pat, quantity=10, at=BOUGHT)


def address(subscription: Subscription) -> str:
    return f"/admin/billing/your-products/{subscription.key}/cancel/"


def text_of(response: Any) -> str:
    return " ".join(response.content.decode().split())


def shown(client: Client, subscription: Subscription) -> str:
    response = client.get(address(subscription))
    assert response.status_code == 200
    return text_of(response)


def post(client: Client, subscription: Subscription, page: str, **fields: str) -> Any:
    quote = page.split('name="quote" value="')[1].split('"')[0]
    session = client.session
    session[PROVED] = time.time()  # signed in within the last minutes of the day that is played
    session.save()
    return client.post(address(subscription), {"quote": quote, **fields}, follow=True)


def fresh(subscription: Subscription) -> Subscription:
    with tenant_atomic(subscription.tenant_id):
        return Subscription.objects.get(pk=subscription.pk)


def test_inside_the_window_it_says_refund_minute_and_who_loses_access(
    sign_in: SignIn, pat: User, bought: Subscription
) -> None:
    client = sign_in(pat)
    with time_machine.travel(datetime(2026, 3, 4, 12, tzinfo=UTC), tick=False):
        page = shown(client, bought)

        assert "If you cancel" in page
        assert "Access ends at once" in page
        assert "1 person loses access" in page
        assert "€99.06" in page
        assert "if you cancel before 8 Mar 2026, 10:05" in page
        assert "2 Jun 2026: Deleted" in page
        assert "Cancel now, refund €99.06" in page
        response = post(client, bought, page, reason="too_expensive")

    text = text_of(response)
    assert "Power BI Pro is canceled. Nobody has access from now on. €99.06 goes back to the card" in text
    assert "Canceled: It costs too much" in text
    assert "Disabled" in text
    assert fresh(bought).state == "disabled"


def test_later_it_says_that_the_window_is_over_and_when_it_ends(
    sign_in: SignIn, pat: User, bought: Subscription
) -> None:
    client = sign_in(pat)
    with time_machine.travel(datetime(2026, 3, 12, 12, tzinfo=UTC), tick=False):
        page = shown(client, bought)

        assert "Renewal stops" in page
        assert "The 7 days ended on 8 Mar 2026, 10:05" in page
        assert "1 Apr 2026: Expired" in page
        assert "Stop the renewal on 31 Mar 2026" in page
        response = post(client, bought, page)

        assert "The renewal of Power BI Pro is stopped. Its last day is 31 Mar 2026." in text_of(response)
        again = client.get(address(bought))
    assert again.status_code == 409
    assert "Turn recurring billing on again" in text_of(again)


def test_a_year_paid_by_the_month_says_what_is_still_charged(sign_in: SignIn, pat: User) -> None:
    yearly = make_self_service_subscription(pat, plan=plan(code="yearly-monthly"), quantity=10, at=BOUGHT)
    with time_machine.travel(datetime(2026, 3, 12, 12, tzinfo=UTC), tick=False):
        page = shown(sign_in(pat), yearly)

    assert "Still to be charged" in page
    assert "month by month until the end of the term" in page
    assert "28 Feb 2027" in page


def test_an_open_bill_on_account_is_named_and_never_said_to_cut_access(
    sign_in: SignIn, contoso: Tenant
) -> None:
    gina = make_user(contoso, roles=("global_admin",))
    central = make_central_subscription(gina, at=BOUGHT)
    client = sign_in(gina)
    with time_machine.travel(datetime(2026, 3, 20, 12, tzinfo=UTC), tick=False):
        page = shown(client, central)

    assert "A bill is still to be paid" in page
    assert "access ends before the last day" not in page


def test_an_older_page_gets_the_present_preview(sign_in: SignIn, pat: User, bought: Subscription) -> None:
    client = sign_in(pat)
    with time_machine.travel(datetime(2026, 3, 4, 12, tzinfo=UTC), tick=False):
        page = shown(client, bought)
    with time_machine.travel(datetime(2026, 3, 5, 12, tzinfo=UTC), tick=False):
        response = post(client, bought, page, reason="other")

    text = text_of(response)
    assert response.status_code == 409
    assert "What canceling does has changed since you opened the page. Nothing was changed." in text
    assert "Cancel now, refund €95.40" in text
    assert '<option value="other" selected>' in text
    assert fresh(bought).state == "active"


def test_the_second_of_two_people_gets_the_present_state(sign_in: SignIn, contoso: Tenant) -> None:
    make_agreement(contoso)
    gina, bill = make_user(contoso, roles=("global_admin",)), make_user(contoso, roles=("billing_admin",))
    central = make_central_subscription(gina, at=BOUGHT)
    first, second = sign_in(gina), sign_in(bill)
    with time_machine.travel(datetime(2026, 3, 4, 12, tzinfo=UTC), tick=False):
        pages = shown(first, central), shown(second, central)
        assert "for the days used stays to be paid" in pages[0]
        post(first, central, pages[0])
        response = post(second, central, pages[1])

    assert response.status_code == 409
    assert "This has ended already" in text_of(response)
    assert "Disabled" in text_of(response)


@pytest.mark.parametrize("quote", ["", "forged", "W10:1:x"])
def test_a_forged_preview_does_nothing(sign_in: SignIn, pat: User, bought: Subscription, quote: str) -> None:
    response = sign_in(pat).post(address(bought), {"quote": quote})

    assert response.status_code == 422
    assert fresh(bought).recurring_billing


def test_a_preview_of_another_purchase_does_nothing(sign_in: SignIn, pat: User, bought: Subscription) -> None:
    other = make_self_service_subscription(pat, plan=plan("visio-plan-2"), at=BOUGHT)
    client = sign_in(pat)
    page = shown(client, other)

    assert post(client, bought, page).status_code == 422
    assert fresh(bought).recurring_billing


def test_the_mails_say_what_happened(sign_in: SignIn, pat: User, bought: Subscription) -> None:
    yearly = make_self_service_subscription(pat, plan=plan("visio-plan-2", "yearly-monthly"), at=BOUGHT)
    client = sign_in(pat)
    with time_machine.travel(datetime(2026, 3, 4, 12, tzinfo=UTC), tick=False):
        post(client, bought, shown(client, bought))
    with time_machine.travel(BOUGHT + timedelta(days=8), tick=False):
        client = sign_in(pat)
        post(client, yearly, shown(client, yearly))

    with tenant_atomic(pat.tenant_id):
        first, second = (
            message_of(row) for row in OutgoingMail.objects.filter(kind="canceled").order_by("id")
        )
    assert first.subject == "Power BI Pro is canceled"
    assert "Access ended at once for the 1 person with a license." in first.body
    assert "Refund: €99.06" in first.body
    assert "Until 2 Jun 2026 you can bring it back" in first.body
    assert second.subject == "Visio Plan 2 ends on 28 Feb 2027"
    assert "Still to be charged until then:" in second.body
