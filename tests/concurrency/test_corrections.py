"""F-19: a bill is corrected once, and its money moves once, whoever asks at once."""

from collections import Counter
from dataclasses import replace

import pytest

from commerce.models import Bill, Payment
from commerce.operations.corrections import AlreadyCorrected, correct_bill
from config.invariants import violations
from config.kit.tenancy import tenant_atomic
from tests.commerce.test_correct_bill import FIRST, NEXT_DAY, RIGHT, THIRD
from tests.concurrency.test_refunds import patiently
from tests.concurrency.threads import all_at_once
from tests.factories import actor_of, make_self_service_subscription, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


def test_of_twenty_corrections_of_one_bill_exactly_one_is_made() -> None:
    pat = make_user(make_tenant(), name="Pat")
    make_self_service_subscription(pat)
    with tenant_atomic(pat.tenant_id):
        pat.refresh_from_db()
    actor = actor_of(pat)

    def correct(n: int) -> str:
        try:
            done = patiently(
                lambda: correct_bill(
                    actor=actor,
                    number=FIRST,
                    billing=replace(RIGHT, name=f"Contoso {n}"),
                    at=NEXT_DAY,
                )
            )
        except AlreadyCorrected as already:
            return f"409 {already.number}"
        return done.bill.number

    answers = all_at_once(correct, count=20)

    assert Counter(answers) == {THIRD: 1, f"409 {THIRD}": 19}
    with tenant_atomic(pat.tenant_id):
        assert (Bill.objects.count(), Payment.objects.count()) == (3, 2)
    assert violations(at=NEXT_DAY) == []
