"""Run every sweep now, until nothing is due: `manage.py sweep`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from commerce.operations.renewals import run_sweeps
from config.kit import clock
from config.kit.tenancy import connection, use_login


class Command(BaseCommand):
    help = "Settles, renews, expires and charges what is due now, as the beat does, and says how much."

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
