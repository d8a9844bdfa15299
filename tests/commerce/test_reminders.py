"""Reminders and rises of the price: every outcome of `remind_due` (product §3.6, §5.3, §15)."""

from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from commerce.models import Subscription
from commerce.operations.renewals import end_trials, remind_due, renew_due
from config.invariants import violations
from config.kit.tenancy import connection, use_login
from directory.models import OutgoingMail, Tenant, User
from directory.operations.outbox import message_of
from tests.commerce.test_trials import start_carded, start_free
from tests.factories import (
    make_central_subscription,
    make_price,
    make_self_service_subscription,
    make_tenant,
    make_user,
    plan,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

MARCH = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
# The terms end at local midnights in Amsterdam.
MONTH_ENDS = datetime(2026, 4, 9, 22, 0, tzinfo=UTC)
YEAR_ENDS = datetime(2027, 3, 9, 23, 0, tzinfo=UTC)
TRIAL_ENDS = datetime(2026, 4, 8, 22, 0, tzinfo=UTC)
DAY = timedelta(days=1)
AMSTERDAM = ZoneInfo("Europe/Amsterdam")


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def alice(contoso: Tenant) -> User:
    return make_user(contoso, name="Alice")


def buy(owner: User, code: str = "monthly", **facts: Any) -> Subscription:
    subscription = make_self_service_subscription(owner, plan=plan(code=code), quantity=10, at=MARCH)
    change(subscription, **facts)
    return subscription


def change(subscription: Subscription, **facts: Any) -> None:
    with use_login("worker"):
        Subscription.objects.filter(pk=subscription.pk).update(**facts)


REMINDERS = ("renewal_reminder", "monthly_reminder", "trial_ending", "price_rise")


def told() -> list[tuple[str, str]]:
    """Kind and local day of every reminder so far."""
    return [(row.kind, f"{row.created_at.astimezone(AMSTERDAM):%Y-%m-%d}") for row in rows()]


def rows() -> list[OutgoingMail]:
    with use_login("worker"):
        return list(OutgoingMail.objects.filter(kind__in=REMINDERS).order_by("id"))


def walk(first: datetime, days: int) -> None:
    """Every six hours, as often as makes a repeated reminder show."""
    for quarter in range(days * 4):
        remind_due(at=first + quarter * timedelta(hours=6))


def test_a_yearly_term_is_announced_thirty_seven_and_one_day_before_once_each(alice: User) -> None:
    buy(alice, "yearly")
    remind_due(at=MARCH)

    walk(YEAR_ENDS - 32 * DAY, 32)

    assert told() == [
        ("renewal_reminder", "2027-02-08"),
        ("renewal_reminder", "2027-03-03"),
        ("renewal_reminder", "2027-03-09"),
    ]


def test_a_yearly_term_paid_monthly_is_announced_before_its_end_alone(alice: User) -> None:
    subscription = buy(alice, "yearly-monthly")

    walk(MARCH, 40)

    assert told() == []
    with use_login("worker"):
        looks_at = Subscription.objects.get(pk=subscription.pk).next_reminder_at
    assert looks_at == YEAR_ENDS - 30 * DAY


def test_a_monthly_term_is_announced_three_days_before_and_again_before_the_next(alice: User) -> None:
    buy(alice)

    walk(MARCH, 30)
    renew_due(at=MONTH_ENDS)
    walk(MONTH_ENDS, 30)

    assert told() == [("monthly_reminder", "2026-04-07"), ("monthly_reminder", "2026-05-07")]


def test_the_mail_names_date_amount_and_how_to_stop(alice: User) -> None:
    subscription = buy(alice, "yearly")

    remind_due(at=YEAR_ENDS - 7 * DAY)

    (row,) = rows()
    message = message_of(row)
    html = str(message.alternatives[0][0])
    total = f"{row.context['total_minor'] / 100:,.2f}"
    assert row.context["total_minor"] == 10 * subscription.unit_price_minor * 121 // 100
    assert message.subject == f"Power BI Pro renews on 10 Mar 2027: €{total}"
    for text in (message.body, html):
        assert total in text
        assert "10 Mar 2027" in text
        assert "turn recurring billing off" in text
        assert f"/admin/billing/your-products/{subscription.key}/" in text


def test_with_recurring_billing_off_the_same_days_announce_the_end(alice: User) -> None:
    buy(alice, "yearly", recurring_billing=False)

    remind_due(at=YEAR_ENDS - 30 * DAY)

    (row,) = rows()
    message = message_of(row)
    assert message.subject == "Power BI Pro ends on 9 Mar 2027"
    assert "nothing more is charged" in message.body


def test_a_trial_is_announced_seven_days_and_one_day_before(alice: User) -> None:
    start_carded(alice)
    colleague = make_user(alice.tenant)
    start_free(colleague)

    walk(TRIAL_ENDS - 10 * DAY, 10)
    end_trials(at=TRIAL_ENDS)

    assert told() == [
        ("trial_ending", "2026-04-02"),
        ("trial_ending", "2026-04-02"),
        ("trial_ending", "2026-04-08"),
        ("trial_ending", "2026-04-08"),
    ]
    subjects = {message_of(row).subject.split(":")[0] for row in rows()}
    assert subjects == {
        "Your trial of Visio Plan 1 turns paid on 9 Apr 2026",
        "Your trial of Visio Plan 1 ends on 8 Apr 2026",
    }


def test_after_an_outage_only_the_latest_step_is_told(alice: User) -> None:
    buy(alice, "yearly")

    remind_due(at=YEAR_ENDS - 2 * DAY)

    assert told() == [("renewal_reminder", "2027-03-08")]


def test_ten_sweeps_at_once_or_in_a_row_tell_once(alice: User) -> None:
    buy(alice, "yearly")
    at = YEAR_ENDS - 30 * DAY

    counts = [remind_due(at=at) for _ in range(3)]
    with use_login("worker"):
        Subscription.objects.update(next_reminder_at=at)
    again = remind_due(at=at)

    assert (counts, again) == ([1, 0, 0], 0)


def test_what_is_scheduled_for_the_renewal_is_what_the_mail_says(alice: User) -> None:
    subscription = buy(alice, "yearly", next_quantity=4)

    remind_due(at=YEAR_ENDS - 30 * DAY)

    (row,) = rows()
    assert row.context["quantity"] == 4
    assert row.context["total_minor"] == 4 * subscription.unit_price_minor * 121 // 100


def test_a_rise_is_told_a_period_before_a_monthly_renewal_and_once(alice: User) -> None:
    buy(alice)
    make_price(plan(), unit_price_minor=2_000, valid_from=MONTH_ENDS + DAY)
    walk(MARCH, 30)
    renew_due(at=MONTH_ENDS)

    walk(MONTH_ENDS, 30)

    assert told() == [
        ("monthly_reminder", "2026-04-07"),
        ("price_rise", "2026-04-10"),
        ("monthly_reminder", "2026-05-07"),
    ]
    rise = next(row for row in rows() if row.kind == "price_rise")
    message = message_of(rise)
    assert "€20.00 instead of" in message.body
    assert rise.context["total_minor"] == 24_200


def test_a_rise_is_told_thirty_days_before_a_yearly_renewal(alice: User) -> None:
    subscription = buy(alice, "yearly")
    unit = subscription.unit_price_minor
    make_price(plan(code="yearly"), unit_price_minor=unit + 1_000, valid_from=MARCH + 100 * DAY)

    walk(YEAR_ENDS - 32 * DAY, 3)

    assert sorted(told()) == [("price_rise", "2027-02-08"), ("renewal_reminder", "2027-02-08")]


def test_a_rise_that_was_published_too_late_for_a_renewal_waits_for_the_next(alice: User) -> None:
    subscription = buy(alice)
    make_price(
        plan(), unit_price_minor=2_000, valid_from=MARCH + 20 * DAY, published_at=MARCH + timedelta(hours=1)
    )
    walk(MARCH, 30)
    renew_due(at=MONTH_ENDS)
    told_of_the_first = told()
    first = unit_of(subscription)

    walk(MONTH_ENDS, 30)
    renew_due(at=MONTH_ENDS + 31 * DAY)

    assert (told_of_the_first, first) == ([("monthly_reminder", "2026-04-07")], subscription.unit_price_minor)
    assert told()[1:] == [("price_rise", "2026-04-10"), ("monthly_reminder", "2026-05-07")]
    assert unit_of(subscription) == 2_000


@pytest.mark.parametrize(("days_before", "rises"), [(30, True), (29, False)])
def test_a_yearly_term_costs_a_rise_that_was_published_thirty_days_before(
    alice: User, days_before: int, rises: bool
) -> None:
    subscription = buy(alice, "yearly")
    before = subscription.unit_price_minor
    make_price(
        plan(code="yearly"),
        unit_price_minor=before + 1_000,
        valid_from=YEAR_ENDS - DAY,
        published_at=YEAR_ENDS - days_before * DAY,
    )

    renew_due(at=YEAR_ENDS)

    assert unit_of(subscription) == before + 1_000 * rises


def unit_of(subscription: Subscription) -> int:
    with use_login("worker"):
        return int(Subscription.objects.get(pk=subscription.pk).unit_price_minor)


def test_a_price_that_falls_is_no_rise(alice: User) -> None:
    buy(alice)
    make_price(plan(), unit_price_minor=1, valid_from=MARCH + DAY)

    walk(MONTH_ENDS - 4 * DAY, 2)

    assert told() == [("monthly_reminder", "2026-04-07")]


def test_a_central_one_is_announced_to_the_admins_at_the_agreements_price(contoso: Tenant) -> None:
    admin = make_user(contoso, roles=("global_admin", "billing_admin"))
    make_user(contoso, roles=("license_admin",))
    make_central_subscription(admin, quantity=25, at=MARCH)

    remind_due(at=MONTH_ENDS - 3 * DAY)

    (row,) = rows()
    assert (row.to_user_id, row.context["total_minor"]) == (admin.pk, 25 * 800 * 121 // 100)
    assert "billed on account" in message_of(row).body


def test_reminders_of_who_left_go_to_the_admins_marked(alice: User, contoso: Tenant) -> None:
    admin = make_user(contoso, roles=("billing_admin",))
    buy(alice)
    with use_login("worker"):
        User.objects.filter(pk=alice.pk).update(status="disabled")

    remind_due(at=MONTH_ENDS - 3 * DAY)

    (row,) = rows()
    assert (row.to_user_id, row.context["owner_left"]) == (admin.pk, True)


@pytest.mark.parametrize(
    "facts",
    [
        {"state": "disabled"},
        {"state": "expired"},
        {"payment_failed_at": MARCH},
        {"state": "scheduled"},
    ],
)
def test_says_nothing_of_what_does_not_renew_now(alice: User, facts: dict[str, Any]) -> None:
    subscription = buy(alice, **facts)

    remind_due(at=MONTH_ENDS - 3 * DAY)

    assert told() == []
    with use_login("worker"):
        assert Subscription.objects.get(pk=subscription.pk).next_reminder_at is not None
    assert violations(at=MARCH, only=["I-12"]) == []


def test_one_that_is_deleted_is_looked_at_no_more(alice: User) -> None:
    subscription = buy(alice, state="deleted", due_at=None)

    remind_due(at=MONTH_ENDS - 3 * DAY)

    assert told() == []
    with use_login("worker"):
        assert Subscription.objects.get(pk=subscription.pk).next_reminder_at is None


def test_subscriptions_from_before_there_were_reminders_are_looked_at_too(alice: User) -> None:
    """What the migration writes; one that ended by being canceled stays as it is."""
    bought, canceled = buy(alice, next_reminder_at=None), buy(alice, next_reminder_at=None, state="disabled")
    migration = import_module("commerce.migrations.0017_reminders_of_earlier_subscriptions")

    with use_login("owner"), connection().cursor() as cursor:
        cursor.execute(migration.LOOK_NOW)
        assert cursor.rowcount == 1
    with use_login("worker"):
        looks_at = Subscription.objects.get(pk=bought.pk).next_reminder_at
    assert looks_at is not None
    # The tests' clock is behind the database's.
    change(bought, next_reminder_at=MARCH)
    remind_due(at=MONTH_ENDS - 2 * DAY)

    assert [kind for kind, _ in told()] == ["monthly_reminder"]
    with use_login("worker"):
        assert Subscription.objects.get(pk=canceled.pk).next_reminder_at is None
