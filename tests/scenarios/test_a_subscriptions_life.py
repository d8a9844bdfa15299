"""Months walked by moving the clock day by day, with exactly the events listed (product §5)."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import time_machine
from pytest_django import Settings

from commerce.models import Bill, Card, Subscription, SubscriptionEvent
from commerce.operations.payments import Paid, pay_checkout
from commerce.operations.renewals import run_sweeps
from commerce.operations.travel import NotADemo, travel
from config.invariants import violations
from config.kit import clock
from config.kit.errors import Malformed
from config.kit.sweeps import answer
from config.kit.tenancy import use_login
from directory.models import User
from licensing.models import Assignment
from tests.factories import actor_of, make_checkout, make_tenant, make_user, plan
from tests.processor import card_token, charges, reset

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"]),
    pytest.mark.usefixtures("empty_processor"),
]

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
type Event = tuple[str, str]


@pytest.fixture
def empty_processor(processor: str) -> str:
    reset()
    return processor


@pytest.fixture
def alice() -> User:
    return make_user(make_tenant(name="Contoso"), name="Alice")


def buy(buyer: User, *, code: str, at: datetime) -> Subscription:
    checkout = make_checkout(buyer, plan=plan(code=code), quantity=10, at=at)
    outcome = pay_checkout(
        actor=actor_of(buyer, at=at), key=checkout.key, confirmation_token=card_token(), at=at
    )
    assert isinstance(outcome, Paid)
    with use_login("worker"):
        return Subscription.objects.get(order_lines__order=outcome.order)


def walk(first: datetime, days: int, *, meanwhile: Callable[[datetime], None] = lambda at: None) -> datetime:
    """Run every sweep once a day, as the demo's travel does; the last instant."""
    at = first
    for day in range(days + 1):
        at = first + timedelta(days=day)
        run_sweeps(at=at)
        meanwhile(at)
    return at


def history(subscription: Subscription) -> list[Event]:
    """(local day, code) of everything that happened, oldest first."""
    with use_login("worker"):
        rows = SubscriptionEvent.objects.filter(subscription=subscription).order_by("id")
        return [(f"{row.at.astimezone(AMSTERDAM):%Y-%m-%d}", row.code) for row in rows]


def billed(subscription: Subscription) -> list[tuple[str, str, str]]:
    """(type, first local day, status) of every bill."""
    with use_login("worker"):
        rows = Bill.objects.filter(subscription=subscription).order_by("period_start", "id")
        return [(row.type, f"{row.period_start.astimezone(AMSTERDAM):%Y-%m-%d}", row.status) for row in rows]


def switch_recurring_billing_off(subscription: Subscription) -> None:
    with use_login("worker"):
        Subscription.objects.filter(pk=subscription.pk).update(recurring_billing=False)


def test_bought_on_31_january_renews_on_28_february_and_31_march(alice: User) -> None:
    bought = datetime(2027, 1, 31, 9, tzinfo=UTC)
    subscription = buy(alice, code="monthly", at=bought)

    last = walk(bought, 120)

    assert billed(subscription) == [
        ("purchase", "2027-01-31", "paid"),
        ("renewal", "2027-02-28", "paid"),
        ("renewal", "2027-03-31", "paid"),
        ("renewal", "2027-04-30", "paid"),
        ("renewal", "2027-05-31", "paid"),
    ]
    assert [event for event in history(subscription) if event[1] == "renewed"] == [
        ("2027-02-28", "renewed"),
        ("2027-03-31", "renewed"),
        ("2027-04-30", "renewed"),
        ("2027-05-31", "renewed"),
    ]
    assert charges() == 5
    assert violations(at=last) == []


def test_committed_for_a_year_it_is_charged_to_the_end_and_then_ends_in_three_steps(alice: User) -> None:
    bought = datetime(2026, 3, 10, 9, tzinfo=UTC)
    subscription = buy(alice, code="yearly-monthly", at=bought)
    switch_recurring_billing_off(subscription)

    last = walk(bought, 365 + 30 + 90 + 1)

    months = [f"{2026 + (3 + n - 1) // 12}-{(3 + n - 1) % 12 + 1:02}-10" for n in range(12)]
    assert billed(subscription) == [
        ("purchase", months[0], "paid"),
        *(("monthly_charge", month, "paid") for month in months[1:]),
    ]
    assert history(subscription) == [
        ("2026-03-10", "purchased"),
        ("2026-03-10", "license_assigned"),
        *((month, "charged") for month in months[1:]),
        ("2027-03-10", "expired"),
        ("2027-04-09", "disabled"),
        ("2027-07-08", "deleted"),
        ("2027-07-08", "licenses_ended"),
    ]
    assert charges() == 12
    with use_login("worker"):
        assert Assignment.objects.live().count() == 0
    assert violations(at=last) == []


def test_an_outage_of_three_months_is_caught_up_in_order(alice: User) -> None:
    bought = datetime(2026, 1, 15, 9, tzinfo=UTC)
    subscription = buy(alice, code="monthly", at=bought)
    back = datetime(2026, 4, 20, 9, tzinfo=UTC)

    last = walk(back, 30)

    assert billed(subscription) == [
        ("purchase", "2026-01-15", "paid"),
        ("renewal", "2026-02-15", "paid"),
        ("renewal", "2026-03-15", "paid"),
        ("renewal", "2026-04-15", "paid"),
        ("renewal", "2026-05-15", "paid"),
    ]
    assert [day for day, code in history(subscription) if code == "renewed"] == [
        "2026-04-20",
        "2026-04-20",
        "2026-04-20",
        "2026-05-15",
    ]
    assert violations(at=last) == []


def test_a_declined_renewal_leaves_the_bill_open_and_the_subscription_active(alice: User) -> None:
    bought = datetime(2026, 3, 10, 9, tzinfo=UTC)
    subscription = buy(alice, code="monthly", at=bought)
    with use_login("worker"):
        Card.objects.filter(user=alice).update(processor_id="pm_card_visa_chargeDeclined")

    last = walk(bought, 31)

    assert billed(subscription) == [("purchase", "2026-03-10", "paid"), ("renewal", "2026-04-10", "open")]
    assert history(subscription)[-2:] == [("2026-04-10", "renewed"), ("2026-04-10", "payment_failed")]
    with use_login("worker"):
        after = Subscription.objects.get(pk=subscription.pk)
    assert after.state == "active"
    assert after.payment_failed_at == bought + timedelta(days=31)
    assert violations(at=last) == []


def test_switched_off_in_time_it_is_never_charged_again(alice: User) -> None:
    bought = datetime(2026, 3, 10, 9, tzinfo=UTC)
    subscription = buy(alice, code="monthly", at=bought)
    the_day_before = datetime(2026, 4, 9, 9, tzinfo=UTC)

    def switch_off(at: datetime) -> None:
        if at == the_day_before:
            switch_recurring_billing_off(subscription)

    last = walk(bought, 61, meanwhile=switch_off)

    assert billed(subscription) == [("purchase", "2026-03-10", "paid")]
    assert [code for _, code in history(subscription)][-2:] == ["expired", "disabled"]
    assert charges() == 1
    assert violations(at=last) == []


# --- Travel ----------------------------------------------------------------------------------------------


@pytest.fixture
def demo(settings: Settings, tmp_path: Path) -> None:
    settings.DEMO = True
    settings.CLOCK_FILE = str(tmp_path / "clock.json")


@pytest.mark.usefixtures("demo")
def test_travel_walks_in_days_and_tells_what_happened(alice: User) -> None:
    bought = clock.now()
    buy(alice, code="monthly", at=bought)

    days = list(travel(days=32))

    assert [(day.at - bought).days for day in days] == list(range(1, 33))
    happenings = [each for day in days for each in day.happenings]
    assert [(each.tenant, each.product, each.purchaser, each.code) for each in happenings] == [
        ("Contoso", "Power BI Pro", "Alice", "renewed")
    ]
    assert sum(day.swept.charged.paid for day in days) == 1
    assert clock.offset() == timedelta(days=32)


@pytest.mark.usefixtures("demo")
@pytest.mark.parametrize("days", [0, -1, 401])
def test_travel_refuses_what_is_no_walk(days: int) -> None:
    with pytest.raises(Malformed):
        travel(days=days)

    assert clock.offset() == timedelta(0)


def test_travel_is_for_the_demo_only(settings: Settings, tmp_path: Path) -> None:
    settings.CLOCK_FILE = str(tmp_path / "clock.json")

    with pytest.raises(NotADemo):
        travel(days=1)

    assert not (tmp_path / "clock.json").exists()


def test_a_machine_whose_clock_is_wrong_sweeps_nothing() -> None:
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=15)), pytest.raises(clock.ClockAstray):
        answer("commerce.renew")
