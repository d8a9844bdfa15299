"""Your products as CSV and XLSX: the filtered list, safe in a spreadsheet, at once or as a job (product §8)."""

import csv
import io
import zipfile
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from commerce.models import Product, Subscription
from commerce.queries.subscriptions import Filter, filter_of
from config.kit.clock import now
from config.kit.sheets import plain_text
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import Job, JobPart, Tenant, User
from directory.operations.jobs import run_jobs
from licensing.operations.assignments import assign_licenses
from licensing.queries import exporting
from licensing.views import exporting as views
from tests.factories import (
    actor_of,
    client_of,
    make_subscription,
    make_tenant,
    make_user,
    plan,
)
from tests.kit.test_sheets import PAYLOADS, begins_formula
from tests.kit.test_workbook import read

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

ADDRESS = "/admin/billing/your-products/export/"


@pytest.fixture(autouse=True)
def plenty(settings: Any) -> None:
    """Exports that are not counted against each other."""
    settings.EXPORTS_PER_HOUR = 1000


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def admin(contoso: Tenant) -> User:
    return make_user(contoso, name="Bill Bakker", roles=("billing_admin",))


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters", email="pat@contoso.example", purchaser_since=now())


@pytest.fixture
def purchases(contoso: Tenant, pat: User) -> list[Subscription]:
    """Pat's with two holders, and the organization's with none."""
    own = make_subscription(contoso, owner=pat, quantity=10)
    people = [make_user(contoso, name=name, email=f"{name}@contoso.example") for name in ("ann", "bob")]
    give(own, pat, people)
    return [own, make_subscription(contoso, quantity=25, plan=plan("visio-plan-1"))]


def give(subscription: Subscription, by: User, people: list[User]) -> None:
    assign_licenses(
        actor=actor_of(by),
        subscription_key=subscription.key,
        user_ids=[person.pk for person in people],
        at=now(),
    )


def export(client: Client, form: str = "csv", query: str = "", **more: str) -> Any:
    return client.post(ADDRESS, {"format": form, "query": query, **more})


def csv_rows(content: bytes) -> list[dict[str, str]]:
    text = content.decode()
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))


def xlsx_rows(content: bytes) -> list[list[Any]]:
    return read(zipfile.ZipFile(io.BytesIO(content)))


def test_csv_has_a_line_for_each_subscription(admin: User, purchases: list[Subscription]) -> None:
    response = export(client_of(admin))

    rows = csv_rows(response.getvalue())
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert [row["product"] for row in rows] == ["Power BI Pro", "Visio Plan 1"]
    assert list(rows[0]) == list(exporting.COLUMNS)
    first = {name: rows[0][name] for name in ("purchaser", "purchaser_email", "channel", "owner", "bought")}
    assert first == {
        "purchaser": "Pat Peters",
        "purchaser_email": "pat@contoso.example",
        "channel": "self-service",
        "owner": "person",
        "bought": "10",
    }
    assert (rows[0]["assigned"], rows[0]["free"], rows[0]["status"]) == ("2", "8", "active")


def test_with_holders_there_is_a_line_for_each_of_them(admin: User, purchases: list[Subscription]) -> None:
    rows = csv_rows(export(client_of(admin), holders="1").getvalue())

    assert [(row["product"], row["user"], row["user_email"]) for row in rows] == [
        ("Power BI Pro", "ann", "ann@contoso.example"),
        ("Power BI Pro", "bob", "bob@contoso.example"),
        ("Visio Plan 1", "", ""),
    ]


def test_xlsx_says_the_same_with_numbers_as_numbers(admin: User, purchases: list[Subscription]) -> None:
    response = export(client_of(admin), "xlsx", holders="1")

    head, *rows = xlsx_rows(response.getvalue())
    assert head == [*exporting.COLUMNS, *exporting.HOLDERS]
    assert len(rows) == 3
    assert rows[0][head.index("bought")] == "10/0"
    assert rows[0][head.index("user")] == "ann"
    assert response["Content-Disposition"].endswith('.xlsx"')


def test_the_filter_narrows_the_file_as_it_does_the_list(admin: User, purchases: list[Subscription]) -> None:
    client = client_of(admin)
    shown = {
        query: [row["product"] for row in csv_rows(export(client, query=query).getvalue())]
        for query in ("channel=central", "q=pat", "status=expired", "product=visio-plan-1&sort=-price")
    }

    assert shown == {
        "channel=central": ["Visio Plan 1"],
        "q=pat": ["Power BI Pro"],
        "status=expired": [],
        "product=visio-plan-1&sort=-price": ["Visio Plan 1"],
    }


def test_a_purchaser_exports_the_own_purchases_alone(contoso: Tenant, purchases: list[Subscription]) -> None:
    sam = make_user(contoso, name="Sam", purchaser_since=now())
    make_subscription(contoso, owner=sam, quantity=3)

    rows = csv_rows(export(client_of(sam)).getvalue())

    assert [row["purchaser"] for row in rows] == ["Sam"]
    assert f'action="{ADDRESS}"' in client_of(sam).get("/admin/billing/your-products/").content.decode()


def test_another_organizations_admin_exports_none_of_it(purchases: list[Subscription]) -> None:
    fiona = make_user(make_tenant(), roles=("global_admin",))

    assert csv_rows(export(client_of(fiona), holders="1").getvalue()) == []


@pytest.mark.parametrize(
    "facts", [{"format": "pdf"}, {"format": ""}, {"format": "csv", "query": "status=odd"}]
)
def test_refuses_what_makes_no_sense(admin: User, facts: dict[str, str]) -> None:
    assert client_of(admin).post(ADDRESS, facts).status_code == 422


def test_five_an_hour_are_enough(admin: User, settings: Any) -> None:
    settings.EXPORTS_PER_HOUR = 5
    cache.clear()
    client = client_of(admin)

    statuses = [export(client).status_code for _ in range(6)]

    assert statuses == [200] * 5 + [429]


def test_no_text_of_any_column_begins_a_formula(contoso: Tenant, admin: User) -> None:
    people = []
    for number, payload in enumerate(PAYLOADS):
        text = payload.replace("\0", "")
        owner = make_user(contoso, name=text[:200], email=f"={number}@x.example", purchaser_since=now())
        subscription = make_subscription(contoso, owner=owner, quantity=1)
        with tenant_atomic(contoso.pk):
            Subscription.objects.filter(pk=subscription.pk).update(purchaser_name=text[:200])
        give(subscription, owner, [owner])
        people.append(text)
    client = client_of(admin)

    rows = csv_rows(export(client, holders="1").getvalue())
    sheet = xlsx_rows(export(client, "xlsx", holders="1").getvalue())

    assert len(rows) == len(people) >= 60
    assert [cell for row in rows for cell in row.values() if begins_formula(cell)] == []
    assert [plain_text(row["purchaser"]) for row in rows] == people
    assert [plain_text(row["user"]) for row in rows] == people
    # Typed as text; `tests/kit/test_workbook.py` says what that means.
    assert [row[sheet[0].index("user")] for row in sheet[1:]] == people


# --- As a job ----------------------------------------------------------------------------------------------


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything over two rows is a job, of two subscriptions a chunk."""
    monkeypatch.setattr(views, "AT_ONCE", 2)
    monkeypatch.setattr(exporting, "SUBSCRIPTIONS_A_CHUNK", 2)


def run_export(client: Client, admin: User, form: str, **more: str) -> tuple[Job, bytes]:
    response = export(client, form, **more)
    run_jobs(clock=now)
    with use_login("worker"):
        job = Job.objects.get()
    assert (response.status_code, response["Location"]) == (303, f"/admin/jobs/{job.key}/")
    return job, client.get(f"/admin/jobs/{job.key}/file/").getvalue()


@pytest.mark.parametrize("holders", ["", "1"])
def test_a_long_one_is_a_job_that_writes_the_same_file(
    contoso: Tenant,
    admin: User,
    pat: User,
    purchases: list[Subscription],
    small_chunks: None,
    monkeypatch: pytest.MonkeyPatch,
    holders: str,
) -> None:
    for _ in range(3):
        make_subscription(contoso, owner=pat, quantity=1)
    client = client_of(admin)

    job, content = run_export(client, admin, "csv", holders=holders)

    monkeypatch.setattr(views, "AT_ONCE", 1000)
    assert content == export(client, holders=holders).getvalue()
    assert (job.state, job.done, job.failed, job.total) == ("done", 5, 0, 5)
    assert job.back == "/admin/billing/your-products/?"


def test_a_long_workbook_is_put_together_at_the_end(
    contoso: Tenant,
    admin: User,
    pat: User,
    purchases: list[Subscription],
    small_chunks: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("directory.operations.jobs.content.PART_BYTES", 300)
    for _ in range(3):
        make_subscription(contoso, owner=pat, quantity=1)
    client = client_of(admin)

    job, content = run_export(client, admin, "xlsx", holders="1")

    monkeypatch.setattr(views, "AT_ONCE", 1000)
    assert xlsx_rows(content) == xlsx_rows(export(client, "xlsx", holders="1").getvalue())
    assert (job.state, job.done, job.file_bytes) == ("done", 5, len(content))
    with use_login("worker"):
        assert sum(len(part.content) for part in JobPart.objects.all()) == len(content)


def test_a_job_reads_fewer_subscriptions_at_once_where_many_licenses_are_assigned(
    contoso: Tenant, admin: User, purchases: list[Subscription], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "HOLDERS_A_CHUNK", 1)
    rows = Subscription.objects.filter(tenant_id=contoso.pk)
    with tenant_atomic(contoso.pk):
        products = {product.pk: product for product in Product.objects.all()}

        first = exporting.next_chunk(rows, products, after=0, with_holders=True)
        second = exporting.next_chunk(rows, products, after=0, with_holders=False)

    assert (first.subscriptions, len(first.lines), first.after) == (1, 2, purchases[0].pk)
    assert (second.subscriptions, second.after) == (2, None)


def test_a_filter_survives_being_kept_by_a_job() -> None:
    chosen = Filter(channels=("central",), product_id=7, owner="taken-over", ends_before=now(), words=("a",))

    assert filter_of(chosen.facts()) == chosen
    assert filter_of(Filter().facts()) == Filter()
