"""Fewer seats at once: which go, what is given back, what refuses (product §5.4, §5.5; I-05, I-07)."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from commerce.models import Bill, BillLine, Order, OrderLine, Refund, Subscription, SubscriptionEvent
from commerce.operations.changes import (
    BelowAssigned,
    Disputed,
    NotChangeable,
    NothingToRefund,
    WindowOver,
    add_seats_on_account,
    quote_addition,
    quote_removal,
    remove_seats,
    schedule_seats,
    start_adding_seats,
)
from commerce.operations.checkouts import PriceChanged
from commerce.operations.payments import charge_bill, pay_change, pay_checkout
from commerce.operations.renewals import renew_due
from config.invariants import violations
from config.kit.errors import Conflict, Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry, OutgoingMail, Tenant, User
from directory.permissions import Role
from tests.factories import (
    actor_of,
    make_agreement,
    make_central_subscription,
    make_checkout,
    make_tenant,
    make_user,
)
from tests.processor import card_token, charges, fault

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]

# 1 March 2026, ten in the morning in Amsterdam: a period of 31 days.
BOUGHT = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def on(day: int, hour: int = 12) -> datetime:
    return datetime(2026, 3, day, hour, 0, tzinfo=UTC)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat")


@pytest.fixture
def subscription(pat: User) -> Subscription:
    """Ten seats at 9.40, bought and paid on 1 March."""
    checkout = make_checkout(pat, quantity=10, at=BOUGHT)
    pay_checkout(actor=actor_of(pat, at=BOUGHT), key=checkout.key, confirmation_token=card_token(), at=BOUGHT)
    with tenant_atomic(pat.tenant_id):
        pat.refresh_from_db()
        return Subscription.objects.get()


@pytest.fixture
def central(contoso: Tenant) -> Subscription:
    """Twenty-five seats at 10.00 on account, bought on 1 March."""
    make_agreement(contoso, unit_price_minor=1_000)
    bill = make_user(contoso, name="Bill", roles=(Role.BILLING_ADMIN,))
    return make_central_subscription(bill, quantity=25, at=BOUGHT)


def now_of(subscription: Subscription) -> Subscription:
    with tenant_atomic(subscription.tenant_id):
        return Subscription.objects.select_related("product", "agreement").get(pk=subscription.pk)


def remove(user: User, subscription: Subscription, quantity: int, day: datetime, **changes: object) -> object:
    """Remove as the page does: what was shown is what is given back."""
    row = now_of(subscription)
    with tenant_atomic(subscription.tenant_id):
        shown = quote_removal(subscription=row, quantity=quantity, at=day).total_minor
    values = {"quantity": quantity, "version": row.version, "seen_total_minor": shown, "at": day}
    return remove_seats(actor=actor_of(user, at=day), key=subscription.key, **(values | changes))  # type: ignore[arg-type]


def add(user: User, subscription: Subscription, quantity: int, at: datetime) -> None:
    """Add by the saved card."""
    row, actor = now_of(subscription), actor_of(user, at=at)
    with tenant_atomic(subscription.tenant_id):
        total = quote_addition(actor=actor, subscription=row, quantity=quantity, at=at).total_minor
    change = start_adding_seats(
        actor=actor,
        key=row.key,
        intent=uuid.uuid4(),
        quantity=quantity,
        version=row.version,
        seen_total_minor=total,
        at=at,
    )
    pay_change(actor=actor, key=change.key, version=change.version, card_id=row.card_id, at=at)


def notes(subscription: Subscription) -> list[tuple[str, int, int]]:
    """Type, subtotal and total of the credit notes, in their order."""
    with tenant_atomic(subscription.tenant_id):
        rows = Bill.objects.filter(subscription=subscription, credits__isnull=False).order_by("id")
        return list(rows.values_list("type", "subtotal_minor", "total_minor"))


def refunded(subscription: Subscription) -> int:
    with tenant_atomic(subscription.tenant_id):
        return sum(Refund.objects.values_list("amount_minor", flat=True))


def why_not(subscription: Subscription, quantity: int, at: datetime) -> type[Exception]:
    """The refusal of the preview; the operation judges by the same function, under lock."""
    row = now_of(subscription)
    with tenant_atomic(subscription.tenant_id), pytest.raises(Exception) as refused:  # noqa: PT011 - returned
        quote_removal(subscription=row, quantity=quantity, at=at)
    return refused.type


def test_seats_inside_their_window_go_at_once_and_their_unused_days_come_back(
    pat: User, subscription: Subscription
) -> None:
    remove(pat, subscription, 8, on(4))

    row = now_of(subscription)
    assert (row.quantity, row.period_price_minor, row.version) == (8, 7_520, subscription.version + 1)
    # 10 x 9.40 x 27/31 less 8 x 9.40 x 27/31, and 21 % VAT.
    assert notes(subscription) == [("remove_seats", -1_637, -1_981)]
    assert refunded(subscription) == 1_981
    with tenant_atomic(pat.tenant_id):
        order = Order.objects.get(type="remove_seats")
        line = OrderLine.objects.get(order=order)
        note = BillLine.objects.get(bill__order=order)
        bill = Bill.objects.get(type="purchase")
        event = SubscriptionEvent.objects.get(code="seats_removed")
        assert (line.quantity, line.unit_price_minor, line.amount_minor) == (-2, 940, -1_637)
        assert (note.quantity, note.service_start) == (-2, datetime(2026, 3, 4, 23, tzinfo=UTC))
        assert (bill.status, bill.credited_minor, bill.refunded_minor) == ("paid", 1_981, 1_981)
        assert (event.facts["count"], event.facts["quantity"], event.actor_label) == (2, 8, "Pat")
        assert AuditEntry.objects.filter(code="commerce.seats.removed").count() == 1
        mail = OutgoingMail.objects.get(kind="seats_changed")
        assert (mail.context["change"], mail.context["total_minor"]) == ("removed", 1_981)


def test_the_worked_example_of_canceling_all_but_one_day_early() -> None:
    """10 x 10.00 bought 1 March: 87.10 come back on 4 March, counted here for nine and for the last one."""
    tenant = make_tenant()
    make_agreement(tenant, unit_price_minor=1_000)
    central = make_central_subscription(
        make_user(tenant, roles=(Role.BILLING_ADMIN,)), quantity=10, at=BOUGHT
    )

    with tenant_atomic(tenant.pk):
        nine = quote_removal(subscription=now_of(central), quantity=1, at=on(4)).subtotal_minor

    assert nine + 871 == 8_710  # one seat of 10.00 for 27 of 31 days is 8.71


def test_the_seats_added_last_go_first_and_older_ones_stay(pat: User, subscription: Subscription) -> None:
    add(pat, subscription, 15, on(16))

    remove(pat, subscription, 12, on(17))

    # Three of the five added on 16 March: 5 x 9.40 x 14/31 less 2 x 9.40 x 14/31.
    assert notes(subscription) == [("remove_seats", -1_274, -1_542)]
    with tenant_atomic(pat.tenant_id):
        assert Bill.objects.get(credits__isnull=False).credits == Bill.objects.get(type="add_seats")
    assert why_not(subscription, 9, on(17)) is WindowOver
    assert now_of(subscription).quantity == 12


def test_says_how_many_can_go_at_once(pat: User, subscription: Subscription) -> None:
    add(pat, subscription, 15, on(16))
    row = now_of(subscription)

    with tenant_atomic(pat.tenant_id), pytest.raises(WindowOver) as refused:
        quote_removal(subscription=row, quantity=9, at=on(17))

    assert refused.value.possible == 5


def test_removing_in_parts_gives_back_no_more_than_all_at_once(pat: User, subscription: Subscription) -> None:
    with tenant_atomic(pat.tenant_id):
        at_once = quote_removal(subscription=now_of(subscription), quantity=1, at=on(3)).total_minor

    for quantity in range(9, 0, -1):
        remove(pat, subscription, quantity, on(3))

    assert refunded(subscription) == at_once
    assert len(notes(subscription)) == 9
    assert violations(at=on(3)) == []


def test_the_window_ends_seven_times_24_hours_after_the_charge(subscription: Subscription) -> None:
    last = BOUGHT + timedelta(days=7)
    with tenant_atomic(subscription.tenant_id):
        row = now_of(subscription)
        assert quote_removal(subscription=row, quantity=9, at=last - timedelta(microseconds=1)).removed == 1

    assert why_not(subscription, 9, last) is WindowOver


def test_a_renewal_opens_the_window_of_all_seats_again(pat: User, subscription: Subscription) -> None:
    at = datetime(2026, 4, 1, 0, 30, tzinfo=UTC)
    renew_due(at=at)
    assert why_not(subscription, 9, at) is WindowOver  # not charged yet
    with tenant_atomic(pat.tenant_id):
        renewal = Bill.objects.get(type="renewal")
    with use_login("worker"):
        charge_bill(bill_id=renewal.pk, at=at)

    remove(pat, subscription, 4, datetime(2026, 4, 3, 12, tzinfo=UTC))

    # Six of ten for 27 of 30 days.
    assert notes(subscription) == [("remove_seats", -5_076, -6_142)]


def test_on_the_last_day_nothing_would_come_back(pat: User, subscription: Subscription) -> None:
    add(pat, subscription, 12, on(30))

    assert why_not(subscription, 11, on(31)) is NothingToRefund


@pytest.mark.parametrize("quantity", [0, -1, 10, 11, 2**31])
def test_refuses_numbers_that_are_not_fewer(subscription: Subscription, quantity: int) -> None:
    assert why_not(subscription, quantity, on(4)) is Malformed


def test_never_below_those_assigned(pat: User, subscription: Subscription) -> None:
    with tenant_atomic(pat.tenant_id):
        Subscription.objects.update(assigned=7)

    assert why_not(subscription, 6, on(4)) is BelowAssigned


def test_refuses_while_a_charge_is_contested(pat: User, subscription: Subscription) -> None:
    with tenant_atomic(pat.tenant_id):
        Subscription.objects.update(disputed_at=on(3))

    assert why_not(subscription, 9, on(4)) is Disputed


@pytest.mark.parametrize("state", ["scheduled", "expired", "disabled", "deleted"])
def test_refuses_what_is_not_active(pat: User, subscription: Subscription, state: str) -> None:
    with tenant_atomic(pat.tenant_id):
        Subscription.objects.update(state=state)

    assert why_not(subscription, 9, on(4)) is NotChangeable


@pytest.mark.parametrize(
    ("changes", "error"),
    [({"version": 99}, Conflict), ({"seen_total_minor": 1}, PriceChanged), ({"at": on(5)}, PriceChanged)],
)
def test_a_refused_removal_changes_nothing(
    pat: User, subscription: Subscription, changes: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        remove(pat, subscription, 8, on(4), **changes)

    row = now_of(subscription)
    assert (row.quantity, row.version, notes(subscription)) == (10, subscription.version, [])
    with tenant_atomic(pat.tenant_id):
        assert Order.objects.count() == 1


def test_who_sees_it_and_does_not_own_it_may_not(contoso: Tenant, subscription: Subscription) -> None:
    gina = make_user(contoso, roles=(Role.GLOBAL_ADMIN,))
    bob = make_user(contoso)

    with pytest.raises(NotAllowed):
        remove(gina, subscription, 8, on(4))
    with pytest.raises(NotVisible):
        remove(bob, subscription, 8, on(4))

    assert now_of(subscription).quantity == 10


def test_a_scheduled_number_falls_away(pat: User, subscription: Subscription) -> None:
    schedule_seats(
        actor=actor_of(pat, at=on(2)),
        key=subscription.key,
        quantity=5,
        version=subscription.version,
        at=on(2),
    )

    remove(pat, subscription, 8, on(4))

    assert now_of(subscription).next_quantity is None


def test_the_processor_away_leaves_the_refund_to_the_sweep(pat: User, subscription: Subscription) -> None:
    fault("error", "/v1/refunds", count=3)

    remove(pat, subscription, 8, on(4))

    assert now_of(subscription).quantity == 8
    assert refunded(subscription) == 0
    with tenant_atomic(pat.tenant_id):
        assert Bill.objects.get(credits__isnull=False).status == "open"
    assert charges() == 1


def test_an_unpaid_bill_on_account_is_credited_and_issued_anew(
    contoso: Tenant, central: Subscription
) -> None:
    bill = make_user(contoso, roles=(Role.BILLING_ADMIN,))

    remove(bill, central, 20, on(4))

    with tenant_atomic(contoso.pk):
        old, note, new = Bill.objects.filter(subscription=central).order_by("id")
        lines = list(new.lines.order_by("id").values_list("quantity", "amount_minor", "service_end"))
    assert (old.status, old.total_minor) == ("credited", 30_250)
    assert (note.type, note.status, note.total_minor) == ("remove_seats", "credited", -30_250)
    assert (new.type, new.status, new.replaces_id, new.due_at) == ("purchase", "open", old.pk, old.due_at)
    # 250.00 less five seats for 27 of 31 days (43.55): twenty for the month, five for four days.
    assert lines == [(20, 20_000, old.period_end), (5, 645, datetime(2026, 3, 4, 23, tzinfo=UTC))]
    assert (new.subtotal_minor, new.total_minor) == (20_645, 24_980)
    assert now_of(central).quantity == 20


def test_what_was_issued_anew_keeps_the_first_window(contoso: Tenant, central: Subscription) -> None:
    bill = make_user(contoso, roles=(Role.BILLING_ADMIN,))
    remove(bill, central, 20, on(4))

    remove(bill, central, 18, on(7))

    with tenant_atomic(contoso.pk):
        newest = Bill.objects.filter(subscription=central).latest("id")
        lines = list(newest.lines.order_by("id").values_list("quantity", "amount_minor"))
    # 24 of 31 days of two seats go: 15.49, the difference that they make to twenty.
    assert lines == [(5, 645), (18, 18_000), (2, 451)]
    assert violations(at=on(7)) == []
    assert why_not(central, 17, BOUGHT + timedelta(days=7)) is WindowOver


def test_seats_added_on_account_go_whole_and_only_their_used_days_are_billed(
    contoso: Tenant, central: Subscription
) -> None:
    bill = make_user(contoso, roles=(Role.BILLING_ADMIN,))
    add_seats_on_account(
        actor=actor_of(bill, at=on(16)),
        key=central.key,
        quantity=30,
        version=central.version,
        seen_total_minor=3_123,  # 25.81 and VAT: the worked example
        at=on(16),
    )

    remove(bill, central, 25, on(17))

    with tenant_atomic(contoso.pk):
        newest = Bill.objects.filter(subscription=central).latest("id")
        line = newest.lines.get()
    assert (newest.type, line.quantity, line.amount_minor) == ("add_seats", 5, 323)
    assert now_of(central).quantity == 25
