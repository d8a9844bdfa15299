"""What a partner asks of a customer, and the customer's answer (product §12; docs/partners.md)."""

import uuid
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from django.utils.translation import gettext_lazy as _

from config.kit.actors import Actor
from config.kit.errors import Conflict, DomainError, Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.domains import fold_domain
from directory.models import Domain, Invitation, Relationship, Tenant
from directory.operations.audit import record_for
from directory.operations.partner_notices import tell_asked, tell_decided
from directory.operations.partners import checked_terms
from directory.permissions import Capability
from directory.queries import door_of_address

VALID_FOR = timedelta(days=90)
LONGEST_MESSAGE = 1000
# So many may wait for an answer at once.
MOST_WAITING = 100

State = Invitation.State


class InvitationOver(Conflict):
    """It was answered, withdrawn, or nobody answered in time."""

    code = "invitation_over"
    message = _(
        "This invitation can no longer be answered: it was answered or withdrawn before, or its time is over. "
        "Nothing was changed."
    )


class TooManyInvitations(Conflict):
    """The partner has enough waiting."""

    code = "too_many_invitations"
    message = _("So many of your invitations wait for an answer. Nothing was sent. Withdraw one first.")


class OwnOrganization(DomainError):
    """Nobody delegates to themselves."""

    code = "own_organization"
    status = 422
    message = _("This is a domain of your own organization.")


def ask_for_relationship(
    *,
    actor: Actor,
    domain: str,
    name: str,
    roles: Collection[str],
    days: int,
    message: str,
    extends: bool,
    at: datetime,
) -> Invitation:
    """Invite the organization of an e-mail domain to delegate these roles; its admins are told if there is one.

    What comes back and how it looks to the partner is the same whether there is one or not.

    :raises NotVisible: the actor may not ask, or acts for a customer.
    :raises Malformed: as `checked_terms`; no domain, or too long a message.
    :raises OwnOrganization: the domain is the partner's own. :raises TooManyInvitations: too many wait.
    """
    if actor.is_partner or not actor.may(Capability.ASK_RELATIONSHIP):
        raise NotVisible
    name, kept = checked_terms(name=name, roles=roles, days=days)
    try:
        domain = fold_domain(domain)
    except Malformed as error:
        raise Malformed(
            _("Enter the domain of their mail addresses, as contoso.example."), field="domain"
        ) from error
    message = message.replace("\r\n", "\n").strip()
    if len(message) > LONGEST_MESSAGE or "\0" in message:
        raise Malformed(_("A message has up to 1000 characters."), field="message")
    with tenant_atomic(actor):
        # One request of a partner at a time, so that the limit holds.
        partner = Tenant.objects.select_for_update(no_key=True).get(pk=actor.tenant_id)
        if Domain.objects.filter(tenant=partner, name=domain).exists():
            raise OwnOrganization
        if Invitation.objects.filter(tenant=partner).waiting(at).count() >= MOST_WAITING:
            raise TooManyInvitations
        door = door_of_address(f"admin@{domain}")
        invitation = Invitation.objects.create(
            tenant=partner,
            customer_tenant_id=door.tenant_id if door else None,
            customer_domain=domain,
            partner_name=partner.name,
            name=name,
            roles=kept,
            days=days,
            extends=extends,
            message=message,
            requested_at=at,
            requested_by_id=actor.user_id,
            requested_by=actor.label,
            expires_at=at + VALID_FOR,
        )
        record_for(
            _sides(invitation),
            actor,
            "directory.relationship.asked",
            at=at,
            **_target(invitation),
            after={"partner": partner.name, "roles": kept, "days": days, "extends": extends},
        )
        tell_asked(invitation, at=at)
    return invitation


def withdraw_invitation(*, actor: Actor, key: uuid.UUID, at: datetime) -> None:
    """Take back what the partner asked.

    :raises NotVisible: no invitation of the partner. :raises NotAllowed: the actor may not ask.
    :raises InvitationOver: it was answered.
    """
    with tenant_atomic(actor):
        invitation = _lock(actor, key)
        if invitation.tenant_id != actor.tenant_id or not actor.may(Capability.ASK_RELATIONSHIP):
            raise NotAllowed
        _close(invitation, State.WITHDRAWN, at)
        _record(actor, invitation, "directory.relationship.withdrawn", at)


def decline_invitation(*, actor: Actor, key: uuid.UUID, at: datetime) -> None:
    """Refuse what the partner asked; the partner is told.

    :raises NotVisible: no invitation for the acting tenant. :raises NotAllowed: the actor may not answer.
    :raises InvitationOver: it was answered.
    """
    with tenant_atomic(actor):
        invitation = _lock_to_answer(actor, key)
        _close(invitation, State.DECLINED, at)
        _record(actor, invitation, "directory.relationship.declined", at)
        tell_decided(invitation, at=at)


def approve_invitation(*, actor: Actor, key: uuid.UUID, roles: Collection[str], at: datetime) -> Relationship:
    """Delegate those of the roles that were asked for, from now on; nobody has them until the partner assigns them.

    :raises NotVisible: no invitation for the acting tenant. :raises NotAllowed: the actor may not answer.
    :raises Malformed: no role is left, or one that was not asked for. :raises InvitationOver: it was answered.
    """
    with tenant_atomic(actor):
        invitation = _lock_to_answer(actor, key)
        if not roles or not set(roles) <= set(invitation.roles):
            raise Malformed(_("Leave at least one of the roles, or decline."), field="roles")
        kept = [role for role in invitation.roles if role in roles]
        _close(invitation, State.APPROVED, at)
        customer = Tenant.objects.get(pk=actor.tenant_id)
        relationship = Relationship.objects.create(
            key=invitation.key,
            tenant=customer,
            partner_tenant_id=invitation.tenant_id,
            customer_name=customer.name,
            partner_name=invitation.partner_name,
            name=invitation.name,
            roles=kept,
            extends=invitation.extends,
            requested_at=invitation.requested_at,
            starts_at=at,
            ends_at=at + timedelta(days=invitation.days),
        )
        _record(
            actor,
            invitation,
            "directory.relationship.approved",
            at,
            before={"roles": invitation.roles},
            after={"roles": kept, "ends_at": relationship.ends_at.isoformat()},
        )
        tell_decided(invitation, at=at, relationship=relationship)
    return relationship


def may_answer(actor: Actor, invitation: Invitation) -> bool:
    return invitation.customer_tenant_id == actor.tenant_id and actor.may(Capability.MANAGE_RELATIONSHIPS)


def _lock(actor: Actor, key: uuid.UUID) -> Invitation:
    if not actor.may(Capability.SEE_RELATIONSHIPS):
        raise NotVisible
    found: Invitation | None = (
        Invitation.objects.visible_to(actor).select_for_update().filter(key=key).first()
    )
    if found is None:
        raise NotVisible
    return found


def _lock_to_answer(actor: Actor, key: uuid.UUID) -> Invitation:
    invitation = _lock(actor, key)
    if not may_answer(actor, invitation):
        raise NotAllowed
    return invitation


def _close(invitation: Invitation, state: Invitation.State, at: datetime) -> None:
    """:raises InvitationOver: it is not waiting at `at`, whether a sweep has noted that or not."""
    if not invitation.is_open(at):
        raise InvitationOver
    invitation.state, invitation.decided_at = state, at
    Invitation.objects.filter(pk=invitation.pk).update(state=state, decided_at=at)


def _record(actor: Actor, invitation: Invitation, code: str, at: datetime, **facts: Any) -> None:
    record_for(_sides(invitation), actor, code, at=at, **_target(invitation), **facts)


def _sides(invitation: Invitation) -> tuple[int, ...]:
    customer = invitation.customer_tenant_id
    return (invitation.tenant_id,) if customer is None else (customer, invitation.tenant_id)


def _target(invitation: Invitation) -> dict[str, Any]:
    return {"target_type": "relationship", "target_id": invitation.key, "target_label": invitation.name}
