"""What differs between the ways to an order: buying, adding seats, reactivating (product §3.4, §5).

The charge itself is the same for all of them. A kind says what must still be true right before it, what it makes
once the money came in, and which mails tell of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from commerce.models import Card, Checkout
from commerce.operations import notices
from commerce.operations.checkouts import NotEligible, PriceChanged
from commerce.operations.orders import Placed, place_order
from commerce.queries.eligibility import eligibility_for
from commerce.queries.quotes import quote_for
from config.kit.actors import Actor
from config.kit.errors import Conflict
from directory.permissions import Capability


class NothingToGive(Conflict):
    """A charge came in for which nothing can be given any more; it goes back to the card."""

    code = "nothing_to_give"


class Place(Protocol):
    """Makes what was paid for, in the transaction that records the payment; the bill is left open for it.

    The subscription of a change and the checkout are locked. `card` is the one that was charged.

    :raises NothingToGive: too late; the whole charge is given back. No other error: the money is there.
    """

    def __call__(self, *, actor: Actor, checkout: Checkout, card: Card | None, at: datetime) -> Placed: ...


class Tell(Protocol):
    """Queues the mails about an order whose bill is paid."""

    def __call__(self, *, placed: Placed, card: Card | None, at: datetime) -> None: ...


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of checkout.

    `allow` refuses whoever may not pay it. `check` refuses what must not be charged now, with its reason: the
    last look before the charge, under lock. Both raise a `DomainError`.
    """

    allow: Callable[[Actor, Checkout], None]
    check: Callable[[Actor, Checkout, datetime], None]
    place: Place
    tell: Tell


class StartWithCard(Protocol):
    """Makes what a card was kept for and nothing is charged for yet: a trial; in the transaction that keeps the card."""

    def __call__(self, *, actor: Actor, checkout_id: int, card: Card, at: datetime) -> None: ...


_kinds: dict[str, Kind] = {}
_starts: dict[str, StartWithCard] = {}


def register_start(code: str, start: StartWithCard) -> None:
    """Make a kind known for which a card is kept without a charge; as `register`."""
    _starts[code] = start


def start_with_card(*, actor: Actor, checkout_id: int, card: Card, at: datetime) -> None:
    kind: str = Checkout.objects.values_list("kind", flat=True).get(pk=checkout_id)
    _starts[kind](actor=actor, checkout_id=checkout_id, card=card, at=at)


def register(code: str, kind: Kind) -> None:
    """Make a kind known; each app's `ready` does, so that every process can finish what another began."""
    _kinds[code] = kind


def kind_of(checkout: Checkout) -> Kind:
    return _kinds[checkout.kind]


def _allow_purchase(actor: Actor, checkout: Checkout) -> None:
    actor.require(Capability.BUY, is_own=True, is_org=False, sees=Capability.BUY)


def _check_purchase(actor: Actor, checkout: Checkout, at: datetime) -> None:
    """:raises NotEligible: with all reasons. :raises PriceChanged: the price is another one now."""
    eligibility = eligibility_for(actor=actor, product=checkout.product, at=at)
    if not eligibility.is_eligible:
        raise NotEligible(eligibility)
    quote = quote_for(
        plan=checkout.plan,
        quantity=checkout.quantity,
        market=checkout.market,
        time_zone=checkout.tenant.time_zone,
        at=at,
    )
    if (quote.total_minor, quote.currency) != (checkout.total_minor, checkout.currency):
        raise PriceChanged(quote)


def _tell_of_purchase(*, placed: Placed, card: Card | None, at: datetime) -> None:
    notices.queue_receipt(placed=placed, card=card, at=at)
    notices.queue_purchase_notice(placed=placed, at=at)


register(
    Checkout.Kind.PURCHASE,
    Kind(allow=_allow_purchase, check=_check_purchase, place=place_order, tell=_tell_of_purchase),
)
