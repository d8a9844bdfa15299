"""Bills as CSV and JSON: the filtered list, safe in a spreadsheet, streamed, counted (product §6, reliability §6, §7)."""

import csv
import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from commerce.models import Bill, BillTo
from config.kit.sheets import plain_text
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from tests.admin.conftest import SignIn
from tests.factories import (
    make_bill_to,
    make_central_subscription,
    make_self_service_subscription,
    make_tenant,
    make_user,
)
from tests.kit.test_sheets import PAYLOADS, begins_formula

pytestmark = pytest.mark.django_db

CSV, JSON = "/admin/billing/bills/export.csv", "/admin/billing/bills/export.json"


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters")


@pytest.fixture
def admin(contoso: Tenant) -> User:
    return make_user(contoso, name="Bill Bakker", roles=("billing_admin",))


@pytest.fixture
def bills(pat: User, admin: User) -> None:
    """Pat's paid one, then the organization's open one."""
    make_self_service_subscription(pat)
    make_central_subscription(admin)


def rows_of(response: Any) -> list[dict[str, str]]:
    text = response.getvalue().decode()
    assert text.startswith("\ufeff")
    return list(csv.DictReader(text.removeprefix("\ufeff").splitlines(keepends=True)))


def items_of(response: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(response.getvalue())["items"]
    return items


def test_a_purchaser_exports_the_own_bill_with_everything(sign_in: SignIn, pat, bills) -> None:
    response = sign_in(pat).get(CSV)

    (row,) = rows_of(response)
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"].startswith('attachment; filename="bills-')
    assert row | {"order": ""} == {
        "number": "SK-NL-2026-000001",
        "date": "2026-03-10T10:30:00+01:00",
        "type": "purchase",
        "status": "paid",
        "channel": "self-service",
        "product": "Power BI Pro",
        "licenses": "10",
        "period_start": "2026-03-10T00:00:00+01:00",
        "period_end": "2026-04-10T00:00:00+02:00",
        "currency": "EUR",
        "subtotal": "94.00",
        "tax_name": "VAT",
        "tax_rate": "21",
        "tax": "19.74",
        "total": "113.74",
        "paid": "113.74",
        "credited": "0.00",
        "refunded": "0.00",
        "due": "2026-03-10T10:30:00+01:00",
        "paid_at": "2026-03-10T10:30:00+01:00",
        "paid_by": "purchaser",
        "bill_to": "Pat Peters",
        "country": "NL",
        "vat_number": "",
        "own_reference": "",
        "order": "",
        "credits": "",
        "replaces": "",
    }


def test_a_round_tax_rate_is_a_plain_number(sign_in: SignIn) -> None:
    gemma = make_user(make_tenant(name="Globex", country="GB"), name="Gemma")
    make_self_service_subscription(gemma)

    (row,) = rows_of(sign_in(gemma).get(CSV))

    assert row["tax_rate"] == "20"


def test_of_others_an_admin_gets_what_the_amount_says_and_nothing_else(sign_in: SignIn, admin, bills) -> None:
    own, others = items_of(sign_in(admin).get(JSON))

    assert own["number"] == "SK-NL-2026-000002"
    assert own["bill_to"] == "Contoso"
    assert others == {
        "date": "2026-03-10T10:30:00+01:00",
        "type": "purchase",
        "channel": "self-service",
        "product": "Power BI Pro",
        "licenses": 10,
        "period_start": "2026-03-10T00:00:00+01:00",
        "period_end": "2026-04-10T00:00:00+02:00",
        "currency": "EUR",
        "subtotal": "94.00",
        "tax_name": "VAT",
        "tax_rate": "21",
        "tax": "19.74",
        "total": "113.74",
        "paid_by": "purchaser",
    }


def test_the_csv_says_nothing_more_of_others_than_the_json(sign_in: SignIn, admin, bills) -> None:
    text = sign_in(admin).get(CSV).getvalue().decode()

    assert "SK-NL-2026-000001" not in text
    assert "Pat Peters" not in text
    assert "Keizersgracht" not in text


def test_the_filter_holds_for_the_file(sign_in: SignIn, admin, bills) -> None:
    client = sign_in(admin)

    assert [row["channel"] for row in rows_of(client.get(f"{CSV}?channel=central"))] == ["central"]
    assert items_of(client.get(f"{JSON}?status=paid")) == []
    assert client.get(f"{JSON}?status=odd").status_code == 422


def test_the_button_says_how_many(sign_in: SignIn, admin, pat, bills) -> None:
    assert "CSV, 2 bills" in sign_in(admin).get("/admin/billing/bills/").text
    assert "CSV, 1 bill<" in sign_in(pat).get("/admin/billing/bills/").text
    assert "CSV" not in sign_in(admin).get("/admin/billing/bills/?status=void").text


@pytest.mark.parametrize("field", ["name", "own_reference", "vat_number"])
def test_no_cell_begins_a_formula_and_all_come_back(sign_in: SignIn, pat, bills, field) -> None:
    column = {"name": "bill_to"}.get(field, field)
    payloads = [p.replace("\0", "")[: BillTo._meta.get_field(field).max_length] for p in PAYLOADS]
    client = sign_in(pat)
    with tenant_atomic(pat.tenant_id):
        first = Bill.objects.get(payer=pat)
        for number, payload in enumerate(payloads, 2):
            copy = Bill.objects.get(pk=first.pk)
            copy.pk = None
            copy.number, copy.series_number = f"SK-NL-2026-9{number:05d}", 900_000 + number
            copy.type, copy.bill_to = "add_seats", make_bill_to(pat.tenant, **{field: payload})
            copy.save(force_insert=True)

    rows = rows_of(client.get(f"{CSV}?q=2026-9"))

    assert len(rows) == len(payloads)
    assert [cell for row in rows for cell in row.values() if begins_formula(cell)] == []
    assert [plain_text(row[column]) for row in reversed(rows)] == payloads


def test_a_long_list_is_read_in_chunks_and_loses_nothing(sign_in: SignIn, pat, bills, monkeypatch) -> None:
    monkeypatch.setattr("commerce.queries.bills.CHUNK", 3)
    with tenant_atomic(pat.tenant_id):
        first = Bill.objects.get(payer=pat)
        for number in range(2, 12):
            copy = Bill.objects.get(pk=first.pk)
            copy.pk = None
            copy.number, copy.series_number = f"SK-NL-2026-9{number:05d}", 900_000 + number
            copy.type = "add_seats"
            copy.save(force_insert=True)

    with CaptureQueriesContext(connection) as captured:
        rows = rows_of(sign_in(pat).get(CSV))

    assert [row["number"][-5:] for row in rows] == [*(f"{n:05d}" for n in range(11, 1, -1)), "00001"]
    assert len([q for q in captured if "commerce_bill" in q["sql"]]) == 4


def test_five_an_hour_whichever_kind(sign_in: SignIn, pat, bills) -> None:
    client = sign_in(pat)

    answers = [client.get(address) for address in (CSV, JSON, CSV, JSON, CSV, JSON)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 200, 429]
    assert int(answers[-1]["Retry-After"]) > 3_000
    assert "Try again in 60 minutes." in answers[-1].text


def test_another_person_has_a_count_of_their_own(sign_in: SignIn, pat, admin, bills, settings) -> None:
    settings.EXPORTS_PER_HOUR = 1
    sign_in(pat).get(CSV)

    assert sign_in(pat).get(CSV).status_code == 429
    assert sign_in(admin).get(CSV).status_code == 200


def test_exports_go_on_while_the_counters_are_away(sign_in: SignIn, pat, bills, settings) -> None:
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": "redis://127.0.0.1:1/0"}}

    assert sign_in(pat).get(CSV).status_code == 200
