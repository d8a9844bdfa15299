"""The sweeps of directory: what a worker does for people when it is rung (architecture §7)."""

from config.kit.clock import now, real_now
from config.kit.doorbell import Queue
from config.kit.sweeps import Sweep, Turn, register
from directory.operations import (
    digests,
    domains,
    idempotency,
    inbox,
    jobs,
    names,
    outbox,
    partner_sweeps,
    provider_changes,
    sessions,
)
from directory.operations import webhook_sending as webhooks
from directory.operations.webhooks import SENDING

register(
    Sweep(
        jobs.TASK,
        lambda at: jobs.run_jobs(clock=now),
        every=30.0,
        turn=Turn.FREE,
        rings=lambda worked: jobs.TASK if worked.has_more else "",
        # One job of each organization at a time, of several side by side.
        at_once=4,
    ),
    Sweep("directory.forget_names", names.forget_names, every=3600.0, turn=Turn.FREE),
    Sweep("directory.change_providers", provider_changes.make_due_changes, every=60.0, turn=Turn.FREE),
    Sweep("directory.recheck_domains", domains.recheck_domains, every=3600.0, turn=Turn.FREE),
    Sweep("directory.send_digests", digests.queue_digests, every=300.0, turn=Turn.CLOSE),
    Sweep("directory.sweep_relationships", partner_sweeps.sweep_relationships, every=300.0, turn=Turn.CLOSE),
    Sweep("directory.send_due_mails", outbox.send_due_mails, every=15.0, turn=Turn.SEND, queue=Queue.MAIL),
    Sweep(
        SENDING,
        lambda at: webhooks.send_due(clock=now, real_clock=real_now),
        every=10.0,
        turn=Turn.SEND,
        queue=Queue.WEBHOOKS,
        rings=lambda has_more: SENDING if has_more else "",
    ),
    Sweep("directory.forget_jobs", jobs.forget_jobs, every=3600.0, turn=Turn.FORGET),
    Sweep("directory.forget_trail", names.forget_trail, every=3600.0, turn=Turn.FORGET),
    Sweep("directory.forget_notices", inbox.forget_notices, every=3600.0, turn=Turn.FORGET),
    Sweep(
        "directory.forget_calls",
        lambda at: idempotency.forget_calls(real_at=real_now()),
        every=3600.0,
        turn=Turn.FORGET,
    ),
    Sweep(
        "directory.forget_sessions",
        lambda at: sessions.forget_sessions(real_at=real_now()),
        every=3600.0,
        turn=Turn.FORGET,
    ),
    Sweep(
        "directory.forget_webhooks",
        lambda at: webhooks.forget_deliveries(at=at, real_at=real_now()),
        every=3600.0,
        turn=Turn.FORGET,
    ),
)
