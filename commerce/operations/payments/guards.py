"""What must still be true in the instant before a charge, re-read under lock (I-14, product §3.3, F-21)."""

from datetime import datetime

from django.utils.translation import gettext_lazy as _

from commerce.gateways import Declined
from commerce.gateways.declines import TOO_SMALL, sentence_of
from commerce.gateways.minimums import least_charge
from commerce.models import Bill, Checkout, PaymentAttempt, Subscription
from commerce.operations.bills import lock_bill
from commerce.operations.checkouts import CheckoutClosed
from commerce.operations.payments import spending
from commerce.operations.payments.kinds import kind_of
from commerce.operations.subscriptions import lock_subscription_row
from config.kit.actors import Actor
from config.kit.errors import Conflict
from directory.operations.people import require_active

RENEWAL_OFF = "recurring_billing_off"
BEGINS_A_TERM = (Bill.Type.RENEWAL, Bill.Type.TRIAL_CONVERSION)


class NotCharged(Conflict):
    """The bill must not be charged now; `reason` says why. Nothing was."""

    code = "not_charged"
    message = _("This bill is not charged any more.")

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason=reason)


class AttemptEnded(Conflict):
    """The attempt has ended meanwhile; its outcome is on the row."""

    code = "attempt_ended"


def lock_attempt(attempt_id: int) -> PaymentAttempt:
    """The attempt with its cause, locked: subscription, then bill or checkout, then attempt, in that order."""
    attempt: PaymentAttempt = PaymentAttempt.objects.get(pk=attempt_id)
    if attempt.checkout_id is not None:
        checkout = lock_checkout(attempt.checkout_id)
        attempt = PaymentAttempt.objects.select_for_update().get(pk=attempt_id)
        attempt.checkout = checkout
    elif attempt.bill_id is not None:
        bill = lock_bill(attempt.bill_id)
        attempt = PaymentAttempt.objects.select_for_update().get(pk=attempt_id)
        attempt.bill = bill
    return attempt


def lock_checkout(checkout_id: int) -> Checkout:
    """The checkout, locked, with what its order needs; a change's subscription is locked before it."""
    subscription_id: int | None = Checkout.objects.values_list("subscription_id", flat=True).get(
        pk=checkout_id
    )
    subscription = lock_subscription_row(subscription_id) if subscription_id is not None else None
    checkout: Checkout = (
        Checkout.objects.select_for_update(of=["self"])
        .select_related("product", "plan__product", "market__vendor_entity", "bill_to", "user", "tenant")
        .get(pk=checkout_id)
    )
    if subscription is not None:
        checkout.subscription = subscription
    return checkout


def check_before_confirming(*, actor: Actor, attempt_id: int, at: datetime) -> PaymentAttempt:
    """The attempt, locked with its cause, when charging it is still right.

    :raises AttemptEnded: another process has settled it.
    :raises CheckoutClosed: the checkout ended, or its 24 hours are over.
    :raises DomainError: what the kind of checkout says: not eligible, another price, not active any more; or
        `OverLimit`. What it is going to cost counts from here on as spent.
    :raises NotCharged: the bill or its subscription is not in a state to be charged.
    :raises AccountDisabled: whoever is paying was disabled or deleted; until this transaction ends nobody can be (F-22).
    """
    attempt = lock_attempt(attempt_id)
    if attempt.state in PaymentAttempt.FINAL:
        raise AttemptEnded
    if attempt.checkout is not None:
        _check_checkout(actor, attempt.checkout, at)
    elif attempt.bill is not None:
        payer_id = attempt.bill.payer_id or actor.user_id
        if attempt.on_session and payer_id is not None:
            require_active(payer_id)
        reason = why_not_paid(attempt.bill) if attempt.on_session else why_not_charged(attempt.bill)
        if reason:
            raise NotCharged(reason)
    return attempt


def why_not_paid(bill: Bill) -> str:
    """Why nobody can pay the bill, also by hand; empty when it is open, whatever the sweep withholds. No query."""
    is_open = bill.status in (Bill.Status.OPEN, Bill.Status.PAST_DUE) and bill.total_minor > 0
    return "" if is_open else "bill_not_open"


def is_too_small(cause: Bill | Checkout) -> bool:
    """Whether no card can be charged with so little. No query."""
    return bool(cause.total_minor < least_charge(cause.currency))


def require_enough(cause: Bill | Checkout) -> None:
    """:raises Declined: whatever the card, it is too little."""
    if is_too_small(cause):
        raise Declined("hard", TOO_SMALL, sentence_of(TOO_SMALL))


def why_not_charged(bill: Bill) -> str:
    """Why the bill must not be charged to a card by itself; empty when it may. No query.

    A renewal, or a trial that turned paid, is charged only while recurring billing is on. A monthly charge inside a
    term that was committed to is owed whatever the switch says, and still when a late sweep finds the term over and
    the subscription Expired (product §5.5).
    """
    subscription: Subscription = bill.subscription
    if bill.status not in (Bill.Status.OPEN, Bill.Status.PAST_DUE):
        return "bill_not_open"
    if bill.collection != Bill.Collection.CARD:
        return "on_account"
    is_owed = bill.type == Bill.Type.MONTHLY_CHARGE and subscription.state == Subscription.State.EXPIRED
    if subscription.state != Subscription.State.ACTIVE and not is_owed:
        return "subscription_not_active"
    if bill.type in BEGINS_A_TERM and not subscription.recurring_billing:
        return RENEWAL_OFF
    return ""


def _check_checkout(actor: Actor, checkout: Checkout, at: datetime) -> None:
    if checkout.state not in (Checkout.State.PAYING, Checkout.State.ACTION) or checkout.expires_at <= at:
        raise CheckoutClosed(checkout.state)
    require_active(checkout.user_id)
    kind_of(checkout).check(actor, checkout, at)
    spending.reserve(actor, checkout, at)
