"""The sweep that charges open card bills: side by side, at a pace, and not while the processor is away."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from django.conf import settings as django_settings
from django.db import connections
from django.db.models import Count, Q
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from commerce.gateways import stripe
from commerce.models import Bill, Card, PaymentAttempt, Subscription
from commerce.operations.payments import GIVES_UP_AFTER, charge_bill, charge_bills, groups, take_due_bills
from commerce.operations.renewals import Charged, charge_due, renew_due
from config.kit.tenancy import connection, use_login
from directory.models import AuditEntry, OutgoingMail
from tests.faults.crowd import assert_each_is_billed_and_charged_once, crowd, let_leases_run_out
from tests.processor import charges, control, fault, intents

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]

MARCH = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
APRIL = datetime(2026, 4, 10, 9, 30, tzinfo=UTC)
# Of a whole group: begin, know, book, each with begin and commit.
STATEMENTS = 31
CREATE, CONFIRM = "/v1/payment_intents", "/v1/payment_intents/*/confirm"


def due(size: int) -> list[Subscription]:
    """So many subscriptions with an open renewal bill each."""
    subscriptions = crowd(size, at=MARCH)
    renew_due(at=APRIL)
    return subscriptions


def open_bills() -> list[Bill]:
    with use_login("worker"):
        return list(Bill.objects.open().order_by("charge_due_at", "id"))


def leased() -> int:
    with use_login("worker"):
        return Bill.objects.filter(leased_until__gt=Now()).count()


def asked(path: str) -> int:
    """How many POST requests the processor got whose path ends so, the purchase's not counted."""
    seen = control("GET", "requests")["data"]
    return sum(each["method"] == "POST" and each["path"].endswith(path) for each in seen) - 1


def while_charging(measure: Callable[[], int]) -> tuple[Charged, int]:
    """Run the sweep in a thread; what it returned, and the most that was measured meanwhile."""
    done: list[Charged] = []

    def work() -> None:
        try:
            done.append(charge_due(at=APRIL))
        finally:
            connections.close_all()

    sweep = threading.Thread(target=work)
    sweep.start()
    most = 0
    while sweep.is_alive():
        most = max(most, measure())
        time.sleep(0.02)
    return done[0], most


def connections_of_the_worker() -> set[int]:
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE usename = %s AND datname = current_database()",
            [connections["worker"].settings_dict["USER"]],
        )
        return {int(pid) for (pid,) in cursor.fetchall()}


def are_gone(connections_: Callable[[], set[int]]) -> bool:
    """Whether none is left once the server has seen them go."""
    patience = time.monotonic() + 10
    while connections_() and time.monotonic() < patience:
        time.sleep(0.02)
    return not connections_()


@contextmanager
def locked(subscription: Subscription) -> Iterator[None]:
    """Somebody else is changing the subscription, and takes their time."""
    owner: Any = connections["owner"]
    with use_login("owner"):
        owner.set_autocommit(False)
        try:
            Subscription.objects.select_for_update().get(pk=subscription.pk)
            yield
        finally:
            owner.rollback()
            owner.set_autocommit(True)


@pytest.mark.parametrize("at_once", [1, 4])
def test_bills_are_charged_side_by_side_and_no_connection_is_left_behind(settings: Any, at_once: int) -> None:
    settings.CHARGES_AT_ONCE = at_once
    subscriptions = due(8)
    # This test's own, and what other tests left behind.
    before = connections_of_the_worker()
    control("POST", "latency", seconds=0.2, path="/v1/*")

    def new() -> set[int]:
        return connections_of_the_worker() - before

    charged, most = while_charging(lambda: len(new()))

    assert charged == Charged(paid=8)
    assert most == at_once
    assert are_gone(new)
    assert_each_is_billed_and_charged_once(subscriptions, at=APRIL)


def test_the_processor_is_called_no_faster_than_the_setting_says(settings: Any) -> None:
    settings.PROCESSOR_CALLS_PER_SECOND = 8
    due(6)

    began = time.monotonic()
    charged = charge_due(at=APRIL)
    took = time.monotonic() - began

    # Twelve calls, of which one was in store.
    assert charged == Charged(paid=6)
    assert took >= 11 / 8 - 0.01


def test_a_limit_is_kept_to_the_bill_and_says_that_there_may_be_more() -> None:
    due(8)

    first, second = charge_due(at=APRIL, limit=5), charge_due(at=APRIL, limit=5)

    assert (first, second) == (Charged(paid=5, has_more=True), Charged(paid=3))
    assert charges() == 1 + 8


def test_nothing_is_begun_after_the_time_is_up() -> None:
    due(3)

    assert charge_due(at=APRIL, seconds=0) == Charged(has_more=True)

    assert charges() == 1
    assert leased() == 0


@pytest.mark.parametrize(
    "trouble",
    [
        {"kind": "error", "status": 500},
        {"kind": "error", "status": 429},
        {"kind": "error", "status": 409},
        {"kind": "lose_request"},
    ],
)
def test_an_outage_ends_the_sweep_early_and_counts_for_nothing(trouble: dict[str, Any]) -> None:
    subscriptions = due(5)
    fault(path="/v1/*", count=None, **trouble)

    charged = charge_due(at=APRIL)

    assert charged == Charged(pending=3, is_away=True)
    assert charges() == 1
    with use_login("worker"):
        assert Bill.objects.open().filter(tries=0, last_decline="", charge_due_at=APRIL).count() == 5
        assert not Subscription.objects.filter(payment_failed_at__isnull=False).exists()
        assert PaymentAttempt.objects.filter(bill__isnull=False).count() == 3

    # The key of an attempt that the processor answers with its own failure is given up after an hour.
    control("DELETE", "faults")
    for hours in (0, 2, 2):
        let_leases_run_out()
        charge_due(at=APRIL + timedelta(hours=hours))
    assert_each_is_billed_and_charged_once(subscriptions, at=APRIL + timedelta(hours=2))
    assert len(intents()) == 1 + 5


def test_lost_answers_to_charges_are_asked_for_by_the_next_sweep() -> None:
    """F-09: charged, and nobody was told; asking about those ids is all that happens."""
    subscriptions = due(5)
    fault("lose_answer", CONFIRM, count=None)

    assert charge_due(at=APRIL) == Charged(pending=3, is_away=True)
    assert charges() == 1 + 3
    control("DELETE", "faults")
    let_leases_run_out()

    assert charge_due(at=APRIL) == Charged(paid=5)
    assert_each_is_billed_and_charged_once(subscriptions, at=APRIL)
    assert (len(intents()), asked("/confirm")) == (1 + 5, 5)


def test_an_outage_in_the_middle_ends_the_sweep_and_the_next_goes_on() -> None:
    subscriptions = due(40)
    for bill in open_bills()[4:]:
        fault("lose_request", CREATE, metadata={"bill": bill.number}, count=None)

    charged = charge_due(at=APRIL)

    assert charged.paid == 4
    # So many in a row end it; each lane, four answers on, may have been asking about two more.
    assert GIVES_UP_AFTER <= charged.pending <= GIVES_UP_AFTER + 2 * django_settings.CHARGES_AT_ONCE
    assert charged.is_away
    control("DELETE", "faults")
    let_leases_run_out()
    assert charge_due(at=APRIL) == Charged(paid=36)
    assert_each_is_billed_and_charged_once(subscriptions, at=APRIL)


def test_one_bill_without_an_answer_does_not_end_the_sweep() -> None:
    due(9)
    bills = open_bills()
    for bill in bills[::3]:
        fault("lose_request", CREATE, metadata={"bill": bill.number}, count=None)

    assert charge_due(at=APRIL) == Charged(paid=6, pending=3)

    # Asked once each; now they wait.
    assert [bill.pk for bill in open_bills()] == [bill.pk for bill in bills[::3]]
    assert leased() == 3


def test_a_processor_slower_than_the_patience_is_one_that_gives_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """F-11: 80 s slow; here two, with a patience of half a second."""
    subscriptions = due(4)
    monkeypatch.setattr(stripe, "READ_SECONDS", 0.5)
    monkeypatch.setattr(stripe._clients, "made", None, raising=False)
    control("POST", "latency", seconds=2, path=CONFIRM)

    assert charge_due(at=APRIL) == Charged(pending=3, is_away=True)

    control("POST", "latency", seconds=0, path=CONFIRM)
    monkeypatch.undo()
    monkeypatch.setattr(stripe._clients, "made", None)
    let_leases_run_out()
    time.sleep(2)
    assert charge_due(at=APRIL) == Charged(paid=4)
    assert_each_is_billed_and_charged_once(subscriptions, at=APRIL)


def test_a_subscription_that_somebody_holds_waits_and_the_others_are_charged() -> None:
    """F-08: a lock timeout before the attempt; nothing was asked for that bill."""
    subscriptions = due(6)

    with locked(subscriptions[2]):
        charged = charge_due(at=APRIL)

    assert charged == Charged(paid=5, pending=1)
    assert charges() == 1 + 5
    with use_login("worker"):
        assert PaymentAttempt.objects.filter(bill__subscription=subscriptions[2]).count() == 0
    let_leases_run_out()
    assert charge_due(at=APRIL) == Charged(paid=1)
    assert_each_is_billed_and_charged_once(subscriptions, at=APRIL)


def test_two_sweeps_side_by_side_charge_each_bill_once() -> None:
    subscriptions = due(12)
    done: list[Charged] = []
    sweeps = [threading.Thread(target=lambda: done.append(charge_due(at=APRIL))) for _ in range(2)]

    for sweep in sweeps:
        sweep.start()
    for sweep in sweeps:
        sweep.join()

    assert sum(charged.paid for charged in done) == 12
    assert_each_is_billed_and_charged_once(subscriptions, at=APRIL)
    with use_login("worker"):
        attempts = Bill.objects.annotate(
            made=Count("attempts", filter=Q(attempts__state="succeeded"))
        ).values_list("made", flat=True)
        assert set(attempts.filter(type="renewal")) == {1}


def rows_of(bill: Bill) -> dict[str, Any]:
    """Everything that charging a bill writes, without what differs between any two bills."""
    with use_login("worker"):
        found: dict[str, Any] = {
            "bill": Bill.objects.filter(pk=bill.pk).values().get(),
            "subscription": Subscription.objects.filter(pk=bill.subscription_id).values().get(),
            "attempts": list(bill.attempts.values()),
            "payments": list(bill.payments.values()),
            "events": list(
                bill.subscription.events.order_by("id").values("code", "at", "actor_label", "facts")
            ),
            "audit": list(
                AuditEntry.objects.filter(target_type="bill", target_id=bill.pk).order_by("id").values()
            ),
            "mails": list(OutgoingMail.objects.filter(event_key__contains=bill.number).values()),
        }
    text = json.dumps(found, default=str)
    own = {"BILL": bill.number, "KEY": str(bill.subscription.key)}
    for name, value in own.items():
        text = text.replace(value, name)
    same: dict[str, Any] = json.loads(text)
    return without(same, {"id", "key", "params_hash", "intent_id", "processor_charge_id", "series_number"})


def without(value: Any, names: set[str]) -> Any:
    if isinstance(value, dict):
        return {
            name: without(each, names)
            for name, each in value.items()
            if name not in names and not name.endswith("_id") and name != "charge"
        }
    return [without(each, names) for each in value] if isinstance(value, list) else value


def test_a_bill_charged_in_a_group_leaves_the_same_rows_as_one_charged_alone() -> None:
    due(4)
    # The first was bought by a checkout and has a history, the others are rows like it.
    _, alone, *group = open_bills()
    with use_login("worker"):
        assert charge_bill(bill_id=alone.pk, at=APRIL) == "paid"
        take_due_bills(at=APRIL, limit=4)

        results = charge_bills(bill_ids=[bill.pk for bill in group], at=APRIL)

    assert results == {bill.pk: "paid" for bill in group}
    expected = rows_of(alone)
    assert [len(expected[name]) for name in ("attempts", "payments", "audit", "mails")] == [1, 1, 1, 1]
    for bill in group:
        assert rows_of(bill) == expected


def test_a_group_of_whatever_size_asks_the_database_the_same_number_of_questions() -> None:
    due(12)
    with use_login("worker"):
        bill_ids = take_due_bills(at=APRIL, limit=12)
        asked_for: list[int] = []
        for group in (bill_ids[:3], bill_ids[3:]):
            with CaptureQueriesContext(connection()) as statements:
                results = charge_bills(bill_ids=group, at=APRIL)
            assert results == dict.fromkeys(group, "paid")
            asked_for.append(len(statements))

    assert asked_for == [STATEMENTS, STATEMENTS]


def test_a_group_leaves_to_the_single_form_what_is_not_plain() -> None:
    due(7)
    withheld, declined, asked_for, carded, interrupted, *plain = open_bills()
    with use_login("worker"):
        Subscription.objects.filter(pk=withheld.subscription_id).update(recurring_billing=False)
        for bill, card in [
            (declined, "pm_card_visa_chargeDeclinedStolenCard"),
            (asked_for, "pm_card_authenticationRequired"),
        ]:
            other = Card.objects.get(is_default=True)
            other.pk, other.is_default, other.fingerprint, other.processor_id = None, False, "", card
            other.save(force_insert=True)
            Subscription.objects.filter(pk=bill.subscription_id).update(card=other)
        Subscription.objects.filter(pk=carded.subscription_id).update(card=None)
    fault("lose_answer", CONFIRM, count=1)
    with use_login("worker"):
        assert charge_bill(bill_id=interrupted.pk, at=APRIL) == "pending"
        bill_ids = take_due_bills(at=APRIL, limit=7)

        results = charge_bills(bill_ids=bill_ids, at=APRIL)

    assert results == {
        withheld.pk: "withheld",
        **dict.fromkeys([declined.pk, asked_for.pk], "declined"),
        **dict.fromkeys([carded.pk, interrupted.pk, *(bill.pk for bill in plain)], "paid"),
    }
    with use_login("worker"):
        answers = (
            Bill.objects.filter(tries=1).order_by("id").values_list("id", "last_decline", "decline_kind")
        )
        assert list(answers) == [
            (declined.pk, "stolen_card", "hard"),
            (asked_for.pk, "authentication_required", "auth"),
        ]
        told = OutgoingMail.objects.filter(kind="payment_failed").values_list(
            "context__bill_number", flat=True
        )
        assert set(told) == {withheld.number, declined.number, asked_for.number}
    assert charges() == 1 + 4
    assert leased() == 0


def test_a_group_that_takes_too_long_leaves_the_rest_to_be_taken_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subscriptions = due(6)
    monkeypatch.setattr(groups, "SECONDS_A_GROUP", 1.0)
    control("POST", "latency", seconds=0.2, path=CREATE)
    with use_login("worker"):
        results = charge_bills(bill_ids=take_due_bills(at=APRIL, limit=6), at=APRIL)

    assert 0 < len(results) < 6
    assert leased() == 0
    assert charge_due(at=APRIL) == Charged(paid=6 - len(results))
    assert_each_is_billed_and_charged_once(subscriptions, at=APRIL)


def test_an_attempt_that_ends_while_it_is_created_is_not_charged() -> None:
    due(2)
    ended, other = open_bills()
    control("POST", "latency", seconds=0.3, path=CREATE)

    def end() -> int:
        with use_login("owner"):
            rows = ended.attempts.filter(state="created")
            return rows.update(state="canceled") if asked(CREATE) else 0

    sweep, _ = while_charging(end)

    assert sweep.paid == 1
    assert (charges(bill=ended.number), charges(bill=other.number)) == (0, 1)
    with use_login("worker"):
        assert set(ended.attempts.values_list("state", flat=True)) == {"canceled"}


def test_switching_off_while_a_group_is_created_stops_that_charge_alone() -> None:
    """I-14: re-read under lock right before the confirmation."""
    due(3)
    stopped, *others = open_bills()
    control("POST", "latency", seconds=0.3, path=CREATE)

    def switch_off() -> int:
        with use_login("owner"):
            rows = Subscription.objects.filter(pk=stopped.subscription_id, recurring_billing=True)
            return rows.update(recurring_billing=False) if asked(CREATE) else 0

    sweep, switched = while_charging(switch_off)

    assert (sweep, switched) == (Charged(paid=2, withheld=1), 1)
    assert charges() == 1 + len(others)
    with use_login("worker"):
        assert stopped.attempts.get().state == "canceled"


def test_an_answer_that_is_not_as_agreed_is_parked_and_the_others_are_booked() -> None:
    """I-17: somebody changed the amount over there."""
    due(3)
    changed, *others = open_bills()
    control("POST", "latency", seconds=0.3, path=CONFIRM)

    def change_amount() -> int:
        for intent in intents():
            if intent["metadata"].get("bill") == changed.number and intent["status"] != "succeeded":
                change(intent["id"], amount=intent["amount"] + 1)
                return 1
        return 0

    sweep, done = while_charging(change_amount)

    assert done == 1
    assert sweep == Charged(paid=len(others), pending=1)
    with use_login("worker"):
        parked = changed.attempts.get()
    assert (parked.state, parked.decline_code) == ("confirming", "mismatch")


def change(intent_id: str, **params: Any) -> None:
    answer = httpx.post(
        f"{django_settings.STRIPE_API_BASE}/v1/payment_intents/{intent_id}",
        auth=(django_settings.STRIPE_SECRET_KEY, ""),
        data=params,
        timeout=20,
    )
    assert answer.status_code in (200, 400), answer.text
