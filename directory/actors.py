"""Building the `Actor` of a request from the session, re-read from the database each time (I-24)."""

import uuid
from datetime import datetime

from config.kit.actors import Actor, Door
from directory.models import RelationshipAssignment, RoleAssignment, Tenant, User
from directory.models.partners import Relationship
from directory.permissions import grants_for


def build_actor(
    user: User, *, acting_tenant_id: int, at: datetime, door: Door = "web", correlation_id: str = ""
) -> Actor | None:
    """The actor of `user` for `acting_tenant_id`, or None when there is no right to act there (any more).

    Runs inside `tenant_atomic(user.tenant_id)`. Two queries at home, one more for a partner.
    """
    is_home = acting_tenant_id == user.tenant_id
    relationship: Relationship | None = None
    if is_home:
        roles = frozenset(RoleAssignment.objects.filter(user=user).values_list("role", flat=True))
    else:
        assignments = RelationshipAssignment.objects.filter(
            partner_tenant_id=user.tenant_id,
            tenant_id=acting_tenant_id,
            user_id=user.pk,
            relationship__status=Relationship.Status.ACTIVE,
            relationship__starts_at__lte=at,
            relationship__ends_at__gt=at,
        ).select_related("relationship")
        delegated: set[str] = set()
        for assignment in assignments:
            relationship = assignment.relationship
            delegated |= set(assignment.roles) & set(relationship.roles)
        if relationship is None:
            return None
        roles = frozenset(delegated)
    is_guest = user.kind == User.Kind.GUEST
    is_purchaser = user.purchaser_since is not None and is_home
    return Actor(
        user_id=user.pk,
        tenant_id=acting_tenant_id,
        home_tenant_id=user.tenant_id,
        label=user.name,
        email=user.email,
        roles=roles,
        grants=grants_for(roles, is_purchaser=is_purchaser, is_guest=is_guest, is_partner=not is_home),
        relationship_id=relationship.pk if relationship else None,
        relationship_label=f"{relationship.partner_name}: {relationship.name}" if relationship else "",
        is_guest=is_guest,
        is_purchaser=is_purchaser,
        door=door,
        correlation_id=correlation_id or uuid.uuid4().hex,
    )


def tenant_row(tenant_id: int) -> Tenant:
    """The acting tenant's own row; inside `tenant_atomic(tenant_id)`."""
    return Tenant.objects.get(pk=tenant_id)
