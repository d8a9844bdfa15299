"""The vendor's staff and support cases: `manage.py support_case list`, `... cancel KEY`, `... decline KEY --answer "why"`."""

import getpass
import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from commerce.operations import cases
from config.kit import clock
from config.kit.errors import DomainError
from config.kit.tenancy import connection, use_login


class Command(BaseCommand):
    help = "Lists what organizations ask support to cancel for purchasers who left, cancels it, or declines with a reason."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("deed", choices=["list", "cancel", "decline"])
        parser.add_argument("key", nargs="?", type=uuid.UUID, help="of the case")
        parser.add_argument("--answer", default="", help="what the mail says; needed to decline")
        parser.add_argument("--staff", default="", help="who answers; default: the user of this machine")

    def handle(
        self, *args: Any, deed: str, key: uuid.UUID | None, answer: str, staff: str, **options: Any
    ) -> None:
        if deed == "list":
            self._list()
            return
        if key is None:
            raise CommandError("Name the case by its key, as the list shows it.")
        with use_login("worker"):
            at = clock.database_now(connection())
        answered = cases.carry_out if deed == "cancel" else cases.decline
        try:
            case = answered(key=key, staff=staff or getpass.getuser(), answer=answer, at=at)
        except DomainError as refused:
            raise CommandError(str(refused)) from refused
        self.stdout.write(f"{case.key}: {case.get_state_display()}. They are told by mail.")

    def _list(self) -> None:
        waiting = cases.waiting_cases()
        for each in waiting:
            self.stdout.write(
                f"{each.case.key}  {each.case.asked_at:%Y-%m-%d}  {each.organization}: {each.product},"
                f" {each.assigned} of {each.quantity} assigned. {each.case.asked_by}: {each.case.message}"
            )
        if not waiting:
            self.stdout.write("No case waits.")
