"""One badge and one next date for every state (product §5.1, design §5)."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from commerce.states import charges_left, life_of, status_of

END = datetime(2026, 3, 31, 22, 0, tzinfo=UTC)  # 1 April in Amsterdam
TERM_END = datetime(2027, 2, 28, 23, 0, tzinfo=UTC)  # 1 March 2027


def status(**changed: Any) -> tuple[str, str, datetime | None]:
    values: dict[str, Any] = {
        "state": "active",
        "channel": "self-service",
        "recurring_billing": True,
        "payment_failed_at": None,
        "parked_at": None,
        "due_at": END,
        "term_end": END,
        **changed,
    }
    found = status_of(**values)
    return found.code, str(found.next_label), found.next_at


@pytest.mark.parametrize(
    ("changed", "code", "label", "at"),
    [
        ({}, "active", "Renews", END),
        ({"term_end": TERM_END}, "active", "Next charge", END),
        ({"recurring_billing": False}, "renewal-off", "Ends", datetime(2026, 3, 31, 21, 59, 59, 999999, UTC)),
        ({"payment_failed_at": END}, "payment-failed", "Renews", END),
        ({"parked_at": END}, "active", "Renewal delayed", END),
        ({"channel": "trial"}, "trial", "Turns paid", END),
        ({"channel": "trial", "recurring_billing": False}, "trial", "Ends", datetime(2026, 3, 31, 21, 59, 59, 999999, UTC)),
        ({"state": "scheduled"}, "scheduled", "Starts", END),
        ({"state": "expired"}, "expired", "Access ends", END),
        ({"state": "disabled"}, "disabled", "Deleted", END),
        ({"state": "deleted", "due_at": None}, "deleted", "Final", None),
    ],
)  # fmt: skip
def test_every_state_has_its_badge_and_next_date(changed, code, label, at):
    assert status(**changed) == (code, label, at)


def life(**changed: Any) -> list[tuple[str, str, date | None]]:
    values: dict[str, Any] = {
        "state": "active",
        "recurring_billing": True,
        "due_at": END,
        "term_end": END,
        "ended_at": None,
        "expired_days": 30,
        "disabled_days": 90,
        "time_zone": "Europe/Amsterdam",
        **changed,
    }
    return [(step.code, step.kind, step.day) for step in life_of(**values)]


def test_a_running_subscription_renews():
    assert life() == [
        ("active", "now", date(2026, 3, 31)),
        ("renews", "change", date(2026, 4, 1)),
        ("if_payment_fails", "later", None),
    ]


def test_a_failed_payment_is_tried_again_and_ends_access_when_nothing_is_paid():
    tries, pay_by = datetime(2026, 3, 8, 9, tzinfo=UTC), datetime(2026, 3, 31, 9, tzinfo=UTC)

    assert life(next_try_at=tries, pay_by_at=pay_by) == [
        ("payment_failed", "now", None),
        ("next_try", "change", date(2026, 3, 8)),
        ("unpaid", "later", date(2026, 3, 31)),
        ("deleted", "later", date(2026, 6, 29)),
    ]
    assert life(pay_by_at=pay_by)[1] == ("unpaid", "change", date(2026, 3, 31))


def test_a_failed_payment_without_recurring_billing_tells_what_paying_and_not_paying_lead_to():
    tries, pay_by = datetime(2026, 3, 8, 9, tzinfo=UTC), datetime(2026, 3, 20, 9, tzinfo=UTC)

    assert life(recurring_billing=False, next_try_at=tries, pay_by_at=pay_by) == [
        ("payment_failed", "now", None),
        ("next_try", "change", date(2026, 3, 8)),
        ("if_paid", "later", date(2026, 3, 31)),
        ("unpaid", "later", date(2026, 3, 20)),
        ("deleted", "later", date(2026, 6, 18)),
    ]


def test_without_recurring_billing_it_walks_to_its_end():
    assert life(recurring_billing=False) == [
        ("active", "now", date(2026, 3, 31)),
        ("expired", "change", date(2026, 4, 1)),
        ("disabled", "later", date(2026, 5, 1)),
        ("deleted", "later", date(2026, 7, 30)),
    ]


def test_a_yearly_term_paid_monthly_names_the_next_charge_first():
    assert [code for code, _, _ in life(term_end=TERM_END)][:2] == ["active", "charged"]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("scheduled", ["scheduled", "starts"]),
        ("expired", ["is_expired", "disabled", "deleted"]),
        ("disabled", ["is_disabled", "deleted"]),
        ("deleted", ["deleted"]),
    ],
)
def test_the_other_states_lead_on_to_deleted(state, expected):
    assert [code for code, _, _ in life(state=state, ended_at=END)] == expected


@pytest.mark.parametrize(
    ("due_at", "months", "expected"), [(END, 1, 11), (TERM_END, 1, 0), (None, 1, 0), (END, 12, 0)]
)
def test_counts_the_charges_of_the_rest_of_the_term(due_at, months, expected):
    left = charges_left(due_at=due_at, term_end=TERM_END, billing_months=months, time_zone="Europe/Amsterdam")

    assert left == expected
