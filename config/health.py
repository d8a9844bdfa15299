"""Liveness and readiness, for load balancers and for `make run`."""

import logging
import time
from collections.abc import Callable

import redis
from django.conf import settings
from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from commerce.operations.billing_control import is_paused
from config.kit.access import public
from config.kit.tenancy import check_walls

logger = logging.getLogger(__name__)

RECHECK_SECONDS = 10


@public(owns_transaction=True)
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 as long as this process answers."""
    return JsonResponse({"status": "ok"})


@public(owns_transaction=True)
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when requests can be served, else 503; the body names each part. Details go to the log only."""
    parts = {name: _answer(name, check) for name, check in CHECKS.items()}
    ready = all(answer == "ok" for answer in parts.values())
    # Not a reason to send people elsewhere: everything but paying by card goes on.
    billing = ("paused" if is_paused() else "ok") if ready else "unknown"
    return JsonResponse(
        {"status": "ok" if ready else "unavailable", **parts, "billing": billing},
        status=200 if ready else 503,
    )


class NotReady(Exception):
    """A part answers, but not as it should."""


class Remembered:
    """A check whose success holds as long as the process, and whose failure is repeated at most every 10 s."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._failure: NotReady | None = None
        self._repeat_at: float | None = 0.0

    def __call__(self) -> None:
        if self._repeat_at is not None and time.monotonic() >= self._repeat_at:
            try:
                self._check()
            except NotReady as failure:
                self._failure, self._repeat_at = failure, time.monotonic() + RECHECK_SECONDS
            else:
                self._failure, self._repeat_at = None, None
        if self._failure:
            raise self._failure


def check_database() -> None:
    """The database answers the app's login."""
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT 1")


def check_broker() -> None:
    """The broker answers."""
    with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2) as broker:
        broker.ping()


def check_migrations() -> None:
    """:raises NotReady: the database lacks a migration that this code has."""
    executor = MigrationExecutor(connections["default"])
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        raise NotReady(f"{len(missing)} migrations are not applied, the first is {missing[0][0]}")


def check_wall() -> None:
    """:raises NotReady: the wall between tenants has a hole."""
    problems = check_walls()
    if problems:
        raise NotReady("; ".join(problems))


CHECKS: dict[str, Callable[[], None]] = {
    "database": check_database,
    "broker": check_broker,
    "migrations": Remembered(check_migrations),
    "walls": Remembered(check_wall),
}


def _answer(name: str, check: Callable[[], None]) -> str:
    try:
        check()
    except (DatabaseError, redis.RedisError, NotReady) as failure:
        logger.error("Not ready: %s: %s", name, failure)
        return "unavailable"
    return "ok"
