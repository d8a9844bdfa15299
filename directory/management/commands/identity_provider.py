"""The vendor's part of a change of an organization's identity provider (docs/adr/0035).

`manage.py identity_provider waiting`, `... confirm contoso.example --by "Sven, called back on the number of the contract"`,
`... stop contoso.example --by ...`, `... back contoso.example --by ...` where nobody can sign in any more.
"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.errors import DomainError, NotVisible
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import IdentityProvider, Tenant
from directory.operations.provider_changes import confirm_change, go_back, planned_change, stop_change
from directory.queries import door_of_address


class Command(BaseCommand):
    help = (
        "Lists the changes of identity providers that wait, confirms one for an organization with one global admin, stops "
        "one, or puts the provider before in force again at once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("what", choices=["waiting", "confirm", "stop", "back"])
        parser.add_argument(
            "domain", nargs="?", default="", help="a proved e-mail domain of the organization"
        )
        parser.add_argument(
            "--by", default="", help="who did it and how they made sure; kept in the audit trail"
        )

    def handle(self, *args: Any, what: str, domain: str, by: str, **options: Any) -> None:
        if what == "waiting":
            self._list()
            return
        door = door_of_address(f"somebody@{domain}")
        if door is None:
            raise CommandError("No organization signs in with this domain.")
        if not by.strip():
            raise CommandError(
                "Say with --by who did it and how they made sure that the organization wants it."
            )
        actor = Actor.system(door.tenant_id, label=by.strip()[:200], door="cli")
        try:
            self.stdout.write(_do(actor, what))
        except NotVisible as error:
            raise CommandError("There is nothing to do.") from error
        except DomainError as error:
            raise CommandError(str(error)) from error

    def _list(self) -> None:
        with use_login("worker"):
            waiting = IdentityProvider.objects.filter(switch_at__isnull=False).order_by("switch_at", "pk")
            rows = list(waiting)
            names = dict(
                Tenant.objects.filter(pk__in=[row.tenant_id for row in rows]).values_list("pk", "name")
            )
        for row in rows:
            second = f"confirmed by {row.confirmed_by}" if row.confirmed_by else "not confirmed"
            self.stdout.write(
                f"{names[row.tenant_id]}: to {row.issuer}, planned by {row.planned_by}, "
                f"not before {row.switch_at:%Y-%m-%d %H:%M} UTC, {second}"
            )
        self.stdout.write(f"{len(rows)} waiting.")


def _do(actor: Actor, what: str) -> str:
    if what == "back":
        return f"People sign in at {go_back(actor=actor, at=now()).issuer} again."
    with tenant_atomic(actor):
        change = planned_change(actor)
    act = confirm_change if what == "confirm" else stop_change
    act(actor=actor, key=change.key, at=now())
    return f"{'Confirmed' if what == 'confirm' else 'Stopped'}: the change to {change.issuer}."
