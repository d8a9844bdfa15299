"""F-19 and I-05: seats go down while others are being assigned; nobody holds a license that is not there."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from commerce.models import Subscription
from commerce.operations.changes import BelowAssigned, quote_removal, remove_seats, schedule_seats
from config.invariants import violations
from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic
from directory.models import User
from licensing.models import Assignment
from licensing.operations.assignments import NoSeatLeft, assign_license
from tests.concurrency.test_refunds import patiently
from tests.concurrency.threads import all_at_once
from tests.factories import actor_of, make_self_service_subscription, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

BOUGHT, AT = (datetime(2026, 3, day, 9, 0, tzinfo=UTC) for day in (1, 2))
SEATS, FEWER, PEOPLE = 10, 5, 20


class Race:
    """Ten seats, twenty people who each want one, and their owner, who wants five seats fewer meanwhile."""

    def __init__(self) -> None:
        tenant = make_tenant()
        pat = make_user(tenant, name="Pat")
        self.subscription: Subscription = make_self_service_subscription(pat, quantity=SEATS, at=BOUGHT)
        self.people = [make_user(tenant, name=f"Person {n}") for n in range(PEOPLE)]
        with tenant_atomic(tenant.pk):
            pat = User.objects.get(pk=pat.pk)
            self.subscription = Subscription.objects.select_related("product").get()
            self.first = self.subscription.assigned
            self.total = quote_removal(subscription=self.subscription, quantity=FEWER, at=AT).total_minor
        self.actor: Actor = actor_of(pat, at=AT)

    def assign(self, n: int) -> str:
        try:
            patiently(
                lambda: assign_license(
                    actor=self.actor,
                    subscription_key=self.subscription.key,
                    user_id=self.people[n].pk,
                    at=AT,
                )
            )
        except NoSeatLeft:
            return "no seat"
        return "assigned"

    def reduce(self, change: Any, **more: Any) -> str:
        values = {
            "key": self.subscription.key,
            "quantity": FEWER,
            "version": self.subscription.version,
            "at": AT,
        }
        try:
            patiently(lambda: change(actor=self.actor, **values, **more))
        except BelowAssigned:
            return "below assigned"
        return "reduced"

    def run(self, change: Any, **more: Any) -> Counter[str]:
        """The owner's change somewhere among the assigners."""

        def work(n: int) -> str:
            return self.reduce(change, **more) if n == FEWER else self.assign(n)

        return Counter(all_at_once(work, count=PEOPLE))

    def seats(self) -> tuple[int, int, int]:
        """How many are there, how many are held by the counter, and by the rows."""
        with tenant_atomic(self.subscription.tenant_id):
            row = Subscription.objects.get()
            return row.quantity, row.assigned, Assignment.objects.live().count()


@pytest.mark.parametrize("run", range(3))
def test_removing_seats_against_assigning_them(run: int) -> None:
    race = Race()

    answers = race.run(remove_seats, seen_total_minor=race.total)

    was_removed = answers["reduced"] == 1
    left = FEWER if was_removed else SEATS
    assert answers == Counter(
        {
            "assigned": left - race.first,
            "no seat": PEOPLE - 1 - (left - race.first),
            "reduced" if was_removed else "below assigned": 1,
        }
    )
    assert race.seats() == (left, left, left)
    assert violations(at=AT, only=["I-01", "I-02", "I-05", "I-07"]) == []


@pytest.mark.parametrize("run", range(3))
def test_scheduling_fewer_against_assigning_them(run: int) -> None:
    race = Race()

    answers = race.run(schedule_seats)

    most = FEWER if answers["reduced"] == 1 else SEATS
    assert answers["reduced"] + answers["below assigned"] == 1
    assert answers["assigned"] == most - race.first
    assert race.seats() == (SEATS, most, most)
    assert violations(at=AT, only=["I-01", "I-02", "I-05"]) == []


def test_one_after_the_other_the_later_one_is_refused() -> None:
    race = Race()
    taken = [race.assign(n) for n in range(FEWER + 1)]

    refused = race.reduce(remove_seats, seen_total_minor=race.total)

    assert taken == ["assigned"] * (FEWER + 1)
    assert refused == "below assigned"
    assert race.seats()[0] == SEATS
