"""Book a transfer on an on-account bill: `manage.py book_payment SK-NL-2026-000941 --reference "Statement 12"`."""

import getpass
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from commerce.operations.on_account import book_received
from config.kit import clock
from config.kit.errors import DomainError
from config.kit.tenancy import connection, use_login


class Command(BaseCommand):
    help = "Books the whole of an on-account bill as received, with the bank statement's reference, in the audit trail."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("number", help="the bill's number")
        parser.add_argument("--reference", required=True, help="what the bank statement says")
        parser.add_argument("--staff", default="", help="who books it; default: the user of this machine")

    def handle(self, *args: Any, number: str, reference: str, staff: str, **options: Any) -> None:
        with use_login("worker"):
            at = clock.database_now(connection())
        try:
            payment = book_received(
                number=number, reference=reference, staff=staff or getpass.getuser(), at=at
            )
        except DomainError as refused:
            raise CommandError(str(refused)) from refused
        self.stdout.write(f"{number}: {payment.currency} {payment.amount_minor} (minor units) booked.")
