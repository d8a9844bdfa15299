"""Asking the vendor's support to cancel a leaver's purchase, and the staff carrying it out (product §11, §14)."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError
from django.utils.translation import gettext_lazy as _

from commerce.models import Subscription, SupportCase
from commerce.operations.cancellations import (
    AlreadyStopped,
    Canceled,
    CancellationQuote,
    NothingToCancel,
    Seen,
    cancel_subscription,
    quote_cancellation,
)
from commerce.operations.changes.rules import lock_subscription
from commerce.operations.mail_facts import billing_admins, purchase_link
from commerce.operations.subscriptions import remember
from commerce.queries.staff_lists import CASES
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotVisible, constraint_of
from config.kit.listings import find
from config.kit.tenancy import atomic, tenant_atomic, use_login
from directory.models import User
from directory.operations import audit
from directory.operations.mail import queue_mail
from directory.operations.staff_deeds import acting_in, note_at_home, require_staff
from directory.permissions import ALL, Capability
from directory.staff import StaffCapability

State = SupportCase.State
LONGEST = 1000


class PurchaserIsHere(Conflict):
    """The purchaser has an active account, or it has another owner: its owner cancels it."""

    code = "purchaser_is_here"
    message = _("Its owner has not left and can cancel it. Support does that for leavers alone.")


class AlreadyAsked(Conflict):
    """There is an open case for it."""

    code = "already_asked"
    message = _("Support was asked to cancel this already. Nothing was sent a second time.")


class CaseClosed(Conflict):
    """The case was answered before."""

    code = "case_closed"
    message = _("This case was answered already. Nothing was changed.")


@dataclass(frozen=True, slots=True)
class Waiting:
    """An open case as the staff see it: what it is about, and nothing else of the tenant."""

    case: SupportCase
    organization: str
    product: str
    quantity: int
    assigned: int


def can_be_asked_for(subscription: Subscription) -> bool:
    """Whether support may be asked to cancel it: its owner has left. Says nothing about what canceling would do."""
    owner: User | None = subscription.owner_user
    return owner is not None and owner.has_left


def require_may_ask_support(actor: Actor, subscription: Subscription) -> None:
    """:raises NotVisible: not even seen. :raises NotAllowed: seen, and not theirs to ask about."""
    actor.require(
        Capability.ASK_SUPPORT_TO_CANCEL,
        is_own=subscription.is_owned_by(actor),
        is_org=subscription.is_organizations,
        sees=Capability.SEE_PURCHASES,
    )


def ask_to_cancel(*, actor: Actor, key: uuid.UUID, message: str, at: datetime) -> SupportCase:
    """Ask the vendor's support to cancel what somebody who left still owns. Nothing is canceled by it yet.

    :raises NotVisible, NotAllowed: no such purchase for the actor, or not theirs to ask for.
    :raises PurchaserIsHere: the owner has not left. :raises AlreadyAsked: there is an open case.
    :raises NothingToCancel, AlreadyStopped: it ends by itself. :raises Malformed: the message is too long.
    """
    message = message.strip()
    if len(message) > LONGEST or "\0" in message:
        raise Malformed(_("Write up to 1,000 characters."), field="message")
    with tenant_atomic(actor):
        subscription = lock_subscription(actor, key)
        require_may_ask_support(actor, subscription)
        if not can_be_asked_for(subscription):
            raise PurchaserIsHere
        quote_cancellation(subscription=subscription, at=at)
        case = SupportCase(
            tenant_id=actor.tenant_id,
            kind=SupportCase.Kind.CANCEL_FOR_LEAVER,
            subscription=subscription,
            message=message,
            asked_at=at,
            asked_by_id=None if actor.is_partner else actor.user_id,
            asked_by=actor.label,
        )
        try:
            with atomic():
                case.save(force_insert=True)
        except IntegrityError as error:
            if constraint_of(error) == "commerce_supportcase_one_open":
                raise AlreadyAsked from error
            raise
        remember(subscription, "support_asked_to_cancel", actor=actor, at=at, case=str(case.key))
        _record(actor, "commerce.case.opened", case, at, after={"message": message})
    return case


def open_case_of(subscription: Subscription) -> SupportCase | None:
    """The case by which support was asked to cancel it and has not answered. One query."""
    case: SupportCase | None = (
        SupportCase.objects.open().to_cancel().filter(subscription=subscription).first()
    )
    return case


# --- The vendor's staff -------------------------------------------------------------------------------------------


def waiting_cases() -> list[Waiting]:
    """Every open case to cancel something, the oldest first. Under the worker's login, for the staff alone."""
    with use_login("worker"):
        rows = SupportCase.objects.open().to_cancel().select_related("tenant", "subscription__product")
        return [
            Waiting(
                case,
                case.tenant.name,
                case.subscription.product.name,
                case.subscription.quantity,
                case.subscription.assigned,
            )
            for case in rows.order_by("asked_at", "id")[:500]
        ]


def carry_out(*, key: uuid.UUID, staff: str, answer: str, at: datetime) -> SupportCase:
    """`carry_out_case` from the command line: the case is found under the worker's login, whatever canceling does now.

    :raises NotVisible: no such case. :raises CaseClosed, PurchaserIsHere: as `carry_out_case`.
    """
    return carry_out_case(case=_find(key), staff=staff, answer=answer, at=at)


def decline(*, key: uuid.UUID, staff: str, answer: str, at: datetime) -> SupportCase:
    """`decline_case` from the command line. :raises NotVisible: no such case. :raises CaseClosed, Malformed: as there."""
    if not answer.strip():
        raise Malformed(_("Say why it is declined."), field="answer")
    return decline_case(case=_find(key), staff=staff, answer=answer, at=at)


def open_case(*, staff: Actor, case_id: int) -> SupportCase:
    """A case for the staff member, with the purchase that it opens to them; nothing else of that organization.

    :raises NotVisible: there is none, or not of the staff.
    """
    require_staff(staff, StaffCapability.OPERATE_CASES)
    with tenant_atomic(staff):
        found = find(CASES, case_id, "", "")
    with tenant_atomic(found.tenant_id):
        case: SupportCase = SupportCase.objects.select_related(
            "tenant",
            *(
                f"subscription__{name}"
                for name in ("product", "plan", "owner_user", "vendor_entity", "tenant")
            ),
        ).get(pk=case_id)
    return case


def quote_case(*, case: SupportCase, at: datetime) -> CancellationQuote | None:
    """What canceling would do now; None: it ends by itself by now. Inside the organization's transaction.

    :raises PurchaserIsHere: the owner is back, or it was taken over since.
    """
    subscription: Subscription = case.subscription
    if not can_be_asked_for(subscription):
        raise PurchaserIsHere
    try:
        return quote_cancellation(subscription=subscription, at=at)
    except (NothingToCancel, AlreadyStopped):
        return None


def carry_out_case(
    *, case: SupportCase, staff: Actor | str, answer: str, at: datetime, seen: Seen | None = None
) -> SupportCase:
    """Cancel what the case asks for, as its owner would at this moment, and answer by mail.

    Inside its refund window it ends at once and the unused days go back to the leaver's card; else its renewal stops.
    `seen` is what the page said that canceling does, without an ending that nothing is left to cancel. Done again after a crash it only answers. Opens its own
    transactions. `staff`: a name, where somebody works at the command line.

    :raises NotVisible: not of the staff. :raises CaseClosed: answered before.
    :raises PurchaserIsHere: the owner is back, or it was taken over since: decline it.
    :raises CancellationChanged, NothingToCancel: counted anew, it is not what the page said. Nothing was changed.
    """
    _require_to_cancel(case)
    actor = _support(case.tenant_id, staff)
    canceled: Canceled | None = None
    with tenant_atomic(actor):
        case.subscription = lock_subscription(actor, case.subscription.key)
        if SupportCase.objects.get(pk=case.pk).state != State.OPEN:
            raise CaseClosed
        quote = quote_case(case=case, at=at)
    if quote is None and seen is not None and seen.ending:
        raise NothingToCancel
    if quote is not None:
        canceled = cancel_subscription(
            actor=actor,
            key=case.subscription.key,
            version=case.subscription.version,
            seen=seen or quote.seen,
            at=at,
        )
    return _close(actor, staff, case, State.DONE, answer, at, canceled)


def decline_case(*, case: SupportCase, staff: Actor | str, answer: str, at: datetime) -> SupportCase:
    """Say why it is not canceled; by mail.

    :raises NotVisible: not of the staff. :raises CaseClosed: answered before. :raises Malformed: no reason.
    """
    if not answer.strip():
        raise Malformed(_("Say why it is declined."), field="answer")
    _require_to_cancel(case)
    return _close(_support(case.tenant_id, staff), staff, case, State.DECLINED, answer, at, None)


def _require_to_cancel(case: SupportCase) -> None:
    """:raises NotVisible: it asks for something else."""
    if case.is_conversation:
        raise NotVisible


def _find(key: uuid.UUID) -> SupportCase:
    with use_login("worker"):
        case: SupportCase | None = (
            SupportCase.objects.to_cancel().select_related("subscription").filter(key=key).first()
        )
    if case is None:
        raise NotVisible
    if case.state != State.OPEN:
        raise CaseClosed
    return case


def _support(tenant_id: int, staff: Actor | str) -> Actor:
    """The vendor's staff, through the case that the organization opened, and with no more than it asks for."""
    if isinstance(staff, str):
        staff = Actor.system(tenant_id, label=staff, door="cli")
    require_staff(staff, StaffCapability.OPERATE_CASES)
    return acting_in(staff, tenant_id, {Capability.SEE_PURCHASES: ALL, Capability.MANAGE_PURCHASES: ALL})


def _close(
    actor: Actor,
    staff: Actor | str,
    case: SupportCase,
    state: str,
    answer: str,
    at: datetime,
    canceled: Canceled | None,
) -> SupportCase:
    answer = answer.strip()[:LONGEST]
    with tenant_atomic(actor):
        subscription = lock_subscription(actor, case.subscription.key)
        row: SupportCase = SupportCase.objects.select_for_update().get(pk=case.pk)
        if row.state != State.OPEN:
            raise CaseClosed
        row.state, row.answer = state, answer
        row.answered_at, row.answered_by_id, row.answered_by = at, actor.user_id, actor.label
        row.save(update_fields=["state", "answer", "answered_at", "answered_by_id", "answered_by"])
        told = {"state": state, "answer": answer}
        _record(actor, "commerce.case.answered", row, at, after=told)
        if isinstance(staff, Actor):
            note_at_home(
                staff,
                "commerce.case.answered",
                organization=row.tenant_id,
                at=at,
                target_type="case",
                target_id=row.key,
                target_label=subscription.product.name,
                after=told,
            )
        remember(subscription, f"support_{state}", actor=actor, at=at, case=str(row.key))
        _tell(subscription, row, canceled, at)
    return row


def _tell(subscription: Subscription, case: SupportCase, canceled: Canceled | None, at: datetime) -> None:
    """Who asked, and the other billing admins: what became of it."""
    readers = {user.pk: user for user in billing_admins(subscription.tenant_id)}
    if case.asked_by_id is not None:
        readers |= {user.pk: user for user in User.objects.filter(pk=case.asked_by_id)}
    quote = canceled.quote if canceled else None
    queue_mail(
        "case_answered",
        event_key=str(case.key),
        to=readers.values(),
        tenant_id=subscription.tenant_id,
        context={
            "organization": subscription.tenant.name,
            "vendor": subscription.vendor_entity.name,
            "product": subscription.product.name,
            "purchaser": subscription.purchaser_name,
            "quantity": subscription.quantity,
            "is_done": case.state == State.DONE,
            "answer": case.answer,
            "asked_by": case.asked_by,
            "ending": str(quote.ending) if quote else "",
            "currency": subscription.currency,
            "refund_minor": quote.refund_minor if quote else 0,
            "ends_at": subscription.term_end.isoformat(),
            "time_zone": subscription.time_zone,
            "link": purchase_link(subscription),
        },
        at=at,
    )


def _record(actor: Actor, code: str, case: SupportCase, at: datetime, **facts: Any) -> None:
    audit.record(
        actor,
        code,
        at=at,
        target_type="case",
        target_id=case.key,
        target_label=str(case.subscription),
        **facts,
    )
