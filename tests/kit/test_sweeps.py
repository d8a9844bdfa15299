"""The sweeps: one list of them, so many processes at each, and one item that holds up no other (docs/adr/0051)."""

import logging
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django import db

from config.celery import app
from config.kit import sweeps
from config.kit.doorbell import KEPT_SECONDS
from config.kit.sweeps import SWEEPS, Sweep, Turn, alone, answer, in_flight, run_all, schedule
from config.kit.tenancy import connection, use_login

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


def sweep(*errors: Exception | None) -> list[int]:
    """The numbers of the items that were dealt with; each raises its error."""
    done = []
    for number, error in enumerate(errors):
        with alone("Item %s", number):
            if error is not None:
                raise error
            done.append(number)
    return done


@pytest.mark.parametrize("error", [db.IntegrityError("no"), AssertionError(), KeyError("state")])
def test_the_rest_goes_on_and_the_log_names_the_one(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with use_login("worker"), caplog.at_level(logging.ERROR), connection().cursor():
        assert sweep(None, error, None) == [0, 2]

    (record,) = caplog.records
    assert record.message == "Item 1 could not be dealt with; the next sweep tries again"
    assert record.exc_info


def test_a_worker_whose_time_is_over_stops() -> None:
    with pytest.raises(SoftTimeLimitExceeded):
        sweep(SoftTimeLimitExceeded(), None)


def test_a_lost_database_ends_the_sweep() -> None:
    with use_login("worker"):
        connection().close()
        with pytest.raises(db.OperationalError):
            sweep(db.OperationalError("gone"), None)


# --- One list ---------------------------------------------------------------------------------------------


def test_beat_rings_nothing_that_no_worker_knows_and_everything_that_a_round_does() -> None:
    rung = {entry["task"] for entry in app.conf.beat_schedule.values()}

    assert rung == set(SWEEPS)
    assert rung <= set(app.tasks)


def test_a_round_goes_by_turn(monkeypatch: pytest.MonkeyPatch, at: datetime) -> None:
    done: list[Turn] = []
    turns = (Turn.SEND, Turn.BILL, Turn.FREE)
    listed = {
        turn.name: Sweep(turn.name, lambda at, turn=turn: done.append(turn), every=60, turn=turn)
        for turn in turns
    }
    monkeypatch.setattr(sweeps, "SWEEPS", listed)

    assert list(run_all(at=at)) == ["FREE", "BILL", "SEND"]
    assert done == sorted(turns)


def test_the_runbook_has_all_of_them_with_how_often_and_which_queue() -> None:
    units = {"s": 1, "min": 60, "h": 3600}
    table = re.findall(r"^\| `([a-z_.]+)` \| (\d+) (s|min|h) \| (\w+) \|", RUNBOOK.read_text(), re.MULTILINE)

    assert {name: (int(every) * units[unit], queue) for name, every, unit, queue in table} == {
        name: (sweep.every, sweep.queue) for name, sweep in SWEEPS.items()
    }


@pytest.mark.parametrize(
    ("name", "queue"),
    [
        ("commerce.charge", "billing"),
        ("directory.send_due_mails", "mail"),
        ("directory.send_webhooks", "webhooks"),
        ("directory.run_jobs", "celery"),
        ("somebody.else", "celery"),
    ],
)
def test_a_ring_goes_to_its_own_queue_and_a_worker_reads_them_all(name: str, queue: str) -> None:
    assert app.amqp.router.route({}, name)["queue"].name == queue
    assert set(app.amqp.queues.consume_from) == {"billing", "mail", "webhooks", "celery"}


def test_rings_that_nobody_answers_do_not_pile_up() -> None:
    expires = {name: entry["options"]["expires"] for name, entry in schedule().items()}

    assert expires["directory.send_webhooks"] == KEPT_SECONDS
    assert expires["directory.forget_names"] == 3600


# --- So many at once --------------------------------------------------------------------------------------


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is rung, and that nobody is at it any more by then."""
    heard: list[str] = []

    def hear(name: str) -> None:
        with in_flight("example", at_once=1) as is_free:
            assert is_free
        heard.append(name)

    monkeypatch.setattr(sweeps, "ring", hear)
    return heard


def example(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> list[dict[str, Any]]:
    """A sweep of that name; what it is called with."""
    calls: list[dict[str, Any]] = []

    def run(**values: Any) -> int:
        calls.append(values)
        return len(calls)

    monkeypatch.setitem(
        SWEEPS, "example", Sweep("example", **{"run": run, "every": 60, "turn": Turn.FREE, **fields})
    )
    return calls


def test_one_process_is_at_a_sweep_and_the_others_leave_it_alone(
    monkeypatch: pytest.MonkeyPatch, rung: list[str]
) -> None:
    calls = example(monkeypatch, rings=lambda done: "example")

    with in_flight("example", at_once=1) as is_free:
        answer("example")

    assert (is_free, calls, rung) == (True, [], [])
    answer("example")
    assert (len(calls), rung) == (1, ["example"])


def test_some_sweeps_are_for_several_processes() -> None:
    with (
        in_flight("example", at_once=2) as first,
        in_flight("example", at_once=2) as second,
        in_flight("example", at_once=2) as third,
        in_flight("other", at_once=1) as other,
    ):
        assert (first, second, third, other) == (True, True, False, True)


def test_the_place_of_a_process_that_died_is_free() -> None:
    with in_flight("example", at_once=1) as first:
        with use_login("worker"), connection().cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s::oid",
                [sweeps._FLIGHT],
            )
            assert cursor.fetchone() == (True,)
        with in_flight("example", at_once=1) as second:
            assert (first, second) == (True, True)


def test_a_ring_has_its_limits_and_the_databases_instant(
    monkeypatch: pytest.MonkeyPatch, rung: list[str]
) -> None:
    calls = example(monkeypatch, limits={"limit": 5}, rings=lambda done: "")

    answer("example")

    (values,) = calls
    assert values["limit"] == 5
    assert values["at"].tzinfo is not None
    assert rung == []


def test_one_whose_time_is_over_is_rung_again(monkeypatch: pytest.MonkeyPatch, rung: list[str]) -> None:
    def run(at: datetime) -> None:
        raise SoftTimeLimitExceeded

    example(monkeypatch, run=run)

    with pytest.raises(SoftTimeLimitExceeded):
        answer("example")
    assert rung == ["example"]
