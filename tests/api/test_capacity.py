"""Products report what they use, and read what there is (product §13, §16)."""

import json
from datetime import timedelta
from typing import Any

import pytest

from config.kit.clock import now
from directory.models import Tenant, User
from tests.factories import (
    caller_with,
    make_subscription,
    make_user,
    plan,
    service_token_of,
    token_of,
)

pytestmark = pytest.mark.django_db

CAPACITY, CONSUMPTION = "/api/v1.0/capacity", "/api/v1.0/capacity/consumption"


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, roles=("global_admin",))


def put(secret: str, **fields: Any) -> Any:
    figure = {
        "productId": "CFQ7TTC0LH2H",
        "kind": "database",
        "environment": "Default",
        "usedMb": 420,
        "measuredAt": (now() - timedelta(minutes=1)).isoformat(),
    }
    body = json.dumps({"items": [figure | fields]})
    return caller_with(secret).put(CONSUMPTION, body, content_type="application/json")


def test_a_product_reports_with_a_service_token_and_the_organization_reads_it(
    contoso: Tenant, gina: User
) -> None:
    make_subscription(contoso, plan=plan("power-apps-per-user"), quantity=2)
    reader = caller_with(service_token_of(gina, "licenses.read"))

    answer = put(service_token_of(gina, "capacity.write"))

    assert (answer.status_code, answer.json()) == (200, {"changed": 1, "unchanged": 0})
    assert reader.get(CAPACITY).json()["items"][0] == {
        "kind": "database",
        "centralMb": 500,
        "selfServiceMb": 0,
        "totalMb": 500,
        "usedMb": 420,
        "leftMb": 80,
    }
    (figure,) = reader.get(CONSUMPTION).json()["items"]
    assert (figure["productId"], figure["environment"], figure["usedMb"]) == ("CFQ7TTC0LH2H", "Default", 420)


def test_the_same_report_again_is_answered_and_changes_nothing(gina: User) -> None:
    secret = service_token_of(gina, "capacity.write")
    at = (now() - timedelta(minutes=5)).isoformat()
    put(secret, measuredAt=at)

    assert put(secret, measuredAt=at).json() == {"changed": 0, "unchanged": 1}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("measuredAt", "2026-03-01T10:00:00"),
        ("measuredAt", "yesterday"),
        ("usedMb", "12"),
        ("usedMb", -1),
        ("kind", "memory"),
        ("productId", "nothing"),
    ],
)
def test_what_cannot_be_used_is_named(gina: User, field: str, value: Any) -> None:
    answer = put(service_token_of(gina, "capacity.write"), **{field: value})

    assert answer.status_code == 400
    assert answer.json()["field"] == f"items.0.{field}"


def test_a_token_for_other_things_and_a_person_without_the_role_report_nothing(
    contoso: Tenant, gina: User
) -> None:
    reader = make_user(contoso, roles=("global_reader",))

    assert put(service_token_of(gina, "licenses.write")).json()["code"] == "scope_too_low"
    assert put(token_of(reader, "capacity.write")).json()["code"] == "role_too_low"


def test_a_token_that_reports_reads_nothing(gina: User) -> None:
    client = caller_with(service_token_of(gina, "capacity.write"))

    assert client.get(CAPACITY).json()["code"] == "scope_too_low"
    assert client.get(CONSUMPTION).json()["code"] == "scope_too_low"


def test_a_purchaser_reads_the_total_and_no_environment(contoso: Tenant, gina: User) -> None:
    put(service_token_of(gina, "capacity.write"))
    pat = caller_with(token_of(make_user(contoso, purchaser_since=now()), "licenses.read"))

    assert pat.get(CAPACITY).json()["items"][0]["usedMb"] == 420
    assert pat.get(CONSUMPTION).json() == {"items": [], "next": None}
