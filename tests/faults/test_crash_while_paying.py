"""F-01: the process dies at each point of a charge; afterwards one charge, one order, one bill."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from commerce.models import Bill, Checkout, Order, Payment, PaymentAttempt, Subscription
from commerce.operations.payments import Paid, charge_bill, pay_checkout, reconcile
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import OutgoingMail
from tests.commerce.test_charge_bill import LATER, billed, bought
from tests.factories import AT, actor_of, make_checkout, make_tenant, make_user
from tests.faults.dying import die_at
from tests.processor import card_token, charges, intents

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]

POINTS = [f"R{number}:{side}" for number in range(2, 8) for side in ("before", "after")]


@pytest.mark.parametrize("point", POINTS[1:])
def test_a_checkout_is_finished_by_the_reconciler(point: str, leases_run_out: Callable[[], None]) -> None:
    pat = make_user(make_tenant())
    checkout = make_checkout(pat)
    token = card_token()
    die_at(
        point,
        lambda: pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=token, at=AT),
    )
    leases_run_out()

    reconcile(AT + timedelta(minutes=10))

    assert charges() == 1
    assert len(intents()) == 1
    with tenant_atomic(pat.tenant_id):
        assert Checkout.objects.get().state == "paid"
        assert PaymentAttempt.objects.get().state == "succeeded"
        assert Order.objects.count() == Subscription.objects.count() == Payment.objects.count() == 1
        assert (Bill.objects.get().status, Bill.objects.get().number) == ("paid", "SK-NL-2026-000001")
        assert OutgoingMail.objects.filter(kind="receipt").count() == 1


@pytest.mark.parametrize("point", POINTS)
def test_a_buyer_who_clicks_again_gets_the_same_order(point: str, leases_run_out: Callable[[], None]) -> None:
    pat = make_user(make_tenant())
    checkout = make_checkout(pat)
    token = card_token()
    die_at(
        point,
        lambda: pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=token, at=AT),
    )
    leases_run_out()

    outcome = pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=token, at=AT)
    reconcile(AT + timedelta(minutes=10))

    assert isinstance(outcome, Paid)
    assert charges() == 1
    with tenant_atomic(pat.tenant_id):
        assert Order.objects.get().pk == outcome.order.pk
        assert Bill.objects.count() == Payment.objects.count() == 1


@pytest.mark.parametrize("point", POINTS)
def test_a_bill_is_charged_by_the_next_sweep(point: str, leases_run_out: Callable[[], None]) -> None:
    pat = make_user(make_tenant())
    bill = billed(bought(pat))

    def sweep() -> str:
        with use_login("worker"):
            return charge_bill(bill_id=bill.pk, at=LATER)

    die_at(point, sweep)
    leases_run_out()

    sweep()

    assert charges() == 2
    assert charges(bill=bill.number) == 1
    with tenant_atomic(pat.tenant_id):
        assert Bill.objects.get(pk=bill.pk).status == "paid"
        assert Payment.objects.filter(bill=bill).count() == 1
        assert list(PaymentAttempt.objects.filter(bill=bill).values_list("state", flat=True)) == ["succeeded"]
        assert OutgoingMail.objects.filter(kind="renewal_receipt").count() == 1


@pytest.mark.parametrize("hours", [25, 96])
@pytest.mark.parametrize("path", ["/v1/payment_intents", "/v1/payment_intents/*/confirm"])
def test_a_lost_answer_and_an_outage_longer_than_the_key_lives_charge_once(
    path: str, hours: int, leases_run_out: Callable[[], None]
) -> None:
    """F-09 and F-10: the processor has forgotten the key when the worker comes back."""
    from config.kit import clock
    from tests.processor import fault

    pat = make_user(make_tenant())
    bill = billed(bought(pat))
    fault("lose_answer", path, count=3 if path.endswith("intents") else 1)
    at = LATER + timedelta(hours=hours)
    with use_login("worker"):
        assert charge_bill(bill_id=bill.pk, at=LATER) == "pending"
        try:
            clock.set_offset(hours * 3600)
            leases_run_out()
            results = [charge_bill(bill_id=bill.pk, at=at) for _ in range(2)]
        finally:
            clock.set_offset(0)

    assert "paid" in results
    assert charges(bill=bill.number) == 1
    with tenant_atomic(pat.tenant_id):
        assert Bill.objects.get(pk=bill.pk).status == "paid"
