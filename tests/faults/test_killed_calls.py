"""A web process that dies in a call with an Idempotency-Key: sent again, the call has taken effect once (F-01)."""

import json
from typing import Any

import pytest

from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, IdempotentCall, Tenant, User
from directory.operations.idempotency import RUNS_AT_MOST
from tests.factories import (
    caller_with,
    make_agreement,
    make_self_service_subscription,
    make_subscription,
    make_tenant,
    make_user,
    token_of,
)
from tests.faults.dying import die_at

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


@pytest.mark.parametrize("point", ["K0:after", "K1:uncommitted", "K1:after"])
def test_a_call_whose_process_died_takes_effect_once(point: str) -> None:
    contoso = make_tenant()
    gina = make_user(contoso, roles=("global_admin",))
    path = f"/api/v1.0/purchases/{make_subscription(contoso).key}/licenses/assign"
    secret, body = token_of(gina), json.dumps({"people": [gina.email]})

    def call() -> Any:
        headers = {"Idempotency-Key": "k"}
        return caller_with(secret).post(path, body, content_type="application/json", headers=headers)

    die_at(point, call)
    at_once = call()
    with tenant_atomic(contoso.pk):
        claim = IdempotentCall.objects.get()
        IdempotentCall.objects.update(created_at=claim.created_at - RUNS_AT_MOST)
    later = call()

    # Only who died before the answer was kept is waited for.
    assert at_once.status_code == (200 if point == "K1:after" else 409)
    assert later.json()["items"][0]["outcome"] == "assigned"
    assert later.get("Idempotent-Replayed") == ("true" if point == "K1:after" else None)
    with tenant_atomic(contoso.pk):
        assert AuditEntry.objects.filter(code="licensing.license.assigned").count() == 1


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant()


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, roles=("global_admin",))


@pytest.mark.parametrize("point", ["K0:after", "K1:uncommitted", "K1:after"])
@pytest.mark.parametrize("verb", ["cancel", "take-over"])
def test_a_call_about_money_whose_process_died_is_answered_as_done_and_done_once(
    contoso: Tenant, gina: User, verb: str, point: str
) -> None:
    make_agreement(contoso)
    buyer = make_user(contoso)
    bought = make_self_service_subscription(buyer)
    secret = token_of(buyer if verb == "cancel" else gina)
    path = f"/api/v1.0/purchases/{bought.key}"
    body = json.dumps(agreed(caller_with(secret), path, verb))

    def call() -> Any:
        headers = {"Idempotency-Key": "k"}
        address = f"{path}/{verb}"
        return caller_with(secret).post(address, body, content_type="application/json", headers=headers)

    die_at(point, call)
    with tenant_atomic(contoso.pk):
        claim = IdempotentCall.objects.get()
        IdempotentCall.objects.update(created_at=claim.created_at - RUNS_AT_MOST)
    answers = [call(), call()]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content
    done = answers[0].json()
    assert (done["recurringBilling"], done["owner"]) == (
        (False, "person") if verb == "cancel" else (True, "organization")
    )
    with tenant_atomic(contoso.pk):
        codes = ["commerce.subscription.canceled", "commerce.subscription.taken_over"]
        assert AuditEntry.objects.filter(code__in=codes).count() == 1


def agreed(caller: Any, path: str, verb: str) -> dict[str, Any]:
    """What the preview says and the call takes back."""
    preview = caller.get(path + ("/cancellation" if verb == "cancel" else "/take-over")).json()
    names = ("ending", "refundMinor", "creditedMinor", "stillMinor", "version")
    return {name: preview[name] for name in (names if verb == "cancel" else ("quote",))}
