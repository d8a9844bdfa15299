"""Many of the staff change one price at once: one does, all others are told (docs/adr/0038)."""

from collections import Counter
from datetime import timedelta

import pytest

from commerce.models import Price
from commerce.operations.prices import PriceMoved, Seen, add_price, change_price
from config.kit.clock import now
from config.kit.errors import Malformed
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry
from tests.concurrency.threads import all_at_once
from tests.factories import make_staff, make_tenant, plan, staff_actor_of

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])

STAFF = 16


def test_of_many_who_change_the_same_price_one_does_and_the_others_are_told() -> None:
    actor = staff_actor_of(make_staff(make_tenant(kind="vendor"), "staff_catalogue"))
    begins_at = now() + timedelta(days=40)
    price = add_price(
        staff=actor, plan_id=plan().pk, market="NL", unit_price_minor=100, begins_at=begins_at, at=now()
    )
    shown = Seen(price.unit_price_minor, price.valid_from)

    def change(number: int) -> str:
        try:
            change_price(
                staff=actor,
                price_id=price.pk,
                unit_price_minor=1_000 + number,
                begins_at=begins_at,
                seen=shown,
                at=now(),
            )
        except PriceMoved:
            return "told"
        return "changed"

    assert Counter(all_at_once(change, count=STAFF)) == {"changed": 1, "told": STAFF - 1}
    with tenant_atomic(actor):
        [entry] = AuditEntry.objects.filter(code="commerce.price.changed")
    assert entry.after == {
        **(entry.after or {}),
        "unit_price_minor": Price.objects.get(pk=price.pk).unit_price_minor,
    }


def test_of_many_who_add_a_price_for_the_same_day_one_does() -> None:
    actor = staff_actor_of(make_staff(make_tenant(kind="vendor"), "staff_catalogue"))
    begins_at, chosen = now() + timedelta(days=40), plan().pk

    def add(number: int) -> str:
        try:
            add_price(
                staff=actor,
                plan_id=chosen,
                market="NL",
                unit_price_minor=1_000 + number,
                begins_at=begins_at,
                at=now(),
            )
        except Malformed as refused:
            return refused.field
        return "added"

    assert Counter(all_at_once(add, count=STAFF)) == {"added": 1, "begins_on": STAFF - 1}
