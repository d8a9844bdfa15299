"""The catalogue is read by everybody and written, under the app's login, only while the vendor is set (docs/adr/0038)."""

from typing import Any

import pytest
from django.db import ProgrammingError, connection, connections, transaction

from commerce.models import Price
from config.kit.tenancy import check_walls, tenant_atomic
from directory.models import Tenant
from tests.factories import make_tenant

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])

INSERTS = (
    "INSERT INTO commerce_product (key, slug, name, category, tagline, description, features, links, self_service,"
    " trial_without_card, guests_may_hold, sku_id, sku_part_number, max_quantity, expired_days, disabled_days)"
    " VALUES ('X', 'x', 'X', 'X', '', '', '[]', '[]', true, false, false, gen_random_uuid(), 'X', 1, 1, 1)",
    "INSERT INTO commerce_productalias (former_key, product_id) SELECT 'X', min(id) FROM commerce_product",
    "INSERT INTO commerce_price (plan_id, market_id, currency, unit_price_minor, valid_from)"
    " SELECT min(id), 'NL', 'EUR', 1, now() + interval '9 days' FROM commerce_plan",
)
CHANGES = (
    "UPDATE commerce_product SET name = 'Mine'",
    "UPDATE commerce_price SET unit_price_minor = 0",
    "DELETE FROM commerce_price",
    "DELETE FROM commerce_productalias",
)
NEVER = (
    "DELETE FROM commerce_product",
    "DELETE FROM commerce_plan",
    "UPDATE commerce_plan SET term_months = 1, billing_months = 1",
    "UPDATE commerce_productalias SET former_key = 'x'",
    "UPDATE commerce_market SET tax_rate = 0",
    "UPDATE commerce_vendorentity SET bank_account = 'mine'",
    "INSERT INTO commerce_marketexclusion (market_id, category) VALUES ('NL', 'X')",
)


@pytest.fixture
def vendor() -> Tenant:
    return make_tenant(kind="vendor")


def write(sql: str) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.rowcount


def count(table: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        return cursor.fetchone()[0]


@pytest.mark.parametrize("kind", ["commercial", "government", "education", "nonprofit"])
@pytest.mark.parametrize("sql", INSERTS)
def test_no_customers_setting_adds_to_the_catalogue(kind: str, sql: str) -> None:
    with (
        tenant_atomic(make_tenant(kind=kind).pk),
        pytest.raises(ProgrammingError, match="row-level security"),
    ):
        write(sql)


@pytest.mark.parametrize("sql", CHANGES)
def test_no_customers_setting_changes_a_row_of_it(vendor: Tenant, sql: str) -> None:
    customer = make_tenant()

    assert write(sql) == 0
    with tenant_atomic(customer.pk):
        assert write(sql) == 0


@pytest.mark.parametrize("sql", INSERTS)
def test_nobodys_setting_adds_to_it(sql: str) -> None:
    with pytest.raises(ProgrammingError, match="row-level security"):
        write(sql)


@pytest.mark.parametrize("sql", NEVER)
def test_what_staff_do_not_write_the_vendors_setting_does_not_write_either(vendor: Tenant, sql: str) -> None:
    with tenant_atomic(vendor.pk), pytest.raises(ProgrammingError, match="permission denied"):
        write(sql)


@pytest.mark.parametrize("sql", INSERTS)
def test_the_vendors_setting_adds_to_it(vendor: Tenant, sql: str) -> None:
    with tenant_atomic(vendor.pk):
        assert write(sql) == 1


def test_the_vendors_setting_changes_no_price_that_has_begun(vendor: Tenant) -> None:
    with tenant_atomic(vendor.pk):
        write(INSERTS[2])
        assert write("UPDATE commerce_price SET unit_price_minor = 7") == 1
        with pytest.raises(ProgrammingError, match="row-level security"):
            write("UPDATE commerce_price SET valid_from = now() - interval '1 day'")
        assert write("DELETE FROM commerce_price") == 1
        with pytest.raises(ProgrammingError, match="row-level security"):
            write(INSERTS[2].replace("+ interval", "- interval"))


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("ALTER TABLE commerce_price NO FORCE ROW LEVEL SECURITY", "no forced row-level security"),
        ("ALTER TABLE commerce_product DISABLE ROW LEVEL SECURITY", "no forced row-level security"),
        (
            "CREATE POLICY hole ON commerce_plan FOR INSERT WITH CHECK (true)",
            "without the vendor's tenant set",
        ),
        ("CREATE POLICY hole ON commerce_billingcontrol USING (true)", "without the vendor's tenant set"),
    ],
)
def test_a_hole_in_a_wall_of_the_vendors_is_found(sql: str, problem: str) -> None:
    assert check_walls("owner") == []

    with transaction.atomic(using="owner"):
        with connections["owner"].cursor() as cursor:
            cursor.execute(sql)
        found = check_walls("owner")
        transaction.set_rollback(True, using="owner")

    assert len(found) == 1
    assert problem in found[0]


def test_everybody_reads_it_whole() -> None:
    whole = Price.objects.count()
    with tenant_atomic(make_tenant().pk):
        assert (count("commerce_price"), count("commerce_product"), count("commerce_plan")) == (whole, 24, 72)
    assert count("commerce_price") == whole
