"""Building the `Actor` of a request from the session or a token, re-read from the database each time (I-24)."""

import itertools
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Exists, Q, QuerySet, Value

from config.kit.actors import Actor, Door
from config.kit.compiled import Compiled
from directory.models import (
    ApiToken,
    Invitation,
    Relationship,
    RelationshipAssignment,
    RoleAssignment,
    StaffAssignment,
    StaffSession,
    Tenant,
    User,
)
from directory.models.partners import AssignmentQuerySet
from directory.permissions import Role, grants_for
from directory.staff import SUPPORT, StaffCapability, roles_with, staff_grants

_HAS_CUSTOMERS = "+customers"
_IS_OF_PARTNER = "+partner"
# What the vendor's staff see of an organization in a session of theirs, as far as delegation reaches.
READS_AS = Role.GLOBAL_READER


def build_actor(
    user: User, *, acting_tenant_id: int, at: datetime, door: Door = "web", correlation_id: str = ""
) -> Actor | None:
    """The actor of `user` for `acting_tenant_id`, or None when there is no right to act there (any more).

    Runs inside `tenant_atomic(user.tenant_id)`. One query.
    """
    if acting_tenant_id != user.tenant_id:
        return _partner(user, acting_tenant_id, at=at, door=door, correlation_id=correlation_id) or _staff(
            user, acting_tenant_id, at=at, door=door, correlation_id=correlation_id
        )
    # The marks are what the portal's pages ask; calls, jobs and a directory's accounts do not.
    if door in ("web", "cli"):
        rows = _ROLES_AND_MARKS.rows(user_id=user.pk, tenant_id=user.tenant_id, at=at)
    else:
        rows = _ROLES.rows(user_id=user.pk)
    found = {row[0] for row in rows}
    roles = frozenset(found - {_HAS_CUSTOMERS, _IS_OF_PARTNER})
    is_guest = user.kind == User.Kind.GUEST
    is_purchaser = user.purchaser_since is not None
    return Actor(
        user_id=user.pk,
        tenant_id=user.tenant_id,
        home_tenant_id=user.tenant_id,
        label=user.name,
        email=user.email,
        roles=roles,
        grants=grants_for(roles, is_purchaser=is_purchaser, is_guest=is_guest, is_partner=False),
        is_guest=is_guest,
        is_purchaser=is_purchaser,
        has_customers=_HAS_CUSTOMERS in found,
        is_of_partner=_IS_OF_PARTNER in found,
        door=door,
        correlation_id=correlation_id or uuid.uuid4().hex,
    )


def without_roles(actor: Actor) -> Actor:
    """Somebody at home whose roles do not count now: what is left is the own purchases and licenses."""
    grants = grants_for(
        frozenset(), is_purchaser=actor.is_purchaser, is_guest=actor.is_guest, is_partner=False
    )
    return replace(actor, roles=frozenset(), grants=grants)


def staff_roles_of(user: User) -> frozenset[str]:
    """What a person of the vendor works at; inside `tenant_atomic` of the vendor. One query."""
    rows = StaffAssignment.objects.filter(tenant_id=user.tenant_id, user=user)
    return frozenset(rows.values_list("role", flat=True))


def as_staff(actor: Actor, roles: frozenset[str], *, has_second_factor: bool) -> Actor:
    """Somebody of the vendor's staff at home; until the second factor was shown, their work gives no right."""
    granted = staff_grants(roles) if has_second_factor else {}
    return replace(actor, staff_roles=roles, grants={**actor.grants, **granted})


def service_actor(token: ApiToken, *, correlation_id: str = "", door: Door = "api") -> Actor:
    """The organization itself, acting through a service token: its ceiling's rights, less those over own things."""
    column = grants_for(frozenset({token.ceiling}), is_purchaser=False, is_guest=False, is_partner=False)
    reach = {capability: scopes - {"own"} for capability, scopes in column.items()}
    return Actor(
        user_id=None,
        tenant_id=token.tenant_id,
        home_tenant_id=token.tenant_id,
        label=f"{token.name} (…{token.ending})",
        roles=frozenset({token.ceiling}),
        grants={capability: scopes for capability, scopes in reach.items() if scopes},
        door=door,
        correlation_id=correlation_id or uuid.uuid4().hex,
    )


def _partner(user: User, customer_id: int, *, at: datetime, door: Door, correlation_id: str) -> Actor | None:
    """The actor of a partner's user for a customer: the delegated roles alone, those of all relationships."""
    if user.kind == User.Kind.GUEST:
        return None
    held = _DELEGATIONS_BY.rows(user_id=user.pk, tenant_id=user.tenant_id, at=at, customer_id=customer_id)
    person = Actor(
        user_id=user.pk,
        tenant_id=user.tenant_id,
        home_tenant_id=user.tenant_id,
        label=user.name,
        email=user.email,
        door=door,
        correlation_id=correlation_id or uuid.uuid4().hex,
    )
    return _delegated(person, customer_id, [Delegation(*row) for row in held])


def actors_for_customers(actor: Actor, *, at: datetime, customer_id: int | None = None) -> list[Actor]:
    """Somebody at home as the actor for each customer that they may act for at `at`, by customer; for one customer alone
    with `customer_id`. What `build_actor` makes of each, without what the customer itself asks or forbids.

    Runs inside `tenant_atomic` of the home. One query.
    """
    if actor.is_guest or actor.is_partner or actor.user_id is None:
        return []
    rows = _delegations(actor.user_id, actor.home_tenant_id, at)
    if customer_id is not None:
        rows = rows.filter(tenant_id=customer_id)
    by_customer: dict[int, list[Delegation]] = {}
    for delegation in itertools.starmap(Delegation, rows):
        by_customer.setdefault(delegation.customer_id, []).append(delegation)
    found = (_delegated(actor, customer, held) for customer, held in sorted(by_customer.items()))
    return [each for each in found if each is not None]


class Delegation(NamedTuple):
    """What somebody was given for a customer through one relationship that runs."""

    customer_id: int
    roles: list[str]
    relationship_id: int
    relationship_roles: list[str]
    relationship_name: str
    partner_name: str
    ends_at: datetime


def _delegations(user_id: int, tenant_id: int, at: datetime) -> QuerySet[RelationshipAssignment, Any]:
    """The columns of `Delegation`, the relationship that ends first first."""
    running = _running(user_id, tenant_id, at).order_by("relationship__ends_at", "relationship_id")
    of_relationship = ("roles", "name", "partner_name", "ends_at")
    names = [f"relationship__{name}" for name in of_relationship]
    return running.values_list("tenant_id", "roles", "relationship_id", *names)


def _delegations_by(
    user_id: int, tenant_id: int, at: datetime, customer_id: int
) -> QuerySet[RelationshipAssignment, Any]:
    return _delegations(user_id, tenant_id, at).filter(tenant_id=customer_id)


def _delegated(person: Actor, customer_id: int, delegations: Sequence[Delegation]) -> Actor | None:
    """Somebody at home as the actor for one customer, by what was given to them there; None: nothing was."""
    roles: set[str] = set()
    through: list[Delegation] = []
    for delegation in delegations:
        delegated = set(delegation.roles) & set(delegation.relationship_roles)
        if delegated:
            roles |= delegated
            through.append(delegation)
    if not through:
        return None
    first = through[0]
    return Actor(
        user_id=person.user_id,
        tenant_id=customer_id,
        home_tenant_id=person.home_tenant_id,
        label=person.label,
        email=person.email,
        roles=frozenset(roles),
        grants=grants_for(frozenset(roles), is_purchaser=False, is_guest=False, is_partner=True),
        relationship_id=first.relationship_id,
        relationship_label=f"{first.partner_name}: {first.relationship_name}"[:200],
        partner_name=first.partner_name,
        relationship_ends_at=first.ends_at,
        has_customers=True,
        door=person.door,
        correlation_id=person.correlation_id,
    )


def _staff(user: User, customer_id: int, *, at: datetime, door: Door, correlation_id: str) -> Actor | None:
    """A member of the vendor's staff in a session of theirs that runs: reads what a global reader reads."""
    if door != "web":
        return None
    works = StaffAssignment.objects.filter(
        tenant_id=user.tenant_id, user_id=user.pk, role__in=roles_with(StaffCapability.OPEN_STAFF_SESSION)
    )
    own = StaffSession.objects.of(user_id=user.pk, home_tenant_id=user.tenant_id).running(at)
    session = own.filter(Exists(works), tenant_id=customer_id).order_by("-id").first()
    if session is None:
        return None
    roles = frozenset({READS_AS})
    return Actor(
        user_id=user.pk,
        tenant_id=customer_id,
        home_tenant_id=user.tenant_id,
        label=user.name,
        email=user.email,
        roles=roles,
        grants=grants_for(roles, is_purchaser=False, is_guest=False, is_partner=True),
        staff_session_id=session.pk,
        relationship_label=f"{SUPPORT}: {session.reason}"[:200],
        relationship_ends_at=session.ends_at,
        door=door,
        correlation_id=correlation_id or uuid.uuid4().hex,
    )


def _running(user_id: int, home_tenant_id: int, at: datetime) -> QuerySet[RelationshipAssignment]:
    """The person's assignments in relationships that run at `at`."""
    held = AssignmentQuerySet(RelationshipAssignment).held_by(
        user_id=user_id, partner_tenant_id=home_tenant_id
    )
    rows: QuerySet[RelationshipAssignment] = held.running(at)
    return rows


def _of_a_partner(user_id: int, tenant_id: int) -> QuerySet[User]:
    """The person, if their organization is a partner of some customer, was one, or asked to be."""
    relationships = Relationship.objects.filter(partner_tenant_id=tenant_id)
    invitations = Invitation.objects.filter(tenant_id=tenant_id)
    rows: QuerySet[User] = User.objects.filter(
        Q(Exists(relationships)) | Q(Exists(invitations)), pk=user_id, tenant_id=tenant_id
    )
    return rows


def _roles_of(user_id: int) -> QuerySet[RoleAssignment, Any]:
    return RoleAssignment.objects.filter(user_id=user_id).values_list("role")


def _roles_and_marks(user_id: int, tenant_id: int, at: datetime) -> QuerySet[RoleAssignment, Any]:
    """The person's roles at home, and whether there are customers to act for, and anything to do with partners."""
    customers = _running(user_id, tenant_id, at).annotate(mark=Value(_HAS_CUSTOMERS)).values_list("mark")
    partner = _of_a_partner(user_id, tenant_id).annotate(mark=Value(_IS_OF_PARTNER)).values_list("mark")
    return _roles_of(user_id).union(customers, partner)


_DELEGATIONS_BY = Compiled(_delegations_by, user_id=int, tenant_id=int, at=datetime, customer_id=int)
_ROLES = Compiled(_roles_of, user_id=int)
_ROLES_AND_MARKS = Compiled(_roles_and_marks, user_id=int, tenant_id=int, at=datetime)


def tenant_row(tenant_id: int) -> Tenant:
    """The acting tenant's own row; inside `tenant_atomic(tenant_id)`."""
    tenant = _TENANT.first(tenant_id=tenant_id)
    if tenant is None:
        raise Tenant.DoesNotExist
    return tenant


_TENANT = Compiled(lambda tenant_id: Tenant.objects.filter(pk=tenant_id), tenant_id=int)
