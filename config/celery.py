"""The Celery application and what its beat rings, and how often.

PostgreSQL is the queue of record: a task finds its work there, so a lost or repeated message does no harm.
"""

import logging
import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, setup_logging, worker_init, worker_ready
from django.conf import settings
from django.db import DatabaseError

logger = logging.getLogger(__name__)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# Name of the entry -> {"task": dotted name, "schedule": seconds or crontab}.
BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    "renew": {"task": "commerce.renew", "schedule": 120.0},
    "charge": {"task": "commerce.charge", "schedule": 60.0},
    "refund": {"task": "commerce.refund", "schedule": 60.0},
    "reconcile": {"task": "commerce.reconcile", "schedule": 60.0},
    "reminders": {"task": "commerce.remind", "schedule": 600.0},
    "expiring cards": {"task": "commerce.notice_expiring_cards", "schedule": 3600.0},
    "pull_events": {"task": "commerce.pull_events", "schedule": 3600.0},
    "jobs": {"task": "directory.run_jobs", "schedule": 30.0},
    "old jobs": {"task": "directory.forget_jobs", "schedule": 3600.0},
    "requests": {"task": "licensing.end_requests", "schedule": 3600.0},
    "licenses of leavers": {"task": "licensing.free_licenses", "schedule": 600.0},
    "names of leavers": {"task": "commerce.forget_names", "schedule": 3600.0},
    "digests": {"task": "directory.send_digests", "schedule": 300.0},
    "old notices": {"task": "directory.forget_notices", "schedule": 3600.0},
    "old calls": {"task": "directory.forget_calls", "schedule": 3600.0},
    "relationships": {"task": "directory.sweep_relationships", "schedule": 300.0},
    "domains": {"task": "directory.recheck_domains", "schedule": 3600.0},
    "identity providers": {"task": "directory.change_providers", "schedule": 60.0},
    "centralizations": {"task": "licensing.settle_centralizations", "schedule": 300.0},
    "groups": {"task": "licensing.follow_groups", "schedule": 30.0},
    "lines": {"task": "licensing.even_out", "schedule": 60.0},
    "members of groups": {"task": "licensing.recheck_groups", "schedule": 3600.0},
    "answers to support": {"task": "commerce.read_mailbox", "schedule": 60.0},
    "quiet cases": {"task": "commerce.close_quiet_cases", "schedule": 3600.0},
    "webhooks": {"task": "directory.send_webhooks", "schedule": 10.0},
    "old webhooks": {"task": "directory.forget_webhooks", "schedule": 3600.0},
    "workspaces": {"task": "licensing.keep_workspaces", "schedule": 3600.0},
    "mails": {"task": "directory.send_due_mails", "schedule": 15.0},
}


@setup_logging.connect
def keep_logging(**_: Any) -> None:
    """Log as `settings.LOGGING` says, with everything masked that no log may hold; Celery sets up nothing itself."""


@worker_init.connect
@beat_init.connect
def refuse_unless_sound(**_: Any) -> None:
    """As the web server does (`config.wsgi`)."""
    from config import deployment

    deployment.refuse_unless_sound()


@worker_ready.connect
def look_at_database(**_: Any) -> None:
    """Say at the start, not only at the first sweep, that a copy of a database may not bill (F-26)."""
    from commerce.operations.billing_control import look
    from config.kit import clock
    from config.kit.tenancy import connection, use_login

    try:
        with use_login("worker"):
            look(at=clock.database_now(connection()))
    except (DatabaseError, clock.ClockAstray):
        logger.exception("How billing stands is not known; each sweep asks again")


app = Celery("seatkeeper")
# A thread of the web server has no current application, and would ring at Celery's own default one.
app.set_default()
app.conf.update(
    accept_content=["json"],
    task_serializer="json",
    result_serializer="json",
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    task_soft_time_limit=240,
    task_time_limit=300,
    # A message whose worker vanished is delivered again after this; longer than any task may run.
    broker_transport_options={"visibility_timeout": 3600},
    broker_connection_retry_on_startup=True,
    timezone="UTC",
    enable_utc=True,
    beat_schedule=BEAT_SCHEDULE,
)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.autodiscover_tasks(lambda: ["config.demo"] if settings.DEMO else [])
