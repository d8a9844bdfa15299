"""`make drill`: back up an installation with demo data, restore it on a new server, and compare the two.

The dump is the one the deployment guide names: by the owner's login under row-level security, so that a policy
which hides rows from the owner shows here, as missing rows.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from config.demo import throwaway
from config.demo.environment import DATABASE_VARIABLES, processor_command
from config.demo.processes import ChildFailed, spawn, stop
from config.demo.servers import client_program, port_is_free


class DrillFailed(Exception):
    """The restored installation is not what was backed up."""


def main() -> int:
    begun = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begun:6.1f} s  {text}", flush=True)

    try:
        with throwaway.servers(os.environ | {"DEMO": "true"}) as first:
            say("An installation with demo data")
            _manage(first, "migrate", "--database", "owner", "--verbosity", "0")
            _load_demo(first)
            backup = Path(first["RUN_DIR"]) / "backup"
            say("Backup by the owner's login")
            _run(
                [
                    *(
                        client_program("pg_dump"),
                        "--format=custom",
                        "--no-privileges",
                        "--enable-row-security",
                    ),
                    *(f"--file={backup}", first["DATABASE_OWNER_URL"]),
                ]
            )
            before = _rows(first)
            with throwaway.servers(_without_databases(first)) as second:
                say("Restore on a new server")
                _run(
                    [
                        *(
                            client_program("pg_restore"),
                            "--exit-on-error",
                            "--no-privileges",
                            "--no-comments",
                        ),
                        f"--use-list={_without_extensions(backup)}",
                        *(f"--dbname={second['DATABASE_OWNER_URL']}", str(backup)),
                    ]
                )
                restored = first | {name: second[name] for name in DATABASE_VARIABLES}
                say("Rights, walls and invariants of the restored one")
                _manage(restored, "migrate", "--database", "owner", "--verbosity", "0")
                _manage(restored, "check", "--database", "default", "--fail-level", "WARNING")
                _manage(restored, "check_invariants")
                _compare(before, _rows(restored))
            say(f"The same {sum(before.values())} rows in {len(before)} tables")
    except (DrillFailed, ChildFailed) as failure:
        print(f"The drill failed: {failure}", file=sys.stderr)
        return 1
    return 0


def _rows(settings: Mapping[str, str]) -> dict[str, int]:
    """How many rows each table has, as the owner sees them."""
    with psycopg.connect(settings["DATABASE_OWNER_URL"]) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        counts = {}
        for (table,) in tables.fetchall():
            query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
            counts[table] = int(connection.execute(query).fetchone()[0])  # type: ignore[index]
        return counts


def _compare(before: Mapping[str, int], after: Mapping[str, int]) -> None:
    """:raises DrillFailed: a table has another number of rows, or is missing, or empty everywhere."""
    different = [
        f"{table}: {before.get(table)} before, {after.get(table)} after"
        for table in sorted(before.keys() | after.keys())
        if before.get(table) != after.get(table)
    ]
    if different:
        raise DrillFailed("; ".join(different))
    if not before.get("directory_tenant"):
        raise DrillFailed("the owner saw no tenant, so nothing was compared")


def _without_extensions(backup: Path) -> Path:
    """A table of contents without the extensions: the new server has them, and they are its superuser's."""
    contents = _run([client_program("pg_restore"), "--list", str(backup)])
    kept = [line for line in contents.splitlines() if " EXTENSION " not in line]
    path = backup.with_suffix(".list")
    path.write_text("\n".join(kept))
    return path


def _load_demo(settings: Mapping[str, str]) -> None:
    """Make the demo's data; its purchases by card need the processor."""
    folder = Path(settings["RUN_DIR"])
    processor = spawn(processor_command(settings, folder / "processor"), log=folder / "processor.log")
    try:
        port = urlsplit(settings["STRIPE_API_BASE"]).port or 0
        while port_is_free(port):
            if processor.poll() is not None:
                raise ChildFailed(
                    "processor", f"ended with code {processor.returncode}", folder / "processor.log"
                )
            time.sleep(0.1)
        _manage(settings, "load_demo")
    finally:
        stop(processor)


def _without_databases(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in settings.items() if name not in DATABASE_VARIABLES}


def _manage(settings: Mapping[str, str], *arguments: str) -> None:
    environment = os.environ | settings | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    _run([sys.executable, "manage.py", *arguments], environment)


def _run(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DrillFailed(
            f"{Path(command[0]).name} {command[1]}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
