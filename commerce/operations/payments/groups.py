"""Charging many bills at once: the steps of `charging`, each for a group in a few statements (architecture §7, §8).

For plain bills: never tried before, of a subscription without a failed payment, whose payer has a card and is
known to the processor. Whatever else a bill turns out to be, and every answer but a charge as agreed, is left to
`charge_bill`, which finds the attempt and goes on from there: the group only saves the work of the usual case.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import db
from django.db.models import Exists, OuterRef, QuerySet, prefetch_related_objects

from commerce.gateways import Declined, Intent, NeedsAuthentication, Rejected, Retryable, stripe
from commerce.models import Bill, Card, PaymentAttempt, ProcessorCustomer
from commerce.operations import notices
from commerce.operations.billing_control import is_paused
from commerce.operations.bills import Booking, book_payments
from commerce.operations.payments import attempts, guards, outcomes
from commerce.operations.payments.charging import ChargeResult, charge_bill
from commerce.queries.cards import paying_cards
from config.kit.actors import Actor
from config.kit.faults import reached
from config.kit.tenancy import atomic, connection
from directory.operations.mail import queue_mails

log = logging.getLogger(__name__)

State = PaymentAttempt.State

_KNOW = """
    UPDATE commerce_paymentattempt a SET intent_id = known.intent_id, state = 'intent', updated_at = %(at)s
      FROM unnest(%(ids)s::bigint[], %(intents)s::text[]) AS known (id, intent_id)
     WHERE a.id = known.id AND a.state = 'created'
    RETURNING a.id
"""

# What a group reads of its bills and their subscriptions: both rows are wide, and most of a group's time is Python's.
_CHARGED_BY = (
    *("tenant_id", "number", "type", "status", "collection", "total_minor", "currency", "period_start"),
    *("payer_id", "subscription__key", "subscription__state", "subscription__recurring_billing"),
)
_RECEIPT_BY = (
    *(*_CHARGED_BY, "subtotal_minor", "tax_name", "tax_rate", "tax_minor", "period_end"),
    *("subscription__tenant_id", "subscription__product_id", "subscription__plan_id"),
    *("subscription__vendor_entity_id", "subscription__quantity", "subscription__currency"),
    "subscription__time_zone",
)
# Of these only what may change between two looks (I-14).
_LOOKED_AT = ("status", "collection", "subscription__state", "subscription__recurring_billing")

# How long a group asks for, half of it to create. A processor that takes its time for each answer must not hold a
# lane past the end of its ring; what was not asked about is taken again.
SECONDS_A_GROUP = 30.0


@dataclass(slots=True, eq=False)
class _Charge:
    """One plain bill on its way; `is_silent` when the processor gave no answer."""

    bill: Bill
    attempt: PaymentAttempt
    intent: Intent | None = None
    is_silent: bool = False


def charge_bills(*, bill_ids: list[int], at: datetime) -> dict[int, ChargeResult]:
    """Charge leased bills off session, each once; what came of each. Worker's login, never inside a transaction.

    Stops after some in a row without an answer, or when its time is over: those not asked about are missing from
    the result. Every lease is given back.
    """
    ends_at = time.monotonic() + SECONDS_A_GROUP
    results: dict[int, ChargeResult] = {}
    try:
        results = _charge_plain(bill_ids, at, ends_at)
    except db.Error:
        # One by one the others are charged, and the one that cannot be written shows which it is.
        log.exception("A group of %s bills failed and is taken apart", len(bill_ids))
        connection().close_if_unusable_or_obsolete()
    left = [bill_id for bill_id in bill_ids if bill_id not in results]
    if left or "pending" in results.values():
        _let_go(bill_ids, results)
    in_a_row = _silent_at_the_end(results)
    while left and in_a_row < attempts.GIVES_UP_AFTER and time.monotonic() < ends_at:
        bill_id = left.pop(0)
        results[bill_id] = _charge_alone(bill_id, at)
        in_a_row = in_a_row + 1 if results[bill_id] == "pending" else 0
    if left:
        with atomic():
            Bill.objects.filter(pk__in=left).update(leased_until=None)
    return results


def _charge_alone(bill_id: int, at: datetime) -> ChargeResult:
    try:
        return charge_bill(bill_id=bill_id, at=at, is_leased=True)
    except db.Error:
        # A lock held for too long, a value refused: it is tried again later, the others go on. When the database
        # is away, whoever takes the next bill hears so.
        log.exception("Bill %s could not be charged", bill_id)
        connection().close_if_unusable_or_obsolete()
        return "pending"


def _charge_plain(bill_ids: list[int], at: datetime, ends_at: float) -> dict[int, ChargeResult]:
    """What came of the plain ones among these bills; the others are not in the result."""
    begun = _begin(bill_ids, at)
    created = _ask(begun, _create, ends_at - SECONDS_A_GROUP / 2)
    confirmed = _ask(_know(created, at), _confirm, ends_at)
    paid = _book(confirmed, at)
    results: dict[int, ChargeResult] = {}
    for charge in begun:
        if charge.is_silent:
            results[charge.bill.pk] = "pending"
        elif charge in paid:
            results[charge.bill.pk] = "paid"
    return results


def _begin(bill_ids: list[int], at: datetime) -> list[_Charge]:
    """R2: an attempt for each plain bill, committed."""
    _reached("R2:before", bill_ids)
    with atomic():
        bills = [] if is_paused() else _chargeable(bill_ids)
        cards, customers = paying_cards(bills), _customers(bills)
        charges = [
            _Charge(
                bill,
                attempts.prepare(
                    actor=Actor.system(bill.tenant_id),
                    cause=bill,
                    customer_id=customers[bill.payer_id],
                    card_id=cards[bill.pk].processor_id,
                    at=at,
                ),
            )
            for bill in bills
            if bill.pk in cards and bill.payer_id in customers
        ]
        PaymentAttempt.objects.bulk_create([charge.attempt for charge in charges])
    _reached("R2:after", bill_ids)
    return charges


def _plain(bill_ids: Iterable[int]) -> "QuerySet[Bill]":
    """Those of the bills that are plain, to be locked with their subscriptions; what somebody holds is left out.

    Joined with the subscription alone, both are locked; whoever joins more says `of`.
    """
    bills: QuerySet[Bill] = Bill.objects.open().filter(
        pk__in=bill_ids, tries=0, payer__isnull=False, subscription__payment_failed_at__isnull=True
    )
    return bills.select_for_update(skip_locked=True, no_key=True)


def _chargeable(bill_ids: Iterable[int]) -> list[Bill]:
    """Those that nobody has begun to charge and that may be charged now (I-14)."""
    live = PaymentAttempt.objects.filter(bill=OuterRef("pk")).exclude(state__in=("failed", "canceled"))
    bills = (
        _plain(bill_ids)
        .filter(~Exists(live))
        .select_related("subscription__card")
        .only(*_CHARGED_BY, "subscription__card")
        .select_for_update(of=("self", "subscription"), skip_locked=True, no_key=True)
    )
    return [bill for bill in bills if not guards.why_not_charged(bill) and not guards.is_too_small(bill)]


def _still_chargeable(created: list[_Charge]) -> list[_Charge]:
    """Those that may be charged after a second look; the caller has begun them (I-14)."""
    by_bill = {charge.bill.pk: charge for charge in created}
    allowed = []
    for bill_id, *now in _plain(by_bill).values_list("pk", *_LOOKED_AT):
        bill = by_bill[bill_id].bill
        bill.status, bill.collection, bill.subscription.state, bill.subscription.recurring_billing = now
        if not guards.why_not_charged(bill):
            allowed.append(by_bill[bill_id])
    return allowed


def _customers(bills: list[Bill]) -> dict[int | None, str]:
    payers = {bill.payer_id for bill in bills}
    return dict(ProcessorCustomer.objects.filter(user__in=payers).values_list("user_id", "processor_id"))


def _ask(charges: list[_Charge], question: Callable[[_Charge], Intent], ends_at: float) -> list[_Charge]:
    """Ask the processor about one after the other; those that it answered as usual."""
    answered: list[_Charge] = []
    in_a_row = 0
    for charge in charges:
        if in_a_row == attempts.GIVES_UP_AFTER or time.monotonic() >= ends_at:
            break
        try:
            charge.intent = question(charge)
        except Retryable:
            charge.is_silent = True
            in_a_row += 1
            continue
        except (Declined, NeedsAuthentication, Rejected):
            # An outcome that `charge_bill` finds again, and knows what to do about.
            pass
        else:
            answered.append(charge)
        in_a_row = 0
    return answered


def _create(charge: _Charge) -> Intent:
    """R3: an intent that charges nothing until it is confirmed."""
    reached("R3:before")
    intent = stripe.create_intent(key=charge.attempt.key, **attempts.creation_params(charge.attempt))
    reached("R3:after")
    return intent


def _know(created: list[_Charge], at: datetime) -> list[_Charge]:
    """R4: their ids, committed; those that may still be charged (I-14), marked as about to be.

    An attempt that somebody ended meanwhile stays ended. Until this is committed nobody confirms them; afterwards
    whoever finds one asks before charging.
    """
    if not created:
        return []
    _reached("R4:before", created)
    with atomic():
        may_confirm = [] if is_paused() else _still_chargeable(created)
        with connection().cursor() as cursor:
            ids = [charge.attempt.pk for charge in created]
            intents = [charge.intent.id for charge in created if charge.intent is not None]
            cursor.execute(_KNOW, {"ids": ids, "intents": intents, "at": at})
            known = {attempt_id for (attempt_id,) in cursor.fetchall()}
        marked = [charge for charge in may_confirm if charge.attempt.pk in known]
        PaymentAttempt.objects.filter(pk__in=[charge.attempt.pk for charge in marked]).update(
            state=State.CONFIRMING, updated_at=at
        )
    _reached("R4:after", created)
    return marked


def _confirm(charge: _Charge) -> Intent:
    """R5: charge that id."""
    assert charge.intent is not None
    reached("R5:before")
    intent = stripe.confirm_intent(
        charge.intent.id, card_id=charge.attempt.card_processor_id, off_session=True
    )
    reached("R5:after")
    return intent


def _book(confirmed: list[_Charge], at: datetime) -> list[_Charge]:
    """R6 and R7: what was charged as agreed, booked with its receipts; those bills."""
    charged = {
        charge.attempt.pk: (charge, charge.intent)
        for charge in confirmed
        if charge.intent is not None and charge.intent.status == "succeeded"
    }
    if not charged:
        return []
    _reached("R6:before", charged)
    with atomic():
        bills = {bill.pk: bill for bill in _with_receipt([charge.bill.pk for charge, _ in charged.values()])}
        under_way = PaymentAttempt.objects.filter(pk__in=charged, state=State.CONFIRMING)
        rows: list[tuple[PaymentAttempt, Bill, Intent]] = []
        for attempt_id, intent_id in under_way.select_for_update(no_key=True).values_list("pk", "intent_id"):
            charge, intent = charged[attempt_id]
            charge.attempt.intent_id = intent_id
            if charge.bill.pk in bills and outcomes.is_as_agreed(charge.attempt, intent):
                rows.append((charge.attempt, bills[charge.bill.pk], intent))
        if rows:
            PaymentAttempt.objects.filter(pk__in=[attempt.pk for attempt, _, _ in rows]).update(
                state=State.SUCCEEDED, updated_at=at, leased_until=None
            )
            _book_and_tell(rows, at)
    for point in ("R6:after", "R7:before", "R7:after"):
        _reached(point, charged)
    return [charged[attempt.pk][0] for attempt, _, _ in rows]


def _with_receipt(bill_ids: list[int]) -> list[Bill]:
    """The bills, locked, with what their receipts say."""
    bills = list(_plain(bill_ids).select_related("subscription").only(*_RECEIPT_BY))
    prefetch_related_objects(
        bills, "payer", *(f"subscription__{name}" for name in ("product", "plan", "tenant", "vendor_entity"))
    )
    return bills


def _book_and_tell(rows: list[tuple[PaymentAttempt, Bill, Intent]], at: datetime) -> None:
    cards_used = {intent.card.processor_id for _, _, intent in rows if intent.card}
    cards = {card.processor_id: card for card in Card.objects.filter(processor_id__in=cards_used)}
    bookings = []
    for attempt, bill, intent in rows:
        card = cards.get(intent.card.processor_id) if intent.card else None
        bookings.append(Booking(Actor.system(bill.tenant_id), bill, attempt, intent.charge_id, card))
    book_payments(bookings, received_at=at, at=at)
    queue_mails(
        [
            mail
            for booking in bookings
            for mail in notices.renewal_receipt(bill=booking.bill, card=booking.card, at=at)
        ]
    )


def _let_go(bill_ids: list[int], results: dict[int, ChargeResult]) -> None:
    """Give back the leases of what was not settled; a confirmation without an answer may have charged or not."""
    silent = [bill_id for bill_id, result in results.items() if result == "pending"]
    with atomic():
        under_way = PaymentAttempt.objects.filter(bill__in=bill_ids).exclude(state__in=PaymentAttempt.FINAL)
        under_way.filter(bill__in=silent, state=State.CONFIRMING).update(state=State.UNKNOWN)
        under_way.update(leased_until=None)
        Bill.objects.filter(pk__in=silent).update(leased_until=None)


def _silent_at_the_end(results: dict[int, ChargeResult]) -> int:
    in_a_row = 0
    for result in results.values():
        in_a_row = in_a_row + 1 if result == "pending" else 0
    return in_a_row


def _reached(point: str, each: Iterable[Any]) -> None:
    """A point that the whole group passes at once, counted for each bill."""
    for _ in each:
        reached(point)
