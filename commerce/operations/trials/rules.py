"""What every step of a trial asks, counts and tells (product §3.6)."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext_lazy as _

from commerce import trials
from commerce.models import Card, Market, Plan, Product, Subscription, Trial
from commerce.operations.cards import CardExpired
from commerce.operations.changes.rules import lock_subscription, require_may_manage
from commerce.operations.checkouts import NotEligible, PriceChanged, TermsNotAccepted
from commerce.operations.subscriptions import remember
from commerce.queries import cards
from commerce.queries.catalogue import NotSoldHere, market_of
from commerce.queries.eligibility import eligibility_for
from commerce.queries.quotes import quote_for
from commerce.quotes import Quote
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotVisible
from directory.actors import tenant_row
from directory.models import User
from directory.operations.audit import record
from directory.permissions import Capability
from policies.eligibility import Wanted

Kind = Trial.Kind
# What eligibility is asked for each kind.
WANTED: dict[Kind, Wanted] = {Kind.WITH_CARD: "trial", Kind.WITHOUT_CARD: "free_trial"}


class TrialUsed(Conflict):
    """The person tried this product before, perhaps in another tab a moment ago."""

    code = "trial_used"
    message = _("You have tried this before; there is one trial for each person. Nothing was started.")


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


def lock_person(actor: Actor) -> User:
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


def lock_trial(actor: Actor, key: uuid.UUID) -> tuple[Subscription, Trial]:
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


def require_eligible(actor: Actor, product: Product, kind: Kind, at: datetime) -> None:
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


def quote_trial(actor: Actor, choice: Choice, at: datetime, *, unit_price_minor: int | None = None) -> Quote:
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


def agreed_quote(actor: Actor, choice: Choice, agrees_to_terms: bool, at: datetime) -> Quote:
    require_eligible(actor, choice.product, Kind.WITH_CARD, at)
    quote = quote_trial(actor, choice, at)
    require_agreed(choice, quote, agrees_to_terms)
    return quote


def require_agreed(choice: Choice, quote: Quote, agrees_to_terms: bool) -> None:
    if not agrees_to_terms:
        raise TermsNotAccepted
    if choice.seen_total_minor != quote.total_minor:
        raise PriceChanged(quote)


def own_card(actor: Actor, card_id: int, at: datetime) -> Card:
    card: Card | None = (
        Card.objects.live().filter(pk=card_id, tenant_id=actor.tenant_id, user_id=actor.user_id).first()
    )
    if card is None:
        raise Malformed(_("Choose one of your cards."), field="card")
    if cards.is_over(card, at, tenant_row(actor.tenant_id).time_zone):
        raise CardExpired
    return card


def tell(
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
