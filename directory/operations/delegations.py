"""To whom of the partner a relationship's roles are given (product §12): named users and groups, a subset each."""

import uuid
from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import Group, Relationship, RelationshipAssignment, User
from directory.operations.audit import record_for
from directory.operations.partners import lock_relationship, require_running, sides, target_of
from directory.permissions import Capability


def assign_to_person(
    *, actor: Actor, key: uuid.UUID, user_id: int, roles: Collection[str], at: datetime
) -> None:
    """Give a member of the partner a subset of the relationship's roles, in place of what they had of it.

    :raises NotVisible: no such relationship, or no active member of the partner. :raises NotAllowed: not the actor's
        to assign. :raises Malformed: no role, or one that the relationship does not have.
    :raises RelationshipOver: it has ended.
    """
    with tenant_atomic(actor):
        relationship = _lock(actor, key, at)
        kept = _subset(relationship, roles)
        user = User.objects.active().members().filter(tenant_id=actor.tenant_id, pk=user_id).first()
        if user is None:
            raise NotVisible
        _give(actor, relationship, kept, at, user_id=user.pk, holder_name=user.name)


def assign_to_group(
    *, actor: Actor, key: uuid.UUID, group_key: uuid.UUID, roles: Collection[str], at: datetime
) -> None:
    """Give the members of a group of the partner, as it is at each request, a subset of the relationship's roles.

    :raises NotVisible, NotAllowed, Malformed, RelationshipOver: as `assign_to_person`.
    """
    with tenant_atomic(actor):
        relationship = _lock(actor, key, at)
        kept = _subset(relationship, roles)
        group = Group.objects.filter(tenant_id=actor.tenant_id, key=group_key).first()
        if group is None:
            raise NotVisible
        _give(actor, relationship, kept, at, group_id=group.pk, holder_name=group.name)


def unassign(*, actor: Actor, key: uuid.UUID, assignment_id: int, at: datetime) -> None:
    """Take a user's or a group's roles of a relationship back; from their next request on they are gone. Twice is once.

    :raises NotVisible: no such relationship. :raises NotAllowed: not the actor's to assign.
    """
    with tenant_atomic(actor):
        relationship = lock_relationship(actor, key)
        _require_may_assign(actor, relationship)
        row = RelationshipAssignment.objects.filter(relationship=relationship, pk=assignment_id).first()
        if row is None:
            return
        row.delete()
        record_for(
            sides(relationship),
            actor,
            "directory.relationship.unassigned",
            at=at,
            **target_of(relationship),
            before={"to": row.holder_name, "is_group": row.group_id is not None, "roles": row.roles},
        )


def may_assign(actor: Actor, relationship: Relationship) -> bool:
    """The partner's own global admins, at home."""
    is_own = actor.tenant_id == relationship.partner_tenant_id
    return is_own and (actor.is_system or actor.may(Capability.ASK_RELATIONSHIP))


def _lock(actor: Actor, key: uuid.UUID, at: datetime) -> Relationship:
    relationship = lock_relationship(actor, key)
    _require_may_assign(actor, relationship)
    require_running(relationship, at)
    return relationship


def _require_may_assign(actor: Actor, relationship: Relationship) -> None:
    if not may_assign(actor, relationship):
        raise NotAllowed


def _subset(relationship: Relationship, roles: Collection[str]) -> list[str]:
    if not roles:
        raise Malformed(_("Choose at least one role."), field="roles")
    if not set(roles) <= set(relationship.roles):
        raise Malformed(_("The relationship does not have this role."), field="roles")
    return [role for role in relationship.roles if role in roles]


def _give(
    actor: Actor,
    relationship: Relationship,
    roles: list[str],
    at: datetime,
    *,
    holder_name: str,
    user_id: int | None = None,
    group_id: int | None = None,
) -> None:
    holder: dict[str, Any] = {"user_id": user_id, "group_id": group_id}
    before = RelationshipAssignment.objects.filter(relationship=relationship, **holder).first()
    if before is not None and before.roles == roles:
        return
    RelationshipAssignment.objects.update_or_create(
        relationship=relationship,
        **holder,
        defaults={
            "tenant_id": relationship.tenant_id,
            "partner_tenant_id": relationship.partner_tenant_id,
            "holder_name": holder_name,
            "roles": roles,
        },
    )
    about = {"to": holder_name, "is_group": group_id is not None}
    record_for(
        sides(relationship),
        actor,
        "directory.relationship.assigned",
        at=at,
        **target_of(relationship),
        before=about | {"roles": before.roles} if before else None,
        after=about | {"roles": roles},
    )
