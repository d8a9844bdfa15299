"""Make a personal token for somebody: `manage.py create_token --user gina@contoso.example --scope policies.read`.

`--scope scim` makes the organization's token for provisioning in the name of one of its global admins.
"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.kit.clock import now, real_now
from config.kit.errors import DomainError, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.actors import build_actor
from directory.management.lookup import person_at
from directory.operations.tokens import issue_for_person, issue_service_token
from directory.tokens import SCIM, SCOPES


class Command(BaseCommand):
    help = (
        "Make a personal token and print it alone on one line; it is shown this once and never again. With "
        "--scope scim the organization's token for provisioning, in the name of a global admin."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", required=True, metavar="MAIL", help="of an active account")
        parser.add_argument(
            "--scope",
            required=True,
            action="append",
            metavar="SCOPE",
            help=f"again for several; full is all that the person's roles allow. One of {', '.join(SCOPES)}",
        )
        parser.add_argument("--name", default="Command line", help="what it is for")
        parser.add_argument(
            "--days", type=int, default=90, help="until it expires, at most 366 (default: 90)"
        )

    def handle(self, *args: Any, user: str, scope: list[str], name: str, days: int, **options: Any) -> None:
        person = person_at(user)
        at = now()
        with tenant_atomic(person.tenant_id):
            actor = build_actor(person, acting_tenant_id=person.tenant_id, at=at, door="cli")
        if actor is None:
            raise CommandError(f"{user} may not sign in.")
        scopes = [each for part in scope for each in part.replace(",", " ").split()]
        issue = issue_service_token if scopes == [SCIM] else issue_for_person
        try:
            issued = issue(actor=actor, name=name, scopes=scopes, days=days, at=at, real_at=real_now())
        except (NotAllowed, NotVisible) as refused:
            raise CommandError(f"{user} is no global admin and makes no token for provisioning.") from refused
        except DomainError as refused:
            raise CommandError(str(refused)) from refused
        self.stdout.write(issued.secret)
