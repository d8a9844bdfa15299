"""F-02: a worker is stopped for a deployment, or the system kills one of its pool, in the middle of charging."""

import os
import signal
from datetime import UTC, datetime, timedelta

import pytest

from commerce.models import Subscription
from tests.faults.crowd import assert_each_is_billed_and_charged_once, crowd, let_leases_run_out
from tests.faults.installation import descendants, in_flight, ring, unpaid, wait_until, worker
from tests.processor import control

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"]),
    pytest.mark.usefixtures("empty_processor", "empty_broker"),
]

# Workers go by the real clock: bought so long ago that one month is over and the next is not.
NOW = datetime.now(UTC)
BOUGHT = NOW - timedelta(days=31, hours=2)


@pytest.fixture
def due() -> list[Subscription]:
    subscriptions = crowd(40, at=BOUGHT)
    control("POST", "latency", seconds=0.1, path="/v1/payment_intents/*/confirm")
    return subscriptions


def test_a_worker_stopped_for_a_deployment_finishes_what_it_does(due: list[Subscription]) -> None:
    with worker() as old:
        ring("commerce.renew")
        wait_until(lambda: in_flight() > 4)
        unpaid_when_asked_to_end = unpaid()
        code = old.end()

    assert code == 0
    assert unpaid_when_asked_to_end > 0
    assert in_flight() == 0
    assert_each_is_billed_and_charged_once(due, at=NOW)


def test_when_the_system_kills_the_pool_it_is_replaced_and_its_task_done_again(
    due: list[Subscription],
) -> None:
    with worker() as running:
        ring("commerce.renew")
        wait_until(lambda: in_flight() > 4)
        pool = set(descendants(running.process))
        for pid in pool:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: running.says("WorkerLostError"))
        wait_until(lambda: len(set(descendants(running.process)) - pool) == 2)
        let_leases_run_out()
        ring("commerce.charge")
        wait_until(lambda: unpaid() == 0)

        wait_until(lambda: in_flight() == 0)
        assert running.end() == 0
    assert_each_is_billed_and_charged_once(due, at=NOW)
