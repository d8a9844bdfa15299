"""From the moment a relationship ends there is nothing: sessions, open forms, jobs, tokens (product §12; I-24, F-23)."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse

from config.kit.clock import now
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry, Group, Job
from directory.operations import jobs
from directory.operations.jobs import Kind, Row, Step, run_jobs, start_job
from directory.operations.partners import end_relationship
from directory.permissions import Capability
from tests.factories import (
    actor_of,
    caller_with,
    client_of,
    make_relationship,
    make_subscription,
    make_tenant,
    make_user,
    token_of,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

GROUPS, PRODUCTS, CUSTOMERS = "/admin/groups/", "/admin/billing/your-products/", "/admin/customers/"
BANNER = "You act for <strong>Contoso</strong>"
CHUNKS: list[int] = []


@pytest.fixture
def contoso():
    return make_tenant(name="Contoso")


@pytest.fixture
def northwind():
    return make_tenant(name="Northwind")


@pytest.fixture
def petra(northwind):
    return make_user(northwind, name="Petra", roles=("global_admin",))


@pytest.fixture
def relationship(contoso, northwind, petra):
    at = now()
    return make_relationship(
        contoso,
        northwind,
        roles=("billing_admin", "user_admin"),
        users=(petra,),
        starts_at=at - timedelta(days=1),
        ends_at=at + timedelta(hours=1),
    )


@pytest.fixture
def clock(monkeypatch):
    """`clock(moment)` is what every request reads from then on."""

    def be(moment):
        for module in ("directory.middleware", "directory.views.customers", "directory.views.groups"):
            monkeypatch.setattr(f"{module}.now", lambda: moment)

    return be


def groups_of(tenant):
    with tenant_atomic(tenant.pk):
        return list(Group.objects.filter(tenant=tenant).values_list("name", flat=True))


def make_group(client, tenant, name="Made by Petra"):
    return client.post(GROUPS, {"shown_for_tenant": tenant.pk, "name": name})


# --- A session in the middle of acting --------------------------------------------------------------------


def test_a_session_acts_to_the_last_second_and_not_one_longer(contoso, petra, relationship, clock):
    client = client_of(petra, contoso)

    clock(relationship.ends_at - timedelta(seconds=1))
    assert BANNER in client.get(PRODUCTS).text
    clock(relationship.ends_at + timedelta(seconds=1))
    after = client.get(PRODUCTS).text

    assert BANNER not in after
    assert "You can no longer act for that customer." in after
    assert "You can no longer act for that customer." not in client.get(PRODUCTS).text


def test_what_a_customer_ends_is_over_at_the_next_request(contoso, petra, relationship):
    gina = make_user(contoso, roles=("global_admin",))
    client = client_of(petra, contoso)
    bought = make_subscription(contoso)
    page = reverse("portal:subscription", args=[bought.key])
    assert client.get(page).status_code == 200

    end_relationship(actor=actor_of(gina, at=now()), key=relationship.key, at=now())

    assert client.get(page).status_code == 404
    assert client.get(CUSTOMERS).text.count("Act for Contoso") == 0


def test_nobody_switches_to_a_customer_after_the_end(contoso, petra, relationship, clock):
    client = client_of(petra)
    clock(relationship.ends_at)

    answer = client.post(
        f"{CUSTOMERS}act-for/", {"shown_for_tenant": petra.tenant_id, "customer": contoso.pk}
    )

    assert answer.status_code == 404
    assert BANNER not in client.get(PRODUCTS).text


# --- A form that is open already --------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "status", "made"), [(-1, 303, 1), (0, 409, 0), (1, 409, 0)])
def test_a_form_already_open_saves_up_to_the_end_only(
    contoso, northwind, petra, relationship, clock, seconds, status, made
):
    client = client_of(petra, contoso)
    clock(relationship.ends_at - timedelta(minutes=5))
    assert "shown_for_tenant" in client.get(GROUPS).text

    clock(relationship.ends_at + timedelta(seconds=seconds))
    answer = make_group(client, contoso)

    assert answer.status_code == status
    assert (len(groups_of(contoso)), groups_of(northwind)) == (made, [])


def test_a_form_without_its_tenant_is_not_saved_for_the_own_organization_instead(
    contoso, northwind, petra, relationship, clock
):
    client = client_of(petra, contoso)
    clock(relationship.ends_at)

    answer = client.post(GROUPS, {"name": "Made by Petra"})

    assert answer.status_code == 409
    assert "Nothing was saved" in answer.text
    assert (groups_of(contoso), groups_of(northwind)) == ([], [])


def test_who_acts_for_a_customer_names_it_in_every_post(contoso, petra, relationship):
    client = client_of(petra, contoso)

    assert client.post(GROUPS, {"name": "Made by Petra"}).status_code == 409
    assert groups_of(contoso) == []


def test_a_form_of_one_customer_is_refused_while_acting_for_another_and_offers_to_switch_back(
    contoso, northwind, petra, relationship
):
    fabrikam = make_tenant(name="Fabrikam")
    at = now()
    make_relationship(
        fabrikam,
        northwind,
        roles=("user_admin",),
        users=(petra,),
        starts_at=at,
        ends_at=at + timedelta(days=9),
    )
    client = client_of(petra, fabrikam)

    answer = make_group(client, contoso)

    assert answer.status_code == 409
    assert "Switch back to Contoso" in answer.text
    assert "You act for <strong>Fabrikam</strong>" in answer.text
    assert (groups_of(contoso), groups_of(fabrikam)) == ([], [])


def test_roles_that_were_taken_back_mid_form_save_nothing(contoso, petra, relationship):
    client = client_of(petra, contoso)
    with tenant_atomic(contoso.pk):
        relationship.assignments.update(roles=["billing_admin"])

    assert make_group(client, contoso).status_code == 403
    assert groups_of(contoso) == []


# --- Jobs -------------------------------------------------------------------------------------------------


def note(*, actor: Any, job: Job, at: Any) -> Step:
    """One row a chunk, three chunks."""
    first = job.cursor or 1
    CHUNKS.append(first)
    return Step(cursor=first + 1 if first < 3 else None, rows=[Row(first, f"row-{first}", "done")])


@pytest.fixture
def kind() -> Iterator[None]:
    CHUNKS.clear()
    jobs.register(Kind("note", "Note", Capability.SEE_PURCHASES, note))
    yield
    del jobs.KINDS["note"]


def start(petra, contoso):
    actor = actor_of(petra, contoso, at=now())
    with tenant_atomic(actor):
        return start_job(actor=actor, kind="note", title="Note", parameters={}, at=now(), total=3)


def state_of(job):
    with use_login("worker"):
        return Job.objects.get(pk=job.pk)


@pytest.mark.parametrize(
    ("seconds", "state", "chunks"), [(-1, "done", [1, 2, 3]), (0, "failed", []), (1, "failed", [])]
)
def test_a_queued_job_runs_up_to_the_end_only(contoso, petra, relationship, kind, seconds, state, chunks):
    job = start(petra, contoso)

    run_jobs(clock=lambda: relationship.ends_at + timedelta(seconds=seconds))

    assert (state_of(job).state, CHUNKS) == (state, chunks)


def test_a_running_job_stops_before_its_next_chunk(contoso, petra, relationship, kind):
    job = start(petra, contoso)

    run_jobs(clock=lambda: relationship.ends_at + timedelta(seconds=1 if CHUNKS else -1))

    stopped = state_of(job)
    assert (stopped.state, stopped.done, CHUNKS) == ("failed", 1, [1])
    assert stopped.reason.startswith("Petra, who started it, may no longer act here")
    with use_login("worker"):
        entry = AuditEntry.objects.get(code="directory.job.stopped")
    marks = (entry.tenant_id, entry.actor_tenant_id, entry.actor_label, entry.on_behalf_of)
    assert marks == (contoso.pk, petra.tenant_id, "Petra", "Northwind: Contoso administration")


# --- Tokens -----------------------------------------------------------------------------------------------


def test_a_token_of_a_partners_user_is_for_the_own_organization_alone(contoso, petra, relationship):
    bought = make_subscription(contoso)
    caller = caller_with(token_of(petra))

    assert str(bought.key) not in caller.get("/api/v1.0/purchases").text
    assert caller.get(f"/api/v1.0/purchases/{bought.key}").status_code == 404


# --- Who was given nothing --------------------------------------------------------------------------------


def test_a_colleague_who_was_given_nothing_gets_nothing_at_all(contoso, northwind, petra, relationship):
    nils = make_user(northwind, name="Nils")
    bought = make_subscription(contoso)
    forged = client_of(nils, contoso)

    assert BANNER not in forged.get("/").text
    for address in (
        CUSTOMERS,
        PRODUCTS,
        "/admin/",
        "/admin/relationships/",
        reverse("portal:subscription", args=[bought.key]),
    ):
        assert client_of(nils, contoso).get(address).status_code == 404, address
    assert make_group(client_of(nils, contoso), contoso).status_code == 409
    switched = client_of(nils).post(
        f"{CUSTOMERS}act-for/", {"shown_for_tenant": northwind.pk, "customer": contoso.pk}
    )
    assert switched.status_code == 404
    page = reverse("portal:relationship", args=[relationship.key])
    assert client_of(nils).get(page).status_code == 403
    assert groups_of(contoso) == []


# --- Marked with both -------------------------------------------------------------------------------------


def test_what_is_done_for_a_customer_is_marked_with_both(contoso, northwind, petra, relationship):
    client = client_of(petra)
    client.post(f"{CUSTOMERS}act-for/", {"shown_for_tenant": northwind.pk, "customer": contoso.pk})

    make_group(client, contoso)

    with tenant_atomic(contoso.pk):
        rows = AuditEntry.objects.filter(tenant=contoso).order_by("pk")
        marks = [(row.code, row.actor_label, row.actor_tenant_id, row.on_behalf_of) for row in rows]
    by = ("Petra", northwind.pk, "Northwind: Contoso administration")
    assert marks == [("directory.partner.acting_started", *by), ("directory.group.created", *by)]
    with tenant_atomic(northwind.pk):
        own = AuditEntry.objects.get(tenant=northwind, target_type="relationship")
        assert (own.code, own.target_id) == ("directory.partner.acting_started", str(relationship.key))
