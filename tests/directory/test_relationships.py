"""A relationship while it runs: who has its roles, and how it ends (operations/partners.py, operations/delegations.py)."""

from datetime import timedelta

import pytest
from django.db import IntegrityError

from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import atomic, tenant_atomic
from directory.actors import build_actor
from directory.models import AuditEntry, OutgoingMail, Relationship, RelationshipAssignment
from directory.operations.delegations import assign_to_group, assign_to_person, unassign
from directory.operations.groups import remove_member
from directory.operations.leaving import delete_user
from directory.operations.partners import RelationshipOver, end_relationship, stop_extending
from directory.operations.people import add_member, create_group
from directory.permissions import ROLES
from tests.factories import AT, actor_of, make_relationship, make_tenant, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def contoso():
    return make_tenant(name="Contoso")


@pytest.fixture
def northwind():
    return make_tenant(name="Northwind")


@pytest.fixture
def gina(contoso):
    return make_user(contoso, name="Gina", roles=("global_admin",))


@pytest.fixture
def petra(northwind):
    return make_user(northwind, name="Petra", roles=("global_admin",))


def acting(user, customer, at):
    with tenant_atomic(user.tenant_id):
        return build_actor(user, acting_tenant_id=customer.pk, at=at)


def again(relationship):
    with tenant_atomic(relationship.tenant_id):
        return Relationship.objects.get(pk=relationship.pk)


def audited(tenant):
    with tenant_atomic(tenant.pk):
        rows = AuditEntry.objects.filter(tenant=tenant, target_type="relationship").order_by("pk")
        return [row.code.removeprefix("directory.relationship.") for row in rows]


def told(tenant):
    with tenant_atomic(tenant.pk):
        rows = OutgoingMail.objects.filter(tenant=tenant, kind="relationship_ended")
        return {row.to_user_id for row in rows}


# --- Assigning --------------------------------------------------------------------------------------------


def test_a_subset_of_the_roles_is_given_to_a_person(contoso, northwind, petra, at):
    nils = make_user(northwind, name="Nils")
    relationship = make_relationship(contoso, northwind)

    assign_to_person(
        actor=actor_of(petra), key=relationship.key, user_id=nils.pk, roles=("license_admin",), at=at
    )

    assert acting(nils, contoso, at).roles == {"license_admin"}
    assert acting(petra, contoso, at) is None
    assert [audited(side) for side in (contoso, northwind)] == [["assigned"], ["assigned"]]


def test_giving_again_replaces_what_a_person_had_and_the_same_twice_is_once(contoso, northwind, petra, at):
    relationship = make_relationship(contoso, northwind)
    for roles in (("license_admin",), ("license_admin",), ("billing_admin",)):
        assign_to_person(actor=actor_of(petra), key=relationship.key, user_id=petra.pk, roles=roles, at=at)

    assert acting(petra, contoso, at).roles == {"billing_admin"}
    assert audited(contoso) == ["assigned", "assigned"]


def test_a_group_has_the_roles_as_long_as_one_is_in_it(contoso, northwind, petra, at):
    nils = make_user(northwind)
    relationship = make_relationship(contoso, northwind)
    group = create_group(actor=actor_of(petra), name="Delivery", at=at)
    assign_to_group(
        actor=actor_of(petra), key=relationship.key, group_key=group.key, roles=("license_admin",), at=at
    )
    assert acting(nils, contoso, at) is None

    add_member(actor=actor_of(petra), group_key=group.key, user_id=nils.pk, at=at)
    assert acting(nils, contoso, at).roles == {"license_admin"}
    assert actor_of(nils).has_customers

    remove_member(actor=actor_of(petra), group_key=group.key, user_id=nils.pk, at=at)
    assert acting(nils, contoso, at) is None
    assert not actor_of(nils).has_customers


def test_roles_by_name_and_by_group_add_up(contoso, northwind, petra, at):
    relationship = make_relationship(contoso, northwind, users=(petra,), user_roles=("license_admin",))
    group = create_group(actor=actor_of(petra), name="Delivery", at=at)
    add_member(actor=actor_of(petra), group_key=group.key, user_id=petra.pk, at=at)

    assign_to_group(
        actor=actor_of(petra), key=relationship.key, group_key=group.key, roles=("billing_admin",), at=at
    )

    assert acting(petra, contoso, at).roles == {"license_admin", "billing_admin"}


def test_a_group_that_goes_takes_its_roles_along(contoso, northwind, petra, at):
    relationship = make_relationship(contoso, northwind)
    group = create_group(actor=actor_of(petra), name="Delivery", at=at)
    assign_to_group(
        actor=actor_of(petra), key=relationship.key, group_key=group.key, roles=("license_admin",), at=at
    )

    with tenant_atomic(northwind.pk):
        group.delete()
        assert not RelationshipAssignment.objects.exists()


def test_what_was_taken_back_is_gone_from_the_next_request_on(contoso, northwind, petra, at):
    relationship = make_relationship(contoso, northwind, users=(petra,))
    with tenant_atomic(northwind.pk):
        assignment = RelationshipAssignment.objects.get()

    for _again in range(2):
        unassign(actor=actor_of(petra), key=relationship.key, assignment_id=assignment.pk, at=at)

    assert acting(petra, contoso, at) is None
    assert [audited(side) for side in (contoso, northwind)] == [["unassigned"], ["unassigned"]]


@pytest.mark.parametrize(("roles", "error"), [((), Malformed), (("user_admin",), Malformed)])
def test_no_role_is_given_that_the_relationship_does_not_have(contoso, northwind, petra, at, roles, error):
    relationship = make_relationship(contoso, northwind)

    with pytest.raises(error):
        assign_to_person(actor=actor_of(petra), key=relationship.key, user_id=petra.pk, roles=roles, at=at)

    assert acting(petra, contoso, at) is None


def test_roles_are_given_to_active_members_of_the_partner_alone(contoso, northwind, petra, gina, at):
    relationship = make_relationship(contoso, northwind)
    guest = make_user(northwind, kind="guest")
    former = make_user(northwind, status="disabled", disabled_at=at)
    stranger = make_user(make_tenant())

    for user in (guest, former, stranger, gina):
        with pytest.raises(NotVisible):
            assign_to_person(
                actor=actor_of(petra), key=relationship.key, user_id=user.pk, roles=("license_admin",), at=at
            )


@pytest.mark.parametrize("who", ["member", "billing_admin", "customer", "acting", "stranger"])
def test_only_the_partners_global_admins_give_roles(contoso, northwind, petra, gina, at, who):
    relationship = make_relationship(contoso, northwind, roles=("global_admin",), users=(petra,))
    actor = {
        "member": lambda: actor_of(make_user(northwind)),
        "billing_admin": lambda: actor_of(make_user(northwind, roles=("billing_admin",))),
        "customer": lambda: actor_of(gina),
        "acting": lambda: actor_of(petra, contoso),
        "stranger": lambda: actor_of(make_user(make_tenant(), roles=("global_admin",))),
    }[who]()
    sees = who in ("billing_admin", "customer", "acting")

    with pytest.raises(NotAllowed if sees else NotVisible):
        assign_to_person(actor=actor, key=relationship.key, user_id=petra.pk, roles=("global_admin",), at=at)


def test_a_deleted_person_has_no_roles_of_a_relationship_left(contoso, northwind, petra, at):
    nils = make_user(northwind)
    make_relationship(contoso, northwind, users=(nils,))

    delete_user(actor=actor_of(petra), user_id=nils.pk, at=at, real_at=at)

    with tenant_atomic(northwind.pk):
        assert not RelationshipAssignment.objects.exists()


# --- Ending -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["customer", "partner", "acting"])
def test_either_side_ends_it_at_once_and_both_trails_say_so(contoso, northwind, petra, gina, at, side):
    relationship = make_relationship(contoso, northwind, roles=("global_admin",), users=(petra,))
    actor = {"customer": actor_of(gina), "partner": actor_of(petra), "acting": actor_of(petra, contoso)}[side]
    assert acting(petra, contoso, at) is not None

    for _again in range(2):
        end_relationship(actor=actor, key=relationship.key, at=at)

    assert acting(petra, contoso, at) is None
    assert (again(relationship).status, again(relationship).ends_at) == ("ended", at)
    assert [audited(each) for each in (contoso, northwind)] == [["ended"], ["ended"]]


def test_all_but_who_ended_it_are_told(contoso, northwind, petra, gina, at):
    greg = make_user(contoso, roles=("global_admin",))
    nils = make_user(northwind)
    make_user(northwind)
    relationship = make_relationship(contoso, northwind, users=(nils,))

    end_relationship(actor=actor_of(gina), key=relationship.key, at=at)

    assert told(contoso) == {greg.pk}
    assert told(northwind) == {petra.pk, nils.pk}


@pytest.mark.parametrize("role", [role for role in ROLES if role != "global_admin"])
def test_other_admins_of_the_customer_do_not_end_it(contoso, northwind, at, role):
    relationship = make_relationship(contoso, northwind)
    somebody = make_user(contoso, roles=(role,))
    sees = role in ("billing_admin", "global_reader")

    with pytest.raises(NotAllowed if sees else NotVisible):
        end_relationship(actor=actor_of(somebody), key=relationship.key, at=at)

    assert again(relationship).status == "active"


def test_another_partner_of_the_customer_does_not_see_it(contoso, northwind, at):
    relationship = make_relationship(contoso, northwind)
    other = make_tenant()
    rival = make_user(other, roles=("global_admin",))
    make_relationship(contoso, other, roles=("global_admin",), users=(rival,))

    for actor in (actor_of(rival), actor_of(rival, contoso)):
        with pytest.raises(NotVisible):
            end_relationship(actor=actor, key=relationship.key, at=at)


def test_ending_late_does_not_prolong_it(contoso, northwind, gina):
    relationship = make_relationship(contoso, northwind)
    late = relationship.ends_at + timedelta(days=2)

    end_relationship(actor=actor_of(gina, at=late), key=relationship.key, at=late)

    assert again(relationship).ends_at == relationship.ends_at


def test_nothing_is_given_after_the_end_although_no_sweep_has_noted_it(contoso, northwind, petra):
    relationship = make_relationship(contoso, northwind)

    with pytest.raises(RelationshipOver):
        assign_to_person(
            actor=actor_of(petra),
            key=relationship.key,
            user_id=petra.pk,
            roles=("license_admin",),
            at=relationship.ends_at,
        )


@pytest.mark.parametrize("side", ["customer", "partner"])
def test_either_side_stops_that_it_extends(contoso, northwind, petra, gina, at, side):
    relationship = make_relationship(contoso, northwind, extends=True)

    for _again in range(2):
        stop_extending(actor=actor_of(gina if side == "customer" else petra), key=relationship.key, at=at)

    assert not again(relationship).extends
    assert [audited(each) for each in (contoso, northwind)] == [["extension_stopped"], ["extension_stopped"]]


# --- What the database holds by itself --------------------------------------------------------------------


@pytest.mark.parametrize(
    "change", [{"extends": True}, {"roles": ["global_admin"]}, {"ends_at": AT + timedelta(days=900)}]
)
def test_the_partners_side_cannot_give_itself_more(contoso, northwind, change):
    relationship = make_relationship(contoso, northwind)

    with tenant_atomic(northwind.pk), pytest.raises(IntegrityError) as error, atomic():
        Relationship.objects.filter(pk=relationship.pk).update(**change)

    assert error.value.__cause__.diag.constraint_name == "directory_partner_asks_only"


def test_an_assignment_names_a_person_or_a_group_and_not_both(contoso, northwind, petra, at):
    relationship = make_relationship(contoso, northwind)
    group = create_group(actor=actor_of(petra), name="Delivery", at=at)
    with tenant_atomic(northwind.pk):
        for holder in ({}, {"user_id": petra.pk, "group_id": group.pk}):
            with pytest.raises(IntegrityError) as error, atomic():
                RelationshipAssignment.objects.create(
                    tenant_id=contoso.pk,
                    relationship=relationship,
                    partner_tenant_id=northwind.pk,
                    roles=["license_admin"],
                    **holder,
                )
            name = "directory_relationshipassignment_one_holder"
            assert error.value.__cause__.diag.constraint_name == name


def test_a_group_of_another_organization_gets_nothing(contoso, northwind, gina, at):
    relationship = make_relationship(contoso, northwind)
    group = create_group(actor=actor_of(gina), name="Own", at=at)
    with tenant_atomic(northwind.pk), pytest.raises(IntegrityError) as error, atomic():
        RelationshipAssignment.objects.create(
            tenant_id=contoso.pk,
            relationship=relationship,
            partner_tenant_id=northwind.pk,
            group_id=group.pk,
            roles=["license_admin"],
        )

    assert error.value.__cause__.diag.constraint_name == "directory_relationshipassignment_group"


def test_nobody_is_a_partner_of_themselves(contoso):
    with pytest.raises(IntegrityError) as error, atomic():
        make_relationship(contoso, contoso)

    assert error.value.__cause__.diag.constraint_name == "directory_relationship_of_two"
