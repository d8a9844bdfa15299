"""Bills on account: booked by staff, past due when their last day is over (product §6)."""

import uuid
from datetime import datetime, time, timedelta
from io import StringIO
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command

from commerce.documents import sheet_of
from commerce.models import Bill, Payment, PaymentAttempt, Subscription, SubscriptionEvent
from commerce.operations.cancellations import quote_cancellation
from commerce.operations.central import Choice, buy_centrally, quote_purchase
from commerce.operations.changes import NothingToRefund, add_seats_on_account, quote_removal
from commerce.operations.on_account import mark_past_due, tell_of_bills
from commerce.operations.renewals import renew_due
from commerce.queries.bills import document
from commerce.queries.cancellations import Ending
from config.invariants import violations
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, OutgoingMail, User
from directory.operations.outbox import message_of
from tests.factories import (
    AT,
    actor_of,
    make_agreement,
    make_central_subscription,
    make_self_service_subscription,
    make_tenant,
    make_user,
    plan,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


@pytest.fixture
def central() -> Subscription:
    return make_central_subscription(make_user(make_tenant(), roles=("billing_admin",)))


def the_bill(subscription: Subscription) -> Bill:
    with tenant_atomic(subscription.tenant_id):
        return Bill.objects.get(subscription=subscription)


def test_staff_book_a_transfer_with_its_reference_in_the_trail(central: Subscription) -> None:
    said = StringIO()

    call_command("book_payment", "SK-NL-2026-000001", reference=" Statement 12 ", staff="Sven", stdout=said)

    bill = the_bill(central)
    with tenant_atomic(central.tenant_id):
        payment = Payment.objects.get()
        entry = AuditEntry.objects.get(code="commerce.bill.paid")
        told = SubscriptionEvent.objects.order_by("-id")[0]
    assert (bill.status, bill.paid_minor) == ("paid", 24_200)
    assert (payment.amount_minor, payment.reference, payment.attempt) == (24_200, "Statement 12", None)
    assert (entry.actor_label, entry.door) == ("Sven", "cli")
    assert (told.code, told.actor_label) == ("paid", "Sven")
    assert said.getvalue() == "SK-NL-2026-000001: EUR 24200 (minor units) booked.\n"
    assert violations(at=AT, only=["I-07", "I-15"]) == []


@pytest.mark.parametrize(
    ("number", "reference", "why"),
    [
        ("SK-NL-2026-000001", "  ", "reference"),
        ("SK-NL-2026-000001", "x" * 101, "reference"),
        ("SK-NL-2026-999999", "12", "Not found"),
    ],
)
def test_refuses_what_makes_no_sense(central: Subscription, number: str, reference: str, why: str) -> None:
    with pytest.raises(CommandError, match=why):
        call_command("book_payment", number, reference=reference)

    assert the_bill(central).status == "open"


def test_refuses_a_bill_by_card_and_one_that_is_paid(central: Subscription) -> None:
    make_self_service_subscription(make_user(central.tenant))
    call_command("book_payment", "SK-NL-2026-000001", reference="12", stdout=StringIO())

    with pytest.raises(CommandError, match="by card"):
        call_command("book_payment", "SK-NL-2026-000002", reference="12")
    with pytest.raises(CommandError):
        call_command("book_payment", "SK-NL-2026-000001", reference="13")

    with tenant_atomic(central.tenant_id):
        assert Payment.objects.filter(bill__number="SK-NL-2026-000001").count() == 1


def test_refuses_while_a_card_is_being_charged(central: Subscription) -> None:
    bill = the_bill(central)
    with tenant_atomic(central.tenant_id):
        PaymentAttempt.objects.create(
            tenant_id=central.tenant_id,
            bill=bill,
            key="att_under_way",
            amount_minor=bill.total_minor,
            currency="EUR",
            created_at=AT,
            updated_at=AT,
        )

    with pytest.raises(CommandError, match="being charged"):
        call_command("book_payment", bill.number, reference="12")

    assert the_bill(central).status == "open"


def test_a_bill_is_past_due_when_its_last_day_is_over_and_access_stays(central: Subscription) -> None:
    zone = ZoneInfo(central.time_zone)
    midnight = datetime.combine(
        the_bill(central).due_at.astimezone(zone).date() + timedelta(days=1), time(), tzinfo=zone
    )

    early = mark_past_due(at=midnight - timedelta(seconds=1))
    first, again = mark_past_due(at=midnight), mark_past_due(at=midnight)

    assert (early, first, again) == (0, 1, 0)
    assert the_bill(central).status == "past_due"
    with tenant_atomic(central.tenant_id):
        assert AuditEntry.objects.filter(code="commerce.bill.became_past_due").count() == 1
        assert Subscription.objects.get().state == "active"


def test_a_past_due_bill_can_still_be_booked(central: Subscription) -> None:
    mark_past_due(at=the_bill(central).due_at + timedelta(days=1))

    call_command("book_payment", "SK-NL-2026-000001", reference="12", stdout=StringIO())

    assert the_bill(central).status == "paid"


def test_an_open_card_bill_is_not_touched() -> None:
    subscription = make_self_service_subscription(make_user(make_tenant()))

    assert mark_past_due(at=AT + timedelta(days=400)) == 0
    assert the_bill(subscription).status == "paid"


def told(subscription: Subscription) -> list[tuple[str, str]]:
    """Kind and day of every mail about a bill."""
    with tenant_atomic(subscription.tenant_id):
        rows = OutgoingMail.objects.filter(kind__startswith="bill_").order_by("id")
        return [(row.kind, f"{row.created_at:%m-%d}") for row in rows]


def test_the_admins_are_told_when_it_is_issued_due_and_overdue_each_time_once(central: Subscription) -> None:
    for day in range(80):
        at = AT + timedelta(days=day)
        mark_past_due(at=at)
        tell_of_bills(at=at)
        tell_of_bills(at=at)

    # Issued on 10 March with 30 days to pay.
    assert told(central) == [
        ("bill_issued", "03-10"),
        ("bill_due", "04-02"),
        ("bill_overdue", "04-10"),
        ("bill_overdue", "04-17"),
        ("bill_overdue", "05-01"),
        ("bill_overdue", "05-15"),
    ]
    assert the_bill(central).next_dunning_at is None
    with tenant_atomic(central.tenant_id):
        assert Subscription.objects.get(pk=central.pk).state == "active"
        messages = [
            message_of(row) for row in OutgoingMail.objects.filter(kind__startswith="bill_").order_by("id")
        ]
    assert messages[0].subject == "Bill SK-NL-2026-000001 for Power BI Pro: €242.00"
    assert "9 Apr 2026" in messages[1].body
    assert "Nobody loses access because of it." in messages[2].body
    for message in messages:
        assert "/admin/billing/bills/SK-NL-2026-000001/" in message.body
    assert violations(at=AT, only=["I-15", "I-19"]) == []


def test_nothing_more_is_told_of_a_bill_that_is_paid(central: Subscription) -> None:
    tell_of_bills(at=AT)
    call_command("book_payment", "SK-NL-2026-000001", reference="12", stdout=StringIO())

    for day in (25, 31, 60):
        mark_past_due(at=AT + timedelta(days=day))
        tell_of_bills(at=AT + timedelta(days=day))

    assert told(central) == [("bill_issued", "03-10")]


def test_a_bill_by_card_is_never_told_of_as_one_on_account(central: Subscription) -> None:
    make_self_service_subscription(make_user(central.tenant))

    tell_of_bills(at=AT)

    assert len(told(central)) == 1


# --- Free licenses under an agreement -----------------------------------------------------------------------------


@pytest.fixture
def bill() -> User:
    return make_user(make_tenant(), roles=("billing_admin",))


@pytest.fixture
def free(bill: User) -> Subscription:
    make_agreement(bill.tenant, unit_price_minor=0)
    return make_central_subscription(bill)


def test_a_bill_over_nothing_is_paid_as_it_is_issued_and_nobody_is_asked_for_it(
    bill: User, free: Subscription
) -> None:
    renewed = free.period_end
    renew_due(at=renewed)
    with tenant_atomic(bill.tenant_id):
        row = Subscription.objects.get(pk=free.pk)
    add_seats_on_account(
        actor=actor_of(bill, at=renewed),
        key=free.key,
        quantity=30,
        version=row.version,
        seen_total_minor=0,
        at=renewed,
    )
    for days in (1, 31, 40, 60, 80):
        mark_past_due(at=renewed + timedelta(days=days))
        tell_of_bills(at=renewed + timedelta(days=days))

    with tenant_atomic(bill.tenant_id):
        bills = Bill.objects.order_by("id").values_list("type", "status", "total_minor", "paid_at")
        assert list(bills) == [
            ("purchase", "paid", 0, AT),
            ("renewal", "paid", 0, renewed),
            ("add_seats", "paid", 0, renewed),
        ]
        assert not Payment.objects.exists()
        assert not OutgoingMail.objects.filter(kind__startswith="bill_").exists()
    assert violations(at=renewed) == []


def test_free_licenses_stop_at_the_end_of_their_term_since_nothing_comes_back(free: Subscription) -> None:
    with tenant_atomic(free.tenant_id):
        cancellation = quote_cancellation(subscription=free, at=AT).plan
        with pytest.raises(NothingToRefund, match="Nothing would be refunded"):
            quote_removal(subscription=free, quantity=20, at=AT)

    assert (cancellation.ending, cancellation.removable) == (Ending.AT_TERM, 0)


def test_the_paper_of_a_bill_over_nothing_says_that_nothing_is_to_be_paid(
    bill: User, free: Subscription
) -> None:
    number = the_bill(free).number
    with tenant_atomic(bill.tenant_id):
        paper = sheet_of(document(actor_of(bill), number))

    assert paper["payment"]["lines"] == ["Nothing was paid, and nothing is to be paid."]


def test_the_mail_of_a_free_purchase_announces_no_bill_that_is_due(bill: User) -> None:
    make_user(bill.tenant, roles=("global_admin",))
    make_agreement(bill.tenant, unit_price_minor=0)
    actor, choice = actor_of(bill), Choice(plan=plan(), quantity=5)
    with tenant_atomic(bill.tenant_id):
        seen = quote_purchase(actor=actor, choice=choice, at=AT).seen

    buy_centrally(actor=actor, choice=choice, seen=seen, key=uuid.uuid4(), at=AT)

    with tenant_atomic(bill.tenant_id):
        body = str(message_of(OutgoingMail.objects.get(kind="central_purchase")).body)
    assert "at your agreement's price. There is nothing to pay." in body
    assert "is due" not in body
