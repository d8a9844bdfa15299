"""What a partner asks of a customer, and the answer (directory/operations/invitations.py)."""

from datetime import timedelta

import pytest
from django.db import IntegrityError

from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import atomic, tenant_atomic
from directory.models import AuditEntry, Invitation, OutgoingMail, Relationship
from directory.operations.delegations import assign_to_person
from directory.operations.invitations import (
    MOST_WAITING,
    VALID_FOR,
    InvitationOver,
    OwnOrganization,
    TooManyInvitations,
    approve_invitation,
    ask_for_relationship,
    decline_invitation,
    withdraw_invitation,
)
from directory.permissions import ROLES
from tests.factories import actor_of, make_relationship, make_tenant, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def contoso():
    return make_tenant(name="Contoso", domain="contoso.test")


@pytest.fixture
def gina(contoso):
    return make_user(contoso, name="Gina", roles=("global_admin",))


@pytest.fixture
def petra():
    return make_user(make_tenant(name="Northwind"), name="Petra", roles=("global_admin",))


def ask(petra, at, **changed):
    facts = {
        "domain": "contoso.test",
        "name": "Contoso licensing",
        "roles": ("billing_admin", "license_admin"),
        "days": 30,
        "message": "As agreed.",
        "extends": False,
    }
    return ask_for_relationship(actor=actor_of(petra), at=at, **(facts | changed))


def again(invitation):
    with tenant_atomic(invitation.tenant_id):
        return Invitation.objects.get(pk=invitation.pk)


def trail(tenant_id, code):
    with tenant_atomic(tenant_id):
        return list(AuditEntry.objects.filter(tenant_id=tenant_id, code=f"directory.relationship.{code}"))


def told(tenant_id):
    with tenant_atomic(tenant_id):
        rows = OutgoingMail.objects.filter(tenant_id=tenant_id).order_by("to_user_id", "kind")
        return [(row.to_user_id, row.kind) for row in rows]


def relationships(tenant_id):
    with tenant_atomic(tenant_id):
        return list(Relationship.objects.order_by("pk"))


def test_an_invitation_delegates_nothing_and_tells_the_customers_global_admins(petra, contoso, gina, at):
    make_user(contoso, roles=("billing_admin",))

    invitation = ask(petra, at)

    assert relationships(contoso.pk) == []
    assert told(contoso.pk) == [(gina.pk, "relationship_asked")]
    assert told(petra.tenant_id) == []
    assert (again(invitation).state, again(invitation).expires_at) == ("waiting", at + VALID_FOR)
    assert [len(trail(side, "asked")) for side in (contoso.pk, petra.tenant_id)] == [1, 1]


def test_asking_a_domain_that_nobody_has_looks_the_same_to_the_partner(petra, contoso, gina, at):
    known, unknown = ask(petra, at), ask(petra, at, domain="nobody.test")

    def as_seen(invitation):
        row = again(invitation)
        return (row.state, row.name, row.roles, row.expires_at, row.message)

    assert as_seen(known) == as_seen(unknown)
    assert len(trail(petra.tenant_id, "asked")) == 2
    assert (
        next(entry.after for entry in trail(petra.tenant_id, "asked"))
        == trail(petra.tenant_id, "asked")[1].after
    )


def test_approving_starts_the_relationship_for_as_long_as_was_asked(petra, contoso, gina, at):
    invitation = ask(petra, at)
    later = at + timedelta(days=3)

    approve_invitation(
        actor=actor_of(gina), key=invitation.key, roles=("license_admin", "billing_admin"), at=later
    )

    (made,) = relationships(contoso.pk)
    assert (made.key, made.status, made.customer_name, made.partner_name) == (
        invitation.key,
        "active",
        "Contoso",
        "Northwind",
    )
    assert (made.roles, made.starts_at, made.ends_at) == (
        ["billing_admin", "license_admin"],
        later,
        later + timedelta(days=30),
    )
    assert again(invitation).state == "approved"
    assert told(petra.tenant_id) == [(petra.pk, "relationship_decided")]
    assert [len(trail(side, "approved")) for side in (contoso.pk, petra.tenant_id)] == [1, 1]


def test_the_customer_strikes_roles(petra, contoso, gina, at):
    invitation = ask(petra, at)

    approve_invitation(actor=actor_of(gina), key=invitation.key, roles=("license_admin",), at=at)

    (made,) = relationships(contoso.pk)
    (entry,) = trail(contoso.pk, "approved")
    assert made.roles == ["license_admin"]
    assert (entry.before, entry.after["roles"]) == (
        {"roles": ["billing_admin", "license_admin"]},
        ["license_admin"],
    )
    with tenant_atomic(petra.tenant_id):
        assert OutgoingMail.objects.get(kind="relationship_decided").context["struck"] == ["billing_admin"]


def test_what_was_approved_is_assigned_before_anybody_acts(petra, contoso, gina, at):
    invitation = ask(petra, at)
    approve_invitation(actor=actor_of(gina), key=invitation.key, roles=("license_admin",), at=at)
    with pytest.raises(AssertionError):
        actor_of(petra, contoso)

    assign_to_person(
        actor=actor_of(petra), key=invitation.key, user_id=petra.pk, roles=("license_admin",), at=at
    )

    assert actor_of(petra, contoso).roles == {"license_admin"}


@pytest.mark.parametrize("roles", [(), ("global_admin",), ("license_admin", "user_admin")])
def test_no_role_is_approved_that_was_not_asked_for(petra, contoso, gina, at, roles):
    invitation = ask(petra, at)

    with pytest.raises(Malformed):
        approve_invitation(actor=actor_of(gina), key=invitation.key, roles=roles, at=at)

    assert (again(invitation).state, relationships(contoso.pk)) == ("waiting", [])


def test_declining_tells_the_partner_and_delegates_nothing(petra, contoso, gina, at):
    invitation = ask(petra, at)

    decline_invitation(actor=actor_of(gina), key=invitation.key, at=at)

    assert (again(invitation).state, relationships(contoso.pk)) == ("declined", [])
    assert told(petra.tenant_id) == [(petra.pk, "relationship_decided")]
    assert [len(trail(side, "declined")) for side in (contoso.pk, petra.tenant_id)] == [1, 1]


def test_the_partner_withdraws_what_waits(petra, contoso, gina, at):
    invitation = ask(petra, at)

    withdraw_invitation(actor=actor_of(petra), key=invitation.key, at=at)

    with pytest.raises(InvitationOver):
        approve_invitation(actor=actor_of(gina), key=invitation.key, roles=("license_admin",), at=at)
    assert (again(invitation).state, relationships(contoso.pk)) == ("withdrawn", [])


@pytest.mark.parametrize("second", [approve_invitation, decline_invitation])
def test_an_invitation_is_answered_once(petra, contoso, gina, at, second):
    invitation = ask(petra, at)
    decline_invitation(actor=actor_of(gina), key=invitation.key, at=at)
    roles = {"roles": ("license_admin",)} if second is approve_invitation else {}

    with pytest.raises(InvitationOver):
        second(actor=actor_of(gina), key=invitation.key, at=at, **roles)

    assert (again(invitation).state, relationships(contoso.pk)) == ("declined", [])


@pytest.mark.parametrize(("seconds", "is_open"), [(-1, True), (0, False), (1, False)])
def test_an_invitation_is_good_for_ninety_days_to_the_second(petra, contoso, gina, at, seconds, is_open):
    invitation = ask(petra, at)
    answered_at = at + timedelta(days=90, seconds=seconds)

    def approve():
        approve_invitation(actor=actor_of(gina), key=invitation.key, roles=("license_admin",), at=answered_at)

    if is_open:
        approve()
    else:
        with pytest.raises(InvitationOver):
            approve()

    assert len(relationships(contoso.pk)) == is_open


@pytest.mark.parametrize("role", ["member", *[role for role in ROLES if role != "global_admin"]])
def test_only_a_global_admin_of_the_customer_answers(petra, contoso, gina, at, role):
    invitation = ask(petra, at)
    somebody = make_user(contoso, roles=() if role == "member" else (role,))
    sees = role in ("billing_admin", "global_reader")

    for answer in (
        lambda: approve_invitation(
            actor=actor_of(somebody), key=invitation.key, roles=("license_admin",), at=at
        ),
        lambda: decline_invitation(actor=actor_of(somebody), key=invitation.key, at=at),
        lambda: withdraw_invitation(actor=actor_of(somebody), key=invitation.key, at=at),
    ):
        with pytest.raises(NotAllowed if sees else NotVisible):
            answer()

    assert again(invitation).state == "waiting"


def test_another_organizations_global_admin_finds_nothing_to_answer(petra, contoso, gina, at):
    invitation = ask(petra, at)
    fiona = make_user(make_tenant(), roles=("global_admin",))

    with pytest.raises(NotVisible):
        approve_invitation(actor=actor_of(fiona), key=invitation.key, roles=("license_admin",), at=at)


def test_the_partner_does_not_answer_its_own_invitation(petra, contoso, gina, at):
    invitation = ask(petra, at)

    with pytest.raises(NotAllowed):
        approve_invitation(actor=actor_of(petra), key=invitation.key, roles=("license_admin",), at=at)


def test_a_delegated_global_admin_neither_asks_nor_answers_for_the_customer(petra, contoso, gina, at):
    make_relationship(contoso, petra.tenant, roles=("global_admin",), users=(petra,))
    other = make_user(make_tenant(), roles=("global_admin",))
    invitation = ask(other, at)
    acting = actor_of(petra, contoso)

    with pytest.raises(NotVisible):
        approve_invitation(actor=acting, key=invitation.key, roles=("license_admin",), at=at)
    with pytest.raises(NotVisible):
        ask_for_relationship(
            actor=acting,
            domain="nobody.test",
            name="N",
            roles=("license_admin",),
            days=1,
            message="",
            extends=False,
            at=at,
        )


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"domain": "no domain"}, "domain"),
        ({"domain": ""}, "domain"),
        ({"name": " "}, "name"),
        ({"name": "n" * 201}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"roles": ()}, "roles"),
        ({"roles": ("king",)}, "roles"),
        ({"days": 0}, "days"),
        ({"days": 732}, "days"),
        ({"message": "m" * 1001}, "message"),
        ({"message": "a\0b"}, "message"),
    ],
)
def test_terms_that_cannot_be_are_refused_by_field(petra, at, changed, field):
    with pytest.raises(Malformed) as error:
        ask(petra, at, **changed)

    assert error.value.field == field
    with tenant_atomic(petra.tenant_id):
        assert not Invitation.objects.exists()


@pytest.mark.parametrize("days", [1, 731])
def test_a_relationship_lasts_from_a_day_to_two_years(petra, at, days):
    assert ask(petra, at, days=days).days == days


def test_nobody_asks_the_own_organization(at):
    partner = make_tenant(domain="northwind.test")
    petra = make_user(partner, roles=("global_admin",))

    with pytest.raises(OwnOrganization):
        ask(petra, at, domain="Northwind.Test.")


@pytest.mark.parametrize("roles", [(), ("billing_admin",), ("global_reader",)])
def test_only_a_global_admin_of_the_partner_asks(at, roles):
    with pytest.raises(NotVisible):
        ask(make_user(make_tenant(), roles=roles), at)


def test_so_many_invitations_wait_and_no_more(petra, at):
    first = ask(petra, at)
    for number in range(MOST_WAITING - 1):
        ask(petra, at, domain=f"n{number}.test")
    with pytest.raises(TooManyInvitations):
        ask(petra, at, domain="one-more.test")

    withdraw_invitation(actor=actor_of(petra), key=first.key, at=at)

    assert ask(petra, at, domain="one-more.test").state == "waiting"


@pytest.mark.parametrize(
    "change",
    [
        {"roles": ["global_admin"]},
        {"days": 700},
        {"customer_tenant_id": None},
        {"message": "Something else."},
        {"expires_at": None},
    ],
)
def test_the_database_lets_nobody_change_what_was_asked(petra, contoso, gina, at, change):
    invitation = ask(petra, at)
    change = change if change != {"expires_at": None} else {"expires_at": at + timedelta(days=900)}

    with tenant_atomic(petra.tenant_id), pytest.raises(IntegrityError) as error, atomic():
        Invitation.objects.filter(pk=invitation.pk).update(**change)

    assert error.value.__cause__.diag.constraint_name == "directory_invitation_is_final"


def test_the_database_keeps_an_answer(petra, contoso, gina, at):
    invitation = ask(petra, at)
    decline_invitation(actor=actor_of(gina), key=invitation.key, at=at)

    with tenant_atomic(petra.tenant_id), pytest.raises(IntegrityError), atomic():
        Invitation.objects.filter(pk=invitation.pk).update(state="waiting", decided_at=None)
