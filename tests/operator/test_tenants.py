"""Organizations at the vendor's site: found, set up, changed, suspended (product §1, §2; docs/adr/0038)."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client

from commerce.operations.organizations import (
    Moved,
    NewOrganization,
    change_organization,
    create_organization,
    suspend_organization,
    take_up_organization,
)
from commerce.queries.organizations import ORGANIZATIONS, consequences
from config.kit.actors import Actor
from config.kit.errors import Malformed, NotVisible
from config.kit.listings import page
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, Domain, IdentityProvider, RoleAssignment, Tenant, User
from directory.operations.domains import DomainTaken
from directory.operations.people import create_member_at_sign_in
from directory.queries import door_of_address
from tests.factories import (
    AT,
    client_of,
    make_staff,
    make_subscription,
    make_tenant,
    make_user,
    staff_actor_of,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])

LIST = "/operator/organizations/"


@pytest.fixture
def vendor() -> Tenant:
    return make_tenant(name="The vendor", kind="vendor")


@pytest.fixture
def root(vendor: Tenant) -> User:
    return make_staff(vendor, "staff_superuser", name="Roos Maas")


@pytest.fixture
def actor(root: User) -> Actor:
    return staff_actor_of(root)


@pytest.fixture
def client(root: User) -> Client:
    return client_of(root, with_factor=True)


def names(vendor: Tenant, *filters: str, **kwargs: Any) -> list[str]:
    with tenant_atomic(vendor.pk):
        return [row.name for row in page(ORGANIZATIONS, *filters, **kwargs).rows]


def row_of(tenant_id: int) -> Tenant:
    with tenant_atomic(tenant_id):
        return Tenant.objects.get(pk=tenant_id)


def trail(tenant_id: int, code: str) -> list[tuple[str, Any, Any]]:
    with tenant_atomic(tenant_id):
        rows = AuditEntry.objects.filter(code=code).order_by("pk")
        return [(row.actor_label, row.before, row.after) for row in rows]


WANTED = NewOrganization(
    name="Tailspin Toys",
    kind="commercial",
    country="NL",
    time_zone="Europe/Amsterdam",
    domain="tailspin.example",
    vouched="Seen in the register of companies",
    issuer="https://login.tailspin.example",
    client_id="seatkeeper",
    client_secret="a secret",
    admin_name="Tess Bron",
    admin_email="Tess@Tailspin.example",
    admin_id="object-7",
)


# --- The list ---------------------------------------------------------------------------------------------


def test_an_organization_is_found_by_name_domain_kind_market_and_state(vendor: Tenant) -> None:
    make_tenant(name="Contoso", domain="contoso.example")
    make_tenant(name="Bellows", kind="education", country="GB", domain="college.example")
    make_tenant(name="Wingtip", country="IN", standing="suspended", domain=None)
    make_tenant(name="Adatum", is_managed=False)

    assert names(vendor, "", "", "", "") == ["Adatum", "Wingtip", "Bellows", "Contoso", "The vendor"]
    assert names(vendor, "CONTOSO", "", "", "") == ["Contoso"]
    assert names(vendor, "college.ex", "", "", "") == ["Bellows"]
    assert names(vendor, "", "education", "", "") == ["Bellows"]
    assert names(vendor, "", "", "IN", "") == ["Wingtip"]
    assert names(vendor, "", "", "", "suspended") == ["Wingtip"]
    assert names(vendor, "", "", "", "unmanaged") == ["Adatum"]
    assert names(vendor, "%", "", "", "") == []


def test_the_list_counts_purchases_and_not_the_deleted(vendor: Tenant) -> None:
    contoso = make_tenant(name="Contoso", domain="contoso.example")
    make_subscription(contoso)
    make_subscription(contoso, state="deleted")

    with tenant_atomic(vendor.pk):
        [row] = page(ORGANIZATIONS, "Contoso", "", "", "").rows

    assert (row.id, row.domain, row.purchases, row.kind_label) == (
        contoso.pk,
        "contoso.example",
        "1",
        "Commercial",
    )


def test_no_customers_setting_opens_the_list(vendor: Tenant) -> None:
    customer = make_tenant()
    with tenant_atomic(customer.pk), connection.cursor() as cursor:
        cursor.execute("SELECT * FROM staff_organizations('', '', '', '', NULL, true, 200)")

        assert cursor.fetchall() == []


def test_the_page_shows_what_it_was_asked_for(client: Client) -> None:
    make_tenant(name="Contoso")
    make_tenant(name="Fabrikam")

    shown = client.get(LIST, {"q": "conto"}).text

    assert "Contoso" in shown
    assert "Fabrikam" not in shown
    assert client.get(LIST, {"state": "nonsense"}).status_code == 422
    assert client.get(LIST, {"page": "nonsense"}).status_code == 422


# --- Who --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("staff_superuser", [200, 200, 200, 200, 200]),
        ("staff_support", [200, 200, 404, 404, 404]),
        ("staff_catalogue", [404, 404, 404, 404, 404]),
    ],
)
def test_support_sees_organizations_and_superusers_change_them(
    vendor: Tenant, role: str, expected: list[int]
) -> None:
    contoso = make_tenant()
    client = client_of(make_staff(vendor, role), with_factor=True)
    addresses = [
        *(LIST, f"{LIST}{contoso.pk}/", f"{LIST}new/", f"{LIST}{contoso.pk}/change/", "/operator/billing/")
    ]

    assert [client.get(address).status_code for address in addresses] == expected


def test_support_suspends_nobody(vendor: Tenant) -> None:
    contoso = make_tenant()
    sven = make_staff(vendor, "staff_support")
    posted = {"action": "suspend", "reason": "Did not pay"}

    answer = client_of(sven, with_factor=True).post(f"{LIST}{contoso.pk}/", posted)

    assert answer.status_code == 403
    assert row_of(contoso.pk).standing == "good"
    with pytest.raises(NotVisible):
        suspend_organization(staff=staff_actor_of(sven), tenant_id=contoso.pk, reason="x", at=AT)


def test_an_admin_of_a_customer_changes_no_organization(vendor: Tenant) -> None:
    contoso = make_tenant()
    gina = make_user(contoso, roles=("global_admin",))

    for address in (LIST, f"{LIST}{contoso.pk}/", f"{LIST}new/", f"{LIST}{contoso.pk}/change/"):
        assert client_of(gina).get(address).status_code == 404
        assert client_of(gina).post(address, {"action": "suspend", "reason": "x"}).status_code == 404


# --- Suspending -------------------------------------------------------------------------------------------


def test_a_suspended_organization_is_taken_up_again_and_both_trails_say_why(
    actor: Actor, vendor: Tenant
) -> None:
    contoso = make_tenant(name="Contoso")

    suspend_organization(staff=actor, tenant_id=contoso.pk, reason="Did not  pay", at=AT)
    assert row_of(contoso.pk).standing == "suspended"
    take_up_organization(staff=actor, tenant_id=contoso.pk, reason="Paid", at=AT)

    assert row_of(contoso.pk).standing == "good"
    assert trail(contoso.pk, "directory.tenant.suspended") == [
        (
            "Support: Roos Maas",
            {"standing": "good"},
            {"standing": "suspended", "reason": "Did not pay"},
        )
    ]
    [(label, _before, after)] = trail(vendor.pk, "directory.tenant.taken_up")
    assert (label, after) == (
        "Roos Maas",
        {"standing": "good", "reason": "Paid", "organization": contoso.pk},
    )


def test_whoever_is_second_is_told(actor: Actor) -> None:
    contoso = make_tenant()
    suspend_organization(staff=actor, tenant_id=contoso.pk, reason="Did not pay", at=AT)

    with pytest.raises(Moved):
        suspend_organization(staff=actor, tenant_id=contoso.pk, reason="Did not pay", at=AT)

    assert len(trail(contoso.pk, "directory.tenant.suspended")) == 1


@pytest.mark.parametrize("reason", ["", "   ", "x" * 301, "a\x00b"])
def test_nothing_is_suspended_without_a_reason(actor: Actor, reason: str) -> None:
    contoso = make_tenant()

    with pytest.raises(Malformed):
        suspend_organization(staff=actor, tenant_id=contoso.pk, reason=reason, at=AT)

    assert row_of(contoso.pk).standing == "good"


def test_the_vendor_itself_is_neither_suspended_nor_changed(actor: Actor, vendor: Tenant) -> None:
    with pytest.raises(NotVisible):
        suspend_organization(staff=actor, tenant_id=vendor.pk, reason="x", at=AT)
    with pytest.raises(NotVisible):
        change_organization(
            staff=actor,
            tenant_id=vendor.pk,
            kind="commercial",
            country="NL",
            seen=("vendor", "NL"),
            reason="x",
            at=AT,
        )


def test_people_of_a_suspended_organization_sign_in_to_pay_and_buy_nothing(client: Client) -> None:
    contoso = make_tenant()
    bill = client_of(make_user(contoso, roles=("billing_admin",)))
    client.post(f"{LIST}{contoso.pk}/", {"action": "suspend", "reason": "Did not pay"})

    assert bill.get("/admin/billing/bills/").status_code == 200
    assert bill.get("/admin/billing/policy/").status_code == 200
    assert "suspended" in bill.get("/buy/power-bi-pro/").text


# --- Kind and market --------------------------------------------------------------------------------------


def test_another_market_brings_its_currency_and_leaves_what_was_bought(actor: Actor) -> None:
    contoso = make_tenant(country="NL", currency="EUR")
    bought = make_subscription(contoso)

    change_organization(
        staff=actor,
        tenant_id=contoso.pk,
        kind="nonprofit",
        country="US",
        seen=("commercial", "NL"),
        reason="Moved",
        at=AT,
    )

    changed = row_of(contoso.pk)
    assert (changed.kind, changed.country, changed.currency) == ("nonprofit", "US", "USD")
    with tenant_atomic(contoso.pk):
        bought.refresh_from_db()
    assert (bought.currency, bought.market_id) == ("EUR", "NL")
    [(_label, before, after)] = trail(contoso.pk, "directory.tenant.changed")
    assert before == {"kind": "commercial", "country": "NL", "currency": "EUR"}
    assert after == {"kind": "nonprofit", "country": "US", "currency": "USD", "reason": "Moved"}


def test_what_a_change_would_do_is_shown_before(client: Client) -> None:
    contoso = make_tenant(country="NL", currency="EUR")
    make_subscription(contoso, owner=make_user(contoso))

    shown = client.get(f"{LIST}{contoso.pk}/change/", {"kind": "government", "country": "US"}).text

    assert "neither buy nor try" in shown
    assert "1 purchase that somebody made goes on" in shown
    assert "USD" in shown
    assert row_of(contoso.pk).kind == "commercial"


def test_what_a_kind_decides_is_what_eligibility_says() -> None:
    contoso = make_tenant(country="NL", currency="EUR")
    with tenant_atomic(contoso.pk):
        opens = {
            kind: consequences(contoso, kind=kind, country="NL").is_open
            for kind in ("commercial", "nonprofit", "government", "education")
        }
        in_india = consequences(contoso, kind="commercial", country="IN")

    assert opens == {"commercial": True, "nonprofit": True, "government": False, "education": False}
    assert (in_india.is_open, in_india.currency) == (False, "INR")


def test_a_change_that_somebody_else_made_is_not_made_over(client: Client) -> None:
    contoso = make_tenant(country="NL", kind="education")
    posted = {
        "kind": "nonprofit",
        "country": "NL",
        "seen_kind": "commercial",
        "seen_country": "NL",
        "reason": "As agreed",
    }

    answer = client.post(f"{LIST}{contoso.pk}/change/", posted)

    assert answer.status_code == 409
    assert "Somebody changed this organization" in answer.text
    assert row_of(contoso.pk).kind == "education"


@pytest.mark.parametrize(
    ("kind", "country"), [("vendor", "NL"), ("", "NL"), ("commercial", "XX"), ("a\0", "b")]
)
def test_what_is_no_kind_and_no_market_is_refused(client: Client, kind: str, country: str) -> None:
    contoso = make_tenant(country="NL")
    posted = {
        "kind": kind,
        "country": country,
        "seen_kind": "commercial",
        "seen_country": "NL",
        "reason": "x",
    }

    assert client.post(f"{LIST}{contoso.pk}/change/", posted).status_code == 422
    assert client.get(f"{LIST}{contoso.pk}/change/", {"kind": kind, "country": country}).status_code == 422
    assert (row_of(contoso.pk).kind, row_of(contoso.pk).country) == ("commercial", "NL")


def test_a_change_needs_a_reason_and_keeps_what_was_chosen(client: Client) -> None:
    contoso = make_tenant(country="NL")
    posted = {"kind": "nonprofit", "country": "NL", "seen_kind": "commercial", "seen_country": "NL"}

    answer = client.post(f"{LIST}{contoso.pk}/change/", posted)

    assert answer.status_code == 422
    assert 'id="id_reason_error"' in answer.text
    assert row_of(contoso.pk).kind == "commercial"


# --- A new one --------------------------------------------------------------------------------------------


def test_a_new_organizations_first_admin_signs_in_by_the_id_that_was_entered(
    actor: Actor, vendor: Tenant
) -> None:
    tenant = create_organization(staff=actor, wanted=WANTED, at=AT)

    door = door_of_address("tess@tailspin.example")
    assert door is not None
    assert door.tenant_id == tenant.pk
    signed_in = create_member_at_sign_in(
        tenant_id=tenant.pk,
        issuer="https://login.tailspin.example",
        subject="pairwise-1",
        name="Tess",
        email="somebody@else.example",
        external_ids=("pairwise-1", "object-7"),
        at=AT,
    )
    with tenant_atomic(tenant.pk):
        [admin] = RoleAssignment.objects.filter(tenant=tenant)
        assert (admin.user_id, admin.role, admin.granted_by) == (
            signed_in.pk,
            "global_admin",
            "Support: Roos Maas",
        )
        assert IdentityProvider.objects.get(tenant=tenant).client_id == "seatkeeper"
    assert [label for label, _b, _a in trail(tenant.pk, "directory.tenant.created")] == ["Support: Roos Maas"]
    [(_label, _before, after)] = trail(vendor.pk, "directory.domain.added")
    assert after["reason"] == "Seen in the register of companies"


def test_whoever_signs_in_by_the_admins_mail_alone_is_no_admin(actor: Actor) -> None:
    tenant = create_organization(staff=actor, wanted=WANTED, at=AT)

    stranger = create_member_at_sign_in(
        tenant_id=tenant.pk,
        issuer="https://login.tailspin.example",
        subject="stranger",
        name="Tess",
        email="tess@tailspin.example",
        external_ids=("stranger",),
        at=AT,
    )

    with tenant_atomic(tenant.pk):
        assert not RoleAssignment.objects.filter(user=stranger).exists()


def test_a_domain_that_nobody_vouches_for_leads_nowhere_until_it_is_proved(client: Client) -> None:
    posted = {
        "name": "Tailspin",
        "kind": "commercial",
        "country": "NL",
        "time_zone": "Europe/Amsterdam",
        "language": "en",
        "domain": "tailspin.example",
    }

    answer = client.post(f"{LIST}new/", posted)

    assert answer.status_code == 303
    made = int(answer["Location"].rstrip("/").rsplit("/", 1)[1])
    with tenant_atomic(made):
        [domain] = Domain.objects.filter(tenant_id=made)
    assert (domain.name, domain.verified_at, bool(domain.token)) == ("tailspin.example", None, True)
    assert row_of(made).currency == "EUR"
    assert door_of_address("a@tailspin.example") is None


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("name", {"name": " "}),
        ("kind", {"kind": "vendor"}),
        ("country", {"country": "XX"}),
        ("time_zone", {"time_zone": "Mars/Olympus"}),
        ("language", {"language": "xx"}),
        ("domain", {"domain": "nonsense"}),
        ("domain", {"vouched": "Seen", "domain": ""}),
        ("domain", {"domain": "taken.example", "vouched": "Seen"}),
        ("issuer", {"issuer": "ftp://x", "client_id": "a", "client_secret": "b"}),
        ("issuer", {"client_id": "a", "client_secret": "b"}),
        ("client_id", {"issuer": "https://login.tailspin.example", "client_secret": "b"}),
        ("client_secret", {"issuer": "https://login.tailspin.example", "client_id": "b"}),
        ("admin_name", {"admin_email": "a@b.example", "admin_id": "7"}),
        ("admin_email", {"admin_name": "A", "admin_email": "nobody", "admin_id": "7"}),
        ("admin_id", {"admin_name": "A", "admin_email": "a@b.example"}),
    ],
)
def test_each_mistake_is_told_at_its_field_and_nothing_is_set_up(
    client: Client, vendor: Tenant, field: str, values: dict[str, str]
) -> None:
    make_tenant(name="Somebody else", domain="taken.example")
    fine = {
        "name": "Tailspin",
        "kind": "commercial",
        "country": "NL",
        "time_zone": "Europe/Amsterdam",
        "language": "en",
        "domain": "tailspin.example",
    }

    answer = client.post(f"{LIST}new/", fine | values)

    assert answer.status_code in (409, 422)
    assert f'id="id_{field}_error"' in answer.text
    assert names(vendor, "", "", "", "") == ["Somebody else", "The vendor"]


def test_all_mistakes_are_told_at_once(client: Client) -> None:
    posted = {"domain": "nonsense", "issuer": "ftp://x", "admin_email": "nobody", "time_zone": "UTC"}

    shown = client.post(f"{LIST}new/", posted).text

    for field in ("name", "kind", "country", "language", "domain", "issuer", "admin_name"):
        assert shown.count(f'id="id_{field}_error"') == 1, field


def test_the_secret_that_was_typed_is_never_shown_again(client: Client) -> None:
    answer = client.post(f"{LIST}new/", {"name": "", "client_secret": "very secret words"})

    assert "very secret words" not in answer.text


def test_a_domain_that_is_somebody_elses_is_not_vouched_for(actor: Actor, vendor: Tenant) -> None:
    make_tenant(name="Somebody else", domain="tailspin.example")

    with pytest.raises(DomainTaken):
        create_organization(staff=actor, wanted=WANTED, at=AT)

    assert names(vendor, "", "commercial", "", "") == ["Somebody else"]


# --- What comes later -------------------------------------------------------------------------------------


def test_a_provider_is_named_once_and_then_the_organizations_own(client: Client) -> None:
    contoso = make_tenant(issuer=None)
    posted = {
        "action": "provider",
        "issuer": "https://login.contoso.example",
        "client_id": "one",
        "client_secret": "secret",
    }

    assert client.post(f"{LIST}{contoso.pk}/", posted).status_code == 303
    assert client.post(f"{LIST}{contoso.pk}/", posted | {"client_id": "two"}).status_code == 409

    with tenant_atomic(contoso.pk):
        assert [each.client_id for each in IdentityProvider.objects.filter(tenant=contoso)] == ["one"]


def test_a_domain_is_added_later_with_how_it_was_made_sure(client: Client) -> None:
    contoso = make_tenant(name="Contoso", domain="contoso.example")
    posted = {"action": "domain", "domain": "Contoso.NL.example", "vouched": "Called Ms. Jansen"}

    assert client.post(f"{LIST}{contoso.pk}/", posted).status_code == 303

    assert door_of_address("a@contoso.nl.example") is not None
    assert "Vouched for" in client.get(f"{LIST}{contoso.pk}/").text


def test_a_domain_that_is_there_already_is_told_at_its_field(client: Client) -> None:
    contoso = make_tenant(domain="contoso.example")

    answer = client.post(f"{LIST}{contoso.pk}/", {"action": "domain", "domain": "contoso.example"})

    assert answer.status_code == 409
    assert 'id="id_domain_error"' in answer.text


@pytest.mark.parametrize("number", [0, 2**40, 2**63, 10**30])
def test_an_organization_that_is_not_there_is_not_found(client: Client, number: int) -> None:
    for address in (f"{LIST}{number}/", f"{LIST}{number}/change/"):
        assert client.get(address).status_code == 404
        assert client.post(address, {"action": "suspend", "reason": "x"}).status_code == 404


def test_support_goes_from_an_organization_to_a_session_in_which_its_pages_are_read(vendor: Tenant) -> None:
    contoso = make_tenant(domain="contoso.example")
    sven = client_of(make_staff(vendor, "staff_support"), with_factor=True)

    assert "/operator/sessions/?domain=contoso.example" in sven.get(f"{LIST}{contoso.pk}/").text
    assert "/operator/sessions/?domain=" not in sven.get(f"{LIST}{vendor.pk}/").text


def test_a_page_of_an_organization_names_nobody_of_it(client: Client) -> None:
    contoso = make_tenant(name="Contoso")
    make_user(contoso, name="Gina Secret", email="gina.secret@contoso.example", roles=("global_admin",))

    shown = client.get(f"{LIST}{contoso.pk}/").text

    assert "Secret" not in shown
    assert "gina.secret" not in shown
