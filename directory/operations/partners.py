"""Delegated administration (product §12)."""

import uuid
from collections.abc import Collection
from datetime import datetime, timedelta

from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Malformed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.actors import build_actor
from directory.models import Relationship, RelationshipAssignment, Tenant, User
from directory.operations.audit import record
from directory.permissions import ROLES, Capability

LONGEST = timedelta(days=731)


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

    :raises Malformed: no or unknown roles, or a length outside 1 day to 2 years.
    """
    if not roles or not set(roles) <= set(ROLES):
        raise Malformed(_("Choose at least one role."), field="roles")
    if not timedelta(days=1) <= ends_at - at <= LONGEST:
        raise Malformed(_("A relationship lasts from 1 day to 2 years."), field="ends_at")
    with tenant_atomic(customer.pk):
        relationship = Relationship.objects.create(
            tenant=customer,
            partner_tenant_id=partner.pk,
            customer_name=customer.name,
            partner_name=partner.name,
            name=name,
            roles=sorted(roles),
            status=Relationship.Status.ACTIVE,
            extends=extends,
            requested_at=at,
            starts_at=at,
            ends_at=ends_at,
        )
        record(
            Actor.system(customer.pk),
            "directory.relationship.created",
            at=at,
            target_type="relationship",
            target_id=relationship.key,
            target_label=name,
            after={"partner": partner.name, "roles": sorted(roles), "ends_at": ends_at.isoformat()},
        )
    return relationship


def assign_relationship(
    *, relationship: Relationship, user: User, roles: Collection[str], at: datetime
) -> None:
    """Give one user of the partner a subset of the relationship's roles; set up by the installation.

    :raises Malformed: a role that the relationship does not have.
    :raises NotVisible: the user is not of the partner.
    """
    if not roles or not set(roles) <= set(relationship.roles):
        raise Malformed(_("The relationship does not have this role."), field="roles")
    if user.tenant_id != relationship.partner_tenant_id or user.kind == User.Kind.GUEST:
        raise NotVisible
    with tenant_atomic(relationship.tenant_id):
        RelationshipAssignment.objects.update_or_create(
            relationship=relationship,
            user_id=user.pk,
            defaults={
                "tenant_id": relationship.tenant_id,
                "partner_tenant_id": relationship.partner_tenant_id,
                "roles": sorted(roles),
            },
        )
        record(
            Actor.system(relationship.tenant_id),
            "directory.relationship.assigned",
            at=at,
            target_type="relationship",
            target_id=relationship.key,
            target_label=relationship.name,
            after={"user": user.name, "roles": sorted(roles)},
        )


def end_relationship(*, actor: Actor, key: uuid.UUID, at: datetime) -> None:
    """End a delegation at once: the partner's next request is refused. Twice is once.

    :raises NotVisible: no relationship of the acting tenant.
    :raises NotAllowed: the actor may not manage relationships.
    """
    with tenant_atomic(actor):
        relationship = Relationship.objects.visible_to(actor).select_for_update().filter(key=key).first()
        if relationship is None:
            raise NotVisible
        actor.require(
            Capability.MANAGE_RELATIONSHIPS, is_own=False, is_org=True, sees=Capability.SEE_RELATIONSHIPS
        )
        if relationship.status == Relationship.Status.ENDED:
            return
        before = relationship.status
        Relationship.objects.filter(pk=relationship.pk).update(status=Relationship.Status.ENDED, ends_at=at)
        record(
            actor,
            "directory.relationship.ended",
            at=at,
            target_type="relationship",
            target_id=relationship.key,
            target_label=relationship.name,
            before={"status": before},
            after={"status": Relationship.Status.ENDED.value},
        )


def record_acting(*, user: User, customer_id: int, at: datetime) -> None:
    """Note in the customer's trail that a partner's user acts there from now on.

    :raises NotVisible: the user may not act for that customer.
    """
    with tenant_atomic(user.tenant_id):
        actor = build_actor(user, acting_tenant_id=customer_id, at=at)
    if actor is None or not actor.is_partner:
        raise NotVisible
    with tenant_atomic(actor):
        record(
            actor,
            "directory.partner.acting_started",
            at=at,
            target_type="relationship",
            target_id=actor.relationship_id,
            target_label=actor.relationship_label,
        )
