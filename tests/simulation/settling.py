"""Letting everything come to rest: the processor answers, every webhook arrives, each sweep runs as often as it takes."""

import random
from datetime import datetime, timedelta

from django.db import connections

from commerce.operations import payments
from commerce.operations.dunning import dun_due
from commerce.operations.handovers import lapse_offers
from commerce.operations.on_account import mark_past_due, tell_of_bills
from commerce.operations.renewals import charge_due, expire_due, remind_asked, renew_due
from commerce.operations.renewals.reminding import remind_due
from commerce.operations.renewals.trials import end_trials
from directory.operations.jobs import run_jobs
from licensing.operations.centralizing import settle_due
from licensing.operations.leaving import free_licenses_of_leavers
from tests.simulation.world import World

# A question is asked again within minutes, at last after six hours; the processor keeps a failed answer for 24.
WAITS = (
    timedelta(minutes=6),
    timedelta(minutes=6),
    timedelta(hours=2),
    timedelta(hours=7),
    timedelta(hours=25),
    timedelta(minutes=6),
    timedelta(minutes=6),
)


def settle(world: World) -> str:
    """Everything that can be done by now is done, however long it takes: minutes, a day and a half at most."""
    world.gateway.weather = "calm"
    rng = random.Random(0)
    for number, wait in enumerate(WAITS):
        if number > 1 and not is_unfinished(world.at):
            break
        world.move(wait)
        world.gateway.deliver(rng, world.at, all_of_them=True)
        payments.reconcile(world.at)
        dun_due(at=world.at)
        renew_due(at=world.at)
        end_trials(at=world.at)
        expire_due(at=world.at)
        remind_due(at=world.at)
        tell_of_bills(at=world.at)
        mark_past_due(at=world.at)
        remind_asked(at=world.at)
        run_jobs(clock=lambda: world.at)
        settle_due(at=world.at)
        free_licenses_of_leavers(at=world.at)
        charge_due(at=world.at)
        payments.settle_refunds(at=world.at)
        lapse_offers(at=world.at)
    return f"to {world.at:%Y-%m-%d %H:%M}"


_UNFINISHED = """
SELECT EXISTS (SELECT FROM commerce_paymentattempt WHERE state NOT IN ('succeeded', 'failed', 'canceled'))
    OR EXISTS (SELECT FROM commerce_refundattempt WHERE state = 'created')
    OR EXISTS (SELECT FROM commerce_cardsetup WHERE state NOT IN ('done', 'failed', 'abandoned'))
    OR EXISTS (SELECT FROM commerce_webhookevent WHERE handled_at IS NULL)
    OR EXISTS (SELECT FROM commerce_card WHERE removed_at IS NOT NULL AND detached_at IS NULL)
    OR EXISTS (SELECT FROM commerce_bill WHERE charge_due_at <= %(at)s AND status IN ('open', 'past_due'))
    OR EXISTS (SELECT FROM commerce_subscription WHERE due_at <= %(at)s AND parked_at IS NULL AND state <> 'deleted')
"""


def is_unfinished(at: datetime) -> bool:
    """Whether something still waits for an answer or its turn."""
    with connections["worker"].cursor() as cursor:
        cursor.execute(_UNFINISHED, {"at": at})
        return bool(cursor.fetchone()[0])
