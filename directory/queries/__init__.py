"""Questions about tenants and people, those that cross the wall among them (architecture §4)."""

import unicodedata
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db.models import Count, Q

from config.kit.actors import Actor
from config.kit.errors import Malformed, NotVisible
from config.kit.keyset import PAGE_SIZE, Page, paginate
from config.kit.secrets import decrypt
from config.kit.tenancy import connection, tenant_atomic, use_login
from directory.domains import fold_domain
from directory.models import Group, GroupMembership, IdentityProvider, RelationshipAssignment, User
from directory.models.partners import AssignmentQuerySet
from directory.models.people import fold, fold_user_name

# Which people a list shows; everybody but the deleted, unless it is they who are asked for.
PEOPLE: Mapping[str, Q] = {
    "all": ~Q(status=User.Status.DELETED),
    "active": Q(status=User.Status.ACTIVE),
    "disabled": Q(status=User.Status.DISABLED),
    "deleted": Q(status=User.Status.DELETED),
    "guests": Q(kind=User.Kind.GUEST) & ~Q(status=User.Status.DELETED),
    "synced": Q(source=User.Source.ON_PREMISES) & ~Q(status=User.Status.DELETED),
}
MOST_FOUND = 200


class SignInDoor(NamedTuple):
    """Where the people of an e-mail domain sign in."""

    tenant_id: int
    provider_key: str


@dataclass(frozen=True, slots=True)
class Provider:
    """One identity provider with its secret in clear; never stored, shown or logged.

    `callback_key`: of which one the address is to which it sends people back.
    """

    tenant_id: int
    key: str
    issuer: str
    client_id: str
    client_secret: str
    callback_key: str = ""

    def __repr__(self) -> str:
        return f"Provider({self.key})"


class Account(NamedTuple):
    """One account row of a person, in whichever tenant."""

    tenant_id: int
    user_id: int
    tenant_name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Customer:
    """A tenant that a partner's user may act for, now."""

    tenant_id: int
    relationship_key: uuid.UUID
    name: str
    roles: tuple[str, ...]
    ends_at: datetime


def door_of_address(address: str) -> SignInDoor | None:
    """Where to sign in with a work e-mail; None for all that leads nowhere, whatever the reason.

    The address decides nothing but the way: whether an account exists is not looked at (product §3.2).
    """
    local, _at, domain = address.strip().rpartition("@")
    if not local or len(address) > 254 or any(c in '"()<>,;:\\[]@' or c.isspace() for c in local):
        return None
    try:
        folded = fold_domain(domain)
    except Malformed:
        return None
    with connection().cursor() as cursor:
        cursor.execute("SELECT tenant_id, provider_key FROM tenant_of_domain(%s)", [folded])
        row = cursor.fetchone()
    return SignInDoor(*row) if row else None


def provider_of_key(key: str) -> Provider | None:
    """The active identity provider that a login or callback address names, None when there is none."""
    if "\0" in key or len(key) > 40:
        return None
    with connection().cursor() as cursor:
        cursor.execute("SELECT tenant_id, id FROM identity_provider_of_key(%s)", [key])
        found = cursor.fetchone()
    if found is None:
        return None
    with tenant_atomic(found[0]):
        row = IdentityProvider.objects.get(pk=found[1])
    return _opened(row, callback_key=row.key)


def provider_to_test(*, tenant_id: int, key: str) -> Provider | None:
    """A provider of a tenant that is not in force, None when there is none with a secret.

    A new secret of the client that is in force is tried out at the address which that client has already.
    """
    with tenant_atomic(tenant_id):
        own = IdentityProvider.objects.filter(tenant_id=tenant_id)
        row = own.filter(key=key, is_active=False).exclude(client_secret_encrypted="").first()
        if row is None:
            return None
        return _opened(row, callback_key=callback_key_of(row, own.filter(is_active=True).first()))


def callback_key_of(provider: IdentityProvider, active: IdentityProvider | None) -> str:
    """The key in the address to which a provider sends people back, in a test and once it is in force."""
    is_new_secret = (
        active is not None
        and provider.ended_at is None
        and (provider.issuer, provider.client_id) == (active.issuer, active.client_id)
    )
    return str(active.key if active and is_new_secret else provider.key)


def _opened(row: IdentityProvider, *, callback_key: str) -> Provider:
    return Provider(
        tenant_id=row.tenant_id,
        key=row.key,
        issuer=row.issuer,
        client_id=row.client_id,
        client_secret=decrypt(row.client_secret_encrypted),
        callback_key=callback_key,
    )


def accounts_of(issuer: str, subject: str) -> Sequence[Account]:
    """The active account rows of one person, by the tenant's name: those the account menu lists."""
    if not issuer or not subject:
        return []
    with connection().cursor() as cursor:
        cursor.execute(
            "SELECT tenant_id, user_id, tenant_name, kind FROM accounts_of_subject(%s, %s)", [issuer, subject]
        )
        return [Account(*row) for row in cursor.fetchall()]


def account_at(domain: str, *, issuer: str, subject: str) -> Account | None:
    """The account that a person has in the organization of an e-mail domain.

    None when there is none, and when the domain is nobody's: the two are told apart by nothing. Two queries.
    """
    door = door_of_address(f"somebody@{domain}")
    if door is None:
        return None
    return next((each for each in accounts_of(issuer, subject) if each.tenant_id == door.tenant_id), None)


def customers_of(*, home_tenant_id: int, user_id: int, at: datetime) -> Sequence[Customer]:
    """The customers that a partner's user may act for at `at`, by name; one query under the partner's wall.

    Roles of several relationships with one customer add up; `ends_at` is the earliest end.
    """
    with tenant_atomic(home_tenant_id):
        assignments = (
            AssignmentQuerySet(RelationshipAssignment)
            .held_by(user_id=user_id, partner_tenant_id=home_tenant_id)
            .running(at)
            .select_related("relationship")
            .order_by("relationship__customer_name", "tenant_id", "relationship__ends_at", "pk")
        )
        customers: dict[int, Customer] = {}
        for assignment in assignments:
            relationship = assignment.relationship
            roles = set(assignment.roles) & set(relationship.roles)
            known = customers.get(relationship.tenant_id)
            if known:
                roles |= set(known.roles)
            if roles:
                customers[relationship.tenant_id] = Customer(
                    tenant_id=relationship.tenant_id,
                    relationship_key=known.relationship_key if known else relationship.key,
                    name=relationship.customer_name,
                    roles=tuple(sorted(roles)),
                    ends_at=known.ends_at if known else relationship.ends_at,
                )
    return list(customers.values())


def people_at(address: str, *, tenant_id: int | None) -> Sequence[User]:
    """Active accounts with an address, case apart, of one tenant or of all; for the installation's operator.

    By the worker's login, which no wall stops: never called for a request.
    """
    with use_login("worker"):
        people = User.objects.active().filter(email__iexact=address)
        if tenant_id is not None:
            people = people.filter(tenant_id=tenant_id)
        return list(people.order_by("id")[:5])


def search_users(query: str, *, limit: int = 20) -> Sequence[User]:
    """People of the current tenant whose name or address holds every word of `query`, by name.

    Runs inside `tenant_atomic`; the function reads the tenant from there. Deleted accounts are left out. Two
    queries, index seeks by trigram.
    """
    text = fold(unicodedata.normalize("NFC", query.replace("\0", " ")))
    words = text.split()[:8]
    if not words:
        return []
    with connection().cursor() as cursor:
        cursor.execute("SELECT * FROM search_users(%s, %s)", [words, limit])
        ids = [row[0] for row in cursor.fetchall()]
    return list(User.objects.filter(pk__in=ids).order_by("sort_name", "pk"))


def people_page(actor: Actor, *, show: str, query: str, cursor: str) -> Page[User]:
    """The people of the acting tenant, by name, a page by key, with their roles. Two queries, three with a `query`.

    `show` is one of `PEOPLE`. A search shows up to 200 on one page, and finds nobody who was deleted.

    :raises Malformed: there is no such page.
    """
    rows = User.objects.visible_to(actor).filter(PEOPLE[show]).prefetch_related("role_assignments")
    if query:
        found = [user.pk for user in search_users(query, limit=MOST_FOUND)]
        return Page(list(rows.filter(pk__in=found).order_by("sort_name", "id")), "", "")
    return paginate(
        rows, order=("sort_name", "id"), cursor=cursor, key=lambda user: (user.sort_name, user.pk)
    )


def people_where(
    actor: Actor, which: Q, *, descending: bool = False, cursor: str = "", size: int = PAGE_SIZE
) -> Page[User]:
    """The people of the acting tenant who fit, without the deleted, by name, a page by key. One query.

    :raises Malformed: there is no such page.
    """
    order = ("-sort_name", "-id") if descending else ("sort_name", "id")
    rows = User.objects.visible_to(actor).filter(PEOPLE["all"] & which)
    return paginate(rows, order=order, cursor=cursor, key=lambda user: (user.sort_name, user.pk), size=size)


def groups_page(actor: Actor, *, cursor: str) -> Page[Group]:
    """The groups of the acting tenant, by name, a page by key, each with `people`, how many are in it. One query."""
    rows = Group.objects.visible_to(actor).annotate(people=Count("memberships"))
    return paginate(rows, order=("name", "id"), cursor=cursor, key=lambda group: (group.name, group.pk))


def group_for(actor: Actor, key: uuid.UUID) -> Group:
    """:raises NotVisible: no such group in the acting tenant."""
    group: Group | None = Group.objects.visible_to(actor).filter(key=key).first()
    if group is None:
        raise NotVisible
    return group


def members_page(group: Group, *, cursor: str) -> Page[GroupMembership]:
    """Who is in a group, the latest first, a page by key. One query."""
    rows = GroupMembership.objects.filter(tenant_id=group.tenant_id, group=group).select_related("user")
    return paginate(rows, order=("-id",), cursor=cursor, key=lambda row: (row.pk,))


def outsiders(group: Group, query: str) -> Sequence[User]:
    """Up to twenty active people whom `query` finds and who are not in the group. Three queries."""
    found = search_users(query)
    inside = set(
        GroupMembership.objects.filter(
            tenant_id=group.tenant_id, group=group, user__in=[user.pk for user in found]
        ).values_list("user_id", flat=True)
    )
    return [user for user in found if user.is_active and user.pk not in inside]


def person_for(actor: Actor, key: uuid.UUID) -> User:
    """:raises NotVisible: nobody of the acting tenant."""
    user: User | None = (
        User.objects.visible_to(actor).prefetch_related("role_assignments").filter(key=key).first()
    )
    if user is None:
        raise NotVisible
    return user


def person_named(actor: Actor, name: str) -> User:
    """By id, by the directory's user name, or by an e-mail address that one account alone has. One query.

    :raises NotVisible: nobody of the acting tenant, or several with that address.
    """
    rows = User.objects.visible_to(actor).filter(PEOPLE["all"])
    try:
        found = list(rows.filter(key=uuid.UUID(name)))
    except ValueError:
        folded = fold_user_name(name)
        if "\0" in name or not folded:
            raise NotVisible from None
        by_name = Q(user_name_folded=folded) | Q(email__in={name, name.lower()})
        people = list(rows.filter(by_name)[:MOST_FOUND])
        found = [user for user in people if user.user_name_folded == folded] or people
    if len(found) != 1:
        raise NotVisible
    person: User = found[0]
    return person


def people_seen(actor: Actor, keys: Collection[str]) -> set[str]:
    """Those of the people with these keys that the person sees. One query."""
    rows = User.objects.visible_to(actor).filter(key__in=keys)
    return {str(key) for key in rows.values_list("key", flat=True)}


def groups_seen(actor: Actor, keys: Collection[str]) -> set[str]:
    """Those of the groups with these keys that the person sees. One query."""
    rows = Group.objects.visible_to(actor).filter(key__in=keys)
    return {str(key) for key in rows.values_list("key", flat=True)}


def groups_of(user: User) -> Sequence[Group]:
    """The groups that somebody is in, by name; up to 200. One query."""
    rows = Group.objects.filter(tenant_id=user.tenant_id, memberships__user=user)
    return list(rows.order_by("name", "pk")[:MOST_FOUND])
