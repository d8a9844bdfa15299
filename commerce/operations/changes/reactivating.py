"""Bringing an ended subscription back, paid at once by card or on account (product §5.1; docs/adr/0014).

Expired, the next term begins where the last one ended, as its renewal would have. Disabled, a new term with an
anchor of its own begins that day at that day's price. Its holders come back with it: their assignments never ended.
"""

import uuid
from datetime import datetime, timedelta
from typing import cast

from django.utils.translation import gettext_lazy as _

from commerce import periods
from commerce.models import Agreement, Bill, Card, Checkout, Order, OrderLine, Subscription
from commerce.operations import notices
from commerce.operations.bills import bill_seats
from commerce.operations.changes import paid
from commerce.operations.changes.rules import (
    Disputed,
    lock_subscription,
    require_good_standing,
    require_may_manage,
    require_service_on,
)
from commerce.operations.checkouts import NotEligible, PriceChanged
from commerce.operations.orders import Placed, write_order
from commerce.operations.payments.kinds import Kind, NothingToGive
from commerce.operations.subscriptions import remember
from commerce.queries.eligibility import eligibility_for
from commerce.queries.reactivations import Term, bills_before, new_term, next_term, reactivation_of
from commerce.quotes import Reactivation
from config.kit.actors import Actor
from config.kit.errors import Conflict, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.operations.audit import record

State = Subscription.State
Reason = Subscription.DisabledReason
ENDED = frozenset({State.EXPIRED, State.DISABLED})


class NothingToReactivate(Conflict):
    """The subscription has not ended, ended for good, or is a trial, which is bought instead."""

    code = "nothing_to_reactivate"

    def __init__(self, subscription: Subscription) -> None:
        if subscription.state == State.DELETED:
            told = _("It was deleted, which is final. Buy it again instead. Nothing was charged.")
        elif subscription.channel == Subscription.Channel.TRIAL:
            told = _("A trial is not reactivated. Buy the product instead. Nothing was charged.")
        else:
            told = _("It has not ended, so there is nothing to bring back. Nothing was charged.")
        super().__init__(told, state=subscription.state)


class UnpaidFirst(Conflict):
    """Something of it is still to be paid; `bills` are what, the oldest first."""

    code = "unpaid_first"
    message = _("A bill of this is still to be paid. Pay it first. Nothing was charged now.")

    def __init__(self, bills: list[Bill]) -> None:
        self.bills = bills
        super().__init__(bills=[bill.number for bill in bills])


def is_reactivable(subscription: Subscription) -> bool:
    """Whether it has ended, and not for good. What else may stand in the way, `require_reactivable` says."""
    return bool(subscription.state in ENDED and subscription.channel != Subscription.Channel.TRIAL)


def require_reactivable(actor: Actor, subscription: Subscription, at: datetime) -> None:
    """Whether it may be brought back now. Eight queries at most.

    While Expired it still is a renewal, which no policy stops; once Disabled it is a purchase (product §9).

    :raises NothingToReactivate: its state, or a trial. :raises UnpaidFirst: an open bill comes first.
    :raises Disputed: a charge is contested. :raises NotAllowed: the organization is suspended.
    :raises NotEligible: Disabled, and the person could not buy the product either, with all reasons.
    :raises ServiceOff: Disabled and the organization's, and a data policy switched the product off.
    """
    if not is_reactivable(subscription):
        raise NothingToReactivate(subscription)
    bills = bills_before(subscription)
    if bills:
        raise UnpaidFirst(bills)
    if subscription.disputed_at is not None:
        raise Disputed
    if subscription.state == State.DISABLED and not subscription.is_organizations:
        eligibility = eligibility_for(actor=actor, product=subscription.product, at=at)
        if not eligibility.is_eligible:
            raise NotEligible(eligibility)
    else:
        require_good_standing(subscription)
        if subscription.state == State.DISABLED:
            require_service_on(actor, subscription.product)


def quote_reactivation(*, actor: Actor, subscription: Subscription, at: datetime) -> Reactivation:
    """What it costs to bring it back now; inside the tenant's transaction, locks nothing.

    :raises NotAllowed: by card, and not theirs to pay.
    :raises PlanNotSold: its plan has no price. :raises TooSmallToCharge: no card can be charged with so little.
    :raises OverLimit: Disabled, and more than one may spend. :raises DomainError: as `require_reactivable`.
    """
    if not subscription.is_on_account:
        paid.require_may_pay(actor, subscription)
    require_reactivable(actor, subscription, at)
    quote = reactivation_of(subscription, at)
    if not subscription.is_on_account:
        paid.require_enough(quote)
    paid.require_within_limits(
        actor, Checkout.Kind.REACTIVATION, subscription, subscription.quantity, quote, at
    )
    return quote


def reactivate_on_account(
    *, actor: Actor, key: uuid.UUID, version: int, seen_total_minor: int, at: datetime
) -> Placed:
    """Bring back, at once, a subscription that is billed under an agreement.

    `version` and `seen_total_minor` are those of the preview on which the person decided.

    :raises NotVisible: no such purchase for this person, or it is not on account.
    :raises NotAllowed: visible, and not theirs to change. :raises Conflict: changed since the preview.
    :raises PriceChanged: counted anew, it is another sum. :raises DomainError: as `quote_reactivation`.
    """
    with tenant_atomic(actor):
        subscription = lock_subscription(actor, key, version=version)
        require_may_manage(actor, subscription)
        if not subscription.is_on_account:
            raise NotVisible
        quote = quote_reactivation(actor=actor, subscription=subscription, at=at)
        if quote.total_minor != seen_total_minor:
            raise PriceChanged(quote)
        agreement = Agreement.objects.get(pk=cast(int, subscription.agreement_id))
        placed = _bring_back(
            actor=actor,
            subscription=subscription,
            term=_term_of(subscription, quote.service_start, at),
            unit_price_minor=quote.unit_price_minor,
            collection=Bill.Collection.ON_ACCOUNT,
            due_at=at + timedelta(days=agreement.payment_days),
            at=at,
        )
        notices.queue_reactivated(placed=placed, card=None, at=at)
    return placed


def start_reactivation(
    *, actor: Actor, key: uuid.UUID, intent: uuid.UUID, version: int, seen_total_minor: int, at: datetime
) -> Checkout:
    """A checkout that brings it back once paid by `payments.pay_change`; one for an `intent`, as `paid.begin` says.

    :raises NotVisible, NotAllowed, Conflict, PriceChanged: as `paid.begin`.
    :raises DomainError: as `quote_reactivation`.
    """

    def count(subscription: Subscription) -> tuple[int, Reactivation]:
        return subscription.quantity, quote_reactivation(actor=actor, subscription=subscription, at=at)

    return paid.begin(
        actor=actor,
        kind=Checkout.Kind.REACTIVATION,
        key=key,
        intent=intent,
        version=version,
        seen_total_minor=seen_total_minor,
        count=count,
        at=at,
    )


def count_reactivation_anew(*, actor: Actor, key: uuid.UUID, at: datetime) -> Checkout:
    """The open checkout of a reactivation with today's sum, for its page; one that is not open stays as it is.

    :raises NotVisible: no such checkout of this person.
    :raises DomainError: it can no longer be brought back, with the reason.
    """

    def count(subscription: Subscription, checkout: Checkout) -> Reactivation:
        return quote_reactivation(actor=actor, subscription=subscription, at=at)

    return paid.count_anew(actor=actor, kind=Checkout.Kind.REACTIVATION, key=key, count=count, at=at)


# --- What the payment sequence asks of this kind ----------------------------------------------------------


def _check(actor: Actor, checkout: Checkout, at: datetime) -> None:
    """:raises PriceChanged: another price, or another day. :raises DomainError: as `require_reactivable`."""
    paid.allow(actor, checkout)
    require_reactivable(actor, checkout.changed, at)
    paid.require_as_counted(checkout, reactivation_of(checkout.changed, at))


def _place(*, actor: Actor, checkout: Checkout, card: Card | None, at: datetime) -> Placed:
    """:raises NothingToGive: it is active or deleted by now, or the organization pays it on account."""
    subscription: Subscription = checkout.changed
    if not is_reactivable(subscription) or subscription.is_on_account:
        raise NothingToGive
    if subscription.card_id is None:
        subscription.card = card
    return _bring_back(
        actor=actor,
        subscription=subscription,
        term=_term_of(subscription, cast(datetime, checkout.service_start), at),
        unit_price_minor=checkout.unit_price_minor,
        collection=Bill.Collection.CARD,
        due_at=at,
        at=at,
        checkout=checkout,
    )


KIND = Kind(allow=paid.allow, check=_check, place=_place, tell=notices.queue_reactivated)


def _term_of(subscription: Subscription, starts: datetime, at: datetime) -> Term:
    """The term that was agreed on by its start.

    One that goes on from the old end is given even if the sweep disabled the subscription while the bank was
    asked: what was shown and confirmed stands (F-21). A new one begins on the day on which it is given, as that of
    a purchase does: nobody pays for the days that the bank's confirmation took.
    """
    ran_out = subscription.state == State.EXPIRED or subscription.disabled_reason in ("", Reason.ENDED)
    if ran_out and starts == subscription.term_end:
        return next_term(subscription)
    return new_term(subscription, periods.local_date(at, subscription.time_zone))


def _bring_back(
    *,
    actor: Actor,
    subscription: Subscription,
    term: Term,
    unit_price_minor: int,
    collection: str,
    due_at: datetime,
    at: datetime,
    checkout: Checkout | None = None,
) -> Placed:
    """Order, term, history and, last since its series is locked from then on, the bill."""
    order = write_order(actor, Order.Type.REACTIVATION, checkout=checkout, at=at)
    amount_minor = subscription.quantity * unit_price_minor
    OrderLine.objects.create(
        tenant_id=order.tenant_id,
        order=order,
        subscription=subscription,
        # Only a cancellation took the seats away; otherwise they are still those that were bought.
        quantity=subscription.quantity if subscription.disabled_reason == Reason.CANCELED else 0,
        currency=subscription.currency,
        unit_price_minor=unit_price_minor,
        amount_minor=amount_minor,
    )
    before = {"state": subscription.state, "unit_price_minor": subscription.unit_price_minor}
    _begin(subscription, term, unit_price_minor, at)
    facts = {
        "order": str(order.key),
        "quantity": subscription.quantity,
        "amount_minor": amount_minor,
        "currency": subscription.currency,
        "period_start": term.period_start.isoformat(),
        "period_end": term.period_end.isoformat(),
    }
    remember(subscription, "reactivated", actor=actor, at=at, **facts)
    record(
        actor,
        "commerce.subscription.reactivated",
        at=at,
        target_type="subscription",
        target_id=subscription.key,
        target_label=str(subscription),
        before=before,
        after={"state": subscription.state, "unit_price_minor": unit_price_minor, **facts},
    )
    bill = bill_seats(
        actor=actor,
        subscription=subscription,
        order=order,
        type=Bill.Type.REACTIVATION,
        quantity=subscription.quantity,
        unit_price_minor=unit_price_minor,
        amount_minor=amount_minor,
        period=(term.period_start, term.period_end),
        collection=collection,
        due_at=due_at,
        at=at,
    )
    return Placed(order, subscription, bill)


def _begin(subscription: Subscription, term: Term, unit_price_minor: int, at: datetime) -> None:
    """Active in that term, as if it had never ended: nothing of the end is left, and it renews again."""
    changes = {
        "state": State.ACTIVE,
        "recurring_billing": True,
        "anchor_date": term.anchor_date,
        "offset_months": term.offset_months,
        "period_index": term.period_index,
        "period_start": term.period_start,
        "period_end": term.period_end,
        "term_end": term.term_end,
        "due_at": term.period_end,
        "unit_price_minor": unit_price_minor,
        "period_price_minor": subscription.quantity * unit_price_minor,
        "expired_at": None,
        "disabled_at": None,
        "disabled_reason": "",
        "payment_failed_at": None,
        "next_try_at": None,
        "pay_by_at": None,
        "next_reminder_at": at,
        "parked_at": None,
        "parked_reason": "",
        "version": subscription.version + 1,
    }
    for name, value in changes.items():
        setattr(subscription, name, value)
    subscription.save(update_fields=[*changes, "card"])
