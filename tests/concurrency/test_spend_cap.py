"""F-20: a cap with room for ten of two hundred purchases at once lets exactly ten through.

The negative control shows that the race is there to be lost: without the condition of the update it overspends.
"""

import time
import uuid
from collections import Counter
from http import HTTPStatus
from typing import Any

import pytest
import time_machine
from django.urls import reverse

from commerce.models import Bill, Checkout, Order, Subscription
from config.invariants import violations
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from directory.permissions import Role
from policies.models import MonthSpend, Spend
from policies.operations import spending
from policies.operations.policies import change_policies, spend_cap
from policies.queries.spending import Purchase
from policies.spending import Limit, month_of
from tests.concurrency.threads import Browser, all_at_once
from tests.factories import AT, actor_of, make_checkout, make_tenant, make_user
from tests.processor import card_token, charges

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


@pytest.mark.usefixtures("empty_processor")
def test_two_hundred_purchases_at_once_get_exactly_what_the_cap_has_room_for(
    contoso: Tenant, pat: User, settings: Any
) -> None:
    """Each presses Pay on a page of its own: ten are charged and become orders, and 190 are told why not."""
    settings.BUYS_PER_MINUTE = BUYERS
    checkouts = ready_to_pay(pat)
    price = checkouts[0].subtotal_minor
    capped(contoso, ROOM * price)
    tokens = [card_token() for _ in checkouts]
    with time_machine.travel(AT, tick=False):
        browser = Browser(pat)

    def pay(n: int) -> str:
        checkout = checkouts[n]
        url = reverse("commerce:checkout", args=[checkout.product.slug, checkout.key])
        answer = browser.post(url, filled_in(checkout, tokens[n]))
        while answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            # Kept waiting for too long by the others: a reload finds how it stands and goes on.
            answer = browser.get(url)
        return (
            "bought" if answer.headers.get("Location") == f"{url}confirmation/" else str(answer.status_code)
        )

    with time_machine.travel(AT, tick=False):
        answers = Counter(all_at_once(pay, count=BUYERS, at_once=AT_ONCE))

    assert answers == {"bought": ROOM, "403": BUYERS - ROOM}
    assert charges() == ROOM
    with tenant_atomic(contoso.pk):
        assert MonthSpend.objects.get().spent_minor == ROOM * price
        assert Counter(Spend.objects.values_list("state", flat=True)) == {"spent": ROOM}
        assert (
            Order.objects.count()
            == Subscription.objects.count()
            == Bill.objects.filter(status="paid").count()
            == ROOM
        )
        assert Counter(Checkout.objects.values_list("state", flat=True)) == {
            "paid": ROOM,
            "open": BUYERS - ROOM,
        }
    assert violations(at=AT) == []


def ready_to_pay(pat: User) -> list[Checkout]:
    """Two hundred checkouts of one license each, filled in and agreed to."""
    first = make_checkout(pat, quantity=1)
    with tenant_atomic(first.tenant_id):
        facts = {f.attname: getattr(first, f.attname) for f in Checkout._meta.fields if f.name != "id"}
        Checkout.objects.bulk_create(Checkout(**facts | {"key": uuid.uuid4()}) for _ in range(BUYERS - 1))
        rows = Checkout.objects.select_related("product", "plan", "bill_to").order_by("id")
        return list(rows)


def filled_in(checkout: Checkout, token: str) -> dict[str, Any]:
    """What the page of a checkout posts."""
    bill_to = checkout.bill_to
    assert bill_to is not None
    return {
        "shown_for_tenant": checkout.tenant_id,
        "action": "pay",
        "quantity": checkout.quantity,
        "plan": checkout.plan.code,
        **{name: getattr(bill_to, name) for name in ("name", "street", "postal_code", "city", "country")},
        "agrees_to_terms": "on",
        "agrees_to_data": "on",
        "seen_total": checkout.total_minor,
        "confirmation_token": token,
    }


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
