"""Workspaces: made as the data policy allows, kept beyond purchase, license and maker, never deleted early (product §14)."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError

from commerce.models import Subscription
from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import atomic, tenant_atomic, use_login
from directory.models import AuditEntry, Group, GroupMembership, Tenant, User
from directory.operations.leaving import delete_user
from directory.operations.people import disable_user, enable_user
from directory.permissions import Role
from licensing.models import Workspace
from licensing.operations.assignments import assign_license, unassign_licenses
from licensing.operations.workspaces import (
    CannotHave,
    MayNotMake,
    SharingOff,
    hand_workspace,
    make_workspace,
    share_workspace,
    sweep_workspaces,
)
from licensing.queries.workspaces import workspaces_page
from policies.operations.data import Place, ServiceOff, Values, set_data_policy
from tests.factories import AT, actor_of, make_subscription, make_tenant, make_user, product

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina", roles=(Role.GLOBAL_ADMIN,))


@pytest.fixture
def mike(contoso: Tenant) -> User:
    return make_user(contoso, name="Mike Maas", email="mike@contoso.example")


@pytest.fixture
def central(contoso: Tenant, gina: User, mike: User) -> Subscription:
    """Power BI Pro of the organization's, of which Mike has a license."""
    subscription = make_subscription(contoso)
    assign_license(actor=actor_of(gina), subscription_key=subscription.key, user_id=mike.pk, at=AT)
    return subscription


@pytest.fixture
def plans(mike: User, central: Subscription) -> Workspace:
    return make(mike)


def make(user: User, name: str = "Plans for 2027") -> Workspace:
    return make_workspace(actor=actor_of(user), product=product(), name=name, at=AT)


def say(by: User, place: Place | None = None, **values: Any) -> None:
    set_data_policy(actor=actor_of(by), place=place or Place(), values=Values(**values), at=AT)


def found(workspace: Workspace) -> Workspace | None:
    with tenant_atomic(workspace.tenant_id):
        row: Workspace | None = Workspace.objects.select_related("holder").filter(pk=workspace.pk).first()
    return row


def end(subscription: Subscription) -> None:
    with tenant_atomic(subscription.tenant_id):
        Subscription.objects.filter(pk=subscription.pk).update(state="deleted", due_at=None)


def codes(tenant: Tenant) -> list[str]:
    with tenant_atomic(tenant.pk):
        rows = AuditEntry.objects.filter(code__startswith="licensing.workspace.").order_by("id")
        return list(rows.values_list("code", flat=True))


# --- Making ---------------------------------------------------------------------------------------------------------


def test_who_has_a_license_makes_one_that_is_the_organizations(
    contoso: Tenant, mike: User, plans: Workspace
) -> None:
    row = found(plans)

    assert row is not None
    assert (row.tenant_id, row.maker_id, row.holder_id, row.name) == (
        contoso.pk,
        mike.pk,
        mike.pk,
        "Plans for 2027",
    )
    assert codes(contoso) == ["licensing.workspace.made"]


def test_without_a_license_nobody_makes_one_until_everybody_may(contoso: Tenant, gina: User) -> None:
    lea = make_user(contoso)
    with pytest.raises(MayNotMake):
        make(lea)

    say(gina, Place(product().pk, "Power BI Pro"), creators="everyone")

    assert make(lea).holder_id == lea.pk


def test_where_admins_alone_make_them_a_group_may_besides(
    contoso: Tenant, gina: User, mike: User, central: Subscription
) -> None:
    say(gina, creators="admins")
    with pytest.raises(MayNotMake):
        make(mike)
    assert make(gina).holder_id == gina.pk

    with tenant_atomic(contoso.pk):
        lab = Group.objects.create(tenant=contoso, name="Lab")
        GroupMembership.objects.create(tenant=contoso, group=lab, user=mike)
    say(gina, Place(group_id=lab.pk), creators="holders")

    assert make(mike).holder_id == mike.pk


def test_of_a_product_that_is_switched_off_nothing_is_made(
    gina: User, mike: User, central: Subscription
) -> None:
    say(gina, service_on=False)

    with pytest.raises(ServiceOff):
        make(mike)


@pytest.mark.parametrize("name", ["", "  ", "\0", "x" * 101])
def test_it_has_a_name_of_1_to_100_letters(mike: User, central: Subscription, name: str) -> None:
    with pytest.raises(Malformed):
        make(mike, name)


def test_nobody_makes_one_for_a_colleague(gina: User, mike: User, central: Subscription) -> None:
    with pytest.raises(NotVisible):
        make_workspace(actor=actor_of(gina), product=product(), name="x", user_id=mike.pk, at=AT)


def test_a_guest_makes_one_by_a_license_alone(contoso: Tenant, gina: User) -> None:
    frank = make_user(contoso, kind="guest")
    say(gina, creators="everyone")

    with pytest.raises(MayNotMake):
        make(frank)


# --- Sharing --------------------------------------------------------------------------------------------------------


def test_one_shares_ones_own_where_the_policy_allows_and_always_ends_it(
    gina: User, mike: User, plans: Workspace
) -> None:
    share_workspace(actor=actor_of(mike), key=plans.key, shared=True, at=AT)
    assert found(plans).is_shared  # type: ignore[union-attr]
    say(gina, external_sharing=False)

    share_workspace(actor=actor_of(mike), key=plans.key, shared=False, at=AT)

    assert not found(plans).is_shared  # type: ignore[union-attr]
    with pytest.raises(SharingOff):
        share_workspace(actor=actor_of(mike), key=plans.key, shared=True, at=AT)


def test_nobody_shares_a_colleagues(gina: User, plans: Workspace) -> None:
    with pytest.raises(NotVisible):
        share_workspace(actor=actor_of(gina), key=plans.key, shared=True, at=AT)


# --- Whose it is ----------------------------------------------------------------------------------------------------


def test_admins_and_readers_see_all_and_others_their_own(
    contoso: Tenant, gina: User, mike: User, plans: Workspace
) -> None:
    own = make(mike, "Sketches")
    others = [make_user(contoso), make_user(contoso, roles=(Role.LICENSE_ADMIN,)), make_user(make_tenant())]

    def seen(user: User) -> list[Workspace]:
        with tenant_atomic(user.tenant_id):
            return list(workspaces_page(actor_of(user), cursor="").rows)

    for user in (gina, make_user(contoso, roles=(Role.GLOBAL_READER,)), mike):
        assert seen(user) == [own, plans]
    assert [seen(user) for user in others] == [[], [], []]


def test_the_list_is_narrowed_by_product_and_by_maker_or_holder(
    contoso: Tenant, gina: User, mike: User, plans: Workspace
) -> None:
    lea = make_user(contoso, name="Lea Lund", email="lea@contoso.example")
    hand_workspace(actor=actor_of(gina), key=plans.key, user_id=lea.pk, at=AT)

    with tenant_atomic(contoso.pk):
        for person in ("maas", "LEA@contoso", "lund lea"):
            assert list(workspaces_page(actor_of(gina), cursor="", person=person).rows) == [plans]
        assert list(workspaces_page(actor_of(gina), cursor="", person="nobody").rows) == []
        visio = product("visio-plan-1").pk
        assert list(workspaces_page(actor_of(gina), cursor="", product_id=visio).rows) == []


def test_a_global_admin_hands_one_to_another_member(contoso: Tenant, gina: User, plans: Workspace) -> None:
    lea = make_user(contoso)

    hand_workspace(actor=actor_of(gina), key=plans.key, user_id=lea.pk, at=AT)
    hand_workspace(actor=actor_of(gina), key=plans.key, user_id=lea.pk, at=AT)

    assert found(plans).holder == lea  # type: ignore[union-attr]
    assert found(plans).maker_id == plans.maker_id  # type: ignore[union-attr]
    assert codes(contoso).count("licensing.workspace.handed_over") == 1


@pytest.mark.parametrize("role", [Role.BILLING_ADMIN, Role.GLOBAL_READER])
def test_who_sees_them_all_may_not_hand_one_on(
    contoso: Tenant, mike: User, plans: Workspace, role: str
) -> None:
    with pytest.raises(NotAllowed):
        hand_workspace(
            actor=actor_of(make_user(contoso, roles=(role,))), key=plans.key, user_id=mike.pk, at=AT
        )


def test_who_has_it_may_not_hand_it_on_and_others_do_not_see_it(
    contoso: Tenant, gina: User, mike: User, plans: Workspace
) -> None:
    with pytest.raises(NotAllowed):
        hand_workspace(actor=actor_of(mike), key=plans.key, user_id=gina.pk, at=AT)
    with pytest.raises(NotVisible):
        hand_workspace(actor=actor_of(make_user(contoso)), key=plans.key, user_id=gina.pk, at=AT)


def test_it_goes_to_active_members_alone(contoso: Tenant, gina: User, plans: Workspace) -> None:
    nobody = [
        make_user(contoso, kind="guest"),
        make_user(contoso, status="disabled"),
        make_user(make_tenant()),
    ]

    for user in nobody:
        with pytest.raises(CannotHave):
            hand_workspace(actor=actor_of(gina), key=plans.key, user_id=user.pk, at=AT)


# --- How long it is kept --------------------------------------------------------------------------------------------


def sweep_of(workspace: Workspace, at: datetime) -> tuple[datetime | None, datetime | None]:
    sweep_workspaces(at=at)
    row = found(workspace)
    assert row is not None, at
    return row.kept_from, row.deletes_at


def test_it_outlives_the_license_and_the_purchase_that_is_not_deleted(
    gina: User, mike: User, central: Subscription, plans: Workspace
) -> None:
    unassign_licenses(actor=actor_of(gina), subscription_key=central.key, user_ids=[mike.pk], at=AT)
    for state in ("active", "expired", "disabled", "scheduled"):
        with tenant_atomic(central.tenant_id):
            Subscription.objects.filter(pk=central.pk).update(state=state)
        assert sweep_of(plans, AT + 3650 * DAY) == (None, None)


def test_after_the_last_purchase_it_is_kept_to_the_second_as_long_as_the_policy_says(
    contoso: Tenant, gina: User, central: Subscription, plans: Workspace
) -> None:
    say(gina, Place(product().pk, "Power BI Pro"), retention_days=30)
    end(central)
    over = AT + 30 * DAY

    assert sweep_of(plans, AT) == (AT, over)
    assert sweep_of(plans, over - SECOND) == (AT, over)
    assert sweep_workspaces(at=over) == 1

    assert found(plans) is None
    assert codes(contoso)[-1] == "licensing.workspace.deleted"


def test_a_second_later_it_is_gone_as_well_and_once(central: Subscription, plans: Workspace) -> None:
    end(central)
    assert sweep_of(plans, AT) == (AT, AT + 90 * DAY)

    assert sweep_workspaces(at=AT + 90 * DAY + SECOND) == 1
    assert sweep_workspaces(at=AT + 90 * DAY + SECOND) == 0


def test_a_first_look_never_deletes_however_late_it_comes(central: Subscription, plans: Workspace) -> None:
    end(central)
    late = AT + 1000 * DAY

    assert sweep_of(plans, late) == (late, late + 90 * DAY)


def test_another_purchase_of_the_product_keeps_it(
    contoso: Tenant, mike: User, central: Subscription, plans: Workspace
) -> None:
    own = make_subscription(contoso, owner=mike)
    end(central)
    assert sweep_of(plans, AT) == (None, None)
    end(own)
    assert sweep_of(plans, AT) == (AT, AT + 90 * DAY)

    make_subscription(contoso)

    assert sweep_of(plans, AT + 90 * DAY) == (None, None)


def test_another_organizations_purchase_does_not_keep_it(central: Subscription, plans: Workspace) -> None:
    make_subscription(make_tenant())
    end(central)

    assert sweep_of(plans, AT) == (AT, AT + 90 * DAY)


def test_when_its_maker_leaves_it_is_kept_as_long_and_stays_when_they_come_back(
    gina: User, mike: User, plans: Workspace
) -> None:
    disable_user(actor=actor_of(gina), user_id=mike.pk, at=AT)
    assert sweep_of(plans, AT) == (AT, AT + 90 * DAY)

    enable_user(actor=actor_of(gina), user_id=mike.pk, at=AT + DAY)

    assert sweep_of(plans, AT + 90 * DAY) == (None, None)


def test_of_a_deleted_maker_the_name_is_former_user_and_the_workspace_stays(
    gina: User, mike: User, plans: Workspace
) -> None:
    delete_user(actor=actor_of(gina), user_id=mike.pk, at=AT, real_at=AT)

    assert sweep_of(plans, AT) == (AT, AT + 90 * DAY)
    assert found(plans).holder.name.startswith("Former user")  # type: ignore[union-attr]


def test_handed_to_a_colleague_it_is_kept(contoso: Tenant, gina: User, mike: User, plans: Workspace) -> None:
    lea = make_user(contoso)
    delete_user(actor=actor_of(gina), user_id=mike.pk, at=AT, real_at=AT)
    sweep_of(plans, AT)

    hand_workspace(actor=actor_of(gina), key=plans.key, user_id=lea.pk, at=AT + DAY)

    assert sweep_of(plans, AT + 90 * DAY) == (None, None)


def test_a_longer_retention_counts_at_once(gina: User, central: Subscription, plans: Workspace) -> None:
    end(central)
    sweep_of(plans, AT)
    say(gina, retention_days=365)

    assert sweep_of(plans, AT + 90 * DAY) == (AT, AT + 365 * DAY)


def test_a_shorter_retention_deletes_nothing_within_a_week(
    gina: User, central: Subscription, plans: Workspace
) -> None:
    end(central)
    sweep_of(plans, AT)
    say(gina, retention_days=7)
    later = AT + 60 * DAY

    assert sweep_of(plans, later) == (AT, later + 7 * DAY)
    assert sweep_of(plans, later + DAY) == (AT, later + 7 * DAY)
    assert sweep_of(plans, later + 7 * DAY - SECOND) == (AT, later + 7 * DAY)
    assert sweep_workspaces(at=later + 7 * DAY) == 1


def test_a_shorter_retention_never_keeps_it_longer(
    gina: User, central: Subscription, plans: Workspace
) -> None:
    end(central)
    sweep_of(plans, AT)
    say(gina, retention_days=80)

    assert sweep_of(plans, AT + 88 * DAY) == (AT, AT + 90 * DAY)


def test_a_groups_rules_do_not_change_how_long_it_is_kept(
    contoso: Tenant, gina: User, mike: User, central: Subscription, plans: Workspace
) -> None:
    with tenant_atomic(contoso.pk):
        lab = Group.objects.create(tenant=contoso, name="Lab")
        GroupMembership.objects.create(tenant=contoso, group=lab, user=mike)
    say(gina, Place(group_id=lab.pk), service_on=False)
    end(central)

    assert sweep_of(plans, AT) == (AT, AT + 90 * DAY)


def test_what_somebody_changes_at_the_moment_waits_for_the_next_sweep(
    central: Subscription, plans: Workspace
) -> None:
    end(central)
    sweep_of(plans, AT)
    over = AT + 90 * DAY

    with use_login("owner"), atomic():
        Workspace.objects.select_for_update().get(pk=plans.pk)
        assert sweep_workspaces(at=over) == 0

    assert sweep_workspaces(at=over) == 1


def test_the_app_itself_deletes_none(plans: Workspace) -> None:
    with pytest.raises(DatabaseError), tenant_atomic(plans.tenant_id):
        Workspace.objects.filter(pk=plans.pk).delete()

    assert found(plans) is not None
