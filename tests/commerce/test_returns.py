"""Refunds made at the processor, and disputes: hints, fetched again, booked once (product §5.6; F-14, I-18)."""

import itertools
import json
import os
import uuid
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.test import Client

from commerce.models import (
    Bill,
    BillLine,
    Dispute,
    HandOver,
    Refund,
    RefundAttempt,
    Subscription,
    SubscriptionEvent,
    WebhookEvent,
)
from commerce.operations.changes import start_adding_seats
from commerce.operations.changes.rules import Disputed
from commerce.operations.handovers import offer_hand_over
from commerce.operations.payments import (
    handle_events,
    pay_checkout,
    pull_events,
    settle_refunds,
)
from config.invariants import violations
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry, OutgoingMail, Tenant, User
from tests.commerce.test_refunds import facts, rows
from tests.commerce.test_webhooks import post
from tests.factories import AT, actor_of, make_checkout, make_credit_note, make_tenant, make_user
from tests.faults.installation import wait_until
from tests.processor import card_token, control, fault, intents

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]


@pytest.fixture
def pat() -> User:
    return make_user(make_tenant(), name="Pat")


@pytest.fixture
def paid(pat: User) -> Bill:
    """113.74 paid by card."""
    buy(pat)
    with tenant_atomic(pat.tenant_id):
        return Bill.objects.get()


def buy(pat: User) -> None:
    checkout = make_checkout(pat)
    pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=card_token(), at=AT)


def at_the_processor(method: str, path: str, **data: Any) -> dict[str, Any]:
    """What the vendor's staff do at the processor's own dashboard."""
    answer = httpx.request(
        method,
        f"{settings.STRIPE_API_BASE}/v1/{path}",
        auth=(settings.STRIPE_SECRET_KEY, ""),
        data=data,
        timeout=20,
    )
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def refund_outside(amount: int) -> dict[str, Any]:
    return at_the_processor("POST", "refunds", payment_intent=intents()[0]["id"], amount=amount)


def dispute(**facts: Any) -> dict[str, Any]:
    made: dict[str, Any] = control("POST", "disputes", payment_intent=intents()[0]["id"], **facts)
    return made


def close(made: dict[str, Any], status: str) -> None:
    control("POST", "disputes/close", dispute=made["id"], status=status)


def tell() -> None:
    """Deliver every event that the processor has, and act on them."""
    listed = httpx.get(
        f"{settings.STRIPE_API_BASE}/v1/events?limit=100", auth=(settings.STRIPE_SECRET_KEY, ""), timeout=20
    )
    for told in reversed(listed.json()["data"]):
        assert post(Client(), json.dumps(told)) == 200
    with use_login("worker"):
        handle_events(AT)


def subscription_of(bill: Bill) -> Subscription:
    with tenant_atomic(bill.tenant_id):
        found: Subscription = Subscription.objects.get(pk=bill.subscription_id)
        return found


def codes(bill: Bill) -> list[str]:
    return [code for (code,) in rows(bill, SubscriptionEvent, "code")]


def test_a_refund_made_outside_becomes_a_credit_note(paid: Bill) -> None:
    made = refund_outside(3_630)

    tell()

    with tenant_atomic(paid.tenant_id):
        note = Bill.objects.get(credits=paid)
    assert (note.type, note.status, note.number) == ("refund", "paid", "SK-NL-2026-000002")
    assert (note.subtotal_minor, note.tax_minor, note.total_minor) == (-3_000, -630, -3_630)
    assert rows(paid, BillLine, "description", bill=note) == [("Refund",)]
    assert facts(paid) == ("paid", 11_374, 3_630, 3_630)
    assert rows(paid, RefundAttempt, "state", "processor_refund_id") == [("succeeded", made["id"])]
    assert codes(paid)[-2:] == ["credited", "refunded"]
    assert len(rows(paid, OutgoingMail, "pk", kind="refund")) == 1
    assert violations(at=AT) == []


def test_being_told_again_changes_nothing(paid: Bill) -> None:
    refund_outside(3_630)
    tell()
    with use_login("worker"):
        WebhookEvent.objects.update(handled_at=None)

    tell()

    assert facts(paid) == ("paid", 11_374, 3_630, 3_630)
    assert len(rows(paid, Refund, "pk")) == len(rows(paid, Bill, "pk", credits=paid)) == 1


def test_several_refunds_outside_take_back_the_whole_bill_to_the_cent(paid: Bill) -> None:
    for amount in (1, 2, 3, 1_000, 99, 10_269):
        refund_outside(amount)

    tell()

    assert facts(paid) == ("paid", 11_374, 11_374, 11_374)
    taxes = rows(paid, Bill, "subtotal_minor", "tax_minor", credits=paid)
    assert (sum(net for net, _ in taxes), sum(tax for _, tax in taxes)) == (-9_400, -1_974)
    assert violations(at=AT) == []


def test_our_own_refund_told_before_it_was_booked_is_booked_once(paid: Bill) -> None:
    make_credit_note(paid, 3_000)
    fault("lose_answer", "/v1/refunds", count=3)
    assert settle_refunds(at=AT).pending == 1

    tell()
    settle_refunds(at=AT + timedelta(hours=1))

    assert facts(paid) == ("paid", 11_374, 3_630, 3_630)
    assert len(rows(paid, Refund, "pk")) == len(rows(paid, Bill, "pk", credits=paid)) == 1
    assert violations(at=AT) == []


def test_a_refused_refund_that_staff_made_at_the_processor_pays_its_note(paid: Bill) -> None:
    contested = dispute()
    note = make_credit_note(paid, 3_000)
    assert settle_refunds(at=AT).failed == 1
    close(contested, "won")
    refund_outside(3_630)

    tell()

    assert rows(paid, RefundAttempt, "state", "credit_note_id") == [
        ("failed", note.pk),
        ("succeeded", note.pk),
    ]
    assert facts(note)[0] == "paid"
    assert facts(paid) == ("paid", 11_374, 3_630, 3_630)
    assert violations(at=AT) == []


def test_a_refund_that_the_bank_sends_back_is_taken_off_and_waits_for_staff(paid: Bill) -> None:
    note = make_credit_note(paid, 3_000)
    settle_refunds(at=AT)
    with tenant_atomic(paid.tenant_id):
        made = RefundAttempt.objects.get().processor_refund_id
    control("POST", "refunds/fail", refund=made)

    tell()
    tell()

    assert rows(paid, RefundAttempt, "state", "failure_code") == [("failed", "lost_or_stolen_card")]
    assert facts(note) == ("open", 0, 0, 0)
    assert facts(paid) == ("paid", 11_374, 3_630, 0)
    assert [row[0] is None for row in rows(paid, Refund, "reverses_id")] == [True, False]
    assert codes(paid)[-1] == "refund_failed"
    assert violations(at=AT) == []


def test_more_than_the_books_can_explain_is_reported_once(paid: Bill) -> None:
    make_credit_note(paid, 9_400)
    control("POST", "faults", kind="error", method="POST", path="/v1/refunds", status=429, count=50)
    settle_refunds(at=AT)
    control("DELETE", "faults")
    refund_outside(5_000)

    tell()
    tell()

    assert len(rows(paid, AuditEntry, "pk", code="commerce.refund.unmatched")) == 1
    # In the ledger all the same, beside the charge, and off again should the bank send it back.
    ((unexplained,),) = rows(paid, Refund, "processor_refund_id", payment=None)
    control("POST", "refunds/fail", refund=unexplained)
    tell()
    tell()
    assert [row[0] is None for row in rows(paid, Refund, "reverses_id", payment=None)] == [True, False]
    assert facts(paid) == ("paid", 11_374, 11_374, 11_374)


def test_an_opened_dispute_stops_new_seats_and_tells_payer_and_admins(paid: Bill, pat: User) -> None:
    admin = make_user(pat.tenant, roles=("billing_admin",))

    dispute(reason="product_not_received")
    tell()

    subscription = subscription_of(paid)
    assert (subscription.state, subscription.disputed_at) == ("active", AT)
    assert rows(paid, Dispute, "status", "amount_minor", "reason") == [
        ("open", 11_374, "product_not_received")
    ]
    assert codes(paid)[-1] == "dispute_opened"
    assert {to for (to,) in rows(paid, OutgoingMail, "to_user_id", kind="dispute")} == {pat.pk, admin.pk}
    assert facts(paid) == ("paid", 11_374, 0, 0)


def test_while_it_is_open_no_seats_are_added(paid: Bill, pat: User) -> None:
    dispute()
    tell()
    subscription = subscription_of(paid)
    with tenant_atomic(pat.tenant_id):
        pat.refresh_from_db()

    with pytest.raises(Disputed):
        start_adding_seats(
            actor=actor_of(pat),
            key=subscription.key,
            intent=uuid.uuid4(),
            quantity=12,
            version=subscription.version,
            seen_total_minor=1,
            at=AT,
        )


def test_a_won_dispute_leaves_everything_as_it_was(paid: Bill) -> None:
    close(dispute(), "won")

    tell()

    subscription = subscription_of(paid)
    assert (subscription.state, subscription.disputed_at) == ("active", None)
    assert rows(paid, Dispute, "status", "closed_at") == [("won", AT)]
    assert facts(paid) == ("paid", 11_374, 0, 0)
    assert rows(paid, OutgoingMail, "event_key", kind="dispute")[0][0].split(":")[2] == "won"


def test_a_lost_dispute_ends_access_at_once_and_books_the_money_back(paid: Bill) -> None:
    made = dispute()
    tell()
    close(made, "lost")

    tell()
    tell()

    subscription = subscription_of(paid)
    assert (subscription.state, subscription.disabled_reason, subscription.disabled_at) == (
        "disabled",
        "disputed",
        AT,
    )
    assert (subscription.recurring_billing, subscription.disputed_at) == (False, None)
    assert subscription.due_at is not None
    assert subscription.due_at.date().isoformat() == "2026-06-07"
    assert facts(paid) == ("paid", 11_374, 11_374, 11_374)
    assert rows(paid, Refund, "amount_minor", "processor_refund_id") == [(11_374, made["id"])]
    assert rows(paid, Bill, "type", "status", "total_minor", credits=paid) == [("refund", "paid", -11_374)]
    assert rows(paid, OutgoingMail, "pk", kind="refund") == []
    assert codes(paid)[-5:] == ["dispute_opened", "dispute_lost", "credited", "refunded", "disabled"]
    assert violations(at=AT) == []


def test_a_lost_dispute_withdraws_what_was_offered_to_a_colleague(paid: Bill, pat: User) -> None:
    with tenant_atomic(pat.tenant_id):
        erik = make_user(Tenant.objects.get(), name="Erik")
        pat.refresh_from_db()
    key = subscription_of(paid).key
    offer = offer_hand_over(actor=actor_of(pat), key=key, to_user_id=erik.pk, at=AT)
    made = dispute()
    tell()
    while_open = rows(paid, HandOver, "state")
    close(made, "lost")

    tell()

    assert while_open == [("offered",)]
    assert rows(paid, HandOver, "state", "decided_at") == [("withdrawn", AT)]
    assert rows(paid, OutgoingMail, "to_user_id", event_key__contains=f"{offer.key}:withdrawn") == [
        (erik.pk,)
    ]
    assert violations(at=AT) == []


def test_an_accepted_dispute_is_lost(paid: Bill) -> None:
    made = dispute()
    at_the_processor("POST", f"disputes/{made['id']}/close")

    tell()

    assert subscription_of(paid).disabled_reason == "disputed"


def test_a_lost_dispute_pays_the_refund_that_it_stood_in_the_way_of(paid: Bill) -> None:
    made = dispute()
    note = make_credit_note(paid, 3_000)
    settle_refunds(at=AT)
    close(made, "lost")

    tell()

    assert facts(note)[0] == "paid"
    assert rows(paid, Bill, "total_minor", credits=paid) == [(-3_630,), (-7_744,)]
    assert facts(paid) == ("paid", 11_374, 11_374, 11_374)
    assert violations(at=AT) == []


def test_a_lost_dispute_of_a_partly_refunded_charge_takes_the_rest(paid: Bill) -> None:
    make_credit_note(paid, 3_000)
    settle_refunds(at=AT)
    made = dispute(amount=7_744)
    close(made, "lost")

    tell()

    assert facts(paid) == ("paid", 11_374, 11_374, 11_374)
    assert violations(at=AT) == []


def test_with_two_disputes_seats_stay_stopped_until_both_are_decided(paid: Bill) -> None:
    first, second = dispute(amount=100), dispute(amount=200)
    close(first, "won")
    tell()
    assert subscription_of(paid).disputed_at == AT

    close(second, "won")
    tell()

    assert subscription_of(paid).disputed_at is None


def test_without_any_webhook_refunds_and_disputes_are_found(paid: Bill) -> None:
    """F-16: the processor's list of events is asked, so that nothing waits for a delivery."""
    refund_outside(3_630)
    dispute(amount=100)

    found, again = pull_events(AT), pull_events(AT)
    with use_login("worker"):
        handle_events(AT)

    assert (found > 0, again) == (True, 0)
    assert facts(paid)[3] == 3_630
    assert subscription_of(paid).disputed_at == AT


STORY = (
    "payment_intent.created",
    "payment_intent.processing",
    "payment_intent.payment_failed",
    "payment_intent.succeeded",
    "charge.refunded",
    "charge.dispute.created",
)
# Of all orders: some in the suite, all of them, 720 at most, with ORDERS=720.
ORDERS = int(os.environ.get("ORDERS", "12"))


def orders_of(number: int) -> list[tuple[int, ...]]:
    """Orders in which so many events can come, spread over all of them."""
    found = list(itertools.permutations(range(number)))
    return found[:: max(1, len(found) // ORDERS)]


def events_of(intent_id: str) -> list[dict[str, Any]]:
    """What the processor has to tell of one intent and of what went back of it, oldest first."""
    listed = at_the_processor("GET", "events?limit=100")
    return [
        told
        for told in reversed(listed["data"])
        if intent_id in (told["data"]["object"]["id"], told["data"]["object"].get("payment_intent"))
    ]


def unsettled(number: int) -> tuple[User, list[dict[str, Any]]]:
    """A purchase that was declined, held, charged, refunded in part and contested, none of which is known here.

    With the processor's own event for each chapter of the story.
    """
    buyer = make_user(make_tenant(), name=f"Buyer {number}")
    fault("lose_answer", "/v1/payment_intents/*/confirm")
    control("POST", "processing", count=1)
    buy(buyer)
    intent_id = str(intents()[0]["id"])
    control("POST", "settle", payment_intent=intent_id, outcome="failed")
    control("POST", "processing", count=0)
    at_the_processor("POST", f"payment_intents/{intent_id}/confirm", payment_method="pm_card_visa")
    refund_outside(3_630)
    dispute(amount=7_744)
    told = {each["type"]: each for each in events_of(intent_id)}
    return buyer, [told[chapter] for chapter in STORY]


def final_state(buyer: User) -> tuple[Any, ...]:
    """Everything that must not depend on the order in which it was told."""
    with tenant_atomic(buyer.tenant_id):
        bill = Bill.objects.get(type="purchase")
        subscription = Subscription.objects.get()
        return (
            bill.status,
            bill.paid_minor,
            bill.refunded_minor,
            subscription.state,
            subscription.disputed_at,
            sorted(Bill.objects.values_list("type", "status", "total_minor")),
            list(Dispute.objects.values_list("status", "amount_minor")),
            sorted(Refund.objects.values_list("amount_minor", "reverses__amount_minor"), key=str),
            sorted(RefundAttempt.objects.values_list("state", "failure_code", "amount_minor")),
            sorted(SubscriptionEvent.objects.values_list("code", flat=True)),
            sorted(AuditEntry.objects.values_list("code", flat=True)),
            sorted(OutgoingMail.objects.values_list("kind", flat=True)),
        )


def act() -> None:
    with use_login("worker"):
        while handle_events(AT):
            pass


@pytest.mark.long
def test_every_order_of_events_ends_in_the_same_state() -> None:
    """F-14: each order is told to a purchase of its own, and acted on after every event."""
    orders = orders_of(len(STORY))
    purchases = [unsettled(number) for number in range(len(orders))]

    for place in range(len(STORY)):
        for order, (_buyer, story) in zip(orders, purchases, strict=True):
            assert post(Client(), json.dumps(story[order[place]])) == 200
        act()

    ends = {repr(final_state(buyer)) for buyer, _story in purchases}
    assert len(ends) == 1
    assert final_state(purchases[0][0])[:5] == ("paid", 11_374, 3_630, "active", AT)
    assert violations(at=AT) == []


def lost(number: int) -> tuple[User, list[dict[str, Any]]]:
    """A purchase that is contested and lost, of which no webhook has told."""
    buyer = make_user(make_tenant(), name=f"Buyer {number}")
    buy(buyer)
    close(dispute(), "lost")
    return buyer, [told for told in events_of(intents()[0]["id"]) if "dispute" in told["type"]]


def returned(number: int) -> tuple[User, list[dict[str, Any]]]:
    """A purchase whose refund, made here, was taken for done and then sent back by the cardholder's bank."""
    buyer = make_user(make_tenant(), name=f"Buyer {number}")
    buy(buyer)
    with tenant_atomic(buyer.tenant_id):
        make_credit_note(Bill.objects.get(), 3_000)
    settle_refunds(at=AT)
    (made,) = at_the_processor("GET", f"refunds?payment_intent={intents()[0]['id']}")["data"]
    control("POST", "refunds/fail", refund=made["id"])
    story = [told for told in events_of(intents()[0]["id"]) if "refund" in told["type"]]
    return buyer, story


@pytest.mark.long
@pytest.mark.parametrize(
    ("story", "types", "end"),
    [
        (
            lost,
            ["charge.dispute.created", "charge.dispute.funds_withdrawn", "charge.dispute.closed"],
            ("paid", 11_374, 11_374, "disabled", None),
        ),
        (
            returned,
            ["refund.created", "charge.refunded", "refund.updated", "refund.failed"],
            ("paid", 11_374, 0, "active", None),
        ),
    ],
)
def test_every_order_of_what_a_refund_and_a_dispute_tell_ends_in_the_same_state(
    story: Any, types: list[str], end: tuple[Any, ...]
) -> None:
    """F-14: each order is told to a purchase of its own after everything has happened."""
    orders = orders_of(len(types))
    purchases = [story(number) for number in range(len(orders))]

    for place in range(len(types)):
        for order, (_buyer, told) in zip(orders, purchases, strict=True):
            assert post(Client(), json.dumps(told[order[place]])) == 200
        act()

    assert [told["type"] for told in purchases[0][1]] == types
    assert len({repr(final_state(buyer)) for buyer, _told in purchases}) == 1
    assert final_state(purchases[0][0])[:5] == end
    assert violations(at=AT) == []


@pytest.mark.long
@pytest.mark.parametrize("order", ["reversed", "shuffled"])
def test_50_copies_of_each_event_delivered_by_the_processor_count_once(live_server: Any, order: str) -> None:
    """F-14, over HTTP: the newest first, or in any order, each fifty times; acted on while they come."""
    told = [*STORY, "charge.dispute.closed"]
    before = control("GET", "webhooks")
    url = f"{live_server.url}/hooks/stripe/"
    control("POST", "webhooks", url=url, events=told, copies=50, order=order)
    buyer, story = unsettled(1)
    close({"id": story[-1]["data"]["object"]["id"]}, "lost")

    control("POST", "webhooks", paused=False)
    wait_until(WebhookEvent.objects.exists)
    act()
    wait_until(lambda: control("GET", "webhooks")["pending"] == 0)
    act()

    delivered = control("GET", "webhooks")
    assert (delivered["delivered"] - before["delivered"], delivered["refused"] - before["refused"]) == (
        350,
        0,
    )
    assert sorted(WebhookEvent.objects.values_list("type", flat=True)) == sorted(told)
    assert final_state(buyer)[:5] == ("paid", 11_374, 11_374, "disabled", None)
    with tenant_atomic(buyer.tenant_id):
        assert sorted(Refund.objects.values_list("amount_minor", flat=True)) == [3_630, 7_744]
        assert [mail.kind for mail in OutgoingMail.objects.filter(kind__contains="dispute")] != []
    assert violations(at=AT) == []
