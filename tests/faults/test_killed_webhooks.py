"""A worker that dies while it sends webhooks loses none: each arrives at least once, under one id (F-01)."""

from typing import Any

import pytest

from config.kit.clock import real_now
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import WebhookDelivery
from directory.operations.audit import record
from directory.operations.webhook_sending import CLAIM, send_due
from directory.operations.webhooks import register_endpoint
from tests.factories import AT, actor_of, make_tenant, make_user
from tests.faults.dying import die_at
from tests.receiver import listening

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


@pytest.mark.parametrize(("point", "came_twice"), [("W1:before", False), ("W1:after", True)])
def test_a_message_whose_worker_died_arrives(point: str, came_twice: bool) -> None:
    gina = make_user(make_tenant(), roles=("global_admin",))

    def send(at: Any) -> None:
        send_due(clock=lambda: at, real_clock=real_now)

    with listening() as receiver:
        register_endpoint(actor=actor_of(gina), name="Ledger", url=receiver.url, types=["bill.paid"], at=AT)
        with tenant_atomic(gina.tenant_id):
            record(actor_of(gina), "commerce.bill.paid", at=AT, target_type="bill", target_id=7)
        die_at(point, lambda: send(AT))
        send(AT)
        before = len(receiver.came)
        send(AT + CLAIM)

        assert (before, len(receiver.came)) == ((1, 2) if came_twice else (0, 1))
        assert len(set(receiver.ids)) == 1
    with use_login("worker"):
        assert WebhookDelivery.objects.get().state == "delivered"
