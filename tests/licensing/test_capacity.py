"""Capacity: reports by products, sums by source, and the page for admins and purchasers (product §13; docs/adr/0043)."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.errors import Malformed, NotAllowed, NotVisible
from config.kit.keyset import PAGE_SIZE
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from licensing.models import Consumption
from licensing.operations.capacity import MOST_MB, MOST_MEASURED, Measured, report_consumption
from licensing.queries.capacity import KindTotal, consumption_page, totals_of
from tests.factories import (
    actor_of,
    client_of,
    make_relationship,
    make_subscription,
    make_tenant,
    make_user,
    plan,
    product,
)

pytestmark = pytest.mark.django_db

PAGE = "/admin/capacity/"
POWER_APPS, FORMER_ID = "CFQ7TTC0LH2H", "CFQ7TTC0KP0P"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def at() -> datetime:
    return now()


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina de Groot", roles=("global_admin",))


@pytest.fixture
def pat(contoso: Tenant, at: datetime) -> User:
    return make_user(contoso, name="Pat Peters", email="pat@contoso.example", purchaser_since=at)


def measured(used_mb: int, at: datetime, **fields: Any) -> Measured:
    values = {"product_id": POWER_APPS, "kind": "database", "environment": "Default"} | fields
    return Measured(used_mb=used_mb, measured_at=at, **values)


def report(user: User, *figures: Measured, at: datetime) -> int:
    return report_consumption(actor=actor_of(user, at=at), measured=figures, at=at)


def known(tenant: Tenant) -> list[tuple[str, str, int]]:
    with tenant_atomic(tenant.pk):
        rows = Consumption.objects.filter(tenant=tenant).order_by("kind", "environment")
        return list(rows.values_list("kind", "environment", "used_mb"))


def total(tenant: Tenant, kind: str) -> KindTotal:
    with tenant_atomic(tenant.pk):
        return next(each for each in totals_of(tenant.pk) if each.kind == kind)


# --- Reports ----------------------------------------------------------------------------------------------


def test_a_later_measurement_takes_the_place_of_the_one_before(
    contoso: Tenant, gina: User, at: datetime
) -> None:
    assert report(gina, measured(100, at - 2 * MINUTE), at=at) == 1
    assert report(gina, measured(40, at - MINUTE), at=at) == 1

    assert known(contoso) == [("database", "Default", 40)]


@pytest.mark.parametrize("later", [0, -1])
def test_a_report_that_comes_twice_or_late_changes_nothing(
    contoso: Tenant, gina: User, at: datetime, later: int
) -> None:
    report(gina, measured(100, at - MINUTE), at=at)

    assert report(gina, measured(7, at + (later - 1) * MINUTE), at=at) == 0
    assert known(contoso) == [("database", "Default", 100)]


def test_of_one_report_with_the_same_place_twice_the_later_figure_is_kept(
    contoso: Tenant, gina: User, at: datetime
) -> None:
    figures = [
        measured(1, at - 3 * MINUTE),
        measured(3, at - MINUTE, product_id=FORMER_ID, environment=" Default "),
        measured(2, at - 2 * MINUTE),
    ]

    assert report(gina, *figures, at=at) == 1
    assert known(contoso) == [("database", "Default", 3)]


def test_products_kinds_and_environments_are_told_apart(contoso: Tenant, gina: User, at: datetime) -> None:
    figures = [
        measured(1, at),
        measured(2, at, kind="file"),
        measured(3, at, environment="Test"),
        measured(4, at, product_id=product("power-bi-pro").key, kind="file"),
    ]

    assert report(gina, *figures, at=at) == 4
    assert total(contoso, "database").used_mb == 4
    assert total(contoso, "file").used_mb == 6


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("productId", {"product_id": "CFQ7TTC00000"}),
        ("productId", {"product_id": "\0"}),
        ("kind", {"kind": "memory"}),
        ("environment", {"environment": "  "}),
        ("environment", {"environment": "x" * 101}),
        ("environment", {"environment": "a\nb"}),
        ("usedMb", {"used_mb": -1}),
        ("usedMb", {"used_mb": MOST_MB + 1}),
        ("measuredAt", {"later": 6}),
    ],
)
def test_a_figure_that_cannot_be_is_named_and_nothing_of_its_report_is_kept(
    contoso: Tenant, gina: User, at: datetime, field: str, wrong: dict[str, Any]
) -> None:
    fields = dict(wrong)
    bad = measured(fields.pop("used_mb", 5), at + fields.pop("later", 0) * MINUTE, **fields)

    with pytest.raises(Malformed) as refused:
        report(gina, measured(1, at), bad, at=at)

    assert refused.value.field == f"items.1.{field}"
    assert known(contoso) == []


@pytest.mark.parametrize("count", [0, MOST_MEASURED + 1])
def test_a_report_has_one_to_500_figures(gina: User, at: datetime, count: int) -> None:
    figures = [measured(1, at, environment=f"E {number}") for number in range(count)]

    with pytest.raises(Malformed):
        report(gina, *figures, at=at)


def test_500_figures_are_one_statement_that_writes(gina: User, at: datetime, contoso: Tenant) -> None:
    figures = [measured(1, at, environment=f"E {number:03}") for number in range(MOST_MEASURED)]

    assert report(gina, *figures, at=at) == MOST_MEASURED
    assert total(contoso, "database").used_mb == MOST_MEASURED


@pytest.mark.parametrize(
    ("role", "error"),
    [
        ("", NotVisible),
        ("license_admin", NotVisible),
        ("billing_admin", NotAllowed),
        ("global_reader", NotAllowed),
    ],
)
def test_only_who_may_report_does(contoso: Tenant, at: datetime, role: str, error: type[Exception]) -> None:
    user = make_user(contoso, roles=(role,) if role else ())

    with pytest.raises(error):
        report(user, measured(1, at), at=at)

    assert known(contoso) == []


def test_a_purchaser_and_a_delegated_global_admin_report_nothing(
    contoso: Tenant, pat: User, at: datetime
) -> None:
    partner = make_tenant(name="Partner")
    petra = make_user(partner)
    make_relationship(
        contoso, partner, roles=("global_admin",), users=(petra,), ends_at=at + timedelta(days=9)
    )

    for actor in (actor_of(pat, at=at), actor_of(petra, contoso, at=at)):
        with pytest.raises(NotAllowed):
            report_consumption(actor=actor, measured=[measured(1, at)], at=at)

    assert known(contoso) == []


# --- Sums -------------------------------------------------------------------------------------------------


def test_capacity_is_what_live_licenses_give_by_source(contoso: Tenant, pat: User) -> None:
    apps = plan("power-apps-per-user")
    make_subscription(contoso, plan=apps, quantity=4)
    make_subscription(contoso, owner=pat, plan=apps, quantity=3, state="expired")
    make_subscription(contoso, owner=pat, plan=apps, quantity=2, channel="trial")
    for state in ("scheduled", "disabled", "deleted"):
        make_subscription(contoso, owner=pat, plan=apps, quantity=100, state=state)
    make_subscription(make_tenant(), plan=apps, quantity=1_000)

    assert total(contoso, "database") == KindTotal("database", 1_000, 1_250, 0)
    assert total(contoso, "file") == KindTotal("file", 8_000, 10_000, 0)
    assert total(contoso, "log") == KindTotal("log", 80, 100, 0)


def test_what_was_taken_over_stays_of_self_service(contoso: Tenant, pat: User) -> None:
    make_subscription(
        contoso,
        plan=plan("power-apps-per-user"),
        quantity=4,
        channel="self-service",
        purchaser=pat,
        purchaser_name=pat.name,
    )

    assert total(contoso, "database") == KindTotal("database", 0, 1_000, 0)


def test_a_very_large_organization_is_added_up_without_overflow(contoso: Tenant) -> None:
    make_subscription(contoso, plan=plan("power-bi-premium-per-user"), quantity=2_000_000_000)

    assert total(contoso, "file").central_mb == 200_000_000_000_000


@pytest.mark.parametrize(
    ("given", "used", "left", "percent", "level"),
    [
        (1_000, 0, 1_000, 0, ""),
        (1_000, 849, 151, 84, ""),
        (1_000, 850, 150, 85, "nearly"),
        (1_000, 999, 1, 99, "nearly"),
        (1_000, 1_000, 0, 100, "full"),
        (1_000, 1_001, -1, 100, "over"),
        (0, 0, 0, 0, ""),
        (0, 1, -1, 100, "over"),
    ],
)
def test_what_is_left_and_how_serious_it_is(
    given: int, used: int, left: int, percent: int, level: str
) -> None:
    one = KindTotal("file", given - given // 4, given // 4, used)

    assert (one.left_mb, one.percent, one.level) == (left, percent, level)


def test_what_uses_nothing_any_more_is_not_among_what_uses_most(
    contoso: Tenant, gina: User, at: datetime
) -> None:
    report(
        gina,
        measured(0, at, environment="Gone"),
        measured(5, at, environment="Small"),
        measured(9, at, environment="Large"),
        at=at,
    )

    with tenant_atomic(contoso.pk):
        shown = [row.environment for row in consumption_page(actor_of(gina, at=at)).rows]

    assert shown == ["Large", "Small"]


# --- The page ---------------------------------------------------------------------------------------------


@pytest.fixture
def bought(contoso: Tenant, pat: User, gina: User, at: datetime) -> None:
    ann = make_user(contoso, name="Ann Alders", email="ann@contoso.example", purchaser_since=at)
    make_subscription(contoso, plan=plan("power-apps-per-user"), quantity=4)
    make_subscription(contoso, owner=pat, plan=plan("power-apps-per-user"), quantity=3)
    make_subscription(contoso, owner=ann, plan=plan("power-bi-pro"), quantity=2)
    make_subscription(contoso, owner=pat, plan=plan("visio-plan-1"), quantity=1)
    report(gina, measured(1_488, at, environment="Field visits"), at=at)


@pytest.mark.usefixtures("bought")
@pytest.mark.parametrize("role", ["global_admin", "billing_admin", "global_reader"])
def test_admins_see_every_self_service_license_with_its_purchaser(contoso: Tenant, role: str) -> None:
    text = client_of(make_user(contoso, roles=(role,))).get(PAGE).text

    assert "Pat Peters" in text
    assert "ann@contoso.example" in text
    assert "Field visits" in text
    assert "Visio Plan 1" not in text
    assert ">1.8 GB<" in text  # of databases: 7 licenses of 250 MB
    assert "Database: 85% is used" in text


@pytest.mark.usefixtures("bought")
def test_a_purchaser_sees_the_own_licenses_and_the_total_alone(pat: User) -> None:
    text = client_of(pat).get(PAGE).text

    assert "From what you bought" in text
    assert "6 GB" in text  # files of three own licenses
    assert ">1.8 GB<" in text
    assert "Ann Alders" not in text
    assert "Field visits" not in text


@pytest.mark.parametrize("role", ["license_admin", "user_admin", ""])
def test_whoever_sees_no_capacity_finds_no_page(contoso: Tenant, role: str) -> None:
    client = client_of(make_user(contoso, roles=(role,) if role else ()))

    assert client.get(PAGE).status_code == 404


def test_more_used_than_there_is_says_what_to_do(contoso: Tenant, gina: User, at: datetime) -> None:
    make_subscription(contoso, plan=plan("power-apps-per-user"), quantity=2)
    report(gina, measured(1_700, at), at=at)

    text = client_of(gina).get(PAGE).text

    assert "Database: more is used than there is" in text
    assert "1.2 GB too much" in text
    assert '<a href="/products/power-apps-per-user/">Power Apps per user</a>' in text
    assert '<a href="/admin/billing/buy/">' in text


def test_an_organization_without_storage_reads_what_comes_here(gina: User) -> None:
    text = client_of(gina).get(PAGE).text

    assert "No self-service license gives storage." in text
    assert "No product has reported anything yet." in text


def test_self_service_licenses_come_in_pages_with_the_same_number_of_queries(
    contoso: Tenant, gina: User, pat: User
) -> None:
    for number in range(PAGE_SIZE + 1):
        make_subscription(contoso, owner=pat, plan=plan("power-apps-per-user"), quantity=number + 1)
    client = client_of(gina)
    client.get(PAGE)

    with CaptureQueriesContext(connection) as asked_first:
        first = client.get(PAGE).text
    address = first.split('rel="next" href="')[1].split('"')[0]
    with CaptureQueriesContext(connection) as asked_second:
        second = client.get(f"{PAGE}{address}").text

    assert first.count('data-label="Licenses"') == PAGE_SIZE
    assert second.count('data-label="Licenses"') == 1
    assert len(asked_first) == len(asked_second)


def test_sums_and_lists_take_as_many_queries_whatever_there_is(
    contoso: Tenant, gina: User, pat: User, at: datetime, django_assert_num_queries: Any
) -> None:
    actor: Actor = actor_of(gina, at=at)
    for number in range(3):
        make_subscription(contoso, owner=pat, plan=plan("power-apps-per-user"), quantity=number + 1)
    report(gina, *(measured(5, at, environment=f"E {number}") for number in range(3)), at=at)

    with tenant_atomic(contoso.pk):
        with django_assert_num_queries(2):
            totals_of(contoso.pk)
        with django_assert_num_queries(1):
            assert [row.product.name for row in consumption_page(actor).rows] == ["Power Apps per user"] * 3
