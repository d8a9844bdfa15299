"""The end of a subscription's life: every outcome of `expire_due` (product §5.1)."""

from datetime import UTC, datetime, timedelta

import pytest

from commerce import hooks
from commerce.hooks import Deletion
from commerce.models import Product, Subscription, SubscriptionEvent
from commerce.operations.renewals import expire_due, renew_due
from config.kit.tenancy import use_login
from directory.models import AuditEntry, OutgoingMail, User
from directory.operations.outbox import message_of
from licensing.models import Assignment
from tests.factories import make_self_service_subscription, make_tenant, make_user

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])

MARCH = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
# Local midnights in Amsterdam, in UTC; the last one is in winter time.
APRIL_10 = datetime(2026, 4, 9, 22, 0, tzinfo=UTC)
MAY_10 = datetime(2026, 5, 9, 22, 0, tzinfo=UTC)
AUGUST_8 = datetime(2026, 8, 7, 22, 0, tzinfo=UTC)


@pytest.fixture
def alice() -> User:
    return make_user(make_tenant(name="Contoso"), name="Alice")


@pytest.fixture
def ending(alice: User) -> Subscription:
    """Bought on 10 March by the month, one license given, recurring billing off."""
    subscription = make_self_service_subscription(alice, quantity=3, at=MARCH)
    with use_login("worker"):
        Subscription.objects.filter(pk=subscription.pk).update(recurring_billing=False)
    return subscription


def fresh(subscription: Subscription) -> Subscription:
    with use_login("worker"):
        return Subscription.objects.get(pk=subscription.pk)


def live_licenses(subscription: Subscription) -> int:
    with use_login("worker"):
        return Assignment.objects.live().filter(subscription=subscription).count()


def test_expires_at_the_end_of_the_term(ending: Subscription) -> None:
    swept = expire_due(at=APRIL_10)

    assert (swept.moved, swept.parked) == (1, 0)
    after = fresh(ending)
    assert (after.state, after.expired_at, after.due_at) == ("expired", APRIL_10, MAY_10)
    assert (after.assigned, live_licenses(after)) == (1, 1)
    with use_login("worker"):
        event = SubscriptionEvent.objects.get(subscription=ending, code="expired")
        assert event.facts == {"since": "2026-04-09T22:00:00+00:00", "until": "2026-05-09T22:00:00+00:00"}
        entry = AuditEntry.objects.get(code="commerce.subscription.expired")
        assert (entry.before, entry.after) == ({"state": "active"}, {"state": "expired"})


def test_does_not_expire_a_moment_early(ending: Subscription) -> None:
    swept = expire_due(at=APRIL_10 - timedelta(microseconds=1))

    assert not swept
    assert fresh(ending).state == "active"


def test_a_renewing_subscription_does_not_expire(alice: User) -> None:
    subscription = make_self_service_subscription(alice, at=MARCH)

    swept = expire_due(at=MAY_10)

    assert not swept
    assert fresh(subscription).state == "active"


def test_inside_a_term_it_is_charged_first_and_expires_at_the_terms_end(alice: User) -> None:
    from tests.factories import plan

    subscription = make_self_service_subscription(alice, plan=plan(code="yearly-monthly"), at=MARCH)
    with use_login("worker"):
        Subscription.objects.filter(pk=subscription.pk).update(recurring_billing=False)

    before = expire_due(at=datetime(2027, 4, 1, tzinfo=UTC))
    renew_due(at=datetime(2027, 4, 1, tzinfo=UTC))
    after = expire_due(at=datetime(2027, 4, 1, tzinfo=UTC))

    assert not before
    assert after.moved == 1
    assert fresh(subscription).expired_at == fresh(subscription).term_end


def test_is_disabled_after_thirty_days_and_keeps_its_holders(ending: Subscription) -> None:
    expire_due(at=APRIL_10)

    early = expire_due(at=MAY_10 - timedelta(seconds=1))
    swept = expire_due(at=MAY_10)

    assert not early
    assert swept.moved == 1
    after = fresh(ending)
    assert (after.state, after.disabled_at, after.due_at) == ("disabled", MAY_10, AUGUST_8)
    assert (after.assigned, live_licenses(after)) == (1, 1)


def test_is_deleted_after_ninety_more_and_the_assignments_end(ending: Subscription) -> None:
    expire_due(at=MAY_10)

    swept = expire_due(at=AUGUST_8)

    assert swept.moved == 1
    after = fresh(ending)
    assert (after.state, after.deleted_at, after.due_at) == ("deleted", AUGUST_8, None)
    assert (after.assigned, live_licenses(after)) == (0, 0)
    assert not expire_due(at=AUGUST_8 + timedelta(days=1000))


def test_each_product_has_its_own_lengths(ending: Subscription) -> None:
    with use_login("owner"):
        Product.objects.filter(pk=ending.product_id).update(expired_days=1, disabled_days=2)

    expire_due(at=APRIL_10 + timedelta(days=1))

    after = fresh(ending)
    assert (after.state, after.due_at) == ("disabled", APRIL_10 + timedelta(days=3))


def test_after_an_outage_the_dates_are_those_that_were_shown(ending: Subscription) -> None:
    swept = expire_due(at=AUGUST_8 + timedelta(days=40))

    assert swept.moved == 3
    after = fresh(ending)
    assert (after.expired_at, after.disabled_at, after.deleted_at) == (APRIL_10, MAY_10, AUGUST_8)


def test_ends_are_local_midnights_across_a_change_of_the_clock(alice: User) -> None:
    subscription = make_self_service_subscription(alice, at=datetime(2026, 9, 10, 9, tzinfo=UTC))
    with use_login("worker"):
        Subscription.objects.filter(pk=subscription.pk).update(recurring_billing=False)

    expire_due(at=datetime(2026, 10, 9, 22, tzinfo=UTC))

    assert fresh(subscription).due_at == datetime(2026, 11, 8, 23, tzinfo=UTC)


def test_a_deletion_that_a_higher_app_cannot_follow_is_parked_alone(
    alice: User, ending: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_self_service_subscription(alice, quantity=2, at=MARCH)
    with use_login("worker"):
        Subscription.objects.filter(pk=other.pk).update(recurring_billing=False)
    expire_due(at=MAY_10)

    def refuse(deletion: Deletion) -> None:
        if ending.pk in deletion.subscription_ids:
            with use_login("worker"):
                Subscription.objects.filter(pk=ending.pk).update(assigned=99)

    monkeypatch.setattr(hooks.subscriptions_deleted, "callbacks", [refuse])
    swept = expire_due(at=AUGUST_8)

    assert (swept.moved, swept.parked) == (1, 1)
    assert fresh(other).state == "deleted"
    after = fresh(ending)
    assert (after.state, after.assigned) == ("disabled", 1)
    assert "commerce_subscription_seats" in after.parked_reason


def test_who_owns_it_is_told_when_it_expires_and_when_access_ends(ending: Subscription, alice: User) -> None:
    for at in (APRIL_10, MAY_10, AUGUST_8):
        expire_due(at=at)
        expire_due(at=at)

    with use_login("worker"):
        rows = list(OutgoingMail.objects.filter(kind="expired").order_by("id"))
    subjects = [message_of(row).subject for row in rows]
    assert [row.to_user_id for row in rows] == [alice.pk, alice.pk]
    assert subjects == [
        "Power BI Pro has expired: access ends on 10 May 2026",
        "Access to Power BI Pro has ended",
    ]
    assert "8 Aug 2026" in message_of(rows[1]).body
