"""A worker killed while a template is applied leaves each customer changed once, whole or not at all (F-01; docs/adr/0046)."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from commerce.operations.fleet import Chosen, look_at_customers, start_applying
from commerce.queries.fleet import catalogue, customers_served
from config.kit.tenancy import use_login
from directory.models import AuditEntry, Job, JobRow, OutgoingMail
from directory.operations.jobs import run_jobs
from policies.models import PolicyChange
from policies.operations.templates import create_template
from tests.factories import AT, actor_of, make_relationship, make_tenant, make_user
from tests.faults.dying import die_at

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

CUSTOMERS = 3
POINTS = [
    f"J1:{side}@{chunk}" for chunk in range(1, CUSTOMERS + 1) for side in ("before", "uncommitted", "after")
]


@pytest.mark.parametrize("point", POINTS)
def test_each_customer_is_changed_once(point: str, leases_run_out: Callable[[], None]) -> None:
    petra = make_user(make_tenant(name="Northwind"), name="Petra")
    customers = [make_tenant(name=f"Customer {number}") for number in range(CUSTOMERS)]
    for each in customers:
        make_user(each, roles=("global_admin",))
        make_relationship(each, petra.tenant, users=(petra,), ends_at=AT + timedelta(days=1))
    actor = actor_of(petra)
    template = create_template(
        actor=actor, name="Careful", said={"default": "Disabled", "new_products": "Ask"}, at=AT
    )
    found = look_at_customers(
        actor=actor,
        customers=customers_served(actor, at=AT),
        said=template.said,
        products=catalogue(),
        has_second_factor=False,
        at=AT,
    )
    seen = {
        each.served.actor.tenant_id: {line.name: line.seen for line in each.differences} for each in found
    }
    start_applying(
        actor=actor,
        key=template.key,
        version=1,
        chosen=Chosen(tuple(template.said), seen),
        why="",
        has_second_factor=False,
        back="",
        at=AT,
    )
    die_at(point, lambda: run_jobs(clock=lambda: AT))
    leases_run_out()

    run_jobs(clock=lambda: AT)

    with use_login("worker"):
        job = Job.objects.get()
        rows = list(JobRow.objects.order_by("number").values_list("number", "code"))
        changes = list(PolicyChange.objects.order_by("tenant_id", "id").values_list("tenant_id", "target"))
        applied = AuditEntry.objects.filter(code="policies.template.applied").count()
        mails = OutgoingMail.objects.filter(kind="policy_changed").count()
    assert (job.state, job.done, job.failed) == ("done", CUSTOMERS, 0)
    assert rows == [(1, "applied"), (2, "applied"), (3, "applied")]
    assert changes == [(each.pk, target) for each in customers for target in ("default", "new_products")]
    assert (applied, mails) == (2 * CUSTOMERS, CUSTOMERS)
