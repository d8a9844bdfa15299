"""The vendor's staff and partners' solutions: `manage.py solution list|approve|decline [KEY]` (product §12)."""

import getpass
import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from commerce.operations.solutions import decide_solution
from commerce.queries.solutions import waiting_solutions
from config.kit import clock
from config.kit.errors import DomainError
from config.kit.tenancy import connection, use_login


class Command(BaseCommand):
    help = "Lists what partners want to show beside products, approves one, or declines it with a reason."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("deed", choices=["list", "approve", "decline"])
        parser.add_argument("key", nargs="?", type=uuid.UUID, help="of the solution")
        parser.add_argument("--answer", default="", help="what the partner reads; needed to decline")
        parser.add_argument("--staff", default="", help="who decides; default: the user of this machine")

    def handle(
        self, *args: Any, deed: str, key: uuid.UUID | None, answer: str, staff: str, **options: Any
    ) -> None:
        if deed == "list":
            self._list()
            return
        if key is None:
            raise CommandError("Name the solution by its key, as the list shows it.")
        with use_login("worker"):
            at = clock.database_now(connection())
        try:
            decided = decide_solution(
                key=key,
                is_approved=deed == "approve",
                staff=staff or getpass.getuser(),
                answer=answer,
                at=at,
            )
        except DomainError as refused:
            raise CommandError(str(refused)) from refused
        self.stdout.write(f"{decided.key}: {decided.get_state_display()}.")

    def _list(self) -> None:
        waiting = waiting_solutions()
        for each in waiting:
            self.stdout.write(
                f"{each.key}  {each.partner_name}, {each.product.name}: {each.title}. {each.description} {each.url}"
            )
        if not waiting:
            self.stdout.write("No solution waits.")
