"""Take one answer to a support case from standard input, as a mail server pipes it (docs/support.md)."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from commerce.incoming_mail import MOST_BYTES
from commerce.operations.case_mail import receive_reply
from config.kit import clock
from config.kit.tenancy import connection, use_login


class Command(BaseCommand):
    help = "Read a mail from standard input and take it into the support case that it was sent to."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--recipient", action="append", default=[], help="an address of the envelope")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ends well whatever the mail was, so that a mail server sends nothing back; a database that is away makes it fail."""
        raw = sys.stdin.buffer.read(MOST_BYTES + 1)
        with use_login("worker"):
            at = clock.database_now(connection())
        received = receive_reply(raw, at=at, recipients=options["recipient"])
        self.stdout.write(received.outcome.value)
