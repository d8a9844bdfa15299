"""Ending accounts: who may, what ends with it, and what an organization decides about it (product §11)."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from config.kit.clock import real_now
from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import (
    ApiToken,
    AuditEntry,
    GroupMembership,
    OutgoingMail,
    RoleAssignment,
    Tenant,
    User,
)
from directory.operations.groups import remove_member
from directory.operations.leaving import delete_user, set_seats_kept
from directory.operations.mail import queue_mail
from directory.operations.outbox import send_due_mails
from directory.operations.people import (
    AccountUnknown,
    LastGlobalAdmin,
    OwnAccount,
    add_member,
    create_group,
    create_member_at_sign_in,
    disable_user,
)
from tests.factories import actor_of, client_of, make_relationship, make_tenant, make_user, token_of

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def uma(contoso: Tenant) -> User:
    return make_user(contoso, name="Uma", roles=("user_admin",))


@pytest.fixture
def mike(contoso: Tenant) -> User:
    return make_user(contoso, name="Mike Mulder", email="mike@contoso.example")


def again(user: User) -> User:
    with tenant_atomic(user.tenant_id):
        row: User = User.objects.get(pk=user.pk)
        return row


def delete(actor: User, user: User, at: datetime, acting_for: Tenant | None = None) -> None:
    delete_user(actor=actor_of(actor, acting_for), user_id=user.pk, at=at, real_at=real_now())


def test_a_deleted_person_keeps_a_row_without_name_mail_roles_groups_and_tokens(
    contoso: Tenant, uma: User, mike: User, at: datetime
) -> None:
    group = create_group(actor=actor_of(uma), name="Sales", at=at)
    add_member(actor=actor_of(uma), group_key=group.key, user_id=mike.pk, at=at)
    token_of(mike)

    delete(uma, mike, at)

    gone = again(mike)
    assert (gone.status, gone.deleted_at, gone.name, gone.sort_name, gone.email) == (
        *("deleted", at, "Former user", "former user", ""),
    )
    assert (gone.issuer, gone.subject) == (mike.issuer, mike.subject)
    with tenant_atomic(contoso.pk):
        assert not GroupMembership.objects.exists()
        assert not RoleAssignment.objects.filter(user=mike).exists()
        assert ApiToken.objects.get().revoked_by == "Uma"
        entry = AuditEntry.objects.get(code="directory.user.deleted")
    assert (entry.target_label, entry.before["groups"]) == ("Mike Mulder", 1)


def test_a_former_user_is_called_so_in_the_language_of_the_organization(at: datetime) -> None:
    tenant = make_tenant(language="nl")
    uma, mike = make_user(tenant, roles=("user_admin",)), make_user(tenant)

    delete(uma, mike, at)

    assert again(mike).name in ("Former user", "Voormalige gebruiker")


def test_a_deleted_person_does_not_come_back_at_sign_in(uma: User, mike: User, at: datetime) -> None:
    delete(uma, mike, at)

    with pytest.raises(AccountUnknown):
        create_member_at_sign_in(
            tenant_id=mike.tenant_id,
            issuer=mike.issuer,
            subject=mike.subject,
            name="Mike",
            email="m@x.example",
            at=at,
        )


def test_a_disabled_person_can_be_deleted_and_nobody_twice(uma: User, mike: User, at: datetime) -> None:
    disable_user(actor=actor_of(uma), user_id=mike.pk, at=at)
    delete(uma, mike, at + timedelta(days=1))

    with pytest.raises(NotVisible):
        delete(uma, mike, at + timedelta(days=2))

    assert again(mike).deleted_at == at + timedelta(days=1)


@pytest.mark.parametrize(
    ("roles", "error"),
    [
        ((), NotVisible),
        (("billing_admin",), NotAllowed),
        (("license_admin",), NotAllowed),
        (("global_reader",), NotAllowed),
    ],
)
def test_others_delete_nobody(
    contoso: Tenant, mike: User, at: datetime, roles: tuple[str, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        delete(make_user(contoso, roles=roles), mike, at)

    assert again(mike).status == "active"


@pytest.mark.parametrize("role", ["global_admin", "billing_admin", "global_reader", "user_admin"])
def test_a_user_admin_deletes_no_admin_and_a_global_admin_does(
    contoso: Tenant, uma: User, at: datetime, role: str
) -> None:
    gina, other = make_user(contoso, roles=("global_admin",)), make_user(contoso, roles=(role,))

    with pytest.raises(NotAllowed):
        delete(uma, other, at)
    assert again(other).status == "active"
    delete(gina, other, at)

    assert again(other).status == "deleted"


def test_nobody_ends_the_own_account(contoso: Tenant, at: datetime) -> None:
    gina = make_user(contoso, roles=("global_admin",))
    make_user(contoso, roles=("global_admin",))

    with pytest.raises(OwnAccount):
        delete(gina, gina, at)
    with pytest.raises(OwnAccount):
        disable_user(actor=actor_of(gina), user_id=gina.pk, at=at)

    assert again(gina).status == "active"


def test_the_last_global_admin_is_not_deleted(contoso: Tenant, at: datetime) -> None:
    partner = make_tenant()
    gina, petra = make_user(contoso, roles=("global_admin",)), make_user(partner)
    make_relationship(contoso, partner, roles=("global_admin",), users=(petra,))

    with pytest.raises(LastGlobalAdmin):
        delete(petra, gina, at, contoso)

    assert again(gina).status == "active"
    with tenant_atomic(contoso.pk):
        assert RoleAssignment.objects.filter(user=gina).exists()
        assert not AuditEntry.objects.filter(code="directory.user.deleted").exists()


def test_a_partner_with_the_delegated_role_deletes_a_member(
    contoso: Tenant, mike: User, at: datetime
) -> None:
    partner = make_tenant()
    petra = make_user(partner)
    make_relationship(contoso, partner, roles=("user_admin",), users=(petra,))

    delete(petra, mike, at, contoso)

    assert again(mike).status == "deleted"


def test_nobody_of_another_organization_is_found(uma: User, at: datetime) -> None:
    stranger = make_user(make_tenant())

    with pytest.raises(NotVisible):
        delete(uma, stranger, at)

    assert again(stranger).status == "active"


def test_the_next_request_of_a_disabled_person_leads_to_sign_in(uma: User, mike: User, at: datetime) -> None:
    client = client_of(mike)
    assert client.get("/my/accounts/").status_code == 200

    disable_user(actor=actor_of(uma), user_id=mike.pk, at=at)

    assert "/sign-in/" in client.get("/my/accounts/")["Location"]


@pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)
def test_a_mail_that_waits_is_not_sent_to_who_left_meanwhile(
    contoso: Tenant, uma: User, mike: User, at: datetime, mailoutbox: list[Any]
) -> None:
    with tenant_atomic(contoso.pk):
        for user in (mike, uma):
            queue_mail(
                "job_finished",
                event_key="x",
                to=[user],
                tenant_id=contoso.pk,
                context={"title": "Export", "is_done": True, "link": "http://x.example/", "vendor": "V"},
                at=at,
            )
    disable_user(actor=actor_of(uma), user_id=mike.pk, at=at)

    send_due_mails(at=at)

    assert [mail.to for mail in mailoutbox] == [[uma.email]]
    with tenant_atomic(contoso.pk):
        assert OutgoingMail.objects.get(to_user_id=mike.pk).state == "left"


# --- How long licenses are kept -----------------------------------------------------------------------------------


def test_a_global_admin_sets_for_how_long_licenses_are_kept(contoso: Tenant, at: datetime) -> None:
    gina = actor_of(make_user(contoso, roles=("global_admin",)))

    set_seats_kept(actor=gina, days=90, at=at)
    set_seats_kept(actor=gina, days=90, at=at)

    with tenant_atomic(contoso.pk):
        assert Tenant.objects.get().seats_kept_days == 90
        entry = AuditEntry.objects.get(code="directory.tenant.seats_kept_changed")
    assert (entry.before, entry.after) == ({"days": 14}, {"days": 90})


@pytest.mark.parametrize("days", [-1, 91, None])
def test_other_lengths_are_refused(contoso: Tenant, at: datetime, days: int | None) -> None:
    gina = actor_of(make_user(contoso, roles=("global_admin",)))

    with pytest.raises(Malformed):
        set_seats_kept(actor=gina, days=days, at=at)

    with tenant_atomic(contoso.pk):
        assert Tenant.objects.get().seats_kept_days == 14


@pytest.mark.parametrize(("role", "error"), [("user_admin", NotVisible), ("global_reader", NotAllowed)])
def test_others_set_no_length(contoso: Tenant, at: datetime, role: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        set_seats_kept(actor=actor_of(make_user(contoso, roles=(role,))), days=0, at=at)


# --- Groups -------------------------------------------------------------------------------------------------------


def test_a_user_admin_takes_somebody_out_of_a_group_once(
    contoso: Tenant, uma: User, mike: User, at: datetime
) -> None:
    group = create_group(actor=actor_of(uma), name="Sales", at=at)
    add_member(actor=actor_of(uma), group_key=group.key, user_id=mike.pk, at=at)

    for _ in range(2):
        remove_member(actor=actor_of(uma), group_key=group.key, user_id=mike.pk, at=at)

    with tenant_atomic(contoso.pk):
        assert not GroupMembership.objects.exists()
        assert AuditEntry.objects.filter(code="directory.group.member_removed").count() == 1


def test_others_take_nobody_out(contoso: Tenant, uma: User, mike: User, at: datetime) -> None:
    group = create_group(actor=actor_of(uma), name="Sales", at=at)
    add_member(actor=actor_of(uma), group_key=group.key, user_id=mike.pk, at=at)
    lisa = actor_of(make_user(contoso, roles=("license_admin",)))

    with pytest.raises(NotAllowed):
        remove_member(actor=lisa, group_key=group.key, user_id=mike.pk, at=at)
    stranger = actor_of(make_user(make_tenant(), roles=("user_admin",)))
    with pytest.raises(NotVisible):
        remove_member(actor=stranger, group_key=group.key, user_id=mike.pk, at=at)

    with tenant_atomic(contoso.pk):
        assert GroupMembership.objects.count() == 1
