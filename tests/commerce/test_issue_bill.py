"""Bill numbers: unique and without gaps, whatever is rolled back (product §6, I-19)."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from django.db import IntegrityError, connections

from commerce.models import Bill, BillSeries, Subscription
from commerce.operations.bills import BillNotOpen, Line, bill_number, book_payment, issue_bill, series_year
from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic
from tests.factories import AT, make_self_service_subscription, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


class RolledBack(Exception):
    """What the test's own transactions fail with."""


def issue(subscription: Subscription, period: int, *, at: datetime = AT) -> Bill:
    """One more bill of the subscription, for a period that nobody has billed."""
    start = subscription.period_end + timedelta(days=period)
    origin = Bill.objects.select_related("order", "bill_to", "payer").filter(subscription=subscription)[0]
    return issue_bill(
        actor=Actor.system(subscription.tenant_id),
        subscription=subscription,
        order=origin.order,
        type=Bill.Type.RENEWAL,
        bill_to=origin.bill_to,
        payer=origin.payer,
        collection=Bill.Collection.CARD,
        lines=[Line("Power BI Pro", 3, 335, 1005, start, start + timedelta(days=1))],
        period_start=start,
        period_end=start + timedelta(days=1),
        at=at,
        due_at=at,
    )


def test_numbers_have_no_gaps_when_200_are_issued_at_once_and_every_third_fails() -> None:
    tenant = make_tenant()
    subscription = make_self_service_subscription(make_user(tenant))
    workers = 10
    barrier = Barrier(workers)

    def work(worker: int) -> None:
        try:
            barrier.wait()
            for turn in range(20):
                number = worker * 20 + turn
                _issue_or_roll_back(subscription, number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, range(workers)))

    with tenant_atomic(tenant.pk):
        numbers = list(Bill.objects.order_by("series_number").values_list("series_number", flat=True))
    issued = 1 + sum(1 for number in range(200) if number % 3)
    assert numbers == list(range(1, issued + 1))
    assert BillSeries.objects.get().next_number == issued + 1


def _issue_or_roll_back(subscription: Subscription, number: int) -> None:
    try:
        with tenant_atomic(subscription.tenant_id):
            issue(subscription, number)
            if number % 3 == 0:
                raise RolledBack
    except RolledBack:
        pass


def test_each_vendor_entity_and_year_has_a_series_of_its_own() -> None:
    dutch = make_self_service_subscription(make_user(make_tenant()))
    american = make_self_service_subscription(make_user(make_tenant(country="US", currency="USD")))

    with tenant_atomic(dutch.tenant_id):
        next_year = issue(dutch, 1, at=datetime(2027, 1, 1, tzinfo=UTC))
        first = Bill.objects.order_by("id")[0]
    with tenant_atomic(american.tenant_id):
        other = Bill.objects.get()

    assert first.number == "SK-NL-2026-000001"
    assert next_year.number == "SK-NL-2027-000001"
    assert other.number == "SK-US-2026-000001"


def test_a_bill_sums_its_lines_and_the_tax_rounded_half_up() -> None:
    subscription = make_self_service_subscription(make_user(make_tenant()))

    with tenant_atomic(subscription.tenant_id):
        bill = issue(subscription, 1)

    assert (bill.subtotal_minor, bill.tax_minor, bill.total_minor) == (1005, 211, 1216)


def test_a_period_is_billed_once() -> None:
    subscription = make_self_service_subscription(make_user(make_tenant()))
    with tenant_atomic(subscription.tenant_id):
        issue(subscription, 1)

    with pytest.raises(IntegrityError), tenant_atomic(subscription.tenant_id):
        issue(subscription, 1)

    assert BillSeries.objects.get().next_number == 3


def test_a_paid_bill_takes_no_second_payment() -> None:
    subscription = make_self_service_subscription(make_user(make_tenant()))
    with tenant_atomic(subscription.tenant_id):
        bill = Bill.objects.get()

        with pytest.raises(BillNotOpen):
            book_payment(
                actor=Actor.system(subscription.tenant_id),
                bill=bill,
                attempt=None,
                charge_id="ch_twice",
                received_at=AT,
                at=AT,
            )

        assert bill.payments.count() == 1


@pytest.mark.parametrize(
    "change",
    [
        {"total_minor": 1},
        {"number": "SK-NL-2026-999999"},
        {"currency": "USD"},
        {"issued_at": datetime(2020, 1, 1, tzinfo=UTC)},
        {"status": "open"},
        {"status": "void"},
    ],
)
def test_the_database_refuses_to_change_a_bill(change: dict[str, object]) -> None:
    subscription = make_self_service_subscription(make_user(make_tenant()))

    with pytest.raises(IntegrityError), tenant_atomic(subscription.tenant_id):
        Bill.objects.update(**change)


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "SK-NL-2026-000001"), (941, "SK-NL-2026-000941"), (1_000_000, "SK-NL-2026-1000000")],
)
def test_numbers_read_like_the_example(number: int, text: str) -> None:
    assert bill_number("SK-NL", 2026, number) == text


@pytest.mark.parametrize(
    ("at", "year"),
    [(datetime(2026, 12, 31, 23, 59, tzinfo=UTC), 2026), (datetime(2027, 1, 1, tzinfo=UTC), 2027)],
)
def test_the_series_of_a_year_ends_with_it_in_utc(at: datetime, year: int) -> None:
    assert series_year(at) == year
