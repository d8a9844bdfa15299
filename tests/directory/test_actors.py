"""Building the actor of a request (directory/actors.py)."""

from datetime import timedelta

import pytest

from config.kit.tenancy import tenant_atomic
from directory.actors import build_actor
from directory.permissions import Capability
from tests.factories import actor_of, make_relationship, make_tenant, make_user

pytestmark = pytest.mark.django_db


def build(user, tenant, at):
    with tenant_atomic(user.tenant_id):
        return build_actor(user, acting_tenant_id=tenant.pk, at=at)


def test_a_member_holds_the_members_column(at):
    actor = actor_of(make_user(make_tenant()))

    assert actor.scopes(Capability.SEE_LICENSES) == {"own"}
    assert not actor.may(Capability.SEE_PURCHASES)
    assert not actor.is_partner


def test_a_purchaser_adds_the_purchasers_column_to_the_roles(at):
    actor = actor_of(make_user(make_tenant(), roles=("license_admin",), purchaser_since=at))

    assert actor.scopes(Capability.ASSIGN) == {"own", "org"}


def test_a_partner_holds_the_delegated_roles_alone(at):
    customer, partner = make_tenant(), make_tenant()
    petra = make_user(partner, roles=("global_admin",), purchaser_since=at)
    make_relationship(customer, partner, users=(petra,), user_roles=("license_admin",))

    actor = actor_of(petra, customer)

    assert actor.roles == {"license_admin"}
    assert actor.scopes(Capability.ASSIGN) == {"org"}
    assert not actor.may(Capability.SEE_PURCHASES)
    assert not actor.may(Capability.BUY)
    assert (actor.tenant_id, actor.home_tenant_id) == (customer.pk, partner.pk)


def test_roles_that_the_customer_struck_are_gone(at):
    customer, partner = make_tenant(), make_tenant()
    petra = make_user(partner)
    make_relationship(
        customer,
        partner,
        roles=("license_admin",),
        users=(petra,),
        user_roles=("global_admin", "license_admin"),
    )

    assert actor_of(petra, customer).roles == {"license_admin"}


def test_a_colleague_who_was_not_assigned_has_nothing(at):
    customer, partner = make_tenant(), make_tenant()
    petra, nils = make_user(partner), make_user(partner, roles=("global_admin",))
    make_relationship(customer, partner, users=(petra,))

    assert build(nils, customer, at) is None


@pytest.mark.parametrize(
    ("fields", "offset"),
    [
        ({"status": "ended"}, timedelta(0)),
        ({}, timedelta(days=364)),
        ({}, timedelta(days=-2)),
    ],
)
def test_a_relationship_that_is_not_running_gives_nothing(at, fields, offset):
    customer, partner = make_tenant(), make_tenant()
    petra = make_user(partner)
    make_relationship(customer, partner, users=(petra,), **fields)

    assert build(petra, customer, at + offset) is None


def test_the_relationship_holds_up_to_its_last_second(at):
    customer, partner = make_tenant(), make_tenant()
    petra = make_user(partner)
    make_relationship(customer, partner, users=(petra,))

    assert build(petra, customer, at + timedelta(days=364, seconds=-1)) is not None
