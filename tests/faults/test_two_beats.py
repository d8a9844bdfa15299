"""F-05: two beats ring at once, each for everything; F-04 for the hour in which both were down."""

from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from celery.beat import PersistentScheduler

from config.celery import app
from config.kit.sweeps import SWEEPS
from tests.faults.crowd import assert_each_is_billed_and_charged_once, bills_by_subscription, crowd
from tests.faults.installation import Process, running, unpaid, wait_until, worker

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"]),
    pytest.mark.usefixtures("empty_processor", "empty_broker"),
]

NOW = datetime.now(UTC)
BOUGHT = NOW - timedelta(days=31, hours=2)


def schedule_of_an_hour_ago(file: Path) -> str:
    """The file of a beat that has not rung for an hour, so that it rings for everything as it starts."""
    scheduler = PersistentScheduler(app=app, schedule_filename=str(file))
    for entry in scheduler.schedule.values():
        entry.last_run_at -= timedelta(hours=2)
    scheduler.close()
    return str(file)


def beat(file: str) -> AbstractContextManager[Process]:
    return running("beat", "beat", "--schedule", file, "--pidfile=", "--loglevel", "INFO")


def has_rung_for_everything(beat: Process) -> bool:
    return all(beat.says(f"Sending due task {name} ") for name in SWEEPS)


def test_two_beats_at_once_bill_and_charge_each_period_once(tmp_path: Path) -> None:
    subscriptions = crowd(10, at=BOUGHT)
    files = [schedule_of_an_hour_ago(tmp_path / f"beat-{number}") for number in (1, 2)]

    with worker() as working, beat(files[0]) as one, beat(files[1]) as other:
        wait_until(lambda: has_rung_for_everything(one) and has_rung_for_everything(other))
        wait_until(lambda: bills_by_subscription() and unpaid() == 0)
        code = working.end()

    assert code == 0
    assert_each_is_billed_and_charged_once(subscriptions, at=NOW)
