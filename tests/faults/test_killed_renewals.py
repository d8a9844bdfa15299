"""A worker killed before and after each step of a renewal (F-01), many at once (F-02), and the like.

`make drill` runs the same with a thousand subscriptions each.
"""

import os
import signal
import time
from datetime import UTC, datetime, timedelta

import pytest
import redis
from django.conf import settings

from commerce.models import Subscription
from commerce.operations.renewals import run_sweeps
from config.kit.tenancy import use_login
from tests.faults.crowd import (
    DOSE,
    assert_each_is_billed_and_charged_once,
    bills_by_subscription,
    broken,
    crowd,
    let_leases_run_out,
    start_sweep,
    sweep_in_a_process,
)
from tests.processor import charges

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"]),
    pytest.mark.usefixtures("empty_processor"),
]

MARCH = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
APRIL = datetime(2026, 4, 10, 9, 30, tzinfo=UTC)

# R0 and R1 are passed once a batch, the others once a bill: those strike in the middle.
ONCE = ["R0:before", "R0:after", "R1:before", "R1:uncommitted", "R1:after"]
EACH = [f"R{step}:{side}" for step in range(2, 9) for side in ("before", "after")]


def point_at(point: str) -> str:
    return point if point in ONCE else f"{point}@{DOSE // 2}"


@pytest.mark.parametrize("point", [*ONCE, *EACH])
def test_the_next_sweep_finishes_what_a_killed_worker_left(point: str) -> None:
    subscriptions = crowd(DOSE, at=MARCH)

    killed = sweep_in_a_process(at=APRIL, fault=point_at(point))
    let_leases_run_out()
    run_sweeps(at=APRIL + timedelta(minutes=10))

    assert killed == -signal.SIGKILL
    assert_each_is_billed_and_charged_once(subscriptions, at=APRIL + timedelta(minutes=10))


def test_a_whole_pool_killed_in_flight_loses_and_doubles_nothing() -> None:
    subscriptions = crowd(max(DOSE, 40), at=MARCH)

    pool = [start_sweep(at=APRIL) for _ in range(4)]
    time.sleep(0.4)
    for child in pool:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    let_leases_run_out()
    run_sweeps(at=APRIL + timedelta(minutes=10))

    assert_each_is_billed_and_charged_once(subscriptions, at=APRIL + timedelta(minutes=10))


def test_ten_deliveries_of_one_task_bill_and_charge_once() -> None:
    subscriptions = crowd(DOSE, at=MARCH)

    children = [start_sweep(at=APRIL) for _ in range(10)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

    assert codes == [0] * 10
    assert_each_is_billed_and_charged_once(subscriptions, at=APRIL)


def test_after_three_days_without_beat_everything_due_is_processed_once() -> None:
    subscriptions = crowd(max(DOSE, 50), at=MARCH)
    back = APRIL + timedelta(days=3)
    with use_login("worker"):
        before = set(Subscription.objects.values_list("state", "assigned", "parked_at"))

    run_sweeps(at=back)

    assert_each_is_billed_and_charged_once(subscriptions, at=back)
    with use_login("worker"):
        assert set(Subscription.objects.values_list("state", "assigned", "parked_at")) == before


def test_three_missed_months_are_billed_in_order_each_once() -> None:
    subscriptions = crowd(5, at=MARCH)
    back = datetime(2026, 6, 20, tzinfo=UTC)

    run_sweeps(at=back)

    assert bills_by_subscription() == {each.pk: 3 for each in subscriptions}
    assert charges() == 1 + 15
    assert broken(back) == []


def test_a_lost_broker_loses_nothing() -> None:
    subscriptions = crowd(5, at=MARCH)
    redis.Redis.from_url(settings.REDIS_URL).flushdb()

    run_sweeps(at=APRIL)

    assert_each_is_billed_and_charged_once(subscriptions, at=APRIL)
