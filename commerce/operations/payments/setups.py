"""Adding a card without a charge, with the payer waiting (product §6; architecture §8; F-18).

Row committed > customer > SetupIntent created with the row's key > its id committed > confirmed > 3-D Secure >
asked for again > card saved. One row is one try at one card. Nothing here moves money: repeating a step does no
harm, and the outcome is recorded once, under lock. Steps for drills: C2 row, C3 create, C4 its id, C5 confirm,
C6 outcome.
"""

import logging
import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from commerce.gateways import Declined, NeedsAuthentication, Rejected, Retryable, Setup, stripe
from commerce.gateways.declines import sentence_of
from commerce.models import Card, CardSetup, Checkout
from commerce.operations import cards
from commerce.operations.handovers import has_use_for_a_card, require_may_accept
from commerce.operations.payments.customers import customer_of
from commerce.operations.payments.kinds import start_with_card
from commerce.operations.payments.outcomes import ActionNeeded, Pending, facts_of
from commerce.queries.cards import card_of
from config.kit.actors import Actor
from config.kit.errors import Conflict, Malformed, NotVisible
from config.kit.faults import reached
from config.kit.sweeps import alone
from config.kit.tenancy import atomic, tenant_atomic
from directory.actors import build_actor
from directory.models import User
from directory.operations.audit import record
from directory.operations.people import AccountDisabled, require_active
from directory.permissions import Capability

log = logging.getLogger(__name__)

State = CardSetup.State

# Younger ones are being worked at by the request that made them.
PATIENCE = timedelta(minutes=2)
# While the bank asks the cardholder, the reconciler looks again every so often.
BANK_PATIENCE = timedelta(minutes=10)
# Whoever went away before the card was confirmed is not asked for it later; the card is not kept after all.
PAYER_WAITS = timedelta(hours=1)
# Then nobody comes back.
KEPT = timedelta(hours=24)
BATCH = 200


class SetupEnded(Conflict):
    """The card was not added: nobody came back in time, or it was given up."""

    code = "setup_ended"
    message = _("This card was not added. Enter it again.")


@dataclass(frozen=True, slots=True)
class Saved:
    """The card is the payer's."""

    card: Card


type SetupOutcome = Saved | ActionNeeded | Pending


def save_card(
    *,
    actor: Actor,
    key: uuid.UUID,
    for_organization: bool,
    confirmation_token: str,
    at: datetime,
    replaces: int | None = None,
    subscription: uuid.UUID | None = None,
    checkout: uuid.UUID | None = None,
    offer: uuid.UUID | None = None,
) -> SetupOutcome:
    """Keep the card of a browser's confirmation token; asked again with the same `key`, the same outcome.

    `key` is made by the page that asks. `replaces`: a card whose place the new one takes. `subscription`: one that
    the new card pays from now on. `checkout`: a prepared trial, started in the moment in which the card is kept.
    `offer`: a purchase that a colleague offers. For either, who has bought nothing yet may keep a card. Opens its own
    short transactions, since it calls the processor.

    :raises NotVisible: the actor does not pay for that payer, or does not see what is named.
    :raises OfferOver, NotEligible: the actor cannot take over what was offered.
    :raises NotAllowed, PaidOnAccount, NothingToPay: the subscription is not the actor's to pay by card.
    :raises Malformed: no card details; or card and subscription are not the payer's.
    :raises Declined, NeedsAuthentication: the bank said no; nothing was kept.
    :raises SetupEnded: this try is over. :raises Retryable, Rejected: nothing was kept.
    """
    if not confirmation_token or len(confirmation_token) > 80:
        raise Malformed(_("Enter the details of a card."), field="card")
    if offer is not None and not for_organization:
        require_may_accept(actor=actor, key=offer, at=at)
    elif checkout is None:
        actor.require(
            Capability.PAY_BILLS,
            is_own=not for_organization,
            is_org=for_organization,
            sees=Capability.PAY_BILLS,
        )
    reached("C2:before")
    setup_id = _begin(actor, key, for_organization, confirmation_token, replaces, subscription, checkout, at)
    reached("C2:after")
    return _go_on(actor, setup_id, at)


def finish_setup(*, actor: Actor, key: uuid.UUID, at: datetime) -> SetupOutcome:
    """What came of adding a card: after the bank's confirmation, a reload, or a lost answer.

    :raises NotVisible: no such try of this person. :raises Declined, NeedsAuthentication, SetupEnded: its end.
    """
    setup = visible_setup(actor, key)
    if setup.state in CardSetup.FINAL:
        return _outcome(setup, None)
    try:
        return _go_on(actor, setup.pk, at)
    except Retryable:
        return Pending()


def give_up_setup(*, actor: Actor, key: uuid.UUID, at: datetime) -> None:
    """End a try that waits for the bank, so that another card can be entered; one that has ended stays so.

    :raises NotVisible: no such try of this person. :raises Retryable: it could not be ended.
    """
    setup = visible_setup(actor, key)
    if setup.state in CardSetup.FINAL:
        return
    if setup.intent_id is None:
        _end(actor, setup.pk, State.ABANDONED, "", at)
    else:
        _record(actor, setup.pk, stripe.cancel_setup(setup.intent_id), at)


def visible_setup(actor: Actor, key: uuid.UUID) -> CardSetup:
    """:raises NotVisible: no such try of this person."""
    with tenant_atomic(actor):
        found: CardSetup | None = (
            CardSetup.objects.visible_to(actor)
            .select_related("card", "user", "replaces", "subscription__product")
            .filter(key=key)
            .first()
        )
    if found is None:
        raise NotVisible
    return found


def settle_setups(at: datetime, *, limit: int = BATCH) -> int:
    """Take tries that nobody is at to an end; how many were looked at. Under the worker's login."""
    looked_at, last_id = 0, 0
    while looked_at < limit:
        setup = _claim_next(at, after_id=last_id)
        if setup is None:
            break
        last_id, looked_at = setup.pk, looked_at + 1
        with alone("Card setup %s", setup.key):
            with tenant_atomic(setup.tenant_id):
                actor = _actor_of(setup, at)
            try:
                _settle_one(actor, setup, at)
            except Retryable:
                log.info("Card setup %s has no answer yet", setup.key)
            except Rejected as refused:
                log.error("Card setup %s ended: %s", setup.key, refused.reason)
    return looked_at


def settle_setup_intent(intent_id: str, *, at: datetime) -> bool:
    """Ask the processor about one SetupIntent and record what it says; False when it is nobody's (yet).

    Under the worker's login. :raises Retryable: no usable answer.
    """
    with atomic():
        setup: CardSetup | None = CardSetup.objects.filter(intent_id=intent_id).first()
    if setup is None:
        return False
    if setup.state not in CardSetup.FINAL:
        with tenant_atomic(setup.tenant_id):
            actor = _actor_of(setup, at)
        try:
            intent = stripe.retrieve_setup(intent_id)
        except Rejected as refused:
            log.error("Card setup %s cannot be settled: %s", setup.key, refused.reason)
        else:
            _record(actor, setup.pk, intent, at)
    return True


def _begin(
    actor: Actor,
    key: uuid.UUID,
    for_organization: bool,
    confirmation_token: str,
    replaces: int | None,
    subscription: uuid.UUID | None,
    checkout: uuid.UUID | None,
    at: datetime,
) -> int:
    """The row of this key, new or already there."""
    if actor.user_id is None:
        raise NotVisible
    user_id = None if for_organization else actor.user_id
    with tenant_atomic(actor):
        trial = None if checkout is None else _prepared_trial(actor, checkout, for_organization)
        known = CardSetup.objects.visible_to(actor).filter(key=key).first()
        if known is not None:
            return int(known.pk)
        old = None if replaces is None else card_of(actor, replaces)
        paid = None if subscription is None else cards.lock_payable(actor, subscription)
        if (old is not None and old.user_id != user_id) or (
            paid is not None and paid.owner_user_id != user_id
        ):
            raise Malformed(_("That is paid by somebody else."), field="card")
        setup = CardSetup(
            tenant_id=actor.tenant_id,
            key=key,
            user_id=user_id,
            asked_by_id=actor.user_id,
            replaces=old,
            subscription=paid,
            checkout=trial,
            confirmation_token=confirmation_token,
            created_at=at,
            updated_at=at,
        )
        # Two posts of one page at once: the second waits here, then finds the first one's row.
        CardSetup.objects.bulk_create([setup], ignore_conflicts=True)
        made = CardSetup.objects.visible_to(actor).filter(key=key).first()
        if made is None:
            raise NotVisible
        return int(made.pk)


def _prepared_trial(actor: Actor, key: uuid.UUID, for_organization: bool) -> Checkout:
    """:raises NotVisible: no such trial of this person, who pays for it themselves."""
    found: Checkout | None = (
        Checkout.objects.visible_to(actor).filter(kind=Checkout.Kind.TRIAL, key=key).first()
    )
    if found is None or for_organization:
        raise NotVisible
    return found


def _go_on(actor: Actor, setup_id: int, at: datetime, *, confirms: bool = True) -> SetupOutcome:
    """Take a try as far as it goes now, and say what came of it.

    :raises Retryable: no usable answer; it can be asked again.
    """
    with tenant_atomic(actor):
        setup: CardSetup = CardSetup.objects.select_related("user", "card").get(pk=setup_id)
    intent: Setup | None = None
    if setup.state not in CardSetup.FINAL:
        intent = _drive(actor, setup, at, confirms=confirms)
        if intent is not None:
            _record(actor, setup_id, intent, at)
        with tenant_atomic(actor):
            setup = CardSetup.objects.select_related("card").get(pk=setup_id)
    return _outcome(setup, intent)


def _drive(actor: Actor, setup: CardSetup, at: datetime, *, confirms: bool) -> Setup | None:
    if setup.intent_id is None:
        if not confirms:
            return None
        intent = _create(actor, setup, at)
    else:
        intent = stripe.retrieve_setup(setup.intent_id)
    if not confirms or not is_untouched(intent):
        return intent
    return _confirm(actor, setup, intent, at)


def is_untouched(intent: Setup) -> bool:
    """Whether nobody has ever tried to keep a card with it."""
    return intent.status in ("requires_payment_method", "requires_confirmation") and intent.decline is None


def _create(actor: Actor, setup: CardSetup, at: datetime) -> Setup:
    """C3 and C4: the processor's id for this try, committed."""
    customer_id = setup.customer_processor_id or customer_of(actor=actor, payer=setup.user, at=at)
    reached("C3:before")
    try:
        intent = stripe.create_setup(
            key=f"setup_{setup.key}",
            customer_id=customer_id,
            metadata={"tenant": str(setup.tenant_id), "setup": str(setup.key)},
        )
    except Rejected as refused:
        _end(actor, setup.pk, State.FAILED, refused.code, at)
        raise
    reached("C3:after")
    reached("C4:before")
    with tenant_atomic(actor):
        CardSetup.objects.filter(pk=setup.pk, intent_id__isnull=True).update(
            intent_id=intent.id, customer_processor_id=customer_id, updated_at=at
        )
    reached("C4:after")
    return intent


def _confirm(actor: Actor, setup: CardSetup, intent: Setup, at: datetime) -> Setup:
    """C5: keep the card. An answer that gets lost leaves the try confirming: asking about the id settles it."""
    with tenant_atomic(actor):
        CardSetup.objects.filter(pk=setup.pk, state=State.OPEN).update(state=State.CONFIRMING, updated_at=at)
    reached("C5:before")
    try:
        confirmed = stripe.confirm_setup(intent.id, confirmation_token=setup.confirmation_token)
    except (Declined, NeedsAuthentication) as declined:
        confirmed = replace(intent, status="requires_payment_method", decline=declined)
    except Rejected as refused:
        _end(actor, setup.pk, State.FAILED, refused.code, at)
        raise
    reached("C5:after")
    return confirmed


def _record(actor: Actor, setup_id: int, intent: Setup, at: datetime) -> None:
    """C6: write what the processor says, once; then let it forget the card whose place was taken."""
    reached("C6:before")
    with tenant_atomic(actor):
        setup = lock_setup(setup_id)
        if setup.state in CardSetup.FINAL:
            return
        if not _is_as_asked(setup, intent):
            log.critical("Card setup %s is not what the processor has as %s", setup.key, intent.id)
            _finish(actor, setup, State.FAILED, "mismatch", at)
        elif intent.status == "succeeded":
            _keep(actor, setup, intent, at)
        elif intent.status == "canceled":
            _finish(actor, setup, State.ABANDONED, "", at)
        elif intent.status == "requires_action":
            if setup.state != State.ACTION:
                _move(setup, State.ACTION, at)
        elif intent.decline is not None:
            _kind, code = facts_of(intent.decline)
            _finish(actor, setup, State.FAILED, code, at)
    reached("C6:after")
    if setup.state in CardSetup.FINAL:
        cards.forget_removed(actor=actor, at=at)


def _keep(actor: Actor, setup: CardSetup, intent: Setup, at: datetime) -> None:
    if intent.card is None:
        _finish(actor, setup, State.FAILED, "no_card", at)
        return
    if setup.user_id is not None and not _is_still_here(setup.user_id):
        cards.discard_card(actor=actor, tenant_id=setup.tenant_id, payer=setup.user, facts=intent.card, at=at)
        _finish(actor, setup, State.ABANDONED, "payer_left", at)
        return
    paid = cards.lock_paid(setup.replaces, also=setup.subscription_id)
    is_of_use = setup.user is None or setup.checkout_id is not None or has_use_for_a_card(setup.user)
    card = cards.keep_card(actor=actor, tenant_id=setup.tenant_id, payer=setup.user, facts=intent.card, at=at)
    cards.let_pay(actor=actor, subscriptions=paid, card=card, at=at)
    if setup.replaces is not None:
        cards.put_in_place(actor=actor, old=setup.replaces, new=card, at=at)
    setup.card = card
    if setup.state == State.OPEN:
        _move(setup, State.CONFIRMING, at)
    _finish(actor, setup, State.DONE, "", at)
    if setup.checkout_id is not None:
        start_with_card(actor=actor, checkout_id=setup.checkout_id, card=card, at=at)
    if setup.user is not None and not is_of_use:
        # What it was entered for was declined, withdrawn or has lapsed meanwhile.
        cards.remove_all_cards(actor=actor, user=setup.user, at=at)


def _is_still_here(user_id: int) -> bool:
    """Whether the payer is active, and stays so until this transaction ends (product §11, F-22)."""
    try:
        require_active(user_id)
    except AccountDisabled:
        return False
    return True


def _is_as_asked(setup: CardSetup, intent: Setup) -> bool:
    """I-17: customer and origin are those of our own row."""
    metadata = intent.metadata or {}
    return (
        intent.id == setup.intent_id
        and intent.customer_id == setup.customer_processor_id
        and metadata.get("setup") == str(setup.key)
        and metadata.get("tenant") == str(setup.tenant_id)
    )


def lock_setup(setup_id: int) -> CardSetup:
    setup: CardSetup = (
        CardSetup.objects.select_for_update(of=["self"])
        .select_related("user", "replaces", "subscription")
        .get(pk=setup_id)
    )
    return setup


def _end(actor: Actor, setup_id: int, state: str, code: str, at: datetime) -> None:
    with tenant_atomic(actor):
        setup = lock_setup(setup_id)
        if setup.state not in CardSetup.FINAL:
            _finish(actor, setup, state, code, at)


def _move(setup: CardSetup, state: str, at: datetime) -> None:
    setup.state = state
    setup.updated_at = at
    setup.save(update_fields=["state", "updated_at", "decline_code", "card"])


def _finish(actor: Actor, setup: CardSetup, state: str, code: str, at: datetime) -> None:
    setup.decline_code = code[:60]
    _move(setup, state, at)
    record(
        actor,
        f"commerce.card_setup.{state}",
        at=at,
        target_type="card_setup",
        target_id=setup.key,
        after={"code": setup.decline_code, "card": setup.card_id},
    )


def _outcome(setup: CardSetup, intent: Setup | None) -> SetupOutcome:
    """The outcome as the row has it."""
    if setup.state == State.DONE:
        assert setup.card is not None
        return Saved(setup.card)
    if setup.state == State.ACTION and intent is not None and intent.status == "requires_action":
        return ActionNeeded(intent.client_secret)
    if setup.state == State.FAILED:
        raise Declined("soft", setup.decline_code, sentence_of(setup.decline_code))
    if setup.state == State.ABANDONED:
        raise SetupEnded
    return Pending()


def _claim_next(at: datetime, *, after_id: int) -> CardSetup | None:
    """The next try that nobody is at; taking it moves its time, so that others leave it alone for a while."""
    waits = Q(state__in=[State.OPEN, State.CONFIRMING], updated_at__lte=at - PATIENCE)
    waits_for_bank = Q(state=State.ACTION, updated_at__lte=at - BANK_PATIENCE)
    with atomic():
        found: CardSetup | None = (
            CardSetup.objects.filter(waits | waits_for_bank)
            .filter(pk__gt=after_id)
            .select_for_update(skip_locked=True)
            .order_by("pk")
            .first()
        )
        if found is not None:
            CardSetup.objects.filter(pk=found.pk).update(updated_at=at)
    return found


def _settle_one(actor: Actor, setup: CardSetup, at: datetime) -> None:
    """Finish it, or give it up where the payer, or the bank, has let it lie for too long."""
    is_stale = setup.created_at <= at - PAYER_WAITS
    if is_stale and setup.intent_id is None:
        _end(actor, setup.pk, State.ABANDONED, "", at)
        return
    with tenant_atomic(actor):
        fresh: CardSetup = CardSetup.objects.select_related("user").get(pk=setup.pk)
    intent = _drive(actor, fresh, at, confirms=not is_stale)
    if intent is None:
        return
    is_forgotten = setup.created_at <= at - KEPT and intent.status == "requires_action"
    if is_forgotten or (is_stale and is_untouched(intent)):
        intent = stripe.cancel_setup(intent.id)
    _record(actor, setup.pk, intent, at)


def _actor_of(setup: CardSetup, at: datetime) -> Actor:
    """Who asked for it, through the door of a job; the installation itself when that person is gone."""
    user = User.objects.filter(pk=setup.asked_by_id, tenant_id=setup.tenant_id).first()
    actor = build_actor(user, acting_tenant_id=setup.tenant_id, at=at, door="job") if user else None
    return actor or Actor.system(setup.tenant_id)
