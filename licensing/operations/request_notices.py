"""Mails about requests for licenses, queued in the transaction of what they tell (product §7.5, §15).

The mail to who can decide has a link that is signed, for that person and request, and ends after seven days. It opens
a page; nothing is decided without a click there, and nothing that costs money without a session.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.core import signing

from config.kit.actors import Actor
from config.kit.errors import NotVisible
from directory.actors import tenant_row
from directory.models import OutgoingMail, User
from directory.operations.mail import mails, queue_mail
from licensing.models import LicenseRequest, RequestedPerson
from licensing.queries.requests import free_seats
from policies.queries.requests import GIVING_ROLES, PAYING_ROLES

LINK_LIVES = timedelta(days=7)
MOST_NAMED = 20
_SALT = "licensing.decide-request"


class NoSuchDecisionLink(NotVisible):
    """A link that this installation did not make, or whose time is over."""


@dataclass(frozen=True, slots=True)
class DecisionLink:
    """Whom a link of a mail lets decide about what."""

    tenant_id: int
    user_id: int
    request: uuid.UUID


def decision_link(request: LicenseRequest, user: User, at: datetime) -> str:
    """The address in a mail that opens the page of a decision, for one person, for seven days."""
    ends = int((at + LINK_LIVES).timestamp())
    token = signing.dumps([request.tenant_id, user.pk, str(request.key), ends], salt=_SALT, compress=True)
    return f"{settings.PUBLIC_URL}/requests/decide/{token}/"


def read_decision_link(token: str, at: datetime) -> DecisionLink:
    """:raises NoSuchDecisionLink: not one of ours, or over."""
    try:
        tenant_id, user_id, key, ends = signing.loads(token, salt=_SALT)
        link = DecisionLink(tenant_id, user_id, uuid.UUID(key))
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise NoSuchDecisionLink from error
    if datetime.fromtimestamp(ends, UTC) <= at:
        raise NoSuchDecisionLink
    return link


def queue_received(*, request: LicenseRequest, people: Sequence[User], at: datetime) -> None:
    """To everybody who can decide but the requester: with a free license, or where there is none with money."""
    free = free_seats(tenant_id=request.tenant_id, product_ids=[request.product_id]).get(
        request.product_id, 0
    )
    is_money = request.kind == LicenseRequest.Kind.SPENDING
    roles = PAYING_ROLES if is_money else GIVING_ROLES if free else (*GIVING_ROLES, *PAYING_ROLES)
    facts = _facts(request, [user.name for user in people]) | {"free": free}
    for admin in people_with(request.tenant_id, roles):
        if admin.pk != request.requester_id:
            link = request_link(request) if is_money else decision_link(request, admin, at)
            # In the portal the person is signed in: no token, and no end after seven days.
            links = {"link": link, "portal_link": request_link(request)}
            _queue("request_received", request, [admin], facts | links, at)


def queue_forwarded(*, actor: Actor, request: LicenseRequest, at: datetime) -> None:
    """To the billing and global admins but the one who forwarded it."""
    facts = _facts(request, waiting_names(request)) | {"by": actor.label, "link": request_link(request)}
    admins = [admin for admin in people_with(request.tenant_id, PAYING_ROLES) if admin.pk != actor.user_id]
    _queue("request_forwarded", request, admins, facts, at)


def queue_decided(
    *, actor: Actor, request: LicenseRequest, people: Sequence[RequestedPerson], at: datetime
) -> None:
    """To the requester what was decided about whom; to everybody else who got a license that they have one."""
    granted = [person for person in people if person.state in RequestedPerson.GRANTED]
    facts = _facts(request, [person.user.name for person in people]) | {
        "by": actor.label,
        "message": request.message,
        "answer": request.answer if granted else "",
        "granted": [person.user.name for person in granted][:MOST_NAMED],
        "rejected": [person.user.name for person in people if person not in granted][:MOST_NAMED],
        "waiting": len(waiting_names(request)),
        "slug": request.product.slug,
        "link": own_requests_link(),
    }
    event = f"{request.key}:{people[0].pk}"
    _queue("request_decided", request, [request.requester], facts, at, event=event)
    given = [
        person.user
        for person in people
        if person.state == RequestedPerson.State.GIVEN and person.user_id != request.requester_id
    ]
    _queue("request_given", request, given, facts | {"link": _licenses_link()}, at, event=event)


def lapsed_mails(request: LicenseRequest, at: datetime) -> list[OutgoingMail]:
    """Unsaved: to the requester, that nobody answered in time. `people` must be prefetched with their users."""
    names = [person.user.name for person in request.people.all()]
    return mails(
        "request_lapsed",
        event_key=str(request.key),
        to=[request.requester],
        tenant_id=request.tenant_id,
        context=_facts(request, names) | {"link": own_requests_link()},
        at=at,
    )


def people_with(tenant_id: int, roles: Iterable[str]) -> list[User]:
    """The active people of a tenant with one of the roles. One query."""
    rows = User.objects.active().filter(tenant_id=tenant_id, role_assignments__role__in=set(roles))
    return list(rows.order_by("id").distinct("id"))


def waiting_names(request: LicenseRequest) -> list[str]:
    rows = request.people.filter(state=RequestedPerson.State.WAITING).order_by("user__sort_name")
    return list(rows.values_list("user__name", flat=True))


def request_link(request: LicenseRequest) -> str:
    return f"{settings.PUBLIC_URL}/admin/requests/{request.key}/"


def own_requests_link() -> str:
    return f"{settings.PUBLIC_URL}/my/requests/"


def _licenses_link() -> str:
    return f"{settings.PUBLIC_URL}/my/licenses/"


def _facts(request: LicenseRequest, names: Sequence[str]) -> dict[str, Any]:
    tenant = tenant_row(request.tenant_id)
    return {
        "organization": tenant.name,
        "time_zone": tenant.time_zone,
        "product": request.product.name,
        "kind": request.kind,
        "requester": request.requester.name,
        "requester_email": request.requester.email,
        "reason": request.reason,
        "people": list(names[:MOST_NAMED]),
        "people_more": max(0, len(names) - MOST_NAMED),
        "quantity": request.seats,
        "total_minor": request.amount_minor,
        "currency": request.currency,
        "asked_at": request.asked_at.isoformat(),
        "expires_at": request.expires_at.isoformat(),
    }


def _queue(
    kind: str,
    request: LicenseRequest,
    to: Sequence[User],
    context: dict[str, Any],
    at: datetime,
    *,
    event: str = "",
) -> None:
    if to:
        queue_mail(
            kind,
            event_key=event or str(request.key),
            to=to,
            tenant_id=request.tenant_id,
            context=context,
            at=at,
        )
