"""Two years walked month by month with the real sweeps, each with exactly the bills and events listed (product §5)."""

import uuid
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from commerce.models import Bill, Market, Plan, Price, Product, Subscription, SubscriptionEvent, VendorEntity
from commerce.operations.cancellations import cancel_subscription, quote_cancellation
from commerce.operations.changes.adding import quote_addition, start_adding_seats
from commerce.operations.changes.removing import quote_removal, remove_seats
from commerce.operations.changes.scheduling import schedule_plan, schedule_seats
from commerce.operations.payments import Paid, Saved, pay_change, save_card
from commerce.operations.recurring import set_recurring_billing
from commerce.operations.renewals import renew_due, run_sweeps
from config.invariants import violations
from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import User
from tests.factories import actor_of, make_tenant, make_user, plan
from tests.processor import card_token, charges, refunds
from tests.scenarios.test_a_subscriptions_life import buy, empty_processor

__all__ = ["empty_processor"]

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"]),
    pytest.mark.usefixtures("empty_processor"),
]

AMSTERDAM = "Europe/Amsterdam"
type Line = tuple[str, str, int, str]


def buyer_in(zone: str, *, country: str = "NL", currency: str = "EUR") -> User:
    tenant = make_tenant(name="Contoso", time_zone=zone, country=country, currency=currency)
    return make_user(tenant, name="Alice")


def local(zone: str, day: date, *, hour: int = 9) -> datetime:
    """An hour of the clock on the wall there."""
    return datetime.combine(day, time(hour), ZoneInfo(zone)).astimezone(UTC)


def sweep_on(zone: str, days: Iterable[date]) -> datetime:
    """Every sweep, once on each of the days, at nine in the morning there; the last instant."""
    at = datetime.min.replace(tzinfo=UTC)
    for day in days:
        at = local(zone, day)
        run_sweeps(at=at)
    return at


def months(first: date, count: int) -> list[date]:
    """The same day of `count` months, for days that every month has."""
    return [
        date(first.year + (first.month - 1 + n) // 12, (first.month - 1 + n) % 12 + 1, first.day)
        for n in range(count)
    ]


def fresh(subscription: Subscription) -> Subscription:
    with use_login("worker"):
        return Subscription.objects.select_related("plan", "product").get(pk=subscription.pk)


def actor_at(buyer: User, at: datetime) -> Actor:
    """The buyer as the interface knows them by now: a purchaser."""
    with tenant_atomic(buyer.tenant_id):
        buyer.refresh_from_db()
    return actor_of(buyer, at=at)


def bills(subscription: Subscription) -> list[Line]:
    """(type, first local day of the period, total, status) of every bill and credit note, as issued."""
    zone = ZoneInfo(subscription.time_zone)
    with use_login("worker"):
        rows = Bill.objects.filter(subscription=subscription).order_by("id")
        return [
            (row.type, f"{row.period_start.astimezone(zone):%Y-%m-%d}", row.total_minor, row.status)
            for row in rows
        ]


def events(subscription: Subscription, *codes: str) -> list[tuple[str, str]]:
    """(local day, code) of what happened, oldest first; only `codes` where they are given."""
    zone = ZoneInfo(subscription.time_zone)
    with use_login("worker"):
        rows = SubscriptionEvent.objects.filter(subscription=subscription).order_by("id")
        rows = rows.filter(code__in=codes) if codes else rows
        return [(f"{row.at.astimezone(zone):%Y-%m-%d}", row.code) for row in rows]


def add_seats(buyer: User, subscription: Subscription, quantity: int, at: datetime) -> None:
    actor, row = actor_at(buyer, at), fresh(subscription)
    with tenant_atomic(actor):
        quote = quote_addition(actor=actor, subscription=row, quantity=quantity, at=at)
    checkout = start_adding_seats(
        actor=actor,
        key=row.key,
        intent=uuid.uuid4(),
        quantity=quantity,
        version=row.version,
        seen_total_minor=quote.total_minor,
        at=at,
    )
    outcome = pay_change(actor=actor, key=checkout.key, version=checkout.version, card_id=row.card_id, at=at)
    assert isinstance(outcome, Paid)


def drop_seats(buyer: User, subscription: Subscription, quantity: int, at: datetime) -> None:
    actor, row = actor_at(buyer, at), fresh(subscription)
    with tenant_atomic(actor):
        quote = quote_removal(subscription=row, quantity=quantity, at=at)
    remove_seats(
        actor=actor,
        key=row.key,
        quantity=quantity,
        version=row.version,
        seen_total_minor=quote.total_minor,
        at=at,
    )


def cancel(buyer: User, subscription: Subscription, at: datetime) -> None:
    actor, row = actor_at(buyer, at), fresh(subscription)
    with tenant_atomic(actor):
        quote = quote_cancellation(subscription=row, at=at)
    cancel_subscription(actor=actor, key=row.key, version=row.version, seen=quote.seen, at=at)


def change(operation: Any, buyer: User, subscription: Subscription, at: datetime, **facts: Any) -> None:
    operation(
        actor=actor_at(buyer, at), key=subscription.key, version=fresh(subscription).version, at=at, **facts
    )


def test_a_monthly_plan_whose_seats_change() -> None:
    """Ten seats at 9.40 and 21 % tax: 113.74 a month; more at once, fewer in the window, fewer at the renewal."""
    alice = buyer_in(AMSTERDAM)
    bought = local(AMSTERDAM, date(2027, 1, 15))
    subscription = buy(alice, code="monthly", at=bought)

    sweep_on(AMSTERDAM, months(date(2027, 2, 15), 2))
    add_seats(alice, subscription, 14, local(AMSTERDAM, date(2027, 3, 31)))
    drop_seats(alice, subscription, 12, local(AMSTERDAM, date(2027, 4, 3)))
    sweep_on(AMSTERDAM, months(date(2027, 4, 15), 2))
    change(schedule_seats, alice, subscription, local(AMSTERDAM, date(2027, 5, 20)), quantity=6)
    later = months(date(2027, 6, 15), 20)
    last = sweep_on(AMSTERDAM, later)

    assert bills(subscription) == [
        ("purchase", "2027-01-15", 11374, "paid"),
        ("renewal", "2027-02-15", 11374, "paid"),
        ("renewal", "2027-03-15", 11374, "paid"),
        ("add_seats", "2027-03-31", 2201, "paid"),  # 37.60 less 16/31 of it, 18.19; tax 3.82
        ("remove_seats", "2027-04-04", -807, "paid"),  # 11/31 of 18.80, 6.67; tax 1.40
        ("renewal", "2027-04-15", 13649, "paid"),
        ("renewal", "2027-05-15", 13649, "paid"),
        *(("renewal", str(day), 6824, "paid") for day in later),
    ]
    assert events(subscription) == [
        ("2027-01-15", "purchased"),
        ("2027-01-15", "license_assigned"),
        ("2027-02-15", "renewed"),
        ("2027-03-15", "renewed"),
        ("2027-03-31", "seats_added"),
        ("2027-04-03", "seats_removed"),
        ("2027-04-03", "credited"),
        ("2027-04-03", "refunded"),
        ("2027-04-15", "renewed"),
        ("2027-05-15", "renewed"),
        ("2027-05-20", "quantity_scheduled"),
        ("2027-06-15", "renewed"),
        ("2027-06-15", "quantity_changed"),
        *((str(day), "renewed") for day in later[1:]),
    ]
    assert [refund["amount"] for refund in refunds()] == [807]
    assert charges() == 26
    assert violations(at=last) == []


def test_a_yearly_plan_that_becomes_a_monthly_one() -> None:
    alice = buyer_in(AMSTERDAM)
    subscription = buy(alice, code="yearly", at=local(AMSTERDAM, date(2027, 3, 28)))

    sweep_on(AMSTERDAM, months(date(2027, 4, 28), 6))
    change(
        schedule_plan, alice, subscription, local(AMSTERDAM, date(2027, 10, 31)), plan=plan(code="monthly")
    )
    last = sweep_on(AMSTERDAM, months(date(2027, 11, 28), 17))

    monthly = months(date(2028, 3, 28), 13)
    assert bills(subscription) == [
        ("purchase", "2027-03-28", 122815, "paid"),
        *(("renewal", str(day), 11374, "paid") for day in monthly),
    ]
    assert events(subscription) == [
        ("2027-03-28", "purchased"),
        ("2027-03-28", "license_assigned"),
        ("2027-10-31", "plan_scheduled"),
        ("2028-03-28", "renewed"),
        ("2028-03-28", "plan_changed"),
        *((str(day), "renewed") for day in monthly[1:]),
    ]
    assert (fresh(subscription).plan.code, fresh(subscription).offset_months) == ("monthly", 12)
    assert violations(at=last) == []


def test_a_card_that_fails_and_is_replaced() -> None:
    alice = buyer_in(AMSTERDAM)
    subscription = buy(alice, code="monthly", at=local(AMSTERDAM, date(2027, 1, 10)))
    sweep_on(AMSTERDAM, months(date(2027, 2, 10), 11))
    replace_card(
        alice, fresh(subscription).card_id, "chargeCustomerFail", local(AMSTERDAM, date(2027, 12, 20))
    )

    sweep_on(AMSTERDAM, [date(2028, 1, 10), date(2028, 1, 11), date(2028, 1, 13)])
    replace_card(alice, fresh(subscription).card_id, "mastercard", local(AMSTERDAM, date(2028, 1, 14)))
    last = sweep_on(AMSTERDAM, [date(2028, 1, 14), *months(date(2028, 2, 10), 12)])

    days = [str(day) for day in months(date(2027, 1, 10), 25)]
    assert bills(subscription) == [
        ("purchase", "2027-01-10", 11374, "paid"),
        *(("renewal", day, 11374, "paid") for day in days[1:]),
    ]
    assert events(subscription) == [
        ("2027-01-10", "purchased"),
        ("2027-01-10", "license_assigned"),
        *((day, "renewed") for day in days[1:12]),
        ("2027-12-20", "card_changed"),
        ("2028-01-10", "renewed"),
        ("2028-01-10", "payment_failed"),
        ("2028-01-11", "payment_failed"),
        ("2028-01-13", "payment_failed"),
        ("2028-01-14", "card_changed"),
        ("2028-01-14", "payment_recovered"),
        *((day, "renewed") for day in days[13:]),
    ]
    assert charges() == 25
    assert violations(at=last) == []


def replace_card(buyer: User, old: int | None, new: str, at: datetime) -> None:
    saved = save_card(
        actor=actor_at(buyer, at),
        key=uuid.uuid4(),
        for_organization=False,
        confirmation_token=card_token(f"pm_card_{new}"),
        replaces=old,
        at=at,
    )
    assert isinstance(saved, Saved)


def test_canceled_in_the_window_it_ends_at_once_and_later_at_its_term() -> None:
    alice = buyer_in(AMSTERDAM)
    kept = buy(alice, code="yearly-monthly", at=local(AMSTERDAM, date(2027, 2, 28)))
    sweep_on(AMSTERDAM, months(date(2027, 3, 28), 5))
    regretted = buy(alice, code="yearly", at=local(AMSTERDAM, date(2027, 8, 1)))
    cancel(alice, regretted, local(AMSTERDAM, date(2027, 8, 7)))
    cancel(alice, kept, local(AMSTERDAM, date(2027, 8, 20)))

    last = sweep_on(AMSTERDAM, [date(2027, 8, 21), *months(date(2027, 8, 28), 24), date(2029, 3, 1)])

    assert bills(regretted) == [
        ("purchase", "2027-08-01", 122815, "paid"),
        ("cancel", "2027-08-08", -120466, "paid"),  # 359/366 of 1,015.00, 995.59; tax 209.07
    ]
    assert events(regretted) == [
        ("2027-08-01", "purchased"),
        ("2027-08-07", "credited"),
        ("2027-08-07", "canceled"),
        ("2027-08-07", "refunded"),
        ("2027-11-28", "deleted"),
    ]
    monthly = [str(day) for day in months(date(2027, 2, 28), 12)]
    assert bills(kept) == [
        ("purchase", monthly[0], 10467, "paid"),
        *(("monthly_charge", day, 10467, "paid") for day in monthly[1:]),
    ]
    assert events(kept) == [
        ("2027-02-28", "purchased"),
        ("2027-02-28", "license_assigned"),
        *((day, "charged") for day in monthly[1:6]),
        ("2027-08-20", "canceled"),
        *((day, "charged") for day in monthly[6:]),
        ("2028-02-28", "expired"),
        ("2028-04-28", "disabled"),  # due on 29 March, a day after that month's walk
        ("2028-06-28", "deleted"),
        ("2028-06-28", "licenses_ended"),
    ]
    assert charges() == 13
    assert len(refunds()) == 1
    assert violations(at=last) == []


@pytest.mark.parametrize(
    ("zone", "hour"), [("Pacific/Pago_Pago", 23), ("Pacific/Kiritimati", 0), ("America/New_York", 2)]
)
def test_the_31st_is_the_last_day_of_every_month_at_the_edges_of_the_day(zone: str, hour: int) -> None:
    """Bought in the first or the last hour of the day there, where it is another day in UTC."""
    alice = buyer_in(zone)
    bought = local(zone, date(2027, 10, 31), hour=hour)
    subscription = buy(alice, code="monthly", at=bought)
    days = [
        *("2027-11-30", "2027-12-31", "2028-01-31", "2028-02-29", "2028-03-31", "2028-04-30", "2028-05-31"),
        *("2028-06-30", "2028-07-31", "2028-08-31", "2028-09-30", "2028-10-31", "2028-11-30", "2028-12-31"),
        *("2029-01-31", "2029-02-28", "2029-03-31", "2029-04-30", "2029-05-31", "2029-06-30", "2029-07-31"),
        *("2029-08-31", "2029-09-30", "2029-10-31"),
    ]

    for day in days:
        midnight = local(zone, date.fromisoformat(day), hour=0)
        assert not renew_due(at=midnight - timedelta(seconds=1))
        assert renew_due(at=midnight).moved == 1
    last = local(zone, date(2029, 10, 31), hour=1)
    run_sweeps(at=last)

    assert events(subscription, "purchased", "renewed") == [
        ("2027-10-31", "purchased"),
        *((day, "renewed") for day in days),
    ]
    assert bills(subscription) == [
        ("purchase", "2027-10-31", 11374, "paid"),
        *(("renewal", day, 11374, "paid") for day in days),
    ]
    assert charges() == 25
    assert violations(at=last) == []


def sell_in_japan() -> None:
    """A market whose currency has no decimals; the catalogue has none. Seven hundred and seventy-seven yen a seat."""
    with use_login("owner"):
        entity = VendorEntity.objects.order_by("pk")[0]
        market = Market.objects.create(
            pk="JP", name="Japan", currency="JPY", tax_name="tax", tax_rate=10, vendor_entity=entity
        )
        power_bi = Product.objects.get(slug="power-bi-pro")
        monthly = Plan.objects.get(product=power_bi, term_months=1)
        Price.objects.create(
            plan=monthly,
            market=market,
            currency="JPY",
            unit_price_minor=777,
            valid_from=datetime(2020, 1, 1, tzinfo=UTC),
        )


def test_yen_are_whole_whatever_part_of_a_month_is_paid_or_given_back() -> None:
    """Ten seats cost 7,770 and 777 tax; parts are rounded half up to the yen."""
    sell_in_japan()
    alice = buyer_in("Asia/Tokyo", country="JP", currency="JPY")
    subscription = buy(alice, code="monthly", at=local("Asia/Tokyo", date(2027, 3, 1)))

    add_seats(alice, subscription, 13, local("Asia/Tokyo", date(2027, 3, 18)))
    drop_seats(alice, subscription, 11, local("Asia/Tokyo", date(2027, 3, 20)))
    sweep_on("Asia/Tokyo", months(date(2027, 4, 1), 23))
    change(set_recurring_billing, alice, subscription, local("Asia/Tokyo", date(2029, 2, 20)), on=False)
    last = sweep_on("Asia/Tokyo", [date(2029, 3, 1), date(2029, 3, 2)])

    monthly = [str(day) for day in months(date(2027, 4, 1), 23)]
    assert bills(subscription) == [
        ("purchase", "2027-03-01", 8547, "paid"),
        ("add_seats", "2027-03-18", 1158, "paid"),  # 2,331 less 17/31 of it, 1,053; tax 105
        (
            "remove_seats",
            "2027-03-21",
            -606,
            "paid",
        ),  # 827 for three of the days left less 276 for one; tax 55
        *(("renewal", day, 9402, "paid") for day in monthly),
    ]
    assert events(subscription) == [
        ("2027-03-01", "purchased"),
        ("2027-03-01", "license_assigned"),
        ("2027-03-18", "seats_added"),
        ("2027-03-20", "seats_removed"),
        ("2027-03-20", "credited"),
        ("2027-03-20", "refunded"),
        *((day, "renewed") for day in monthly),
        ("2029-02-20", "recurring_billing_off"),
        ("2029-03-01", "expired"),
    ]
    assert violations(at=last) == []
