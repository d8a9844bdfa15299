"""Whether billing goes on: `manage.py billing status`, `pause`, `resume`, and what staff must look at (F-26)."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from commerce.models import UnmatchedCharge
from commerce.operations import billing_control, forgotten_charges
from config.kit import clock
from config.kit.money import format_money
from config.kit.tenancy import atomic, connection, use_login


class Command(BaseCommand):
    help = "Says whether billing goes on, pauses and resumes it, and lists charges that belong to nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("status", help="say how it stands")
        pause = actions.add_parser("pause", help="stop renewals, charges and refunds")
        pause.add_argument("reason", help="for whoever asks why")
        resume = actions.add_parser("resume", help="go on, once reconcile_processor has brought charges in")
        resume.add_argument(
            "--unreconciled",
            action="store_true",
            help="although nobody has: after the promotion of a replica that had everything",
        )
        resolve = actions.add_parser("resolve", help="write down what was done about an unmatched charge")
        resolve.add_argument("intent", help="pi_...")
        resolve.add_argument("resolution", help="what was done")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        with use_login("worker"):
            at = clock.database_now(connection())
        if action == "pause":
            billing_control.pause(reason=options["reason"], at=at)
        elif action == "resume":
            try:
                billing_control.resume(at=at, unreconciled=options["unreconciled"])
            except billing_control.NotReconciled as refused:
                raise CommandError(
                    f"{refused} Run `manage.py reconcile_processor`, then again with --apply."
                ) from refused
        elif action == "resolve":
            resolved = forgotten_charges.resolve_unmatched(
                intent_id=options["intent"], resolution=options["resolution"], at=at
            )
            if not resolved:
                raise CommandError("No such charge waits.")
        self._say(billing_control.look(at=at))

    def _say(self, billing: billing_control.Billing) -> None:
        if billing.paused_at is None:
            self.stdout.write("Billing goes on.")
        else:
            self.stdout.write(
                f"Billing is paused since {billing.paused_at:%Y-%m-%d %H:%M %Z}. {billing.reason}"
            )
            self.stdout.write(f"Known to be complete until {billing.since:%Y-%m-%d %H:%M %Z}.")
            done = billing.reconciled_at
            self.stdout.write(
                f"Reconciled with the processor at {done:%Y-%m-%d %H:%M %Z}."
                if done
                else "Not reconciled yet."
            )
        with use_login("worker"), atomic():
            waiting = list(UnmatchedCharge.objects.filter(resolved_at__isnull=True).order_by("pk"))
        for charge in waiting:
            self.stdout.write(
                f"Unmatched: {charge.intent_id}, {format_money(charge.amount_minor, charge.currency, 'en')}, "
                f"tenant {charge.tenant_number or '?'}, {charge.cause or 'no cause'}"
            )
