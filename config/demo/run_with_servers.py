"""Run one command with throw-away servers: `python -m config.demo.run_with_servers -- manage.py check`.

A command that ends in .py, or `-m module`, is run by this Python.
"""

import argparse
import os
import subprocess
import sys

from config.demo import throwaway
from config.demo.environment import LiveKey


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m config.demo.run_with_servers", description=__doc__)
    parser.add_argument("--migrate", action="store_true", help="migrate the database first")
    parser.add_argument(
        "--durable", action="store_true", help="write to disk as production does (benchmarks)"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the command, after --")
    options = parser.parse_args()
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("no command given")
    if command[0].endswith(".py") or command[0] == "-m":
        command = [sys.executable, *command]
    try:
        with throwaway.servers(os.environ, durable=options.durable) as settings:
            environment = os.environ | settings | {"DJANGO_SETTINGS_MODULE": "config.settings"}
            if options.migrate:
                migrate = [sys.executable, "manage.py", "migrate", "--database", "owner", "--verbosity", "0"]
                subprocess.run(migrate, env=environment, check=True)
            return subprocess.run(command, env=environment, check=False).returncode
    except (LiveKey, subprocess.CalledProcessError) as failure:
        print(failure, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
