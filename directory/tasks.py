"""What a worker does for people when it is rung; beat's schedule is in `config.celery`."""

from celery import shared_task

from config.kit.clock import now, real_now
from config.kit.doorbell import ring
from directory.operations import (
    digests,
    domains,
    idempotency,
    inbox,
    jobs,
    outbox,
    partner_sweeps,
    provider_changes,
)
from directory.operations import webhook_sending as webhooks
from directory.operations.webhooks import SENDING


@shared_task(name="directory.send_due_mails")
def send_due_mails() -> None:
    """Send the mails that are due."""
    outbox.send_due_mails(at=now())


@shared_task(name=jobs.TASK)
def run_jobs() -> None:
    """Work on the jobs that wait and those whose worker died; ring again while there is more."""
    if jobs.run_jobs(clock=now).has_more:
        ring(run_jobs)


@shared_task(name="directory.forget_jobs")
def forget_jobs() -> None:
    """Delete result files and jobs that are kept no longer."""
    jobs.forget_jobs(at=now())


@shared_task(name="directory.send_digests")
def send_digests() -> None:
    """Queue the digests of the days that are over, one for each person and day."""
    digests.queue_digests(at=now())


@shared_task(name="directory.forget_notices")
def forget_notices() -> None:
    """Forget the content of notices that are kept no longer."""
    inbox.forget_notices(at=now())


@shared_task(name="directory.forget_calls")
def forget_calls() -> None:
    """Delete the answers of calls with an Idempotency-Key that are a day old."""
    idempotency.forget_calls(real_at=real_now())


@shared_task(name="directory.sweep_relationships")
def sweep_relationships() -> None:
    """Lapse invitations, announce ends, and end or extend relationships that are due."""
    partner_sweeps.sweep_relationships(at=now())


@shared_task(name="directory.recheck_domains")
def recheck_domains() -> None:
    """Look again at the records by which organizations proved their domains."""
    domains.recheck_domains(at=now())


@shared_task(name="directory.change_providers")
def change_providers() -> None:
    """Put planned identity providers in force whose day is over."""
    provider_changes.make_due_changes(at=now())


@shared_task(name=SENDING)
def send_webhooks() -> None:
    """Send the webhooks that are due; ring again while there is more."""
    if webhooks.send_due(clock=now, real_clock=real_now):
        ring(send_webhooks)


@shared_task(name="directory.forget_webhooks")
def forget_webhooks() -> None:
    """Delete messages that are kept no longer, and secrets that sign no more."""
    webhooks.forget_deliveries(at=now(), real_at=real_now())
