"""Long lists as a job: every row's result, resuming, stopping, and what is refused (product §7.3; docs/bulk.md)."""

import csv
import io
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from commerce.models import Subscription
from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic, use_login
from config.kit.uploads import MOST_BYTES
from directory.models import AuditEntry, Job, JobRow, RoleAssignment, Tenant, User
from directory.operations.jobs import cancel_job, interrupt_job, resume_job, run_jobs
from licensing.lists import BadRow, PeopleList, Row, read_csv, read_pasted
from licensing.models import Assignment, BulkPiece
from licensing.operations.assignments import NotAssignable, assign_licenses
from licensing.operations.bulk import start_bulk
from tests.factories import actor_of, client_of, make_subscription, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def lisa(contoso: Tenant) -> User:
    return make_user(contoso, name="Lisa", roles=("license_admin",))


@pytest.fixture
def people(contoso: Tenant) -> list[User]:
    """2,500 members."""
    return make_people(contoso, 2_500)


def make_people(tenant: Tenant, count: int) -> list[User]:
    with tenant_atomic(tenant.pk):
        return User.objects.bulk_create(
            User(
                tenant=tenant,
                name=f"Person {n}",
                sort_name=f"person {n}",
                email=f"p{n}@contoso.example",
                created_at=tenant.created_at,
            )
            for n in range(count)
        )


def listed(people: list[User]) -> PeopleList:
    return PeopleList(tuple(Row(line, each.email) for line, each in enumerate(people, start=1)), ())


def rows_of(job: Job) -> list[JobRow]:
    with tenant_atomic(job.tenant_id):
        return list(JobRow.objects.filter(job=job).order_by("number"))


def refresh(job: Job) -> None:
    with tenant_atomic(job.tenant_id):
        job.refresh_from_db()


def codes_of(job: Job) -> Counter[str]:
    return Counter(row.code for row in rows_of(job))


def live(subscription: Subscription) -> int:
    with tenant_atomic(subscription.tenant_id):
        subscription.refresh_from_db()
        rows = Assignment.objects.live().filter(subscription=subscription).count()
    assert subscription.assigned == rows
    return rows


def pieces() -> int:
    with use_login("worker"):
        return BulkPiece.objects.count()


def test_thousands_get_their_licenses_in_chunks_and_each_row_its_result(
    contoso: Tenant, lisa: User, people: list[User], at: datetime
) -> None:
    subscription = make_subscription(contoso, quantity=3_000)

    job = start_bulk(
        actor=actor_of(lisa), subscription_key=subscription.key, gives=True, lists=[listed(people)], at=at
    )
    run_jobs(clock=lambda: at)

    rows = rows_of(job)
    refresh(job)
    assert (job.state, job.total, job.done, job.failed) == ("done", 2_500, 2_500, 0)
    assert [row.number for row in rows] == list(range(1, 2_501))
    assert (rows[0].subject, rows[0].code, rows[0].message) == (
        "p0@contoso.example",
        "assigned",
        "Has a license now",
    )
    assert codes_of(job) == {"assigned": 2_500}
    assert live(subscription) == 2_500
    assert pieces() == 0
    with tenant_atomic(contoso.pk):
        audited = AuditEntry.objects.filter(code="licensing.license.assigned")
        assert audited.count() == 2_500
        assert set(audited.values_list("actor_label", "door")) == {("Lisa", "job")}


def test_every_kind_of_row_has_its_own_result_and_leaves_the_rest(
    contoso: Tenant, lisa: User, people: list[User], at: datetime
) -> None:
    subscription = make_subscription(contoso, quantity=3_000)
    other = make_subscription(contoso)
    make_user(make_tenant(name="Fabrikam"), email="charlie@fabrikam.example")
    make_user(contoso, email="guest@elsewhere.example", kind="guest")
    make_user(contoso, email="dora@contoso.example", status="disabled")
    make_user(contoso, email="twin1@contoso.example", name="Twin")
    make_user(contoso, email="twin2@contoso.example", name="Twin")
    assign_licenses(actor=actor_of(lisa), subscription_key=subscription.key, user_ids=[people[0].pk], at=at)
    assign_licenses(actor=actor_of(lisa), subscription_key=other.key, user_ids=[people[1].pk], at=at)
    special = [
        "charlie@fabrikam.example",
        "nobody@contoso.example",
        "guest@elsewhere.example",
        "dora@contoso.example",
        "Twin",
        "Person 2",
    ]
    content = "\n".join([*special, *(each.email for each in people[:1_200]), "P5@contoso.example", "a\x01b"])

    job = start_bulk(
        actor=actor_of(lisa),
        subscription_key=subscription.key,
        gives=True,
        lists=[read_pasted(content)],
        at=at,
    )
    run_jobs(clock=lambda: at)

    rows = rows_of(job)
    assert [(row.code, row.is_failed) for row in rows[:6]] == [
        ("unknown", True),
        ("unknown", True),
        ("guest", True),
        ("disabled", True),
        ("ambiguous", True),
        ("assigned", False),
    ]
    assert rows[0].message == "Line 1: Nobody here with that name or address"
    assert rows[0].message.replace("Line 1", "Line 2") == rows[1].message
    assert [(row.subject, row.code) for row in rows[6:9]] == [
        ("p0@contoso.example", "holds_license"),
        ("p1@contoso.example", "holds_product"),
        ("p2@contoso.example", "repeated"),
    ]
    assert [(row.subject, row.code) for row in rows[-2:]] == [
        ("P5@contoso.example", "repeated"),
        ("ab", "control"),
    ]
    refresh(job)
    assert (job.state, job.total, job.done, job.failed) == ("done", 1_208, 1_201, 7)
    assert live(subscription) == 1_199


def test_no_more_are_assigned_than_bought_and_the_first_in_the_list_get_them(
    contoso: Tenant, lisa: User, people: list[User], at: datetime
) -> None:
    subscription = make_subscription(contoso, quantity=1_300)

    job = start_bulk(
        actor=actor_of(lisa), subscription_key=subscription.key, gives=True, lists=[listed(people)], at=at
    )
    run_jobs(clock=lambda: at)

    assert codes_of(job) == {"assigned": 1_300, "no_seat": 1_200}
    assert [row.code for row in rows_of(job)[1_299:1_301]] == ["assigned", "no_seat"]
    assert live(subscription) == 1_300


def test_a_list_done_twice_gives_nobody_a_second_license(
    contoso: Tenant, lisa: User, people: list[User], at: datetime
) -> None:
    subscription = make_subscription(contoso, quantity=3_000)
    ask: dict[str, Any] = {
        "actor": actor_of(lisa),
        "subscription_key": subscription.key,
        "gives": True,
        "lists": [listed(people)],
        "at": at,
    }

    start_bulk(**ask)
    second = start_bulk(**ask)
    run_jobs(clock=lambda: at)

    assert codes_of(second) == {"holds_license": 2_500}
    assert live(subscription) == 2_500


def test_a_long_list_takes_licenses_back(
    contoso: Tenant, lisa: User, people: list[User], at: datetime
) -> None:
    subscription = make_subscription(contoso, quantity=1_000)
    assign_licenses(
        actor=actor_of(lisa),
        subscription_key=subscription.key,
        user_ids=[each.pk for each in people[:1_000]],
        at=at,
    )

    job = start_bulk(
        actor=actor_of(lisa),
        subscription_key=subscription.key,
        gives=False,
        lists=[listed(people[500:])],
        at=at,
    )
    run_jobs(clock=lambda: at)

    assert job.title == "Take Power BI Pro back from 2,000 people"
    assert codes_of(job) == {"unassigned": 500, "not_held": 1_500}
    assert live(subscription) == 500


def test_a_paused_job_goes_on_where_it_was_and_a_canceled_one_leaves_what_is_done(
    contoso: Tenant, lisa: User, people: list[User], at: datetime
) -> None:
    subscription = make_subscription(contoso, quantity=3_000)
    actor = actor_of(lisa)
    job = start_bulk(
        actor=actor, subscription_key=subscription.key, gives=True, lists=[listed(people)], at=at
    )
    run_jobs(clock=lambda: at, seconds=0)
    interrupt_job(actor=actor, key=job.key, at=at)
    run_jobs(clock=lambda: at)
    after_pause = live(subscription)
    resume_job(actor=actor, key=job.key, at=at)
    run_jobs(clock=lambda: at, seconds=0)

    cancel_job(actor=actor, key=job.key, at=at)
    run_jobs(clock=lambda: at)

    refresh(job)
    assert (after_pause, live(subscription)) == (1_000, 2_000)
    assert (job.state, job.done, len(rows_of(job))) == ("canceled", 2_000, 2_000)
    assert pieces() == 1


def test_who_loses_the_right_in_between_stops_the_job(
    contoso: Tenant, lisa: User, people: list[User], at: datetime
) -> None:
    subscription = make_subscription(contoso, quantity=3_000)
    job = start_bulk(
        actor=actor_of(lisa), subscription_key=subscription.key, gives=True, lists=[listed(people)], at=at
    )
    run_jobs(clock=lambda: at, seconds=0)
    with tenant_atomic(contoso.pk):
        RoleAssignment.objects.filter(user=lisa).delete()

    run_jobs(clock=lambda: at)

    refresh(job)
    assert (job.state, live(subscription)) == ("failed", 1_000)
    assert "no longer has the right" in job.reason


def test_a_product_that_ends_in_between_stops_the_job_with_the_reason(
    contoso: Tenant, lisa: User, people: list[User], at: datetime
) -> None:
    subscription = make_subscription(contoso, quantity=3_000)
    job = start_bulk(
        actor=actor_of(lisa), subscription_key=subscription.key, gives=True, lists=[listed(people)], at=at
    )
    run_jobs(clock=lambda: at, seconds=0)
    with tenant_atomic(contoso.pk):
        Subscription.objects.filter(pk=subscription.pk).update(state="disabled")

    run_jobs(clock=lambda: at)

    refresh(job)
    assert (job.state, job.reason) == ("failed", str(NotAssignable.message))
    assert live(subscription) == 1_000


def test_who_may_not_assign_starts_nothing(contoso: Tenant, lisa: User, at: datetime) -> None:
    alice = make_user(contoso, name="Alice")
    own, central = make_subscription(contoso, owner=alice), make_subscription(contoso)
    ended = make_subscription(contoso, state="disabled", expired_at=at, disabled_at=at)
    asked = [listed(make_people(contoso, 3))]
    cases = [
        (actor_of(lisa), own, NotAllowed),
        (actor_of(alice), central, NotVisible),
        (actor_of(make_user(contoso)), central, NotVisible),
        (actor_of(make_user(contoso, roles=("billing_admin",))), central, NotAllowed),
        (actor_of(make_user(make_tenant(), roles=("global_admin",))), central, NotVisible),
        (actor_of(lisa), ended, NotAssignable),
    ]

    for actor, subscription, error in cases:
        with pytest.raises(error):
            start_bulk(actor=actor, subscription_key=subscription.key, gives=True, lists=asked, at=at)

    with use_login("worker"):
        assert (Job.objects.count(), BulkPiece.objects.count()) == (0, 0)


def test_two_lists_of_over_a_hundred_thousand_together_are_refused(
    contoso: Tenant, lisa: User, at: datetime
) -> None:
    half = PeopleList(tuple(Row(n, f"p{n}@x.example") for n in range(60_000)), ())

    with pytest.raises(Malformed, match="more than 100,000"):
        start_bulk(
            actor=actor_of(lisa),
            subscription_key=make_subscription(contoso).key,
            gives=True,
            lists=[half, half],
            at=at,
        )

    with use_login("worker"):
        assert Job.objects.count() == 0


def test_rows_are_kept_in_the_order_of_the_list_with_the_bad_ones_between(
    contoso: Tenant, lisa: User, at: datetime
) -> None:
    mixed = PeopleList((Row(1, "a@x.example"), Row(3, "b@x.example")), (BadRow(2, "bad", "long"),))

    job = start_bulk(
        actor=actor_of(lisa),
        subscription_key=make_subscription(contoso).key,
        gives=True,
        lists=[mixed],
        at=at,
    )
    run_jobs(clock=lambda: at)

    assert [(row.subject, row.code) for row in rows_of(job)] == [
        ("a@x.example", "unknown"),
        ("bad", "long"),
        ("b@x.example", "unknown"),
    ]


# --- By the portal's pages ---------------------------------------------------------------------------------


@pytest.fixture
def _march(at: datetime) -> Any:
    with time_machine.travel(at, tick=True):
        yield


def post(client: Any, tenant: Tenant, url: str, **data: Any) -> Any:
    return client.post(url, {"shown_for_tenant": str(tenant.pk), **data})


def uploaded(content: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile("people.csv", content, content_type="text/csv")


@pytest.mark.usefixtures("_march")
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_file_of_over_a_thousand_becomes_a_job_with_a_page_that_shows_how_far_it_is(
    contoso: Tenant, lisa: User, people: list[User], at: datetime, encoding: str, mark: str
) -> None:
    subscription = make_subscription(contoso, quantity=1_050)
    content = f"Name{mark}E-mail\r\n" + "".join(
        f'"{each.name}"{mark}{each.email}\r\n' for each in people[:1_100]
    )
    client = client_of(lisa)

    answer = post(
        client,
        contoso,
        reverse("portal:license-assign", args=[subscription.key]),
        action="assign",
        file=uploaded(content.encode(encoding)),
    )

    assert answer.status_code == 303
    before = client.get(answer["Location"]).content.decode()
    run_jobs(clock=lambda: at)
    after = client.get(answer["Location"]).content.decode()
    assert "Assign Power BI Pro to 1,100 people" in before
    assert "0 of 1,100 done" in before
    assert "1,100 of 1,100 done, 50 failed" in after
    assert "No license left" in after
    assert live(subscription) == 1_050


@pytest.mark.usefixtures("_march")
def test_the_results_are_a_file_in_which_nothing_runs(
    contoso: Tenant, lisa: User, people: list[User], at: datetime
) -> None:
    subscription = make_subscription(contoso, quantity=3_000)
    content = "\n".join(["=HYPERLINK(1)", *(each.email for each in people[:1_000])])
    client = client_of(lisa)
    answer = post(client, contoso, reverse("portal:license-assign", args=[subscription.key]), people=content)
    run_jobs(clock=lambda: at)

    file = b"".join(client.get(answer["Location"] + "result.csv").streaming_content).decode("utf-8-sig")

    rows = list(csv.reader(io.StringIO(file)))
    assert len(rows) == 1_002
    assert rows[1] == [
        "1",
        "'=HYPERLINK(1)",
        "yes",
        "unknown",
        "Line 1: Nobody here with that name or address",
    ]
    assert rows[2] == ["2", "p0@contoso.example", "no", "assigned", "Has a license now"]


@pytest.mark.usefixtures("_march")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"caf\xe9@x.example\n" * 2_000, "not text in UTF-8"),
        (b"p@x.example\n" * (MOST_BYTES // 10), "too large"),
        (b"".join(b"p%d@x.example\n" % n for n in range(100_001)), "more than 100,000 people"),
        (b"\n,,\n", "names nobody"),
    ],
)
def test_a_bad_file_says_what_is_wrong_and_changes_nothing(
    contoso: Tenant, lisa: User, content: bytes, said: str
) -> None:
    subscription = make_subscription(contoso)
    client = client_of(lisa)

    answers = [
        post(client, contoso, reverse(name, args=[subscription.key]), file=uploaded(content))
        for name in ("portal:license-assign", "portal:license-unassign-list")
    ]

    assert [answer.status_code for answer in answers] == [422, 422]
    assert all(said in answer.content.decode() for answer in answers)
    with use_login("worker"):
        assert (Job.objects.count(), BulkPiece.objects.count()) == (0, 0)
    assert live(subscription) == 0


@pytest.mark.usefixtures("_march")
def test_a_pasted_list_takes_licenses_back_at_once_and_says_who_had_none(
    contoso: Tenant, lisa: User, at: datetime
) -> None:
    subscription = make_subscription(contoso)
    bob, erik = make_user(contoso, name="Bob"), make_user(contoso, name="Erik")
    assign_licenses(actor=actor_of(lisa), subscription_key=subscription.key, user_ids=[bob.pk], at=at)
    url = reverse("portal:license-unassign-list", args=[subscription.key])
    client = client_of(lisa)

    answer = post(client, contoso, url, people=f"{bob.email}\n{erik.email}\nnobody@x.example")

    page = client.get(answer["Location"]).content.decode()
    assert answer["Location"] == url
    assert "1 license taken back." in page
    assert "Has no license from here" in page
    assert "nobody@x.example" in page
    assert "nobody@x.example" not in client.get(url).content.decode()
    assert live(subscription) == 0


@pytest.mark.usefixtures("_march")
def test_a_long_pasted_list_takes_licenses_back_as_a_job(
    contoso: Tenant, lisa: User, people: list[User], at: datetime
) -> None:
    subscription = make_subscription(contoso)
    assign_licenses(
        actor=actor_of(lisa), subscription_key=subscription.key, user_ids=[people[1_500].pk], at=at
    )
    url = reverse("portal:license-unassign-list", args=[subscription.key])
    client = client_of(lisa)

    answer = post(client, contoso, url, people="\n".join(each.email for each in people))
    run_jobs(clock=lambda: at + timedelta(seconds=1))

    assert (answer.status_code, live(subscription)) == (303, 0)
    assert "2,500 of 2,500 done" in client.get(answer["Location"]).content.decode()


def test_the_server_keeps_no_more_of_a_file_than_a_page_takes(contoso: Tenant, lisa: User) -> None:
    from django.test import RequestFactory

    request = RequestFactory().post("/", {"file": uploaded(b"x" * (MOST_BYTES + 500_000))})

    assert request.FILES["file"].size == MOST_BYTES + 1
    assert len(request.FILES["file"].read()) == MOST_BYTES + 1


def test_a_hundred_thousand_rows_are_read() -> None:
    content = b"".join(b"person-%d@contoso.example\n" % n for n in range(100_000))

    assert len(read_csv(content).rows) == 100_000
