"""Taking licenses back, giving them back, and the end of a deleted subscription's licenses."""

from datetime import datetime

import pytest

from commerce import hooks
from commerce.models import Subscription, SubscriptionEvent
from config.kit.errors import NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry, Tenant, User
from licensing.models import Assignment
from licensing.operations.assignments import (
    Outcome,
    assign_licenses,
    end_assignments,
    give_back_license,
    unassign_licenses,
)
from tests.factories import actor_of, make_subscription, make_tenant, make_user, plan

pytestmark = pytest.mark.django_db


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def alice(contoso: Tenant) -> User:
    return make_user(contoso, name="Alice")


@pytest.fixture
def bob(contoso: Tenant) -> User:
    return make_user(contoso, name="Bob")


@pytest.fixture
def subscription(contoso: Tenant, alice: User, bob: User, at: datetime) -> Subscription:
    """Alice's, held by both."""
    made = make_subscription(contoso, owner=alice, quantity=3)
    assign_licenses(actor=actor_of(alice), subscription_key=made.key, user_ids=[alice.pk, bob.pk], at=at)
    return made


def holders(subscription: Subscription) -> list[int]:
    with tenant_atomic(subscription.tenant_id):
        subscription.refresh_from_db()
        rows = Assignment.objects.live().filter(subscription=subscription).order_by("id")
        assert subscription.assigned == rows.count()
        return list(rows.values_list("user_id", flat=True))


def test_the_purchaser_takes_licenses_back(
    subscription: Subscription, alice: User, bob: User, at: datetime
) -> None:
    stranger = make_user(make_tenant())

    result = unassign_licenses(
        actor=actor_of(alice), subscription_key=subscription.key, user_ids=[bob.pk, stranger.pk], at=at
    )

    assert result.outcomes == ((bob.pk, Outcome.UNASSIGNED), (stranger.pk, Outcome.NOT_HELD))
    assert (result.done, result.free) == (1, 2)
    assert holders(subscription) == [alice.pk]
    with tenant_atomic(subscription.tenant_id):
        row = Assignment.objects.get(user=bob)
        assert (row.ended_at, row.ended_by_id, row.ended_by) == (at, alice.pk, "Alice")
        audit = AuditEntry.objects.latest("id")
        assert (audit.code, audit.before) == (
            "licensing.license.unassigned",
            {"user": "Bob", "user_id": bob.pk, "assignment_id": row.pk},
        )
        event = SubscriptionEvent.objects.latest("id")
        assert (event.code, event.facts) == ("license_unassigned", {"count": 1, "user_ids": [bob.pk]})


def test_a_license_can_be_taken_back_while_disabled(
    subscription: Subscription, alice: User, bob: User, at: datetime
) -> None:
    with tenant_atomic(subscription.tenant_id):
        Subscription.objects.filter(pk=subscription.pk).update(state="disabled")

    unassign_licenses(actor=actor_of(alice), subscription_key=subscription.key, user_ids=[bob.pk], at=at)

    assert holders(subscription) == [alice.pk]


def test_only_the_owner_takes_back_a_self_service_license(
    contoso: Tenant, subscription: Subscription, alice: User, bob: User, at: datetime
) -> None:
    cases = [
        (actor_of(make_user(contoso, roles=("license_admin",))), NotAllowed),
        (actor_of(make_user(contoso, roles=("billing_admin",))), NotAllowed),
        (actor_of(make_user(contoso)), NotVisible),
        (actor_of(bob), NotVisible),
        (actor_of(make_user(make_tenant(), roles=("global_admin",))), NotVisible),
    ]

    for actor, error in cases:
        with pytest.raises(error):
            unassign_licenses(actor=actor, subscription_key=subscription.key, user_ids=[alice.pk], at=at)

    assert holders(subscription) == [alice.pk, bob.pk]


def test_a_holder_gives_the_own_license_back_once(
    subscription: Subscription, alice: User, bob: User, at: datetime
) -> None:
    give_back_license(actor=actor_of(bob), subscription_key=subscription.key, at=at)
    with pytest.raises(NotVisible):
        give_back_license(actor=actor_of(bob), subscription_key=subscription.key, at=at)

    assert holders(subscription) == [alice.pk]
    with tenant_atomic(subscription.tenant_id):
        assert AuditEntry.objects.latest("id").code == "licensing.license.given_back"


def test_who_holds_none_or_is_of_another_tenant_gives_nothing_back(
    contoso: Tenant, subscription: Subscription, alice: User, bob: User, at: datetime
) -> None:
    for person in (make_user(contoso), make_user(make_tenant())):
        with pytest.raises(NotVisible):
            give_back_license(actor=actor_of(person), subscription_key=subscription.key, at=at)

    assert holders(subscription) == [alice.pk, bob.pk]


def test_deleted_subscriptions_of_all_tenants_end_their_licenses_in_one_statement(
    contoso: Tenant, subscription: Subscription, alice: User, at: datetime, django_assert_num_queries: object
) -> None:
    kept = make_subscription(contoso, owner=alice, plan=plan("visio-plan-1"))
    fabrikam = make_tenant()
    charlie = make_user(fabrikam)
    other = make_subscription(fabrikam, owner=charlie)
    for made, owner in ((kept, alice), (other, charlie)):
        assign_licenses(actor=actor_of(owner), subscription_key=made.key, user_ids=[owner.pk], at=at)

    # The aliases do not share a test's transaction: the wall is opened for each tenant instead of the worker's.
    ended = []
    for tenant in (contoso, fabrikam):
        with tenant_atomic(tenant.pk), django_assert_num_queries(1):  # type: ignore[operator]
            end_assignments(hooks.Deletion([subscription.pk, other.pk], at))
        with tenant_atomic(tenant.pk):
            ended.append(AuditEntry.objects.latest("id").after)

    assert ended == [{"count": 2}, {"count": 1}]
    assert (holders(subscription), holders(other), holders(kept)) == ([], [], [alice.pk])
    with tenant_atomic(contoso.pk):
        assert set(
            Assignment.objects.filter(subscription=subscription).values_list("ended_by", flat=True)
        ) == {"Seatkeeper"}


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])
def test_the_sweeps_login_ends_licenses_across_tenants(at: datetime) -> None:
    made = []
    for _ in range(2):
        tenant = make_tenant()
        owner = make_user(tenant)
        made.append(make_subscription(tenant, owner=owner))
        assign_licenses(actor=actor_of(owner), subscription_key=made[-1].key, user_ids=[owner.pk], at=at)

    with use_login("worker"):
        hooks.subscriptions_deleted(hooks.Deletion([each.pk for each in made], at))

    assert [holders(each) for each in made] == [[], []]


@pytest.mark.parametrize(
    ("is_ticked", "holds_one", "expected"), [(True, False, 1), (False, False, 0), (True, True, 0)]
)
def test_the_buyer_gets_the_first_license(
    contoso: Tenant, alice: User, at: datetime, is_ticked: bool, holds_one: bool, expected: int
) -> None:
    actor = actor_of(alice)
    central = make_subscription(contoso)
    if holds_one:
        admin = actor_of(make_user(contoso, roles=("license_admin",)))
        assign_licenses(actor=admin, subscription_key=central.key, user_ids=[alice.pk], at=at)
    bought = make_subscription(contoso, owner=alice)

    with tenant_atomic(contoso.pk):
        hooks.subscription_activated(hooks.Activation(bought, actor, at, first_license=is_ticked))

    assert not actor.is_purchaser
    assert holders(bought) == [alice.pk] * expected
