"""Calls with the same Idempotency-Key at the same time: one effect (product §16)."""

import json
import threading
from typing import Any

import pytest

from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, IdempotentCall, Tenant, User
from directory.operations.idempotency import RUNS_AT_MOST
from licensing.api import licenses
from licensing.models import Assignment
from tests.concurrency.test_leaving import beside
from tests.concurrency.threads import all_at_once
from tests.factories import caller_with, make_subscription, make_tenant, make_user, token_of

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina", roles=("global_admin",))


@pytest.fixture
def assign(contoso: Tenant, gina: User) -> Any:
    """Give Gina a license by a call with the key `k`."""
    path = f"/api/v1.0/purchases/{make_subscription(contoso).key}/licenses/assign"
    secret, body = token_of(gina), json.dumps({"people": [gina.email]})

    def call() -> Any:
        headers = {"Idempotency-Key": "k"}
        return caller_with(secret).post(path, body, content_type="application/json", headers=headers)

    return call


def given(tenant: Tenant) -> tuple[int, int]:
    """Licenses, and how often the trail says that one was given."""
    with tenant_atomic(tenant.pk):
        entries = AuditEntry.objects.filter(code="licensing.license.assigned")
        return Assignment.objects.live().count(), entries.count()


def test_of_many_at_once_one_takes_effect(contoso: Tenant, assign: Any) -> None:
    answers = all_at_once(lambda _n: assign(), count=12, at_once=6)
    again = assign()

    assert {answer.status_code for answer in answers} <= {200, 409}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {"still_running"}
    done = {answer.content for answer in answers if answer.status_code == 200}
    assert done == {again.content}
    assert json.loads(again.content)["items"][0]["outcome"] == "assigned"
    assert given(contoso) == (1, 1)


@pytest.fixture
def slowly(monkeypatch: Any) -> Any:
    """The first call to give licenses has begun, and waits until it may go on."""
    begun, may_go_on = threading.Event(), threading.Event()
    assign_licenses, first = licenses.assign_licenses, threading.Lock()

    def waits(**named: Any) -> Any:
        if first.acquire(blocking=False):
            begun.set()
            assert may_go_on.wait(60)
        return assign_licenses(**named)

    monkeypatch.setattr(licenses, "assign_licenses", waits)
    return begun, may_go_on


def test_while_the_first_runs_the_second_is_told_so(contoso: Tenant, assign: Any, slowly: Any) -> None:
    begun, may_go_on = slowly
    first = beside(assign)
    assert begun.wait(60)

    second = assign()
    may_go_on.set()

    assert first.result(60).status_code == 200
    assert (second.status_code, second.json()["code"]) == (409, "still_running")
    assert given(contoso) == (1, 1)


def test_who_was_taken_for_dead_and_was_not_changes_nothing(
    contoso: Tenant, assign: Any, slowly: Any
) -> None:
    begun, may_go_on = slowly
    first = beside(assign)
    assert begun.wait(60)
    with tenant_atomic(contoso.pk):
        claim = IdempotentCall.objects.get()
        IdempotentCall.objects.update(created_at=claim.created_at - RUNS_AT_MOST)

    second = assign()
    may_go_on.set()

    assert second.json()["items"][0]["outcome"] == "assigned"
    assert (first.result(60).status_code, first.result().json()["code"]) == (409, "still_running")
    assert assign().content == second.content
    assert given(contoso) == (1, 1)
