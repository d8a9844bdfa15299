"""Compare the processor's charges with the books: `manage.py reconcile_processor [--since ...] [--apply]` (F-26)."""

from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from commerce.gateways import Retryable
from commerce.operations import billing_control, forgotten_charges
from config.kit import clock
from config.kit.money import format_money
from config.kit.tenancy import connection, use_login

# An intent is created before it is charged, and the cardholder may take an hour to confirm.
MARGIN = timedelta(hours=2)


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError("without a zone")
    return instant


class Command(BaseCommand):
    help = (
        "Lists the processor's charges that this database does not know; exits 1 when there are any. "
        "With --apply, and while billing is paused, brings them in."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--since",
            type=_instant,
            help="2026-11-26T03:00+00:00; by default two hours before the sweeps last ran in this database",
        )
        parser.add_argument("--apply", action="store_true", help="book them")

    def handle(self, *args: Any, since: datetime | None, apply: bool, **options: Any) -> None:
        with use_login("worker"):
            at = clock.database_now(connection())
        billing = billing_control.look(at=at)
        since = since or (billing.since or at) - MARGIN
        try:
            if apply:
                missing = forgotten_charges.bring_in(since=since, at=at)
            else:
                missing = forgotten_charges.missing_charges(since=since, at=at)
        except forgotten_charges.BillingGoesOn as refused:
            raise CommandError("Billing is not paused: `manage.py billing pause REASON` first.") from refused
        except Retryable as away:
            raise CommandError("The card processor gives no answer. Run this again.") from away
        for one in missing:
            amount = format_money(one.intent.amount_minor, one.intent.currency, "en")
            self.stdout.write(
                f"{one.intent.id}  {amount}  tenant {one.tenant or '?'}  {one.cause}: {one.verdict}"
            )
        self.stdout.write(f"{len(missing)} charges since {since:%Y-%m-%d %H:%M %Z} were not booked here.")
        if apply:
            self.stdout.write("They are now, or wait for staff: see `manage.py billing status`, then resume.")
        elif missing:
            raise CommandError("Nothing was changed. Book them with --apply.", returncode=1)
