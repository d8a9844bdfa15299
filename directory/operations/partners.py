"""Relationships from their beginning to their end (product §12; docs/partners.md)."""

import uuid
from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.actors import build_actor
from directory.models import Relationship, Tenant, User
from directory.operations.audit import record_for
from directory.operations.partner_notices import tell_ended
from directory.permissions import ROLES, Capability

SHORTEST_DAYS, LONGEST_DAYS = 1, 731
LONGEST_NAME = 200


class RelationshipOver(Conflict):
    """Nothing is changed of a relationship that has ended."""

    code = "relationship_over"
    message = _("This relationship has ended. Nothing was changed.")


def checked_terms(*, name: str, roles: Collection[str], days: int) -> tuple[str, list[str]]:
    """The name and the roles as they are stored.

    :raises Malformed: no name, no or unknown roles, or a length outside 1 day to 2 years.
    """
    name = name.strip()
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise Malformed(_("Give it a name of up to 200 characters."), field="name")
    if not roles or not set(roles) <= set(ROLES):
        raise Malformed(_("Choose at least one role."), field="roles")
    if not SHORTEST_DAYS <= days <= LONGEST_DAYS:
        raise Malformed(_("A relationship lasts from 1 day to 2 years, that is 731 days."), field="days")
    return name, [role for role in ROLES if role in roles]


def create_relationship(
    *,
    customer: Tenant,
    partner: Tenant,
    name: str,
    roles: Collection[str],
    at: datetime,
    ends_at: datetime,
    extends: bool = False,
) -> Relationship:
    """A delegation that both sides have already agreed on; set up by the installation, active from `at`.

    :raises Malformed: as `checked_terms`.
    """
    name, kept = checked_terms(name=name, roles=roles, days=(ends_at - at).days)
    with tenant_atomic(customer.pk):
        relationship = Relationship.objects.create(
            tenant=customer,
            partner_tenant_id=partner.pk,
            customer_name=customer.name,
            partner_name=partner.name,
            name=name,
            roles=kept,
            extends=extends,
            requested_at=at,
            starts_at=at,
            ends_at=ends_at,
        )
        record_for(
            (customer.pk, partner.pk),
            Actor.system(customer.pk),
            "directory.relationship.created",
            at=at,
            **target_of(relationship),
            after={"partner": partner.name, "roles": kept, "ends_at": ends_at.isoformat()},
        )
    return relationship


def end_relationship(*, actor: Actor, key: uuid.UUID, at: datetime) -> None:
    """End a delegation at once, from either side: the partner's next request is refused. Twice is once.

    :raises NotVisible: no relationship of the acting tenant.
    :raises NotAllowed: the actor may not end it.
    """
    with tenant_atomic(actor):
        relationship = lock_relationship(actor, key)
        if not may_end(actor, relationship):
            raise NotAllowed
        if relationship.status == Relationship.Status.ENDED:
            return
        was_to_end_at = relationship.ends_at
        ends_at = min(at, relationship.ends_at)
        Relationship.objects.filter(pk=relationship.pk).update(
            status=Relationship.Status.ENDED, ends_at=ends_at
        )
        record_for(
            sides(relationship),
            actor,
            "directory.relationship.ended",
            at=at,
            **target_of(relationship),
            before={"status": relationship.status, "ends_at": was_to_end_at.isoformat()},
            after={"status": Relationship.Status.ENDED.value, "ends_at": ends_at.isoformat()},
        )
        tell_ended(relationship, by=actor, at=at)


def stop_extending(*, actor: Actor, key: uuid.UUID, at: datetime) -> None:
    """Let a delegation run out at its end, from either side. Twice is once.

    :raises NotVisible: no relationship of the acting tenant. :raises NotAllowed: the actor may not end it.
    :raises RelationshipOver: it has ended.
    """
    with tenant_atomic(actor):
        relationship = lock_relationship(actor, key)
        if not may_end(actor, relationship):
            raise NotAllowed
        require_running(relationship, at)
        if not relationship.extends:
            return
        Relationship.objects.filter(pk=relationship.pk).update(extends=False)
        record_for(
            sides(relationship),
            actor,
            "directory.relationship.extension_stopped",
            at=at,
            **target_of(relationship),
            before={"extends": True},
            after={"extends": False},
        )


def record_acting(*, user: User, customer_id: int, at: datetime) -> None:
    """Note in both trails that a partner's user acts there from now on.

    :raises NotVisible: the user may not act for that customer.
    """
    with tenant_atomic(user.tenant_id):
        actor = build_actor(user, acting_tenant_id=customer_id, at=at)
        if actor is None or actor.relationship_id is None:
            raise NotVisible
        relationship = Relationship.objects.get(pk=actor.relationship_id)
        record_for(
            sides(relationship), actor, "directory.partner.acting_started", at=at, **target_of(relationship)
        )


def may_end(actor: Actor, relationship: Relationship) -> bool:
    """The customer's global admins, and the partner's; at home, or acting as the customer's delegated global admin."""
    if actor.is_partner or actor.tenant_id == relationship.partner_tenant_id:
        return actor.may(Capability.ASK_RELATIONSHIP)
    return actor.may(Capability.MANAGE_RELATIONSHIPS)


def lock_relationship(actor: Actor, key: uuid.UUID) -> Relationship:
    """:raises NotVisible: no relationship that the actor sees."""
    if not actor.is_system and not actor.may(Capability.SEE_RELATIONSHIPS):
        raise NotVisible
    found: Relationship | None = (
        Relationship.objects.visible_to(actor).select_for_update().filter(key=key).first()
    )
    if found is None:
        raise NotVisible
    return found


def require_running(relationship: Relationship, at: datetime) -> None:
    """:raises RelationshipOver: it has ended, whether a sweep has noted it or not."""
    if not relationship.is_running(at):
        raise RelationshipOver


def sides(relationship: Relationship) -> tuple[int, int]:
    return relationship.tenant_id, relationship.partner_tenant_id


def target_of(relationship: Relationship) -> dict[str, Any]:
    return {
        "target_type": "relationship",
        "target_id": relationship.key,
        "target_label": relationship.name,
    }
