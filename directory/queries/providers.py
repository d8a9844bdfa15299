"""What admins ask before people are to sign in at another identity provider."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Count, Exists, OuterRef, Q

from directory.models import AccountLink, IdentityProvider, RoleAssignment, User

MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class Company:
    """Who comes along to another provider: members who have signed in, by how they are known there.

    `admins`: up to 20 active people with a role who did not prove yet who they are there.
    """

    people: int
    proved: int
    by_directory: int
    admins: Sequence[User]

    @property
    def left(self) -> int:
        """Whom nothing links: they come as somebody new, or not at all."""
        return self.people - self.proved - self.by_directory


def company_of(provider: IdentityProvider, active: IdentityProvider) -> Company:
    """Who would come along from the active provider to this one. Two queries."""
    proved = AccountLink.objects.filter(provider=provider, user=OuterRef("pk")).exclude(subject="")
    roles = RoleAssignment.objects.filter(user=OuterRef("pk"))
    members = User.objects.active().members().filter(tenant_id=provider.tenant_id, issuer=active.issuer)
    members = members.exclude(subject="").annotate(is_proved=Exists(proved), is_admin=Exists(roles))
    known = Q(is_proved=False, is_admin=False) & ~Q(external_id="")
    counted = members.aggregate(
        people=Count("pk"), proved=Count("pk", filter=Q(is_proved=True)), known=Count("pk", filter=known)
    )
    admins = members.filter(is_admin=True, is_proved=False).order_by("sort_name", "pk")[:MOST_NAMED]
    return Company(counted["people"], counted["proved"], counted["known"], list(admins))
