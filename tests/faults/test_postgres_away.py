"""F-07 and F-08: PostgreSQL crashes, loses a connection, or refuses, while money moves and pages are asked for."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import connections, transaction

from commerce.models import Bill, BillSeries, PaymentAttempt, Subscription
from config.demo.servers import SUPERUSER, Postgres
from config.kit.tenancy import connection, tenant_atomic, use_login
from tests.factories import client_of, make_subscription, make_tenant, make_user
from tests.faults.crowd import (
    assert_each_is_billed_and_charged_once,
    bill_and_charge,
    bills_by_subscription,
    broken,
    crowd,
    ended,
    let_leases_run_out,
    start,
)
from tests.faults.installation import in_flight, wait_until
from tests.processor import charges, control, intents

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"]),
    pytest.mark.usefixtures("empty_processor"),
]

MARCH = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
APRIL = datetime(2026, 4, 10, 9, 30, tzinfo=UTC)
SOON = APRIL + timedelta(minutes=10)


def test_a_crash_while_charging_leaves_nothing_half_done(own_postgres: Postgres) -> None:
    subscriptions = crowd(40, at=MARCH)
    control("POST", "latency", seconds=0.1, path="/v1/payment_intents/*/confirm")
    sweep = start(lambda: bill_and_charge(APRIL))
    wait_until(lambda: in_flight() > 4)

    own_postgres.crash()
    code = ended(sweep)
    own_postgres.start()

    connections.close_all()
    assert code == 1
    assert broken(APRIL) == []
    control("POST", "latency", seconds=0)
    let_leases_run_out()
    bill_and_charge(SOON)
    assert_each_is_billed_and_charged_once(subscriptions, at=SOON)


def test_pages_say_so_while_it_is_away_and_are_back_with_it(own_postgres: Postgres) -> None:
    contoso = make_tenant(name="Contoso")
    pat = make_user(contoso, name="Pat")
    client = client_of(pat)
    client.raise_request_exception = False
    address = f"/admin/billing/your-products/{make_subscription(contoso, owner=pat).key}/"
    assert client.get(address).status_code == 200
    own_postgres.stop()

    away = client.get(address)
    own_postgres.start()
    connections.close_all()  # as the end of a request does outside of tests
    began = time.monotonic()
    wait_until(lambda: client.get(address).status_code == 200, seconds=30)

    assert (away.status_code, away["Retry-After"]) == (503, "30")
    assert "Nothing is charged twice" in away.text
    assert time.monotonic() - began < 30


def test_a_connection_lost_in_the_middle_of_billing_rolls_it_back_whole() -> None:
    """R1: a whole batch with its numbers, or nothing."""
    subscriptions = crowd(20, at=MARCH)

    with held(BillSeries.objects.all()):
        sweep = start(lambda: bill_and_charge(APRIL))
        kill_the_one_that_waits()
        code = ended(sweep)
        assert bills_by_subscription() == {}
        assert {violation.number for violation in broken(APRIL)} == {"I-13"}  # overdue, and nothing else

    assert code == 1
    bill_and_charge(SOON)
    assert_each_is_billed_and_charged_once(subscriptions, at=SOON)


def test_a_connection_lost_while_an_outcome_is_recorded_charges_once() -> None:
    """R6: charged over there, and nothing of it here until somebody asks again."""
    (subscription,) = crowd(1, at=MARCH)
    control("POST", "latency", seconds=0.5, path="/v1/payment_intents/*/confirm")
    sweep = start(lambda: bill_and_charge(APRIL))
    wait_until(lambda: in_flight() == 1)

    with held(Subscription.objects.all()):
        kill_the_one_that_waits()
        ended(sweep)
        assert charges() == 2
        with use_login("worker"):
            assert PaymentAttempt.objects.get(bill__type="renewal").state != "succeeded"
            assert Bill.objects.get(type="renewal").paid_minor == 0

    let_leases_run_out()
    bill_and_charge(SOON)
    assert_each_is_billed_and_charged_once([subscription], at=SOON)


@contextmanager
def held(rows: Any) -> Iterator[None]:
    """Somebody else has locked these rows."""
    with transaction.atomic(using="worker"):
        assert list(rows.using("worker").select_for_update(no_key=True))
        yield


def kill_the_one_that_waits() -> None:
    """End the connection of a sweep that waits for a lock, inside its transaction."""

    def killed() -> bool:
        with use_login("worker"), connection().cursor() as cursor:
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND usename = current_user AND wait_event_type = 'Lock'"
            )
            return bool(cursor.fetchall())

    wait_until(killed)


@pytest.mark.parametrize(
    ("step", "event", "created"),
    [("R2", "INSERT", 0), ("R4", "UPDATE OF intent_id", 3)],
)
def test_a_full_disk_before_the_charge_charges_nothing(step: str, event: str, created: int) -> None:
    """F-08: nothing is confirmed whose attempt and id are not committed."""
    subscriptions = crowd(5, at=MARCH)

    with full_disk("commerce_paymentattempt", event):
        bill_and_charge(APRIL)

        assert charges() == 1
        assert len(intents()) == 1 + created
        assert in_flight() == 0

    let_leases_run_out()
    bill_and_charge(SOON)
    assert_each_is_billed_and_charged_once(subscriptions, at=SOON)


@contextmanager
def full_disk(table: str, event: str) -> Iterator[None]:
    """PostgreSQL answers writes to `table` as it does when the disk is full (53100)."""

    def execute(sql: str) -> None:
        with use_login("owner"), connection().cursor() as cursor:
            cursor.execute(sql)

    execute(
        "CREATE FUNCTION disk_is_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;"
        f" CREATE TRIGGER disk_is_full BEFORE {event} ON {table} EXECUTE FUNCTION disk_is_full()"
    )
    try:
        yield
    finally:
        execute(f"DROP TRIGGER disk_is_full ON {table}; DROP FUNCTION disk_is_full()")


def test_a_page_that_waits_for_a_lock_in_vain_answers_503_and_changes_nothing() -> None:
    subscription, post = switching_off()

    with held(Subscription.objects.all()):
        busy = post()

    assert (busy.status_code, busy["Retry-After"]) == (503, "30")
    with tenant_atomic(subscription.tenant_id):
        assert Subscription.objects.get().recurring_billing
    assert post().status_code == 302


def test_a_page_that_gets_no_connection_answers_503(own_postgres: Postgres) -> None:
    subscription, post = switching_off()
    allow(own_postgres, connections_of_the_app=0)

    refused = post()

    assert (refused.status_code, refused["Retry-After"]) == (503, "30")
    allow(own_postgres, connections_of_the_app=-1)
    with tenant_atomic(subscription.tenant_id):
        assert Subscription.objects.get().recurring_billing
    assert post().status_code == 302


def allow(server: Postgres, *, connections_of_the_app: int) -> None:
    connections["default"].close()
    with psycopg.connect(server.url(SUPERUSER, "postgres"), autocommit=True) as admin:
        admin.execute(f"ALTER ROLE seatkeeper_app CONNECTION LIMIT {connections_of_the_app}")


def switching_off() -> tuple[Subscription, Callable[[], Any]]:
    """A subscription, and a post by its owner that switches its renewal off."""
    contoso = make_tenant(name="Contoso")
    pat = make_user(contoso, name="Pat")
    subscription = make_subscription(contoso, owner=pat)
    client = client_of(pat)
    client.raise_request_exception = False
    address = f"/admin/billing/your-products/{subscription.key}/recurring-billing/"
    return subscription, lambda: client.post(address, {"on": "no", "version": 0})
