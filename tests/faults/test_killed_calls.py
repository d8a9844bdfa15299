"""A web process that dies in a call with an Idempotency-Key: sent again, the call has taken effect once (F-01)."""

import json
from typing import Any

import pytest

from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, IdempotentCall
from directory.operations.idempotency import RUNS_AT_MOST
from tests.factories import caller_with, make_subscription, make_tenant, make_user, token_of
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
