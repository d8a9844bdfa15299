"""A payer's cards: kept once, one default, which subscriptions each pays, replaced, removed (product §6).

Removing is durable first: from the commit on a card is nobody's and pays nothing. The processor forgets it
afterwards, outside transactions, at the latest in a sweep; a charge that was under way with it is let finish.
Locks: subscriptions by id, then cards by id.
"""

import logging
import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import IntegrityError
from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext_lazy as _

from commerce.gateways import CardFacts, Rejected, Retryable, stripe
from commerce.models import Card, PaymentAttempt, Subscription, SubscriptionEvent
from commerce.operations.dunning import try_again
from commerce.operations.subscriptions import event_of
from commerce.queries import cards as queries
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotVisible, constraint_of
from config.kit.faults import reached
from config.kit.sweeps import alone
from config.kit.tenancy import atomic, tenant_atomic
from directory.actors import tenant_row
from directory.models import User
from directory.operations.audit import entry, record, record_all
from directory.permissions import Capability

log = logging.getLogger(__name__)

BATCH = 200
# Two first cards of a payer at once, or the same card twice at once: the second finds what the first made.
_CLASHES = frozenset({"commerce_card_once", "commerce_card_one_default"})


class CardInUse(Conflict):
    """The card pays something, and nothing was said about what pays it afterwards. `holding` says what."""

    code = "card_in_use"
    message = _("This card still pays something. Choose what pays it first. Nothing was changed.")

    def __init__(self, holding: queries.Holding) -> None:
        self.holding = holding
        super().__init__(subscriptions=len(holding.subscriptions), bills=len(holding.bills))


class CardExpired(Conflict):
    """The card can no longer be charged."""

    code = "card_expired"
    message = _("This card has expired. Choose another one. Nothing was changed.")


class PaidOnAccount(Conflict):
    """The organization pays this under its agreement: there is no card to choose."""

    code = "paid_on_account"
    message = _("This is paid on account under the agreement, not by card. Nothing was changed.")


class NothingToPay(Conflict):
    """The subscription is over."""

    code = "nothing_to_pay"
    message = _("This subscription is over: nothing will be charged for it. Nothing was changed.")


def make_default(*, actor: Actor, card_id: int, at: datetime) -> Card:
    """Let a card pay whatever has no card of its own; it already being so changes nothing.

    :raises NotVisible: not a card that the actor pays with.
    :raises CardExpired: it is no longer valid.
    """
    with tenant_atomic(actor):
        card = _lock_card(actor, card_id)
        if card.is_default:
            return card
        _refuse_expired(card, at)
        _set_default(card)
        _record(actor, "commerce.card.made_default", card, at)
    return card


def choose_card(*, actor: Actor, key: uuid.UUID, card_id: int, at: datetime) -> Subscription:
    """Say which card pays a subscription, and its open bills, from now on.

    :raises NotVisible: no such purchase, or card, for this person.
    :raises NotAllowed: the purchase is visible and the actor does not pay for it.
    :raises Malformed: the card is another payer's than who pays the subscription.
    :raises CardExpired, PaidOnAccount, NothingToPay.
    """
    with tenant_atomic(actor):
        subscription = lock_payable(actor, key)
        card = _lock_card(actor, card_id)
        if card.user_id != subscription.owner_user_id:
            raise Malformed(_("Choose one of the cards of whoever pays this."), field="card")
        _refuse_expired(card, at)
        if subscription.card_id != card.pk:
            _move(actor, [subscription], card, at)
    return subscription


def lock_payable(actor: Actor, key: uuid.UUID) -> Subscription:
    """A subscription that is paid by a card of the actor's, locked. Inside a transaction.

    :raises NotVisible, NotAllowed, PaidOnAccount, NothingToPay: as `choose_card`.
    """
    subscription: Subscription | None = (
        Subscription.objects.visible_to(actor)
        .select_for_update(of=("self",), no_key=True)
        .select_related("product")
        .filter(key=key)
        .first()
    )
    if subscription is None:
        raise NotVisible
    actor.require(
        Capability.PAY_BILLS,
        is_own=subscription.is_owned_by(actor),
        is_org=subscription.is_organizations,
        sees=Capability.SEE_PURCHASES,
    )
    refuse_unpayable(subscription)
    return subscription


def refuse_unpayable(subscription: Subscription) -> None:
    """:raises PaidOnAccount, NothingToPay: there is no card to choose for it."""
    if subscription.is_organizations and subscription.agreement_id is not None:
        raise PaidOnAccount
    if subscription.state == Subscription.State.DELETED:
        raise NothingToPay


def remove_card(*, actor: Actor, card_id: int, move_to: int | None, at: datetime) -> Card:
    """Remove a card; what it pays is paid by the card `move_to`. Opens its own transaction, then calls out.

    Of the payer's other cards the latest becomes the default when this one was.

    :raises NotVisible: not a card that the actor pays with, or `move_to` is not.
    :raises CardInUse: it pays something, and `move_to` is not given.
    :raises Malformed: `move_to` is this card, or another payer's. :raises CardExpired: `move_to` is over.
    """
    with tenant_atomic(actor):
        card = queries.card_of(actor, card_id)
        paid = lock_paid(card)
        locked = _lock_cards(actor, [card_id] if move_to is None else [card_id, move_to])
        card = locked[card_id]
        if move_to is None:
            holding = queries.holding_of(card)
            if not holding.is_free:
                raise CardInUse(holding)
        else:
            target = locked[move_to]
            if target.pk == card.pk or target.user_id != card.user_id:
                raise Malformed(_("Choose another card of the same payer."), field="move_to")
            _refuse_expired(target, at)
            let_pay(actor=actor, subscriptions=paid, card=target, at=at)
            if card.is_default:
                _set_default(target)
                card.is_default = False
        _remove(actor, card, at)
    forget_removed(actor=actor, at=at)
    return card


def remove_all_cards(*, actor: Actor, user: User, at: datetime) -> None:
    """Remove every card of a person who pays nothing; the sweep lets the processor forget them. Inside a transaction."""
    rows = Card.objects.live().select_for_update().filter(tenant_id=user.tenant_id, user=user)
    for card in rows.order_by("is_default", "pk"):
        _remove(actor, card, at)


def lock_paid(card: Card | None, *, also: int | None = None) -> list[Subscription]:
    """The payer's subscriptions that a card pays, also those whose open bills it pays, locked; and one more.

    Inside a transaction, before any card is locked.
    """
    ids = set() if also is None else {also}
    owners = Q(pk=also)
    if card is not None:
        charged, bills = queries.paid_by(card)
        ids |= {*charged.values_list("pk", flat=True), *bills.values_list("subscription_id", flat=True)}
        owners |= Q(owner_user_id=card.user_id, tenant_id=card.tenant_id)
    return list(
        Subscription.objects.select_for_update(of=("self",), no_key=True)
        .filter(owners, pk__in=ids)
        .order_by("pk")
    )


def let_pay(*, actor: Actor, subscriptions: Iterable[Subscription], card: Card, at: datetime) -> None:
    """Let a card pay these from now on, those of them that its payer owns and that are not on account.

    Inside the transaction that locked them.
    """
    mine = [
        each
        for each in subscriptions
        if each.owner_user_id == card.user_id and not (each.is_organizations and each.agreement_id)
    ]
    _move(actor, mine, card, at)


def put_in_place(*, actor: Actor, old: Card, new: Card, at: datetime) -> None:
    """Remove a card whose place another one takes, also as the default. Inside a transaction.

    Nothing happens when they are one card, or one of them is gone already.
    """
    rows = Card.objects.select_for_update().filter(pk__in=[old.pk, new.pk]).order_by("pk")
    locked = {card.pk: card for card in rows}
    old, new = locked[old.pk], locked[new.pk]
    if old.pk == new.pk or old.removed_at is not None or new.removed_at is not None:
        return
    if old.is_default:
        _set_default(new)
        old.is_default = False
    _remove(actor, old, at)


def keep_card(*, actor: Actor, tenant_id: int, payer: User | None, facts: CardFacts, at: datetime) -> Card:
    """The payer's card of what the processor describes, `payer` None for the organization. In a transaction.

    The payer's first card is the default. A card that is entered again is renewed, never listed twice.
    """
    try:
        with atomic():
            return _keep(actor, tenant_id, payer, facts, at)
    except IntegrityError as clash:
        if constraint_of(clash) not in _CLASHES:
            raise
    with atomic():
        return _keep(actor, tenant_id, payer, facts, at)


def discard_card(*, actor: Actor, tenant_id: int, payer: User | None, facts: CardFacts, at: datetime) -> None:
    """Keep nothing of what the processor describes but that it is to forget it. Nothing where it is a known card."""
    if Card.objects.filter(processor_id=facts.processor_id).exists():
        return
    card: Card = Card.objects.create(
        tenant_id=tenant_id,
        user=payer,
        processor_id=facts.processor_id,
        added_at=at,
        removed_at=at,
        **_described(facts),
    )
    _record(actor, "commerce.card.discarded", card, at)


def forget_removed(*, actor: Actor, at: datetime) -> None:
    """Let the processor forget the tenant's removed cards now, as far as it answers; the sweep does the rest."""
    with tenant_atomic(actor):
        waiting = list(_to_detach().filter(tenant_id=actor.tenant_id).order_by("pk")[:BATCH])
    for card in waiting:
        try:
            _detach(card, at)
        except Retryable:
            return


def detach_removed(at: datetime, *, limit: int = BATCH) -> int:
    """Let the processor forget removed cards that no charge is using; how many. Under the worker's login."""
    done, last_id = 0, 0
    while done < limit:
        with atomic():
            card: Card | None = _to_detach().filter(pk__gt=last_id).order_by("pk").first()
        if card is None:
            break
        last_id = card.pk
        with alone("Card %s", card.pk):
            try:
                _detach(card, at)
            except Retryable:
                break
            done += 1
    return done


def _detach(card: Card, at: datetime) -> None:
    reached("C1:before")
    try:
        stripe.detach_card(card.processor_id)
    except Rejected as refused:
        log.error("Card %s cannot be detached: %s", card.pk, refused.reason)
    reached("C1:after")
    with tenant_atomic(card.tenant_id):
        Card.objects.filter(pk=card.pk, detached_at__isnull=True).update(detached_at=at)


def _to_detach() -> Any:
    charging = PaymentAttempt.objects.filter(card_processor_id=OuterRef("processor_id")).exclude(
        state__in=PaymentAttempt.FINAL
    )
    return Card.objects.filter(removed_at__isnull=False, detached_at__isnull=True).filter(~Exists(charging))


def _keep(actor: Actor, tenant_id: int, payer: User | None, facts: CardFacts, at: datetime) -> Card:
    known: Card | None = Card.objects.filter(processor_id=facts.processor_id).first()
    if known is not None:
        return known
    same: Card | None = None
    if facts.fingerprint:
        same = (
            Card.objects.live()
            .select_for_update()
            .filter(tenant_id=tenant_id, user=payer, fingerprint=facts.fingerprint)
            .first()
        )
    if same is not None:
        return _renew(actor, same, facts, at)
    has_default = Card.objects.live().filter(tenant_id=tenant_id, user=payer, is_default=True).exists()
    card: Card = Card.objects.create(
        tenant_id=tenant_id,
        user=payer,
        is_default=not has_default,
        added_at=at,
        processor_id=facts.processor_id,
        **_described(facts),
    )
    _record(actor, "commerce.card.added", card, at, is_default=card.is_default)
    return card


def _renew(actor: Actor, card: Card, facts: CardFacts, at: datetime) -> Card:
    """The card's newest registration pays from now on; the one before is left to be forgotten."""
    before = card.processor_id
    expiry = (card.expires_year, card.expires_month)
    card.processor_id = facts.processor_id
    for name, value in _described(facts).items():
        setattr(card, name, value)
    if (card.expires_year, card.expires_month) != expiry:
        card.expiry_noticed_at = None
    card.save()
    Card.objects.create(
        tenant_id=card.tenant_id,
        user_id=card.user_id,
        processor_id=before,
        added_at=card.added_at,
        removed_at=at,
        **_described(facts) | {"expires_year": expiry[0], "expires_month": expiry[1]},
    )
    _record(actor, "commerce.card.renewed", card, at)
    return card


def _described(facts: CardFacts) -> dict[str, Any]:
    return {
        "fingerprint": facts.fingerprint[:40],
        "brand": facts.brand[:20],
        "last4": facts.last4,
        "expires_year": facts.expires_year,
        "expires_month": facts.expires_month,
    }


def _lock_card(actor: Actor, card_id: int) -> Card:
    return _lock_cards(actor, [card_id])[card_id]


def _lock_cards(actor: Actor, card_ids: list[int]) -> dict[int, Card]:
    """:raises NotVisible: one of them is not a card that the actor pays with."""
    locked = {
        card.pk: card
        for card in Card.objects.visible_to(actor).select_for_update().filter(pk__in=card_ids).order_by("pk")
    }
    if set(locked) != set(card_ids):
        raise NotVisible
    return locked


def _move(actor: Actor, subscriptions: Iterable[Subscription], card: Card, at: datetime) -> None:
    """Write which card pays, and try it where the last one failed. The history does not say which: admins read it."""
    moved = [each for each in subscriptions if each.card_id != card.pk]
    Subscription.objects.filter(pk__in=[each.pk for each in moved]).update(card=card)
    for subscription in moved:
        subscription.card = card
    SubscriptionEvent.objects.bulk_create(
        [event_of(each, "card_changed", actor=actor, at=at) for each in moved]
    )
    record_all(
        [
            entry(
                actor,
                "commerce.subscription.card_changed",
                at=at,
                target_type="subscription",
                target_id=each.key,
                after={"card": card.pk},
            )
            for each in moved
        ]
    )
    for subscription in moved:
        if subscription.payment_failed_at is not None:
            try_again(actor=actor, subscription=subscription, at=at)


def _set_default(card: Card) -> None:
    Card.objects.live().filter(tenant_id=card.tenant_id, user_id=card.user_id, is_default=True).update(
        is_default=False
    )
    card.is_default = True
    card.save(update_fields=["is_default"])


def _remove(actor: Actor, card: Card, at: datetime) -> None:
    was_default = card.is_default
    card.is_default = False
    card.removed_at = at
    card.save(update_fields=["is_default", "removed_at"])
    _record(actor, "commerce.card.removed", card, at)
    if not was_default:
        return
    rest = list(queries.cards_of(card.tenant_id, card.user_id).select_for_update())
    zone = tenant_row(card.tenant_id).time_zone
    heirs = queries.choices(rest, at=at, time_zone=zone) or rest
    if heirs:
        _set_default(heirs[0])
        _record(actor, "commerce.card.made_default", heirs[0], at)


def _refuse_expired(card: Card, at: datetime) -> None:
    if queries.is_over(card, at, tenant_row(card.tenant_id).time_zone):
        raise CardExpired


def _record(actor: Actor, code: str, card: Card, at: datetime, **after: Any) -> None:
    """The audit trail names a card by its row alone: admins read it, and nobody sees another's card."""
    record(actor, code, at=at, target_type="card", target_id=card.pk, after=after or None)
