"""The Celery application. What its beat rings, how often, and in which queue is `config.kit.sweeps`.

PostgreSQL is the queue of record: a task finds its work there, so a lost or repeated message does no harm.
"""

import logging
import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, setup_logging, worker_init, worker_ready
from django.conf import settings
from django.db import DatabaseError

from config.kit.doorbell import Queue

logger = logging.getLogger(__name__)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")


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
    # All of them are a worker's, unless it is told which with `-Q`.
    task_queues={name: {"exchange": name, "routing_key": name} for name in map(str, Queue)},
    # By name: this module is there before the apps are, in a worker and in beat.
    task_routes=["config.kit.sweeps.route"],
)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(lambda: ["config.demo"] if settings.DEMO else [])
