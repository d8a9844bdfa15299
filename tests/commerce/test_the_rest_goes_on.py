"""One bill, charge or refund that cannot be dealt with holds up no other of its sweep (architecture §7)."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django import db

from commerce.models import Bill, PaymentAttempt
from commerce.operations.dunning import Dunned, dun_due
from commerce.operations.payments import pay_checkout, reconciling, refunding, settle_refunds
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import User
from tests.factories import (
    AT,
    actor_of,
    make_checkout,
    make_credit_note,
    make_open_bill,
    make_subscription,
    make_tenant,
    make_user,
)
from tests.processor import card_token, fault

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]

SOON = AT + timedelta(minutes=10)


@pytest.fixture
def people() -> list[User]:
    return [make_user(make_tenant()) for _ in range(3)]


def fails_for(pk: int, real: Callable[..., Any], place: int) -> Callable[..., Any]:
    """`real`, but a lock is held for too long on one row, which is its argument of that place."""

    def once(*args: Any, **named: Any) -> Any:
        if getattr(args[place], "pk", args[place]) == pk:
            raise db.OperationalError("canceling statement due to lock timeout")
        return real(*args, **named)

    return once


def test_a_bill_that_no_step_can_be_made_of_holds_up_no_other(people: list[User]) -> None:
    bills = [make_open_bill(make_subscription(person.tenant, owner=person)) for person in people]
    with use_login("worker"):
        Bill.objects.update(decline_kind="hard", failed_at=AT, next_dunning_at=AT, charge_due_at=None)
        # Marked as failed, and not since when.
        Bill.objects.filter(pk=bills[0].pk).update(failed_at=None)

    assert dun_due(at=SOON) == Dunned(told=2)


def test_a_charge_that_cannot_be_recorded_holds_up_no_other(
    people: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    for person in people:
        fault("lose_answer", "/v1/payment_intents/*/confirm")
        checkout = make_checkout(person)
        pay_checkout(actor=actor_of(person), key=checkout.key, confirmation_token=card_token(), at=AT)
    with use_login("worker"):
        first = PaymentAttempt.objects.order_by("pk").values_list("pk", flat=True)[0]
    monkeypatch.setattr(reconciling, "_settle_one", fails_for(first, reconciling._settle_one, 1))

    done = reconciling.reconcile(SOON)

    assert done == {
        "events": done["events"],
        "attempts": 3,
        "late": 0,
        "checkouts": 0,
        "setups": 0,
        "cards": 0,
    }
    with use_login("worker"):
        states = PaymentAttempt.objects.order_by("pk").values_list("state", flat=True)
        assert list(states) == ["unknown", "succeeded", "succeeded"]


def test_a_refund_that_cannot_be_booked_holds_up_no_other_and_is_asked_about_once(
    people: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = []
    for person in people:
        checkout = make_checkout(person)
        pay_checkout(actor=actor_of(person), key=checkout.key, confirmation_token=card_token(), at=AT)
        with tenant_atomic(person.tenant_id):
            bill = Bill.objects.get()
        notes.append(make_credit_note(bill, 1_000))
    with use_login("worker"):
        first = refunding.RefundAttempt.objects.order_by("pk").values_list("pk", flat=True)[0]
    monkeypatch.setattr(refunding, "_ask", fails_for(first, refunding._ask, 0))

    assert settle_refunds(at=SOON).done == 2

    monkeypatch.undo()
    assert settle_refunds(at=SOON + timedelta(minutes=10)).done == 1
