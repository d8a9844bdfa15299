"""F-01 for refunds: the process dies at each point; afterwards one credit note and one refund."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from commerce.models import Bill, Refund, RefundAttempt
from commerce.operations.payments import refund_now, settle_refunds
from config.invariants import violations
from config.kit import clock
from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic
from directory.models import OutgoingMail
from tests.commerce.test_charge_bill import bought
from tests.factories import AT, make_credit_note, make_tenant, make_user
from tests.faults.dying import die_at
from tests.processor import refunds

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]

ISSUING = ["G1:before", "G1:uncommitted"]
DRIVING = ["G3:before", "G3:after", "G4:before", "G4:uncommitted", "G4:after", "G5:before", "G5:after"]
SWEEPING = ["G2:before", "G2:after", *DRIVING]


@pytest.fixture
def paid() -> Bill:
    subscription = bought(make_user(make_tenant(), name="Pat"))
    with tenant_atomic(subscription.tenant_id):
        return Bill.objects.get()


def assert_refunded_once(paid: Bill) -> None:
    assert [made["amount"] for made in refunds()] == [3_630]
    with tenant_atomic(paid.tenant_id):
        assert list(RefundAttempt.objects.values_list("state", flat=True)) == ["succeeded"]
        assert Refund.objects.count() == Bill.objects.filter(credits=paid, status="paid").count() == 1
        assert Bill.objects.get(pk=paid.pk).refunded_minor == 3_630
        assert OutgoingMail.objects.filter(kind="refund").count() == 1
    assert violations(at=AT) == []


@pytest.mark.parametrize("point", ISSUING)
def test_a_note_that_was_not_committed_leaves_nothing(paid: Bill, point: str) -> None:
    die_at(point, lambda: make_credit_note(paid, 3_000))

    settle_refunds(at=AT)

    assert refunds() == []
    with tenant_atomic(paid.tenant_id):
        assert Bill.objects.count() == 1
        assert Bill.objects.get().credited_minor == 0
    make_credit_note(paid, 3_000)
    settle_refunds(at=AT)
    assert_refunded_once(paid)


@pytest.mark.parametrize("point", DRIVING)
def test_the_sweep_finishes_what_a_killed_request_left(
    paid: Bill, point: str, leases_run_out: Callable[[], None]
) -> None:
    note = make_credit_note(paid, 3_000)
    die_at(point, lambda: refund_now(note.pk, actor=Actor.system(paid.tenant_id), at=AT))
    leases_run_out()

    settle_refunds(at=AT + timedelta(minutes=10))

    assert_refunded_once(paid)


@pytest.mark.parametrize("point", SWEEPING)
def test_the_next_sweep_finishes_what_a_killed_one_left(
    paid: Bill, point: str, leases_run_out: Callable[[], None]
) -> None:
    make_credit_note(paid, 3_000)
    die_at(point, lambda: settle_refunds(at=AT))
    leases_run_out()

    settle_refunds(at=AT + timedelta(minutes=10))

    assert_refunded_once(paid)


def test_while_a_killed_process_holds_the_lease_nobody_else_asks(paid: Bill) -> None:
    note = make_credit_note(paid, 3_000)
    die_at("G3:before", lambda: refund_now(note.pk, actor=Actor.system(paid.tenant_id), at=AT))

    swept = settle_refunds(at=AT + timedelta(minutes=10))

    assert not swept
    assert refunds() == []


@pytest.mark.parametrize("hours", [25, 96])
def test_killed_after_the_refund_and_away_for_longer_than_the_key_lives(
    paid: Bill, hours: int, leases_run_out: Callable[[], None]
) -> None:
    make_credit_note(paid, 3_000)
    die_at("G3:after", lambda: settle_refunds(at=AT))
    leases_run_out()

    try:
        clock.set_offset(hours * 3600)
        settle_refunds(at=AT + timedelta(hours=hours))
    finally:
        clock.set_offset(0)

    assert_refunded_once(paid)
