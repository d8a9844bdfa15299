"""Making the order of a charged checkout, and buying centrally (product §3.4, §5.2, §8)."""

from datetime import UTC, datetime, timedelta

import pytest

from commerce.models import Bill, BillSeries, Order, OrderLine, Payment, Subscription, SubscriptionEvent
from commerce.operations.orders import NotInAgreement, purchase_centrally
from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, Tenant, User
from directory.permissions import Role
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

pytestmark = pytest.mark.django_db(databases=["default", "owner"])


def test_a_purchase_copies_what_was_agreed_and_belongs_to_the_buyer() -> None:
    tenant = make_tenant()
    pat = make_user(tenant, name="Pat Ünal", email="pat@contoso.example")

    made = make_self_service_subscription(pat, quantity=10)

    with tenant_atomic(tenant.pk):
        subscription = Subscription.objects.get(pk=made.pk)
        assert subscription.owner_user_id == subscription.purchaser_id == pat.pk
        assert (subscription.channel, subscription.state) == ("self-service", "active")
        assert (subscription.quantity, subscription.assigned <= 1) == (10, True)
        assert subscription.time_zone == "Europe/Amsterdam"
        assert subscription.anchor_date.isoformat() == "2026-03-10"
        assert subscription.period_start == datetime(2026, 3, 9, 23, tzinfo=UTC)
        assert subscription.period_end == datetime(2026, 4, 9, 22, tzinfo=UTC)
        assert subscription.term_end == subscription.due_at == subscription.period_end
        assert subscription.purchaser_sort == "pat unal"
        assert subscription.search_text == "power bi pro pat unal pat@contoso.example"
        assert User.objects.get(pk=pat.pk).purchaser_since == AT


def test_a_purchase_leaves_one_paid_bill_an_order_line_and_a_history() -> None:
    tenant = make_tenant()
    pat = make_user(tenant)

    made = make_self_service_subscription(pat, quantity=10)

    with tenant_atomic(tenant.pk):
        bill = Bill.objects.get(subscription=made)
        line = bill.lines.get()
        assert bill.status == "paid"
        assert (bill.subtotal_minor, bill.tax_minor, bill.total_minor) == (9_400, 1_974, 11_374)
        assert bill.number == f"SK-NL-2026-{bill.series_number:06d}"
        assert bill.payer_id == pat.pk
        assert (line.quantity, line.unit_price_minor, line.amount_minor) == (10, 940, 9_400)
        assert Payment.objects.get(bill=bill).amount_minor == 11_374
        assert OrderLine.objects.get(subscription=made).amount_minor == 9_400
        assert Order.objects.get(pk=bill.order_id).actor_user_id == pat.pk
        assert SubscriptionEvent.objects.filter(subscription=made, code="purchased").count() == 1
        codes = set(AuditEntry.objects.values_list("code", flat=True))
        assert {"commerce.order.placed", "commerce.bill.issued", "commerce.bill.paid"} <= codes


def test_a_central_purchase_is_the_organizations_on_account_at_the_agreed_price() -> None:
    tenant = make_tenant()
    bill_admin = make_user(tenant, roles=(Role.BILLING_ADMIN,))

    made = make_central_subscription(bill_admin, quantity=25)

    with tenant_atomic(tenant.pk):
        subscription = Subscription.objects.get(pk=made.pk)
        bill = Bill.objects.get(subscription=made)
        assert (subscription.channel, subscription.owner_kind) == ("central", "organization")
        assert subscription.unit_price_minor == 800
        assert subscription.purchaser_id == bill_admin.pk
        assert (bill.status, bill.collection, bill.payer_id) == ("open", "on_account", None)
        assert bill.due_at == AT + timedelta(days=30)
        assert bill.charge_due_at is None


@pytest.mark.parametrize("roles", [(), (Role.LICENSE_ADMIN,), (Role.USER_ADMIN,), (Role.GLOBAL_READER,)])
def test_others_may_not_buy_centrally(roles: tuple[str, ...]) -> None:
    tenant = make_tenant()
    user = make_user(tenant, roles=roles)
    make_agreement(tenant)

    with tenant_atomic(tenant.pk):
        with pytest.raises(NotVisible):
            purchase_centrally(actor=actor_of(user), product=plan().product, plan=plan(), quantity=1, at=AT)

        assert Subscription.objects.count() == Order.objects.count() == 0


def test_refuses_a_plan_without_an_agreed_price() -> None:
    tenant = make_tenant()
    admin = make_user(tenant, roles=(Role.BILLING_ADMIN,))

    with tenant_atomic(tenant.pk):
        with pytest.raises(NotInAgreement):
            purchase_centrally(actor=actor_of(admin), product=plan().product, plan=plan(), quantity=1, at=AT)

        assert Subscription.objects.count() == Bill.objects.count() == 0


@pytest.mark.parametrize("quantity", [0, -1, 1_000_001, 2**63])
def test_refuses_a_senseless_number_of_seats(quantity: int) -> None:
    tenant = make_tenant()
    admin = make_user(tenant, roles=(Role.BILLING_ADMIN,))
    make_agreement(tenant)

    with tenant_atomic(tenant.pk), pytest.raises(Malformed):
        purchase_centrally(
            actor=actor_of(admin), product=plan().product, plan=plan(), quantity=quantity, at=AT
        )


def test_a_suspended_organization_buys_nothing() -> None:
    tenant = make_tenant(standing=Tenant.Standing.SUSPENDED)
    admin = make_user(tenant, roles=(Role.GLOBAL_ADMIN,))
    make_agreement(tenant)

    with tenant_atomic(tenant.pk), pytest.raises(NotAllowed):
        purchase_centrally(actor=actor_of(admin), product=plan().product, plan=plan(), quantity=1, at=AT)


def test_two_organizations_share_one_series_of_the_vendor_entity() -> None:
    first, second = make_tenant(), make_tenant(country="DE")

    make_self_service_subscription(make_user(first))
    make_self_service_subscription(make_user(second))

    numbers = []
    for tenant in (first, second):
        with tenant_atomic(tenant.pk):
            numbers.append(Bill.objects.get().series_number)
    assert numbers[1] == numbers[0] + 1
    assert BillSeries.objects.get(vendor_entity__bill_series="SK-NL", year=2026).next_number == numbers[1] + 1
