"""`python -m tests.simulation --help`; the servers start by themselves."""

import os
import signal
import sys
from typing import Never
from urllib.parse import urlsplit

import django
from django.core.management import call_command

from config.demo import throwaway
from config.demo.environment import DATABASE_VARIABLES
from config.demo.migrated import TEST_DATABASE


def main() -> int:
    signal.signal(signal.SIGTERM, _end)
    with throwaway.servers(os.environ, test_database=True) as settings:
        addresses = {
            name: urlsplit(settings[name])._replace(path=f"/{TEST_DATABASE}").geturl()
            for name in DATABASE_VARIABLES
        }
        os.environ.update(
            settings | addresses, DJANGO_SETTINGS_MODULE="config.settings", LOG_LEVEL="CRITICAL"
        )
        django.setup()
        call_command("migrate", database="owner", verbosity=0)
        from tests.simulation.command import options_of, simulate

        return simulate(options_of())


def _end(number: int, frame: object) -> Never:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
