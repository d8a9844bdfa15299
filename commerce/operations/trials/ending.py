"""What the owner of a trial decides about its end: longer, or kept and paid (product §3.6)."""

import uuid
from datetime import datetime

from django.utils.translation import gettext_lazy as _

from commerce import periods, trials
from commerce.models import Plan, Subscription
from commerce.operations.checkouts import BillingDetails, NotEligible, bill_to_for, is_in_register
from commerce.operations.trials.rules import (
    WANTED,
    Choice,
    Kind,
    TrialOver,
    TrialUsed,
    lock_trial,
    own_card,
    quote_trial,
    require_agreed,
    tell,
)
from commerce.queries.eligibility import eligibility_for
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed
from config.kit.tenancy import tenant_atomic


class NotExtendable(Conflict):
    """It was extended before, its last 15 days have not come, or it is over."""

    code = "not_extendable"
    message = _("A trial can be extended once, in its last 15 days. Nothing was changed.")


def extend_trial(*, actor: Actor, key: uuid.UUID, version: int, at: datetime) -> Subscription:
    """Make a trial 30 days longer: once, in its last 15 days. What it turns into, and its price, stay.

    :raises NotVisible, NotAllowed: no such purchase, or not theirs.
    :raises NotEligible: the organization no longer allows it. :raises NotExtendable: not now, or not again.
    :raises Conflict: changed since the page was shown.
    """
    with tenant_atomic(actor):
        subscription, trial = lock_trial(actor, key)
        if not trials.is_extendable(ends_at=trial.ends_at, extended_at=trial.extended_at, at=at):
            raise NotExtendable
        if subscription.version != version:
            raise Conflict
        eligibility = eligibility_for(
            actor=actor, product=subscription.product, at=at, wanted=WANTED[Kind(trial.kind)]
        )
        if set(eligibility.codes) - {TrialUsed.code}:
            raise NotEligible(eligibility)
        before = trial.ends_at
        ends_at = extended_end(before, subscription.time_zone)
        trial.ends_at, trial.extended_at = ends_at, at
        trial.save(update_fields=["ends_at", "extended_at"])
        subscription.period_end = subscription.term_end = subscription.due_at = ends_at
        subscription.next_reminder_at = at
        subscription.version += 1
        subscription.save(update_fields=["period_end", "term_end", "due_at", "next_reminder_at", "version"])
        tell(
            actor,
            subscription,
            "trial_extended",
            at,
            before={"ends_at": before.isoformat()},
            after={"ends_at": ends_at.isoformat()},
        )
    return subscription


def keep_after_trial(
    *,
    actor: Actor,
    key: uuid.UUID,
    version: int,
    plan: Plan,
    card_id: int,
    billing: BillingDetails,
    agrees_to_terms: bool,
    seen_total_minor: int | None,
    at: datetime,
) -> Subscription:
    """Let a running trial without a card turn paid at its end, charged to a card of the person's from then on.

    Nothing is charged before. The trial has a card from now on. Not in a transaction.

    :raises NotVisible, NotAllowed: no such purchase, or not theirs. :raises TrialOver: it has ended.
    :raises NotEligible: the person may not buy the product. :raises PriceChanged: another sum than was seen.
    :raises Malformed, CardExpired, TermsNotAccepted: as `start_trial_with_card`.
    :raises Conflict: changed since the page was shown.
    """
    verified = is_in_register(None, billing)
    with tenant_atomic(actor):
        subscription, trial = lock_trial(actor, key)
        if subscription.period_end <= at:
            raise TrialOver
        if subscription.version != version:
            raise Conflict
        eligibility = eligibility_for(actor=actor, product=subscription.product, at=at)
        if not eligibility.is_eligible:
            raise NotEligible(eligibility)
        choice = Choice(subscription.product, plan, subscription.quantity, seen_total_minor)
        if plan.product_id != subscription.product_id:
            raise Malformed(_("Choose one of the terms."), field="plan")
        quote = quote_trial(actor, choice, at)
        require_agreed(choice, quote, agrees_to_terms)
        subscription.card = own_card(actor, card_id, at)
        subscription.bill_to = bill_to_for(actor, subscription.bill_to, billing, is_verified=verified)
        subscription.plan = plan
        subscription.term_months, subscription.billing_months = plan.term_months, plan.billing_months
        subscription.unit_price_minor = quote.unit_price_minor
        subscription.period_price_minor = quote.subtotal_minor
        subscription.recurring_billing = True
        subscription.version += 1
        subscription.save(
            update_fields=[
                *("card", "bill_to", "plan", "term_months", "billing_months", "unit_price_minor"),
                *("period_price_minor", "recurring_billing", "version"),
            ]
        )
        before = trial.kind
        trial.kind = Kind.WITH_CARD
        trial.save(update_fields=["kind"])
        tell(
            actor,
            subscription,
            "trial_kept",
            at,
            before={"kind": before},
            after={"kind": trial.kind, "plan": plan.code, "total_minor": quote.total_minor},
        )
    return subscription


def extended_end(ends_at: datetime, time_zone: str) -> datetime:
    """When a trial that ends at `ends_at` ends once it is extended. One query."""
    return periods.days_later(ends_at, trials.EXTENSION_DAYS, time_zone)
