"""Relationships over the wire: who may act for the organization, and for whom it may act (product §12, §16)."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from ninja import Router, Schema
from ninja.params.functions import Query
from pydantic import Field

from config.kit import access
from config.kit.actors import Actor
from config.kit.api import actor_of, answers, one_of
from config.kit.clock import now
from config.kit.errors import Malformed, NotVisible
from directory.models import Relationship
from directory.permissions import ROLES, Capability
from directory.queries.partners import SHOWN, assignments_of, both_sides_page, relationship_for

# None of the narrow scopes is about relationships (product §16).
READ = access.token("full", sees=Capability.SEE_RELATIONSHIPS)

router = Router(tags=["Relationships"])


class RelationshipOut(Schema):
    """One delegation of a customer to a partner."""

    id: UUID
    name: str
    side: Literal["customer", "partner"] = Field(description="Which of the two the token's organization is.")
    customer: str
    partner: str
    roles: list[str] = Field(description=", ".join(ROLES))
    running: bool = Field(description="Whether it gives something now.")
    extends: bool = Field(description="Whether it is prolonged by itself.")
    requestedAt: datetime
    startsAt: datetime
    endsAt: datetime


class RoleHolderOut(Schema):
    """Somebody of the partner, or a group there, who holds roles of a relationship."""

    holder: str
    isGroup: bool
    roles: list[str]


class OneRelationship(RelationshipOut):
    holders: list[RoleHolderOut] = Field(description="Up to 200, by name.")


class Relationships(Schema):
    items: list[RelationshipOut]
    next: str | None = Field(description="The cursor of the next page.")


@router.get("", response=answers(Relationships, 400), url_name="relationships")
@READ
def list_relationships(
    request: HttpRequest,
    show: str = Query("all", max_length=20, **one_of(SHOWN)),
    cursor: str = Query("", max_length=1_000),
) -> Relationships:
    """The relationships of the organization on either side, the latest first, 50 at a time."""
    if show not in SHOWN:
        raise Malformed(_("That is nothing to show."), field="show")
    actor, at = actor_of(request), now()
    page = both_sides_page(actor, show=show, cursor=cursor, at=at)
    items = [RelationshipOut(**_facts(actor, row, at)) for row in page.rows]
    return Relationships(items=items, next=page.next or None)


@router.get("/{uuid:relationship_id}", response=answers(OneRelationship, 404), url_name="relationship")
@READ
def get_relationship(request: HttpRequest, relationship_id: UUID) -> OneRelationship:
    """One relationship, with who of the partner holds its roles."""
    actor = actor_of(request)
    row = relationship_for(actor, relationship_id)
    if row is None:
        raise NotVisible
    holders = [
        RoleHolderOut(holder=each.holder_name, isGroup=each.group_id is not None, roles=each.roles)
        for each in assignments_of(row)
    ]
    return OneRelationship(**_facts(actor, row, now()), holders=holders)


def _facts(actor: Actor, row: Relationship, at: datetime) -> dict[str, Any]:
    return {
        "id": row.key,
        "name": row.name,
        "side": "customer" if row.tenant_id == actor.tenant_id else "partner",
        "customer": row.customer_name,
        "partner": row.partner_name,
        "roles": row.roles,
        "running": row.is_running(at),
        "extends": row.extends,
        "requestedAt": row.requested_at,
        "startsAt": row.starts_at,
        "endsAt": row.ends_at,
    }
