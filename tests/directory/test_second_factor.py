"""A second factor that an organization demands of its admins (product §12, reliability §7)."""

from datetime import timedelta

import pytest
from django.urls import reverse

from config.kit.clock import real_now
from config.kit.tenancy import tenant_atomic
from directory.id_token import _has_second_factor
from directory.models import AuditEntry, OutgoingMail, Tenant
from directory.operations.tenants import NoSecondFactor, set_second_factor
from directory.sessions import SECOND_FACTOR
from tests.factories import actor_of, client_of, make_relationship, make_tenant, make_user

pytestmark = pytest.mark.django_db
PAGE = "/admin/sign-in/"


def with_factor(user, acting_for=None):
    """A browser of somebody who signed in with a second factor."""
    browser = client_of(user, acting_for)
    session = browser.session
    session[SECOND_FACTOR] = True
    session.save()
    return browser


def demand(tenant):
    with tenant_atomic(tenant.pk):
        Tenant.objects.filter(pk=tenant.pk).update(admins_need_second_factor=True)


def is_demanded(tenant):
    with tenant_atomic(tenant.pk):
        return Tenant.objects.get(pk=tenant.pk).admins_need_second_factor


@pytest.mark.parametrize(
    ("methods", "has_one"),
    [
        (["pwd", "mfa"], True),
        (["mfa"], True),
        (["pwd", "otp"], True),
        (["pin", "hwk"], True),
        (["pwd"], False),
        (["otp"], False),
        (["pwd", "pin"], False),
        (["rsa", "wia"], False),
        ([], False),
        (None, False),
        ("mfa", False),
        ({"mfa": True}, False),
        (["mfa", 7], False),
        ([["mfa"]], False),
        (["MFA"], False),
    ],
)
def test_what_the_claim_amr_says(methods, has_one):
    assert _has_second_factor(methods) == has_one


@pytest.mark.parametrize(
    "role", ["global_admin", "billing_admin", "license_admin", "user_admin", "global_reader"]
)
def test_without_one_a_role_does_not_count_and_the_person_reads_what_to_do(role):
    tenant = make_tenant()
    admin = make_user(tenant, roles=(role,))
    without, having = client_of(admin), with_factor(admin)
    assert without.get(reverse("portal:people")).status_code == 200
    demand(tenant)

    home = without.get("/my/licenses/")

    assert without.get(reverse("portal:people")).status_code == 404
    assert without.post(reverse("portal:groups"), {"name": "Mine"}).status_code == 404
    assert home.status_code == 200
    assert "second factor" in home.text
    assert having.get(reverse("portal:people")).status_code == 200
    assert "second factor" not in having.get("/my/licenses/").text


def test_a_purchaser_and_a_member_need_none():
    tenant = make_tenant()
    demand(tenant)
    pat = client_of(make_user(tenant, purchaser_since=real_now()))

    page = pat.get(reverse("portal:your-products"))

    assert page.status_code == 200
    assert "second factor" not in page.text


def test_an_admin_who_also_bought_keeps_the_own_purchases():
    tenant = make_tenant()
    demand(tenant)
    bill = client_of(make_user(tenant, roles=("billing_admin",), purchaser_since=real_now()))

    assert bill.get(reverse("portal:your-products")).status_code == 200
    assert bill.get(reverse("portal:people")).status_code == 404


def test_a_partner_without_one_is_at_home_again_and_with_one_acts():
    contoso, northwind = make_tenant(name="Contoso"), make_tenant()
    petra = make_user(northwind, roles=("global_admin",))
    make_relationship(contoso, northwind, users=(petra,), ends_at=real_now() + timedelta(days=30))
    demand(contoso)
    without, having = client_of(petra, contoso), with_factor(petra, contoso)

    page = without.get(reverse("portal:people"))

    assert page.context["actor"].tenant_id == northwind.pk
    assert "Contoso" in page.text
    assert "second factor" in page.text
    assert having.get(reverse("portal:people")).context["actor"].tenant_id == contoso.pk


def test_a_global_admin_with_one_demands_it_and_the_others_are_told(at):
    tenant = make_tenant()
    gina, greg = (make_user(tenant, roles=("global_admin",)) for _ in range(2))
    browser = with_factor(gina)

    saved = browser.post(PAGE, {"what": "second_factor", "is_on": "1"})
    browser.post(PAGE, {"what": "second_factor", "is_on": "1"})

    assert saved.status_code == 303
    assert is_demanded(tenant)
    with tenant_atomic(tenant.pk):
        codes = AuditEntry.objects.filter(code="directory.tenant.second_factor_set").count()
        readers = set(
            OutgoingMail.objects.filter(kind="sign_in_changed").values_list("to_user_id", flat=True)
        )
    assert (codes, readers) == (1, {gina.pk, greg.pk})
    assert browser.get(PAGE).status_code == 200
    assert client_of(greg).get(PAGE).status_code == 404


def test_nobody_locks_themselves_out(at):
    tenant = make_tenant()
    gina = make_user(tenant, roles=("global_admin",))

    refused = client_of(gina).post(PAGE, {"what": "second_factor", "is_on": "1"})

    assert refused.status_code == 409
    assert "would lock yourself out" in refused.text
    with pytest.raises(NoSecondFactor):
        set_second_factor(actor=actor_of(gina), is_on=True, has_one=False, at=at)
    assert not is_demanded(tenant)


def test_who_becomes_a_member_is_switched_on_the_same_page():
    tenant = make_tenant()
    browser = client_of(make_user(tenant, roles=("global_admin",)))

    off = browser.post(PAGE, {"what": "members", "is_on": "0"})
    nonsense = browser.post(PAGE, {"what": "weather", "is_on": "1"})

    assert (off.status_code, nonsense.status_code) == (303, 422)
    with tenant_atomic(tenant.pk):
        assert Tenant.objects.get(pk=tenant.pk).creates_members is False


def test_a_reader_changes_nothing_there():
    tenant = make_tenant()
    rhea = client_of(make_user(tenant, roles=("global_reader",)))

    assert rhea.get(PAGE).status_code == 200
    assert rhea.post(PAGE, {"what": "members", "is_on": "0"}).status_code == 403
