"""Move the demo's clock: `manage.py travel --days 30`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from commerce.operations.travel import Day, travel
from config.kit.errors import DomainError


class Command(BaseCommand):
    help = "Moves the demo's clock ahead in one-day steps, running every sweep at each; prints what happened."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=int, required=True, help="how many days to walk, 1 to 400")

    def handle(self, *args: Any, days: int, **options: Any) -> None:
        try:
            for day in travel(days=days):
                self._print(day)
        except DomainError as refused:
            raise CommandError(str(refused)) from refused

    def _print(self, day: Day) -> None:
        self.stdout.write(day.at.strftime("%Y-%m-%d"))
        for each in day.happenings:
            who = f" ({each.purchaser})" if each.purchaser else ""
            facts = ", ".join(f"{name} {value}" for name, value in each.facts.items())
            self.stdout.write(
                f"  {each.tenant}: {each.product}{who} {each.code}{': ' if facts else ''}{facts}"
            )
        charged = day.swept.charged
        if charged:
            self.stdout.write(f"  charges: {charged.paid} paid, {charged.declined} declined")
