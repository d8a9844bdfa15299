"""Giving licenses: every outcome of `assign_license` and `assign_licenses` (product §7.1, §7.2; I-01 to I-05)."""

from datetime import datetime
from uuid import uuid4

import pytest
from django.db import IntegrityError

from commerce.models import Subscription, SubscriptionEvent
from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import connection, tenant_atomic
from directory.models import AuditEntry, Tenant, User
from licensing.models import Assignment
from licensing.operations import assignments
from licensing.operations.assignments import Outcome, assign_license, assign_licenses
from tests.factories import actor_of, make_relationship, make_subscription, make_tenant, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def alice(contoso: Tenant) -> User:
    """The purchaser."""
    return make_user(contoso, name="Alice")


@pytest.fixture
def bob(contoso: Tenant) -> User:
    """A colleague."""
    return make_user(contoso, name="Bob")


@pytest.fixture
def subscription(contoso: Tenant, alice: User) -> Subscription:
    return make_subscription(contoso, owner=alice, quantity=3)


def holders(subscription: Subscription) -> list[int]:
    with tenant_atomic(subscription.tenant_id):
        subscription.refresh_from_db()
        rows = Assignment.objects.live().filter(subscription=subscription).order_by("id")
        assert subscription.assigned == rows.count()
        return list(rows.values_list("user_id", flat=True))


def test_a_purchaser_gives_a_colleague_a_license(
    subscription: Subscription, alice: User, bob: User, at: datetime
) -> None:
    assign_license(actor=actor_of(alice), subscription_key=subscription.key, user_id=bob.pk, at=at)

    assert holders(subscription) == [bob.pk]
    with tenant_atomic(subscription.tenant_id):
        row = Assignment.objects.get()
        assert (row.assigned_at, row.assigned_by_id, row.assigned_by) == (at, alice.pk, "Alice")
        assert (row.product_id, row.ended_at) == (subscription.product_id, None)
        audit = AuditEntry.objects.get()
        assert (audit.code, audit.actor_user_id, audit.target_id) == (
            "licensing.license.assigned",
            alice.pk,
            str(subscription.key),
        )
        assert audit.after == {"user": "Bob", "user_id": bob.pk, "assignment_id": row.pk}
        event = SubscriptionEvent.objects.get()
        assert (event.code, event.facts) == ("license_assigned", {"count": 1, "user_ids": [bob.pk]})


def test_a_license_in_the_grace_period_can_be_given(
    contoso: Tenant, alice: User, bob: User, at: datetime
) -> None:
    expired = make_subscription(contoso, owner=alice, state="expired", expired_at=at)

    assign_license(actor=actor_of(alice), subscription_key=expired.key, user_id=bob.pk, at=at)

    assert holders(expired) == [bob.pk]


@pytest.mark.parametrize("state", ["scheduled", "disabled", "deleted"])
def test_refuses_in_every_other_state(
    contoso: Tenant, alice: User, bob: User, at: datetime, state: str
) -> None:
    resting = make_subscription(contoso, owner=alice, state=state)

    with pytest.raises(assignments.NotAssignable):
        assign_license(actor=actor_of(alice), subscription_key=resting.key, user_id=bob.pk, at=at)

    assert holders(resting) == []


def test_refuses_when_no_seat_is_left(contoso: Tenant, alice: User, bob: User, at: datetime) -> None:
    one = make_subscription(contoso, owner=alice, quantity=1)
    assign_license(actor=actor_of(alice), subscription_key=one.key, user_id=alice.pk, at=at)

    with pytest.raises(assignments.NoSeatLeft) as refusal:
        assign_license(actor=actor_of(alice), subscription_key=one.key, user_id=bob.pk, at=at)

    assert refusal.value.status == 409
    assert holders(one) == [alice.pk]


def schedule(subscription: Subscription, quantity: int | None) -> None:
    with tenant_atomic(subscription.tenant_id):
        Subscription.objects.filter(pk=subscription.pk).update(next_quantity=quantity)


def test_no_more_are_given_than_the_scheduled_reduction_leaves(
    contoso: Tenant, subscription: Subscription, alice: User, bob: User, at: datetime
) -> None:
    """I-05: three were bought, two are scheduled; taken back, the schedule frees the third."""
    actor, erik = actor_of(alice), make_user(contoso, name="Erik")
    schedule(subscription, 2)
    for person in (alice, bob):
        assign_license(actor=actor, subscription_key=subscription.key, user_id=person.pk, at=at)

    with pytest.raises(assignments.ReductionScheduled) as refusal:
        assign_license(actor=actor, subscription_key=subscription.key, user_id=erik.pk, at=at)

    assert (refusal.value.status, refusal.value.code) == (409, "reduction_scheduled")
    assert isinstance(refusal.value, assignments.NoSeatLeft)
    assert holders(subscription) == [alice.pk, bob.pk]
    with tenant_atomic(contoso.pk):
        assert (AuditEntry.objects.count(), SubscriptionEvent.objects.count()) == (2, 2)

    schedule(subscription, None)
    assign_license(actor=actor, subscription_key=subscription.key, user_id=erik.pk, at=at)
    assert holders(subscription) == [alice.pk, bob.pk, erik.pk]


def test_more_seats_scheduled_are_none_to_assign_before_the_renewal(
    contoso: Tenant, alice: User, bob: User, at: datetime
) -> None:
    one = make_subscription(contoso, owner=alice, quantity=1, next_quantity=5)
    assign_license(actor=actor_of(alice), subscription_key=one.key, user_id=alice.pk, at=at)

    with pytest.raises(assignments.NoSeatLeft) as refusal:
        assign_license(actor=actor_of(alice), subscription_key=one.key, user_id=bob.pk, at=at)

    assert refusal.value.code == "no_seat_left"
    assert holders(one) == [alice.pk]


def test_a_list_gets_what_the_scheduled_reduction_leaves(contoso: Tenant, alice: User, at: datetime) -> None:
    four = make_subscription(contoso, owner=alice, quantity=4, next_quantity=2)
    people = [make_user(contoso).pk for _ in range(5)]
    guest = make_user(contoso, kind="guest").pk

    first = assign_licenses(
        actor=actor_of(alice), subscription_key=four.key, user_ids=[people[0], guest, *people[1:]], at=at
    )
    second = assign_licenses(actor=actor_of(alice), subscription_key=four.key, user_ids=people[1:], at=at)

    assert [outcome for _user, outcome in first.outcomes] == [
        Outcome.ASSIGNED,
        Outcome.GUEST,
        Outcome.ASSIGNED,
        Outcome.REDUCTION_SCHEDULED,
        Outcome.REDUCTION_SCHEDULED,
        Outcome.NO_SEAT,
    ]
    assert [outcome for _user, outcome in second.outcomes] == [
        Outcome.HOLDS_LICENSE,
        Outcome.REDUCTION_SCHEDULED,
        Outcome.REDUCTION_SCHEDULED,
        Outcome.NO_SEAT,
    ]
    assert (first.done, first.free, second.done, second.free) == (2, 0, 0, 0)
    assert holders(four) == people[:2]


def test_why_a_person_cannot_hold_one_comes_before_the_want_of_a_seat(
    contoso: Tenant, alice: User, bob: User, at: datetime
) -> None:
    full = make_subscription(contoso, owner=alice, quantity=2, next_quantity=1)
    assign_license(actor=actor_of(alice), subscription_key=full.key, user_id=bob.pk, at=at)

    with pytest.raises(assignments.AlreadyAssigned):
        assign_license(actor=actor_of(alice), subscription_key=full.key, user_id=bob.pk, at=at)

    assert holders(full) == [bob.pk]


def test_refuses_a_second_license_of_the_same_subscription(
    subscription: Subscription, alice: User, bob: User, at: datetime
) -> None:
    assign_license(actor=actor_of(alice), subscription_key=subscription.key, user_id=bob.pk, at=at)

    with pytest.raises(assignments.AlreadyAssigned) as refusal:
        assign_license(
            actor=actor_of(alice), subscription_key=subscription.key, user_id=bob.pk, at=at, confirmed=True
        )

    assert refusal.value.status == 409
    assert holders(subscription) == [bob.pk]


def test_a_second_license_of_the_product_needs_a_second_click(
    contoso: Tenant, subscription: Subscription, alice: User, bob: User, at: datetime
) -> None:
    central = make_subscription(contoso)
    lisa = make_user(contoso, roles=("license_admin",))
    assign_license(actor=actor_of(lisa), subscription_key=central.key, user_id=bob.pk, at=at)

    with pytest.raises(assignments.HoldsProduct):
        assign_license(actor=actor_of(alice), subscription_key=subscription.key, user_id=bob.pk, at=at)
    assert holders(subscription) == []

    assign_license(
        actor=actor_of(alice), subscription_key=subscription.key, user_id=bob.pk, at=at, confirmed=True
    )
    assert holders(subscription) == [bob.pk]


def test_a_disabled_subscription_of_the_product_needs_no_second_click(
    contoso: Tenant, subscription: Subscription, alice: User, bob: User, at: datetime
) -> None:
    old = make_subscription(contoso, owner=alice)
    assign_license(actor=actor_of(alice), subscription_key=old.key, user_id=bob.pk, at=at)
    with tenant_atomic(contoso.pk):
        Subscription.objects.filter(pk=old.pk).update(state="disabled")

    assign_license(actor=actor_of(alice), subscription_key=subscription.key, user_id=bob.pk, at=at)

    assert holders(subscription) == [bob.pk]


def test_refuses_who_cannot_hold_one(
    contoso: Tenant, subscription: Subscription, alice: User, at: datetime
) -> None:
    stranger = make_user(make_tenant(name="Fabrikam"))
    cases = [
        (make_user(contoso, kind="guest").pk, assignments.GuestsExcluded, 409),
        (make_user(contoso, status="disabled").pk, assignments.PersonNotActive, 409),
        (make_user(contoso, status="deleted").pk, assignments.PersonUnknown, 404),
        (stranger.pk, assignments.PersonUnknown, 404),
        (2**62, assignments.PersonUnknown, 404),
    ]
    refused = []

    for user_id, error, status in cases:
        with pytest.raises(error) as refusal:
            assign_license(
                actor=actor_of(alice),
                subscription_key=subscription.key,
                user_id=user_id,
                at=at,
                confirmed=True,
            )
        refused.append(refusal.value.status == status)

    assert refused == [True] * 5
    assert holders(subscription) == []
    with tenant_atomic(contoso.pk):
        assert AuditEntry.objects.count() == 0
        assert SubscriptionEvent.objects.count() == 0


@pytest.mark.parametrize(
    ("role", "is_central", "error"),
    [
        ("license_admin", True, None),
        ("user_admin", True, None),
        ("global_admin", True, None),
        ("billing_admin", True, NotAllowed),
        ("global_reader", True, NotAllowed),
        ("", True, NotVisible),
        ("license_admin", False, NotAllowed),
        ("user_admin", False, NotAllowed),
        ("global_admin", False, NotAllowed),
        ("billing_admin", False, NotAllowed),
        ("global_reader", False, NotAllowed),
        ("", False, NotVisible),
    ],
)
def test_who_may_assign(
    contoso: Tenant,
    subscription: Subscription,
    bob: User,
    at: datetime,
    role: str,
    is_central: bool,
    error: type[Exception] | None,
) -> None:
    target = make_subscription(contoso) if is_central else subscription
    admin = make_user(contoso, roles=(role,) if role else ())
    caught = None

    try:
        assign_license(actor=actor_of(admin), subscription_key=target.key, user_id=bob.pk, at=at)
    except (NotAllowed, NotVisible) as refusal:
        caught = type(refusal)

    assert caught is error
    assert holders(target) == ([] if error else [bob.pk])


def test_a_partner_assigns_with_the_delegated_role_and_both_names_are_kept(
    contoso: Tenant, bob: User, at: datetime
) -> None:
    northwind = make_tenant(name="Northwind")
    petra, nils = make_user(northwind, name="Petra"), make_user(northwind, name="Nils")
    make_relationship(contoso, northwind, users=(petra,), roles=("license_admin",))
    central = make_subscription(contoso)

    assign_license(actor=actor_of(petra, contoso), subscription_key=central.key, user_id=bob.pk, at=at)
    with pytest.raises(NotVisible):
        assign_license(actor=actor_of(nils), subscription_key=central.key, user_id=bob.pk, at=at)

    assert holders(central) == [bob.pk]
    with tenant_atomic(contoso.pk):
        audit = AuditEntry.objects.get()
        assert (audit.actor_user_id, audit.actor_tenant_id) == (petra.pk, northwind.pk)
        assert audit.on_behalf_of == "Northwind: Contoso administration"


def test_another_organizations_subscription_does_not_exist(
    subscription: Subscription, bob: User, at: datetime
) -> None:
    charlie = make_user(make_tenant(), roles=("global_admin",))

    for key in (subscription.key, uuid4()):
        with pytest.raises(NotVisible):
            assign_license(actor=actor_of(charlie), subscription_key=key, user_id=charlie.pk, at=at)

    assert holders(subscription) == []


def test_a_list_reports_each_person_and_what_fails_leaves_the_rest(
    contoso: Tenant, subscription: Subscription, alice: User, bob: User, at: datetime
) -> None:
    central = make_subscription(contoso)
    erik, daan, dirk = (make_user(contoso) for _ in range(3))
    guest, disabled = make_user(contoso, kind="guest"), make_user(contoso, status="disabled")
    admin = actor_of(make_user(contoso, roles=("license_admin",)))
    assign_licenses(actor=admin, subscription_key=central.key, user_ids=[erik.pk], at=at)

    result = assign_licenses(
        actor=actor_of(alice),
        subscription_key=subscription.key,
        user_ids=[bob.pk, guest.pk, erik.pk, bob.pk, disabled.pk, 2**62, alice.pk, daan.pk, dirk.pk],
        at=at,
    )

    assert [outcome for _user, outcome in result.outcomes] == [
        Outcome.ASSIGNED,
        Outcome.GUEST,
        Outcome.HOLDS_PRODUCT,
        Outcome.REPEATED,
        Outcome.DISABLED,
        Outcome.UNKNOWN,
        Outcome.ASSIGNED,
        Outcome.ASSIGNED,
        Outcome.NO_SEAT,
    ]
    assert (result.done, result.free) == (3, 0)
    assert holders(subscription) == [bob.pk, alice.pk, daan.pk]
    with tenant_atomic(contoso.pk):
        assert AuditEntry.objects.filter(target_id=str(subscription.key)).count() == 3
        event = SubscriptionEvent.objects.get(subscription=subscription)
        assert event.facts == {"count": 3, "user_ids": [bob.pk, alice.pk, daan.pk]}


def test_a_list_of_a_thousand_is_one_statement(
    contoso: Tenant, alice: User, at: datetime, django_assert_num_queries: object
) -> None:
    large = make_subscription(contoso, owner=alice, quantity=999)
    with tenant_atomic(contoso.pk):
        people = User.objects.bulk_create(
            User(tenant=contoso, name=f"P {n}", sort_name=f"p {n}", email=f"p{n}@x.example", created_at=at)
            for n in range(1_000)
        )
    actor = actor_of(alice)

    with django_assert_num_queries(1):  # type: ignore[operator]
        result = assign_licenses(
            actor=actor, subscription_key=large.key, user_ids=[person.pk for person in people], at=at
        )

    assert (result.done, result.free) == (999, 0)
    assert result.outcomes[-1] == (people[-1].pk, Outcome.NO_SEAT)


def test_refuses_an_empty_list_and_more_than_a_thousand(
    subscription: Subscription, alice: User, at: datetime
) -> None:
    for user_ids in ([], list(range(1_001))):
        with pytest.raises(Malformed):
            assign_licenses(
                actor=actor_of(alice), subscription_key=subscription.key, user_ids=user_ids, at=at
            )

    assert holders(subscription) == []


def test_a_license_given_again_is_a_new_row(
    subscription: Subscription, alice: User, bob: User, at: datetime
) -> None:
    actor = actor_of(alice)
    for _ in range(2):
        assign_license(actor=actor, subscription_key=subscription.key, user_id=bob.pk, at=at)
        assignments.unassign_licenses(
            actor=actor, subscription_key=subscription.key, user_ids=[bob.pk], at=at
        )

    assert holders(subscription) == []
    with tenant_atomic(subscription.tenant_id):
        assert list(Assignment.objects.values_list("ended_at", "ended_by")) == [(at, "Alice")] * 2


def test_the_tenant_set_around_an_assignment_stays(
    subscription: Subscription, alice: User, bob: User, at: datetime
) -> None:
    other = make_tenant()
    actor = actor_of(alice)

    with tenant_atomic(other.pk), connection().cursor() as cursor:
        assign_license(actor=actor, subscription_key=subscription.key, user_id=bob.pk, at=at)
        cursor.execute("SELECT current_setting('seatkeeper.tenant_id')")
        assert cursor.fetchone()[0] == str(other.pk)


def test_the_counter_cannot_pass_the_quantity_nor_the_quantity_drop_below_it(
    subscription: Subscription, alice: User, bob: User, at: datetime
) -> None:
    """I-01 and I-05, by the database alone."""
    assign_license(actor=actor_of(alice), subscription_key=subscription.key, user_id=bob.pk, at=at)

    for change in ({"assigned": 4}, {"quantity": 0}, {"assigned": -1}):
        with pytest.raises(IntegrityError), tenant_atomic(subscription.tenant_id):
            Subscription.objects.filter(pk=subscription.pk).update(**change)

    assert holders(subscription) == [bob.pk]


def test_one_live_row_per_person_and_no_row_across_tenants(
    contoso: Tenant, subscription: Subscription, alice: User, bob: User, at: datetime
) -> None:
    """I-02 and I-03, by the database alone."""
    stranger = make_user(make_tenant())
    assign_license(actor=actor_of(alice), subscription_key=subscription.key, user_id=bob.pk, at=at)
    insert = (
        "INSERT INTO licensing_assignment (tenant_id, subscription_id, user_id, product_id, assigned_at,"
        " assigned_by, ended_by) VALUES (%s, %s, %s, 1, now(), '', '')"
    )
    broken = []

    for user_id in (bob.pk, stranger.pk):
        with (
            pytest.raises(IntegrityError) as error,
            tenant_atomic(contoso.pk),
            connection().cursor() as cursor,
        ):
            cursor.execute(insert, [contoso.pk, subscription.pk, user_id])
        broken.append(error.value.__cause__.diag.constraint_name)  # type: ignore[union-attr]

    assert broken == ["licensing_assignment_one_live", "licensing_assignment_user"]
