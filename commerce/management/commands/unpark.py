"""Let the next sweep try parked subscriptions again: `manage.py unpark 123`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from commerce.operations.renewals import unpark
from config.kit import clock
from config.kit.tenancy import connection, use_login


class Command(BaseCommand):
    help = "Lets the next sweep try subscriptions again that were parked, from where they stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ids", type=int, nargs="+", help="subscriptions, by id")

    def handle(self, *args: Any, ids: list[int], **options: Any) -> None:
        with use_login("worker"):
            at = clock.database_now(connection())
        unparked = unpark(subscription_ids=ids, at=at)
        if not unparked:
            raise CommandError("None of these is parked.")
        self.stdout.write(f"{unparked} will be tried again.")
