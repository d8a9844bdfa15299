"""Saying what may be done with a product's data, and what holds by it (product §14; docs/data.md)."""

import itertools
import random
from typing import Any

import pytest
from django.db import connection

from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, Group, GroupMembership, Tenant, User
from directory.operations.groups import delete_group
from directory.permissions import Role
from policies.models import DataPolicy
from policies.operations.data import Place, Values, set_data_policy
from policies.operations.policies import PolicyMoved
from policies.queries.data import data_policies, data_policy_for, switched_off_for
from tests.factories import AT, actor_of, make_relationship, make_tenant, make_user

pytestmark = pytest.mark.django_db

VISIO, OTHER = 7, 8


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina", roles=(Role.GLOBAL_ADMIN,))


def group_of(tenant: Tenant, *people: User, name: str = "Lab") -> Group:
    with tenant_atomic(tenant.pk):
        group = Group.objects.create(tenant=tenant, name=name)
        for user in people:
            GroupMembership.objects.create(tenant=tenant, group=group, user=user)
    return group


def say(by: User, place: Place | None = None, *, why: str = "", **values: Any) -> bool:
    return set_data_policy(
        actor=actor_of(by), place=place or Place(), values=Values(**values), at=AT, why=why
    )


def entries(tenant: Tenant) -> list[AuditEntry]:
    with tenant_atomic(tenant.pk):
        return list(AuditEntry.objects.filter(code="policies.data_policy.changed").order_by("id"))


def test_a_value_holds_at_once_and_the_trail_says_what_was_before(contoso: Tenant, gina: User) -> None:
    visio = Place(VISIO, "Visio")

    assert say(gina, visio, service_on=False, why="A review")
    assert say(gina, visio, service_on=False, retention_days=30)

    with tenant_atomic(contoso.pk):
        held = data_policies(actor=actor_of(gina))
    assert held.is_off(VISIO)
    assert held.is_off_for_all(VISIO)
    assert not held.is_off(OTHER)
    first, second = entries(contoso)
    assert (first.before, first.after) == ({"service_on": None}, {"service_on": False, "why": "A review"})
    assert (second.before, second.after) == ({"retention_days": None}, {"retention_days": 30})
    assert (first.target_type, first.target_id, first.target_label) == ("data_policy", str(VISIO), "Visio")


def test_what_is_so_already_is_no_change_and_nothing_said_leaves_no_row(contoso: Tenant, gina: User) -> None:
    assert say(gina, external_sharing=False)
    assert not say(gina, external_sharing=False)
    assert say(gina)

    assert len(entries(contoso)) == 2
    with tenant_atomic(contoso.pk):
        assert not DataPolicy.objects.exists()


def test_what_somebody_changed_meanwhile_is_not_overwritten(gina: User) -> None:
    say(gina, retention_days=30)

    with pytest.raises(PolicyMoved):
        set_data_policy(
            actor=actor_of(gina), place=Place(), values=Values(retention_days=60), seen=Values(), at=AT
        )


@pytest.mark.parametrize("days", [6, 3651, 0, -1])
def test_days_are_7_to_3650(gina: User, days: int) -> None:
    with pytest.raises(Malformed) as refused:
        say(gina, retention_days=days)
    assert refused.value.field == "retention_days"


def test_groups_say_nothing_of_how_long_data_is_kept(contoso: Tenant, gina: User) -> None:
    lab = group_of(contoso)

    with pytest.raises(Malformed):
        say(gina, Place(group_id=lab.pk), retention_days=30)


def test_nonsense_is_refused(gina: User) -> None:
    with pytest.raises(Malformed):
        say(gina, creators="nobody")
    with pytest.raises(Malformed):
        say(gina, service_on=False, why="x" * 501)


@pytest.mark.parametrize("role", [Role.BILLING_ADMIN, Role.GLOBAL_READER])
def test_who_reads_it_may_not_change_it(contoso: Tenant, role: str) -> None:
    with pytest.raises(NotAllowed):
        say(make_user(contoso, roles=(role,)), service_on=False)


@pytest.mark.parametrize("role", [Role.LICENSE_ADMIN, Role.USER_ADMIN])
def test_who_may_not_read_it_does_not_learn_of_it(contoso: Tenant, role: str) -> None:
    with pytest.raises(NotVisible):
        say(make_user(contoso, roles=(role,)), service_on=False)


def test_a_partner_with_the_role_changes_it_in_the_customers_name(contoso: Tenant, gina: User) -> None:
    partner = make_tenant(name="Partner")
    peter = make_user(partner)
    make_relationship(contoso, partner, roles=(Role.GLOBAL_ADMIN,), users=(peter,))

    set_data_policy(actor=actor_of(peter, contoso), place=Place(), values=Values(service_on=False), at=AT)

    with tenant_atomic(contoso.pk):
        assert DataPolicy.objects.get().tenant_id == contoso.pk


def test_another_organizations_group_is_not_there(gina: User) -> None:
    other = group_of(make_tenant())

    with pytest.raises(NotVisible):
        say(gina, Place(group_id=other.pk), service_on=False)


def test_a_group_may_keep_what_is_off_for_the_others(contoso: Tenant, gina: User) -> None:
    lea, mike = make_user(contoso, name="Lea"), make_user(contoso, name="Mike")
    lab = group_of(contoso, lea)
    say(gina, service_on=False)
    say(gina, Place(VISIO, "Visio", lab.pk), service_on=True)

    with tenant_atomic(contoso.pk):
        actor = actor_of(gina)
        assert switched_off_for(actor=actor, product_id=VISIO, user_ids=[lea.pk, mike.pk]) == {mike.pk}
        assert switched_off_for(actor=actor, product_id=OTHER, user_ids=[lea.pk]) == {lea.pk}
        held = data_policies(actor=actor)
        assert held.is_off(VISIO)
        assert not held.is_off_for_all(VISIO)
        assert held.is_off_for_all(OTHER)
        of_lea = data_policy_for(actor=actor, product_id=VISIO, user_id=lea.pk)
    assert (of_lea.service.origin, of_lea.service.group) == ("group_product", "Lab")


def test_a_deleted_group_says_nothing_any_more_and_the_trail_tells(contoso: Tenant, gina: User) -> None:
    lab = group_of(contoso)
    say(gina, Place(group_id=lab.pk), service_on=False)

    delete_group(actor=actor_of(gina), group_key=lab.key, at=AT)

    with tenant_atomic(contoso.pk):
        assert not DataPolicy.objects.exists()
    assert (entries(contoso)[-1].before, entries(contoso)[-1].after) == (
        {"service_on": False},
        {"service_on": None},
    )


def test_another_organizations_policies_are_not_there(contoso: Tenant, gina: User) -> None:
    say(make_user(make_tenant(), roles=(Role.GLOBAL_ADMIN,)), service_on=False)

    with tenant_atomic(contoso.pk):
        assert not data_policies(actor=actor_of(gina)).is_off(VISIO)


def test_the_databases_twin_says_the_same_of_every_mixture(contoso: Tenant, gina: User) -> None:
    lea = make_user(contoso)
    groups = [
        group_of(contoso, lea, name="Lab"),
        group_of(contoso, lea, name="Law"),
        group_of(contoso, name="Out"),
    ]
    places = list(itertools.product([None, VISIO, OTHER], [None, *groups]))
    actor, dice = actor_of(gina), random.Random(14)

    for _round in range(60):
        with tenant_atomic(contoso.pk):
            DataPolicy.objects.all().delete()
            for product_id, group in dice.sample(places, dice.randint(0, 7)):
                DataPolicy.objects.create(
                    tenant=contoso,
                    product_id=product_id,
                    group=group,
                    service_on=dice.choice([None, True, False]),
                    external_sharing=dice.choice([None, True, False]),
                    retention_days=None if group else dice.choice([None, 7, 30, 3650]),
                    creators=dice.choice(["", "everyone", "holders", "admins"]),
                    changed_at=AT,
                    changed_by="Gina",
                )
            held = data_policy_for(actor=actor, product_id=VISIO, user_id=lea.pk)
            with connection.cursor() as cursor:
                cursor.execute("SELECT * FROM policies_data_policy(%s, %s, %s)", [contoso.pk, VISIO, lea.pk])
                row = cursor.fetchone()
                cursor.execute("SELECT policies_service_is_on(%s, %s, %s)", [contoso.pk, VISIO, lea.pk])
                (is_on,) = cursor.fetchone()
        ours = (held.service.value, held.sharing.value, held.retention.value, held.creators.value)
        assert row == ours
        assert is_on == ours[0]
