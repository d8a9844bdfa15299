"""Licenses of a purchase over the wire: who holds them, give, take back (product §7, §16)."""

from datetime import datetime
from typing import Literal, cast
from uuid import UUID

from django.http import HttpRequest
from ninja import Router, Schema
from ninja.params.functions import Query
from pydantic import Field

from config.kit import access
from config.kit.api import In, actor_of, answers
from config.kit.clock import now
from directory.permissions import Capability
from licensing.lists import rows_of
from licensing.operations.assignments import (
    BATCH_LIMIT,
    AssignmentResult,
    TooMany,
    assign_licenses,
    unassign_licenses,
)
from licensing.queries.holders import holders_page, resolve, subscription_for

READ = access.token("licenses.read", sees=Capability.SEE_LICENSES)
ASSIGN = access.token("licenses.write", sees=Capability.SEE_LICENSES, may=Capability.ASSIGN)

router = Router(tags=["Licenses"])

type OutcomeName = Literal[
    "assigned", "holds_license", "holds_product", "guest", "service_off", "disabled", "unknown", "ambiguous", "no_seat",
    "reduction_scheduled", "repeated", "unassigned", "not_held",
]  # fmt: skip


class HolderOut(Schema):
    """One license that somebody holds."""

    userId: UUID
    name: str
    email: str
    assignedAt: datetime
    assignedBy: str
    lastUsedOn: str | None = Field(description="The day, in UTC, of the last entitlement check.")


class Holders(Schema):
    items: list[HolderOut]
    next: str | None = Field(description="The cursor of the next page.")


class People(In):
    """Whom to give a license, or to take one back from: e-mail addresses, or names of one person alone."""

    people: list[str] = Field(min_length=1, max_length=BATCH_LIMIT)
    confirmed: bool = Field(False, description="Also to those who have the product through another purchase.")


class OutcomeOut(Schema):
    person: str
    outcome: OutcomeName


class Outcomes(Schema):
    """What became of each, in the order asked; who could not be served leaves the rest in place."""

    items: list[OutcomeOut]
    done: int
    available: int | None = Field(description="How many more can be assigned; null where nobody was known.")


@router.get("/{uuid:purchase_id}/licenses", response=answers(Holders, 400, 404), url_name="purchase-licenses")
@READ
def list_holders(
    request: HttpRequest, purchase_id: UUID, cursor: str = Query("", max_length=1_000)
) -> Holders:
    """Who holds a license of a purchase, the latest first, 50 at a time."""
    subscription = subscription_for(actor_of(request), purchase_id, to_see=Capability.SEE_LICENSES)
    page = holders_page(subscription, cursor=cursor)
    return Holders(
        items=[
            HolderOut(
                userId=row.user.key,
                name=row.user.name,
                email=row.user.email,
                assignedAt=row.assigned_at,
                assignedBy=row.assigned_by,
                lastUsedOn=row.last_used_on.isoformat() if row.last_used_on else None,
            )
            for row in page.rows
        ],
        next=page.next or None,
    )


@router.post(
    "/{uuid:purchase_id}/licenses/assign",
    response=answers(Outcomes, 400, 404, 409),
    url_name="purchase-licenses-assign",
)
@ASSIGN
def assign(request: HttpRequest, purchase_id: UUID, payload: People) -> Outcomes:
    """Give each a license, up to 1,000 people."""
    return _change(request, purchase_id, payload, gives=True)


@router.post(
    "/{uuid:purchase_id}/licenses/unassign",
    response=answers(Outcomes, 400, 404),
    url_name="purchase-licenses-unassign",
)
@ASSIGN
def unassign(request: HttpRequest, purchase_id: UUID, payload: People) -> Outcomes:
    """Take each one's license back, up to 1,000 people."""
    return _change(request, purchase_id, payload, gives=False)


def _change(request: HttpRequest, purchase_id: UUID, payload: People, *, gives: bool) -> Outcomes:
    actor = actor_of(request)
    if len(payload.people) > BATCH_LIMIT:
        raise TooMany
    subscription = subscription_for(actor, purchase_id, to_see=Capability.SEE_LICENSES, to_assign=True)
    rows = rows_of(payload.people)
    named = resolve(actor.tenant_id, rows)
    result = AssignmentResult((), subscription.assignable)
    if named.people:
        ids, at = list(named.people), now()
        if gives:
            result = assign_licenses(
                actor=actor, subscription_key=purchase_id, user_ids=ids, at=at, confirmed=payload.confirmed
            )
        else:
            result = unassign_licenses(actor=actor, subscription_key=purchase_id, user_ids=ids, at=at)
    became = {named.people[user_id].line: str(outcome) for user_id, outcome in result.outcomes}
    for outcome, left in (
        ("unknown", named.unknown),
        ("ambiguous", named.ambiguous),
        ("repeated", named.repeated),
    ):
        became |= dict.fromkeys((row.line for row in left), outcome)
    return Outcomes(
        items=[OutcomeOut(person=row.who, outcome=cast("OutcomeName", became[row.line])) for row in rows],
        done=result.done,
        available=result.free,
    )
