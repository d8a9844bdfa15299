"""What the management commands of people have in common."""

from django.core.management.base import CommandError

from directory.models import User
from directory.queries import door_of_address, people_at


def person_at(address: str) -> User:
    """The active account of an address, at the organization that its domain belongs to.

    :raises CommandError: there is none, or not one alone.
    """
    door = door_of_address(address)
    people = people_at(address, tenant_id=door.tenant_id if door else None)
    if not people:
        raise CommandError(f"There is no active account with the address {address}.")
    if len(people) > 1:
        raise CommandError(f"There are {len(people)} active accounts with the address {address}.")
    return people[0]
