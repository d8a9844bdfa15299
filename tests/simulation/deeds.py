"""What may happen in one step: a registry of deeds, each a few lines.

A deed looks at the world with the step's own random numbers, does one thing by the real operations, and returns a
line for the trace. A refusal (`DomainError`) is an outcome like another; anything else that is raised is a fault
of the portal. `Nothing` says that there is nothing to do it to.
"""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from commerce.models import Bill, Card, Checkout, HandOver, Plan, Subscription
from commerce.operations import cancellations, cards, handovers, on_account, payments, recurring, trials
from commerce.operations.changes import adding, reactivating, removing, scheduling
from commerce.operations.checkouts import BillingDetails, PriceChanged, save_checkout, start_checkout
from commerce.operations.corrections import correct_bill
from commerce.operations.dunning import dun_due
from commerce.operations.expiring_cards import notice_expiring_cards
from commerce.operations.on_account import tell_of_bills
from commerce.operations.orders import purchase_centrally
from commerce.operations.renewals import charge_due, expire_due, renew_due
from commerce.operations.renewals.reminding import remind_due
from commerce.operations.renewals.trials import end_trials as sweep_trials
from config.demo.processor.errors import Json
from config.kit.tenancy import tenant_atomic, use_login
from licensing.operations import assignments
from tests import factories
from tests.simulation.gateway import WEATHERS
from tests.simulation.world import SLUGS, Nothing, World

MOST_AT_ONCE = 5

type Act = Callable[[World], str]


@dataclass(frozen=True, slots=True)
class Deed:
    """`weight`: how often, compared with the others. `is_sweep`: dies and repeats more often than people do."""

    name: str
    weight: float
    act: Act
    is_sweep: bool


DEEDS: list[Deed] = []


def deed(weight: float, *, is_sweep: bool = False) -> Callable[[Act], Act]:
    """Register a deed under its function's name."""

    def register(act: Act) -> Act:
        DEEDS.append(Deed(act.__name__, weight, act, is_sweep))
        return act

    return register


def some[T](found: T | None) -> T:
    """:raises Nothing: there is none."""
    if found is None:
        raise Nothing
    return found


# --- Cards as they behave when they are entered -----------------------------------------------------------

GOOD = ("visa", "mastercard", "amex", "nl", "authenticationRequiredOnSetup")
BAD = (
    "visa_chargeDeclined",
    "chargeDeclinedExpiredCard",
    "visa_chargeCustomerFail",
    "threeDSecure2Required",
    "authenticationRequired",
)


def _token(world: World) -> tuple[str, str]:
    card = world.rng.choice(GOOD if world.rng.random() < 0.75 else BAD)
    return card, world.gateway.card_token(card)


def _answer_bank(world: World, outcome: Any, finish: Callable[[], Any]) -> str:
    """What came of it; where the bank asks, mostly the person answers and comes back, and sometimes goes away."""
    said = type(outcome).__name__
    if not isinstance(outcome, payments.ActionNeeded):
        return said
    luck = world.rng.random()
    if luck < 0.2:
        return f"{said}, walked away"
    intent_id = outcome.client_secret.partition("_secret")[0]
    world.gateway.authenticate(intent_id, succeeds=luck < 0.8)
    if luck > 0.9:
        return f"{said}, answered and closed the page"
    return f"{said}, {type(finish()).__name__}"


# --- People -----------------------------------------------------------------------------------------------


def _billing(name: str, country: str, world: World) -> BillingDetails:
    return BillingDetails(
        name=name,
        street=f"Street {world.rng.randrange(100)}",
        postal_code="1015 CJ",
        city="Town",
        country=country,
    )


def _quantity(world: World) -> int:
    return world.rng.choice((1, 2, 3, 5, 8, 40))


@deed(7)
def buy(world: World) -> str:
    _require_room(world)
    home = world.home()
    user = world.rng.choice(home.people)
    actor = home.actor(user, world.at)
    plan = _plan(world, world.rng.choice(SLUGS))
    quantity = _quantity(world)
    checkout = start_checkout(actor=actor, product=plan.product, plan=plan, quantity=quantity, at=world.at)
    if checkout.state == Checkout.State.OPEN:
        save_checkout(
            actor=actor,
            key=checkout.key,
            plan=plan,
            quantity=quantity,
            billing=_billing(user.name, home.tenant.country, world),
            takes_first_license=world.rng.random() < 0.7,
            agrees_to_terms=True,
            seen_total_minor=checkout.total_minor,
            at=world.at,
        )
    card, token = _token(world)
    outcome = payments.pay_checkout(actor=actor, key=checkout.key, confirmation_token=token, at=world.at)
    said = _answer_bank(
        world, outcome, lambda: payments.finish_checkout(actor=actor, key=checkout.key, at=world.at)
    )
    return f"{user.name}: {quantity} {plan.product.slug} {plan.code} by {card}: {said}"


def _require_room(world: World) -> None:
    """A few subscriptions at a time: years of many take long and show no more."""
    if len(world.subscriptions(state__in=("scheduled", "active", "expired"))) >= MOST_AT_ONCE:
        raise Nothing


def _plan(world: World, slug: str) -> Plan:
    return factories.plan(slug, world.rng.choice(("monthly", "yearly", "yearly", "yearly-monthly")))


@deed(2)
def buy_centrally(world: World) -> str:
    _require_room(world)
    home = world.home()
    plan = _plan(world, world.rng.choice(SLUGS))
    with tenant_atomic(home.tenant.pk):
        has_price = factories.AgreementPrice.objects.filter(tenant=home.tenant, plan=plan).exists()
        agreement = factories.Agreement.objects.filter(tenant=home.tenant).first()
        if agreement is None:
            agreement = factories.Agreement.objects.create(
                tenant=home.tenant, name="Agreement", payment_days=30
            )
        if not has_price:
            factories.AgreementPrice.objects.create(
                tenant=home.tenant,
                agreement=agreement,
                plan=plan,
                currency=home.tenant.currency,
                unit_price_minor=810 * plan.billing_months,
            )
    starts_on = None
    if world.rng.random() < 0.3:
        starts_on = (world.at + timedelta(days=world.rng.randrange(2, 60))).date()
    row = purchase_centrally(
        actor=home.actor(home.admin, world.at),
        product=plan.product,
        plan=plan,
        quantity=_quantity(world),
        at=world.at,
        starts_on=starts_on,
    )
    return f"{home.label}: {row.quantity} {plan.product.slug} {plan.code}, {row.state}"


@deed(5)
def assign(world: World) -> str:
    home, row, actor = some(world.one(state__in=("active", "expired", "disabled")))
    user = world.rng.choice([*home.people, home.admin])
    assignments.assign_license(
        actor=actor,
        subscription_key=row.key,
        user_id=user.pk,
        at=world.at,
        confirmed=world.rng.random() < 0.8,
    )
    return f"S{row.pk} to {user.name}"


@deed(3)
def take_back(world: World) -> str:
    home, row, actor = some(world.one(assigned__gt=0))
    users = world.rng.sample([*home.people, home.admin], 2)
    result = assignments.unassign_licenses(
        actor=actor, subscription_key=row.key, user_ids=[user.pk for user in users], at=world.at
    )
    return f"S{row.pk} from {', '.join(user.name for user in users)}: {result.done} came back"


@deed(6)
def add_seats(world: World) -> str:
    _home, row, actor = some(world.one(state="active"))
    quantity = row.quantity + world.rng.randint(1, 5)
    with tenant_atomic(actor):
        quote = adding.quote_addition(actor=actor, subscription=row, quantity=quantity, at=world.at)
    if row.is_on_account:
        adding.add_seats_on_account(
            actor=actor,
            key=row.key,
            quantity=quantity,
            version=row.version,
            seen_total_minor=quote.total_minor,
            at=world.at,
        )
        return f"S{row.pk} to {quantity} for {quote.total_minor} on account"
    checkout = adding.start_adding_seats(
        actor=actor,
        key=row.key,
        intent=uuid.UUID(int=world.rng.getrandbits(128), version=4),
        quantity=quantity,
        version=row.version,
        seen_total_minor=quote.total_minor,
        at=world.at,
    )
    return f"S{row.pk} to {quantity} for {quote.total_minor}: {_pay_change(world, actor, row, checkout)}"


def _pay_change(world: World, actor: Any, row: Subscription, checkout: Checkout) -> str:
    with_card: dict[str, Any] = {"card_id": row.card_id}
    if row.card_id is None or world.rng.random() < 0.3:
        with_card = {"confirmation_token": _token(world)[1]}
    outcome = payments.pay_change(
        actor=actor, key=checkout.key, version=checkout.version, at=world.at, **with_card
    )
    return _answer_bank(
        world, outcome, lambda: payments.finish_checkout(actor=actor, key=checkout.key, at=world.at)
    )


@deed(4)
def drop_seats(world: World) -> str:
    _home, row, actor = some(world.one(state="active", quantity__gt=1))
    quantity = world.rng.randrange(1, row.quantity)
    with tenant_atomic(actor):
        quote = removing.quote_removal(subscription=row, quantity=quantity, at=world.at)
    removed = removing.remove_seats(
        actor=actor,
        key=row.key,
        quantity=quantity,
        version=row.version,
        seen_total_minor=quote.total_minor,
        at=world.at,
    )
    return f"S{row.pk} to {quantity}, back {quote.total_minor} by {len(removed.credit_notes)} notes"


@deed(4)
def schedule_seats(world: World) -> str:
    _home, row, actor = some(world.one(state="active"))
    quantity = max(1, row.quantity + world.rng.randint(-6, 4))
    scheduling.schedule_seats(actor=actor, key=row.key, quantity=quantity, version=row.version, at=world.at)
    return f"S{row.pk} {row.quantity} to {quantity} at the renewal"


@deed(3)
def schedule_plan(world: World) -> str:
    _home, row, actor = some(world.one(state="active"))
    plan = _plan(world, row.product.slug)
    scheduling.schedule_plan(actor=actor, key=row.key, plan=plan, version=row.version, at=world.at)
    return f"S{row.pk} {row.plan.code} to {plan.code} at the renewal"


@deed(1)
def revoke(world: World) -> str:
    _home, row, actor = some(world.one(state="active"))
    what = world.rng.choice(("quantity", "plan"))
    scheduling.revoke_scheduled(actor=actor, key=row.key, what=what, version=row.version, at=world.at)
    return f"S{row.pk} {what}"


@deed(3)
def switch(world: World) -> str:
    _home, row, actor = some(world.one())
    on = world.rng.random() < 0.6
    recurring.set_recurring_billing(actor=actor, key=row.key, on=on, version=row.version, at=world.at)
    return f"S{row.pk} {'on' if on else 'off'}"


@deed(2)
def cancel(world: World) -> str:
    _home, row, actor = some(world.one())
    with tenant_atomic(actor):
        quote = cancellations.quote_cancellation(subscription=row, at=world.at)
    canceled = cancellations.cancel_subscription(
        actor=actor, key=row.key, version=row.version, seen=quote.seen, at=world.at
    )
    return f"S{row.pk} {quote.ending}, back {quote.refund_minor}, notes {len(canceled.credit_notes)}"


@deed(2)
def cancel_soon(world: World) -> str:
    """Inside the refund window of something just bought."""
    fresh = [
        (home, row)
        for home, row in world.subscriptions(state="active")
        if world.at - row.period_start < timedelta(days=8)
    ]
    if not fresh:
        raise Nothing
    home, row = world.rng.choice(fresh)
    actor = world.manager(home, row)
    with tenant_atomic(actor):
        quote = cancellations.quote_cancellation(subscription=row, at=world.at)
    cancellations.cancel_subscription(
        actor=actor, key=row.key, version=row.version, seen=quote.seen, at=world.at
    )
    return f"S{row.pk} {quote.ending}, back {quote.refund_minor}"


@deed(2)
def hand_over(world: World) -> str:
    home, row, actor = some(world.one(owner_kind="person", state__in=("active", "expired")))
    colleague = world.rng.choice([user for user in home.people if user.pk != row.owner_user_id])
    handovers.offer_hand_over(actor=actor, key=row.key, to_user_id=colleague.pk, at=world.at)
    return f"S{row.pk} offered to {colleague.name}"


@deed(3)
def answer_offer(world: World) -> str:
    with use_login("worker"):
        offers = list(HandOver.objects.filter(state="offered").select_related("to_user").order_by("pk"))
    if not offers:
        raise Nothing
    offer = world.rng.choice(offers)
    home = world.home_of(offer.tenant_id)
    actor = home.actor(offer.to_user, world.at)
    if world.rng.random() < 0.3:
        handovers.decline_offer(actor=actor, key=offer.key, at=world.at)
        return f"{offer.to_user.name} declines S{offer.subscription_id}"
    with use_login("worker"):
        version = Subscription.objects.values_list("version", flat=True).get(pk=offer.subscription_id)
    own = world.cards(home, offer.to_user)
    handovers.accept_hand_over(
        actor=actor,
        key=offer.key,
        version=version,
        card_id=own[0].pk if own else None,
        billing=_billing(offer.to_user.name, home.tenant.country, world),
        agrees_to_terms=True,
        at=world.at,
    )
    return f"{offer.to_user.name} takes over S{offer.subscription_id}"


@deed(4)
def add_card(world: World) -> str:
    home = world.home()
    user = world.rng.choice(home.people)
    actor = home.actor(user, world.at)
    card, token = _token(world)
    own = world.cards(home, user)
    replaces = world.rng.choice(own).pk if own and world.rng.random() < 0.5 else None
    key = uuid.UUID(int=world.rng.getrandbits(128), version=4)
    outcome = payments.save_card(
        actor=actor,
        key=key,
        for_organization=False,
        confirmation_token=token,
        replaces=replaces,
        at=world.at,
    )
    said = _answer_bank(world, outcome, lambda: payments.finish_setup(actor=actor, key=key, at=world.at))
    return f"{user.name} adds {card}{' in place of another' if replaces else ''}: {said}"


@deed(1)
def remove_card(world: World) -> str:
    home = world.home()
    user = world.rng.choice(home.people)
    own = world.cards(home, user)
    if not own:
        raise Nothing
    gone = world.rng.choice(own)
    others: list[Card] = [card for card in own if card.pk != gone.pk]
    cards.remove_card(
        actor=home.actor(user, world.at),
        card_id=gone.pk,
        move_to=world.rng.choice(others).pk if others and world.rng.random() < 0.8 else None,
        at=world.at,
    )
    return f"{user.name} removes {gone}"


@deed(1)
def choose_card(world: World) -> str:
    home, row, actor = some(world.one(owner_kind="person"))
    own = world.cards(home, row.owner_user)
    if not own:
        raise Nothing
    card = world.rng.choice(own)
    cards.choose_card(actor=actor, key=row.key, card_id=card.pk, at=world.at)
    return f"S{row.pk} by {card}"


@deed(3)
def pay_now(world: World) -> str:
    with use_login("worker"):
        bills = list(Bill.objects.open().filter(collection="card").select_related("payer").order_by("pk"))
    if not bills:
        raise Nothing
    bill = world.rng.choice(bills)
    home = world.home_of(bill.tenant_id)
    actor = home.actor(bill.payer or home.admin, world.at)
    own = world.cards(home, bill.payer)
    with_card: dict[str, Any] = {"confirmation_token": _token(world)[1]}
    if own and world.rng.random() < 0.5:
        with_card = {"card_id": world.rng.choice(own).pk}
    outcome = payments.pay_bill(actor=actor, number=bill.number, at=world.at, **with_card)
    said = _answer_bank(
        world, outcome, lambda: payments.finish_bill(actor=actor, number=bill.number, at=world.at)
    )
    return f"{bill.number} of {bill.total_minor}: {said}"


@deed(2)
def transfer(world: World) -> str:
    """The money for a bill on account is found on the bank account."""
    with use_login("worker"):
        bills = list(Bill.objects.open().filter(collection="on_account").order_by("pk"))
    if not bills:
        raise Nothing
    bill = world.rng.choice(bills)
    on_account.book_received(number=bill.number, reference=f"R{bill.pk}", staff="Sven", at=world.at)
    return f"{bill.number} of {bill.total_minor}"


@deed(3)
def reactivate(world: World) -> str:
    _home, row, actor = some(world.one(state__in=("expired", "disabled")))
    with tenant_atomic(actor):
        quote = reactivating.quote_reactivation(actor=actor, subscription=row, at=world.at)
    if row.is_on_account:
        reactivating.reactivate_on_account(
            actor=actor, key=row.key, version=row.version, seen_total_minor=quote.total_minor, at=world.at
        )
        return f"S{row.pk} from {row.state} for {quote.total_minor} on account"
    checkout = reactivating.start_reactivation(
        actor=actor,
        key=row.key,
        intent=uuid.UUID(int=world.rng.getrandbits(128), version=4),
        version=row.version,
        seen_total_minor=quote.total_minor,
        at=world.at,
    )
    return f"S{row.pk} from {row.state} for {quote.total_minor}: {_pay_change(world, actor, row, checkout)}"


@deed(3)
def try_it(world: World) -> str:
    """A trial: with a card where the person has one here, else without."""
    _require_room(world)
    home = world.home()
    user = world.rng.choice(home.people)
    actor = home.actor(user, world.at)
    plan = _plan(world, world.rng.choice(SLUGS))
    choice = trials.Choice(plan.product, plan, world.rng.randint(1, 25))
    own = world.cards(home, user)
    if not own or world.rng.random() < 0.3:
        row = trials.start_trial_without_card(actor=actor, choice=choice, agrees_to_terms=True, at=world.at)
        return f"{user.name}: {row.quantity} {plan.product.slug}, no card"
    for _ in range(2):
        try:
            trials.start_trial_with_card(
                actor=actor,
                choice=choice,
                card_id=world.rng.choice(own).pk,
                billing=_billing(user.name, home.tenant.country, world),
                agrees_to_terms=True,
                at=world.at,
            )
        except PriceChanged as seen:
            choice = replace(choice, seen_total_minor=seen.quote.total_minor)
    return f"{user.name}: {choice.quantity} {plan.product.slug} {plan.code}, by card"


@deed(1)
def extend_trial(world: World) -> str:
    _home, row, actor = some(world.one(state="active", channel="trial"))
    trials.extend_trial(actor=actor, key=row.key, version=row.version, at=world.at)
    return f"S{row.pk}"


@deed(2)
def correct(world: World) -> str:
    """A bill is made out to somebody else."""
    with use_login("worker"):
        bills = list(Bill.objects.filter(credits__isnull=True).select_related("payer").order_by("pk"))
    if not bills:
        raise Nothing
    bill = world.rng.choice(bills[-8:])
    home = world.home_of(bill.tenant_id)
    corrected = correct_bill(
        actor=home.actor(bill.payer or home.admin, world.at),
        number=bill.number,
        billing=_billing(f"{home.label} accounts", home.tenant.country, world),
        at=world.at,
    )
    return f"{bill.number} {bill.status} by {corrected.bill.number}"


# --- The bank, the processor ------------------------------------------------------------------------------

DECLINES: tuple[tuple[str, str | None], ...] = (
    ("card_declined", "insufficient_funds"),
    ("card_declined", "insufficient_funds"),
    ("card_declined", "lost_card"),
    ("expired_card", None),
)


@deed(4)
def card_turns(world: World) -> str:
    """A saved card begins to be declined, or to need its holder, or is good again."""
    with use_login("worker"):
        rows = list(Card.objects.filter(removed_at__isnull=True).order_by("pk"))
    if not rows:
        raise Nothing
    card = world.rng.choice(rows)
    kind = world.rng.choice(("good", "good", "good", "declines", "asks"))
    decline = world.rng.choice(DECLINES) if kind == "declines" else None
    world.gateway.turn_card(card.processor_id, decline=decline, asks_bank=kind == "asks")
    return f"C{card.pk} {kind} {decline or ''}"


@deed(3)
def weather_turns(world: World) -> str:
    world.gateway.weather = world.rng.choices(list(WEATHERS), (6, 3, 1))[0]
    return world.gateway.weather


@deed(1)
def refund_bounces(world: World) -> str:
    """The cardholder's bank sends a refund back."""
    disputed = {charge["id"] for charge in world.gateway.objects("charge") if charge["disputed"]}
    made = [
        refund
        for refund in world.gateway.objects("refund")
        if refund["status"] == "succeeded" and refund["charge"] not in disputed
    ]
    if not made:
        raise Nothing
    number = world.rng.randrange(len(made))
    world.gateway.control("POST", "refunds/fail", refund=made[number]["id"])
    return f"refund {number + 1} of {len(made)}"


def _charge(world: World) -> Json:
    """One of which something is left, and that nobody contested."""
    charges = [
        charge
        for charge in world.gateway.objects("charge")
        if charge["status"] == "succeeded"
        and not charge["disputed"]
        and charge["amount_refunded"] < charge["amount"]
    ]
    if not charges:
        raise Nothing
    return world.rng.choice(charges)


@deed(1)
def dispute(world: World) -> str:
    """A cardholder contests what is left of a charge."""
    charge = _charge(world)
    left = charge["amount"] - charge["amount_refunded"]
    world.gateway.control("POST", "disputes", charge=charge["id"], amount=left)
    return f"{left} {charge['currency']}"


@deed(2)
def decide_dispute(world: World) -> str:
    waiting = [one for one in world.gateway.objects("dispute") if one["status"] == "needs_response"]
    if not waiting:
        raise Nothing
    status = world.rng.choice(("won", "lost"))
    world.gateway.control("POST", "disputes/close", dispute=world.rng.choice(waiting)["id"], status=status)
    return status


@deed(1)
def refund_elsewhere(world: World) -> str:
    """Somebody gives money back in the processor's own dashboard."""
    charge = _charge(world)
    amount = world.rng.randint(1, charge["amount"] - charge["amount_refunded"])
    text, status, _ = world.gateway.ask("POST", "/v1/refunds", None, f"charge={charge['id']}&amount={amount}")
    assert status == 200, text
    return f"{amount} of {charge['amount']} {charge['currency']}"


@deed(5)
def webhooks(world: World) -> str:
    return f"{world.gateway.deliver(world.rng, world.at)} arrive"


# --- Sweeps -----------------------------------------------------------------------------------------------


@deed(10, is_sweep=True)
def renew(world: World) -> str:
    return str(renew_due(at=world.at, limit=world.rng.choice((1, 2, 2000))))


@deed(6, is_sweep=True)
def expire(world: World) -> str:
    return str(expire_due(at=world.at, limit=world.rng.choice((1, 2000))))


@deed(4, is_sweep=True)
def end_trials(world: World) -> str:
    return str(sweep_trials(at=world.at, limit=world.rng.choice((1, 2000))))


@deed(10, is_sweep=True)
def charge(world: World) -> str:
    return str(charge_due(at=world.at, limit=world.rng.choice((1, 3, None))))


@deed(6, is_sweep=True)
def dun(world: World) -> str:
    return str(dun_due(at=world.at))


@deed(3, is_sweep=True)
def past_due(world: World) -> str:
    return str(on_account.mark_past_due(at=world.at))


@deed(4, is_sweep=True)
def refund(world: World) -> str:
    return str(payments.settle_refunds(at=world.at))


@deed(8, is_sweep=True)
def reconcile(world: World) -> str:
    return json.dumps(payments.reconcile(world.at), sort_keys=True)


@deed(3, is_sweep=True)
def remind(world: World) -> str:
    return str(remind_due(at=world.at))


@deed(1, is_sweep=True)
def tell_bills(world: World) -> str:
    return str(tell_of_bills(at=world.at))


@deed(1, is_sweep=True)
def lapse(world: World) -> str:
    return str(handovers.lapse_offers(at=world.at))


@deed(1, is_sweep=True)
def notice_cards(world: World) -> str:
    return str(notice_expiring_cards(at=world.at))


@deed(25, is_sweep=True)
def night(world: World) -> str:
    """Several sweeps in any order, as beat and its workers happen to run them."""
    sweeps = [one for one in DEEDS if one.is_sweep and one.name != "night"]
    chosen = world.rng.sample(sweeps, world.rng.randint(3, len(sweeps)))
    for sweep in chosen:
        sweep.act(world)
    return " ".join(sweep.name for sweep in chosen)


__all__ = ["DEEDS", "Deed", "Nothing", "deed", "some"]
