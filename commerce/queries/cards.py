"""Which card pays what (product §6): the one that was chosen while it is the payer's, else the payer's default."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from django.db.models import F, OuterRef, Q, QuerySet, Subquery

from commerce.models import Bill, Card, PaymentAttempt, Subscription
from config.kit.actors import Actor
from config.kit.errors import NotVisible
from directory.permissions import Capability

# More than anybody looks through on this page; the rest is in Your products.
MOST_SUBSCRIPTIONS = 200
MOST_BILLS = 50


@dataclass(slots=True)
class Holding:
    """One card, and what it will be charged for: subscriptions by next charge, open bills by due date."""

    card: Card
    subscriptions: list[Subscription] = field(default_factory=list)
    bills: list[Bill] = field(default_factory=list)

    @property
    def is_free(self) -> bool:
        """Whether it may be removed: nothing would be left without the card that pays it."""
        return not self.subscriptions and not self.bills

    @property
    def is_expiring(self) -> bool:
        """Whether it ends before a charge that it is to pay."""
        return any(is_over(self.card, each.due_at, each.time_zone) for each in self.subscriptions)


@dataclass(slots=True)
class Wallet:
    """What one payer pays with: the person, or the organization when `user_id` is None.

    `uncovered`: subscriptions that will be charged and for which there is no card at all.
    """

    user_id: int | None
    holdings: list[Holding]
    uncovered: list[Subscription]
    open_bills: list[Bill]

    @property
    def is_organizations(self) -> bool:
        return self.user_id is None


def end_of(card: Card, time_zone: str) -> datetime:
    """The first instant at which a card is no longer valid: its month is over, in that zone."""
    months = card.expires_year * 12 + card.expires_month
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=ZoneInfo(time_zone)).astimezone(UTC)


def is_over(card: Card, at: datetime | None, time_zone: str) -> bool:
    """Whether a card is no longer valid at an instant."""
    return at is not None and end_of(card, time_zone) <= at


def cards_of(tenant_id: int, user_id: int | None) -> "QuerySet[Card]":
    """A payer's cards, the default first, then the latest."""
    cards: QuerySet[Card] = (
        Card.objects.live().filter(tenant_id=tenant_id, user_id=user_id).order_by("-is_default", "-id")
    )
    return cards


def card_of(actor: Actor, card_id: int) -> Card:
    """One of the cards that the actor pays with. One query.

    :raises NotVisible: missing, removed, or another's.
    """
    found: Card | None = Card.objects.visible_to(actor).filter(pk=card_id).first()
    if found is None:
        raise NotVisible
    return found


def paying_card(chosen: Card | None, *, tenant_id: int, payer_id: int | None) -> Card | None:
    """The card that pays, of the one chosen for the subscription and the payer's default. At most one query."""
    if _is_payers(chosen, payer_id):
        return chosen
    default: Card | None = cards_of(tenant_id, payer_id).filter(is_default=True).first()
    return default


def paying_cards(bills: Collection[Bill]) -> dict[int, Card]:
    """`paying_card` of many bills that persons pay, by bill; without one it is missing. One query.

    For the worker, with each bill's subscription and its card at hand.
    """
    defaults = {
        card.user_id: card
        for card in Card.objects.live().filter(user__in={bill.payer_id for bill in bills}, is_default=True)
    }
    chosen = {
        bill.pk: bill.subscription.card
        if _is_payers(bill.subscription.card, bill.payer_id)
        else defaults.get(bill.payer_id)
        for bill in bills
    }
    return {bill_id: card for bill_id, card in chosen.items() if card is not None}


def _is_payers(card: Card | None, payer_id: int | None) -> bool:
    return card is not None and card.removed_at is None and card.user_id == payer_id


def charged_subscriptions(tenant_id: int, user_id: int | None) -> "QuerySet[Subscription]":
    """A payer's subscriptions that will be charged to a card, the next one first."""
    if user_id is None:
        owned = Q(owner_kind=Subscription.Owner.ORGANIZATION, agreement__isnull=True)
    else:
        owned = Q(owner_user_id=user_id)
    rows: QuerySet[Subscription] = (
        Subscription.objects.filter(owned, tenant_id=tenant_id)
        .filter(state__in=[Subscription.State.SCHEDULED, Subscription.State.ACTIVE])
        .filter(Q(recurring_billing=True) | Q(due_at__lt=F("term_end")))
        .order_by("due_at", "id")
    )
    return rows


def unpaid_bills(tenant_id: int, user_id: int | None) -> "QuerySet[Bill]":
    """What a payer still has to pay, by due date; credit notes are not among them."""
    bills: QuerySet[Bill] = (
        Bill.objects.open()
        .filter(tenant_id=tenant_id, payer_id=user_id, total_minor__gt=0)
        .order_by("due_at", "id")
    )
    return bills


def wallets(actor: Actor) -> list[Wallet]:
    """The actor's own wallet and the organization's, as far as the actor pays from them. Three queries each."""
    scopes = actor.scopes(Capability.PAY_BILLS)
    payers: list[int | None] = []
    if "own" in scopes:
        payers.append(actor.user_id)
    if "org" in scopes:
        payers.append(None)
    return [wallet(actor.tenant_id, payer) for payer in payers]


def wallet(tenant_id: int, user_id: int | None) -> Wallet:
    """Everything of one payer. Three queries."""
    subscriptions = charged_subscriptions(tenant_id, user_id).select_related("product")
    bills = list(
        unpaid_bills(tenant_id, user_id).select_related("subscription__product")[:MOST_BILLS],
    )
    holdings = {card.pk: Holding(card) for card in cards_of(tenant_id, user_id)}
    default: Holding | None = next((each for each in holdings.values() if each.card.is_default), None)
    uncovered: list[Subscription] = []
    for subscription in subscriptions[:MOST_SUBSCRIPTIONS]:
        paying = holdings.get(subscription.card_id or 0, default)
        (paying.subscriptions if paying else uncovered).append(subscription)
    for bill in bills:
        paying = holdings.get(bill.subscription.card_id or 0, default)
        if paying and bill.collection == Bill.Collection.CARD:
            paying.bills.append(bill)
    return Wallet(user_id, list(holdings.values()), uncovered, bills)


def paid_by(card: Card) -> "tuple[QuerySet[Subscription], QuerySet[Bill]]":
    """The subscriptions that a card will be charged for, and the open bills that it pays."""
    subscriptions = charged_subscriptions(card.tenant_id, card.user_id)
    bills = unpaid_bills(card.tenant_id, card.user_id).filter(collection=Bill.Collection.CARD)
    return subscriptions.filter(_by(card, "")), bills.filter(_by(card, "subscription__"))


def _by(card: Card, prefix: str) -> Q:
    by_choice = Q(**{f"{prefix}card_id": card.pk})
    if not card.is_default:
        return by_choice
    chosen = cards_of(card.tenant_id, card.user_id).values("pk")
    return by_choice | Q(**{f"{prefix}card_id__isnull": True}) | ~Q(**{f"{prefix}card_id__in": chosen})


def holding_of(card: Card) -> Holding:
    """What one card pays. Two queries."""
    subscriptions, bills = paid_by(card)
    return Holding(
        card,
        list(subscriptions.select_related("product")[:MOST_SUBSCRIPTIONS]),
        list(bills.select_related("subscription__product")[:MOST_BILLS]),
    )


def with_declined(cards: "QuerySet[Card]", tries: "QuerySet[PaymentAttempt]") -> "QuerySet[Card]":
    """Cards with `declined_at`: when the bank last said no to one of these tries with it; None where it did not.

    A bank that wanted the cardholder did not say no: with the payer there the same card pays.
    """
    failed = (
        tries.filter(card_processor_id=OuterRef("processor_id"), state=PaymentAttempt.State.FAILED)
        .exclude(decline_kind="auth")
        .order_by("-updated_at")
    )
    return cards.annotate(declined_at=Subquery(failed.values("updated_at")[:1]))


def first_choice(cards: Sequence[Card]) -> Card | None:
    """The card to offer first: the first one that was not declined; None where each was, or there is none."""
    return next((card for card in cards if getattr(card, "declined_at", None) is None), None)


def choices(cards: Iterable[Card], *, at: datetime, time_zone: str) -> list[Card]:
    """The cards that can be chosen to pay: those still valid."""
    return [card for card in cards if not is_over(card, at, time_zone)]
