"""`make drill`: back up an installation with demo data, restore it on a new server, and compare the two.

The dump is the one the deployment guide names: by the owner's login under row-level security, so that a policy
which hides rows from the owner shows here, as missing rows. Then the first one charges for a month more and is
lost, and the restored one must find those charges at the card processor before it bills anybody (F-26).
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import psycopg
from psycopg import sql

from config.demo import throwaway
from config.demo.environment import DATABASE_VARIABLES
from config.demo.processes import ChildFailed
from config.demo.servers import client_program

# Long enough for every monthly purchase of the demo to renew.
DAYS_LOST = 31


class DrillFailed(Exception):
    """The restored installation is not what was backed up."""


def main() -> int:
    begun = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begun:6.1f} s  {text}", flush=True)

    try:
        with throwaway.servers(os.environ | {"DEMO": "true"}) as first, throwaway.processor(first):
            # The processor is nobody's to restore: it keeps what it has charged.
            say("An installation with demo data")
            _manage(first, "migrate", "--database", "owner", "--verbosity", "0")
            _manage(first, "load_demo")
            _manage(first, "sweep")
            say("Backup by the owner's login")
            backup = _back_up(first)
            before = _rows(first)
            with throwaway.servers(_without_databases(first)) as second:
                say("Restore on a new server")
                _restore(backup, second)
                restored = first | {name: second[name] for name in DATABASE_VARIABLES}
                say("Rights, walls and invariants of the restored one")
                _manage(restored, "migrate", "--database", "owner", "--verbosity", "0")
                _manage(restored, "check", "--database", "default", "--fail-level", "WARNING")
                _manage(restored, "check_invariants")
                _compare(before, _rows(restored))
                say(f"The same {sum(before.values())} rows in {len(before)} tables")
                _go_on_without_double_charges(first, restored, say)
    except (DrillFailed, ChildFailed) as failure:
        print(f"The drill failed: {failure}", file=sys.stderr)
        return 1
    return 0


def _go_on_without_double_charges(
    first: Mapping[str, str], restored: Mapping[str, str], say: Callable[[str], None]
) -> None:
    """F-26: the first installation charges for a month more and is lost; the restored one takes over.

    :raises DrillFailed: it charges before it has been told to, misses a charge that the processor has, or makes
        one again.
    """
    at_backup = len(_charges(restored))
    say(f"Lost after {DAYS_LOST} more days, whose charges the processor keeps")
    _manage(first, "travel", "--days", str(DAYS_LOST))
    made = _charges(restored)
    lost = len(made) - at_backup
    if not lost:
        raise DrillFailed("nothing was charged after the backup, so nothing can be charged twice")
    _expect(_manage(restored, "billing", "status"), "Billing is paused")
    _manage(restored, "sweep")
    _expect_charges(restored, made, "while billing was paused")
    say("Paused by itself; the dry run")
    shown = _manage(restored, "reconcile_processor", fails=True)
    _expect(shown, f"\n{lost} charges since")
    _manage(restored, "reconcile_processor", "--apply")
    said = _manage(restored, "billing", "resume")
    _expect(said, "Billing goes on.")
    if "Unmatched" in said:
        raise DrillFailed(f"not every charge found its bill: {said}")
    for _ in range(2):
        _manage(restored, "sweep")
    _expect_charges(restored, made, "after it was resumed")
    _manage(restored, "check_invariants")
    say(f"{lost} charges of the lost days brought in, none made again")


def _charges(settings: Mapping[str, str]) -> list[tuple[str, ...]]:
    """What the processor has charged, each by what its metadata says it was for, in order."""
    answer = httpx.get(
        f"{settings['STRIPE_API_BASE']}/_control/objects",
        params={"kind": "charge", "limit": 1000},
        timeout=20,
    )
    answer.raise_for_status()
    named = ("tenant", "checkout", "type", "subscription", "period")
    return sorted(
        tuple(str(charge["metadata"].get(name, "")) for name in named)
        for charge in answer.json()["data"]
        if charge["status"] == "succeeded"
    )


def _expect_charges(settings: Mapping[str, str], made: list[tuple[str, ...]], when: str) -> None:
    now = _charges(settings)
    if now != made:
        raise DrillFailed(f"{when}, charges were made: {set(now) - set(made) or len(now) - len(made)}")


def _expect(said: str, wanted: str) -> None:
    if wanted not in said:
        raise DrillFailed(f"expected {wanted!r} in:\n{said}")


def _back_up(settings: Mapping[str, str]) -> Path:
    backup = Path(settings["RUN_DIR"]) / "backup"
    _run(
        [
            *(client_program("pg_dump"), "--format=custom", "--no-privileges", "--enable-row-security"),
            *(f"--file={backup}", settings["DATABASE_OWNER_URL"]),
        ]
    )
    return backup


def _restore(backup: Path, settings: Mapping[str, str]) -> None:
    _run(
        [
            *(client_program("pg_restore"), "--exit-on-error", "--no-privileges", "--no-comments"),
            f"--use-list={_without_extensions(backup)}",
            *(f"--dbname={settings['DATABASE_OWNER_URL']}", str(backup)),
        ]
    )


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


def _without_databases(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in settings.items() if name not in DATABASE_VARIABLES}


def _manage(settings: Mapping[str, str], *arguments: str, fails: bool = False) -> str:
    environment = os.environ | settings | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    return _run([sys.executable, "manage.py", *arguments], environment, fails=fails)


def _run(command: list[str], environment: Mapping[str, str] | None = None, *, fails: bool = False) -> str:
    """What a command says; `fails`: it is meant to end with 1."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != int(fails):
        raise DrillFailed(
            f"{Path(command[0]).name} {command[1]}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
