"""Servers and fixtures that every test may use.

PostgreSQL and Valkey start once per run, before Django reads its settings; workers of pytest-xdist share
them, each with a database and Valkey databases of its own. The card processor and the identity provider
start in the process of the first test that asks for them.
"""

import atexit
import gc
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import django
import httpx
import pytest
import pytest_django
from django.apps import apps
from django.db.models.signals import post_migrate
from django.test.utils import setup_databases, teardown_databases

from config.demo import chromium, throwaway
from config.demo.environment import Kept, issuers, key_settings, processor_command
from config.demo.migrated import TEST_DATABASE, create_copy
from config.demo.processes import ChildFailed, spawn, stop
from config.demo.servers import SUPERUSER
from tests.access.counting import (  # noqa: F401 - hooks
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)
from tests.tiers import is_long

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")


def _start_servers() -> None:
    os.environ["OWN_POSTGRES"] = "" if os.environ.get("DATABASE_URL") else "yes"
    started = ExitStack()
    atexit.register(started.close)
    os.environ.update(started.enter_context(throwaway.servers(os.environ, test_database=True)))


def _take_own_share() -> None:
    """Give this process addresses and Valkey databases that no other worker uses."""
    kept = Kept(Path(os.environ["RUN_DIR"]) / f"kept-{WORKER}.json")
    web = f"127.0.0.1:{kept.port('web')}"
    number = 2 * int(WORKER.removeprefix("gw")) if WORKER.startswith("gw") else 0
    server = os.environ["REDIS_URL"].rsplit("/", 1)[0]
    os.environ.update(
        key_settings(kept),
        PUBLIC_URL=f"http://{web}",
        DJANGO_LIVE_TEST_SERVER_ADDRESS=web,
        REDIS_URL=f"{server}/{number}",
        CACHE_URL=f"{server}/{number + 1}",
        CLOCK_FILE=str(Path(os.environ["RUN_DIR"]) / f"clock-{WORKER}.json"),
        DJANGO_SETTINGS_MODULE="config.settings",
        # Tests send more bad tokens than anybody's network.
        BAD_TOKENS_PER_MINUTE="1000000",
        # Playwright's synchronous interface runs an event loop in the thread of the test.
        DJANGO_ALLOW_ASYNC_UNSAFE="1",
    )


if WORKER == "main":
    _start_servers()
_take_own_share()
django.setup()
# A worker that inherited the name would read the settings before it has taken its share.
del os.environ["DJANGO_SETTINGS_MODULE"]


def _load_catalogue(using: str, **_: Any) -> None:
    """Fill the vendor's tables after the database was migrated and after a transactional test flushed it."""
    from commerce.operations.catalogue import PRICES_VALID_FROM, load_catalogue
    from config.kit.tenancy import use_login

    if using == "owner":
        with use_login("owner"):
            load_catalogue(at=PRICES_VALID_FROM)


post_migrate.connect(_load_catalogue, sender=apps.get_app_config("commerce"))


def _serve(name: str, url: str, command: list[str]) -> Iterator[str]:
    """Run a peer until the fixture ends; `url` is where it will answer."""
    log = Path(os.environ["RUN_DIR"]) / f"{name}-{WORKER}.log"
    process = spawn(command, log=log)
    try:
        for _ in range(300):
            if process.poll() is not None:
                raise ChildFailed(name, f"ended with code {process.returncode}", log)
            try:
                httpx.get(url, timeout=5)
            except httpx.TransportError:
                time.sleep(0.1)
            else:
                break
        else:
            raise ChildFailed(name, "did not answer within half a minute", log)
        yield url
    finally:
        stop(process)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if is_long(item):
            item.add_marker("long")


@pytest.fixture(scope="session")
def django_db_keepdb(request: pytest.FixtureRequest) -> bool:
    """The embedded cluster comes with a migrated test database and goes away as a whole."""
    return bool(os.environ["OWN_POSTGRES"]) or request.config.getvalue("reuse_db")


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Give each worker of pytest-xdist its copy of the migrated test database."""
    if os.environ["OWN_POSTGRES"] and WORKER != "main":
        create_copy(f"{TEST_DATABASE}_{WORKER}", os.environ["DATABASE_OWNER_URL"])


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None,
    django_db_blocker: pytest_django.DjangoDbBlocker,
    django_db_keepdb: bool,
    django_db_modify_db_settings: None,
) -> Iterator[None]:
    """Prepare the databases of all three logins: the app's and the worker's mirror the owner's."""
    with django_db_blocker.unblock():
        prepared = setup_databases(verbosity=0, interactive=False, keepdb=django_db_keepdb)
    with _emptied_by_rows() if os.environ["OWN_POSTGRES"] else nullcontext():
        yield
    if not django_db_keepdb:
        with django_db_blocker.unblock():
            teardown_databases(prepared, verbosity=0)


@contextmanager
def _emptied_by_rows() -> Iterator[None]:
    """Let every test that commits be followed by `tests.emptying` instead of Django's truncating."""
    from django.db import connections
    from django.test import TransactionTestCase

    from tests.emptying import Emptier

    run = Path(os.environ["RUN_DIR"])
    owner = urlsplit(os.environ["DATABASE_OWNER_URL"])
    password = Kept(run / "kept.json").password(SUPERUSER)
    database = connections["owner"].settings_dict["NAME"]
    emptier = Emptier(f"postgresql://{SUPERUSER}:{password}@{owner.hostname}:{owner.port}/{database}")

    def empty(_case: TransactionTestCase) -> None:
        emptier.empty()

    def keep_connections(_case: TransactionTestCase) -> bool:
        """Instead of closing all of them: a new one knows no table yet."""
        for connection in connections.all(initialized_only=True):
            connection.close_if_unusable_or_obsolete()
        return False

    with (
        closing(emptier),
        mock.patch.object(TransactionTestCase, "_fixture_teardown", empty),
        mock.patch.object(TransactionTestCase, "_should_reload_connections", keep_connections),
    ):
        yield


@pytest.fixture(scope="session", autouse=True)
def _files_as_they_are() -> Iterator[None]:
    """Static files under their own names: nothing is collected or compressed for a test."""
    from django.conf import settings
    from django.test import override_settings

    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    with override_settings(STORAGES=settings.STORAGES | {"staticfiles": plain}):
        yield


@pytest.fixture
def at() -> datetime:
    """The instant at which the rows of `tests.factories` were made."""
    from tests.factories import AT

    return AT


@pytest.fixture(scope="session")
def processor() -> Iterator[str]:
    """The base address of a running card processor, the one the settings name."""
    from django.conf import settings

    state = Path(os.environ["RUN_DIR"]) / f"processor-{WORKER}"
    yield from _serve("processor", settings.STRIPE_API_BASE, processor_command(os.environ, state))


@pytest.fixture
def empty_processor(processor: str) -> str:
    """A card processor that knows nothing yet, orders no faults and sends no webhooks."""
    from tests.processor import reset

    reset()
    return processor


@pytest.fixture(scope="session")
def identity_provider() -> Iterator[dict[str, str]]:
    """The issuer of each demo tenant by its key, all of them running."""
    addresses = issuers()
    for _ in _serve(
        "identity",
        f"{addresses['contoso']}/jwks",
        [
            *(sys.executable, "-m", "config.demo.identity"),
            *("--state-dir", str(Path(os.environ["RUN_DIR"]) / f"identity-{WORKER}")),
            *("--public-url", os.environ["PUBLIC_URL"]),
        ],
    ):
        yield addresses


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Debian's Chromium, without anything that talks to the outside or needs a graphics card."""
    return browser_type_launch_args | {
        "executable_path": chromium.executable(),
        "args": [
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            # What a browser with windows says of itself.
            "--accept-lang=en-US,en",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
        ],
    }
