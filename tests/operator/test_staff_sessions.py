"""The vendor's staff read one organization's pages in a session: a reason, an hour, nothing changed (product §2)."""

from datetime import datetime, timedelta

import psycopg
import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse

from commerce.models import SavedView
from config.kit.clock import now
from config.kit.errors import Malformed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, StaffAssignment, StaffSession, Tenant, User
from directory.operations.staff_sessions import end_staff_session, open_staff_session
from directory.staff import StaffCapability
from tests.factories import (
    client_of,
    make_staff,
    make_staff_session,
    make_subscription,
    make_tenant,
    make_user,
    staff_actor_of,
)

pytestmark = pytest.mark.django_db

PAGE = "/operator/sessions/"
PRODUCTS = "/admin/billing/your-products/"
BANNER = "as the vendor's staff until"
WHY = "Case 17: the last bill is wrong"


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso", domain="contoso.example")


@pytest.fixture
def vendor() -> Tenant:
    return make_tenant(name="The vendor", kind="vendor", domain="vendor.example")


@pytest.fixture
def sven(vendor: Tenant) -> User:
    return make_staff(vendor, "staff_support", name="Sven Larsen")


@pytest.fixture
def clock(monkeypatch):
    """`clock(moment)` is what every request reads from then on."""

    def be(moment: datetime) -> None:
        for module in ("directory.middleware", "directory.views.staff_sessions"):
            monkeypatch.setattr(f"{module}.now", lambda: moment)

    return be


def opened(client: Client, sven: User, domain: str = "contoso.example", reason: str = WHY):
    return client.post(PAGE, {"shown_for_tenant": sven.tenant_id, "domain": domain, "reason": reason})


def trail(tenant: Tenant) -> list[str]:
    with tenant_atomic(tenant.pk):
        rows = AuditEntry.objects.filter(tenant=tenant, code__startswith="directory.staff_session.")
        return list(rows.order_by("id").values_list("code", flat=True))


def test_nobody_of_the_staff_sees_an_organizations_pages_without_one(contoso, sven):
    bought = make_subscription(contoso)
    client = client_of(sven, contoso, with_factor=True)

    assert "Power BI Pro" not in client.get(PRODUCTS).text
    assert client.get(reverse("portal:subscription", args=[bought.key])).status_code == 404


def test_with_a_reason_they_read_for_an_hour_under_a_banner(contoso, vendor, sven):
    make_subscription(contoso)
    client = client_of(sven, with_factor=True)

    answer = opened(client, sven)

    assert answer.status_code == 302
    page = client.get(PRODUCTS).text
    assert BANNER in page
    assert "Power BI Pro" in page
    with tenant_atomic(contoso.pk):
        entry = AuditEntry.objects.get(tenant=contoso, code="directory.staff_session.opened")
    assert (entry.actor_label, entry.after["reason"]) == ("Support: Sven Larsen", WHY)
    assert trail(vendor) == ["directory.staff_session.opened"]


@pytest.mark.parametrize("address", ["/operator/", "/operator/organizations/", PAGE])
def test_their_own_site_says_that_reading_ends_first_and_has_the_button(contoso, sven, address):
    client = client_of(sven, with_factor=True)
    opened(client, sven)

    page = client.get(address)
    nowhere = client.get("/operator/nowhere/")

    assert page.status_code == 404
    assert "You are reading Contoso" in page.text
    assert "End reading to go to your own site." in page.text
    assert page.text.count(reverse("portal:stop-acting")) == 2
    assert BANNER in page.text
    assert "Contoso" not in nowhere.text


@pytest.mark.parametrize(("seconds", "is_read"), [(-1, True), (0, False), (1, False)])
def test_it_lasts_to_the_last_second_and_not_one_longer(contoso, sven, clock, seconds, is_read):
    session = make_staff_session(sven, contoso, now())
    client = client_of(sven, contoso, with_factor=True)

    clock(session.ends_at + timedelta(seconds=seconds))

    assert (BANNER in client.get(PRODUCTS).text) is is_read


def test_they_change_nothing_in_it(contoso, sven):
    bought = make_subscription(contoso)
    opened(client := client_of(sven, with_factor=True), sven)

    for name in ("portal:seats", "portal:plan", "portal:cancel", "portal:assign"):
        page = reverse(name, args=[bought.key])
        answer = client.post(page, {"shown_for_tenant": contoso.pk})
        assert answer.status_code in (403, 404), name


def test_not_even_a_view_of_their_own_is_kept_or_a_list_exported(contoso, sven):
    """What a reader may do beside reading is not theirs."""
    opened(client := client_of(sven, with_factor=True), sven)

    page = client.get(f"{PRODUCTS}?left=1").text
    assert "Ends at any time" in page
    assert "Export CSV" not in page
    assert "Save view" not in page
    for name, typed in (
        ("portal:view-save", {"name": "Mine", "query": "left=1"}),
        ("portal:your-products-export", {}),
    ):
        answer = client.post(reverse(name), {"shown_for_tenant": contoso.pk, **typed})
        assert answer.status_code == 403, name
    with tenant_atomic(contoso.pk):
        assert not SavedView.objects.exists()


def test_the_second_factor_must_be_shown_in_that_very_browser(contoso, sven):
    make_staff_session(sven, contoso, now())

    assert BANNER not in client_of(sven, contoso).get(PRODUCTS).text


def test_the_organizations_own_demand_of_a_second_factor_is_met_by_the_staffs(contoso, sven):
    with tenant_atomic(contoso.pk):
        Tenant.objects.filter(pk=contoso.pk).update(admins_need_second_factor=True)
    make_staff_session(sven, contoso, now())

    assert BANNER in client_of(sven, contoso, with_factor=True).get(PRODUCTS).text


def test_whoever_loses_the_staff_role_reads_nothing_from_the_next_request_on(contoso, sven):
    opened(client := client_of(sven, with_factor=True), sven)
    assert BANNER in client.get(PRODUCTS).text

    with tenant_atomic(sven.tenant_id):
        StaffAssignment.objects.filter(user=sven).delete()

    assert BANNER not in client.get(PRODUCTS).text


def test_anothers_session_opens_nothing(contoso, vendor, sven):
    make_staff_session(sven, contoso, now())
    other = make_staff(vendor, "staff_support")

    assert BANNER not in client_of(other, contoso, with_factor=True).get(PRODUCTS).text


def test_ending_it_is_told_on_both_sides_and_leads_home(contoso, vendor, sven):
    opened(client := client_of(sven, with_factor=True), sven)

    answer = client.post(reverse("portal:stop-acting"), {"shown_for_tenant": contoso.pk})

    assert answer.headers["Location"] == PAGE
    assert BANNER not in client.get(PRODUCTS).text
    both = ["directory.staff_session.opened", "directory.staff_session.ended"]
    assert (trail(contoso), trail(vendor)) == (both, both)


def test_the_list_goes_on_with_one_and_ends_one(contoso, sven):
    session = make_staff_session(sven, contoso, now())
    client = client_of(sven, with_factor=True)
    assert "Case 17" in client.get(PAGE).text
    home = {"shown_for_tenant": sven.tenant_id}

    client.post(reverse("operator:session-enter", args=[session.key]), home)
    assert BANNER in client.get(PRODUCTS).text

    client = client_of(sven, with_factor=True)
    client.post(reverse("operator:session-end", args=[session.key]), home)
    answer = client.post(reverse("operator:session-enter", args=[session.key]), home)
    assert answer.headers["Location"] == PAGE
    assert BANNER not in client.get(PRODUCTS).text


@pytest.mark.parametrize(
    ("domain", "reason", "says"),
    [
        ("nobody.example", WHY, "No organization has proved this domain."),
        ("vendor.example", WHY, "These are your own pages."),
        ("contoso.example", "", "Say why"),
        ("contoso.example", "look", "Say why"),
        ("contoso.example", "x" * 501, "Say why"),
        ("contoso.example\0", "why not\0 indeed", "Say why"),
    ],
)
def test_bad_input_is_told_at_its_field_and_opens_nothing(contoso, sven, domain, reason, says):
    answer = opened(client_of(sven, with_factor=True), sven, domain, reason)

    assert answer.status_code == 422
    assert says in answer.text
    assert 'aria-invalid="true"' in answer.text
    with tenant_atomic(sven.tenant_id):
        assert not StaffSession.objects.exists()


def test_a_second_one_at_once_is_the_first(contoso, sven):
    staff = staff_actor_of(sven)

    first = open_staff_session(staff=staff, domain="Contoso.example ", reason=WHY, at=now())
    again = open_staff_session(staff=staff, domain="contoso.example", reason=WHY, at=now())

    assert again == first
    assert trail(contoso) == ["directory.staff_session.opened"]


def test_ending_twice_is_once_and_anothers_is_not_there(contoso, vendor, sven):
    session = make_staff_session(sven, contoso, now())
    staff = staff_actor_of(sven)

    end_staff_session(staff=staff, key=session.key, at=now())
    end_staff_session(staff=staff, key=session.key, at=now())

    assert trail(contoso) == ["directory.staff_session.ended"]
    with pytest.raises(NotVisible):
        end_staff_session(
            staff=staff_actor_of(make_staff(vendor, "staff_support")), key=session.key, at=now()
        )


def test_only_the_staff_who_may_open_one(contoso, vendor):
    olga = staff_actor_of(make_staff(vendor, "staff_catalogue"))
    assert not olga.may(StaffCapability.OPEN_STAFF_SESSION)

    with pytest.raises(NotVisible):
        open_staff_session(staff=olga, domain="contoso.example", reason=WHY, at=now())
    with pytest.raises(Malformed):
        open_staff_session(
            staff=staff_actor_of(make_staff(vendor, "staff_superuser")), domain="", reason=WHY, at=now()
        )


def test_the_database_refuses_one_of_anybody_else(contoso, vendor, sven):
    """Not of another organization's people, not written in the organization that it is for, not for longer."""
    other = make_tenant(name="Fabrikam")
    mallory = make_user(other)
    at = now()

    def write(in_: Tenant, user: User, hours: float = 1) -> None:
        with transaction.atomic(), tenant_atomic(in_.pk):
            StaffSession.objects.create(
                tenant=contoso,
                staff_tenant_id=user.tenant_id,
                user_id=user.pk,
                staff_name="Somebody",
                organization="Contoso",
                reason=WHY,
                opened_at=at,
                ends_at=at + timedelta(hours=hours),
            )

    for in_, user, hours in [
        (other, mallory, 1),
        (contoso, sven, 1),
        (vendor, make_user(vendor), 1),
        (vendor, sven, 2),
    ]:
        with pytest.raises(IntegrityError) as refused:
            write(in_, user, hours)
        assert isinstance(refused.value.__cause__, psycopg.errors.IntegrityError)
    write(vendor, sven)
