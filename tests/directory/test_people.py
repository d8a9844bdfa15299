"""Accounts, roles and groups (directory/operations/people.py)."""

import threading

import pytest
from django.db import connections

from config.kit.actors import Actor
from config.kit.errors import Conflict, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, Group, GroupMembership, User
from directory.operations.people import (
    AccountExists,
    AccountUnknown,
    LastGlobalAdmin,
    add_member,
    create_group,
    create_guest,
    create_member_at_sign_in,
    create_user,
    disable_user,
    enable_user,
    mark_purchaser,
)
from tests.factories import AT, actor_of, make_tenant, make_user

pytestmark = pytest.mark.django_db


def again(user):
    with tenant_atomic(user.tenant_id):
        return User.objects.get(pk=user.pk)


def audited(tenant):
    with tenant_atomic(tenant.pk):
        return list(AuditEntry.objects.filter(tenant=tenant).order_by("pk").values_list("code", flat=True))


def test_a_user_admin_adds_a_member(at):
    tenant = make_tenant()
    uma = actor_of(make_user(tenant, roles=("user_admin",)))

    user = create_user(actor=uma, name=" Zo\u00eb  ", email="Zoe@Tenant.example", at=at)

    assert (user.name, user.sort_name, user.email, user.kind) == (
        "Zo\u00eb",
        "zoe",
        "zoe@tenant.example",
        "member",
    )
    assert audited(tenant) == ["directory.user.created"]


@pytest.mark.parametrize(
    ("roles", "error"),
    [
        ((), NotVisible),
        (("license_admin",), NotAllowed),
        (("billing_admin",), NotAllowed),
        (("global_reader",), NotAllowed),
    ],
)
def test_others_add_nobody(at, roles, error):
    tenant = make_tenant()
    actor = actor_of(make_user(tenant, roles=roles))

    with pytest.raises(error):
        create_user(actor=actor, name="Zoe", email="zoe@tenant.example", at=at)

    assert audited(tenant) == []


def test_one_account_of_an_issuer_and_subject_in_one_tenant(at):
    tenant, other = make_tenant(), make_tenant()
    known = make_user(tenant)
    facts = {
        "name": "Twin",
        "email": "t@x.example",
        "issuer": known.issuer,
        "subject": known.subject,
        "at": at,
    }

    with pytest.raises(AccountExists):
        create_user(actor=Actor.system(tenant.pk), **facts)

    assert create_guest(actor=Actor.system(other.pk), **facts).kind == "guest"


def test_a_deleted_account_does_not_come_back_at_sign_in(at):
    tenant = make_tenant()
    gone = make_user(tenant, status="deleted", deleted_at=at)

    with pytest.raises(AccountUnknown):
        create_member_at_sign_in(
            tenant_id=tenant.pk,
            issuer=gone.issuer,
            subject=gone.subject,
            name="x",
            email="x@x.example",
            at=at,
        )


def test_a_guest_claim_makes_a_guest(at):
    tenant = make_tenant()

    user = create_member_at_sign_in(
        tenant_id=tenant.pk, issuer="https://i.example", subject="s", name="G", email="", at=at, is_guest=True
    )

    assert user.kind == "guest"


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])
def test_two_first_sign_ins_at_once_make_one_account(at):
    tenant = make_tenant()
    found, ready = [], threading.Barrier(4)

    def first_time():
        try:
            ready.wait()
            user = create_member_at_sign_in(
                tenant_id=tenant.pk,
                issuer="https://i.example",
                subject="s",
                name="N",
                email="n@x.example",
                at=at,
            )
            found.append(user.pk)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=first_time) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 4
    assert len(set(found)) == 1
    assert audited(tenant) == ["directory.user.created_at_sign_in"]


def test_disabling_and_enabling(at):
    tenant = make_tenant()
    admin, mike = actor_of(make_user(tenant, roles=("user_admin",))), make_user(tenant)

    disable_user(actor=admin, user_id=mike.pk, at=at)
    disable_user(actor=admin, user_id=mike.pk, at=at)
    disabled = again(mike)
    enable_user(actor=admin, user_id=mike.pk, at=at)

    assert (disabled.status, disabled.disabled_at, disabled.sessions_valid_from) == ("disabled", at, at)
    assert (again(mike).status, again(mike).disabled_at, again(mike).sessions_valid_from) == (
        "active",
        None,
        at,
    )
    assert audited(tenant) == ["directory.user.disabled", "directory.user.enabled"]


def test_a_user_admin_does_not_disable_an_admin(at):
    tenant = make_tenant()
    uma, bill = make_user(tenant, roles=("user_admin",)), make_user(tenant, roles=("billing_admin",))

    with pytest.raises(NotAllowed):
        disable_user(actor=actor_of(uma), user_id=bill.pk, at=at)

    assert again(bill).status == "active"


def test_nobody_disables_a_person_of_another_tenant(at):
    stranger = make_user(make_tenant())
    admin = make_user(make_tenant(), roles=("global_admin",))

    with pytest.raises(NotVisible):
        disable_user(actor=actor_of(admin), user_id=stranger.pk, at=at)

    assert again(stranger).status == "active"


def test_the_last_global_admin_is_not_disabled(at):
    tenant = make_tenant()
    gina = make_user(tenant, roles=("global_admin",))
    make_user(tenant, roles=("global_admin",), status="disabled")

    with pytest.raises(LastGlobalAdmin):
        disable_user(actor=Actor.system(tenant.pk), user_id=gina.pk, at=at)

    assert again(gina).status == "active"
    assert audited(tenant) == []


def test_groups_hold_people_of_their_tenant(at):
    tenant = make_tenant()
    uma, mike, stranger = (
        make_user(tenant, roles=("user_admin",)),
        make_user(tenant),
        make_user(make_tenant()),
    )
    group = create_group(actor=actor_of(uma), name="Finance", at=at)

    add_member(actor=actor_of(uma), group_key=group.key, user_id=mike.pk, at=at)
    add_member(actor=actor_of(uma), group_key=group.key, user_id=mike.pk, at=at)
    with pytest.raises(NotVisible):
        add_member(actor=actor_of(uma), group_key=group.key, user_id=stranger.pk, at=at)
    with pytest.raises(Conflict):
        create_group(actor=actor_of(uma), name="Finance", at=at)

    with tenant_atomic(tenant.pk):
        assert list(GroupMembership.objects.values_list("user_id", flat=True)) == [mike.pk]
        assert Group.objects.count() == 1
    assert audited(tenant) == ["directory.group.created", "directory.group.member_added"]


def test_the_first_purchase_opens_the_limited_view_and_later_ones_keep_the_date(at):
    mike = make_user(make_tenant())

    with tenant_atomic(mike.tenant_id):
        mark_purchaser(mike, at)
        mark_purchaser(mike, AT.replace(year=2027))

    assert again(mike).purchaser_since == at
