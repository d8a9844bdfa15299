"""A day after its users the money of a run moves: refunds as of its start, and what gives none runs out or ends (product §10).

A purchase is never ended while somebody who works with it has no central license: who came to it since then gets one
first, and where none is free it waits, for an hour at a time.
"""

import logging
from datetime import datetime, timedelta

from commerce.operations.billing_control import sweeps_may_run
from commerce.operations.retiring import end_retired
from commerce.operations.subscriptions import lock_subscription_row, remember
from config.kit.actors import Actor
from config.kit.errors import DomainError
from config.kit.faults import reached
from config.kit.sweeps import alone
from config.kit.tenancy import atomic, tenant_atomic, use_login
from directory.operations.audit import record
from licensing.entitlements import GIVES_ACCESS
from licensing.models import Centralization, CentralizedPurchase
from licensing.operations.centralizing.moving import (
    SomebodyStranded,
    counts_of,
    give_to_some,
    lock_by_id,
    stranded,
)
from licensing.operations.centralizing.notices import queue_run

log = logging.getLogger(__name__)

AGAIN_AFTER = timedelta(hours=1)
State = Centralization.State
Purchase = CentralizedPurchase.State


def settle_due(*, at: datetime, limit: int = 100) -> int:
    """Move the money of every run whose day has come; how many runs ended. Any number may run side by side.

    Nothing while billing is paused: a copy may have forgotten what was refunded or undone.
    """
    if not sweeps_may_run(at=at):
        return 0
    with use_login("worker"), atomic():
        due = list(
            Centralization.objects.filter(state=State.WAITING, money_at__lte=at)
            .order_by("money_at", "id")
            .values_list("pk", "tenant_id")[:limit]
        )
    ended = 0
    for run_id, tenant_id in due:
        with alone("Centralization %s", run_id):
            ended += _settle(run_id, tenant_id, at)
    return ended


def _settle(run_id: int, tenant_id: int, at: datetime) -> bool:
    """One run, a transaction for each purchase; whether it is done now."""
    while True:
        reached("Z1:before")
        with tenant_atomic(tenant_id):
            run = lock_by_id(run_id)
            if run.state != State.WAITING or run.money_at is None or run.money_at > at:
                return False
            rows = CentralizedPurchase.objects.filter(tenant_id=tenant_id, centralization=run)
            purchase: CentralizedPurchase | None = (
                rows.filter(state=Purchase.TAKEN_OVER, problem="").order_by("id").first()
            )
            actor = _actor_of(run)
            if purchase is None:
                return _close(actor, run, at)
            _settle_one(actor, run, purchase, at)
            reached("Z1:uncommitted")
        reached("Z1:after")


def _actor_of(run: Centralization) -> Actor:
    """The installation, in the name of whoever started the run, who decided about its money then."""
    return Actor.system(run.tenant_id, label=run.started_by)


def _settle_one(actor: Actor, run: Centralization, purchase: CentralizedPurchase, at: datetime) -> None:
    """A few hundred people of one purchase who still need a license, or its money once there are none."""
    subscription = lock_subscription_row(purchase.subscription_id)
    try:
        with atomic():
            # Each sweep looks anew at whoever has none: a license may have come free since the last one.
            if subscription.state in GIVES_ACCESS and give_to_some(
                actor, run, purchase, subscription, since=at, at=at
            ):
                return
            if missing := stranded(purchase):
                raise SomebodyStranded(missing)
            ended, refund_minor = end_retired(
                actor=actor, subscription=subscription, as_of=run.refund_at, ends_now=run.ends_now, at=at
            )
    except DomainError as error:
        log.warning("Purchase %s of centralization %s waits: %s", purchase.pk, run.pk, error.code)
        purchase.problem = str(error)[:300]
        purchase.save(update_fields=["problem"])
        return
    purchase.state, purchase.refunded_minor = Purchase.ENDED, refund_minor
    purchase.save(update_fields=["state", "refunded_minor"])
    remember(subscription, "centralized_ended", actor=actor, at=at, how=str(ended), refund_minor=refund_minor)
    record(
        actor,
        "licensing.centralization.purchase_ended",
        at=at,
        target_type="subscription",
        target_id=subscription.key,
        target_label=str(subscription),
        after={"how": str(ended), "refund_minor": refund_minor, "run": str(run.key)},
    )


def _close(actor: Actor, run: Centralization, at: datetime) -> bool:
    """Done when every purchase is; what had a problem is tried again in an hour."""
    rows = CentralizedPurchase.objects.filter(tenant_id=run.tenant_id, centralization=run)
    if rows.filter(state=Purchase.TAKEN_OVER).exists():
        rows.filter(state=Purchase.TAKEN_OVER).update(problem="")
        run.money_at = at + AGAIN_AFTER
        run.save(update_fields=["money_at"])
        return False
    run.state, run.closed_at = State.DONE, at
    run.save(update_fields=["state", "closed_at"])
    record(
        actor,
        "licensing.centralization.done",
        at=at,
        target_type="centralization",
        target_id=run.key,
        target_label=run.target.product.name,
        after={"purchases": counts_of(rows.values_list("state", flat=True))},
    )
    queue_run(run, stage="done", at=at)
    return True
