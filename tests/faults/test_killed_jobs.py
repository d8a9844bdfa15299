"""A worker killed before, inside or after a chunk leaves each row done once (architecture §10; F-01)."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry, Job, JobPart, JobRow
from directory.operations import audit, jobs
from directory.operations.jobs import Kind, Row, Step, run_jobs, start_job
from directory.permissions import Capability
from tests.factories import AT, actor_of, make_tenant, make_user
from tests.faults.dying import die_at

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

CHUNKS = 3
POINTS = [
    "J0:after",
    *(f"J1:{side}@{chunk}" for chunk in range(1, CHUNKS + 1) for side in ("before", "uncommitted", "after")),
]


def note(*, actor: Actor, job: Job, at: Any) -> Step:
    """One row a chunk, whose effect is a line of the audit trail."""
    number = job.cursor or 1
    audit.record(actor, "test.row.done", at=at, target_type="row", target_id=number)
    return Step(
        cursor=number + 1 if number < CHUNKS else None,
        rows=[Row(number, str(number), "done")],
        content=str(number).encode(),
        file_name="numbers.txt",
    )


@pytest.fixture(autouse=True)
def kind() -> Iterator[None]:
    jobs.register(Kind("note", "Note", Capability.SEE_PURCHASES, note))
    yield
    del jobs.KINDS["note"]


@pytest.mark.parametrize("point", POINTS)
def test_each_row_is_done_once(point: str, leases_run_out: Callable[[], None]) -> None:
    admin = make_user(make_tenant(), roles=("billing_admin",))
    with tenant_atomic(admin.tenant_id):
        start_job(actor=actor_of(admin), kind="note", title="", parameters={}, at=AT, total=CHUNKS)
    die_at(point, lambda: run_jobs(clock=lambda: AT))
    leases_run_out()

    run_jobs(clock=lambda: AT)

    with use_login("worker"):
        job = Job.objects.get()
        done = list(
            AuditEntry.objects.filter(code="test.row.done").order_by("id").values_list("target_id", flat=True)
        )
        rows = list(JobRow.objects.order_by("number").values_list("number", flat=True))
        content = b"".join(bytes(part.content) for part in JobPart.objects.order_by("number"))
        ends = AuditEntry.objects.filter(code="directory.job.finished").count()
    assert (job.state, job.done, job.failed, ends) == ("done", 3, 0, 1)
    assert done == ["1", "2", "3"]
    assert rows == [1, 2, 3]
    assert content == b"123"
