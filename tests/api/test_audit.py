"""The audit trail over the wire (product §2, §16)."""

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest

from config.kit.actors import Actor
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, Tenant, User
from directory.operations import audit
from tests.factories import AT, caller_with, make_tenant, make_user, service_token_of, token_of

pytestmark = pytest.mark.django_db
CALL = "/api/v1.0/audit"
# Token and person, tenant, and the transaction's own; one of them is the page.
FIRST_PAGE = 14


@pytest.fixture(autouse=True)
def no_exports_yet() -> None:
    from config.kit.rate import _valkey

    _valkey().flushdb()


def note(tenant: Tenant, code: str, label: str = "", *, at: Any = AT, who: str = "Seatkeeper") -> None:
    with tenant_atomic(tenant.pk):
        audit.record(
            Actor.system(tenant.pk, label=who),
            code,
            at=at,
            target_type="subscription",
            target_id="17",
            target_label=label,
            before={"quantity": 1},
            after={"quantity": 2},
        )


def get(secret: str, path: str = "", **params: Any) -> Any:
    return caller_with(secret).get(f"{CALL}{path}", params)


def codes(answer: Any) -> list[str]:
    return [item["code"] for item in answer.json()["items"]]


def test_an_entry_says_who_did_what_to_what(contoso: Tenant, gina: User) -> None:
    secret = token_of(gina, "audit.read")
    note(contoso, "commerce.seats.added", "Power BI Pro", who="Pat")

    answer = get(secret, code="commerce.seats.added")

    (item,) = answer.json()["items"]
    assert answer.json()["next"] is None
    assert get(secret, f"/{item['id']}").json() == item
    item.pop("id")
    item.pop("correlationId")
    assert item == {
        "at": "2026-03-10T09:30:00Z",
        "code": "commerce.seats.added",
        "what": "Licenses added",
        "area": "purchases",
        "who": "Pat",
        "partner": None,
        "door": "job",
        "targetType": "subscription",
        "targetId": "17",
        "target": "Power BI Pro",
        "before": {"quantity": 1},
        "after": {"quantity": 2},
    }


def test_it_is_narrowed_as_on_the_page(contoso: Tenant, gina: User) -> None:
    secret = token_of(gina, "audit.read")
    note(contoso, "policies.default.changed", "The default", at=AT - timedelta(days=1))
    note(contoso, "commerce.seats.added", "Power BI Pro", who="Pat", at=AT + timedelta(days=1))

    assert codes(get(secret, area="policies")) == ["policies.default.changed"]
    assert codes(get(secret, about="power bi")) == ["commerce.seats.added"]
    assert codes(get(secret, who="pat")) == ["commerce.seats.added"]
    assert codes(get(secret, until=AT.isoformat())) == ["policies.default.changed"]
    assert codes(get(secret, since=(AT + timedelta(days=1)).isoformat())) == ["commerce.seats.added"]
    assert codes(get(secret, since=(AT + timedelta(days=2)).isoformat())) == []


def test_an_instant_may_have_any_offset_that_it_can_have_and_no_other(contoso: Tenant, gina: User) -> None:
    secret = token_of(gina, "audit.read")
    note(contoso, "policies.default.changed", "The default", at=AT)

    narrowed = get(secret, area="policies", since="0184-02-18T17:38:46.962319-20:33")
    assert codes(narrowed) == ["policies.default.changed"]
    refused = get(secret, since="0001-01-01T00:00:00+20:00")
    assert (refused.status_code, refused.json()["field"]) == (400, "since")


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"area": "weather"}, "area"),
        ({"since": "2026-03-10T09:30:00"}, "since"),
        ({"until": "yesterday"}, "until"),
        ({"cursor": "!"}, "cursor"),
        ({"who": "x" * 201}, "who"),
    ],
)
def test_what_makes_no_sense_is_refused(gina: User, params: dict[str, str], field: str) -> None:
    answer = get(token_of(gina, "audit.read"), **params)

    assert answer.status_code == 400
    assert answer.json()["field"] in (field, "page")


def test_pages_go_by_key_and_hold_fifty(contoso: Tenant, gina: User) -> None:
    secret = token_of(gina, "audit.read")
    for number in range(52):
        note(contoso, "policies.default.changed", str(number))

    first = get(secret, area="policies").json()
    note(contoso, "policies.default.changed", "written meanwhile")
    second = get(secret, area="policies", cursor=first["next"]).json()

    assert [item["target"] for item in first["items"]] == [str(number) for number in range(51, 1, -1)]
    assert [item["target"] for item in second["items"]] == ["1", "0"]
    assert second["next"] is None


def test_a_page_of_the_trail_is_one_query(
    contoso: Tenant, gina: User, django_assert_num_queries: Any
) -> None:
    secret = token_of(gina, "audit.read")
    note(contoso, "policies.default.changed")
    get(secret)

    with django_assert_num_queries(FIRST_PAGE):
        get(secret)


def test_a_billing_admin_reads_purchases_bills_and_policies(contoso: Tenant) -> None:
    bill = make_user(contoso, roles=("billing_admin",))
    secret = token_of(bill, "audit.read")
    note(contoso, "policies.default.changed")
    note(contoso, "directory.role.granted")
    with tenant_atomic(contoso.pk):
        role = AuditEntry.objects.get(code="directory.role.granted")

    assert codes(get(secret)) == ["policies.default.changed"]
    assert get(secret, area="roles").status_code == 400
    assert get(secret, f"/{role.pk}").status_code == 404


def test_another_scope_or_another_role_reads_nothing(contoso: Tenant, gina: User) -> None:
    assert get(token_of(gina, "bills.read")).status_code == 403
    for role in ("license_admin", "user_admin"):
        assert get(token_of(make_user(contoso, roles=(role,)))).status_code == 403


def test_another_organizations_entry_is_not_there(contoso: Tenant, gina: User) -> None:
    other = make_tenant()
    note(other, "policies.default.changed")
    with tenant_atomic(other.pk):
        foreign = AuditEntry.objects.get(code="policies.default.changed")
    secret = token_of(gina, "audit.read")

    assert get(secret, f"/{foreign.pk}").content == get(secret, "/4611686018427387904").content
    assert "policies.default.changed" not in codes(get(secret))


def test_a_service_token_takes_the_trail_as_csv_or_json(contoso: Tenant, gina: User) -> None:
    secret = service_token_of(gina, "audit.read")
    for number in range(3):
        note(contoso, "policies.default.changed", f"=cmd|{number}")

    table = get(secret, "/export", area="policies")
    text = get(secret, "/export", area="policies", format="json")

    rows = list(csv.DictReader(io.StringIO(table.getvalue().decode("utf-8-sig"))))
    assert [row["code"] for row in rows] == ["policies.default.changed"] * 3
    assert not any(row["target"].startswith("=") for row in rows)
    assert [entry["target"] for entry in json.loads(text.getvalue())["entries"]] == [
        "=cmd|2",
        "=cmd|1",
        "=cmd|0",
    ]
    assert table["Content-Disposition"].endswith('.csv"')
    assert get(secret, "/export", format="xml").status_code == 400


def test_the_sixth_export_within_an_hour_is_refused(gina: User) -> None:
    secret = token_of(gina, "audit.read")

    answers = [get(secret, "/export").status_code for _ in range(6)]

    assert answers == [200, 200, 200, 200, 200, 429]


def test_it_is_in_the_description(client: Any) -> None:
    paths = client.get("/api/v1.0/openapi.json").json()["paths"]

    assert {path for path in paths if "/audit" in path} == {
        "/api/v1.0/audit",
        "/api/v1.0/audit/export",
        "/api/v1.0/audit/{entry_id}",
    }
