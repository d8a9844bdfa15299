"""The passing of real time, and servers that a test may break."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from config.demo.environment import Kept, database_passwords
from config.demo.migrated import TEST_DATABASE, prepare
from config.demo.servers import Postgres, Valkey, free_port
from tests.faults.switch import Switch


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
def own_postgres(transactional_db: None) -> Iterator[Postgres]:
    """A database server of this test alone, used by all three logins; `crash()` ends it as a loss of power does.

    It writes to disk: what was committed must outlive the crash.
    """
    with _server() as (server, kept), _used(kept, port=server.port):
        yield server


@dataclass(frozen=True, slots=True)
class Pair:
    """A primary, its synchronous replica, and the address by which the portal reaches one of them."""

    primary: Postgres
    replica: Postgres
    address: Switch


@pytest.fixture
def pair(transactional_db: None) -> Iterator[Pair]:
    """Two database servers of this test alone, of which one follows the other; all three logins use the address."""
    with _server(has_replica=True) as (primary, kept):
        replica = Postgres(
            primary.home.with_name("replica"),
            port=free_port(),
            passwords=database_passwords(kept),
            durable=True,
            has_replica=True,
        )
        replica.follow(primary)
        address = Switch(primary.port)
        with _used(kept, port=address.port):
            yield Pair(primary, replica, address)
        primary.crash()
        address.close()
        replica.stop()
        replica.remove()


@contextmanager
def _server(*, has_replica: bool = False) -> Iterator[tuple[Postgres, Kept]]:
    folder = Path(os.environ["RUN_DIR"]) / f"own-{uuid4().hex}"
    folder.mkdir()
    kept = Kept(folder / "kept.json")
    server = Postgres(
        folder / "postgresql",
        port=kept.port("postgresql"),
        passwords=database_passwords(kept),
        durable=True,
        may_create_databases=True,
        has_replica=has_replica,
    )
    prepare(server, kept, os.environ)
    server.start()
    yield server, kept
    server.stop()
    server.remove()


@contextmanager
def _used(kept: Kept, *, port: int) -> Iterator[None]:
    """Let this process, and those that it starts, use the server at `port`, with the catalogue in it."""
    from django.db import connections

    from commerce.operations.catalogue import PRICES_VALID_FROM, load_catalogue
    from config.kit.tenancy import use_login

    passwords = database_passwords(kept)
    before = {}
    for alias in ("default", "owner", "worker"):
        connections[alias].close()
        to = connections[alias].settings_dict
        before[alias] = dict(to)
        to.update(PORT=port, NAME=TEST_DATABASE, PASSWORD=passwords[to["USER"]])
    with use_login("owner"):
        load_catalogue(at=PRICES_VALID_FROM)
    yield
    connections.close_all()
    for alias, to in before.items():
        connections[alias].settings_dict.update(to)
