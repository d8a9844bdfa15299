"""Taking over against whatever else happens to a purchase at that moment: one order of things, no money twice (F-19)."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from commerce.models import Bill, Order, Payment, Subscription
from commerce.operations.bills import BillNotOpen
from commerce.operations.cancellations import (
    AlreadyStopped,
    NothingToCancel,
    cancel_subscription,
    quote_cancellation,
)
from commerce.operations.corrections import BeingPaid
from commerce.operations.payments import BillPaid, Pending, pay_bill
from commerce.operations.renewals import renew_due
from commerce.operations.takeovers import take_over
from commerce.queries.takeovers import plan_take_over
from config.invariants import violations
from config.kit.errors import Conflict, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from tests.concurrency.test_refunds import patiently
from tests.concurrency.threads import all_at_once
from tests.factories import (
    AT,
    actor_of,
    make_agreement,
    make_self_service_subscription,
    make_tenant,
    make_user,
)
from tests.processor import card_token, charges

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

RENEWS = datetime(2026, 4, 10, 6, tzinfo=UTC)


@pytest.fixture
def contoso() -> Tenant:
    tenant = make_tenant(name="Contoso")
    make_agreement(tenant)
    return tenant


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat")


@pytest.fixture
def bill(contoso: Tenant) -> User:
    return make_user(contoso, roles=("billing_admin",))


@pytest.fixture
def bought(pat: User) -> Subscription:
    subscription = make_self_service_subscription(pat)
    with tenant_atomic(pat.tenant_id):
        pat.refresh_from_db()
    return subscription


def test_of_twenty_take_overs_at_once_one_is_made(bill: User, bought: Subscription) -> None:
    renew_due(at=RENEWS)
    actor = actor_of(bill)
    with tenant_atomic(bill.tenant_id):
        bought.refresh_from_db()
        seen = plan_take_over(bought).seen

    def take(_n: int) -> bool:
        return patiently(
            lambda: take_over(actor=actor, key=bought.key, version=bought.version, seen=seen, at=RENEWS)
        ).is_organizations

    assert all_at_once(take, count=20) == [True] * 20
    with tenant_atomic(bill.tenant_id):
        assert Order.objects.filter(type="take_over").count() == 1
        assert Counter(Bill.objects.values_list("type", "status")) == {
            ("purchase", "paid"): 1,
            ("renewal", "credited"): 1,
            ("take_over", "credited"): 1,
            ("renewal", "open"): 1,
        }
    assert violations(at=RENEWS) == []


@pytest.mark.parametrize("_round", range(3))
def test_a_take_over_and_the_purchasers_cancellation_never_both_count_on_the_old_state(
    pat: User, bill: User, bought: Subscription, _round: int
) -> None:
    with tenant_atomic(bill.tenant_id):
        seen = plan_take_over(bought).seen
        ending = quote_cancellation(subscription=bought, at=AT).seen
    purchaser, admin = actor_of(pat), actor_of(bill)

    def work(n: int) -> str:
        try:
            if n % 2:
                patiently(
                    lambda: take_over(actor=admin, key=bought.key, version=bought.version, seen=seen, at=AT)
                )
                return "taken"
            patiently(
                lambda: cancel_subscription(
                    actor=purchaser, key=bought.key, version=bought.version, seen=ending, at=AT
                )
            )
        except (Conflict, NotVisible, NotAllowed, NothingToCancel, AlreadyStopped):
            return "refused"
        return "canceled"

    answers = Counter(all_at_once(work, count=2))

    assert answers in (Counter({"taken": 1, "refused": 1}), Counter({"canceled": 1, "refused": 1}))
    with tenant_atomic(bill.tenant_id):
        row = Subscription.objects.get(pk=bought.pk)
    assert row.is_organizations == (answers["taken"] == 1)
    assert (row.state == "disabled") == (answers["canceled"] == 1)
    assert violations(at=AT) == []


@pytest.mark.usefixtures("empty_processor")
@pytest.mark.parametrize("_round", range(3))
def test_a_bill_that_is_paid_at_that_moment_is_paid_or_moved_and_never_both(
    pat: User, bill: User, bought: Subscription, _round: int
) -> None:
    renew_due(at=RENEWS)
    with tenant_atomic(bill.tenant_id):
        bought.refresh_from_db()
        seen = plan_take_over(bought).seen
        number = Bill.objects.get(type="renewal").number
    purchaser, admin, token = actor_of(pat), actor_of(bill), card_token("pm_card_visa")

    def work(n: int) -> str:
        try:
            if n % 2:
                patiently(
                    lambda: take_over(
                        actor=admin, key=bought.key, version=bought.version, seen=seen, at=RENEWS
                    )
                )
                return "taken"
            outcome = patiently(
                lambda: pay_bill(actor=purchaser, number=number, confirmation_token=token, at=RENEWS)
            )
        except (BillNotOpen, BeingPaid, Conflict):
            return "refused"
        assert isinstance(outcome, (BillPaid, Pending))
        return "paid"

    answers = Counter(all_at_once(work, count=2))

    with tenant_atomic(bill.tenant_id):
        old = Bill.objects.get(number=number)
        moved = Bill.objects.filter(replaces=old).count()
        payments = Payment.objects.filter(bill=old).count()
    assert (old.status, moved, payments) in (("paid", 0, 1), ("credited", 1, 0))
    assert charges(bill=number) == payments
    assert answers["paid"] == payments
    assert violations(at=RENEWS) == []


@pytest.mark.parametrize("_round", range(3))
def test_the_renewal_of_that_moment_bills_one_payer_once(
    bill: User, bought: Subscription, _round: int
) -> None:
    with tenant_atomic(bill.tenant_id):
        seen = plan_take_over(bought).seen
    admin = actor_of(bill)

    def work(n: int) -> str:
        if n % 2:
            renew_due(at=RENEWS)
            return "renewed"
        try:
            patiently(
                lambda: take_over(actor=admin, key=bought.key, version=bought.version, seen=seen, at=RENEWS)
            )
        except Conflict:
            return "refused"
        return "taken"

    answers = Counter(all_at_once(work, count=2))
    renew_due(at=RENEWS)

    with tenant_atomic(bill.tenant_id):
        row = Subscription.objects.get(pk=bought.pk)
        renewal = Bill.objects.get(type="renewal")
    assert row.is_organizations == (answers["taken"] == 1)
    assert (renewal.payer_id is None) == row.is_organizations
    assert renewal.collection == ("on_account" if row.is_organizations else "card")
    assert violations(at=RENEWS) == []
