"""F-20: a cap with room for ten of two hundred purchases at once lets exactly ten through, charged once each.

The negative control shows that the race is there to be lost: without the lock of the month it overspends.
"""

import time
import uuid
from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from commerce.models import Checkout, Order
from commerce.operations.checkouts import OverLimit
from commerce.operations.payments import Paid, pay_checkout
from config.invariants import violations
from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from directory.permissions import Role
from policies.models import MonthSpend, Spend
from policies.operations import spending
from policies.operations.policies import change_policies, spend_cap
from policies.queries.spending import Purchase
from policies.spending import Limit, month_of
from tests.concurrency.test_last_seats import all_at_once
from tests.factories import AT, actor_of, make_checkout, make_tenant, make_user
from tests.processor import card_token, charges

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"]),
    pytest.mark.usefixtures("empty_processor"),
]

BUYERS = 200
ROOM = 10


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat")


def capped(contoso: Tenant, minor: int) -> None:
    bill = actor_of(make_user(contoso, roles=(Role.BILLING_ADMIN,)))
    change_policies(actor=bill, changes=[spend_cap(Limit(minor, "person_month"), currency="EUR")], at=AT)


def test_two_hundred_purchases_at_once_get_exactly_what_the_cap_has_room_for(
    contoso: Tenant, pat: User
) -> None:
    first = make_checkout(pat, quantity=1)
    capped(contoso, ROOM * first.subtotal_minor)
    with tenant_atomic(contoso.pk):
        keys = [first.key, *(uuid.uuid4() for _ in range(BUYERS - 1))]
        for key in keys[1:]:
            first.pk, first.key, first._state.adding = None, key, True
            first.save(force_insert=True)
    actor = actor_of(pat)

    def buy(n: int) -> str:
        try:
            outcome = pay_checkout(actor=actor, key=keys[n], confirmation_token=card_token(), at=AT)
        except OverLimit as refused:
            return ",".join(refused.eligibility.codes)
        return type(outcome).__name__

    answers = all_at_once(buy, count=BUYERS)

    assert Counter(answers) == {Paid.__name__: ROOM, "spend_cap": BUYERS - ROOM}
    assert charges() == ROOM
    with tenant_atomic(contoso.pk):
        assert Order.objects.count() == ROOM
        assert MonthSpend.objects.get().spent_minor == ROOM * first.subtotal_minor
        assert Counter(Spend.objects.values_list("state", flat=True)) == {"spent": ROOM}
        assert Counter(Checkout.objects.values_list("state", flat=True)) == {
            "paid": ROOM,
            "open": BUYERS - ROOM,
        }
    assert violations(at=AT, only=["I-29"]) == []


def purchases(pat: User, count: int) -> list[Purchase]:
    return [
        Purchase(pat.pk, ["NEW"], 1, 1_000, "EUR", "Europe/Amsterdam", uuid.uuid4()) for _ in range(count)
    ]


def reserved(contoso: Tenant, pat: User) -> int:
    """How many of eighty purchases of 10.00 at once find room under a cap of 100.00."""
    capped(contoso, ROOM * 1_000)
    actor = actor_of(pat)
    wanted = purchases(pat, 80)
    with tenant_atomic(contoso.pk):
        MonthSpend.objects.create(
            tenant=contoso, user=pat, month=month_of(AT, "Europe/Amsterdam"), currency="EUR"
        )

    def reserve(n: int) -> int:
        with tenant_atomic(contoso.pk):
            return int(spending.reserve(actor=actor, purchase=wanted[n], at=AT).verdict == "within")

    return sum(all_at_once(reserve, count=80))


def test_the_lock_of_the_month_lets_ten_of_eighty_through(contoso: Tenant, pat: User) -> None:
    assert reserved(contoso, pat) == ROOM


def test_the_negative_control_overspends(contoso: Tenant, pat: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the lock, and with the window between looking and counting that a slow network opens."""
    judge = spending.spending_of

    def slowly(**facts: Any) -> Any:
        judged = judge(**facts)
        time.sleep(0.05)
        return judged

    def unlocked(actor: Actor, purchase: Purchase, at: datetime) -> None:
        """What the operation exists to avoid."""

    monkeypatch.setattr(spending, "lock_month", unlocked)
    monkeypatch.setattr(spending, "spending_of", slowly)

    assert reserved(contoso, pat) > ROOM
