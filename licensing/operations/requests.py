"""Asking for licenses and answering (product §7.5; docs/requests.md).

A request is decided under its row lock, person by person; the license that it gives comes from the one operation that
assigns, under the subscription's lock, which is taken after it. What is granted by money or policy is granted by the
operations of the policy, in the same transaction.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError
from django.utils.translation import gettext_lazy as _

from commerce.models import Product
from commerce.queries.catalogue import product_keys
from commerce.queries.checkouts import checkout_of
from commerce.queries.spending import over_limit_reason
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotVisible, constraint_of
from config.kit.tenancy import atomic, tenant_atomic
from directory.models import User
from directory.operations import audit
from directory.permissions import Capability
from licensing.models import Assignment, LicenseRequest, RequestedPerson
from licensing.operations.assignments import FULL, Outcome, assign_licenses
from licensing.operations.request_notices import queue_decided, queue_forwarded, queue_received
from licensing.queries.requests import Estimate, estimate_of, holders_of, permit_sum, with_free_seats
from policies.models import PolicyValue
from policies.operations.data import ServiceOff
from policies.operations.policies import set_product_policy
from policies.operations.spending import grant_permit
from policies.queries.data import switched_off_for
from policies.queries.requests import request_door

LIVES = timedelta(days=60)
MOST_PEOPLE = 100
REASON_LENGTH = 1000

State = LicenseRequest.State
Kind = LicenseRequest.Kind
PersonState = RequestedPerson.State
_ONE_OPEN = "licensing_requestedperson_one_open"


class NoRequestsHere(Conflict):
    """The organization takes none here, or nobody could decide."""

    code = "no_requests_here"
    message = _("Your organization takes no requests here. Nothing was sent. Ask your IT department.")


class AlreadyAsked(Conflict):
    """Somebody asked for all of these people before, and it is not answered yet."""

    code = "already_asked"
    message = _("A request for this is open already. Nothing was sent again.")


class HaveLicenses(Conflict):
    code = "have_licenses"
    message = _("Everybody that you ask for has a license of this already. Nothing was sent.")


class NoApprovalNeeded(Conflict):
    code = "no_approval_needed"
    message = _("This purchase needs no approval. Nothing was sent. Go back to the checkout and pay.")


class RequestOver(Conflict):
    """It was decided, withdrawn or lapsed, or the people were answered, since it was shown."""

    code = "request_over"
    message = _("This was answered in the meantime. Nothing was changed.")


class AlreadyForwarded(Conflict):
    code = "already_forwarded"
    message = _("This was forwarded before. Nothing was changed.")


class NotEnoughLicenses(Conflict):
    """Fewer licenses are free than were to be given; none was."""

    code = "not_enough_licenses"

    def __init__(self, free: int, wanted: int) -> None:
        self.free = free
        super().__init__(
            _("%(free)d of the %(wanted)d licenses are free. Nothing was assigned. Choose fewer people.")
            % {"free": free, "wanted": wanted}
        )


class CannotHold(Conflict):
    """Somebody asked for is disabled, or gone, by now."""

    code = "cannot_hold"
    message = _("An account of those chosen is disabled. Nothing was assigned. Reject it, or leave it out.")


class AsksToBuy(Conflict):
    """A purchase of several licenses is approved or refused; one license would not answer it."""

    code = "asks_to_buy"
    message = _(
        "This asks to approve a purchase, which one free license does not answer. Nothing was assigned."
    )


class NoPrice(Conflict):
    code = "no_price"
    message = _("The product has no price here, so no purchase can be approved. Nothing was changed.")


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked. `is_new` is false where the same person had asked for it before and it is open still."""

    request: LicenseRequest
    is_new: bool
    left_out: int = 0


# --- Asking ---------------------------------------------------------------------------------------------------------


def ask_for_licenses(
    *, actor: Actor, product: Product, user_ids: Collection[int], reason: str, at: datetime
) -> Asked:
    """Ask for a license for each of the people, who are active members; whatever stands against buying it.

    Who has one, or has an open request, is left out. Asked again by the same person it is the open request.
    Mails go to those who can decide.

    :raises NotVisible: guests, and who acts for another organization, do not ask.
    :raises NoRequestsHere: the queue is off, or nobody can decide.
    :raises Malformed: no reason, or too long; nobody, too many, or somebody who is no active member.
    :raises ServiceOff: a data policy switched the product off for one of them.
    :raises HaveLicenses, AlreadyAsked: nobody is left to ask for.
    """
    reason = _checked_reason(reason)
    wanted = sorted(set(user_ids))
    if not 1 <= len(wanted) <= MOST_PEOPLE:
        raise Malformed(_("Ask for 1 to 100 people at a time."), field="people")
    with tenant_atomic(actor):
        _require_asking(actor)
        people = User.objects.visible_to(actor).active().members().filter(pk__in=wanted)
        if len(found := list(people.order_by("sort_name", "pk"))) != len(wanted):
            raise Malformed(
                _("Somebody that you ask for is no active member of your organization."), field="people"
            )
        if switched_off_for(actor=actor, product_id=product.pk, user_ids=wanted):
            raise ServiceOff
        holders = holders_of(product.pk, wanted)
        without = [user for user in found if user.pk not in holders]
        if not without:
            raise HaveLicenses
        return _open(actor, product, Kind.LICENSE, without, reason, None, len(found), at)


def ask_for_approval(*, actor: Actor, slug: str, checkout: uuid.UUID, reason: str, at: datetime) -> Asked:
    """Ask that a purchase above the organization's threshold be approved, with what it costs now.

    :raises NotVisible: no such checkout of the actor's.
    :raises NoApprovalNeeded: the limits do not ask for one.
    :raises NoRequestsHere, Malformed: as `ask_for_licenses`.
    """
    reason = _checked_reason(reason)
    with tenant_atomic(actor):
        _require_asking(actor, needs_money=True)
        found = checkout_of(actor=actor, key=checkout, slug=slug)
        refusal = over_limit_reason(actor=actor, checkout=found, at=at)
        if refusal is None or refusal.code != "needs_approval":
            raise NoApprovalNeeded
        buyer = User.objects.visible_to(actor).get(pk=actor.user_id)
        cost = Estimate(found.subtotal_minor, found.currency)
        return _open(actor, found.product, Kind.SPENDING, [buyer], reason, (found.quantity, cost), 1, at)


def withdraw_request(*, actor: Actor, key: uuid.UUID, at: datetime) -> LicenseRequest:
    """Take back an open request of one's own; what was given stays.

    :raises NotVisible: not the actor's. :raises RequestOver: it is open no more.
    """
    with tenant_atomic(actor):
        request = _lock(actor, key)
        if request.requester_id != actor.user_id or actor.is_partner:
            raise NotVisible
        waiting = _waiting(request)
        _answer(waiting, PersonState.CLOSED, actor, at)
        _close(request, State.WITHDRAWN, at)
        _record(actor, request, "licensing.request.withdrawn", at, {"people": len(waiting)})
    return request


def _checked_reason(reason: str) -> str:
    reason = reason.replace("\x00", "").strip()
    if not reason:
        raise Malformed(_("Say what it is for: those who decide read it."), field="reason")
    if len(reason) > REASON_LENGTH:
        raise Malformed(_("The reason is longer than 1,000 characters."), field="reason")
    return reason


def _require_asking(actor: Actor, *, needs_money: bool = False) -> None:
    if not actor.may(Capability.REQUEST_LICENSE) or actor.user_id is None:
        raise NotVisible
    if not request_door(actor=actor, needs_money=needs_money).is_open:
        raise NoRequestsHere


def _open(
    actor: Actor,
    product: Product,
    kind: Kind,
    people: Sequence[User],
    reason: str,
    cost: tuple[int, Estimate] | None,
    wanted: int,
    at: datetime,
) -> Asked:
    """Write the request for those who have none open. Two who ask at once for the same person: one is the first."""
    while True:
        rows = RequestedPerson.objects.visible_to(actor).filter(
            user__in=people, product_id=product.pk, kind=kind, state=PersonState.WAITING
        )
        known = {row.user_id: row.request for row in rows.select_related("request__product")}
        fresh = [user for user in people if user.pk not in known]
        if not fresh:
            own = [request for request in known.values() if request.requester_id == actor.user_id]
            if own:
                return Asked(own[0], is_new=False)
            raise AlreadyAsked
        try:
            with atomic():
                request = _write(actor, product, kind, fresh, reason, cost, at)
        except IntegrityError as error:
            if constraint_of(error) != _ONE_OPEN:
                raise
        else:
            return Asked(request, is_new=True, left_out=wanted - len(fresh))


def _write(
    actor: Actor,
    product: Product,
    kind: Kind,
    people: Sequence[User],
    reason: str,
    cost: tuple[int, Estimate] | None,
    at: datetime,
) -> LicenseRequest:
    assert actor.user_id is not None, "who asks is a person"
    seats = cost[0] if cost else len(people)
    estimate = cost[1] if cost else estimate_of(actor=actor, product=product, seats=seats, at=at)
    request = LicenseRequest.objects.create(
        tenant_id=actor.tenant_id,
        kind=kind,
        product=product,
        requester_id=actor.user_id,
        reason=reason,
        seats=seats,
        amount_minor=estimate.amount_minor,
        currency=estimate.currency,
        state=State.WAITING,
        asked_at=at,
        expires_at=at + LIVES,
    )
    RequestedPerson.objects.bulk_create(
        RequestedPerson(
            tenant_id=actor.tenant_id,
            request=request,
            user=user,
            product_id=product.pk,
            kind=kind,
            state=PersonState.WAITING,
        )
        for user in people
    )
    facts = {
        "kind": kind,
        "people": [user.pk for user in people],
        "seats": seats,
        "amount_minor": estimate.amount_minor,
        "currency": estimate.currency,
    }
    _record(actor, request, "licensing.request.asked", at, facts)
    queue_received(request=request, people=people, at=at)
    return request


# --- Answering ------------------------------------------------------------------------------------------------------


def approve_request(
    *,
    actor: Actor,
    key: uuid.UUID,
    at: datetime,
    user_ids: Collection[int] | None = None,
    message: str = "",
) -> LicenseRequest:
    """Give each of the people, all who wait by default, a free license of the organization's; all of them or none.

    Who has the product by now counts as answered. The others go on waiting, until somebody answers them too.

    :raises NotVisible, NotAllowed: not the actor's to see, or to decide.
    :raises RequestOver: one of them was answered meanwhile. :raises Malformed: nobody was chosen.
    :raises AsksToBuy: it is about a purchase of several licenses.
    :raises NotEnoughLicenses: fewer are free. :raises CannotHold: an account is disabled.
    :raises ServiceOff: a data policy switched the product off for one of them.
    """
    message = _checked_message(message)
    with tenant_atomic(actor):
        request = _lock(actor, key)
        _require(actor, Capability.GIVE_FREE_SEAT)
        if not request.takes_free_licenses:
            raise AsksToBuy
        people = _waiting(request, user_ids)
        given = _give(actor, request, people, at)
        for person in people:
            person.assignment = given.get(person.user_id)
            _set(person, PersonState.GIVEN if person.assignment else PersonState.HELD, actor, at)
        _save(people)
        return _decided(actor, request, people, LicenseRequest.Answer.SEATS, message, at)


def reject_request(
    *, actor: Actor, key: uuid.UUID, message: str, at: datetime, user_ids: Collection[int] | None = None
) -> LicenseRequest:
    """Refuse the people, all who wait by default, and say why.

    :raises NotVisible, NotAllowed: not the actor's to see, or to decide. A purchase is refused by who may approve it.
    :raises Malformed: without a message, or nobody was chosen. :raises RequestOver: answered meanwhile.
    """
    message = _checked_message(message)
    if not message:
        raise Malformed(_("Say why, so that they know what to do."), field="message")
    with tenant_atomic(actor):
        request = _lock(actor, key)
        if request.kind == Kind.SPENDING or not actor.may(Capability.GIVE_FREE_SEAT):
            _require(actor, Capability.ANSWER_WITH_MONEY)
        people = _waiting(request, user_ids)
        _answer(people, PersonState.REJECTED, actor, at)
        return _decided(actor, request, people, "", message, at)


def forward_request(*, actor: Actor, key: uuid.UUID, at: datetime) -> LicenseRequest:
    """Pass a request on to the billing and global admins, who can add licenses, allow the product or approve the sum.

    :raises NotVisible, NotAllowed: not the actor's to see, or to decide.
    :raises RequestOver: it is open no more. :raises AlreadyForwarded: it was passed on before.
    """
    with tenant_atomic(actor):
        request = _lock(actor, key)
        _require(actor, Capability.GIVE_FREE_SEAT)
        if not request.is_open:
            raise RequestOver
        if request.state == State.FORWARDED:
            raise AlreadyForwarded
        request.state = State.FORWARDED
        request.forwarded_at, request.forwarded_by_id, request.forwarded_by = at, actor.user_id, actor.label
        request.save(update_fields=["state", "forwarded_at", "forwarded_by_id", "forwarded_by"])
        _record(actor, request, "licensing.request.forwarded", at, {})
        queue_forwarded(actor=actor, request=request, at=at)
    return request


def approve_spending(*, actor: Actor, key: uuid.UUID, at: datetime, message: str = "") -> LicenseRequest:
    """Let the requester buy the product by card once, within 14 days, up to the licenses and the sum asked for.

    :raises NotVisible, NotAllowed: not the actor's to see, or to answer with money.
    :raises RequestOver: answered meanwhile. :raises NoPrice: no sum is known.
    """
    message = _checked_message(message)
    with tenant_atomic(actor):
        request = _lock(actor, key)
        _require(actor, Capability.ANSWER_WITH_MONEY)
        people = _waiting(request)
        total = permit_sum(request, len(people))
        if total is None:
            raise NoPrice
        permit = grant_permit(
            actor=actor,
            user_id=request.requester_id,
            product_key=request.product.key,
            seats=request.seats if request.kind == Kind.SPENDING else len(people),
            sum_minor=total,
            currency=request.currency,
            at=at,
        )
        _answer(people, PersonState.ALLOWED, actor, at)
        facts = {"permit": str(permit.key), "sum_minor": total, "currency": request.currency}
        return _decided(actor, request, people, LicenseRequest.Answer.SPENDING, message, at, facts)


def allow_product(*, actor: Actor, key: uuid.UUID, at: datetime, message: str = "") -> LicenseRequest:
    """Change the organization's policy so that everybody may buy the product, and grant the request by that.

    :raises NotVisible, NotAllowed: not the actor's to see, or to answer with policy.
    :raises RequestOver: answered meanwhile.
    """
    message = _checked_message(message)
    with tenant_atomic(actor):
        request = _lock(actor, key)
        _require(actor, Capability.ANSWER_WITH_MONEY)
        people = _waiting(request)
        set_product_policy(
            actor=actor,
            product_keys=product_keys(request.product),
            value=PolicyValue.ENABLED,
            name=request.product.name,
            at=at,
        )
        _answer(people, PersonState.ALLOWED, actor, at)
        return _decided(actor, request, people, LicenseRequest.Answer.POLICY, message, at)


def _checked_message(message: str) -> str:
    message = message.replace("\x00", "").strip()
    if len(message) > REASON_LENGTH:
        raise Malformed(_("The message is longer than 1,000 characters."), field="message")
    return message


def _require(actor: Actor, capability: str) -> None:
    actor.require(capability, is_own=False, is_org=True, sees=Capability.SEE_QUEUE)


def _lock(actor: Actor, key: uuid.UUID) -> LicenseRequest:
    found: LicenseRequest | None = (
        LicenseRequest.objects.visible_to(actor)
        .select_for_update(of=("self",), no_key=True)
        .select_related("product", "requester")
        .filter(key=key)
        .first()
    )
    if found is None:
        raise NotVisible
    return found


def _waiting(request: LicenseRequest, user_ids: Collection[int] | None = None) -> list[RequestedPerson]:
    """Those who wait, or those chosen, all of whom must.

    :raises RequestOver: nobody waits, or one of those chosen does no more. :raises Malformed: nobody was chosen.
    """
    if user_ids is not None and not user_ids:
        raise Malformed(_("Choose at least one person."), field="people")
    rows = request.people.select_related("user").order_by("user__sort_name", "user_id")
    waiting = [person for person in rows if person.state == PersonState.WAITING]
    chosen = waiting if user_ids is None else [person for person in waiting if person.user_id in user_ids]
    if not chosen or not request.is_open or (user_ids is not None and len(chosen) != len(set(user_ids))):
        raise RequestOver
    return chosen


def _give(
    actor: Actor, request: LicenseRequest, people: Sequence[RequestedPerson], at: datetime
) -> dict[int, Assignment]:
    """A license for each person that has none of the product, from one subscription after the other."""
    left = [person.user_id for person in people]
    given: dict[int, Assignment] = {}
    for subscription in with_free_seats(tenant_id=request.tenant_id, product_id=request.product_id):
        result = assign_licenses(
            actor=actor, subscription_key=subscription.key, user_ids=left, at=at, tells=False
        )
        if result.with_outcome(Outcome.DISABLED, Outcome.UNKNOWN, Outcome.GUEST):
            raise CannotHold
        if result.with_outcome(Outcome.SERVICE_OFF):
            raise ServiceOff
        done = result.with_outcome(Outcome.ASSIGNED)
        rows = Assignment.objects.live().filter(subscription=subscription, user_id__in=done)
        given |= {row.user_id: row for row in rows}
        left = list(result.with_outcome(*FULL))
        if not left:
            return given
    still = set(left) - holders_of(request.product_id, left)
    if still:
        raise NotEnoughLicenses(len(given), len(given) + len(still))
    return given


def _set(person: RequestedPerson, state: PersonState, actor: Actor, at: datetime) -> None:
    person.state, person.decided_at = state, at
    person.decided_by_id, person.decided_by = actor.user_id, actor.label


def _save(people: Sequence[RequestedPerson]) -> None:
    RequestedPerson.objects.bulk_update(
        people, ["state", "assignment", "decided_at", "decided_by_id", "decided_by"]
    )


def _answer(people: Sequence[RequestedPerson], state: PersonState, actor: Actor, at: datetime) -> None:
    for person in people:
        _set(person, state, actor, at)
    _save(people)


def _decided(
    actor: Actor,
    request: LicenseRequest,
    people: Sequence[RequestedPerson],
    answer: str,
    message: str,
    at: datetime,
    facts: dict[str, Any] | None = None,
) -> LicenseRequest:
    """Note the decision, close the request when nobody waits any more, and tell."""
    request.decided_at, request.decided_by_id, request.decided_by = at, actor.user_id, actor.label
    request.message, request.answer = message, answer or request.answer
    request.save(update_fields=["decided_at", "decided_by_id", "decided_by", "message", "answer"])
    _close(request, State.REJECTED, at)
    code = "licensing.request.approved" if answer else "licensing.request.rejected"
    told = {"people": {str(person.user_id): person.state for person in people}, "answer": answer}
    _record(actor, request, code, at, told | (facts or {}))
    queue_decided(actor=actor, request=request, people=people, at=at)
    return request


def _close(request: LicenseRequest, otherwise: State, at: datetime) -> None:
    """End it when nobody waits: approved, in part, or `otherwise` where nobody was granted anything."""
    states = set(request.people.values_list("state", flat=True))
    if PersonState.WAITING in states:
        return
    granted = states & set(RequestedPerson.GRANTED)
    request.state = otherwise if not granted else State.PARTLY if states - granted else State.APPROVED
    request.closed_at = at
    request.save(update_fields=["state", "closed_at"])


def _record(actor: Actor, request: LicenseRequest, code: str, at: datetime, after: dict[str, Any]) -> None:
    audit.record(
        actor,
        code,
        at=at,
        target_type="license_request",
        target_id=request.key,
        target_label=request.product.name,
        after={"state": request.state, **after},
    )
