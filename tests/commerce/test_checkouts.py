"""Starting, changing and saving a checkout (product §3.4, I-17)."""

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections

from commerce.models import BillTo, Checkout
from commerce.operations.checkouts import (
    BillingDetails,
    CheckoutClosed,
    NotEligible,
    PriceChanged,
    TermsNotAccepted,
    change_checkout,
    save_checkout,
    start_checkout,
)
from config.kit.errors import Malformed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, User
from tests.factories import AT, actor_of, make_price, make_tenant, make_user, plan, product

pytestmark = pytest.mark.django_db

BILLING = BillingDetails(
    name="M. Bos", street="Keizersgracht 1", postal_code="1015 CJ", city="Amsterdam", country="NL"
)


@pytest.fixture
def mike() -> User:
    return make_user(make_tenant(), name="Mike Bos", email="mike@contoso.example")


def start(user: User, **changes: Any) -> Checkout:
    values: dict[str, Any] = {"product": product(), "plan": plan(), "quantity": 2, "at": AT}
    return start_checkout(actor=actor_of(user), **(values | changes))


def save(user: User, checkout: Checkout, **changes: Any) -> Checkout:
    values: dict[str, Any] = {
        "key": checkout.key,
        "plan": plan(),
        "quantity": 2,
        "billing": BILLING,
        "takes_first_license": True,
        "agrees_to_terms": True,
        "seen_total_minor": 2275,
        "at": AT,
    }
    return save_checkout(actor=actor_of(user), **(values | changes))


def row(checkout: Checkout) -> Checkout:
    with tenant_atomic(checkout.tenant_id):
        found: Checkout = Checkout.objects.select_related("bill_to", "plan").get(pk=checkout.pk)
        return found


WAYS = {"paying": ["paying"], "action": ["paying", "action"], "paid": ["paying", "paid"]}


def move_to(checkout: Checkout, state: str) -> None:
    """Along the ways that the database allows."""
    with tenant_atomic(checkout.tenant_id):
        for step in WAYS.get(state, [state]):
            Checkout.objects.filter(pk=checkout.pk).update(state=step)


def codes(user: User) -> list[str]:
    with tenant_atomic(user.tenant_id):
        entries = AuditEntry.objects.filter(code__startswith="commerce.").order_by("id")
        return list(entries.values_list("code", flat=True))


def test_starts_with_the_servers_own_sums_for_a_day(mike: User) -> None:
    checkout = row(start(mike))

    assert (checkout.quantity, checkout.currency, checkout.unit_price_minor) == (2, "EUR", 940)
    assert (checkout.subtotal_minor, checkout.tax_minor, checkout.total_minor) == (1880, 395, 2275)
    assert (checkout.state, checkout.expires_at) == ("open", AT + timedelta(hours=24))
    assert codes(mike) == ["commerce.checkout.started"]


def test_without_plan_and_number_it_is_one_seat_by_the_month(mike: User) -> None:
    checkout = row(start(mike, plan=None, quantity=None))

    assert (checkout.plan.code, checkout.quantity) == ("monthly", 1)


def test_coming_back_within_a_day_finds_the_same_checkout(mike: User) -> None:
    first = start(mike, quantity=7)

    again = start(mike, plan=None, quantity=None, at=AT + timedelta(hours=23, minutes=59))

    assert again.key == first.key
    assert again.quantity == 7


def test_coming_back_with_another_plan_counts_anew(mike: User) -> None:
    first = start(mike)

    again = row(start(mike, plan=plan(code="yearly"), quantity=None))

    assert again.key == first.key
    assert (again.plan.code, again.quantity, again.total_minor) == ("yearly", 2, 24563)


def test_after_a_day_it_is_abandoned_and_a_new_one_starts(mike: User) -> None:
    first = start(mike, quantity=7)

    again = start(mike, plan=None, quantity=None, at=AT + timedelta(hours=24))

    assert again.key != first.key
    assert again.quantity == 1
    assert row(first).state == "abandoned"


@pytest.mark.parametrize("state", ["paying", "action"])
def test_one_that_is_being_paid_is_found_and_left_alone(mike: User, state: str) -> None:
    first = save(mike, start(mike))
    move_to(first, state)

    again = start(mike, plan=plan(code="yearly"), quantity=9)

    assert again.key == first.key
    assert (row(first).quantity, row(first).total_minor) == (2, 2275)


def test_after_paying_the_next_is_a_new_one(mike: User) -> None:
    first = save(mike, start(mike))
    move_to(first, "paid")

    assert start(mike).key != first.key


def test_who_may_not_buy_starts_nothing() -> None:
    carl = make_user(make_tenant(kind="government", country="US"))

    with pytest.raises(NotEligible) as refusal:
        start(carl)

    assert refusal.value.eligibility.codes == ("government",)
    with tenant_atomic(carl.tenant_id):
        assert not Checkout.objects.exists()
    assert codes(carl) == []


@pytest.mark.parametrize("quantity", [-1, 301, 2**31, 2**63])
def test_a_number_out_of_range_starts_nothing(mike: User, quantity: int) -> None:
    with pytest.raises(Malformed) as refusal:
        start(mike, quantity=quantity)

    assert refusal.value.field == "quantity"
    with tenant_atomic(mike.tenant_id):
        assert not Checkout.objects.exists()


def test_another_products_plan_is_refused(mike: User) -> None:
    with pytest.raises(Malformed) as refusal:
        start(mike, plan=plan("visio-plan-1"))

    assert refusal.value.field == "plan"


def test_changing_counts_anew(mike: User) -> None:
    checkout = start(mike)

    change_checkout(
        actor=actor_of(mike),
        key=checkout.key,
        plan=plan(code="yearly-monthly"),
        quantity=300,
        takes_first_license=False,
        at=AT,
    )

    changed = row(checkout)
    assert (changed.plan.code, changed.quantity, changed.takes_first_license) == (
        "yearly-monthly",
        300,
        False,
    )
    assert (changed.subtotal_minor, changed.tax_minor, changed.total_minor) == (259500, 54495, 313995)


def test_saving_writes_consent_and_address(mike: User) -> None:
    checkout = start(mike)

    save(mike, checkout, billing=replace(BILLING, vat_number="NL123456782B90", own_reference="CC 12"))

    saved = row(checkout)
    assert saved.consented_at == AT
    assert saved.terms_version == "2026-11"
    assert saved.bill_to is not None
    assert (saved.bill_to.name, saved.bill_to.email) == ("M. Bos", "mike@contoso.example")
    assert (saved.bill_to.vat_number, saved.bill_to.own_reference) == ("NL123456782B90", "CC 12")
    assert saved.bill_to.vat_is_verified is None
    assert codes(mike) == ["commerce.checkout.started", "commerce.checkout.agreed"]


def test_saving_the_same_again_keeps_the_consent_and_the_address(mike: User) -> None:
    checkout = start(mike)
    save(mike, checkout)

    save(mike, checkout, at=AT + timedelta(seconds=5))

    assert row(checkout).consented_at == AT
    with tenant_atomic(mike.tenant_id):
        assert BillTo.objects.count() == 1
    assert codes(mike).count("commerce.checkout.agreed") == 1


def test_another_number_needs_and_stores_a_new_consent(mike: User) -> None:
    checkout = start(mike)
    save(mike, checkout)

    save(mike, checkout, quantity=3, seen_total_minor=3412, at=AT + timedelta(minutes=1))

    assert row(checkout).consented_at == AT + timedelta(minutes=1)
    assert codes(mike).count("commerce.checkout.agreed") == 2


@pytest.mark.parametrize("seen", [None, 0, 1, 2274, 2276, -2275, 10**20])
def test_a_total_that_is_not_ours_saves_nothing(mike: User, seen: int | None) -> None:
    checkout = start(mike)

    with pytest.raises(PriceChanged) as refusal:
        save(mike, checkout, seen_total_minor=seen)

    assert refusal.value.quote.total_minor == 2275
    saved = row(checkout)
    assert (saved.consented_at, saved.bill_to, saved.total_minor) == (None, None, 2275)
    assert codes(mike) == ["commerce.checkout.started"]


def test_nobody_pays_without_agreeing(mike: User) -> None:
    checkout = start(mike)

    with pytest.raises(TermsNotAccepted):
        save(mike, checkout, agrees_to_terms=False)

    assert row(checkout).consented_at is None


@pytest.mark.parametrize("quantity", [0, -1, 301, 2**63])
def test_a_number_out_of_range_saves_nothing(mike: User, quantity: int) -> None:
    checkout = start(mike)

    with pytest.raises(Malformed) as refusal:
        save(mike, checkout, quantity=quantity)

    assert refusal.value.field == "quantity"
    assert (row(checkout).quantity, row(checkout).bill_to) == (2, None)


def test_who_may_no_longer_buy_saves_nothing(mike: User) -> None:
    checkout = start(mike)
    actor = actor_of(mike)
    with tenant_atomic(mike.tenant_id):
        User.objects.filter(pk=mike.pk).update(status="disabled")

    with pytest.raises(NotEligible):
        save_checkout(
            actor=actor,
            key=checkout.key,
            plan=plan(),
            quantity=2,
            billing=BILLING,
            takes_first_license=True,
            agrees_to_terms=True,
            seen_total_minor=2275,
            at=AT,
        )

    assert row(checkout).consented_at is None


@pytest.mark.parametrize("state", ["paying", "action", "paid", "abandoned"])
def test_one_that_is_not_open_is_left_alone(mike: User, state: str) -> None:
    checkout = save(mike, start(mike))
    move_to(checkout, state)

    with pytest.raises(CheckoutClosed) as refusal:
        save(mike, checkout, quantity=3, seen_total_minor=3412)

    assert refusal.value.state == state
    assert row(checkout).quantity == 2


def test_one_that_is_over_is_left_alone(mike: User) -> None:
    checkout = start(mike)

    with pytest.raises(CheckoutClosed):
        save(mike, checkout, at=AT + timedelta(hours=24))

    assert row(checkout).consented_at is None


def test_a_colleague_and_a_stranger_find_nothing(mike: User) -> None:
    checkout = start(mike)
    bob = make_user(mike.tenant)
    charlie = make_user(make_tenant())

    for user in (bob, charlie):
        with pytest.raises(NotVisible):
            save(user, checkout)

    assert row(checkout).consented_at is None


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])
def test_a_new_price_is_seen_before_it_is_paid() -> None:
    mike = make_user(make_tenant())
    checkout = start(mike)
    make_price(plan(), unit_price_minor=1000, valid_from=AT + timedelta(minutes=1))

    with pytest.raises(PriceChanged) as refusal:
        save(mike, checkout, at=AT + timedelta(minutes=2))

    assert refusal.value.quote.total_minor == 2420
    assert row(checkout).consented_at is None


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])
def test_many_tabs_at_once_open_one_checkout() -> None:
    mike = make_user(make_tenant())
    actor, wanted, chosen = actor_of(mike), product(), plan()
    keys: list[Any] = []
    together = threading.Barrier(8)

    def open_tab() -> None:
        together.wait()
        keys.append(start_checkout(actor=actor, product=wanted, plan=chosen, quantity=2, at=AT).key)
        connections.close_all()

    tabs = [threading.Thread(target=open_tab) for _ in range(8)]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join()

    assert len(keys) == 8
    assert len(set(keys)) == 1
