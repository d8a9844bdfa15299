"""What a worker does for people when it is rung; beat's schedule is in `config.celery`."""

from celery import shared_task

from config.kit.clock import now
from directory.operations import outbox


@shared_task(name="directory.send_due_mails")
def send_due_mails() -> None:
    """Send the mails that are due."""
    outbox.send_due_mails(at=now())
