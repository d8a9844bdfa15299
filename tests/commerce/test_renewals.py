"""Renewing what is due: every outcome of `renew_due` (product §5.2, §5.3; I-10 to I-13, I-19)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from commerce.models import Bill, BillLine, BillSeries, Subscription, SubscriptionEvent
from commerce.operations.bills import Line, issue_bill
from commerce.operations.renewals import expire_due, renew_due, unpark
from commerce.operations.renewals.batches import TURN
from config.kit.actors import Actor
from config.kit.tenancy import atomic, connection, use_login
from directory.models import AuditEntry, Tenant, User
from tests.factories import (
    make_agreement,
    make_central_subscription,
    make_price,
    make_self_service_subscription,
    make_tenant,
    make_user,
    plan,
)

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])

MARCH = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
# Local midnights in Amsterdam, in UTC.
APRIL_10 = datetime(2026, 4, 9, 22, 0, tzinfo=UTC)
MAY_10 = datetime(2026, 5, 9, 22, 0, tzinfo=UTC)
JUNE_10 = datetime(2026, 6, 9, 22, 0, tzinfo=UTC)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def alice(contoso: Tenant) -> User:
    return make_user(contoso, name="Alice")


def buy(owner: User, *, code: str = "monthly", quantity: int = 10, at: datetime) -> Subscription:
    return make_self_service_subscription(owner, plan=plan(code=code), quantity=quantity, at=at)


def bill_by_hand(subscription: Subscription, *, begins: datetime) -> Bill:
    """A bill whose period overlaps the one that the sweep is about to bill."""
    with use_login("worker"), atomic():
        return issue_bill(
            actor=Actor.system(subscription.tenant_id),
            subscription=subscription,
            order=subscription.order_lines.get().order,
            type=Bill.Type.RENEWAL,
            bill_to=subscription.bill_to,
            payer=subscription.owner_user,
            collection=Bill.Collection.CARD,
            lines=[Line("Power BI Pro", 1, 100, 100, begins, begins + timedelta(days=20))],
            period_start=begins,
            period_end=begins + timedelta(days=20),
            at=begins,
            due_at=begins,
        )


def fresh(subscription: Subscription) -> Subscription:
    with use_login("worker"):
        return Subscription.objects.get(pk=subscription.pk)


def change(subscription: Subscription, **fields: Any) -> None:
    with use_login("worker"):
        Subscription.objects.filter(pk=subscription.pk).update(**fields)


def bills(subscription: Subscription) -> list[Bill]:
    """All but the purchase's, oldest period first."""
    with use_login("worker"):
        return list(
            Bill.objects.filter(subscription=subscription).exclude(type="purchase").order_by("period_start")
        )


def codes(subscription: Subscription) -> list[str]:
    """What happened to it, licenses aside."""
    with use_login("worker"):
        events = SubscriptionEvent.objects.filter(subscription=subscription)
        return list(events.exclude(code="license_assigned").order_by("id").values_list("code", flat=True))


def test_bills_the_period_that_begins_and_moves_into_it(alice: User) -> None:
    subscription = buy(alice, quantity=10, at=MARCH)
    at = APRIL_10 + timedelta(hours=3)

    swept = renew_due(at=at)

    assert (swept.moved, swept.parked, swept.busy) == (1, 0, 0)
    after = fresh(subscription)
    assert (after.state, after.period_index) == ("active", 1)
    assert (after.period_start, after.period_end) == (APRIL_10, MAY_10)
    assert (after.due_at, after.term_end) == (MAY_10, MAY_10)
    assert after.version == subscription.version + 1
    (bill,) = bills(subscription)
    unit = subscription.unit_price_minor
    assert (bill.type, bill.status, bill.collection) == ("renewal", "open", "card")
    assert (bill.issued_at, bill.due_at, bill.charge_due_at, bill.leased_until) == (at, at, at, None)
    assert (bill.period_start, bill.period_end) == (APRIL_10, MAY_10)
    assert (bill.payer_id, bill.bill_to_id) == (alice.pk, subscription.bill_to_id)
    assert bill.subtotal_minor == 10 * unit
    assert (bill.tax_name, bill.tax_rate) == (subscription.tax_name, Decimal("21.000"))
    assert bill.total_minor == bill.subtotal_minor + bill.tax_minor
    assert bill.number == "SK-NL-2026-000002"
    with use_login("worker"):
        line = BillLine.objects.get(bill=bill)
        assert (line.description, line.quantity) == ("Power BI Pro", 10)
        assert (line.unit_price_minor, line.amount_minor) == (unit, 10 * unit)
        assert (line.service_start, line.service_end) == (APRIL_10, MAY_10)
        assert bill.order_id == subscription.order_lines.get().order_id
        assert BillSeries.objects.get(year=2026).next_number == 3
        event = SubscriptionEvent.objects.get(subscription=subscription, code="renewed")
        assert (event.at, event.actor_label, event.facts["bill"]) == (at, "Seatkeeper", bill.number)
        entry = AuditEntry.objects.get(code="commerce.subscription.renewed")
        assert (entry.tenant_id, entry.actor_user_id, entry.door) == (alice.tenant_id, None, "job")
        assert (entry.target_type, entry.target_id) == ("subscription", str(subscription.key))
        assert entry.after == {
            "bill": bill.number,
            "period_end": "2026-05-09T22:00:00+00:00",
            "unit_price_minor": unit,
        }


def test_does_nothing_before_the_period_ends(alice: User) -> None:
    subscription = buy(alice, at=MARCH)

    swept = renew_due(at=APRIL_10 - timedelta(microseconds=1))

    assert not swept
    assert fresh(subscription).period_index == 0
    assert bills(subscription) == []


def test_running_again_bills_nothing_twice(alice: User) -> None:
    subscription = buy(alice, at=MARCH)
    renew_due(at=APRIL_10)

    again = renew_due(at=APRIL_10)
    backwards = renew_due(at=MARCH)

    assert not again
    assert not backwards
    assert len(bills(subscription)) == 1


def test_catches_up_missed_periods_in_order_each_once(alice: User) -> None:
    subscription = buy(alice, at=MARCH)
    at = JUNE_10 + timedelta(days=2)

    swept = renew_due(at=at)

    assert swept.moved == 3
    made = bills(subscription)
    assert [bill.period_start for bill in made] == [APRIL_10, MAY_10, JUNE_10]
    assert [bill.series_number for bill in made] == [2, 3, 4]
    assert {bill.issued_at for bill in made} == {at}
    assert fresh(subscription).period_index == 3
    assert codes(subscription) == ["purchased", "renewed", "renewed", "renewed"]


def test_takes_more_than_a_batch_and_catches_up_across_batches(alice: User) -> None:
    subscriptions = [buy(alice, quantity=number, at=MARCH) for number in range(1, 8)]

    swept = renew_due(at=MAY_10, limit=3)

    assert swept.moved == 14
    for subscription in subscriptions:
        assert [bill.period_start for bill in bills(subscription)] == [APRIL_10, MAY_10]
    with use_login("worker"):
        numbers = Bill.objects.order_by("series_number").values_list("series_number", flat=True)
        assert list(numbers) == list(range(1, 22))
        assert BillSeries.objects.get().next_number == 22


def test_a_term_renews_at_the_list_price_valid_on_its_day(alice: User) -> None:
    subscription = buy(alice, quantity=4, at=MARCH)
    monthly = plan(code="monthly")
    make_price(monthly, unit_price_minor=2_000, valid_from=APRIL_10 + timedelta(microseconds=1))
    make_price(monthly, unit_price_minor=3_000, valid_from=MAY_10)

    renew_due(at=JUNE_10 - timedelta(days=1))

    first, second = bills(subscription)
    assert first.subtotal_minor == 4 * subscription.unit_price_minor
    assert second.subtotal_minor == 12_000
    after = fresh(subscription)
    assert (after.unit_price_minor, after.period_price_minor) == (3_000, 12_000)


def test_inside_a_term_each_month_costs_the_terms_price(alice: User) -> None:
    subscription = buy(alice, code="yearly-monthly", quantity=2, at=MARCH)
    make_price(plan(code="yearly-monthly"), unit_price_minor=9_999, valid_from=MARCH)

    renew_due(at=MAY_10)

    made = bills(subscription)
    assert [bill.type for bill in made] == ["monthly_charge", "monthly_charge"]
    assert {bill.subtotal_minor for bill in made} == {2 * subscription.unit_price_minor}
    after = fresh(subscription)
    assert after.term_end == subscription.term_end == datetime(2027, 3, 9, 23, 0, tzinfo=UTC)
    assert after.unit_price_minor == subscription.unit_price_minor
    assert codes(subscription) == ["purchased", "charged", "charged"]


def test_a_term_paid_monthly_renews_for_another_year_at_the_new_price(alice: User) -> None:
    subscription = buy(alice, code="yearly-monthly", quantity=2, at=MARCH)
    make_price(plan(code="yearly-monthly"), unit_price_minor=9_999, valid_from=APRIL_10)

    renew_due(at=datetime(2027, 4, 20, tzinfo=UTC))

    made = bills(subscription)
    assert [bill.type for bill in made] == ["monthly_charge"] * 11 + ["renewal", "monthly_charge"]
    assert [bill.subtotal_minor for bill in made[-3:]] == [2 * subscription.unit_price_minor, 19_998, 19_998]
    assert fresh(subscription).term_end == datetime(2028, 3, 9, 23, 0, tzinfo=UTC)


def test_a_yearly_term_paid_yearly_renews_once_a_year(alice: User) -> None:
    subscription = buy(alice, code="yearly", at=MARCH)

    renew_due(at=datetime(2028, 3, 20, tzinfo=UTC))

    starts = [bill.period_start for bill in bills(subscription)]
    assert starts == [datetime(2027, 3, 9, 23, tzinfo=UTC), datetime(2028, 3, 9, 23, tzinfo=UTC)]


def test_recurring_billing_off_is_charged_to_the_end_of_the_term_and_no_longer(alice: User) -> None:
    subscription = buy(alice, code="yearly-monthly", at=MARCH)
    change(subscription, recurring_billing=False)

    swept = renew_due(at=datetime(2027, 6, 1, tzinfo=UTC))

    assert swept.moved == 11
    assert {bill.type for bill in bills(subscription)} == {"monthly_charge"}
    assert fresh(subscription).due_at == fresh(subscription).term_end


def test_recurring_billing_off_is_not_renewed(alice: User) -> None:
    subscription = buy(alice, at=MARCH)
    change(subscription, recurring_billing=False)

    swept = renew_due(at=MAY_10)

    assert not swept
    assert bills(subscription) == []


def test_a_central_subscription_renews_on_account_at_the_agreements_price(contoso: Tenant) -> None:
    admin = make_user(contoso, roles=("billing_admin",))
    agreement = make_agreement(contoso, plan=plan(code="yearly"), unit_price_minor=9_000)
    subscription = make_central_subscription(admin, plan=plan(code="yearly"), quantity=3, at=MARCH)
    with use_login("worker"):
        agreement.prices.update(unit_price_minor=8_500)
    at = datetime(2027, 3, 10, 6, tzinfo=UTC)

    renew_due(at=at)

    (bill,) = bills(subscription)
    assert (bill.collection, bill.payer_id, bill.charge_due_at) == ("on_account", None, None)
    assert bill.due_at == at + timedelta(days=30)
    assert bill.subtotal_minor == 25_500


def test_parks_what_has_no_price_and_renews_the_rest(contoso: Tenant, alice: User) -> None:
    admin = make_user(contoso, roles=("billing_admin",))
    agreement = make_agreement(contoso)
    central = make_central_subscription(admin, at=MARCH)
    other = buy(alice, at=MARCH)
    with use_login("worker"):
        agreement.prices.all().delete()

    swept = renew_due(at=APRIL_10)

    assert (swept.moved, swept.parked) == (1, 1)
    assert len(bills(other)) == 1
    after = fresh(central)
    assert (after.parked_at, after.parked_reason) == (APRIL_10, "The agreement has no price for its plan.")
    assert (after.state, after.period_index, after.due_at) == ("active", 0, APRIL_10)
    assert bills(central) == []
    assert codes(central) == ["purchased", "parked"]
    with use_login("worker"):
        assert AuditEntry.objects.filter(code="commerce.subscription.parked").count() == 1


def test_parks_a_price_of_another_currency(alice: User) -> None:
    subscription = buy(alice, at=MARCH)
    change(subscription, currency="USD")

    renew_due(at=APRIL_10)

    assert fresh(subscription).parked_reason == "Its price is in EUR, the subscription in USD."


def test_parks_when_the_zones_rules_have_changed(alice: User) -> None:
    subscription = buy(alice, at=MARCH)
    moved = APRIL_10 + timedelta(hours=1)
    change(subscription, period_end=moved, term_end=moved, due_at=moved)

    renew_due(at=MAY_10)

    assert "the rules of time zone Europe/Amsterdam have changed" in fresh(subscription).parked_reason
    assert bills(subscription) == []


def test_parks_the_one_that_a_constraint_refuses_and_takes_no_number_for_it(alice: User) -> None:
    subscriptions = [buy(alice, at=MARCH) for _ in range(9)]
    bad = subscriptions[4]
    bill_by_hand(bad, begins=APRIL_10 + timedelta(days=1))

    swept = renew_due(at=APRIL_10)

    assert (swept.moved, swept.parked) == (8, 1)
    assert "commerce_bill_period_overlap" in fresh(bad).parked_reason
    assert [len(bills(each)) for each in subscriptions] == [1] * 9
    assert bills(bad)[0].period_start == APRIL_10 + timedelta(days=1)
    with use_login("worker"):
        numbers = Bill.objects.order_by("series_number").values_list("series_number", flat=True)
        assert list(numbers) == list(range(1, 19))
        assert BillSeries.objects.get().next_number == 19


def test_parks_an_amount_that_is_too_large(alice: User) -> None:
    subscription = buy(alice, at=MARCH)
    make_price(plan(code="monthly"), unit_price_minor=9 * 10**18, valid_from=APRIL_10)

    swept = renew_due(at=APRIL_10)

    assert (swept.moved, swept.parked) == (0, 1)
    assert fresh(subscription).parked_reason == "bigint out of range"


def test_what_is_parked_goes_on_where_it_stopped_once_unparked(contoso: Tenant) -> None:
    admin = make_user(contoso, roles=("billing_admin",))
    agreement = make_agreement(contoso)
    subscription = make_central_subscription(admin, at=MARCH)
    with use_login("worker"):
        agreement.prices.update(currency="USD")
    renew_due(at=APRIL_10)
    with use_login("worker"):
        agreement.prices.update(currency="EUR")
    still = renew_due(at=MAY_10)

    unparked = unpark(subscription_ids=[subscription.pk], at=MAY_10)
    swept = renew_due(at=MAY_10)

    assert not still
    assert unparked == 1
    assert (swept.moved, swept.parked) == (2, 0)
    assert [bill.period_start for bill in bills(subscription)] == [APRIL_10, MAY_10]
    assert codes(subscription) == ["purchased", "parked", "unparked", "renewed", "renewed"]


def test_each_vendor_entity_and_year_has_its_own_numbers(alice: User) -> None:
    london = make_tenant(name="Fabrikam", country="GB", currency="GBP", time_zone="Europe/London")
    dutch = buy(alice, at=datetime(2026, 12, 5, tzinfo=UTC))
    british = buy(make_user(london), at=datetime(2026, 12, 5, tzinfo=UTC))

    renew_due(at=datetime(2027, 1, 6, tzinfo=UTC))

    assert [bill.number for bill in bills(dutch)] == ["SK-NL-2027-000001"]
    assert [bill.number for bill in bills(british)] == ["SK-GB-2027-000001"]


@pytest.mark.parametrize("sweep", [renew_due, expire_due])
def test_leaves_trials_and_parked_ones_alone(alice: User, sweep: Any) -> None:
    trial, parked = buy(alice, at=MARCH), buy(alice, at=MARCH)
    change(trial, channel="trial")
    change(parked, parked_at=MARCH, parked_reason="Somebody is looking.")

    swept = sweep(at=JUNE_10)

    assert not swept
    assert bills(trial) == bills(parked) == []


def test_the_command_unparks_and_says_when_there_is_nothing_to_unpark(alice: User) -> None:
    subscription = buy(alice, at=MARCH)
    change(subscription, parked_at=APRIL_10, parked_reason="There was no price.")
    said = StringIO()

    call_command("unpark", str(subscription.pk), stdout=said)

    assert said.getvalue() == "1 will be tried again.\n"
    assert (fresh(subscription).parked_at, fresh(subscription).parked_reason) == (None, "")
    with pytest.raises(CommandError, match="None of these is parked"):
        call_command("unpark", str(subscription.pk))


def test_an_entity_whose_turn_another_sweep_has_is_left_to_it(alice: User) -> None:
    subscription = buy(alice, at=MARCH)

    with use_login("owner"), atomic(), connection().cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [TURN, subscription.vendor_entity_id])
        swept = renew_due(at=APRIL_10)

    assert (swept.moved, swept.busy) == (0, 1)
    assert renew_due(at=APRIL_10).moved == 1
