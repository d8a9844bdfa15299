"""Made-up customers for benchmarks: whole, and nothing about the tables is other than before."""

import os
import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from commerce.models import Bill, Order, Subscription, SubscriptionEvent, Trial
from commerce.operations.renewals import renew_due
from commerce.operations.seeding import LARGE_TABLES, Due, RealCustomers, Seeded, Wanted, seed_customers
from config.demo.servers import client_program
from config.invariants import violations
from config.kit.errors import Malformed
from config.kit.loading import DefinitionsChanged, indexes_put_aside
from config.kit.tenancy import connection, use_login
from directory.models import RoleAssignment, Tenant, User
from tests.faults.dying import die_at

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])

# The last of a long month, and a year's end for some of the bills.
NOW = datetime(2026, 1, 31, 15, 20, tzinfo=UTC)


def seed(*due: Due, told: Callable[[str], object] = lambda what: None, **wanted: int) -> Seeded:
    with use_login("owner"):
        return seed_customers(Wanted(due=due, **wanted), at=NOW, told=told)


def schema() -> str:
    """The whole database's definitions, as a backup would write them."""
    login = connections["owner"].settings_dict
    dumped = subprocess.run(
        [
            *(client_program("pg_dump"), "--schema-only", f"--host={login['HOST']}"),
            *(f"--port={login['PORT']}", f"--username={login['USER']}", str(login["NAME"])),
        ],
        env=os.environ | {"PGPASSWORD": str(login["PASSWORD"])},
        capture_output=True,
        text=True,
        check=True,
    )
    # A word of its own in each dump, for psql.
    return "\n".join(line for line in dumped.stdout.splitlines() if "restrict " not in line)


def rows() -> dict[str, int]:
    with use_login("worker"), connection().cursor() as cursor:
        counts = {}
        for table in ("directory_tenant", "commerce_billseries", *LARGE_TABLES):
            cursor.execute(f"SELECT count(*) FROM {table}")
            counts[table] = cursor.fetchone()[0]
    return counts


NOTHING = dict.fromkeys(("directory_tenant", "commerce_billseries", *LARGE_TABLES), 0)


def test_what_is_made_up_breaks_no_invariant() -> None:
    seeded = seed(Due(7), Due(5, months=12), tenants=5, subscriptions=400, large=150)

    assert violations(at=NOW) == []
    with use_login("worker"):
        assert Subscription.objects.count() == 412
        assert set(Subscription.objects.values_list("state", flat=True)) == {
            *("active", "expired", "disabled", "deleted"),
        }
        assert set(Subscription.objects.values_list("channel", flat=True)) == {
            *("self-service", "central", "trial"),
        }
        paid_for = Subscription.objects.exclude(channel="trial").count()
        assert Order.objects.count() == 412
        assert Order.objects.exclude(type="trial").count() == paid_for
        assert Trial.objects.count() == 412 - paid_for
        assert set(Bill.objects.values_list("status", flat=True)) == {"open", "paid"}
        assert Bill.objects.filter(type="purchase").count() == paid_for
        assert Subscription.objects.filter(payment_failed_at__isnull=False).count() == (
            Bill.objects.filter(tries=1, status="open").count()
        )
        assert SubscriptionEvent.objects.filter(code="purchased").count() == paid_for
        assert Tenant.objects.filter(name="Scale").get().pk == seeded.tenant_id
        assert Subscription.objects.filter(tenant_id=seeded.tenant_id).count() in range(150, 163)


def test_the_large_tenants_admin_is_told() -> None:
    seeded = seed(tenants=3, subscriptions=20, large=10)

    with use_login("worker"):
        admin = User.objects.get(pk=seeded.admin_id)
        assert (admin.key, admin.tenant_id, admin.status) == (seeded.admin_key, seeded.tenant_id, "active")
        assert RoleAssignment.objects.filter(user=admin, role="global_admin").count() == 1


def test_each_lot_falls_due_on_its_own_day_and_renews() -> None:
    seeded = seed(Due(7), Due(5, months=12), Due(3), tenants=4)

    moved = [renew_due(at=at).moved for at in seeded.due]

    assert moved == [7, 5, 3]
    assert [at.date().isoformat() for at in seeded.due] == ["2026-02-01", "2026-02-02", "2026-02-03"]
    assert violations(at=NOW, only=["I-10", "I-11", "I-12", "I-19", "I-26"]) == []


def test_every_definition_is_as_before() -> None:
    before = schema()

    seed(Due(3), tenants=2, subscriptions=10, large=5)

    assert schema() == before


def test_killed_in_the_middle_it_leaves_nothing() -> None:
    before = schema()

    def die(what: str) -> None:
        if what.endswith("steps of history"):
            os.kill(os.getpid(), signal.SIGKILL)

    die_at("", lambda: seed(tenants=2, subscriptions=10, large=5, told=die))

    assert rows() == NOTHING
    assert schema() == before


def test_an_error_in_the_middle_leaves_nothing() -> None:
    before = schema()

    def fail(what: str) -> None:
        if what == "indexes and keys":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seed(tenants=2, subscriptions=10, large=5, told=fail)

    assert rows() == NOTHING
    assert schema() == before


def test_a_second_time_goes_on_where_the_bill_numbers_stood() -> None:
    seed(Due(4), tenants=2)
    seed(Due(6), tenants=3)

    assert violations(at=NOW) == []
    with use_login("worker"):
        assert Bill.objects.count() == 10
        assert Tenant.objects.count() == 5


def test_the_same_seed_makes_the_same_choices() -> None:
    def chosen(seeded: Seeded) -> list[tuple[object, ...]]:
        with use_login("worker"):
            mine = Subscription.objects.filter(tenant_id=seeded.tenant_id).order_by("id")
            return list(mine.values_list("channel", "state", "quantity", "anchor_date", "plan_id"))

    def made(seed_: int) -> list[tuple[object, ...]]:
        with use_login("owner"):
            return chosen(seed_customers(Wanted(tenants=1, subscriptions=50), at=NOW, seed=seed_))

    first, second, other = made(1), made(1), made(2)

    assert first == second
    assert first != other


def test_refuses_where_real_money_is_taken(settings) -> None:
    settings.STRIPE_LIVEMODE = True

    with pytest.raises(RealCustomers):
        seed(tenants=1, subscriptions=1)

    assert rows() == NOTHING


@pytest.mark.parametrize(
    "wanted",
    [
        {"tenants": 0, "subscriptions": 5},
        {"tenants": 1, "subscriptions": 0},
        {"tenants": 1, "subscriptions": -1},
        {"tenants": 2, "subscriptions": 5, "large": 6},
        {"tenants": 2, "subscriptions": 5, "due": [Due(-1)]},
    ],
)
def test_refuses_numbers_that_make_no_sense(wanted) -> None:
    with pytest.raises(Malformed):
        Wanted(**wanted)


def test_refuses_more_days_than_a_month_has() -> None:
    with pytest.raises(Malformed, match="within one month"):
        seed(*[Due(1)] * 29, tenants=1)

    assert rows() == NOTHING


def test_the_command_says_what_it_wrote() -> None:
    said = StringIO()

    call_command("seed_scale", subscriptions=30, large=10, tenants=3, due=[4, 2], stdout=said)

    with use_login("worker"):
        admin = User.objects.get(role_assignments__tenant__name="Scale")
        assert Subscription.objects.count() == 36
    assert "36 subscriptions of 3 tenants" in said.getvalue()
    assert f"admin {admin.key}" in said.getvalue()
    assert said.getvalue().count("fall due on") == 2


def test_the_command_refuses_in_words() -> None:
    with pytest.raises(CommandError, match="cannot have more subscriptions"):
        call_command("seed_scale", subscriptions=10, large=20)


def test_indexes_and_keys_are_away_only_meanwhile() -> None:
    def counts() -> tuple[int, int]:
        """Indexes and foreign keys."""
        with connection().cursor() as cursor:
            cursor.execute(
                "SELECT (SELECT count(*) FROM pg_index WHERE indrelid = bill),"
                " (SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid = bill)"
                " FROM (SELECT 'commerce_bill'::regclass::oid AS bill) x"
            )
            indexes, keys = cursor.fetchone()
            return indexes, keys

    with use_login("owner"):
        before = counts()
        with indexes_put_aside("commerce_bill"):
            meanwhile = counts()
        after = counts()

    # The primary key and the pair that lines, payments and attempts point at.
    assert meanwhile == (2, 0)
    assert before == after
    assert before > (10, 4)


def test_what_is_built_otherwise_is_noticed_and_undone() -> None:
    before = schema()

    with use_login("owner"), pytest.raises(DefinitionsChanged, match="stray"):  # noqa: SIM117
        with indexes_put_aside("commerce_bill"), connection().cursor() as cursor:
            cursor.execute("CREATE INDEX stray ON commerce_bill (currency)")

    assert schema() == before
