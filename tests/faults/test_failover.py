"""F-07: the primary dies under load, its replica takes over, and every period is billed and charged once.

The replica is synchronous: a commit was answered only when both had it, so that none is lost with the primary.
"""

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from django import db
from django.db import connections

from commerce.operations.billing_control import look, resume
from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry
from directory.operations.audit import record
from tests.factories import client_of, make_tenant, make_user
from tests.faults.conftest import Pair
from tests.faults.crowd import DOSE, assert_each_is_billed_and_charged_once, broken, crowd, let_leases_run_out
from tests.faults.installation import in_flight, ring, unpaid, wait_until, worker
from tests.processor import charges, control

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"]),
    pytest.mark.usefixtures("empty_processor", "empty_broker"),
]

# Workers go by the real clock: bought so long ago that one month is over and the next is not.
NOW = datetime.now(UTC)
BOUGHT = NOW - timedelta(days=31, hours=2)
# Once in the suite, in the middle of charging; as a drill again and again, at any moment of billing and charging.
TIMES = int(os.environ.get("DRILL_FAILOVERS", "1"))


@pytest.mark.parametrize("time_of", range(TIMES))
def test_a_replica_takes_over_from_a_primary_that_dies_while_charging(pair: Pair, time_of: int) -> None:
    due = crowd(max(DOSE, 40), at=BOUGHT)
    client = client_of(make_user(make_tenant(name="Contoso"), name="Pat"))
    client.raise_request_exception = False
    control("POST", "latency", seconds=0.1, path="/v1/payment_intents/*/confirm")
    look(at=NOW)

    with worker() as running, notes_being_taken() as noted:
        ring("commerce.renew")
        if time_of:
            time.sleep(random.uniform(0, 4))
        else:
            wait_until(lambda: in_flight() > 4)
        pair.primary.crash()
        connections.close_all()
        away = client.get("/my/licenses/")
        pair.replica.promote()
        pair.address.turn(pair.replica.port)
        began = time.monotonic()
        connections.close_all()
        wait_until(lambda: client.get("/my/licenses/").status_code == 200, seconds=30)
        back_after = time.monotonic() - began

        # A promoted replica is a copy: nobody is charged until someone says that it had everything.
        control("POST", "latency", seconds=0)
        wait_until(lambda: look(at=NOW).is_paused)
        made = charges_at_rest()
        ring("commerce.renew")
        ring("commerce.charge")
        wait_until(lambda: running.says("Billing is paused: This database is a copy"))
        charged_meanwhile = charges() - made
        resume(at=NOW, unreconciled=True)
        let_leases_run_out()
        ring("commerce.reconcile")
        ring("commerce.renew")
        ring("commerce.charge")
        wait_until(lambda: unpaid() == 0 and len(broken(datetime.now(UTC))) == 0)
        assert running.end() == 0

    assert (away.status_code, away["Retry-After"]) == (503, "30")
    assert back_after < 30
    assert charged_meanwhile == 0
    with use_login("worker"):
        kept = set(AuditEntry.objects.filter(code="test.noted").values_list("target_id", flat=True))
    assert len(noted) > 10
    assert set(noted) - kept == set()
    assert_each_is_billed_and_charged_once(due, at=datetime.now(UTC))


def charges_at_rest() -> int:
    """How many were made, once those that were allowed before the primary died have had their answers."""
    made = -1
    while made != (made := charges()):
        time.sleep(1)
    return made


@contextmanager
def notes_being_taken() -> Iterator[list[str]]:
    """Somebody who commits one row after the other, and remembers those whose commit was answered."""
    tenant = make_tenant(name="Fabrikam")
    answered: list[str] = []
    is_over = threading.Event()

    def take() -> None:
        actor = Actor.system(tenant.pk)
        number = 0
        while not is_over.is_set():
            number += 1
            try:
                with tenant_atomic(actor):
                    record(actor, "test.noted", at=NOW, target_type="note", target_id=str(number))
            except db.Error:
                connections.close_all()
                time.sleep(0.05)
            else:
                answered.append(str(number))
        connections.close_all()

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield answered
    finally:
        is_over.set()
        thread.join()
