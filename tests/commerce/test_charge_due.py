"""The sweep that charges open card bills: side by side, at a pace, and not while the processor is away."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections
from django.db.models import Count, Q
from django.db.models.functions import Now

from commerce.gateways import stripe
from commerce.models import Bill, PaymentAttempt, Subscription
from commerce.operations.renewals import Charged, charge_due, renew_due
from config.kit.tenancy import use_login
from tests.faults.crowd import assert_each_is_billed_and_charged_once, crowd, let_leases_run_out
from tests.processor import charges, control, fault, intents

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]

MARCH = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
APRIL = datetime(2026, 4, 10, 9, 30, tzinfo=UTC)
CREATE, CONFIRM = "/v1/payment_intents", "/v1/payment_intents/*/confirm"


def due(size: int) -> list[Subscription]:
    """So many subscriptions with an open renewal bill each."""
    subscriptions = crowd(size, at=MARCH)
    renew_due(at=APRIL)
    return subscriptions


def open_bills() -> list[Bill]:
    with use_login("worker"):
        return list(Bill.objects.open().order_by("charge_due_at", "id"))


def leased() -> int:
    with use_login("worker"):
        return Bill.objects.filter(leased_until__gt=Now()).count()


def asked(path: str) -> int:
    """How many POST requests the processor got whose path ends so, the purchase's not counted."""
    seen = control("GET", "requests")["data"]
    return sum(each["method"] == "POST" and each["path"].endswith(path) for each in seen) - 1


def while_charging(measure: Callable[[], int]) -> tuple[Charged, int]:
    """Run the sweep in a thread; what it returned, and the most that was measured meanwhile."""
    done: list[Charged] = []

    def work() -> None:
        try:
            done.append(charge_due(at=APRIL))
        finally:
            connections.close_all()

    sweep = threading.Thread(target=work)
    sweep.start()
    most = 0
    while sweep.is_alive():
        most = max(most, measure())
        time.sleep(0.02)
    return done[0], most


def connections_of_the_worker() -> int:
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND datname = current_database()",
            [connections["worker"].settings_dict["USER"]],
        )
        return int(cursor.fetchone()[0])


@contextmanager
def locked(subscription: Subscription) -> Iterator[None]:
    """Somebody else is changing the subscription, and takes their time."""
    owner: Any = connections["owner"]
    with use_login("owner"):
        owner.set_autocommit(False)
        try:
            Subscription.objects.select_for_update().get(pk=subscription.pk)
            yield
        finally:
            owner.rollback()
            owner.set_autocommit(True)


@pytest.mark.parametrize("at_once", [1, 4])
def test_as_many_bills_as_the_setting_says_are_charged_side_by_side(settings: Any, at_once: int) -> None:
    settings.CHARGES_AT_ONCE = at_once
    subscriptions = due(8)
    control("POST", "latency", seconds=0.2, path="/v1/*")

    charged, most = while_charging(leased)

    assert charged == Charged(paid=8)
    assert most == at_once
    assert_each_is_billed_and_charged_once(subscriptions, at=APRIL)


def test_no_connection_is_left_behind() -> None:
    due(8)
    before = connections_of_the_worker()
    control("POST", "latency", seconds=0.2, path="/v1/*")

    charged, most = while_charging(connections_of_the_worker)

    assert charged == Charged(paid=8)
    assert most - before >= 4
    for _ in range(100):  # the server takes a moment to see them go
        if connections_of_the_worker() <= before:
            break
        time.sleep(0.05)
    assert connections_of_the_worker() <= before


def test_the_processor_is_called_no_faster_than_the_setting_says(settings: Any) -> None:
    settings.PROCESSOR_CALLS_PER_SECOND = 8
    due(6)

    began = time.monotonic()
    charged = charge_due(at=APRIL)
    took = time.monotonic() - began

    # Twelve calls, of which one was in store.
    assert charged == Charged(paid=6)
    assert took >= 11 / 8 - 0.01


def test_a_limit_is_kept_to_the_bill_and_says_that_there_may_be_more() -> None:
    due(8)

    first, second = charge_due(at=APRIL, limit=5), charge_due(at=APRIL, limit=5)

    assert (first, second) == (Charged(paid=5, has_more=True), Charged(paid=3))
    assert charges() == 1 + 8


def test_nothing_is_begun_after_the_time_is_up() -> None:
    due(3)

    assert charge_due(at=APRIL, seconds=0) == Charged(has_more=True)

    assert charges() == 1
    assert leased() == 0


@pytest.mark.parametrize(
    "trouble",
    [
        {"kind": "error", "status": 500},
        {"kind": "error", "status": 429},
        {"kind": "error", "status": 409},
        {"kind": "lose_request"},
    ],
)
def test_an_outage_ends_the_sweep_early_and_counts_for_nothing(trouble: dict[str, Any]) -> None:
    subscriptions = due(5)
    fault(path="/v1/*", count=None, **trouble)

    charged = charge_due(at=APRIL)

    assert charged == Charged(pending=3, is_away=True)
    assert charges() == 1
    with use_login("worker"):
        assert Bill.objects.open().filter(tries=0, last_decline="", charge_due_at=APRIL).count() == 5
        assert not Subscription.objects.filter(payment_failed_at__isnull=False).exists()
        assert PaymentAttempt.objects.filter(bill__isnull=False).count() == 3

    # The key of an attempt that the processor answers with its own failure is given up after an hour.
    control("DELETE", "faults")
    for hours in (0, 2, 2):
        let_leases_run_out()
        charge_due(at=APRIL + timedelta(hours=hours))
    assert_each_is_billed_and_charged_once(subscriptions, at=APRIL + timedelta(hours=2))
    assert len(intents()) == 1 + 5


def test_lost_answers_to_charges_are_asked_for_by_the_next_sweep() -> None:
    """F-09: charged, and nobody was told; asking about those ids is all that happens."""
    subscriptions = due(5)
    fault("lose_answer", CONFIRM, count=None)

    assert charge_due(at=APRIL) == Charged(pending=3, is_away=True)
    assert charges() == 1 + 3
    control("DELETE", "faults")
    let_leases_run_out()

    assert charge_due(at=APRIL) == Charged(paid=5)
    assert_each_is_billed_and_charged_once(subscriptions, at=APRIL)
    assert (len(intents()), asked("/confirm")) == (1 + 5, 5)


def test_an_outage_in_the_middle_ends_the_sweep_and_the_next_goes_on() -> None:
    subscriptions = due(14)
    for bill in open_bills()[4:]:
        fault("lose_request", CREATE, metadata={"bill": bill.number}, count=None)

    charged = charge_due(at=APRIL)

    assert charged.paid == 4
    assert 3 <= charged.pending <= 8
    assert charged.is_away
    control("DELETE", "faults")
    let_leases_run_out()
    assert charge_due(at=APRIL) == Charged(paid=10)
    assert_each_is_billed_and_charged_once(subscriptions, at=APRIL)


def test_one_bill_without_an_answer_does_not_end_the_sweep() -> None:
    due(9)
    bills = open_bills()
    for bill in bills[::3]:
        fault("lose_request", CREATE, metadata={"bill": bill.number}, count=None)

    assert charge_due(at=APRIL) == Charged(paid=6, pending=3)

    # Asked once each; now they wait.
    assert [bill.pk for bill in open_bills()] == [bill.pk for bill in bills[::3]]
    assert leased() == 3


def test_a_processor_slower_than_the_patience_is_one_that_gives_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F-11: 80 s slow; here two, with a patience of half a second."""
    subscriptions = due(4)
    monkeypatch.setattr(stripe, "READ_SECONDS", 0.5)
    monkeypatch.setattr(stripe._clients, "made", None, raising=False)
    control("POST", "latency", seconds=2, path=CONFIRM)

    assert charge_due(at=APRIL) == Charged(pending=3, is_away=True)

    control("POST", "latency", seconds=0, path=CONFIRM)
    monkeypatch.undo()
    monkeypatch.setattr(stripe._clients, "made", None)
    let_leases_run_out()
    time.sleep(2)
    assert charge_due(at=APRIL) == Charged(paid=4)
    assert_each_is_billed_and_charged_once(subscriptions, at=APRIL)


def test_a_subscription_that_somebody_holds_waits_and_the_others_are_charged() -> None:
    """F-08: a lock timeout before the attempt; nothing was asked for that bill."""
    subscriptions = due(6)

    with locked(subscriptions[2]):
        charged = charge_due(at=APRIL)

    assert charged == Charged(paid=5, pending=1)
    assert charges() == 1 + 5
    with use_login("worker"):
        assert PaymentAttempt.objects.filter(bill__subscription=subscriptions[2]).count() == 0
    let_leases_run_out()
    assert charge_due(at=APRIL) == Charged(paid=1)
    assert_each_is_billed_and_charged_once(subscriptions, at=APRIL)


def test_two_sweeps_side_by_side_charge_each_bill_once() -> None:
    subscriptions = due(12)
    done: list[Charged] = []
    sweeps = [threading.Thread(target=lambda: done.append(charge_due(at=APRIL))) for _ in range(2)]

    for sweep in sweeps:
        sweep.start()
    for sweep in sweeps:
        sweep.join()

    assert sum(charged.paid for charged in done) == 12
    assert_each_is_billed_and_charged_once(subscriptions, at=APRIL)
    with use_login("worker"):
        attempts = Bill.objects.annotate(
            made=Count("attempts", filter=Q(attempts__state="succeeded"))
        ).values_list("made", flat=True)
        assert set(attempts.filter(type="renewal")) == {1}
