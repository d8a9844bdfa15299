"""The vendor's staff: who works at what, and the site that is there for nobody else (product §2, §16)."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError
from django.test import Client

from config.kit.actors import Actor
from config.kit.errors import NotAllowed, NotVisible
from config.kit.operator import Look, add_looks, looks_for
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry, StaffAssignment, User
from directory.operations.leaving import delete_user
from directory.operations.staff import NotOfVendor, set_staff_roles
from directory.sessions import SECOND_FACTOR
from directory.staff import StaffCapability
from tests.factories import (
    actor_of,
    client_of,
    make_staff,
    make_tenant,
    make_user,
    staff_actor_of,
)

pytestmark = pytest.mark.django_db

PAGE = "/operator/"


@pytest.fixture
def vendor():
    return make_tenant(kind="vendor", name="Vendor")


def roles_of(user):
    with tenant_atomic(user.tenant_id):
        return set(StaffAssignment.objects.filter(user=user).values_list("role", flat=True))


def trail_of(tenant):
    with tenant_atomic(tenant.pk):
        rows = AuditEntry.objects.filter(code__startswith="directory.staff_role").order_by("id")
        return [(row.code, row.target_label, row.before, row.after) for row in rows]


# --- The command ------------------------------------------------------------------------------------------


def told(*arguments):
    said = StringIO()
    call_command("staff", *arguments, stdout=said)
    return said.getvalue().strip()


@pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)
def test_the_command_shows_sets_and_takes_roles(vendor):
    sven = make_user(vendor, name="Sven")

    assert told(sven.email) == f"{sven.email}: none"
    assert told(sven.email, "--role", "support", "--role", "catalogue") == f"{sven.email}: catalogue, support"
    assert roles_of(sven) == {"staff_catalogue", "staff_support"}
    assert told(sven.email, "--role", "superuser") == f"{sven.email}: superuser"
    assert told(sven.email, "--none") == f"{sven.email}: none"


@pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)
def test_the_command_ends_the_sessions_of_who_lost_their_factor(vendor):
    sven = make_staff(vendor, "staff_support")
    client = client_of(sven)

    assert told(sven.email, "--forget-factors").startswith(f"{sven.email}: ")
    assert client.get("/my/sessions/").status_code == 302


@pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)
def test_the_command_gives_nobody_elses_people_a_role_and_knows_nobody_it_does_not(vendor):
    gina = make_user(make_tenant(name="Contoso"), name="Gina")

    with pytest.raises(CommandError):
        told(gina.email, "--role", "support")
    with pytest.raises(CommandError, match="no active account"):
        told(f"nobody-{gina.email}")
    assert roles_of(gina) == set()


# --- Roles ------------------------------------------------------------------------------------------------


def test_the_installation_gives_and_takes_roles_and_both_are_in_the_trail(vendor, at):
    sven = make_user(vendor, name="Sven")
    system = Actor.system(vendor.pk, door="cli")

    first = set_staff_roles(actor=system, user_id=sven.pk, roles=["staff_support"], at=at)
    again = set_staff_roles(actor=system, user_id=sven.pk, roles=["staff_support"], at=at)
    set_staff_roles(actor=system, user_id=sven.pk, roles=["staff_catalogue"], at=at)

    assert (first, again) == (True, False)
    assert roles_of(sven) == {"staff_catalogue"}
    assert trail_of(vendor) == [
        ("directory.staff_role.granted", "Sven", None, {"role": "staff_support"}),
        ("directory.staff_role.granted", "Sven", None, {"role": "staff_catalogue"}),
        ("directory.staff_role.revoked", "Sven", {"role": "staff_support"}, None),
    ]


@pytest.mark.parametrize("fields", [{"kind": "guest"}, {"status": "disabled"}])
def test_a_guest_or_somebody_disabled_gets_none(vendor, at, fields):
    somebody = make_user(vendor, **fields)

    with pytest.raises(NotAllowed):
        set_staff_roles(actor=Actor.system(vendor.pk), user_id=somebody.pk, roles=["staff_support"], at=at)

    assert roles_of(somebody) == set()


def test_nobody_gives_one_in_the_portal(vendor, at):
    admin, superuser = make_user(vendor, roles=("global_admin",)), make_staff(vendor, "staff_superuser")

    for actor in (actor_of(admin), staff_actor_of(superuser)):
        with pytest.raises(NotAllowed):
            set_staff_roles(actor=actor, user_id=admin.pk, roles=["staff_superuser"], at=at)

    assert roles_of(admin) == set()


def test_an_unknown_role_or_person_is_not_there(vendor, at):
    sven, stranger = make_user(vendor), make_user(make_tenant())

    for user, role in ((sven, "global_admin"), (stranger, "staff_support")):
        with pytest.raises(NotVisible):
            set_staff_roles(actor=Actor.system(vendor.pk), user_id=user.pk, roles=[role], at=at)

    assert roles_of(sven) == roles_of(stranger) == set()


def test_nobody_of_a_customer_is_staff_neither_by_the_operation_nor_in_the_database(at):
    contoso = make_tenant()
    gina = make_user(contoso, roles=("global_admin",))

    with pytest.raises(NotOfVendor):
        set_staff_roles(actor=Actor.system(contoso.pk), user_id=gina.pk, roles=["staff_support"], at=at)
    with pytest.raises(IntegrityError, match="is not the vendor"), tenant_atomic(contoso.pk):
        StaffAssignment.objects.create(
            tenant=contoso, user=gina, role="staff_support", granted_at=at, granted_by="x"
        )

    assert roles_of(gina) == set()


@pytest.mark.django_db(databases=["default", "owner", "worker"])
def test_the_owners_login_makes_nobody_of_a_customer_staff_either(at):
    contoso = make_tenant()
    gina = make_user(contoso)

    with use_login("worker"), pytest.raises(IntegrityError, match="is not the vendor"):
        StaffAssignment.objects.create(
            tenant_id=contoso.pk, user_id=gina.pk, role="staff_support", granted_at=at, granted_by="x"
        )


def test_a_deleted_account_works_at_nothing(vendor, at):
    sven = make_staff(vendor, "staff_support")

    delete_user(actor=Actor.system(vendor.pk), user_id=sven.pk, at=at, real_at=at)

    assert roles_of(sven) == set()


# --- The site -----------------------------------------------------------------------------------------------


def test_staff_who_have_shown_their_second_factor_see_the_first_page(vendor):
    sven = make_staff(vendor, "staff_support", "staff_catalogue")

    page = client_of(sven, with_factor=True).get(PAGE)

    assert page.status_code == 200
    assert "You work here as: Catalogue, Support." in page.text


def test_it_is_not_there_for_anybody_else_whatever_the_session_claims(vendor):
    contoso = make_tenant()
    not_there = Client().get("/no/such/page/").content
    for user in (
        make_user(contoso, roles=("global_admin",)),
        make_user(vendor, roles=("global_admin",)),
        make_user(vendor),
    ):
        page = client_of(user, with_factor=True).get(PAGE)

        assert (page.status_code, page.content) == (404, not_there)


def test_the_second_factor_of_the_identity_provider_is_not_the_one_of_the_site(vendor):
    browser = client_of(make_staff(vendor, "staff_superuser"))
    session = browser.session
    session[SECOND_FACTOR] = True
    session.save()

    assert browser.get(PAGE).status_code != 200


def test_a_role_that_was_taken_ends_with_the_next_request(vendor, at):
    sven = make_staff(vendor, "staff_support")
    browser = client_of(sven, with_factor=True)
    before = browser.get(PAGE)

    set_staff_roles(actor=Actor.system(vendor.pk), user_id=sven.pk, roles=[], at=at)

    assert (before.status_code, browser.get(PAGE).status_code) == (200, 404)


def test_a_disabled_person_of_the_staff_is_sent_to_sign_in(vendor):
    sven = make_staff(vendor, "staff_support")
    browser = client_of(sven, with_factor=True)
    with tenant_atomic(vendor.pk):
        User.objects.filter(pk=sven.pk).update(status="disabled")

    assert browser.get(PAGE)["Location"].startswith("/sign-in/")


# --- What needs a look --------------------------------------------------------------------------------------


def test_what_needs_a_look_is_shown_to_who_may_do_something_about_it(vendor, at, monkeypatch):
    monkeypatch.setattr("config.kit.operator._finders", [])
    add_looks(StaffCapability.OPERATE_WORK, lambda actor, at: [Look("Stuck work", "3 parked", "/x/")])
    add_looks(StaffCapability.OPERATE_WORK, lambda actor, at: [Look("On fire", "now", is_urgent=True)])
    add_looks(StaffCapability.OPERATE_CATALOGUE, lambda actor, at: [Look("No price", "in India")])
    sven = make_staff(vendor, "staff_support")

    titles = [look.title for look in looks_for(staff_actor_of(sven), at)]
    page = client_of(sven, with_factor=True).get(PAGE).text

    assert titles == ["On fire", "Stuck work"]
    assert '<a class="sk-btn" href="/x/">' in page
    assert "No price" not in page
