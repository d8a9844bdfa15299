"""Starting a trial: without a card, with one that is here, or with one that is being kept (product §3.6)."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.conf import settings
from django.db import IntegrityError

from commerce import periods, trials
from commerce.hooks import Activation, subscription_activated
from commerce.models import BillTo, Card, Checkout, Order, OrderLine, Subscription, Trial
from commerce.operations import notices
from commerce.operations.checkouts import (
    BillingDetails,
    TermsNotAccepted,
    bill_to_for,
    is_in_register,
    write_sums,
)
from commerce.operations.orders import write_order
from commerce.operations.subscriptions import Terms, activate, remember
from commerce.operations.trials.rules import (
    Choice,
    Kind,
    TrialUsed,
    agreed_quote,
    lock_person,
    market_of_actor,
    own_card,
    quote_trial,
    require_eligible,
    tell,
)
from commerce.quotes import Quote
from config.kit.actors import Actor
from config.kit.errors import DomainError, constraint_of
from config.kit.tenancy import atomic, tenant_atomic
from directory.actors import tenant_row
from directory.models import Tenant, User
from directory.operations.audit import record
from directory.operations.people import mark_purchaser


def start_trial_without_card(
    *, actor: Actor, choice: Choice, agrees_to_terms: bool, at: datetime
) -> Subscription:
    """Start a trial that ends by itself into Disabled; for products that offer it.

    :raises NotEligible: with all reasons, an earlier trial among them. :raises TrialUsed: started a moment ago.
    :raises Malformed: the number of seats or the plan. :raises TermsNotAccepted: nobody agreed.
    """
    with tenant_atomic(actor):
        user = lock_person(actor)
        require_eligible(actor, choice.product, Kind.WITHOUT_CARD, at)
        quote = quote_trial(actor, choice, at)
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
        user = lock_person(actor)
        quote = agreed_quote(actor, choice, agrees_to_terms, at)
        card = own_card(actor, card_id, at)
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
        user = lock_person(actor)
        known: Checkout | None = (
            Checkout.objects.visible_to(actor).filter(kind=Checkout.Kind.TRIAL, key=key).first()
        )
        if known is not None:
            return known
        quote = agreed_quote(actor, choice, agrees_to_terms, at)
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
            user = lock_person(actor)
            require_eligible(actor, choice.product, Kind.WITH_CARD, at)
            _set_checkout(checkout, Checkout.State.PAYING)
            _start(
                actor=actor,
                user=user,
                choice=choice,
                quote=quote_trial(actor, choice, at, unit_price_minor=checkout.unit_price_minor),
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


def end_of_trial(at: datetime, time_zone: str) -> datetime:
    """When a trial that starts at `at` ends. One query."""
    return periods.days_later(at, trials.DAYS, time_zone)


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
    tell(
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
        if constraint_of(clash) != "commerce_trial_once":
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
