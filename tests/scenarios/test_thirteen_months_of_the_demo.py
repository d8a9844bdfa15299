"""The demo's data, thirteen months on: renewals, a failed card with its calendar, an expiry, trials (product §17)."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import groupby

import pytest

from commerce.models import SubscriptionEvent
from commerce.operations.renewals import run_sweeps
from config.demo import data
from config.invariants import violations
from config.kit.tenancy import use_login
from directory.models import OutgoingMail

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])

LOADED = datetime(2026, 11, 26, 9, tzinfo=UTC)
MONTHS = 13
DAY = timedelta(days=1)
# Who holds which license is told elsewhere.
UNTOLD = ("license_assigned", "license_unassigned", "licenses_freed", "refund_failed")

type Run = tuple[str, int, str, str]


def walk(first: datetime, days: int) -> datetime:
    """Every sweep on each day that has work for one, as `manage.py travel` makes them; the last day."""
    for number in range(days):
        today = first + number * DAY
        if data.has_work(today):
            run_sweeps(at=today)
    return first + (days - 1) * DAY


def lives(since: datetime) -> dict[str, list[Run]]:
    """What happened to each subscription after an instant: code, how often in a row, first and last day."""
    with use_login("worker"):
        events = list(
            SubscriptionEvent.objects.filter(at__gt=since)
            .exclude(code__in=UNTOLD)
            .select_related("subscription__product")
            .order_by("subscription_id", "id")
        )
    found: dict[str, list[Run]] = {}
    for event in events:
        subscription = event.subscription
        owner = "central" if subscription.is_organizations else subscription.purchaser_name.split()[0]
        found.setdefault(f"{owner}: {subscription.product.slug}", []).append(
            (event.code, 1, f"{event.at:%Y-%m-%d}", f"{event.at:%Y-%m-%d}")
        )
    return {
        name: [
            (code, len(run), run[0][2], run[-1][2])
            for code, run in ((code, list(rows)) for code, rows in groupby(rows, key=lambda row: row[0]))
        ]
        for name, rows in found.items()
    }


@pytest.mark.usefixtures("empty_processor")
def test_thirteen_months_of_the_demo_are_these_events_and_leave_every_book_in_order() -> None:
    data.load(LOADED)
    assert violations(at=LOADED) == []

    at = walk(LOADED + DAY, MONTHS * 31)

    assert lives(LOADED) == {
        "central: power-bi-pro": [("renewed", 1, "2027-07-09", "2027-07-09")],
        "central: project-plan-3": [
            ("charged", 7, "2026-12-14", "2027-06-14"),
            ("renewed", 1, "2027-07-14", "2027-07-14"),
            ("charged", 5, "2027-08-14", "2027-12-14"),
        ],
        # Disabled on 16 November, and renewed all the same until somebody decides.
        "Dora: power-apps-per-user": [
            ("charged", 9, "2026-12-12", "2027-08-12"),
            ("renewed", 1, "2027-09-12", "2027-09-12"),
            ("charged", 3, "2027-10-12", "2027-12-12"),
        ],
        "Pat: power-bi-pro": [("renewed", 13, "2026-12-18", "2027-12-18")],
        "Pat: power-bi-premium-per-user": [
            ("expired", 1, "2026-12-14", "2026-12-14"),
            ("disabled", 1, "2027-01-13", "2027-01-13"),
            ("deleted", 1, "2027-04-13", "2027-04-13"),
            ("licenses_ended", 1, "2027-04-13", "2027-04-13"),
        ],
        # Refused on 21 November for the first time: the rest of its calendar, and the end of the unpaid period.
        "Pat: visio-plan-2": [
            ("payment_failed", 4, "2026-11-28", "2026-12-19"),
            ("disabled", 1, "2026-12-21", "2026-12-21"),
            ("deleted", 1, "2027-03-21", "2027-03-21"),
            ("credited", 1, "2027-03-21", "2027-03-21"),
            ("licenses_ended", 1, "2027-03-21", "2027-03-21"),
        ],
        "Pat: power-automate-rpa": [
            ("trial_converted", 1, "2026-12-06", "2026-12-06"),
            ("renewed", 12, "2027-01-06", "2027-12-06"),
        ],
        "Sam: visio-plan-1": [("renewed", 13, "2026-12-17", "2027-12-17")],
        "Sam: project-plan-1": [
            ("trial_ended", 1, "2026-12-18", "2026-12-18"),
            ("deleted", 1, "2027-03-18", "2027-03-18"),
            ("licenses_ended", 1, "2027-03-18", "2027-03-18"),
        ],
    }
    assert mails(LOADED) == {
        "renewal_receipt": 77,
        "monthly_reminder": 40,
        "renewal_reminder": 27,
        "trial_ending": 4,
        "trial_converted": 1,
        "trial_ended": 1,
        "payment_failed": 4,
        "access_ended": 1,
        "expired": 2,
        "bill_issued": 42,
        "bill_due": 42,
        "bill_overdue": 168,
        # Nobody at Fabrikam answered Northwind for ninety days, and what Contoso has with it ended after eleven months.
        "relationship_decided": 1,
        "relationship_ending": 6,
        "relationship_ended": 3,
        # Nobody answered for sixty days.
        "request_lapsed": 1,
    }
    assert violations(at=at) == []


def mails(since: datetime) -> dict[str, int]:
    with use_login("worker"):
        return dict(Counter(OutgoingMail.objects.filter(created_at__gt=since).values_list("kind", flat=True)))
