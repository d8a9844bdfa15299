"""`assign_bulk`: 10,000 people get a license by one job, history and audit included (architecture §11).

Ours is the job as a worker runs it, from the list as read to the last chunk's commit: queuing, pieces, addresses looked
up, seats judged and given, audit, history, what became of each row. The reference writes the same assignments, audit
entries, history, mails and results, and moves the same counter, by one bare statement that finds every value ready in a
temporary table, by the same login. `ratio` is the reference's cost to ours.

Run by `make bench NAME=assign_bulk`, which starts a PostgreSQL that writes to disk as in production.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from uuid import UUID

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.db import connections  # noqa: E402

from benchmarks.assign_one import AT, Stage  # noqa: E402
from benchmarks.harness import ROUNDS, pairs, print_figures, report  # noqa: E402
from config.kit.actors import Actor  # noqa: E402
from config.kit.tenancy import tenant_atomic  # noqa: E402
from directory.models import Job, RoleAssignment  # noqa: E402
from directory.operations.jobs import run_jobs  # noqa: E402
from directory.permissions import Role  # noqa: E402
from licensing.lists import PeopleList, Row  # noqa: E402
from licensing.operations.assignments import BATCH_LIMIT  # noqa: E402
from licensing.operations.bulk import start_bulk  # noqa: E402

READY = """
CREATE TEMPORARY TABLE ready ON COMMIT DROP AS
SELECT u.n, u.id AS user_id, h.name, h.email, nextval(pg_get_serial_sequence('licensing_assignment', 'id')) AS id
  FROM unnest(%s::bigint[]) WITH ORDINALITY AS u(id, n) JOIN directory_user h ON h.id = u.id ORDER BY u.n
"""
BARE = """
WITH given AS (
    INSERT INTO licensing_assignment
           (id, tenant_id, subscription_id, user_id, product_id, assigned_at, assigned_by_id, assigned_by, ended_by)
    SELECT id, %(tenant)s, %(subscription)s, user_id, %(product)s, %(at)s, %(actor)s, %(label)s, '' FROM ready
     ORDER BY n
), audited AS (
    INSERT INTO directory_auditentry
           (tenant_id, at, code, actor_user_id, actor_tenant_id, actor_label, on_behalf_of, door, correlation_id,
            target_type, target_id, target_label, after)
    SELECT %(tenant)s, %(at)s, 'licensing.license.assigned', %(actor)s, %(tenant)s, %(label)s, '', 'job', 'bench',
           'subscription', %(key)s, 'Product', jsonb_build_object('user_id', user_id, 'assignment_id', id, 'user', name)
      FROM ready
), told AS (
    INSERT INTO commerce_subscriptionevent (tenant_id, subscription_id, at, code, actor_label, facts)
    SELECT %(tenant)s, %(subscription)s, %(at)s, 'license_assigned', %(label)s, '{"count": 1000}'
      FROM generate_series(1, %(chunks)s)
), mailed AS (
    INSERT INTO directory_outgoingmail
           (tenant_id, kind, event_key, to_user_id, to_address, language, context, state, tries, next_try_at,
            created_at, last_error)
    SELECT %(tenant)s, 'license_given', 'license_given:' || %(key)s || ':' || user_id, user_id, email, 'en',
           %(mail)s::jsonb, 'queued', 0, %(at)s, %(at)s, ''
      FROM ready
), results AS (
    INSERT INTO directory_jobrow (tenant_id, job_id, number, subject, code, message, is_failed)
    SELECT %(tenant)s, %(job)s, n, email, 'assigned', 'Has a license now', false FROM ready
)
UPDATE commerce_subscription SET assigned = assigned + %(people)s WHERE id = %(subscription)s
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.assign_bulk", description=__doc__)
    parser.add_argument("--people", type=int, default=10_000, help="of one job (10,000)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"interleaved pairs ({ROUNDS})")
    options = parser.parse_args()
    stage = Stage(people=options.people + 1)
    with tenant_atomic(stage.tenant_id):
        RoleAssignment.objects.create(
            tenant_id=stage.tenant_id,
            user_id=stage.actor.user_id,
            role=Role.LICENSE_ADMIN,
            granted_at=AT,
            granted_by="bench",
        )
    people = stage.people[1 : options.people + 1]
    listed = PeopleList(
        tuple(Row(n, f"person-{n + 1}@contoso.example") for n in range(1, options.people + 1)), ()
    )
    both = ours(stage, listed), bare(stage, people)
    for warm_up in both:
        warm_up()
    print_figures(ratio=report(f"{options.people:,} people in one job", pairs(*both, rounds=options.rounds)))


def ours(stage: Stage, listed: PeopleList) -> Callable[[], float]:
    """One job over a new subscription; the cost in seconds of one person."""

    def measure() -> float:
        _id, key = stage.subscription()
        started = time.perf_counter()
        job = start_bulk(actor=stage.actor, subscription_key=key, gives=True, lists=[listed], at=AT)
        run_jobs(clock=lambda: AT, seconds=3600)
        seconds = time.perf_counter() - started
        with tenant_atomic(stage.tenant_id):
            job.refresh_from_db()
        if (job.state, job.done) != (Job.State.DONE, len(listed.rows)):
            raise RuntimeError(f"the job is {job.state} with {job.done} done: {job.reason}")
        return seconds / len(listed.rows)

    return measure


def bare(stage: Stage, people: list[int]) -> Callable[[], float]:
    """The same rows by one statement; the values are made ready before the clock starts."""

    def measure() -> float:
        subscription, key = stage.subscription()
        with tenant_atomic(stage.tenant_id), connections["default"].cursor() as cursor:
            cursor.execute(READY, [people])
            cursor.execute("ANALYZE ready")
            cursor.execute("SELECT product_id FROM commerce_subscription WHERE id = %s", [subscription])
            facts = _facts(stage.actor, subscription, key, len(people), cursor.fetchone()[0])
            started = time.perf_counter()
            cursor.execute(BARE, facts)
            if cursor.rowcount != 1:
                raise RuntimeError("the bare statement found no subscription")
        return (time.perf_counter() - started) / len(people)

    return measure


def _facts(actor: Actor, subscription: int, key: UUID, people: int, product: int) -> dict[str, object]:
    job = Job.objects.create(
        tenant_id=actor.tenant_id,
        kind="assign_many",
        title="bare",
        capability="assign",
        actor_user_id=actor.user_id,
        actor_tenant_id=actor.tenant_id,
        actor_label=actor.label,
        door="job",
        state=Job.State.DONE,
        finished_at=AT,
        created_at=AT,
    )
    return {
        "tenant": actor.tenant_id,
        "subscription": subscription,
        "key": str(key),
        "product": product,
        "at": AT,
        "actor": actor.user_id,
        "label": actor.label,
        "job": job.pk,
        "people": people,
        "mail": json.dumps(
            {"organization": "Contoso", "vendor": "Seatkeeper B.V.", "product": "Product", "by": actor.label}
            | {"partner": "", "link": f"{settings.PUBLIC_URL}/my/licenses/"}
        ),
        "chunks": -(-people // BATCH_LIMIT),
    }


if __name__ == "__main__":
    main()
