"""Trials: starting one, making it longer once, and deciding that it turns paid (product §3.6).

What becomes of it at its end is the sweep's: `commerce.operations.renewals.trials`. Nothing here moves money; the price
that the person agreed to is on the subscription and is what its first bill says.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import IntegrityError
from django.utils.translation import gettext_lazy as _

from commerce import periods, trials
from commerce.hooks import Activation, subscription_activated
from commerce.models import (
    BillTo,
    Card,
    Checkout,
    Market,
    Order,
    OrderLine,
    Plan,
    Product,
    Subscription,
    Trial,
)
from commerce.operations import notices
from commerce.operations.cards import CardExpired
from commerce.operations.changes.rules import lock_subscription, require_may_manage
from commerce.operations.checkouts import (
    BillingDetails,
    NotEligible,
    PriceChanged,
    TermsNotAccepted,
    bill_to_for,
    is_in_register,
    write_sums,
)
from commerce.operations.orders import write_order
from commerce.operations.subscriptions import Terms, activate, remember
from commerce.queries import cards
from commerce.queries.catalogue import NotSoldHere, market_of
from commerce.queries.eligibility import eligibility_for
from commerce.queries.quotes import quote_for
from commerce.quotes import Quote
from config.kit.actors import Actor
from config.kit.errors import Conflict, DomainError, Malformed, NotVisible
from config.kit.tenancy import atomic, tenant_atomic
from directory.actors import tenant_row
from directory.models import Tenant, User
from directory.operations.audit import record
from directory.operations.people import mark_purchaser
from directory.permissions import Capability
from policies.eligibility import Wanted

Kind = Trial.Kind
# What eligibility is asked for each kind.
WANTED: dict[Kind, Wanted] = {Kind.WITH_CARD: "trial", Kind.WITHOUT_CARD: "free_trial"}


class TrialUsed(Conflict):
    """The person tried this product before, perhaps in another tab a moment ago."""

    code = "trial_used"
    message = _("You have tried this before; there is one trial for each person. Nothing was started.")


class NotExtendable(Conflict):
    """It was extended before, its last 15 days have not come, or it is over."""

    code = "not_extendable"
    message = _("A trial can be extended once, in its last 15 days. Nothing was changed.")


class TrialOver(Conflict):
    """It is no trial any more: it turned paid, or it ended."""

    code = "trial_over"
    message = _("This trial is over. Nothing was changed.")


@dataclass(frozen=True, slots=True)
class Choice:
    """What the person chose and saw: what is tried, and what the first bill is to come to, tax included.

    `plan` is that of the subscription after the trial; without a card it only says what it would cost.
    """

    product: Product
    plan: Plan
    quantity: int
    seen_total_minor: int | None = None


def start_trial_without_card(
    *, actor: Actor, choice: Choice, agrees_to_terms: bool, at: datetime
) -> Subscription:
    """Start a trial that ends by itself into Disabled; for products that offer it.

    :raises NotEligible: with all reasons, an earlier trial among them. :raises TrialUsed: started a moment ago.
    :raises Malformed: the number of seats or the plan. :raises TermsNotAccepted: nobody agreed.
    """
    with tenant_atomic(actor):
        user = _lock_person(actor)
        _require_eligible(actor, choice.product, Kind.WITHOUT_CARD, at)
        quote = _quote(actor, choice, at)
        if not agrees_to_terms:
            raise TermsNotAccepted
        bill_to = BillTo.objects.create(
            tenant_id=actor.tenant_id,
            name=user.name,
            country=tenant_row(actor.tenant_id).country,
            email=user.email,
        )
        return _start(
            actor=actor, user=user, choice=choice, quote=quote, kind=Kind.WITHOUT_CARD, bill_to=bill_to, at=at
        )


def start_trial_with_card(
    *,
    actor: Actor,
    choice: Choice,
    card_id: int,
    billing: BillingDetails,
    agrees_to_terms: bool,
    at: datetime,
) -> Subscription:
    """Start a trial that turns paid at its end, charged to a card that the person has here. Not in a transaction.

    :raises NotEligible, TrialUsed, Malformed, TermsNotAccepted: as `start_trial_without_card`.
    :raises PriceChanged: what the first bill comes to is another sum than the person saw.
    :raises CardExpired: the card is over. Malformed also where it is not the person's.
    """
    verified = is_in_register(None, billing)
    with tenant_atomic(actor):
        user = _lock_person(actor)
        quote = _agreed_quote(actor, choice, agrees_to_terms, at)
        card = _own_card(actor, card_id, at)
        return _start(
            actor=actor,
            user=user,
            choice=choice,
            quote=quote,
            kind=Kind.WITH_CARD,
            bill_to=bill_to_for(actor, None, billing, is_verified=verified),
            card=card,
            at=at,
        )


def prepare_trial(
    *,
    actor: Actor,
    key: uuid.UUID,
    choice: Choice,
    billing: BillingDetails,
    agrees_to_terms: bool,
    at: datetime,
) -> Checkout:
    """Write down what is agreed to, before the card is kept by `payments.save_card`, which starts the trial.

    The same `key` gives the same row (F-18). Not in a transaction. Raises as `start_trial_with_card`.
    """
    verified = is_in_register(None, billing)
    with tenant_atomic(actor):
        user = _lock_person(actor)
        known: Checkout | None = (
            Checkout.objects.visible_to(actor).filter(kind=Checkout.Kind.TRIAL, key=key).first()
        )
        if known is not None:
            return known
        quote = _agreed_quote(actor, choice, agrees_to_terms, at)
        checkout = Checkout(
            tenant_id=actor.tenant_id,
            key=key,
            kind=Checkout.Kind.TRIAL,
            user=user,
            product=choice.product,
            plan=choice.plan,
            market=market_of_actor(actor),
            quantity=choice.quantity,
            bill_to=bill_to_for(actor, None, billing, is_verified=verified),
            terms_version=settings.TERMS_VERSION,
            consented_at=at,
            created_at=at,
            expires_at=at + settings.CHECKOUT_KEPT,
        )
        write_sums(checkout, quote)
        checkout.save(force_insert=True)
        record(
            actor,
            "commerce.checkout.agreed",
            at=at,
            target_type="checkout",
            target_id=checkout.key,
            target_label=choice.product.name,
            after={
                "kind": checkout.kind,
                "plan": choice.plan.code,
                "quantity": choice.quantity,
                "total_minor": quote.total_minor,
                "currency": quote.currency,
                "terms_version": checkout.terms_version,
            },
        )
        return checkout


def start_prepared(*, actor: Actor, checkout_id: int, card: Card, at: datetime) -> None:
    """Start the trial for which a card was kept, in that transaction; where it may not start, say why on the row.

    At most one comes of a checkout, and one that is over stays so.
    """
    checkout: Checkout = (
        Checkout.objects.select_for_update(of=["self"])
        .select_related("product", "plan__product", "market__vendor_entity", "bill_to", "user")
        .get(pk=checkout_id)
    )
    if checkout.state != Checkout.State.OPEN:
        return
    assert checkout.bill_to is not None
    choice = Choice(checkout.product, checkout.plan, checkout.quantity, checkout.total_minor)
    try:
        with atomic():
            user = _lock_person(actor)
            _require_eligible(actor, choice.product, Kind.WITH_CARD, at)
            _set_checkout(checkout, Checkout.State.PAYING)
            _start(
                actor=actor,
                user=user,
                choice=choice,
                quote=_quote(actor, choice, at, unit_price_minor=checkout.unit_price_minor),
                kind=Kind.WITH_CARD,
                bill_to=checkout.bill_to,
                card=card,
                checkout=checkout,
                at=at,
            )
            checkout.paid_at = at
            _set_checkout(checkout, Checkout.State.PAID)
    except DomainError as refused:
        checkout.state, checkout.paid_at = Checkout.State.OPEN, None
        checkout.last_error = refused.code
        _set_checkout(checkout, Checkout.State.ABANDONED)


def extend_trial(*, actor: Actor, key: uuid.UUID, version: int, at: datetime) -> Subscription:
    """Make a trial 30 days longer: once, in its last 15 days. What it turns into, and its price, stay.

    :raises NotVisible, NotAllowed: no such purchase, or not theirs.
    :raises NotEligible: the organization no longer allows it. :raises NotExtendable: not now, or not again.
    :raises Conflict: changed since the page was shown.
    """
    with tenant_atomic(actor):
        subscription, trial = _lock_trial(actor, key)
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
        _tell(
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
        subscription, trial = _lock_trial(actor, key)
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
        quote = _quote(actor, choice, at)
        _require_agreed(choice, quote, agrees_to_terms)
        subscription.card = _own_card(actor, card_id, at)
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
        _tell(
            actor,
            subscription,
            "trial_kept",
            at,
            before={"kind": before},
            after={"kind": trial.kind, "plan": plan.code, "total_minor": quote.total_minor},
        )
    return subscription


def end_of_trial(at: datetime, time_zone: str) -> datetime:
    """When a trial that starts at `at` ends. One query."""
    return periods.days_later(at, trials.DAYS, time_zone)


def extended_end(ends_at: datetime, time_zone: str) -> datetime:
    """When a trial that ends at `ends_at` ends once it is extended. One query."""
    return periods.days_later(ends_at, trials.EXTENSION_DAYS, time_zone)


# --- What they share --------------------------------------------------------------------------------------------


def _lock_person(actor: Actor) -> User:
    """The person, locked, so that two tabs start one trial between them.

    :raises NotVisible: nobody of this organization, as whoever acts for a customer.
    """
    user: User | None = (
        None
        if actor.is_partner
        else User.objects.select_for_update(no_key=True).filter(pk=actor.user_id).first()
    )
    if user is None:
        raise NotVisible
    return user


def _lock_trial(actor: Actor, key: uuid.UUID) -> tuple[Subscription, Trial]:
    """:raises NotVisible, NotAllowed: not theirs. :raises TrialOver: no trial any more."""
    subscription = lock_subscription(actor, key)
    require_may_manage(actor, subscription)
    trial: Trial | None = Trial.objects.select_for_update().filter(subscription=subscription).first()
    is_running = (
        subscription.channel == Subscription.Channel.TRIAL and subscription.state == Subscription.State.ACTIVE
    )
    if trial is None or not is_running:
        raise TrialOver
    return subscription, trial


def _require_eligible(actor: Actor, product: Product, kind: Kind, at: datetime) -> None:
    eligibility = eligibility_for(actor=actor, product=product, at=at, wanted=WANTED[kind])
    if not eligibility.is_eligible:
        raise NotEligible(eligibility)
    actor.require(Capability.BUY, is_own=True, is_org=False, sees=Capability.BUY)


def market_of_actor(actor: Actor) -> Market:
    """Where the person's organization buys. :raises NotSoldHere: nothing is sold there."""
    market = market_of(tenant_row(actor.tenant_id).country)
    if market is None:
        raise NotSoldHere
    return market


def _quote(actor: Actor, choice: Choice, at: datetime, *, unit_price_minor: int | None = None) -> Quote:
    """What the first bill comes to. :raises Malformed: the number of seats, or another product's plan."""
    most = trials.most_seats(choice.product.max_quantity)
    if choice.plan.product_id != choice.product.pk:
        raise Malformed(_("Choose one of the terms."), field="plan")
    if not 1 <= choice.quantity <= most:
        raise Malformed(_("Try 1 to %(most)s licenses.") % {"most": most}, field="quantity")
    return quote_for(
        plan=choice.plan,
        quantity=choice.quantity,
        market=market_of_actor(actor),
        time_zone=tenant_row(actor.tenant_id).time_zone,
        at=at,
        unit_price_minor=unit_price_minor,
    )


def _agreed_quote(actor: Actor, choice: Choice, agrees_to_terms: bool, at: datetime) -> Quote:
    _require_eligible(actor, choice.product, Kind.WITH_CARD, at)
    quote = _quote(actor, choice, at)
    _require_agreed(choice, quote, agrees_to_terms)
    return quote


def _require_agreed(choice: Choice, quote: Quote, agrees_to_terms: bool) -> None:
    if not agrees_to_terms:
        raise TermsNotAccepted
    if choice.seen_total_minor != quote.total_minor:
        raise PriceChanged(quote)


def _own_card(actor: Actor, card_id: int, at: datetime) -> Card:
    card: Card | None = (
        Card.objects.live().filter(pk=card_id, tenant_id=actor.tenant_id, user_id=actor.user_id).first()
    )
    if card is None:
        raise Malformed(_("Choose one of your cards."), field="card")
    if cards.is_over(card, at, tenant_row(actor.tenant_id).time_zone):
        raise CardExpired
    return card


def _start(
    *,
    actor: Actor,
    user: User,
    choice: Choice,
    quote: Quote,
    kind: Kind,
    bill_to: BillTo,
    at: datetime,
    card: Card | None = None,
    checkout: Checkout | None = None,
) -> Subscription:
    """Order, subscription, the one trial of this person and product, the first license, and the mail."""
    tenant = Tenant.objects.get(pk=actor.tenant_id)
    market = market_of_actor(actor)
    terms = Terms(
        plan=choice.plan,
        quantity=choice.quantity,
        market=market,
        currency=quote.currency,
        unit_price_minor=quote.unit_price_minor,
        tax_name=quote.tax_name,
        tax_rate=quote.tax_rate,
    )
    with _once(), atomic():
        order = write_order(actor, Order.Type.TRIAL, checkout=checkout, at=at)
        subscription = activate(
            actor=actor,
            tenant=tenant,
            terms=terms,
            channel=Subscription.Channel.TRIAL,
            owner=user,
            purchaser=user,
            bill_to=bill_to,
            card=card,
            days=trials.DAYS,
            recurring_billing=kind == Kind.WITH_CARD,
            at=at,
        )
        Trial.objects.create(
            tenant=tenant,
            user=user,
            product=choice.product,
            subscription=subscription,
            kind=kind,
            started_at=at,
            ends_at=subscription.period_end,
        )
    OrderLine.objects.create(
        tenant=tenant,
        order=order,
        subscription=subscription,
        quantity=choice.quantity,
        currency=quote.currency,
        unit_price_minor=quote.unit_price_minor,
        amount_minor=0,
    )
    mark_purchaser(user, at)
    _tell(
        actor,
        subscription,
        "trial_started",
        at,
        after={
            "kind": kind,
            "quantity": choice.quantity,
            "ends_at": subscription.period_end.isoformat(),
            "total_minor": quote.total_minor if kind == Kind.WITH_CARD else 0,
            "terms_version": settings.TERMS_VERSION,
        },
    )
    _give_first_license(actor, subscription, at)
    notices.queue_trial_started(
        subscription=subscription,
        with_card=kind == Kind.WITH_CARD,
        total_minor=quote.total_minor,
        card=card,
        at=at,
    )
    return subscription


@contextmanager
def _once() -> Iterator[None]:
    """:raises TrialUsed: another trial of this person and product was written meanwhile."""
    try:
        yield
    except IntegrityError as clash:
        diagnosis = getattr(clash.__cause__, "diag", None)
        if diagnosis is None or diagnosis.constraint_name != "commerce_trial_once":
            raise
        raise TrialUsed from clash


def _give_first_license(actor: Actor, subscription: Subscription, at: datetime) -> None:
    """A first license that cannot be given is remembered; the trial starts all the same."""
    try:
        with atomic():
            subscription_activated(Activation(subscription, actor, at, first_license=True))
    except DomainError as refused:
        remember(subscription, "first_license_refused", actor=actor, at=at, reason=refused.code)


def _set_checkout(checkout: Checkout, state: str) -> None:
    checkout.state = state
    checkout.version += 1
    checkout.save(update_fields=["state", "version", "last_error", "paid_at"])


def _tell(
    actor: Actor,
    subscription: Subscription,
    code: str,
    at: datetime,
    *,
    after: dict[str, object],
    before: dict[str, object] | None = None,
) -> None:
    remember(subscription, code, actor=actor, at=at, **after)
    record(
        actor,
        f"commerce.subscription.{code}",
        at=at,
        target_type="subscription",
        target_id=subscription.key,
        target_label=str(subscription),
        before=before,
        after=after,
    )
