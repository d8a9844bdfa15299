"""The licenses of those who leave: when they are free, and that counter, history and audit agree (product §11; F-22)."""

from datetime import datetime, timedelta

import pytest

from commerce.models import Subscription, SubscriptionEvent
from config.invariants import violations
from config.kit.clock import real_now
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, Tenant, User
from directory.operations.leaving import delete_user, set_seats_kept
from directory.operations.people import disable_user, enable_user
from licensing.models import Assignment
from licensing.operations.assignments import assign_licenses
from licensing.operations.leaving import free_licenses_of_leavers
from licensing.queries.entitlements import entitlement_of
from tests.factories import (
    actor_of,
    make_central_subscription,
    make_self_service_subscription,
    make_tenant,
    make_user,
    product,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina", roles=("global_admin",))


@pytest.fixture
def mike(contoso: Tenant) -> User:
    return make_user(contoso, name="Mike")


@pytest.fixture
def anna(contoso: Tenant) -> User:
    return make_user(contoso, name="Anna")


@pytest.fixture
def central(gina: User, mike: User, anna: User, at: datetime) -> Subscription:
    subscription = make_central_subscription(gina, quantity=5)
    assign_licenses(
        actor=actor_of(gina), subscription_key=subscription.key, user_ids=[mike.pk, anna.pk], at=at
    )
    return subscription


def holders(subscription: Subscription) -> list[str]:
    with tenant_atomic(subscription.tenant_id):
        subscription.refresh_from_db()
        names = list(
            Assignment.objects.live()
            .filter(subscription=subscription)
            .order_by("id")
            .values_list("user__name", flat=True)
        )
    assert subscription.assigned == len(names)
    return names


def delete(gina: User, user: User, at: datetime) -> None:
    delete_user(actor=actor_of(gina), user_id=user.pk, at=at, real_at=real_now())


def test_deleting_frees_the_license_at_once_with_history_and_audit(
    gina: User, mike: User, central: Subscription, at: datetime
) -> None:
    delete(gina, mike, at)

    assert holders(central) == ["Anna"]
    with tenant_atomic(central.tenant_id):
        row = Assignment.objects.get(user=mike)
        event = SubscriptionEvent.objects.get(code="licenses_freed")
        entry = AuditEntry.objects.get(code="licensing.license.freed")
    assert (row.ended_at, row.ended_by_id, row.ended_by) == (at, gina.pk, "Gina")
    assert (event.actor_label, event.facts) == ("Gina", {"count": 1, "user_ids": [mike.pk]})
    assert (entry.actor_label, entry.before["because"], entry.before["user_id"]) == (
        *("Gina", "deleted", mike.pk),
    )
    assert violations(at=at) == []


def test_a_disabled_persons_license_is_kept_for_fourteen_days_and_then_free(
    gina: User, mike: User, central: Subscription, at: datetime
) -> None:
    disable_user(actor=actor_of(gina), user_id=mike.pk, at=at)

    before = free_licenses_of_leavers(at=at + timedelta(days=14) - timedelta(seconds=1))
    kept = holders(central)
    freed = [free_licenses_of_leavers(at=at + timedelta(days=14)) for _ in range(2)]

    assert (before, kept, freed) == (0, ["Mike", "Anna"], [1, 0])
    assert holders(central) == ["Anna"]
    with tenant_atomic(central.tenant_id):
        entry = AuditEntry.objects.get(code="licensing.license.freed")
    assert (entry.actor_label, entry.door, entry.before["because"]) == ("Seatkeeper", "job", "disabled")
    assert violations(at=at) == []


def test_enabled_in_time_everything_is_as_before(
    contoso: Tenant, gina: User, mike: User, central: Subscription, at: datetime
) -> None:
    disable_user(actor=actor_of(gina), user_id=mike.pk, at=at)
    enable_user(actor=actor_of(gina), user_id=mike.pk, at=at + timedelta(days=13))

    assert free_licenses_of_leavers(at=at + timedelta(days=400)) == 0

    assert holders(central) == ["Mike", "Anna"]
    with tenant_atomic(contoso.pk):
        assert entitlement_of(user_id=mike.pk, product=product()) is not None


def test_each_organization_keeps_them_as_long_as_it_says(at: datetime) -> None:
    subscriptions = {}
    for days in (0, 14, 90):
        tenant = make_tenant()
        gina, mike = make_user(tenant, roles=("global_admin",)), make_user(tenant, name="Mike")
        subscriptions[days] = make_central_subscription(gina, quantity=2)
        assign_licenses(
            actor=actor_of(gina), subscription_key=subscriptions[days].key, user_ids=[mike.pk], at=at
        )
        set_seats_kept(actor=actor_of(gina), days=days, at=at)
        disable_user(actor=actor_of(gina), user_id=mike.pk, at=at)

    # With none it was freed by disabling itself.
    assert holders(subscriptions[0]) == []
    assert free_licenses_of_leavers(at=at + timedelta(days=89)) == 1
    assert free_licenses_of_leavers(at=at + timedelta(days=90)) == 1

    assert [holders(subscription) for subscription in subscriptions.values()] == [[], [], []]
    assert violations(at=at) == []


def test_what_a_deletion_could_not_finish_the_sweep_does(
    gina: User, mike: User, central: Subscription, at: datetime
) -> None:
    with tenant_atomic(mike.tenant_id):
        User.objects.filter(pk=mike.pk).update(status="deleted", deleted_at=at, name="Former user")

    assert free_licenses_of_leavers(at=at) == 1

    assert holders(central) == ["Anna"]


def test_colleagues_keep_what_the_leaver_bought(gina: User, mike: User, anna: User, at: datetime) -> None:
    bought = make_self_service_subscription(mike, quantity=3, at=at)
    assign_licenses(actor=actor_of(mike), subscription_key=bought.key, user_ids=[anna.pk], at=at)
    assert holders(bought) == ["Mike", "Anna"]

    delete(gina, mike, at)

    assert holders(bought) == ["Anna"]
    with tenant_atomic(bought.tenant_id):
        bought.refresh_from_db()
        assert (bought.state, bought.recurring_billing, bought.owner_user_id) == ("active", True, mike.pk)
    assert violations(at=at) == []


def test_who_gave_a_license_and_was_deleted_is_a_former_user_there(
    contoso: Tenant, gina: User, mike: User, central: Subscription, at: datetime
) -> None:
    greg = make_user(contoso, name="Greg", roles=("global_admin",))

    delete(greg, gina, at)

    with tenant_atomic(contoso.pk):
        assert set(Assignment.objects.values_list("assigned_by", flat=True)) == {"Former user"}
