"""The lists over all organizations: open to the vendor's setting alone, paged by id (docs/adr/0034)."""

from typing import Any

import pytest
from django.db import connection

from commerce.models import Subscription
from commerce.queries.staff_work import PARKED
from config.kit.errors import Malformed, NotVisible
from config.kit.listings import find, page
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant
from tests.factories import AT, make_subscription, make_tenant
from tests.operator.work import make_work

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])

LISTS = (
    "staff_waiting_mails('dead', ''",
    "staff_waiting_mails('queued', ''",
    "staff_stopped_jobs(''",
    "staff_parked_subscriptions(''",
    "staff_stuck_charges('', now() + interval '100 years'",
    "staff_refused_bills(''",
    "staff_stuck_refunds('', now() + interval '100 years'",
    "staff_cases('', ''",
    "staff_solutions('', ''",
    "staff_agreements(''",
)


def rows(sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def park(*subscriptions: Subscription) -> None:
    for subscription in subscriptions:
        with tenant_atomic(subscription.tenant_id):
            Subscription.objects.filter(pk=subscription.pk).update(parked_at=AT, parked_reason="No price.")


def test_the_vendor_sees_what_waits_with_whose_it_is(vendor: Tenant) -> None:
    contoso = make_tenant(name="Contoso")
    subscription = make_subscription(contoso)
    park(subscription)

    with tenant_atomic(vendor.pk):
        found = page(PARKED, "").rows

    assert [(row.id, row.tenant_id, row.organization, row.reason) for row in found] == [
        (subscription.pk, contoso.pk, "Contoso", "No price.")
    ]


@pytest.mark.parametrize("name", ["Contoso", "CONT", "toso"])
def test_a_part_of_the_name_finds_an_organization(vendor: Tenant, name: str) -> None:
    subscription = make_subscription(make_tenant(name="Contoso"))
    park(subscription, make_subscription(make_tenant(name="Fabrikam")))

    with tenant_atomic(vendor.pk):
        assert [row.id for row in page(PARKED, name).rows] == [subscription.pk]


@pytest.mark.parametrize("mark", ["%", "_", "' OR true --", "\\"])
def test_no_sign_of_a_pattern_means_anything(vendor: Tenant, mark: str) -> None:
    park(make_subscription(make_tenant(name="Contoso")))

    with tenant_atomic(vendor.pk):
        assert page(PARKED, mark).rows == []


def test_pages_go_forward_and_back_over_all(vendor: Tenant) -> None:
    tenant = make_tenant()
    made = [make_subscription(tenant) for _ in range(5)]
    park(*made)
    newest_first = [each.pk for each in reversed(made)]

    with tenant_atomic(vendor.pk):
        first = page(PARKED, "", size=2)
        second = page(PARKED, "", cursor=first.next, size=2)
        third = page(PARKED, "", cursor=second.next, size=2)
        again = page(PARKED, "", cursor=third.back, size=2)

    assert [[row.id for row in each.rows] for each in (first, second, third, again)] == [
        newest_first[:2],
        newest_first[2:4],
        newest_first[4:],
        newest_first[2:4],
    ]
    assert (first.back, third.next) == ("", "")


@pytest.mark.parametrize("cursor", ["x", "WyJmIl0", "é"])
def test_a_cursor_that_is_none_is_refused(vendor: Tenant, cursor: str) -> None:
    with tenant_atomic(vendor.pk), pytest.raises(Malformed):
        page(PARKED, "", cursor=cursor)


@pytest.mark.parametrize("row_id", [0, -1, 2**63, 10**30])
def test_no_row_has_an_impossible_id(vendor: Tenant, row_id: int) -> None:
    with tenant_atomic(vendor.pk), pytest.raises(NotVisible):
        find(PARKED, row_id, "")


def test_the_id_of_another_row_finds_nothing(vendor: Tenant) -> None:
    subscription = make_subscription(make_tenant())
    park(subscription)

    with tenant_atomic(vendor.pk), pytest.raises(NotVisible):
        find(PARKED, subscription.pk - 1, "")


@pytest.mark.parametrize("kind", ["commercial", "government", "education", "nonprofit"])
def test_no_customer_sees_a_row_of_any_list(world: None, kind: str) -> None:
    customer = make_tenant(kind=kind)

    for call in LISTS:
        with tenant_atomic(customer.pk):
            assert rows(f"SELECT * FROM {call}, NULL, true, 200)") == [], call
            assert rows(f"SELECT * FROM {call}, NULL, false, 200)") == [], call
    with tenant_atomic(customer.pk):
        assert rows("SELECT * FROM staff_processor_events('', '', NULL, true, 200)") == []
        assert rows("SELECT * FROM staff_tenant_of_domain('a.example')") == []


def test_nobody_sees_a_row_without_a_tenant(world: None) -> None:
    for call in (*LISTS, "staff_processor_events('', ''"):
        assert rows(f"SELECT * FROM {call}, NULL, true, 200)") == [], call


def test_each_list_has_a_row_for_the_vendor(world: None, vendor: Tenant) -> None:
    for call in (*LISTS, "staff_processor_events('', ''"):
        with tenant_atomic(vendor.pk):
            assert len(rows(f"SELECT * FROM {call}, NULL, true, 200)")) >= 1, call
            assert len(rows(f"SELECT * FROM {call}, NULL, false, 200)")) >= 1, call
    with tenant_atomic(vendor.pk):
        assert [name for _id, name in rows("SELECT * FROM staff_tenant_of_domain('a.example')")] == ["A"]


@pytest.fixture
def world() -> None:
    """One row for each list, all of one customer."""
    tenant = make_tenant(name="A", domain="a.example")
    make_work(tenant)
