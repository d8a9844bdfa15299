"""The passing of real time, and servers that a test may break."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from config.demo.environment import Kept, database_passwords
from config.demo.migrated import TEST_DATABASE, prepare
from config.demo.servers import Postgres, Valkey, free_port


@pytest.fixture
def leases_run_out() -> Callable[[], None]:
    """What some minutes of real time do: leases that nobody gave back are over."""
    from commerce.models import Bill, PaymentAttempt, RefundAttempt
    from config.kit.tenancy import use_login
    from directory.models import Job

    def run_out() -> None:
        past = datetime(2020, 1, 1, tzinfo=UTC)
        with use_login("worker"):
            PaymentAttempt.objects.filter(leased_until__isnull=False).update(leased_until=past)
            Bill.objects.filter(leased_until__isnull=False).update(leased_until=past)
            RefundAttempt.objects.filter(leased_until__isnull=False).update(leased_until=past)
            Job.objects.filter(leased_until__isnull=False).update(leased_until=past)

    return run_out


@pytest.fixture
def empty_broker() -> Iterator[None]:
    """No message from before the test, and none left by it."""
    import redis
    from django.conf import settings

    broker = redis.Redis.from_url(settings.REDIS_URL)
    broker.flushdb()
    yield
    broker.flushdb()


@pytest.fixture
def own_valkey(settings: Any, tmp_path: Path) -> Iterator[Valkey]:
    """Broker, limits and pace of this test alone, for this process and those that get its address."""
    server = Valkey(tmp_path / "valkey", port=free_port(), password=uuid4().hex, durable=False)
    server.start()
    settings.REDIS_URL = server.url(0)
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": server.url(1)}}
    yield server
    server.stop()


@pytest.fixture
def own_postgres(transactional_db: None, settings: Any) -> Iterator[Postgres]:
    """A database server of this test alone, used by all three logins; `stop()` ends it as a crash does.

    It writes to disk: what was committed must outlive the crash.
    """
    from django.db import connections

    from commerce.operations.catalogue import load_catalogue
    from config.kit.tenancy import use_login

    folder = Path(os.environ["RUN_DIR"]) / f"own-{uuid4().hex}"
    folder.mkdir()
    kept = Kept(folder / "kept.json")
    server = Postgres(
        folder / "postgresql",
        port=kept.port("postgresql"),
        passwords=database_passwords(kept),
        durable=True,
        may_create_databases=True,
    )
    prepare(server, kept, os.environ)
    server.start()
    passwords = database_passwords(kept)
    before = {}
    for alias in ("default", "owner", "worker"):
        connections[alias].close()
        to = connections[alias].settings_dict
        before[alias] = dict(to)
        to.update(PORT=server.port, NAME=TEST_DATABASE, PASSWORD=passwords[to["USER"]])
    with use_login("owner"):
        load_catalogue()
    yield server
    connections.close_all()
    for alias, to in before.items():
        connections[alias].settings_dict.update(to)
    server.stop()
    server.remove()
