"""A worker killed while it centralizes: the run ends complete, and at no moment has a user no license (product §10).

`make drill NAME=centralize` runs the same with five thousand users.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from commerce.models import Bill, Product, RefundAttempt, Subscription
from config.invariants import violations
from config.kit.tenancy import tenant_atomic
from directory.models import Job, Tenant, User
from directory.operations.jobs import run_jobs
from licensing.operations.centralizing import NotUndoable, moving, settle_due, undo_centralizing, undoing
from licensing.queries.entitlements import entitlement_of
from tests.factories import AT, actor_of, make_tenant, make_user
from tests.faults.dying import die_at
from tests.licensing.crowd import (
    DAY,
    buy_for,
    central_of,
    endings,
    fresh,
    holders,
    make_people,
    outcomes,
    picture,
    start,
    without_access,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

DOSE = int(os.environ.get("DRILL_CENTRALIZED", "300"))
# As many as a small run has, so that each of them is in some chunk.
SAMPLE = 5
MOST = 300
NOW = AT + DAY


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def bill(contoso: Tenant) -> User:
    return make_user(contoso, name="Bill Bakker", roles=("billing_admin",))


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters")


def work() -> None:
    run_jobs(clock=lambda: NOW)


@contextmanager
def polled(people: list[int], bought: Subscription, folder: Path) -> Iterator[Callable[[], dict[str, Any]]]:
    """A process of its own that asks, again and again, who of these may not use the product at that moment.

    All of them in one snapshot, and a few as a product would ask. What it gives tells how often it asked, and whom it
    found without access; it ends with the block.
    """
    stop, told = folder / "stop", folder / "told"
    asker = os.fork()
    if asker == 0:
        try:
            for connection in connections.all(initialized_only=True):
                connection.connection = None
            _ask(people, bought, stop, told)
        finally:
            os._exit(0)

    def ended() -> dict[str, Any]:
        stop.touch()
        os.waitpid(asker, 0)
        found: dict[str, Any] = json.loads(told.read_text())
        return found

    try:
        yield ended
    finally:
        if not stop.exists():
            os.kill(asker, signal.SIGKILL)
            os.waitpid(asker, 0)


def _ask(people: list[int], bought: Subscription, stop: Path, told: Path) -> None:
    product = Product.objects.get(pk=bought.product_id)
    polls, missing = 0, set()
    is_last = False
    while not is_last:
        is_last = stop.exists()
        missing |= set(without_access(people, bought.tenant_id, bought.product_id))
        for user_id in people[polls % len(people) :: max(len(people) // SAMPLE, 1)]:
            with tenant_atomic(bought.tenant_id):
                if entitlement_of(user_id=user_id, product=product) is None:
                    missing.add(user_id)
        polls += 1
    told.write_text(json.dumps({"polls": polls, "missing": sorted(missing)}))


def test_the_worker_is_killed_three_times_and_nobody_is_without_a_license_at_any_moment(
    contoso: Tenant,
    bill: User,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    leases_run_out: Callable[[], None],
) -> None:
    monkeypatch.setattr(moving, "PEOPLE_A_CHUNK", max(DOSE // 12, 10))
    monkeypatch.setattr(undoing, "PEOPLE_A_CHUNK", max(DOSE // 12, 10))
    target = central_of(bill, quantity=DOSE + 1)
    # A purchase by card has at most 300 licenses.
    people = make_people(contoso, DOSE)
    groups = [people[first : first + MOST] for first in range(0, DOSE, MOST)]
    purchases = [buy_for(buyer, rest) for buyer, *rest in groups]
    bought = purchases[0]
    everybody = sorted(person.pk for person in people)
    before = picture()
    run = start(bill, purchases, target, at=NOW)

    with polled(everybody, bought, tmp_path) as ended:
        for point in ("J1:uncommitted@3", "J1:after@4", "J1:before@3"):
            die_at(point, work)
            leases_run_out()
        moved_between = len(holders(target))
        work()
        found = ended()

    assert 0 < moved_between < DOSE
    assert found["missing"] == []
    assert found["polls"] >= 5
    assert (fresh(run).state, endings(run), outcomes(run)) == (
        *("waiting", ["taken_over"] * len(purchases)),
        {"moved": DOSE},
    )
    assert sorted(holders(target)) == everybody
    with tenant_atomic(contoso.pk):
        job = Job.objects.get(key=run.job_key)
        rows = DOSE + len(purchases)
        assert (job.state, job.done, job.failed, job.rows.count()) == ("done", rows, 0, rows)
    assert violations(at=NOW) == []

    # And undone, with a worker killed thrice again, everything is as it was before.
    (tmp_path / "stop").unlink()
    undo_centralizing(actor=actor_of(bill), key=run.key, at=NOW)
    with polled(everybody, bought, tmp_path) as ended:
        for point in ("J1:uncommitted@2", "J1:after@3", "J1:before@2"):
            die_at(point, work)
            leases_run_out()
        work()
        found = ended()

    assert found["missing"] == []
    assert picture() == before
    assert (fresh(run).state, outcomes(run)) == ("undone", {"undone": DOSE})
    assert violations(at=NOW) == []


# Of four people in chunks of two: two chunks, the take-over, the end.
POINTS = [
    "J0:after",
    *(f"J1:{side}@{chunk}" for chunk in range(1, 5) for side in ("before", "uncommitted", "after")),
]


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_it_ends_as_if_it_had_not_been(
    contoso: Tenant,
    bill: User,
    pat: User,
    point: str,
    monkeypatch: pytest.MonkeyPatch,
    leases_run_out: Callable[[], None],
) -> None:
    monkeypatch.setattr(moving, "PEOPLE_A_CHUNK", 2)
    target = central_of(bill, quantity=10)
    bought = buy_for(pat, make_people(contoso, 3))
    run = start(bill, [bought], target, at=NOW)

    die_at(point, work)
    assert without_access(sorted(holders(bought)), contoso.pk, bought.product_id) == []
    leases_run_out()
    work()

    assert (fresh(run).state, endings(run), outcomes(run)) == ("waiting", ["taken_over"], {"moved": 4})
    assert fresh(target).assigned == 4
    assert violations(at=NOW) == []


@pytest.mark.parametrize(
    "point", ["Z1:before", "Z1:uncommitted", "Z1:after", "Z1:uncommitted@2", "Z1:after@2"]
)
def test_killed_while_the_money_moves_each_purchase_is_refunded_once(
    contoso: Tenant, bill: User, pat: User, point: str
) -> None:
    uma = make_user(contoso, name="Uma")
    target = central_of(bill, quantity=10)
    first, second = buy_for(pat, make_people(contoso, 1)), buy_for(uma, [])
    run = start(bill, [first, second], target, at=NOW)
    work()

    die_at(point, lambda: settle_due(at=NOW + DAY))
    time.sleep(0.1)
    settle_due(at=NOW + DAY)

    with tenant_atomic(contoso.pk):
        notes = Bill.objects.filter(type="cancel").count()
        attempts = RefundAttempt.objects.count()
    assert (fresh(run).state, endings(run), notes, attempts) == ("done", ["ended", "ended"], 2, 2)
    assert violations(at=NOW + DAY) == []


def test_between_the_money_and_the_end_of_its_run_a_clock_that_is_behind_undoes_nothing(
    contoso: Tenant, bill: User, pat: User
) -> None:
    bought = buy_for(pat, [])
    run = start(bill, [bought], central_of(bill), at=NOW)
    work()

    die_at("Z1:after", lambda: settle_due(at=NOW + DAY))
    assert (fresh(run).state, endings(run)) == ("waiting", ["ended"])
    with pytest.raises(NotUndoable):
        undo_centralizing(actor=actor_of(bill), key=run.key, at=NOW + DAY / 2)
    settle_due(at=NOW + DAY)

    assert (fresh(run).state, fresh(bought).state) == ("done", "disabled")
    assert violations(at=NOW + DAY) == []
