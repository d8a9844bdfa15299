"""A worker killed before and after each step of billing (F-01: R0 and R1), many at once (F-02), and the like.

`make drill` runs the same with a thousand subscriptions each; the steps of a charge are in `test_killed_charges`.
"""

import os
import signal
import time
from datetime import UTC, datetime, timedelta

import pytest

from commerce.models import PaymentAttempt, Subscription
from config.kit.tenancy import use_login
from directory.models import OutgoingMail
from tests.faults.crowd import (
    DOSE,
    assert_each_is_billed_and_charged_once,
    bill_and_charge,
    bills_by_subscription,
    broken,
    crowd,
    ended,
    in_a_process,
    let_leases_run_out,
    start,
)
from tests.processor import charges, control

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"]),
    pytest.mark.usefixtures("empty_processor"),
]

MARCH = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
APRIL = datetime(2026, 4, 10, 9, 30, tzinfo=UTC)
SOON = APRIL + timedelta(minutes=10)


@pytest.mark.parametrize("point", ["R0:before", "R0:after", "R1:before", "R1:uncommitted", "R1:after"])
def test_the_next_sweep_finishes_what_a_killed_worker_left(point: str) -> None:
    subscriptions = crowd(DOSE, at=MARCH)

    killed = in_a_process(lambda: bill_and_charge(APRIL), fault=point)
    bill_and_charge(SOON)

    assert killed == -signal.SIGKILL
    assert_each_is_billed_and_charged_once(subscriptions, at=SOON)


def test_a_whole_pool_killed_in_flight_loses_and_doubles_nothing() -> None:
    subscriptions = crowd(max(DOSE, 100), at=MARCH)
    control("POST", "latency", seconds=0.05, path="/v1/*")

    pool = [start(lambda: bill_and_charge(APRIL)) for _ in range(4)]
    wait_until_charges_are_in_flight()
    for child in pool:
        os.kill(child, signal.SIGKILL)
    codes = [ended(child) for child in pool]
    control("POST", "latency", seconds=0, path="/v1/*")
    let_leases_run_out()
    bill_and_charge(SOON)

    assert -signal.SIGKILL in codes
    assert_each_is_billed_and_charged_once(subscriptions, at=SOON)


def wait_until_charges_are_in_flight() -> None:
    with use_login("worker"):
        for _ in range(1500):
            if PaymentAttempt.objects.filter(bill__type="renewal", state="confirming").count() > 10:
                return
            time.sleep(0.02)
    raise AssertionError("Nothing was charged within half a minute")


def test_ten_deliveries_of_one_task_bill_and_charge_once() -> None:
    """F-03."""
    subscriptions = crowd(DOSE, at=MARCH)

    children = [start(lambda: bill_and_charge(APRIL)) for _ in range(10)]
    codes = [ended(child) for child in children]

    assert codes == [0] * 10
    assert_each_is_billed_and_charged_once(subscriptions, at=APRIL)


def test_after_three_days_without_beat_everything_due_is_processed_once() -> None:
    """F-04: nobody loses access, and nobody is written to but about what was charged."""
    subscriptions = crowd(max(DOSE, 50), at=MARCH)
    back = APRIL + timedelta(days=3)
    with use_login("worker"):
        before = set(Subscription.objects.values_list("state", "assigned", "parked_at"))

    bill_and_charge(back)

    assert_each_is_billed_and_charged_once(subscriptions, at=back)
    with use_login("worker"):
        assert set(Subscription.objects.values_list("state", "assigned", "parked_at")) == before
        assert set(OutgoingMail.objects.values_list("kind", flat=True)) == {"receipt", "renewal_receipt"}


def test_three_missed_months_are_billed_in_order_each_once() -> None:
    """F-04."""
    subscriptions = crowd(5, at=MARCH)
    back = datetime(2026, 6, 20, tzinfo=UTC)

    bill_and_charge(back)

    assert bills_by_subscription() == {each.pk: 3 for each in subscriptions}
    assert charges() == 1 + 15
    assert broken(back) == []


def test_a_clock_that_is_set_back_bills_nothing_twice() -> None:
    """F-17: a day forward, a day back, and on."""
    subscriptions = crowd(5, at=MARCH)
    day = timedelta(days=1)

    for at in (APRIL + day, APRIL - day, APRIL, APRIL + day):
        bill_and_charge(at)

    assert_each_is_billed_and_charged_once(subscriptions, at=APRIL + day)
