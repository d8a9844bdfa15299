"""Questions about relationships, for both sides (product §12)."""

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime

from django.db.models import Q

from config.kit.actors import Actor
from config.kit.errors import NotVisible
from config.kit.keyset import Page, paginate
from directory.models import AuditEntry, Group, Invitation, Relationship, RelationshipAssignment
from directory.models.partners import RelationshipQuerySet
from directory.permissions import Capability

MOST_SHOWN = 200
# Which of the partner's relationships a list shows.
SHOWN = ("all", "active", "ended")


def relationship_for(actor: Actor, key: uuid.UUID) -> Relationship | None:
    """The relationship, or None where the actor sees none of that key."""
    if not actor.may(Capability.SEE_RELATIONSHIPS):
        return None
    found: Relationship | None = Relationship.objects.visible_to(actor).filter(key=key).first()
    return found


def invitation_for(actor: Actor, key: uuid.UUID) -> Invitation | None:
    """The invitation, or None where the actor sees none of that key."""
    if not actor.may(Capability.SEE_RELATIONSHIPS):
        return None
    found: Invitation | None = Invitation.objects.visible_to(actor).filter(key=key).first()
    return found


def relationships_seen(actor: Actor, keys: Collection[str]) -> Collection[str]:
    """Which of these, as texts, have a page for the actor. At most two queries."""
    if not actor.may(Capability.SEE_RELATIONSHIPS):
        return []
    seen: set[str] = set()
    for model in (Relationship, Invitation):
        rows = model.objects.visible_to(actor).filter(key__in=set(keys) - seen)
        seen |= {str(key) for key in rows.values_list("key", flat=True)}
    return seen


def partners_of(actor: Actor) -> Sequence[Relationship]:
    """The relationships in which the acting organization is the customer, those that run first; up to 200."""
    rows = Relationship.objects.visible_to(actor).filter(tenant_id=actor.tenant_id)
    return list(rows.order_by("status", "partner_name", "pk")[:MOST_SHOWN])


def invitations_received(actor: Actor, *, at: datetime) -> Sequence[Invitation]:
    """What partners ask of the acting organization and nobody has answered, the oldest first; up to 200."""
    rows = Invitation.objects.visible_to(actor).filter(customer_tenant_id=actor.tenant_id)
    return list(rows.waiting(at).order_by("pk")[:MOST_SHOWN])


def invitations_made(actor: Actor, *, query: str) -> Sequence[Invitation]:
    """What the acting organization asked of customers and has not become a relationship, the latest first; up to 200."""
    rows = (
        Invitation.objects.visible_to(actor)
        .filter(tenant_id=actor.tenant_id)
        .exclude(state=Invitation.State.APPROVED)
    )
    if query:
        rows = rows.filter(Q(customer_domain__icontains=query) | Q(name__icontains=query))
    return list(rows.order_by("-pk")[:MOST_SHOWN])


def relationships_page(
    actor: Actor, *, show: str, query: str, cursor: str, at: datetime
) -> Page[Relationship]:
    """The relationships in which the acting organization is the partner, by customer, a page by key. One query.

    `show` is one of `SHOWN`. :raises Malformed: there is no such page.
    """
    rows = Relationship.objects.visible_to(actor).filter(partner_tenant_id=actor.tenant_id)
    rows = _shown(rows, show, at)
    if query:
        rows = rows.filter(Q(customer_name__icontains=query) | Q(name__icontains=query))
    return paginate(
        rows, order=("customer_name", "id"), cursor=cursor, key=lambda row: (row.customer_name, row.pk)
    )


def both_sides_page(actor: Actor, *, show: str, cursor: str, at: datetime) -> Page[Relationship]:
    """The relationships of the acting organization on either side, the latest first, a page by key. One query.

    `show` is one of `SHOWN`. :raises Malformed: there is no such page.
    """
    rows = _shown(Relationship.objects.visible_to(actor), show, at)
    return paginate(rows, order=("-id",), cursor=cursor, key=lambda row: (row.pk,))


def _shown(rows: RelationshipQuerySet, show: str, at: datetime) -> RelationshipQuerySet:
    if show == "active":
        return rows.running(at)
    return rows.exclude(pk__in=rows.running(at).values("pk")) if show == "ended" else rows


def assignments_of(relationship: Relationship) -> Sequence[RelationshipAssignment]:
    """To whom the relationship's roles were given, by name. One query."""
    rows = RelationshipAssignment.objects.filter(relationship=relationship)
    return list(rows.order_by("holder_name", "pk")[:MOST_SHOWN])


def gives_roles(group: Group) -> bool:
    """Whether who is put into the group may act for a customer by that. One query, under the partner's wall."""
    held = RelationshipAssignment.objects.filter(partner_tenant_id=group.tenant_id, group_id=group.pk)
    return bool(held.exists())


def groups_named(actor: Actor, query: str) -> Sequence[Group]:
    """Groups of the acting organization whose name holds `query`, by name; up to twenty. One query."""
    return list(Group.objects.visible_to(actor).filter(name__icontains=query).order_by("name", "pk")[:20])


def history_of(actor: Actor, key: uuid.UUID) -> Sequence[AuditEntry]:
    """All that happened to a relationship from the asking on, the latest first, from the acting organization's own
    trail; up to 200. Of a relationship that the actor sees.

    :raises NotVisible: the actor sees no relationships.
    """
    if not actor.may(Capability.SEE_RELATIONSHIPS):
        raise NotVisible
    rows = AuditEntry.objects.filter(
        tenant_id=actor.tenant_id, target_type="relationship", target_id=str(key)
    )
    return list(rows.order_by("-pk")[:MOST_SHOWN])
