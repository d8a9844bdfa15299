"""The checkout of a change that is paid by card: begun once, counted anew, paid by whoever may (docs/adr/0009).

Added seats and a reactivation share it; what each costs and makes is said in a module of its own.
"""

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Protocol, cast

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from commerce.gateways.minimums import least_charge
from commerce.models import Checkout, Subscription
from commerce.operations import checkouts
from commerce.operations.changes.rules import lock_subscription, require_may_manage
from commerce.operations.checkouts import PriceChanged, Sums, abandon, write_sums
from commerce.queries.spending import is_counted, purchase_by
from config.kit.actors import Actor
from config.kit.errors import Conflict, NotVisible, Text
from config.kit.money import format_money
from config.kit.tenancy import tenant_atomic
from directory.operations.audit import record
from directory.permissions import Capability

UNDER_WAY = (Checkout.State.PAYING, Checkout.State.ACTION)


class Counted(Sums, Protocol):
    """What a change costs now, and which days the money covers."""

    @property
    def service_start(self) -> datetime: ...
    @property
    def service_end(self) -> datetime: ...


class TooSmallToCharge(Conflict):
    """The sum is less than a card can be charged with; `least_minor` is the smallest that can."""

    code = "too_small_to_charge"

    def __init__(self, quote: Counted, least_minor: int, advice: Text) -> None:
        self.least_minor = least_minor
        told = _("%(sum)s is less than a card can be charged with, which is %(least)s. Nothing was charged.")
        sums = {
            "sum": format_money(quote.total_minor, quote.currency),
            "least": format_money(least_minor, quote.currency),
        }
        super().__init__(f"{told % sums} {advice}".strip(), least_minor=least_minor)


def begin(
    *,
    actor: Actor,
    kind: str,
    key: uuid.UUID,
    intent: uuid.UUID,
    version: int,
    seen_total_minor: int,
    count: Callable[[Subscription], tuple[int, Counted]],
    at: datetime,
) -> Checkout:
    """A checkout of that kind for the subscription `key`, to be paid by `payments.pay_change`.

    The same `intent` gives the same checkout (F-18). There is one under way for a person, subscription and kind:
    one that is being paid is given instead of a second, an open one ends. `count` says for how many seats, and
    what they cost now, or refuses.

    :raises NotVisible: no such purchase for this person, or it is on account.
    :raises NotAllowed: visible, and not theirs to change. :raises Conflict: not of that `version` any more.
    :raises PriceChanged: counted anew, it is another sum. :raises DomainError: what `count` says.
    """
    with tenant_atomic(actor):
        mine = Checkout.objects.visible_to(actor).select_related("subscription", "product").filter(kind=kind)
        known: Checkout | None = mine.filter(key=intent).first()
        if known is not None:
            return known
        subscription = lock_subscription(actor, key)
        # Two posts of one page at once: the second waited for the lock, and finds what the first made.
        made: Checkout | None = mine.filter(key=intent).first()
        if made is not None:
            return made
        require_may_manage(actor, subscription)
        if subscription.is_on_account:
            raise NotVisible
        if subscription.version != version:
            raise Conflict
        others = mine.filter(subscription=subscription)
        paying: Checkout | None = others.filter(state__in=UNDER_WAY).first()
        if paying is not None:
            return paying
        quantity, quote = count(subscription)
        if quote.total_minor != seen_total_minor:
            raise PriceChanged(quote)
        for other in others.filter(state=Checkout.State.OPEN):
            abandon(actor, other, at)
        checkout = Checkout(
            tenant_id=actor.tenant_id,
            key=intent,
            kind=kind,
            subscription=subscription,
            user_id=cast(int, actor.user_id),
            product=subscription.product,
            plan=subscription.plan,
            market_id=subscription.market_id,
            quantity=quantity,
            takes_first_license=False,
            bill_to_id=subscription.bill_to_id,
            created_at=at,
            expires_at=at + settings.CHECKOUT_KEPT,
        )
        _put(checkout, quote)
        checkout.save(force_insert=True)
        record(
            actor,
            "commerce.checkout.started",
            at=at,
            target_type="checkout",
            target_id=checkout.key,
            target_label=str(subscription),
            after={"kind": kind, "quantity": quantity, "total_minor": checkout.total_minor},
        )
    return checkout


def count_anew(
    *,
    actor: Actor,
    kind: str,
    key: uuid.UUID,
    count: Callable[[Subscription, Checkout], Counted],
    at: datetime,
) -> Checkout:
    """The open checkout with today's sum, for its page; one that is not open stays as it is.

    :raises NotVisible: no such checkout of this person. :raises DomainError: what `count` says.
    """
    with tenant_atomic(actor):
        found: Checkout | None = Checkout.objects.visible_to(actor).filter(key=key, kind=kind).first()
        if found is None:
            raise NotVisible
        if found.state != Checkout.State.OPEN or found.expires_at <= at:
            return found
        subscription = lock_subscription(actor, found.changed.key)
        checkout: Checkout = Checkout.objects.select_for_update(of=["self"]).get(pk=found.pk)
        if checkout.state != Checkout.State.OPEN:
            return checkout
        quote = count(subscription, checkout)
        if is_as_counted(checkout, quote):
            return checkout
        _put(checkout, quote)
        checkout.version += 1
        checkout.save()
    return checkout


def allow(actor: Actor, checkout: Checkout) -> None:
    """:raises NotAllowed: not theirs to change or to pay. :raises NotVisible: not seen, or on account by now."""
    require_may_manage(actor, checkout.changed)
    require_may_pay(actor, checkout.changed)
    if checkout.changed.is_on_account:
        raise NotVisible


def require_as_counted(checkout: Checkout, quote: Counted) -> None:
    """:raises PriceChanged: what was shown is not what it costs any more."""
    if not is_as_counted(checkout, quote):
        raise PriceChanged(quote)


def require_may_pay(actor: Actor, subscription: Subscription) -> None:
    """:raises NotAllowed: not the actor's to pay by card."""
    actor.require(
        Capability.PAY_BILLS,
        is_own=subscription.is_owned_by(actor),
        is_org=subscription.is_organizations,
        sees=Capability.SEE_PURCHASES,
    )


def require_enough(quote: Counted, advice: Text = "") -> None:
    """:raises TooSmallToCharge: no card can be charged with so little; `advice` says what to do instead."""
    least = least_charge(quote.currency)
    if quote.total_minor < least:
        raise TooSmallToCharge(quote, least, advice)


def require_within_limits(
    actor: Actor, kind: str, subscription: Subscription, seats: int, quote: Counted, at: datetime
) -> None:
    """:raises OverLimit: the person may not spend that much, where a change of this kind counts as spending."""
    if not is_counted(subscription, kind):
        return
    purchase = purchase_by(
        tenant_id=subscription.tenant_id,
        user_id=cast(int, actor.user_id),
        product=subscription.product,
        seats=seats,
        amount_minor=quote.subtotal_minor,
        currency=quote.currency,
    )
    checkouts.require_within_limits(actor=actor, purchase=purchase, at=at)


def is_as_counted(checkout: Checkout, quote: Counted) -> bool:
    return (checkout.total_minor, checkout.currency, checkout.service_start, checkout.service_end) == (
        quote.total_minor,
        quote.currency,
        quote.service_start,
        quote.service_end,
    )


def _put(checkout: Checkout, quote: Counted) -> None:
    """Put the sums and the days into the row; the caller saves it."""
    write_sums(checkout, quote)
    checkout.service_start = quote.service_start
    checkout.service_end = quote.service_end
