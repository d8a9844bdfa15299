"""Changes that wait for the renewal, and the renewal that makes them (product §5.3, §5.4; I-05, I-11, I-12)."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from commerce.models import (
    AgreementPrice,
    Bill,
    Order,
    OrderLine,
    Plan,
    Price,
    Subscription,
    SubscriptionEvent,
)
from commerce.operations.changes import (
    BelowAssigned,
    Disputed,
    NoRenewal,
    NotChangeable,
    revoke_scheduled,
    schedule_plan,
    schedule_seats,
)
from commerce.operations.checkouts import NotEligible
from commerce.operations.recurring import set_recurring_billing
from commerce.operations.renewals import expire_due, renew_due
from commerce.queries.catalogue import product_keys
from commerce.queries.seats import RenewalUnderWay
from config.invariants import Violation, violations
from config.kit.errors import Conflict, Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry, OutgoingMail, Tenant, User
from directory.permissions import Role
from policies.operations.policies import set_product_policy
from tests.factories import (
    actor_of,
    make_agreement,
    make_central_subscription,
    make_price,
    make_self_service_subscription,
    make_tenant,
    make_user,
    plan,
    product,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

# Bought on 31 January 2026 at noon in Amsterdam, so that every month has its own last day.
BOUGHT = datetime(2026, 1, 31, 11, 0, tzinfo=UTC)
SOON = BOUGHT + timedelta(days=2)


# What these changes could break; charging is another sweep's.
NUMBERS = ("I-01", "I-05", "I-06", "I-08", "I-10", "I-11", "I-12", "I-14", "I-19")


def midnight(year: int, month: int, day: int) -> datetime:
    """Local midnight in Amsterdam."""
    return datetime(year, month, day, tzinfo=ZoneInfo("Europe/Amsterdam")).astimezone(UTC)


def broken(at: datetime) -> list[Violation]:
    return violations(at=at, only=NUMBERS)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat")


@pytest.fixture
def subscription(pat: User) -> Subscription:
    return make_self_service_subscription(pat, quantity=10, at=BOUGHT)


def now_of(subscription: Subscription) -> Subscription:
    with tenant_atomic(subscription.tenant_id):
        return Subscription.objects.select_related("plan", "next_plan").get(pk=subscription.pk)


def set_row(subscription: Subscription, **values: Any) -> None:
    with tenant_atomic(subscription.tenant_id):
        Subscription.objects.filter(pk=subscription.pk).update(**values)


def seats(user: User, subscription: Subscription, quantity: int, **changes: Any) -> Subscription:
    values = {"quantity": quantity, "version": now_of(subscription).version, "at": SOON} | changes
    return schedule_seats(actor=actor_of(user, at=values["at"]), key=subscription.key, **values)


def next_plan(user: User, subscription: Subscription, to: Plan, **changes: Any) -> Subscription:
    values = {"plan": to, "version": now_of(subscription).version, "at": SOON} | changes
    return schedule_plan(actor=actor_of(user, at=values["at"]), key=subscription.key, **values)


def scheduled(subscription: Subscription) -> tuple[int | None, str | None]:
    row = now_of(subscription)
    return row.next_quantity, row.next_plan.code if row.next_plan else None


def events(subscription: Subscription) -> list[str]:
    with tenant_atomic(subscription.tenant_id):
        rows = SubscriptionEvent.objects.filter(subscription=subscription).order_by("id")
        return [code for code in rows.values_list("code", flat=True) if code != "license_assigned"]


def bills(subscription: Subscription) -> list[tuple[str, int, int]]:
    """Type, seats and amount without tax of each bill, in order."""
    with tenant_atomic(subscription.tenant_id):
        rows = Bill.objects.filter(subscription=subscription).order_by("id")
        return [(bill.type, bill.lines.get().quantity, bill.subtotal_minor) for bill in rows]


# --- Scheduling ----------------------------------------------------------------------------------------------


def test_schedules_a_number_with_history_audit_and_mail(pat: User, subscription: Subscription) -> None:
    seats(pat, subscription, 8)

    row = now_of(subscription)
    assert (row.quantity, row.next_quantity, row.version) == (10, 8, subscription.version + 1)
    assert events(subscription) == ["purchased", "quantity_scheduled"]
    with tenant_atomic(pat.tenant_id):
        audit = AuditEntry.objects.get(code="commerce.quantity.scheduled")
        assert (audit.before["next_quantity"], audit.after["next_quantity"]) == (None, 8)
        mail = OutgoingMail.objects.get(kind="seats_changed")
        assert (mail.to_user_id, mail.context["quantity_before"], mail.context["quantity"]) == (pat.pk, 10, 8)


def test_another_number_replaces_the_first_and_the_present_one_takes_it_back(
    pat: User, subscription: Subscription
) -> None:
    seats(pat, subscription, 8)
    seats(pat, subscription, 12)
    assert scheduled(subscription) == (12, None)

    seats(pat, subscription, 10)

    assert scheduled(subscription) == (None, None)
    assert events(subscription)[1:] == [
        "quantity_scheduled",
        "quantity_scheduled",
        "quantity_schedule_revoked",
    ]


def test_the_same_number_twice_is_written_once(pat: User, subscription: Subscription) -> None:
    seats(pat, subscription, 8)

    seats(pat, subscription, 8)

    assert events(subscription) == ["purchased", "quantity_scheduled"]


@pytest.mark.parametrize(
    ("row", "quantity", "error"),
    [
        ({"assigned": 7}, 6, BelowAssigned),
        ({"disputed_at": SOON}, 11, Disputed),
        ({"recurring_billing": False}, 8, NoRenewal),
        ({"state": "expired"}, 8, NotChangeable),
        ({"channel": "trial"}, 8, NotChangeable),
        ({}, 0, Malformed),
        ({}, 301, Malformed),
        ({"version": 9}, 8, Conflict),
    ],
)
def test_refuses_a_number_with_its_reason_and_changes_nothing(
    pat: User, subscription: Subscription, row: dict[str, Any], quantity: int, error: type[Exception]
) -> None:
    set_row(subscription, **row)

    with pytest.raises(error):
        seats(pat, subscription, quantity, version=subscription.version)

    assert scheduled(subscription) == (None, None)
    assert events(subscription) == ["purchased"]


def test_a_contested_charge_does_not_stop_fewer(pat: User, subscription: Subscription) -> None:
    set_row(subscription, disputed_at=SOON)

    seats(pat, subscription, 8)

    assert scheduled(subscription) == (8, None)


def test_a_policy_stops_more_and_not_fewer(contoso: Tenant, pat: User, subscription: Subscription) -> None:
    gina = make_user(contoso, roles=(Role.GLOBAL_ADMIN,))
    set_product_policy(
        actor=actor_of(gina, at=SOON), product_keys=product_keys(product()), value="Disabled", at=SOON
    )

    with pytest.raises(NotEligible):
        seats(pat, subscription, 12)
    seats(pat, subscription, 8)

    assert scheduled(subscription) == (8, None)


def test_refuses_while_the_renewal_is_due(pat: User, subscription: Subscription) -> None:
    with pytest.raises(RenewalUnderWay):
        seats(pat, subscription, 8, at=subscription.term_end)


def test_who_does_not_own_it_may_not(contoso: Tenant, pat: User, subscription: Subscription) -> None:
    gina, bob = make_user(contoso, roles=(Role.GLOBAL_ADMIN,)), make_user(contoso)
    for user, error in ((gina, NotAllowed), (bob, NotVisible)):
        with pytest.raises(error):
            seats(user, subscription, 8)
        with pytest.raises(error):
            next_plan(user, subscription, plan(code="yearly"))
        with pytest.raises(error):
            revoke_scheduled(actor=actor_of(user), key=subscription.key, what="quantity", version=0, at=SOON)

    assert scheduled(subscription) == (None, None)


def test_schedules_a_plan_and_takes_it_back(pat: User, subscription: Subscription) -> None:
    next_plan(pat, subscription, plan(code="yearly"))
    assert scheduled(subscription) == (None, "yearly")

    next_plan(pat, subscription, plan(code="monthly"))

    assert scheduled(subscription) == (None, None)
    assert events(subscription) == ["purchased", "plan_scheduled", "plan_schedule_revoked"]


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"recurring_billing": False}, NoRenewal),
        ({"state": "disabled"}, NotChangeable),
        ({"version": 9}, Conflict),
    ],
)
def test_refuses_a_plan_with_its_reason(
    pat: User, subscription: Subscription, row: dict[str, Any], error: type[Exception]
) -> None:
    set_row(subscription, **row)

    with pytest.raises(error):
        next_plan(pat, subscription, plan(code="yearly"), version=subscription.version)

    assert scheduled(subscription) == (None, None)


def test_no_swap_to_another_product(pat: User, subscription: Subscription) -> None:
    with pytest.raises(Malformed):
        next_plan(pat, subscription, plan("visio-plan-1", "monthly"))


def test_a_central_one_changes_only_to_a_plan_that_was_agreed(contoso: Tenant) -> None:
    bill = make_user(contoso, roles=(Role.BILLING_ADMIN,))
    central = make_central_subscription(bill, quantity=25, at=BOUGHT)

    with pytest.raises(Malformed):
        next_plan(bill, central, plan(code="yearly"))

    with tenant_atomic(contoso.pk):
        AgreementPrice.objects.create(
            tenant=contoso,
            agreement_id=central.agreement_id,
            plan=plan(code="yearly"),
            currency="EUR",
            unit_price_minor=9_000,
        )
    next_plan(bill, central, plan(code="yearly"))
    assert scheduled(central) == (None, "yearly")


def test_taking_back_leaves_the_other_one(pat: User, subscription: Subscription) -> None:
    seats(pat, subscription, 8)
    next_plan(pat, subscription, plan(code="yearly"))

    revoke_scheduled(
        actor=actor_of(pat, at=SOON),
        key=subscription.key,
        what="quantity",
        version=now_of(subscription).version,
        at=SOON,
    )

    assert scheduled(subscription) == (None, "yearly")


def test_taking_back_what_is_not_there_does_nothing(pat: User, subscription: Subscription) -> None:
    revoke_scheduled(actor=actor_of(pat, at=SOON), key=subscription.key, what="plan", version=0, at=SOON)

    assert now_of(subscription).version == subscription.version


def test_recurring_billing_off_lets_both_fall_away(pat: User, subscription: Subscription) -> None:
    seats(pat, subscription, 8)
    next_plan(pat, subscription, plan(code="yearly"))

    set_recurring_billing(
        actor=actor_of(pat, at=SOON),
        key=subscription.key,
        on=False,
        version=now_of(subscription).version,
        at=SOON,
    )

    assert scheduled(subscription) == (None, None)
    assert events(subscription)[-2:] == ["recurring_billing_off", "scheduled_changes_dropped"]
    with tenant_atomic(pat.tenant_id):
        facts = SubscriptionEvent.objects.get(code="scheduled_changes_dropped").facts
    assert facts == {"next_quantity": 8, "next_plan": "yearly"}


# --- The renewal makes them ----------------------------------------------------------------------------------


def test_the_renewal_bills_the_scheduled_number_and_forgets_it(pat: User, subscription: Subscription) -> None:
    seats(pat, subscription, 8)

    renew_due(at=subscription.term_end)

    row = now_of(subscription)
    assert (row.quantity, row.next_quantity, row.period_price_minor) == (8, None, 7_520)
    assert bills(subscription) == [("purchase", 10, 9_400), ("renewal", 8, 7_520)]
    with tenant_atomic(pat.tenant_id):
        order = Order.objects.get(type="remove_seats")
        line = OrderLine.objects.get(order=order)
        assert (line.quantity, line.unit_price_minor, line.amount_minor) == (-2, 940, -1_880)
        assert Bill.objects.get(type="renewal").order_id == order.pk
        event = SubscriptionEvent.objects.get(code="quantity_changed")
        assert (event.facts["before"], event.facts["quantity"]) == (10, 8)
        assert AuditEntry.objects.filter(code="commerce.subscription.quantity_changed").count() == 1
    assert broken(subscription.term_end) == []


def test_more_seats_at_the_renewal_are_an_order_of_their_own(pat: User, subscription: Subscription) -> None:
    seats(pat, subscription, 14)

    renew_due(at=subscription.term_end)

    assert now_of(subscription).quantity == 14
    with tenant_atomic(pat.tenant_id):
        assert OrderLine.objects.get(order__type="add_seats").quantity == 4


def test_the_next_renewal_is_an_ordinary_one(pat: User, subscription: Subscription) -> None:
    seats(pat, subscription, 8)

    renew_due(at=midnight(2026, 4, 30))

    assert bills(subscription) == [
        ("purchase", 10, 9_400),
        ("renewal", 8, 7_520),
        ("renewal", 8, 7_520),
        ("renewal", 8, 7_520),
    ]
    with tenant_atomic(pat.tenant_id):
        assert Order.objects.count() == 2


def test_inside_a_term_nothing_scheduled_happens(pat: User) -> None:
    yearly = make_self_service_subscription(pat, plan=plan(code="yearly-monthly"), quantity=10, at=BOUGHT)
    seats(pat, yearly, 8)
    next_plan(pat, yearly, plan(code="monthly"))

    renew_due(at=midnight(2026, 12, 31))

    row = now_of(yearly)
    assert (row.quantity, row.next_quantity, row.plan.code) == (10, 8, "yearly-monthly")
    assert [kind for kind, *_rest in bills(yearly)] == ["purchase", *["monthly_charge"] * 11]

    renew_due(at=midnight(2027, 1, 31))

    row = now_of(yearly)
    assert (row.quantity, row.next_quantity, row.plan.code, row.term_months) == (8, None, "monthly", 1)
    assert bills(yearly)[-1] == ("renewal", 8, 7_520)
    assert broken(midnight(2027, 1, 31)) == []


def test_a_plan_changes_from_monthly_to_yearly_and_back_by_the_same_anchor(
    pat: User, subscription: Subscription
) -> None:
    next_plan(pat, subscription, plan(code="yearly"))

    renew_due(at=midnight(2026, 2, 28))

    row = now_of(subscription)
    assert (row.plan.code, row.billing_months, row.term_months) == ("yearly", 12, 12)
    assert (row.anchor_date, row.offset_months, row.period_index) == (date(2026, 1, 31), 1, 0)
    assert (row.period_start, row.period_end) == (midnight(2026, 2, 28), midnight(2027, 2, 28))
    assert row.term_end == row.due_at == row.period_end
    assert broken(midnight(2026, 2, 28)) == []

    at = midnight(2026, 6, 1)
    next_plan(pat, subscription, plan(code="monthly"), at=at)
    renew_due(at=midnight(2027, 5, 1))

    row = now_of(subscription)
    # 31 January still is the anchor: 31 March and 30 April, not the 28th.
    assert (row.plan.code, row.offset_months, row.period_index) == ("monthly", 13, 2)
    with tenant_atomic(pat.tenant_id):
        begun = list(Bill.objects.order_by("id").values_list("period_start", flat=True))
    assert begun == [
        midnight(2026, 1, 31),
        midnight(2026, 2, 28),
        midnight(2027, 2, 28),
        midnight(2027, 3, 31),
        midnight(2027, 4, 30),
    ]
    assert broken(midnight(2027, 5, 1)) == []


def test_a_changed_plan_costs_the_list_price_of_its_day(pat: User, subscription: Subscription) -> None:
    make_price(plan(code="yearly"), unit_price_minor=12_345, valid_from=midnight(2026, 2, 20))
    next_plan(pat, subscription, plan(code="yearly"))

    renew_due(at=midnight(2026, 2, 28))

    assert bills(subscription)[-1] == ("renewal", 10, 123_450)
    with tenant_atomic(pat.tenant_id):
        line = OrderLine.objects.get(order__type="plan_change")
    assert (line.quantity, line.unit_price_minor, line.amount_minor) == (0, 12_345, 0)
    assert events(subscription)[-2:] == ["renewed", "plan_changed"]


def test_number_and_plan_change_together_by_one_order(pat: User, subscription: Subscription) -> None:
    seats(pat, subscription, 8)
    next_plan(pat, subscription, plan(code="yearly-monthly"))

    renew_due(at=midnight(2026, 2, 28))

    row = now_of(subscription)
    assert (row.quantity, row.plan.code, row.period_end) == (8, "yearly-monthly", midnight(2026, 3, 31))
    assert row.term_end == midnight(2027, 2, 28)
    with tenant_atomic(pat.tenant_id):
        assert OrderLine.objects.get(order__type="plan_change").quantity == -2


def test_a_central_plan_change_costs_what_was_agreed(contoso: Tenant) -> None:
    bill = make_user(contoso, roles=(Role.BILLING_ADMIN,))
    agreement = make_agreement(contoso, unit_price_minor=800)
    with tenant_atomic(contoso.pk):
        AgreementPrice.objects.create(
            tenant=contoso,
            agreement=agreement,
            plan=plan(code="yearly"),
            currency="EUR",
            unit_price_minor=9_000,
        )
    central = make_central_subscription(bill, quantity=25, at=BOUGHT)
    next_plan(bill, central, plan(code="yearly"))

    renew_due(at=midnight(2026, 2, 28))

    assert bills(central)[-1] == ("renewal", 25, 225_000)


def test_a_plan_that_lost_its_price_parks_the_renewal(pat: User, subscription: Subscription) -> None:
    next_plan(pat, subscription, plan(code="yearly"))
    with use_login("owner"):
        Price.objects.filter(plan=plan(code="yearly"), market="NL").delete()

    swept = renew_due(at=midnight(2026, 2, 28))

    assert (swept.moved, swept.parked) == (0, 1)
    row = now_of(subscription)
    assert row.parked_reason == "There is no price for its plan in market NL."
    assert (row.plan.code, scheduled(subscription)) == ("monthly", (None, "yearly"))


def test_two_renewals_at_once_make_the_change_once(pat: User, subscription: Subscription) -> None:
    seats(pat, subscription, 8)

    first, second = renew_due(at=midnight(2026, 2, 28)), renew_due(at=midnight(2026, 2, 28))

    assert (first.moved, second.moved) == (1, 0)
    with tenant_atomic(pat.tenant_id):
        assert Order.objects.count() == 2


def test_what_ends_has_nothing_scheduled(pat: User, subscription: Subscription) -> None:
    seats(pat, subscription, 8)
    set_recurring_billing(
        actor=actor_of(pat, at=SOON),
        key=subscription.key,
        on=False,
        version=now_of(subscription).version,
        at=SOON,
    )

    expire_due(at=midnight(2026, 2, 28))

    row = now_of(subscription)
    assert (row.state, row.quantity, row.next_quantity) == ("expired", 10, None)
    assert broken(midnight(2026, 2, 28)) == []
