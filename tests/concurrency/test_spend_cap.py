"""F-20: a cap with room for ten of two hundred purchases at once lets exactly ten through.

The negative control shows that the race is there to be lost: without the condition of the update it overspends.
"""

import time
import uuid
from collections import Counter
from typing import Any

import pytest

from commerce.models import Checkout, PaymentAttempt
from commerce.operations.checkouts import OverLimit
from commerce.operations.payments.guards import check_before_confirming
from config.invariants import violations
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from directory.permissions import Role
from policies.models import MonthSpend, Spend
from policies.operations import spending
from policies.operations.policies import change_policies, spend_cap
from policies.queries.spending import Purchase
from policies.spending import Limit, month_of
from tests.concurrency.threads import all_at_once
from tests.factories import AT, actor_of, make_checkout, make_tenant, make_user

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])

BUYERS = 200
ROOM = 10
# As many at once as a server has threads: each works for long on its purchase, and the last waits for all of them.
AT_ONCE = 16


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
    """Each in the transaction after which its charge would be confirmed."""
    checkout = make_checkout(pat, quantity=1)
    capped(contoso, ROOM * checkout.subtotal_minor)
    attempts = paying(checkout)
    actor = actor_of(pat)

    def check(n: int) -> str:
        try:
            with tenant_atomic(actor):
                check_before_confirming(actor=actor, attempt_id=attempts[n], at=AT)
        except OverLimit as refused:
            return ",".join(refused.eligibility.codes)
        return "goes on"

    answers = all_at_once(check, count=BUYERS, at_once=AT_ONCE)

    assert Counter(answers) == {"goes on": ROOM, "spend_cap": BUYERS - ROOM}
    with tenant_atomic(contoso.pk):
        assert MonthSpend.objects.get().spent_minor == ROOM * checkout.subtotal_minor
        assert Counter(Spend.objects.values_list("state", flat=True)) == {"reserved": ROOM}
    assert violations(at=AT, only=["I-29"]) == []


def paying(checkout: Checkout) -> list[int]:
    """Two hundred checkouts like this one, each with an attempt that is about to be confirmed."""
    with tenant_atomic(checkout.tenant_id):
        facts = {f.attname: getattr(checkout, f.attname) for f in Checkout._meta.fields if f.name != "id"}
        made = Checkout.objects.bulk_create(
            Checkout(**facts | {"key": uuid.uuid4(), "state": "paying"}) for _ in range(BUYERS)
        )
        return [
            attempt.pk
            for attempt in PaymentAttempt.objects.bulk_create(
                PaymentAttempt(
                    tenant_id=checkout.tenant_id,
                    checkout=each,
                    key=f"att_{each.key.hex}",
                    intent_id=f"pi_{each.key.hex}",
                    state=PaymentAttempt.State.INTENT,
                    amount_minor=each.total_minor,
                    currency=each.currency,
                    created_at=AT,
                    updated_at=AT,
                )
                for each in made
            )
        ]


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

    return sum(all_at_once(reserve, count=80, at_once=AT_ONCE))


def test_the_condition_lets_ten_of_eighty_through(contoso: Tenant, pat: User) -> None:
    assert reserved(contoso, pat) == ROOM


def test_the_negative_control_overspends(contoso: Tenant, pat: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the condition, and with the window between looking and counting that a slow network opens."""
    judge = spending.spending_of

    def slowly(**facts: Any) -> Any:
        judged = judge(**facts)
        time.sleep(0.05)
        return judged

    monkeypatch.setattr(spending, "most_in_month", lambda limits, *, is_approved: None)
    monkeypatch.setattr(spending, "spending_of", slowly)

    assert reserved(contoso, pat) > ROOM
