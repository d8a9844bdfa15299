"""Handing a purchase over to a colleague, who accepts with an own card (product §4)."""

import uuid
from datetime import datetime
from typing import Any, cast

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from commerce.models import CancelRequest, Card, HandOver, Order, OrderLine, Product, Subscription
from commerce.operations.cancel_answers import close_cancel_request
from commerce.operations.cards import remove_all_cards
from commerce.operations.checkouts import BillingDetails, NotEligible, TermsNotAccepted, bill_to_for
from commerce.operations.mail_facts import purchase_link
from commerce.operations.subscriptions import remember
from commerce.queries import details
from commerce.queries.eligibility import eligibility_for
from config.kit.actors import Actor
from config.kit.errors import Conflict, DomainError, Malformed, NotVisible
from config.kit.sweeps import alone
from config.kit.tenancy import atomic, tenant_atomic, use_login
from directory.actors import build_actor, tenant_row
from directory.models import User
from directory.models.people import fold
from directory.operations.audit import record
from directory.operations.mail import queue_mail
from directory.operations.people import mark_purchaser
from directory.permissions import Capability
from policies.eligibility import Eligibility

State = HandOver.State
CAN_CHANGE_HANDS = frozenset({Subscription.State.ACTIVE, Subscription.State.EXPIRED})
BATCH = 500


class NotHandedOver(Conflict):
    """Trials, what the organization owns, and what nobody can use any more stay where they are."""

    code = "not_handed_over"
    message = _("This purchase cannot be handed over as it is now. Nothing was changed.")


class AlreadyOffered(Conflict):
    code = "already_offered"
    message = _(
        "This purchase is offered to somebody already. Withdraw that offer first. Nothing was changed."
    )


class ColleagueMayNotBuy(DomainError):
    """The chosen person may not buy the product, so may not take it over; `eligibility` has every reason."""

    code = "colleague_may_not_buy"
    status = 422
    message = _("This person may not buy the product, and so cannot take it over. Nothing was changed.")

    def __init__(self, eligibility: Eligibility) -> None:
        self.eligibility = eligibility
        super().__init__(codes=eligibility.codes)


class OfferOver(Conflict):
    """The offer was decided, withdrawn or has lapsed, or the purchase has moved on; `state` says which."""

    code = "offer_over"
    message = _("This offer is over. Nothing was changed.")

    def __init__(self, state: str) -> None:
        self.state = state
        super().__init__(state=state)


def offer_hand_over(*, actor: Actor, key: uuid.UUID, to_user_id: int | None, at: datetime) -> HandOver:
    """Offer an own purchase to an active member of the same organization; good for 14 days.

    :raises NotVisible: no such purchase for this person. :raises NotAllowed: visible, but not their own.
    :raises NotHandedOver: a trial, or neither Active nor Expired.
    :raises Malformed: nobody, oneself, a guest, or an account that is not active.
    :raises ColleagueMayNotBuy: with all reasons. :raises AlreadyOffered: one offer at a time.
    """
    with tenant_atomic(actor):
        subscription = _lock_own(actor, key)
        if not can_change_hands(subscription):
            raise NotHandedOver
        people = User.objects.visible_to(actor).active().members().exclude(pk=actor.user_id)
        colleague: User | None = people.filter(pk=to_user_id).first()
        if colleague is None:
            raise Malformed(_("Choose a colleague with an active account."), field="person")
        eligibility = _eligibility_of(colleague, subscription.product, at)
        if not eligibility.is_eligible:
            raise ColleagueMayNotBuy(eligibility)
        if _offers_of(subscription).open(at).exists():
            raise AlreadyOffered
        for lapsed in _offers_of(subscription):
            _decide(Actor.system(actor.tenant_id), lapsed, State.LAPSED, at)
        offer: HandOver = HandOver.objects.create(
            tenant_id=actor.tenant_id,
            subscription=subscription,
            from_user_id=cast(int, actor.user_id),
            to_user=colleague,
            offered_at=at,
            expires_at=at + settings.HAND_OVER_KEPT,
        )
        _record(actor, offer, "offered", at)
        _mail("hand_over_offered", offer, colleague, at)
        return offer


def withdraw_offer(*, actor: Actor, key: uuid.UUID, at: datetime) -> HandOver:
    """Take the open offer of an own purchase back; the colleague is told.

    :raises NotVisible: no such purchase for this person. :raises NotAllowed: visible, but not their own.
    :raises OfferOver: nothing is offered any more.
    """
    with tenant_atomic(actor):
        subscription = _lock_own(actor, key)
        offer: HandOver | None = _offers_of(subscription).first()
        if offer is None:
            raise OfferOver(State.WITHDRAWN)
        _decide(actor, offer, State.WITHDRAWN, at)
        return offer


def withdraw_open_offer(*, actor: Actor, subscription: Subscription, at: datetime) -> None:
    """Take back what is offered of a purchase that ends; nothing without an offer.

    Inside the transaction that has locked the subscription and judged the actor.
    """
    for offer in _offers_of(subscription):
        _decide(actor, offer, State.WITHDRAWN, at)


def decline_offer(*, actor: Actor, key: uuid.UUID, at: datetime) -> HandOver:
    """Say no to what was offered; the owner is told. `key` is the offer's.

    :raises NotVisible: nothing of that key was offered to this person. :raises OfferOver: it is over.
    """
    with tenant_atomic(actor):
        offer, _subscription = _lock_offered(actor, key)
        if offer.state != State.OFFERED:
            raise OfferOver(offer.state)
        _decide(actor, offer, State.DECLINED, at)
        return offer


def accept_hand_over(
    *,
    actor: Actor,
    key: uuid.UUID,
    version: int,
    card_id: int | None,
    billing: BillingDetails,
    agrees_to_terms: bool,
    at: datetime,
) -> Subscription:
    """Take an offered purchase over: owner, card and payer of every bill from now on. Nothing is charged now.

    `version` is that of the subscription on the page; `key` the offer's. Bills issued before stay the former
    owner's, who keeps reading them and the history up to now. Licenses stay with their holders.

    :raises NotVisible: nothing of that key was offered to this person.
    :raises OfferOver: it is over, or the purchase has moved on.
    :raises Conflict: the purchase was changed since the page was shown.
    :raises NotEligible: with all reasons. :raises TermsNotAccepted: the boxes are not ticked.
    :raises Malformed: no card of one's own.
    """
    with tenant_atomic(actor):
        offer, subscription = _lock_offered(actor, key)
        _refuse_who_may_not(actor, offer, subscription, at)
        if subscription.version != version:
            raise Conflict
        if not agrees_to_terms:
            raise TermsNotAccepted
        card = Card.objects.visible_to(actor).filter(pk=card_id).first()
        if card is None:
            raise Malformed(_("Choose one of your cards."), field="card")
        owner: User = offer.to_user
        subscription.owner_user = subscription.purchaser = owner
        subscription.purchaser_name, subscription.purchaser_sort = owner.name, owner.sort_name
        names = (subscription.product.name, owner.name, owner.email)
        subscription.search_text = " ".join(fold(part) for part in names)
        subscription.card = card
        subscription.bill_to = bill_to_for(actor, None, billing)
        subscription.version += 1
        subscription.save(
            update_fields=[
                *("owner_user", "purchaser", "purchaser_name", "purchaser_sort", "search_text"),
                *("card", "bill_to", "version"),
            ]
        )
        mark_purchaser(owner, at)
        close_cancel_request(subscription, CancelRequest.State.ENDED, actor=actor, at=at)
        _place_order(actor, subscription, at)
        _decide(actor, offer, State.ACCEPTED, at)
        record(
            actor,
            "commerce.subscription.handed_over",
            at=at,
            target_type="subscription",
            target_id=subscription.key,
            target_label=subscription.product.name,
            before={"owner": offer.from_user.name},
            after={"owner": owner.name, "terms_version": settings.TERMS_VERSION},
        )
        return subscription


def require_may_accept(*, actor: Actor, key: uuid.UUID, at: datetime) -> None:
    """Whether the person may take over what was offered, so may enter a card for it. Locks nothing.

    :raises NotVisible: nothing of that key was offered to this person.
    :raises OfferOver, NotEligible: as `accept_hand_over`.
    """
    with tenant_atomic(actor):
        offer: HandOver | None = (
            HandOver.objects.visible_to(actor)
            .select_related("subscription__product")
            .filter(key=key, to_user_id=actor.user_id)
            .first()
        )
        if offer is None:
            raise NotVisible
        _refuse_who_may_not(actor, offer, offer.subscription, at)


def _refuse_who_may_not(actor: Actor, offer: HandOver, subscription: Subscription, at: datetime) -> None:
    why = over_because(offer, subscription, at)
    if why:
        raise OfferOver(why)
    eligibility = eligibility_for(actor=actor, product=subscription.product, at=at)
    if not eligibility.is_eligible:
        raise NotEligible(eligibility)
    actor.require(Capability.BUY, is_own=True, is_org=False, sees=Capability.BUY)


def lapse_offers(*, at: datetime) -> int:
    """End offers whose time is over; how many. Worker's login."""
    lapsed = 0
    over = HandOver.objects.filter(state=State.OFFERED, expires_at__lte=at)
    with use_login("worker"):
        for offer_id in list(over.order_by("expires_at", "id").values_list("pk", flat=True)[:BATCH]):
            with alone("Offer %s", offer_id):
                lapsed += _lapse(offer_id, at)
    return lapsed


def _lapse(offer_id: int, at: datetime) -> bool:
    """Whether it was still to be ended; one that somebody decides about at the moment is left to the next sweep."""
    with atomic():
        offer: HandOver | None = (
            HandOver.objects.filter(pk=offer_id, state=State.OFFERED)
            .select_for_update(skip_locked=True, of=["self"])
            .select_related("subscription__product", "from_user", "to_user")
            .first()
        )
        if offer is None:
            return False
        _decide(Actor.system(offer.tenant_id), offer, State.LAPSED, at)
    return True


def can_change_hands(subscription: Subscription) -> bool:
    """Whether it may be offered and accepted at all: what can be used, and is no trial."""
    return subscription.state in CAN_CHANGE_HANDS and subscription.channel != Subscription.Channel.TRIAL


def over_because(offer: HandOver, subscription: Subscription, at: datetime) -> str:
    """Why an offer can no longer be accepted; empty while it can."""
    if offer.state != State.OFFERED:
        return str(offer.state)
    if offer.expires_at <= at:
        return str(State.LAPSED)
    if subscription.owner_user_id != offer.from_user_id or not can_change_hands(subscription):
        return "moved_on"
    return ""


def has_use_for_a_card(person: User) -> bool:
    """Whether somebody buys, or is offered something to take over; who does not has no page of cards either.

    Inside a transaction: open offers stay locked, so that none ends while a card is being kept for it.
    """
    if person.purchaser_since is not None:
        return True
    offers = HandOver.objects.filter(tenant_id=person.tenant_id, to_user=person, state=State.OFFERED)
    return bool(list(offers.select_for_update(of=("self",)).order_by("pk")))


def _lock_own(actor: Actor, key: uuid.UUID) -> Subscription:
    found: Subscription | None = (
        Subscription.objects.visible_to(actor)
        .select_for_update(of=("self",), no_key=True)
        .select_related("product")
        .filter(key=key)
        .first()
    )
    if found is None:
        raise NotVisible
    # Only a person's own purchase changes hands: admins take over instead.
    actor.require(
        Capability.MANAGE_PURCHASES,
        is_own=found.is_owned_by(actor),
        is_org=False,
        sees=Capability.SEE_PURCHASES,
    )
    return found


def _lock_offered(actor: Actor, key: uuid.UUID) -> tuple[HandOver, Subscription]:
    """What was offered to the actor, subscription first and then the offer, as everywhere."""
    rows = HandOver.objects.visible_to(actor).filter(key=key, to_user_id=actor.user_id)
    known = rows.first()
    if known is None:
        raise NotVisible
    subscription: Subscription = (
        Subscription.objects.select_for_update(of=("self",), no_key=True)
        .select_related("product")
        .get(pk=known.subscription_id)
    )
    offer: HandOver = (
        rows.select_for_update(of=("self",))
        .select_related("from_user", "to_user", "subscription__product")
        .get()
    )
    return offer, subscription


def _offers_of(subscription: Subscription) -> Any:
    return HandOver.objects.filter(
        tenant_id=subscription.tenant_id, subscription=subscription, state=State.OFFERED
    ).select_related("from_user", "to_user", "subscription__product")


def _eligibility_of(person: User, product: Product, at: datetime) -> Eligibility:
    actor = build_actor(person, acting_tenant_id=person.tenant_id, at=at)
    assert actor is not None
    return eligibility_for(actor=actor, product=product, at=at)


def _place_order(actor: Actor, subscription: Subscription, at: datetime) -> None:
    """An order without money: later bills of the subscription belong to it."""
    order = Order.objects.create(
        tenant_id=actor.tenant_id,
        type=Order.Type.HAND_OVER,
        placed_at=at,
        actor_user_id=actor.user_id,
        actor_label=actor.label,
    )
    OrderLine.objects.create(
        tenant_id=actor.tenant_id,
        order=order,
        subscription=subscription,
        quantity=0,
        currency=subscription.currency,
        unit_price_minor=subscription.unit_price_minor,
        amount_minor=0,
    )


def _decide(actor: Actor, offer: HandOver, state: str, at: datetime) -> None:
    """End an open offer one way or another, and tell whom it concerns."""
    offer.state = state
    offer.decided_at = at
    offer.save(update_fields=["state", "decided_at"])
    _record(actor, offer, state, at)
    if state != State.ACCEPTED:
        _forget_card(actor, offer.to_user, at)
    if state != State.WITHDRAWN:
        _mail("hand_over_decided", offer, offer.from_user, at)
    if state in (State.WITHDRAWN, State.ACCEPTED):
        _mail("hand_over_decided", offer, offer.to_user, at)


def _forget_card(actor: Actor, colleague: User, at: datetime) -> None:
    if not has_use_for_a_card(colleague):
        remove_all_cards(actor=actor, user=colleague, at=at)


_EVENTS = {
    "offered": "hand_over_offered",
    State.ACCEPTED: "handed_over",
    State.DECLINED: "hand_over_declined",
    State.WITHDRAWN: "hand_over_withdrawn",
    State.LAPSED: "hand_over_lapsed",
}


def _record(actor: Actor, offer: HandOver, what: str, at: datetime) -> None:
    remember(
        offer.subscription,
        _EVENTS[what],
        actor=actor,
        at=at,
        **{"from": offer.from_user.name, "to": offer.to_user.name},
    )
    record(
        actor,
        f"commerce.hand_over.{what}",
        at=at,
        target_type="hand_over",
        target_id=offer.key,
        target_label=offer.subscription.product.name,
        after={"from": offer.from_user.name, "to": offer.to_user.name},
    )


def offer_link(offer: HandOver) -> str:
    """The offer's page for the colleague, for mails."""
    return f"{settings.PUBLIC_URL}/my/offers/{offer.key}/"


def _mail(kind: str, offer: HandOver, to: User, at: datetime) -> None:
    subscription: Subscription = offer.subscription
    next_charge_at = details.next_charge_at(subscription)
    with tenant_atomic(offer.tenant_id):
        organization = tenant_row(offer.tenant_id).name
    owner, colleague = offer.from_user, offer.to_user
    is_offer = to == colleague and offer.state != State.ACCEPTED
    queue_mail(
        kind,
        event_key=f"{offer.key}:{offer.state}",
        to=[to],
        tenant_id=offer.tenant_id,
        context={
            "what": str(offer.state),
            "is_for_owner": to == owner,
            "organization": organization,
            "vendor": subscription.vendor_entity.name,
            "product": subscription.product.name,
            "plan_code": subscription.plan.code,
            "quantity": subscription.quantity,
            "assigned": subscription.assigned,
            "currency": subscription.currency,
            "price_minor": subscription.period_price_minor,
            "owner": owner.name,
            "owner_email": owner.email,
            "colleague": colleague.name,
            "colleague_email": colleague.email,
            "next_charge_at": next_charge_at.isoformat() if next_charge_at else "",
            "expires_at": offer.expires_at.isoformat(),
            "time_zone": subscription.time_zone,
            "link": offer_link(offer) if is_offer else purchase_link(subscription),
        },
        at=at,
    )
