"""What `check_invariants` says of group seats and the waiting list: silent on sound rows, and finds what is broken."""

from datetime import datetime

import pytest
from django.db import IntegrityError

from commerce.models import Subscription
from config.invariants import violations
from config.kit.tenancy import atomic, connection, tenant_atomic, use_login
from directory.models import GroupMembership
from directory.operations.people import add_member, create_group
from licensing.models import WaitingPlace
from licensing.operations.assignments import unassign_licenses
from licensing.operations.groups import assign_group
from licensing.operations.waiting import add_to_waiting_list
from tests.factories import actor_of, make_subscription, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


@pytest.fixture
def sound(at: datetime) -> Subscription:
    """Ann, Ben and Cas are of a group with two seats; Dan waited and got Ann's, Eve waits; another has none of it."""
    tenant = make_tenant(name="Contoso")
    admin = actor_of(make_user(tenant, roles=("global_admin",)))
    ann, ben, cas, dan, eve = (make_user(tenant, name=name) for name in ("Ann", "Ben", "Cas", "Dan", "Eve"))
    subscription = make_subscription(tenant, quantity=2)
    other = make_subscription(tenant)
    group = create_group(actor=admin, name="Sales", at=at)
    empty = create_group(actor=admin, name="Empty", at=at)
    for member in (ann, ben, cas):
        add_member(actor=admin, group_key=group.key, user_id=member.pk, at=at)
    assign_group(actor=admin, subscription_key=subscription.key, group_key=group.key, at=at)
    assign_group(actor=admin, subscription_key=other.key, group_key=empty.key, at=at)
    ids = [dan.pk, eve.pk]
    add_to_waiting_list(actor=admin, subscription_key=subscription.key, user_ids=ids, at=at)
    unassign_licenses(actor=admin, subscription_key=subscription.key, user_ids=[ann.pk], at=at)
    return subscription


def rules(at: datetime) -> list[str]:
    return [violation.rule.split(",")[0] for violation in violations(at=at, only=["I-04"])]


def execute(statement: str) -> None:
    with use_login("owner"), atomic(), connection().cursor() as cursor:
        cursor.execute(statement)


def test_finds_nothing_wrong_with_sound_rows(sound: Subscription, at: datetime) -> None:
    assert rules(at) == []


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM directory_groupmembership",
        "UPDATE licensing_assignment SET group_license_id = (SELECT max(id) FROM licensing_grouplicense)"
        " WHERE group_license_id IS NOT NULL AND ended_at IS NULL",
    ],
)
def test_finds_a_group_seat_that_belongs_to_no_group(
    sound: Subscription, at: datetime, statement: str
) -> None:
    execute(statement)

    assert rules(at) == ["a license that came from a group is of the group's subscription"]


def test_a_change_that_is_to_be_followed_is_none(sound: Subscription, at: datetime) -> None:
    execute("DELETE FROM directory_groupmembership")
    execute(
        "INSERT INTO licensing_grouptouch (tenant_id, group_id)"
        " SELECT tenant_id, group_id FROM licensing_grouplicense"
    )

    assert rules(at) == []


def test_finds_a_place_that_was_served_with_somebody_elses_seat(sound: Subscription, at: datetime) -> None:
    execute(
        "UPDATE licensing_waitingplace SET assignment_id = (SELECT min(id) FROM licensing_assignment)"
        " WHERE outcome = 'given'"
    )

    assert rules(at) == ["nobody is in a waiting list twice"]


def test_the_database_refuses_a_second_place_and_a_second_license_of_a_group(
    sound: Subscription, at: datetime
) -> None:
    for statement in (
        "INSERT INTO licensing_waitingplace (tenant_id, key, subscription_id, user_id, added_at, added_by, ended_by,"
        " outcome) SELECT tenant_id, gen_random_uuid(), subscription_id, user_id, added_at, '', '', ''"
        " FROM licensing_waitingplace WHERE ended_at IS NULL",
        "INSERT INTO licensing_grouplicense (tenant_id, key, subscription_id, group_id, group_name, assigned_at,"
        " assigned_by, ended_by) SELECT tenant_id, gen_random_uuid(), subscription_id, group_id, '', assigned_at, '', ''"
        " FROM licensing_grouplicense LIMIT 1",
        "UPDATE licensing_waitingplace SET outcome = 'given', ended_at = now() WHERE ended_at IS NULL",
    ):
        with pytest.raises(IntegrityError):
            execute(statement)

    with tenant_atomic(sound.tenant_id):
        assert WaitingPlace.objects.live().count() == 1
        assert GroupMembership.objects.count() == 3
