"""I-07 and F-19, refund vs refund: a bill is never credited or refunded beyond its total, whoever asks at once."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import OperationalError, connections
from django.db.models import Sum

from commerce.models import Bill, Refund, RefundAttempt
from commerce.operations.credits import CreditExceedsBill
from commerce.operations.payments import pay_checkout, refund_now, settle_refunds
from config.invariants import violations
from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic
from tests.concurrency.threads import all_at_once
from tests.factories import AT, actor_of, make_checkout, make_credit_note, make_tenant, make_user
from tests.processor import card_token, refunds

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]

ASKERS = 100


@pytest.fixture
def paid() -> Bill:
    """113.74, paid by card."""
    pat = make_user(make_tenant())
    checkout = make_checkout(pat)
    pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=card_token(), at=AT)
    with tenant_atomic(pat.tenant_id):
        return Bill.objects.get()


def patiently[T](ask: Callable[[], T]) -> T:
    """Ask again after each 503: who waits for a lock for three seconds is sent away, having changed nothing."""
    while True:
        try:
            return ask()
        except OperationalError as error:
            if "lock timeout" not in str(error):
                raise


def test_of_100_refunds_of_60_percent_exactly_one_wins(paid: Bill) -> None:
    sixty_percent = paid.subtotal_minor * 6 // 10

    def refund(_n: int) -> str:
        try:
            note = patiently(lambda: make_credit_note(paid, sixty_percent))
        except CreditExceedsBill as refused:
            return f"{refused.status}"
        return note.status

    answers = all_at_once(refund, count=ASKERS)
    settle_refunds(at=AT)

    assert Counter(answers) == {"open": 1, "409": ASKERS - 1}
    assert [made["amount"] for made in refunds()] == [6_824]
    with tenant_atomic(paid.tenant_id):
        bill = Bill.objects.get(pk=paid.pk)
        assert (bill.credited_minor, bill.refunded_minor, bill.status) == (6_824, 6_824, "paid")
        assert Bill.objects.filter(credits=paid).count() == RefundAttempt.objects.count() == 1
        assert Refund.objects.aggregate(sum=Sum("amount_minor")) == {"sum": 6_824}
    assert violations(at=AT) == []


def test_one_refund_driven_by_many_at_once_is_made_and_booked_once(paid: Bill) -> None:
    note = make_credit_note(paid, 3_000)

    def drive(n: int) -> bool:
        if n % 2:
            refund_now(note.pk, actor=Actor.system(paid.tenant_id), at=AT)
            return False
        return bool(settle_refunds(at=AT))

    all_at_once(drive, count=32)
    settle_refunds(at=AT)

    assert len(refunds()) == 1
    with tenant_atomic(paid.tenant_id):
        assert Refund.objects.count() == 1
        assert list(RefundAttempt.objects.values_list("state", "tries")) == [("succeeded", 1)]
    assert violations(at=AT) == []


def test_the_negative_control_credits_too_much(paid: Bill) -> None:
    """Read what is left, then write: the way that the conditional update exists to avoid."""
    credited = []
    start = threading.Barrier(8)

    def read_then_write(_n: int) -> None:
        try:
            with tenant_atomic(paid.tenant_id):
                bill = Bill.objects.get(pk=paid.pk)
                start.wait(30)
                if bill.credited_minor + 6_824 <= bill.total_minor:
                    credited.append(6_824)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read_then_write, range(8)))

    assert sum(credited) > paid.total_minor
