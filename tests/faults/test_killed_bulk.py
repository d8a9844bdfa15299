"""A worker killed at any point of a bulk assignment leaves each person one license and each row one result (F-01)."""

from collections.abc import Callable
from datetime import datetime

import pytest

from config.invariants import violations
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry, Job, JobRow, User
from directory.operations.jobs import run_jobs
from licensing.lists import PeopleList, Row
from licensing.models import Assignment, BulkPiece
from licensing.operations.assignments import assign_licenses
from licensing.operations.bulk import start_bulk
from tests.factories import actor_of, make_subscription, make_tenant, make_user
from tests.faults.dying import die_at

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

PEOPLE, SEATS = 2_100, 2_050
POINTS = [
    "J0:after",
    *(f"J1:{side}@{chunk}" for chunk in (1, 2, 3) for side in ("before", "uncommitted", "after")),
]


@pytest.mark.parametrize("gives", [True, False])
@pytest.mark.parametrize("point", POINTS)
def test_each_person_gets_or_loses_one_license_and_each_row_has_one_result(
    point: str, gives: bool, at: datetime, leases_run_out: Callable[[], None]
) -> None:
    tenant = make_tenant()
    admin = make_user(tenant, roles=("license_admin",))
    subscription = make_subscription(tenant, quantity=SEATS, due_at=at.replace(month=4))
    with tenant_atomic(tenant.pk):
        people = User.objects.bulk_create(
            User(tenant=tenant, name=f"P{n}", sort_name=f"p{n}", email=f"p{n}@x.example", created_at=at)
            for n in range(PEOPLE)
        )
    ids = [person.pk for person in people]
    actor = actor_of(admin)
    if not gives:
        for start in (0, 1_000, 2_000):
            assign_licenses(
                actor=actor, subscription_key=subscription.key, user_ids=ids[start : start + 1_000], at=at
            )
    listed = PeopleList(tuple(Row(n, person.email) for n, person in enumerate(people, start=1)), ())
    start_bulk(actor=actor, subscription_key=subscription.key, gives=gives, lists=[listed], at=at)
    die_at(point, lambda: run_jobs(clock=lambda: at))
    leases_run_out()

    run_jobs(clock=lambda: at)

    with use_login("worker"):
        job = Job.objects.get()
        subscription.refresh_from_db()
        live = Assignment.objects.live().count()
        numbers = list(JobRow.objects.order_by("number").values_list("number", flat=True))
        done = JobRow.objects.filter(code="assigned" if gives else "unassigned").count()
        audited = AuditEntry.objects.filter(
            code=f"licensing.license.{'assigned' if gives else 'unassigned'}"
        ).count()
        left = BulkPiece.objects.count()
    assert (job.state, job.done + job.failed) == ("done", PEOPLE)
    assert numbers == list(range(1, PEOPLE + 1))
    assert (done, audited) == (SEATS, SEATS)
    assert (live, subscription.assigned) == ((SEATS, SEATS) if gives else (0, 0))
    assert left == 0
    assert [each for each in violations(at=at) if each.number in ("I-01", "I-02", "I-05")] == []
