"""Ask the database whether everything holds that must: `manage.py check_invariants`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.invariants import INVARIANTS, WrongLogin, violations
from config.kit import clock
from config.kit.tenancy import connection, use_login


class Command(BaseCommand):
    help = "Checks the invariants of reliability §3 in SQL; prints each row that breaks one and exits with 1."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--login", default="worker", help="database alias to ask under")
        parser.add_argument(
            "--only", nargs="+", default=[], metavar="I-nn", help="numbers to check, else all"
        )

    def handle(self, *args: Any, login: str, only: list[str], **options: Any) -> None:
        known = {invariant.number for invariant in INVARIANTS} | {"I-03", "I-21"}
        if unknown := set(only) - known:
            raise CommandError(
                f"No query for {', '.join(sorted(unknown))}. Known: {', '.join(sorted(known))}."
            )
        with use_login(login):
            if login == "default":
                raise CommandError(str(WrongLogin(login)), returncode=2)
            try:
                found = violations(at=clock.database_now(connection()), only=only)
            except WrongLogin as refused:
                raise CommandError(str(refused), returncode=2) from refused
        for violation in found:
            self.stdout.write(str(violation))
        if found:
            raise CommandError(f"{len(found)} rows break an invariant.", returncode=1)
        self.stdout.write(f"Every invariant holds ({len(only) or len(known)} numbers checked).")
