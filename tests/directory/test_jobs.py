"""Jobs: chunks that are whole or not there, whose turn it is, who may, and how they end (architecture §10)."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from config.kit.actors import Actor
from config.kit.errors import Conflict, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry, Job, JobPart, JobRow, OutgoingMail, RoleAssignment, Tenant, User
from directory.operations import jobs
from directory.operations.jobs import (
    JobOver,
    Kind,
    Row,
    Step,
    TooManyJobs,
    cancel_job,
    forget_jobs,
    interrupt_job,
    resume_job,
    run_jobs,
    start_job,
    working,
)
from directory.permissions import Capability
from tests.factories import (
    AT,
    actor_of,
    client_of,
    make_relationship,
    make_tenant,
    make_user,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

SEEN: list[tuple[int, Any]] = []


def count_up(*, actor: Actor, job: Job, at: Any) -> Step:
    """Two rows a chunk; the row named in `fails` is not done, the chunk named in `breaks` raises."""
    first = job.cursor or 1
    SEEN.append((job.tenant_id, first))
    if job.parameters.get("breaks") == first:
        raise ZeroDivisionError
    if job.parameters.get("refuses") == first:
        raise Conflict("The policy has changed.")
    last = min(first + 1, job.parameters["rows"])
    rows = [
        Row(number, f"person-{number}", "refused" if number == job.parameters.get("fails") else "done")
        for number in range(first, last + 1)
    ]
    rows = [Row(r.number, r.subject, r.code, "No seat is left.", is_failed=r.code == "refused") for r in rows]
    return Step(
        cursor=last + 1 if last < job.parameters["rows"] else None,
        rows=rows,
        content=f"{first}-{last};".encode(),
        file_name="result.txt",
        file_type="text/plain",
    )


@pytest.fixture(autouse=True)
def kind() -> Iterator[None]:
    """A kind of job of this module alone."""
    SEEN.clear()
    jobs.register(Kind("count_up", "Count up", Capability.SEE_PURCHASES, count_up))
    yield
    del jobs.KINDS["count_up"]


def admin_of(tenant: Tenant | None = None, **fields: Any) -> User:
    return make_user(tenant or make_tenant(), roles=("billing_admin",), **fields)


def start(user: User, acting_for: Tenant | None = None, *, total: int = 5, **parameters: Any) -> Job:
    actor = actor_of(user, acting_for)
    with tenant_atomic(actor):
        return start_job(
            actor=actor,
            kind="count_up",
            title="Count up",
            parameters={"rows": total, **parameters},
            at=AT,
            total=total,
        )


def run(**options: Any) -> None:
    run_jobs(clock=lambda: AT, **options)


def now_of(job: Job) -> Job:
    with use_login("worker"):
        return Job.objects.get(pk=job.pk)


def codes(job: Job) -> list[str]:
    with use_login("worker"):
        return list(
            AuditEntry.objects.filter(target_type="job", target_id=str(job.key))
            .order_by("id")
            .values_list("code", flat=True)
        )


def test_does_every_row_once_and_keeps_the_result() -> None:
    job = start(admin_of(), fails=4)

    run()

    done = now_of(job)
    assert (done.state, done.done, done.failed, done.total) == ("done", 4, 1, 5)
    assert (done.started_at, done.finished_at, done.leased_until) == (AT, AT, None)
    with use_login("worker"):
        rows = list(JobRow.objects.order_by("number").values_list("number", "code", "is_failed"))
        parts = [bytes(part.content) for part in JobPart.objects.order_by("number")]
    assert rows == [(n, "refused" if n == 4 else "done", n == 4) for n in range(1, 6)]
    assert parts == [b"1-2;", b"3-4;", b"5-5;"]
    assert codes(job) == ["directory.job.started", "directory.job.finished"]


def test_acts_in_the_starters_name_through_the_door_of_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    actors: list[Actor] = []

    def look(*, actor: Actor, job: Job, at: Any) -> Step:
        actors.append(actor)
        return Step(cursor=None)

    monkeypatch.setitem(jobs.KINDS, "count_up", Kind("count_up", "", Capability.SEE_PURCHASES, look))
    admin = admin_of()
    start(admin)

    run()

    assert [(a.user_id, a.door, a.correlation_id) for a in actors] == [(admin.pk, "job", "test")]


def test_a_partners_job_runs_with_the_delegated_roles() -> None:
    customer = make_tenant()
    delegate = make_user(make_tenant())
    make_relationship(customer, _tenant_of(delegate), users=(delegate,))
    job = start(delegate, customer)

    run()

    assert now_of(job).state == "done"
    assert (job.tenant_id, job.actor_tenant_id) == (customer.pk, delegate.tenant_id)


def _tenant_of(user: User) -> Tenant:
    with tenant_atomic(user.tenant_id):
        return Tenant.objects.get(pk=user.tenant_id)


def test_a_demoted_persons_job_stops_with_the_reason() -> None:
    admin = admin_of(name="Bill")
    job = start(admin)
    with tenant_atomic(admin.tenant_id):
        RoleAssignment.objects.filter(user=admin).delete()

    run()

    stopped = now_of(job)
    assert (stopped.state, stopped.done) == ("failed", 0)
    assert stopped.reason.startswith("Bill, who started it, no longer has the right")
    assert SEEN == []
    assert codes(job) == ["directory.job.started", "directory.job.stopped"]


def test_a_disabled_persons_job_stops_between_chunks() -> None:
    admin = admin_of(name="Bill")
    job = start(admin)
    run(seconds=0)
    with tenant_atomic(admin.tenant_id):
        User.objects.filter(pk=admin.pk).update(status="disabled")

    run()

    stopped = now_of(job)
    assert (stopped.state, stopped.done) == ("failed", 2)
    assert stopped.reason.startswith("Bill, who started it, may no longer act here")


def test_a_suspended_organization_keeps_what_it_may_do_alone() -> None:
    admin = admin_of()
    job = start(admin)
    with tenant_atomic(admin.tenant_id):
        Tenant.objects.filter(pk=admin.tenant_id).update(standing="suspended")

    run()

    assert now_of(job).state == "done"


def test_what_cannot_be_done_ends_the_job_and_keeps_what_was_done() -> None:
    job = start(admin_of(), refuses=3)

    run()

    stopped = now_of(job)
    assert (stopped.state, stopped.reason, stopped.done) == ("failed", "The policy has changed.", 2)
    assert stopped.cursor == 3


def test_what_nobody_foresaw_is_tried_again_later_and_at_last_given_up() -> None:
    job = start(admin_of(), breaks=3)
    states = []

    for _ in range(jobs.MOST_TRIES):
        run()
        states.append(now_of(job).state)
        with use_login("worker"):
            Job.objects.filter(next_try_at__isnull=False).update(next_try_at=AT - timedelta(days=365))
    run()

    assert states == ["running"] * 4 + ["failed"]
    assert [(job.tenant_id, 1)] + [(job.tenant_id, 3)] * 5 == SEEN
    assert now_of(job).done == 2
    assert now_of(job).reason.startswith("Something went wrong")


def test_waits_before_it_tries_again() -> None:
    job = start(admin_of(), breaks=1)

    run()
    run()

    assert [(job.tenant_id, 1)] == SEEN


def test_pausing_keeps_what_was_done_and_resuming_goes_on() -> None:
    admin = admin_of()
    job = start(admin)
    run(seconds=0)

    interrupt_job(actor=actor_of(admin), key=job.key, at=AT)
    run()

    assert (now_of(job).state, now_of(job).done) == ("interrupted", 2)

    resume_job(actor=actor_of(admin), key=job.key, at=AT)
    run()

    assert (now_of(job).state, now_of(job).done) == ("done", 5)
    assert [first for _tenant, first in SEEN] == [1, 3, 5]
    assert codes(job) == [
        f"directory.job.{verb}" for verb in ("started", "interrupted", "resumed", "finished")
    ]


def test_a_canceled_job_does_nothing_more_and_cannot_go_on() -> None:
    admin = admin_of()
    job = start(admin)

    cancel_job(actor=actor_of(admin), key=job.key, at=AT)
    run()

    assert (now_of(job).state, now_of(job).done, now_of(job).finished_at) == ("canceled", 0, AT)
    for change in (cancel_job, interrupt_job, resume_job):
        with pytest.raises(JobOver):
            change(actor=actor_of(admin), key=job.key, at=AT)


def test_a_worker_that_was_given_up_for_dead_does_nothing_more() -> None:
    job = start(admin_of())
    late = working._take(AT)
    assert late is not None
    with use_login("worker"):
        Job.objects.update(leased_until=AT - timedelta(days=365))
    run()

    goes_on = working._try_chunk(late, AT)

    assert goes_on is False
    assert (now_of(job).state, now_of(job).done) == ("done", 5)


def test_a_chunk_that_kills_its_worker_each_time_is_given_up() -> None:
    job = start(admin_of())
    for _ in range(jobs.MOST_TRIES + 1):
        working._take(AT)
        with use_login("worker"):
            Job.objects.update(leased_until=AT - timedelta(days=365))

    run()

    assert (now_of(job).state, now_of(job).done) == ("failed", 0)


def test_organizations_take_turns() -> None:
    many, few = admin_of(), admin_of()
    for _ in range(3):
        start(many, total=2)
    start(few, total=2)

    run()

    assert [tenant for tenant, _first in SEEN] == [many.tenant_id, few.tenant_id, *[many.tenant_id] * 2]


def test_one_organizations_jobs_run_one_at_a_time() -> None:
    admin = admin_of()
    start(admin)
    start(admin)

    first, second = working._take(AT), working._take(AT)

    assert first is not None
    assert second is None


def test_refuses_more_than_may_wait() -> None:
    admin = admin_of()
    for _ in range(jobs.MOST_LIVE):
        start(admin)

    with pytest.raises(TooManyJobs):
        start(admin)

    with use_login("worker"):
        assert Job.objects.count() == jobs.MOST_LIVE


def test_refuses_whoever_lacks_the_kinds_capability() -> None:
    member = make_user(make_tenant())

    with pytest.raises(NotAllowed):
        start(member)

    with use_login("worker"):
        assert Job.objects.count() == 0


def test_what_was_done_with_rights_over_own_things_is_nobody_elses() -> None:
    tenant = make_tenant()
    job = start(make_user(tenant, purchaser_since=AT))

    for colleague in (make_user(tenant, purchaser_since=AT), admin_of(tenant)):
        with pytest.raises(NotVisible):
            cancel_job(actor=actor_of(colleague), key=job.key, at=AT)

    assert now_of(job).state == "queued"


def test_a_reader_sees_an_admins_job_and_may_not_end_it() -> None:
    tenant = make_tenant()
    job = start(admin_of(tenant))

    with pytest.raises(NotAllowed):
        cancel_job(actor=actor_of(make_user(tenant, roles=("global_reader",))), key=job.key, at=AT)

    assert now_of(job).state == "queued"


def test_another_organizations_job_is_not_there() -> None:
    job = start(admin_of())

    with pytest.raises(NotVisible):
        cancel_job(actor=actor_of(admin_of()), key=job.key, at=AT)
    with pytest.raises(NotVisible):
        cancel_job(actor=actor_of(admin_of()), key=uuid.uuid4(), at=AT)


def test_the_starter_is_told_by_mail_when_it_took_over_a_minute() -> None:
    admin = admin_of(name="Bill")
    short = start(admin)
    run()
    long = start(admin)

    run_jobs(clock=lambda: AT + timedelta(seconds=60))

    with use_login("worker"):
        mails = list(OutgoingMail.objects.filter(kind="job_finished"))
    assert [(mail.to_user_id, mail.context["done"]) for mail in mails] == [(admin.pk, 5)]
    assert mails[0].context["link"].endswith(f"/admin/jobs/{long.key}/")
    assert now_of(short).state == "done"


def test_files_and_jobs_are_forgotten_in_their_time(settings: Any) -> None:
    job = start(admin_of())
    run()

    kept = forget_jobs(at=AT + settings.JOB_FILES_KEPT - timedelta(seconds=1))
    assert (kept, now_of(job).has_file) == (0, True)

    forget_jobs(at=AT + settings.JOB_FILES_KEPT)
    with use_login("worker"):
        assert (JobPart.objects.count(), JobRow.objects.count()) == (0, 5)
    assert now_of(job).has_file is False

    assert forget_jobs(at=AT + settings.JOBS_KEPT) == 1
    with use_login("worker"):
        assert (Job.objects.count(), JobRow.objects.count()) == (0, 0)


def test_the_page_shows_how_far_it_is_and_can_be_left() -> None:
    admin = admin_of()
    job = start(admin, fails=2)
    run(seconds=0)

    page = client_of(admin).get(f"/admin/jobs/{job.key}/").content.decode()

    assert "2 of 5 done, 1 failed" in page
    assert 'max="5" value="2"' in page
    assert 'hx-trigger="every 2s"' in page
    assert "You may leave this page" in page
    assert '<meta http-equiv="refresh" content="5">' in page
    assert "No seat is left." in page


def test_the_bar_loads_the_page_anew_once_the_job_has_ended() -> None:
    admin = admin_of()
    job = start(admin)
    client = client_of(admin)
    waiting = client.get(f"/admin/jobs/{job.key}/progress/")
    run()

    ended = client.get(f"/admin/jobs/{job.key}/progress/")

    assert "HX-Refresh" not in waiting
    assert ended["HX-Refresh"] == "true"
    assert "5 of 5 done" in ended.content.decode()


def test_the_result_is_downloaded_as_a_sheet_that_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def evil(*, actor: Actor, job: Job, at: Any) -> Step:
        return Step(cursor=None, rows=[Row(1, '=HYPERLINK("http://x")', "done", "+1")])

    monkeypatch.setitem(jobs.KINDS, "count_up", Kind("count_up", "", Capability.SEE_PURCHASES, evil))
    admin = admin_of()
    job = start(admin)
    run()

    response = client_of(admin).get(f"/admin/jobs/{job.key}/result.csv")

    lines = b"".join(response.streaming_content).decode().splitlines()
    assert lines[1] == '"1","\'=HYPERLINK(""http://x"")","no","done","\'+1"'
    assert response["Content-Disposition"].startswith("attachment;")


def test_the_file_is_given_out_whole_and_only_at_the_end() -> None:
    admin = admin_of()
    job = start(admin)
    client = client_of(admin)
    run(seconds=0)
    early = client.get(f"/admin/jobs/{job.key}/file/")
    run()

    response = client.get(f"/admin/jobs/{job.key}/file/")

    assert early.status_code == 404
    assert b"".join(response.streaming_content) == b"1-2;3-4;5-5;"
    assert response["Content-Length"] == "12"
    assert response["Content-Disposition"] == 'attachment; filename="result.txt"'


def test_the_buttons_pause_go_on_and_cancel() -> None:
    admin = admin_of()
    job = start(admin)
    client = client_of(admin)
    states = []

    for button in ("pause", "resume", "cancel"):
        response = client.post(f"/admin/jobs/{job.key}/{button}/")
        states.append((response.status_code, now_of(job).state))

    assert states == [(303, "interrupted"), (303, "queued"), (303, "canceled")]
