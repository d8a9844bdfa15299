"""Run one command with throw-away servers: `python -m config.demo.run_with_servers -- manage.py check`.

A command that ends in .py, or `-m module`, is run by this Python.
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Never

from config.demo import throwaway
from config.demo.environment import LiveKey
from config.demo.processes import ChildFailed, end_with_parent

NOWHERE = {
    "DATABASE_OWNER_URL": "postgresql://seatkeeper_owner@127.0.0.1:9/seatkeeper",
    "DATABASE_URL": "postgresql://seatkeeper_app@127.0.0.1:9/seatkeeper",
    "DATABASE_WORKER_URL": "postgresql://seatkeeper_worker@127.0.0.1:9/seatkeeper",
    "REDIS_URL": "redis://127.0.0.1:9/0",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m config.demo.run_with_servers", description=__doc__)
    parser.add_argument("--migrate", action="store_true", help="migrate the database first")
    parser.add_argument(
        "--durable", action="store_true", help="write to disk as production does (benchmarks)"
    )
    parser.add_argument(
        "--settings-only", action="store_true", help="start nothing: for commands that only read the settings"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the command, after --")
    options = parser.parse_args()
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("no command given")
    if command[0].endswith(".py") or command[0] == "-m":
        command = [sys.executable, *command]
    signal.signal(signal.SIGTERM, _end)
    try:
        given = os.environ | (NOWHERE if options.settings_only else {})
        with throwaway.servers(given, durable=options.durable) as settings:
            environment = os.environ | settings | {"DJANGO_SETTINGS_MODULE": "config.settings"}
            if options.migrate:
                migrate = [sys.executable, "manage.py", "migrate", "--database", "owner", "--verbosity", "0"]
                subprocess.run(migrate, env=environment, check=True)
            return run_to_its_end(command, environment)
    except (LiveKey, ChildFailed, subprocess.CalledProcessError) as failure:
        print(failure, file=sys.stderr)
        return 1


def run_to_its_end(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command on this terminal and return its exit code; it ends with this process."""
    process = subprocess.Popen(command, env=environment, preexec_fn=end_with_parent(signal.SIGTERM))
    try:
        return process.wait()
    finally:
        process.terminate()
        process.wait()


def _end(number: int, frame: object) -> Never:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
