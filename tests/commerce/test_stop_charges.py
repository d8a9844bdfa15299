"""The form by which a leaver stops charges: what stops them, and that nothing else is told or done (product §11)."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from commerce.models import Bill, Subscription
from commerce.operations.stopping import NotStopped, stop_charges
from commerce.views import stopping
from config.kit.rate import Limit
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, OutgoingMail, Tenant, User
from directory.operations.people import disable_user
from tests.factories import (
    AT,
    actor_of,
    make_central_subscription,
    make_self_service_subscription,
    make_tenant,
    make_user,
    plan,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])

LATER = AT + timedelta(days=30)
ADDRESS = "/stop-charges/"


@pytest.fixture(autouse=True)
def fresh_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters that no other test has counted on."""
    mark = uuid.uuid4().hex
    cache.clear()
    monkeypatch.setattr(stopping, "PER_NETWORK", Limit(f"net-{mark}", 20, timedelta(hours=1)))
    monkeypatch.setattr(stopping, "PER_BILL_AND_NETWORK", Limit(f"own-{mark}", 5, timedelta(days=1)))
    monkeypatch.setattr(stopping, "PER_BILL", Limit(f"bill-{mark}", 50, timedelta(days=1)))


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina", roles=("global_admin",))


@pytest.fixture
def dora(contoso: Tenant) -> User:
    return make_user(contoso, name="Dora Dekker")


@pytest.fixture
def bought(gina: User, dora: User) -> Subscription:
    subscription = make_self_service_subscription(dora, quantity=3)
    disable_user(actor=actor_of(gina), user_id=dora.pk, at=AT)
    return subscription


def bill_of(bought: Subscription) -> str:
    with tenant_atomic(bought.tenant_id):
        number: str = Bill.objects.values_list("number", flat=True).get(subscription=bought)
        return number


def is_on(bought: Subscription) -> bool:
    with tenant_atomic(bought.tenant_id):
        bought.refresh_from_db()
    return bool(bought.recurring_billing)


def post(number: str, last4: str, address: str = "127.0.0.1") -> Any:
    return Client(REMOTE_ADDR=address).post(ADDRESS, {"number": number, "last4": last4})


def test_bill_and_card_stop_the_renewal_with_audit_and_a_mail_to_the_admins(
    contoso: Tenant, gina: User, bought: Subscription
) -> None:
    number = bill_of(bought)

    stopped = stop_charges(number=f" {number.lower()} ", last4="4242", at=LATER)

    assert (stopped.product, stopped.ends_at, stopped.still_minor) == ("Power BI Pro", bought.term_end, 0)
    assert not is_on(bought)
    assert bought.state == "active"
    with tenant_atomic(contoso.pk):
        entry = AuditEntry.objects.get(code="commerce.recurring_billing.stopped_by_leaver")
        mail = OutgoingMail.objects.get(kind="charges_stopped")
    assert (entry.actor_label, entry.after) == ("Dora Dekker (form)", {"bill": number})
    assert (mail.to_user_id, mail.context["name"], mail.context["assigned"]) == (gina.pk, "Dora Dekker", 1)


def test_again_is_no_change(contoso: Tenant, bought: Subscription) -> None:
    for _ in range(2):
        stop_charges(number=bill_of(bought), last4="4242", at=LATER)

    with tenant_atomic(contoso.pk):
        assert OutgoingMail.objects.filter(kind="charges_stopped").count() == 1
        assert AuditEntry.objects.filter(code="commerce.recurring_billing.stopped_by_leaver").count() == 1


def test_a_year_paid_monthly_goes_on_to_its_end_and_the_answer_says_so(gina: User, dora: User) -> None:
    yearly = make_self_service_subscription(dora, plan=plan("power-bi-pro", "yearly-monthly"))
    disable_user(actor=actor_of(gina), user_id=dora.pk, at=AT)

    stopped = stop_charges(number=bill_of(yearly), last4="4242", at=AT)

    assert stopped.still_minor > 0
    assert not is_on(yearly)


def test_whatever_is_wrong_the_answer_is_the_same_and_nothing_is_changed(
    contoso: Tenant, gina: User, bought: Subscription
) -> None:
    here = make_self_service_subscription(make_user(contoso))
    central = make_central_subscription(gina, plan=plan("visio-plan-1"))
    tries = [
        (bill_of(bought), "4243"),
        (bill_of(bought), ""),
        (bill_of(bought), "no digits"),
        ("SK-NL-2026-999999", "4242"),
        ("", ""),
        ("x\0y", "4242"),
        ("9" * 200, "4242"),
        ("\u0660", "\u0664\u0662\u0664\u0662"),
        (bill_of(here), "4242"),
        (bill_of(central), "4242"),
    ]

    answers = [post(number, last4) for number, last4 in tries]

    assert {answer.status_code for answer in answers} == {422}
    for (number, _last4), answer in zip(tries, answers, strict=True):
        body = answer.content.decode()
        assert "We cannot stop charges with these details. Nothing was changed." in body
        assert "Dora" not in body.replace(number, "")
        assert "Power BI" not in body
    assert [is_on(each) for each in (bought, here)] == [True, True]
    with tenant_atomic(contoso.pk):
        assert not OutgoingMail.objects.filter(kind="charges_stopped").exists()


def test_wrong_numbers_and_wrong_digits_ask_the_database_the_same(bought: Subscription) -> None:
    asked = []
    for number, last4 in ((bill_of(bought), "0000"), ("SK-NL-2026-999999", "4242")):
        with CaptureQueriesContext(connection) as queries, pytest.raises(NotStopped):
            stop_charges(number=number, last4=last4, at=LATER)
        asked.append(len(queries))

    assert asked[0] == asked[1]


def test_what_was_taken_over_is_not_the_leavers_any_more(contoso: Tenant, bought: Subscription) -> None:
    with tenant_atomic(contoso.pk):
        Subscription.objects.filter(pk=bought.pk).update(owner_kind="organization", owner_user=None)

    with pytest.raises(NotStopped):
        stop_charges(number=bill_of(bought), last4="4242", at=LATER)

    assert is_on(bought)


def test_a_deleted_purchaser_can_stop_it_too(contoso: Tenant, dora: User, bought: Subscription) -> None:
    with tenant_atomic(contoso.pk):
        User.objects.filter(pk=dora.pk).update(status="deleted", name="Former user", email="")

    stop_charges(number=bill_of(bought), last4="4242", at=LATER)

    assert not is_on(bought)


def test_the_page_needs_no_session_and_says_until_when_it_lasts(bought: Subscription) -> None:
    page = Client().get(ADDRESS)

    answer = post(bill_of(bought), "4242")

    assert page.status_code == answer.status_code == 200
    assert "csrfmiddlewaretoken" in page.content.decode()
    assert "sessionid" not in page.cookies
    assert "Power BI Pro does not renew any more" in answer.content.decode()
    assert not is_on(bought)


def test_a_bill_is_tried_five_times_a_day_from_one_place_which_closes_it_to_no_other(
    bought: Subscription,
) -> None:
    number = bill_of(bought)

    statuses = [post(number, "0000").status_code for _ in range(5)]
    right = post(number, "4242")
    was_on = is_on(bought)
    elsewhere = post(number, "4242", "2001:db8::7")

    assert statuses == [422] * 5
    assert (right.status_code, "Retry-After" in right.headers, was_on) == (429, True, True)
    assert (elsewhere.status_code, is_on(bought)) == (200, False)


def test_the_addresses_of_one_ipv6_network_are_one_place(bought: Subscription) -> None:
    number = bill_of(bought)

    statuses = [post(number, "0000", f"2001:db8::{n}").status_code for n in range(1, 6)]

    assert statuses == [422] * 5
    assert post(number, "4242", "2001:db8::ffff:1").status_code == 429
    assert is_on(bought)


def test_a_bill_is_tried_fifty_times_a_day_from_wherever(bought: Subscription) -> None:
    number = bill_of(bought)

    statuses = [post(number, "0000", f"192.0.2.{n}").status_code for n in range(50)]

    assert statuses == [422] * 50
    assert post(number, "4242", "192.0.2.200").status_code == 429
    assert is_on(bought)


def test_one_place_tries_twenty_bills_an_hour(bought: Subscription) -> None:
    statuses = [post(f"SK-NL-2026-{n:06d}", "0000").status_code for n in range(900_000, 900_020)]

    assert statuses == [422] * 20
    assert post(bill_of(bought), "4242").status_code == 429
    assert is_on(bought)


def test_without_the_forms_token_nothing_is_stopped(bought: Subscription) -> None:
    client = Client(enforce_csrf_checks=True)

    answer = client.post(ADDRESS, {"number": bill_of(bought), "last4": "4242"})

    assert answer.status_code == 403
    assert is_on(bought)
