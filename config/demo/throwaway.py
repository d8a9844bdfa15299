"""Servers for one run of the tests, a check or a benchmark: own folder, own ports, gone afterwards."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from config.demo import migrated
from config.demo.environment import (
    DATABASE_VARIABLES,
    Kept,
    database_passwords,
    key_settings,
    processor_command,
    refuse_live_keys,
)
from config.demo.processes import ChildFailed, spawn, stop
from config.demo.servers import Postgres, Valkey, port_is_free

_PREFIX = "seatkeeper-run-"


@contextmanager
def servers(
    environment: Mapping[str, str], *, durable: bool = False, test_database: bool = False
) -> Iterator[dict[str, str]]:
    """Start PostgreSQL and Valkey and yield the settings of an installation that uses them.

    A server that `environment` already gives (all three database addresses, or `REDIS_URL`) is used instead
    of an own one. The ports of card processor and identity provider are chosen; nothing is started on them.
    `RUN_DIR` in the result is a folder that goes with the servers. With `test_database` an own PostgreSQL has
    the database `TEST_DATABASE`, migrated; it is copied from a cache as long as migrations stay the same.

    :raises LiveKey: `environment` holds a live key of the card processor.
    """
    refuse_live_keys(environment)
    _remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    with _locked(folder):
        kept = Kept(folder / "kept.json")
        postgres = _postgres(folder, kept, durable=durable)
        valkey = Valkey(
            folder / "valkey", port=kept.port("valkey"), password=kept.password("valkey"), durable=False
        )
        settings = {
            "DEBUG": "false",
            "DEMO": environment.get("DEMO", "false"),
            "SEATKEEPER_ENV_FILE": os.devnull,
            "PUBLIC_URL": "http://127.0.0.1:8000",
            "CLOCK_FILE": str(folder / "clock.json"),
            "STATIC_ROOT": str(folder / "static"),
            "EMAIL_URL": f"filemail:///{folder / 'mail'}",
            "RUN_DIR": str(folder),
            **key_settings(kept),
        }
        try:
            if all(environment.get(variable) for variable in DATABASE_VARIABLES):
                settings |= {variable: environment[variable] for variable in DATABASE_VARIABLES}
            else:
                if test_database:
                    migrated.prepare(postgres, kept, settings)
                postgres.start()
                settings |= {variable: postgres.url(login) for variable, login in DATABASE_VARIABLES.items()}
            if environment.get("REDIS_URL"):
                settings["REDIS_URL"] = environment["REDIS_URL"]
            else:
                valkey.start()
                settings["REDIS_URL"] = valkey.url()
            yield settings
        finally:
            valkey.stop()
            postgres.stop()
            postgres.remove()
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def processor(settings: Mapping[str, str]) -> Iterator[None]:
    """The card processor that `settings`, as `servers` yields them, name; it forgets all when it ends.

    :raises ChildFailed: it did not start.
    """
    folder = Path(settings["RUN_DIR"])
    log = folder / "processor.log"
    process = spawn(processor_command(settings, folder / "processor"), log=log)
    try:
        while port_is_free(urlsplit(settings["STRIPE_API_BASE"]).port or 0):
            if process.poll() is not None:
                raise ChildFailed("processor", f"ended with code {process.returncode}", log)
            time.sleep(0.1)
        yield
    finally:
        stop(process)


def _postgres(folder: Path, kept: Kept, *, durable: bool) -> Postgres:
    return Postgres(
        folder / "postgresql",
        port=kept.port("postgresql"),
        passwords=database_passwords(kept),
        durable=durable,
        may_create_databases=True,
    )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock that tells other runs that this folder is in use; the kernel drops it with the process."""
    folder.chmod(0o711)  # PostgreSQL's account passes through it to its own folder
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove_leftovers() -> None:
    """Delete the folders of runs that were killed before they could."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError), (folder / "lock").open() as lock:
            if time.time() - folder.stat().st_mtime < 60:
                continue  # it may be about to take its lock
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _postgres(folder, Kept(folder / "kept.json"), durable=False).remove()
            shutil.rmtree(folder, ignore_errors=True)
