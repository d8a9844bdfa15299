"""Settle a credit note whose refund failed: `manage.py refund SK-NL-2026-000123 [--paid "how"]`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from commerce.operations import payments
from config.kit import clock
from config.kit.tenancy import connection, use_login


class Command(BaseCommand):
    help = "Asks the card processor again for a refund that failed; or, with --paid, books that staff paid it back."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("number", help="of the credit note")
        parser.add_argument("--paid", metavar="HOW", help='for example "bank transfer of 26 November"')

    def handle(self, *args: Any, number: str, paid: str | None, **options: Any) -> None:
        with use_login("worker"):
            at = clock.database_now(connection())
        try:
            if paid:
                payments.book_by_hand(number=number, reference=paid, at=at)
                self.stdout.write(f"{number} is paid back.")
                return
            attempt = payments.ask_again(number=number, at=at)
        except payments.NothingOwed as refused:
            raise CommandError(str(refused)) from refused
        if attempt.state == attempt.State.FAILED:
            raise CommandError("It was not paid by card. Pay it back otherwise, and book it with --paid.")
        self.stdout.write(f"{number} is refunded by the next sweep.")
