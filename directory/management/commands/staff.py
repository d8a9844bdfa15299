"""Who works at the vendor's site (docs/adr/0033): `manage.py staff sven@seatkeeper.example --role support`.

`--role` again for several; `--none` takes all; `--forget-factors` for who lost their app and their passkeys: they set up
new ones at the next sign-in. Make sure first that it is they who ask.
"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.kit.actors import Actor
from config.kit.clock import now, real_now
from config.kit.errors import DomainError
from config.kit.tenancy import tenant_atomic
from directory.management.lookup import person_at
from directory.models import StaffAssignment, User
from directory.operations.second_factor import forget_factors
from directory.operations.staff import set_staff_roles
from directory.staff import STAFF_ROLES

SHORT = {role.removeprefix("staff_"): role for role in STAFF_ROLES}


class Command(BaseCommand):
    help = (
        "Says what somebody of the vendor works at in the vendor's site, or makes it these roles. They sign in as everybody "
        "does, and set up a second factor before they see anything."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("mail", help="of an active member of the vendor's own organization")
        change = parser.add_mutually_exclusive_group()
        change.add_argument(
            "--role", action="append", choices=sorted(SHORT), help="again for several; the others are taken"
        )
        change.add_argument("--none", action="store_true", help="take every role")
        change.add_argument(
            "--forget-factors", action="store_true", help="remove all second factors and end all sessions"
        )

    def handle(self, *args: Any, mail: str, role: list[str] | None, **options: Any) -> None:
        person = person_at(mail)
        actor = Actor.system(person.tenant_id, door="cli")
        try:
            if options["forget_factors"]:
                count = forget_factors(actor=actor, user_id=person.pk, at=now(), real_at=real_now())
                self.stdout.write(f"{mail}: {count} second factors forgotten, every session ended.")
                return
            if role or options["none"]:
                roles = [SHORT[each] for each in role or ()]
                set_staff_roles(actor=actor, user_id=person.pk, roles=roles, at=now())
        except DomainError as refused:
            raise CommandError(str(refused)) from refused
        self.stdout.write(f"{mail}: {_shown(person)}")


def _shown(person: User) -> str:
    with tenant_atomic(person.tenant_id):
        held = set(StaffAssignment.objects.filter(user=person).values_list("role", flat=True))
    return ", ".join(short for short, role in SHORT.items() if role in held) or "none"
