"""The passing of real time."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest


@pytest.fixture
def leases_run_out() -> Callable[[], None]:
    """What some minutes of real time do: leases that nobody gave back are over."""
    from commerce.models import Bill, PaymentAttempt, RefundAttempt
    from config.kit.tenancy import use_login

    def run_out() -> None:
        past = datetime(2020, 1, 1, tzinfo=UTC)
        with use_login("worker"):
            PaymentAttempt.objects.filter(leased_until__isnull=False).update(leased_until=past)
            Bill.objects.filter(leased_until__isnull=False).update(leased_until=past)
            RefundAttempt.objects.filter(leased_until__isnull=False).update(leased_until=past)

    return run_out
