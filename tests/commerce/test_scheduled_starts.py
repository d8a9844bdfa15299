"""Central purchases that start later: Scheduled until their day, then started and billed by the sweep (product §5.1)."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

from commerce import hooks
from commerce.models import Bill, Subscription, SubscriptionEvent
from commerce.operations.orders import purchase_centrally
from commerce.operations.renewals import expire_due, renew_due, run_sweeps
from config.invariants import violations
from config.kit.errors import Malformed
from config.kit.tenancy import use_login
from directory.models import Tenant, User
from licensing.operations.assignments import NotAssignable, assign_license
from tests.factories import actor_of, make_agreement, make_tenant, make_user, plan

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])

MARCH = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
START = date(2026, 4, 30)
# Local midnights in Amsterdam, in UTC.
APRIL_30 = datetime(2026, 4, 29, 22, 0, tzinfo=UTC)
MAY_30 = datetime(2026, 5, 29, 22, 0, tzinfo=UTC)
JUNE_30 = datetime(2026, 6, 29, 22, 0, tzinfo=UTC)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    make_agreement(contoso, unit_price_minor=800)
    return make_user(contoso, name="Gina", roles=("global_admin",))


def buy(buyer: User, *, starts_on: date | None, at: datetime = MARCH) -> Subscription:
    monthly = plan()
    return purchase_centrally(
        actor=actor_of(buyer, at=at),
        product=monthly.product,
        plan=monthly,
        quantity=25,
        starts_on=starts_on,
        at=at,
    )


def fresh(subscription: Subscription) -> Subscription:
    with use_login("worker"):
        return Subscription.objects.get(pk=subscription.pk)


def bills(subscription: Subscription) -> list[Bill]:
    with use_login("worker"):
        return list(Bill.objects.filter(subscription=subscription).order_by("period_start"))


def codes(subscription: Subscription) -> list[str]:
    with use_login("worker"):
        events = SubscriptionEvent.objects.filter(subscription=subscription).order_by("id")
        return list(events.values_list("code", flat=True))


@pytest.fixture
def heard() -> Iterator[list[hooks.Activation]]:
    """What higher apps are told of activations."""
    activations: list[hooks.Activation] = []
    callbacks = hooks.subscription_activated.callbacks
    hooks.subscription_activated.callbacks = [*callbacks, activations.append]
    yield activations
    hooks.subscription_activated.callbacks = callbacks


def test_is_scheduled_and_unbilled_until_its_day(gina: User, heard: list[hooks.Activation]) -> None:
    subscription = fresh(buy(gina, starts_on=START))

    assert (subscription.state, subscription.activated_at) == ("scheduled", None)
    assert (subscription.anchor_date, subscription.due_at) == (START, APRIL_30)
    assert (subscription.period_start, subscription.period_end) == (APRIL_30, MAY_30)
    assert bills(subscription) == []
    assert codes(subscription) == ["purchased"]
    assert heard == []
    assert not renew_due(at=APRIL_30 - timedelta(seconds=1))
    assert not expire_due(at=APRIL_30 - timedelta(seconds=1))


def test_starts_and_is_billed_on_account_on_its_day(gina: User, heard: list[hooks.Activation]) -> None:
    subscription = buy(gina, starts_on=START)
    at = APRIL_30 + timedelta(minutes=2)

    swept = renew_due(at=at)

    assert (swept.moved, swept.parked) == (1, 0)
    after = fresh(subscription)
    assert (after.state, after.activated_at, after.period_index) == ("active", at, 0)
    assert (after.period_start, after.period_end, after.due_at) == (APRIL_30, MAY_30, MAY_30)
    (bill,) = bills(subscription)
    assert (bill.type, bill.status, bill.collection) == ("purchase", "open", "on_account")
    assert (bill.period_start, bill.period_end) == (APRIL_30, MAY_30)
    assert (bill.issued_at, bill.due_at, bill.charge_due_at) == (at, at + timedelta(days=30), None)
    assert (bill.payer_id, bill.subtotal_minor) == (None, 25 * 800)
    assert codes(subscription) == ["purchased", "started"]
    assert [(each.subscription.pk, each.first_license) for each in heard] == [(subscription.pk, False)]
    assert violations(at=at) == []


def test_starting_again_changes_nothing(gina: User) -> None:
    subscription = buy(gina, starts_on=START)
    renew_due(at=APRIL_30)

    assert not renew_due(at=APRIL_30 + timedelta(days=1))

    assert len(bills(subscription)) == 1


def test_after_an_outage_the_start_and_the_renewals_are_caught_up(gina: User) -> None:
    subscription = buy(gina, starts_on=START)

    swept = renew_due(at=MAY_30 + timedelta(days=3))

    assert swept.moved == 2
    assert [(bill.type, bill.period_start) for bill in bills(subscription)] == [
        ("purchase", APRIL_30),
        ("renewal", MAY_30),
    ]
    assert fresh(subscription).period_end == JUNE_30
    assert codes(subscription) == ["purchased", "started", "renewed"]


def test_the_price_agreed_at_the_purchase_holds(gina: User, contoso: Tenant) -> None:
    subscription = buy(gina, starts_on=START)
    make_agreement(contoso, unit_price_minor=700)

    renew_due(at=APRIL_30)

    assert bills(subscription)[0].subtotal_minor == 25 * 800


def test_with_recurring_billing_off_it_starts_and_ends(gina: User) -> None:
    subscription = buy(gina, starts_on=START)
    with use_login("worker"):
        Subscription.objects.filter(pk=subscription.pk).update(recurring_billing=False)

    run_sweeps(at=APRIL_30)
    run_sweeps(at=MAY_30)

    assert codes(subscription) == ["purchased", "started", "expired"]


def test_today_is_now(gina: User) -> None:
    subscription = buy(gina, starts_on=date(2026, 3, 10))

    assert fresh(subscription).state == "active"
    assert len(bills(subscription)) == 1


@pytest.mark.parametrize("starts_on", [date(2026, 3, 9), date(2027, 3, 12), date.min, date.max])
def test_refuses_a_start_in_the_past_or_too_far_ahead(gina: User, starts_on: date) -> None:
    with pytest.raises(Malformed) as refused:
        buy(gina, starts_on=starts_on)

    assert refused.value.field == "starts_on"
    with use_login("worker"):
        assert Subscription.objects.count() == 0


def test_nothing_can_be_assigned_before_the_start(gina: User) -> None:
    subscription = buy(gina, starts_on=START)

    with pytest.raises(NotAssignable):
        assign_license(actor=actor_of(gina), subscription_key=subscription.key, user_id=gina.pk, at=MARCH)

    assert fresh(subscription).assigned == 0
