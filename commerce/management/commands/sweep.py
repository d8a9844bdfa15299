"""Run every sweep that beat rings now, until nothing is due: `manage.py sweep`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from commerce.operations.renewals import run_sweeps
from config.kit import clock
from config.kit.tenancy import connection, use_login


class Command(BaseCommand):
    help = "Does everything that is due now, as the workers do when the beat rings, and says what of it was billing."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with use_login("worker"):
                at = clock.database_now(connection())
        except clock.ClockAstray as astray:
            raise CommandError(str(astray)) from astray
        swept = run_sweeps(at=at)
        self.stdout.write(
            f"{swept.renewed.moved} renewed, {swept.expired.moved} moved on, "
            f"{swept.renewed.parked + swept.expired.parked} parked, {swept.charged.paid} paid, "
            f"{swept.charged.declined} declined, {swept.charged.withheld} withheld, "
            f"{swept.charged.pending} without an answer."
        )
