"""Who is told of a relationship: the global admins of both sides, and those to whom it was assigned (product §15)."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.urls import reverse

from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic
from directory.models import Invitation, Relationship, RelationshipAssignment, RoleAssignment, Tenant, User
from directory.operations.mail import queue_mail
from directory.permissions import Role


def tell_asked(invitation: Invitation, *, at: datetime) -> None:
    """Tell the customer's global admins that a partner asks; nobody, where there is no such customer."""
    customer_id = invitation.customer_tenant_id
    if customer_id is None:
        return
    with tenant_atomic(customer_id):
        tenant = Tenant.objects.get(pk=customer_id)
        queue_mail(
            "relationship_asked",
            event_key=str(invitation.key),
            to=_people(customer_id),
            tenant_id=customer_id,
            context={
                **_about(tenant, invitation),
                "partner": invitation.partner_name,
                "roles": invitation.roles,
                "days": invitation.days,
                "extends": invitation.extends,
                "asked_by": invitation.requested_by,
                "expires_at": invitation.expires_at.isoformat(),
            },
            at=at,
        )


def tell_decided(invitation: Invitation, *, at: datetime, relationship: Relationship | None = None) -> None:
    """Tell the partner's global admins, and who asked, what became of the invitation."""
    with tenant_atomic(invitation.tenant_id):
        tenant = Tenant.objects.get(pk=invitation.tenant_id)
        kept = relationship.roles if relationship else []
        queue_mail(
            "relationship_decided",
            event_key=str(invitation.key),
            to=_people(invitation.tenant_id, also=[invitation.requested_by_id]),
            tenant_id=invitation.tenant_id,
            context={
                **_about(tenant, invitation),
                "outcome": invitation.state,
                "customer": relationship.customer_name if relationship else invitation.customer_domain,
                "roles": kept or invitation.roles,
                "struck": [role for role in invitation.roles if role not in kept] if relationship else [],
                "ends_at": relationship.ends_at.isoformat() if relationship else None,
            },
            at=at,
        )


def tell_ended(relationship: Relationship, *, by: Actor, at: datetime) -> None:
    """Tell the global admins of both sides, and those whom it was assigned to by name, all but who ended it."""
    holders = list(
        RelationshipAssignment.objects.filter(relationship=relationship, user_id__isnull=False)
        .order_by("user_id")
        .values_list("user_id", flat=True)
    )
    for tenant_id, other in (
        (relationship.tenant_id, relationship.partner_name),
        (relationship.partner_tenant_id, relationship.customer_name),
    ):
        is_partner = tenant_id == relationship.partner_tenant_id
        with tenant_atomic(tenant_id):
            tenant = Tenant.objects.get(pk=tenant_id)
            queue_mail(
                "relationship_ended",
                event_key=str(relationship.key),
                to=[
                    user
                    for user in _people(tenant_id, also=holders if is_partner else [])
                    if user.pk != by.user_id
                ],
                tenant_id=tenant_id,
                context={
                    **_about(tenant, relationship),
                    "other": other,
                    "is_partner": is_partner,
                    "by": by.label,
                    "ended_at": at.isoformat(),
                },
                at=at,
            )


def address_of(key: object) -> str:
    """The page of a relationship, and of the invitation that it comes from; what a partner hands to a customer."""
    return f"{settings.PUBLIC_URL}{reverse('portal:relationship', args=[key])}"


def _about(tenant: Tenant, about: Invitation | Relationship) -> dict[str, Any]:
    return {
        "organization": tenant.name,
        "time_zone": tenant.time_zone,
        "name": about.name,
        "link": address_of(about.key),
    }


def _people(tenant_id: int, *, also: Collection[int | None] = ()) -> list[User]:
    """The active global admins of an organization, and others of it; inside its wall."""
    admins = RoleAssignment.objects.filter(tenant_id=tenant_id, role=Role.GLOBAL_ADMIN).values("user_id")
    others = [user_id for user_id in also if user_id is not None]
    return list(
        User.objects.active().filter(Q(pk__in=admins) | Q(pk__in=others), tenant_id=tenant_id).order_by("pk")
    )
