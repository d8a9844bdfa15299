"""A cluster with a migrated test database, kept from run to run: migrating takes longer than most tests.

The cache lies in the user's cache folder, one entry per state of the migrations. Its passwords are kept with
it, readable by its owner only.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from config.demo.environment import DATABASE_VARIABLES, Kept, database_passwords, write_private
from config.demo.servers import LOGINS, SUPERUSER, Postgres

TEST_DATABASE = "test_seatkeeper"

_CHECKOUT = Path(__file__).resolve().parents[2]
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "seatkeeper"
# What decides how the migrated database looks. Rights are granted anew by each run's own `migrate`.
_SOURCES = (
    "*/migrations/*.py",
    "config/kit/**/*.py",
    "config/demo/servers.py",
    "config/demo/migrated.py",
    "uv.lock",
)
_KEPT_ENTRIES = 8


def prepare(postgres: Postgres, kept: Kept, settings: Mapping[str, str]) -> None:
    """Fill `postgres`, which is not running, from the cache, and the cache where it has no such entry.

    :raises subprocess.CalledProcessError: migrating failed.
    """
    _CACHE.mkdir(parents=True, exist_ok=True, mode=0o700)
    entry = _CACHE / _fingerprint()
    with _lock_of(entry).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (entry / "cluster").exists():
            _remove_old_entries()
            _build(entry, postgres, kept, settings)
            return
        entry.touch()
        for login, password in json.loads((entry / "passwords").read_text()).items():
            kept.put(f"password-{login}", password)
        postgres.use_passwords(database_passwords(kept))
        postgres.restore(entry / "cluster")


def create_copy(name: str, owner_url: str) -> None:
    """Create the database `name` as a copy of `TEST_DATABASE`, to which nobody may be connected."""
    with psycopg.connect(owner_url, dbname="postgres", autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                sql.Identifier(name), sql.Identifier(TEST_DATABASE)
            )
        )


def addresses_of_copy(name: str, settings: Mapping[str, str]) -> dict[str, str]:
    """Create the database `name` beside `TEST_DATABASE` of the servers in `settings`; its addresses for each login."""
    create_copy(name, settings["DATABASE_OWNER_URL"])
    return {
        variable: urlsplit(settings[variable])._replace(path=f"/{name}").geturl()
        for variable in DATABASE_VARIABLES
    }


def _build(entry: Path, postgres: Postgres, kept: Kept, settings: Mapping[str, str]) -> None:
    print("Migrating the test database, once for these migrations", file=sys.stderr, flush=True)
    postgres.start()
    try:
        owner = postgres.url(LOGINS[0], "postgres")
        with psycopg.connect(owner, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEST_DATABASE)))
        addresses = {name: postgres.url(login, TEST_DATABASE) for name, login in DATABASE_VARIABLES.items()}
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--database", "owner", "--verbosity", "0"],
            cwd=_CHECKOUT,
            env=os.environ | settings | addresses | {"REDIS_URL": "redis://127.0.0.1:9/0"},
            check=True,
        )
    finally:
        postgres.shut_down()
    shutil.rmtree(entry, ignore_errors=True)
    entry.mkdir(mode=0o700)
    passwords = {login: kept.password(login) for login in (SUPERUSER, *LOGINS)}
    write_private(entry / "passwords", json.dumps(passwords))
    postgres.save(entry / "partial")
    (entry / "partial").rename(entry / "cluster")


def _fingerprint() -> str:
    digest = hashlib.sha256(sys.version.encode())
    for pattern in _SOURCES:
        for path in sorted(_CHECKOUT.glob(pattern)):
            if ".venv" not in path.parts:
                digest.update(str(path.relative_to(_CHECKOUT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:24]


def _lock_of(entry: Path) -> Path:
    """An entry is filled, copied and removed under its own lock: other checkouts do not wait for its migrations."""
    return entry.with_suffix(".lock")


def _remove_old_entries() -> None:
    entries = [path for path in _CACHE.iterdir() if path.is_dir()]
    for old in sorted(entries, key=lambda path: path.stat().st_mtime)[: -_KEPT_ENTRIES + 1]:
        with suppress(OSError), _lock_of(old).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(old, ignore_errors=True)
