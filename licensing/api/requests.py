"""Requests for licenses over the wire: ask, see, answer (product §7.5, §16)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, cast
from uuid import UUID

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from ninja import Router, Schema
from ninja.params.functions import Query
from pydantic import Field

from commerce.queries.catalogue import product_of_id
from config.kit import access
from config.kit.actors import Actor
from config.kit.api import In, actor_of, answers, one_of
from config.kit.clock import now
from config.kit.errors import Malformed
from directory.permissions import Capability
from licensing.lists import rows_of
from licensing.models import LicenseRequest
from licensing.operations import requests as operations
from licensing.queries import requests as queries
from licensing.queries.holders import named_ids

ANY = access.token("requests.write")
ASK = access.token("requests.write", may=Capability.REQUEST_LICENSE)
GIVE = access.token("requests.write", sees=Capability.SEE_QUEUE, may=Capability.GIVE_FREE_SEAT)
SPEND = access.token("requests.write", sees=Capability.SEE_QUEUE, may=Capability.ANSWER_WITH_MONEY)
# Either of the two, as the request is about a license or about money: the operation says.
REJECT = access.token("requests.write", sees=Capability.SEE_QUEUE)

type RequestKind = Literal["license", "spending"]
type RequestState = Literal["waiting", "forwarded", "approved", "partly", "rejected", "lapsed", "withdrawn"]
type PersonState = Literal["waiting", "given", "held", "allowed", "rejected", "closed"]

router = Router(tags=["Requests"])


class PersonOut(Schema):
    userId: UUID
    name: str
    email: str
    state: PersonState


class RequestOut(Schema):
    """Somebody asks for licenses, or for leave to buy them. Money is in minor units, without tax."""

    id: UUID
    kind: RequestKind
    productId: str
    productName: str
    requester: str
    requesterEmail: str
    reason: str
    seats: int
    amountMinor: int | None = Field(description="What was estimated when it was asked; null without a price.")
    currency: str
    state: RequestState
    message: str = Field(description="Of who answered, for who asked.")
    askedAt: datetime
    expiresAt: datetime
    decidedAt: datetime | None
    decidedBy: str
    people: list[PersonOut]


class Requests(Schema):
    items: list[RequestOut]
    next: str | None = Field(description="The cursor of the next page.")


class Ask(In):
    product: str = Field(max_length=100, description="A product's current or former id.")
    reason: str = Field(max_length=operations.REASON_LENGTH)
    people: list[str] = Field(
        default=[],
        max_length=operations.MOST_PEOPLE,
        description="E-mail addresses, or names of one person alone; nobody: the token's own person.",
    )


class Answer(In):
    message: str = Field("", max_length=operations.REASON_LENGTH)


class AnswerPeople(Answer):
    people: list[str] | None = Field(
        None, max_length=operations.MOST_PEOPLE, description="Only these; else all who wait."
    )


class Reject(AnswerPeople):
    message: str = Field(min_length=1, max_length=operations.REASON_LENGTH)


@router.get("", response=answers(Requests, 400, 404), url_name="requests")
@ANY
def list_requests(
    request: HttpRequest,
    show: str = Query("waiting", max_length=20, **one_of(queries.FILTERS)),
    product: str = Query("", max_length=100, description="A product's current or former id."),
    cursor: str = Query("", max_length=1_000),
) -> Requests:
    """The queue, for who sees it; else what the token's person asked, or what was asked for them. 50 at a time."""
    if show not in queries.FILTERS:
        raise Malformed(_("There is no such list of requests."), field="show")
    product_id = product_of_id(product).pk if product else None
    page = queries.visible_page(actor_of(request), show=show, product_id=product_id, cursor=cursor)
    return Requests(items=[_out(row) for row in page.rows], next=page.next or None)


@router.get("/{uuid:request_id}", response=answers(RequestOut, 404), url_name="license-request")
@ANY
def get_request(request: HttpRequest, request_id: UUID) -> RequestOut:
    """One request with its people."""
    return _read(actor_of(request), request_id)


@router.post("", response=answers(RequestOut, 400, 404, 409, status=201), url_name="requests")
@ASK
def ask_for_licenses(request: HttpRequest, payload: Ask) -> tuple[int, RequestOut]:
    """Ask for licenses for people of the organization. Asked again it is the same request."""
    actor = actor_of(request)
    ids = _ids(actor, payload.people)
    if not payload.people and actor.user_id is not None:
        ids = [actor.user_id]
    asked = operations.ask_for_licenses(
        actor=actor, product=product_of_id(payload.product), user_ids=ids, reason=payload.reason, at=now()
    )
    return 201, _read(actor, asked.request.key)


@router.post(
    "/{uuid:request_id}/approve",
    response=answers(RequestOut, 400, 404, 409),
    url_name="license-request-approve",
)
@GIVE
def approve_request(request: HttpRequest, request_id: UUID, payload: AnswerPeople) -> RequestOut:
    """Give each of the people a free license of the organization's; all of them or none."""
    actor = actor_of(request)
    ids = _chosen(actor, payload)
    operations.approve_request(actor=actor, key=request_id, user_ids=ids, message=payload.message, at=now())
    return _read(actor, request_id)


@router.post(
    "/{uuid:request_id}/reject",
    response=answers(RequestOut, 400, 404, 409),
    url_name="license-request-reject",
)
@REJECT
def reject_request(request: HttpRequest, request_id: UUID, payload: Reject) -> RequestOut:
    """Turn it down, with a message to who asked."""
    actor = actor_of(request)
    ids = _chosen(actor, payload)
    operations.reject_request(actor=actor, key=request_id, user_ids=ids, message=payload.message, at=now())
    return _read(actor, request_id)


@router.post(
    "/{uuid:request_id}/forward", response=answers(RequestOut, 404, 409), url_name="license-request-forward"
)
@GIVE
def forward_request(request: HttpRequest, request_id: UUID) -> RequestOut:
    """Pass it on to those who decide about money."""
    actor = actor_of(request)
    operations.forward_request(actor=actor, key=request_id, at=now())
    return _read(actor, request_id)


@router.post(
    "/{uuid:request_id}/approve-spending",
    response=answers(RequestOut, 400, 404, 409),
    url_name="license-request-approve-spending",
)
@SPEND
def approve_spending(request: HttpRequest, request_id: UUID, payload: Answer) -> RequestOut:
    """Let who asked buy it by card, once, up to the sum of the request."""
    actor = actor_of(request)
    operations.approve_spending(actor=actor, key=request_id, message=payload.message, at=now())
    return _read(actor, request_id)


@router.post(
    "/{uuid:request_id}/allow-product",
    response=answers(RequestOut, 400, 404, 409),
    url_name="license-request-allow-product",
)
@SPEND
def allow_product(request: HttpRequest, request_id: UUID, payload: Answer) -> RequestOut:
    """Allow the product by the purchase policy, so that everybody may buy it."""
    actor = actor_of(request)
    operations.allow_product(actor=actor, key=request_id, message=payload.message, at=now())
    return _read(actor, request_id)


@router.post(
    "/{uuid:request_id}/withdraw", response=answers(RequestOut, 404, 409), url_name="license-request-withdraw"
)
@ASK
def withdraw_request(request: HttpRequest, request_id: UUID) -> RequestOut:
    """Take back what the token's person asked."""
    actor = actor_of(request)
    operations.withdraw_request(actor=actor, key=request_id, at=now())
    return _read(actor, request_id)


def _ids(actor: Actor, people: Sequence[str]) -> list[int]:
    """:raises Malformed: one of them names nobody, or more than one."""
    return named_ids(actor.tenant_id, rows_of(people)) if people else []


def _chosen(actor: Actor, payload: AnswerPeople) -> list[int] | None:
    """The people whom an answer names; None: all who wait. :raises Malformed: as `_ids`."""
    return None if payload.people is None else _ids(actor, payload.people)


def _read(actor: Actor, key: UUID) -> RequestOut:
    return _out(queries.request_for(actor, key))


def _out(row: LicenseRequest) -> RequestOut:
    people = sorted(row.people.all(), key=lambda each: (each.user.sort_name, each.user_id))
    return RequestOut(
        id=row.key,
        kind=cast("RequestKind", row.kind),
        productId=row.product.key,
        productName=row.product.name,
        requester=row.requester.name,
        requesterEmail=row.requester.email,
        reason=row.reason,
        seats=row.seats,
        amountMinor=row.amount_minor,
        currency=row.currency,
        state=cast("RequestState", row.state),
        message=row.message,
        askedAt=row.asked_at,
        expiresAt=row.expires_at,
        decidedAt=row.decided_at,
        decidedBy=row.decided_by,
        people=[
            PersonOut(
                userId=each.user.key,
                name=each.user.name,
                email=each.user.email,
                state=cast("PersonState", each.state),
            )
            for each in people
        ],
    )
