"""Giving and taking roles (directory/operations/roles.py), and their pages (product §2; I-24, I-25)."""

import threading

import pytest
from django.db import connections
from django.urls import reverse

from config.kit.actors import Actor
from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, OutgoingMail, RoleAssignment
from directory.operations.people import LastGlobalAdmin, disable_user
from directory.operations.roles import grant_role, revoke_role, set_roles
from directory.permissions import ROLES
from tests.factories import actor_of, client_of, make_relationship, make_tenant, make_user

pytestmark = pytest.mark.django_db
WHY = "Covers for Greg."


def roles_of(user):
    with tenant_atomic(user.tenant_id):
        return set(RoleAssignment.objects.filter(user=user).values_list("role", flat=True))


def trail(tenant):
    with tenant_atomic(tenant.pk):
        rows = AuditEntry.objects.filter(tenant=tenant).order_by("pk")
        return list(rows.values_list("code", "target_label", "before", "after"))


def told(tenant):
    with tenant_atomic(tenant.pk):
        rows = OutgoingMail.objects.filter(tenant=tenant, kind="role_changed").order_by("to_user_id")
        return {row.to_user_id: row.context for row in rows}


@pytest.mark.parametrize("role", ROLES)
def test_a_global_admin_grants_every_role_and_takes_it_back(at, role):
    tenant = make_tenant()
    gina, mike = make_user(tenant, roles=("global_admin",)), make_user(tenant, name="Mike")

    grant_role(actor=actor_of(gina), user_id=mike.pk, role=role, reason=WHY, at=at)
    grant_role(actor=actor_of(gina), user_id=mike.pk, role=role, reason=WHY, at=at)
    given = roles_of(mike)
    revoke_role(actor=actor_of(gina), user_id=mike.pk, role=role, reason="Greg is back.", at=at)

    assert given == {role}
    assert roles_of(mike) == set()
    assert trail(tenant) == [
        ("directory.role.granted", "Mike", None, {"role": role, "reason": WHY}),
        ("directory.role.revoked", "Mike", {"role": role}, {"reason": "Greg is back."}),
    ]


def test_several_change_at_once_or_none(at):
    tenant = make_tenant()
    gina, greg = (make_user(tenant, roles=("global_admin",)) for _ in range(2))
    both = {"actor": actor_of(gina), "user_id": greg.pk, "at": at}

    changed = set_roles(roles={"billing_admin", "user_admin"}, reason=WHY, **both)
    again = set_roles(roles={"billing_admin", "user_admin"}, reason=WHY, **both)
    with pytest.raises(LastGlobalAdmin):
        set_roles(actor=actor_of(gina), user_id=gina.pk, roles={"user_admin"}, reason=WHY, at=at)

    assert (changed, again) == (True, False)
    assert roles_of(greg) == {"billing_admin", "user_admin"}
    assert roles_of(gina) == {"global_admin"}
    assert [code for code, *_rest in trail(tenant)] == [
        "directory.role.granted",
        "directory.role.granted",
        "directory.role.revoked",
    ]


def test_the_person_and_the_other_global_admins_are_told_once(at):
    tenant = make_tenant(name="Contoso")
    gina, greg, _sick = (
        make_user(tenant, name=name, roles=("global_admin",), status=status)
        for name, status in (("Gina", "active"), ("Greg", "active"), ("Sick", "disabled"))
    )
    mike = make_user(tenant, name="Mike", roles=("user_admin",))
    make_user(tenant, roles=("billing_admin",))

    set_roles(actor=actor_of(gina), user_id=mike.pk, roles={"billing_admin"}, reason=WHY, at=at)

    mails = told(tenant)
    assert set(mails) == {greg.pk, mike.pk}
    assert {reader: mail["is_own"] for reader, mail in mails.items()} == {greg.pk: False, mike.pk: True}
    assert (mails[greg.pk]["given"], mails[greg.pk]["taken"]) == (["billing_admin"], ["user_admin"])
    assert mails[mike.pk]["why"] == WHY


@pytest.mark.parametrize("reason", ["", "   ", "x" * 301, "bell\x07", "turned\u202eround"])
def test_without_a_reason_nothing_changes(at, reason):
    tenant = make_tenant()
    gina, mike = make_user(tenant, roles=("global_admin",)), make_user(tenant)

    with pytest.raises(Malformed):
        set_roles(actor=actor_of(gina), user_id=mike.pk, roles={"user_admin"}, reason=reason, at=at)

    assert roles_of(mike) == set()
    assert trail(tenant) == []


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("own", ["", "license_admin", "user_admin", "billing_admin", "global_reader"])
def test_nobody_else_grants_a_role_not_even_their_own(at, own, role):
    tenant = make_tenant()
    person = make_user(tenant, roles=(own,) if own else ())

    with pytest.raises(NotAllowed if own == "global_reader" else NotVisible):
        grant_role(actor=actor_of(person), user_id=person.pk, role=role, reason=WHY, at=at)

    assert roles_of(person) == ({own} if own else set())


def test_a_delegated_global_admin_grants_no_role(at):
    customer, partner = make_tenant(), make_tenant()
    petra, mike = make_user(partner), make_user(customer)
    make_relationship(customer, partner, roles=("global_admin",), users=(petra,))

    with pytest.raises(NotVisible):
        grant_role(actor=actor_of(petra, customer), user_id=mike.pk, role="global_admin", reason=WHY, at=at)

    assert roles_of(mike) == set()


@pytest.mark.parametrize("fields", [{"kind": "guest"}, {"status": "disabled"}])
def test_a_guest_and_a_disabled_person_get_no_role(at, fields):
    tenant = make_tenant()
    gina, other = make_user(tenant, roles=("global_admin",)), make_user(tenant, **fields)

    with pytest.raises(NotAllowed):
        grant_role(actor=actor_of(gina), user_id=other.pk, role="license_admin", reason=WHY, at=at)

    assert roles_of(other) == set()


def test_a_disabled_admin_loses_the_role(at):
    tenant = make_tenant()
    gina = make_user(tenant, roles=("global_admin",))
    gone = make_user(tenant, roles=("billing_admin",), status="disabled")

    revoke_role(actor=actor_of(gina), user_id=gone.pk, role="billing_admin", reason=WHY, at=at)

    assert roles_of(gone) == set()


def test_roles_of_another_organization_and_unknown_roles_do_not_exist(at):
    gina = make_user(make_tenant(), roles=("global_admin",))
    stranger = make_user(make_tenant())

    with pytest.raises(NotVisible):
        grant_role(actor=actor_of(gina), user_id=stranger.pk, role="user_admin", reason=WHY, at=at)
    with pytest.raises(NotVisible):
        grant_role(actor=actor_of(gina), user_id=gina.pk, role="emperor", reason=WHY, at=at)

    assert roles_of(stranger) == set()
    assert roles_of(gina) == {"global_admin"}


def test_the_last_global_admin_stays(at):
    tenant = make_tenant()
    gina = make_user(tenant, roles=("global_admin",))
    make_user(tenant, roles=("global_admin",), status="disabled")

    with pytest.raises(LastGlobalAdmin):
        revoke_role(actor=actor_of(gina), user_id=gina.pk, role="global_admin", reason=WHY, at=at)

    assert roles_of(gina) == {"global_admin"}
    assert trail(tenant) == []
    assert told(tenant) == {}


def at_once(*deeds):
    """What came of deeds that began at the same moment, each on a connection of its own."""
    outcomes, ready = {}, threading.Barrier(len(deeds))

    def do(number, deed):
        try:
            ready.wait()
            deed()
            outcomes[number] = "done"
        except (NotAllowed, LastGlobalAdmin):
            outcomes[number] = "refused"
        finally:
            connections.close_all()

    threads = [threading.Thread(target=do, args=pair) for pair in enumerate(deeds)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(outcomes.values())


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])
def test_of_two_admins_who_demote_each_other_one_stays(at):
    tenant = make_tenant()
    gina, greg = (make_user(tenant, roles=("global_admin",)) for _ in range(2))

    def demoting(actor, victim):
        return lambda: revoke_role(actor=actor, user_id=victim.pk, role="global_admin", reason=WHY, at=at)

    outcomes = at_once(demoting(actor_of(gina), greg), demoting(actor_of(greg), gina))

    assert outcomes == ["done", "refused"]
    assert sorted(len(roles_of(each)) for each in (gina, greg)) == [0, 1]


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])
def test_whoever_was_demoted_a_moment_ago_demotes_nobody(at):
    tenant = make_tenant()
    gina, greg, carl = (make_user(tenant, roles=("global_admin",)) for _ in range(3))
    stale = actor_of(greg)
    revoke_role(actor=actor_of(gina), user_id=greg.pk, role="global_admin", reason=WHY, at=at)

    with pytest.raises(NotAllowed):
        revoke_role(actor=stale, user_id=carl.pk, role="global_admin", reason=WHY, at=at)

    assert roles_of(carl) == {"global_admin"}


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])
def test_of_two_admins_of_whom_one_disables_and_one_demotes_the_other_one_stays(at):
    tenant = make_tenant()
    gina, greg = (make_user(tenant, roles=("global_admin",)) for _ in range(2))
    first, second = actor_of(gina), actor_of(greg)

    outcomes = at_once(
        lambda: disable_user(actor=first, user_id=greg.pk, at=at),
        lambda: revoke_role(actor=second, user_id=gina.pk, role="global_admin", reason=WHY, at=at),
    )

    assert "refused" in outcomes
    with tenant_atomic(tenant.pk):
        left = RoleAssignment.objects.filter(role="global_admin", user__status="active").count()
    assert left == 1


# --- Pages ---------------------------------------------------------------------------------------------------


def test_the_page_lists_who_holds_what_and_finds_members_to_give_one(at):
    tenant = make_tenant()
    gina = make_user(tenant, name="Gina Vos", roles=("global_admin",))
    make_user(tenant, name="Bill Bakker", roles=("billing_admin", "license_admin"))
    make_user(tenant, name="Mike Smit")
    make_user(tenant, name="Mike Guest", kind="guest")
    browser = client_of(gina)

    everybody = browser.get(reverse("portal:roles"))
    billing = browser.get(reverse("portal:roles"), {"role": "billing_admin"})
    found = browser.get(reverse("portal:roles"), {"q": "mike"})

    assert [row["user"].name for row in everybody.context["rows"]] == ["Bill Bakker", "Gina Vos"]
    (bill,) = billing.context["rows"]
    assert [str(each["name"]) for each in bill["held"]] == ["Billing admin", "License admin"]
    assert [user.name for user in found.context["found"]] == ["Mike Smit"]
    assert browser.get(reverse("portal:roles"), {"role": "emperor"}).status_code == 422


def test_the_list_of_roles_costs_the_same_queries_for_many(at, django_assert_num_queries):
    tenant = make_tenant()
    browser = client_of(make_user(tenant, roles=("global_admin",)))
    browser.get(reverse("portal:roles"))
    with django_assert_num_queries(15):
        browser.get(reverse("portal:roles"))
    for _ in range(20):
        make_user(tenant, roles=("user_admin", "license_admin"))

    with django_assert_num_queries(15):
        page = browser.get(reverse("portal:roles"))

    assert len(page.context["rows"]) == 21


def test_a_global_admin_changes_roles_on_the_page_and_the_next_request_of_the_person_knows(at):
    tenant = make_tenant()
    gina = make_user(tenant, roles=("global_admin",))
    greg = make_user(tenant, name="Greg", roles=("global_admin",))
    admins, gregs = client_of(gina), client_of(greg)
    page = reverse("portal:person-roles", args=[greg.key])
    assert gregs.get(reverse("portal:roles")).status_code == 200

    saved = admins.post(page, {"role": ["license_admin"], "reason": WHY})

    assert (saved.status_code, saved["Location"]) == (303, reverse("portal:person", args=[greg.key]))
    assert roles_of(greg) == {"license_admin"}
    assert gregs.get(reverse("portal:roles")).status_code == 404
    assert gregs.post(page, {"role": ["global_admin"], "reason": WHY}).status_code == 404
    assert roles_of(greg) == {"license_admin"}


def test_the_page_keeps_what_was_ticked_where_the_reason_is_missing(at):
    tenant = make_tenant()
    gina, mike = make_user(tenant, roles=("global_admin",)), make_user(tenant)

    refused = client_of(gina).post(
        reverse("portal:person-roles", args=[mike.key]), {"role": ["user_admin"], "reason": " "}
    )

    assert refused.status_code == 422
    assert [c["role"] for c in refused.context["choices"] if c["is_held"]] == ["user_admin"]
    assert "The roles are as before." in refused.text
    assert roles_of(mike) == set()


def test_a_reader_sees_the_list_and_changes_nothing(at):
    tenant = make_tenant()
    rhea, mike = make_user(tenant, roles=("global_reader",)), make_user(tenant)
    browser = client_of(rhea)

    assert browser.get(reverse("portal:roles")).context["may_change"] is False
    assert (
        browser.post(
            reverse("portal:person-roles", args=[mike.key]), {"role": ["user_admin"], "reason": WHY}
        ).status_code
        == 403
    )
    assert roles_of(mike) == set()


def test_the_last_global_admin_who_gives_up_the_role_reads_why_not(at):
    gina = make_user(make_tenant(), roles=("global_admin",))

    refused = client_of(gina).post(reverse("portal:person-roles", args=[gina.key]), {"reason": "Leaving."})

    assert refused.status_code == 409
    assert "keeps at least one active global admin" in refused.text
    assert roles_of(gina) == {"global_admin"}


def test_the_installation_gives_the_first_role_without_a_reason_and_tells_nobody(at):
    tenant = make_tenant()
    gina = make_user(tenant)

    grant_role(actor=Actor.system(tenant.pk), user_id=gina.pk, role="global_admin", at=at)

    assert roles_of(gina) == {"global_admin"}
    assert told(tenant) == {}
