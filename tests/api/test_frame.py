"""What holds for every call: tokens alone, problems in one form, limits, and nothing left of what failed."""

import json
import re
from collections import defaultdict
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from ninja.openapi.schema import OpenAPISchema

from commerce.api import policies
from config.api import api
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, User
from directory.operations.audit import record
from policies.models import ProductPolicy
from tests.factories import AT, caller_with, client_of, make_tenant, token_of

pytestmark = pytest.mark.django_db

LIST = "/api/v1.0/policies"
# The calls in the shapes of Microsoft Graph have its errors (tests/api/test_graph.py).
GRAPH = tuple(f"/api/v1.0/{part}" for part in ("subscribedSkus", "directory/subscriptions", "users"))
SHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
FILES = {
    "/api/v1.0/audit/export": ["application/json", "text/csv"],
    "/api/v1.0/purchases/export": ["text/csv", SHEET],
}
ONE = "/api/v1.0/policies/AllowSelfServicePurchase/products/CFQ7TTC0LH2H"


def put(client: Client, body: Any, **headers: str) -> Any:
    text = body if isinstance(body, str) else json.dumps(body)
    return client.put(ONE, text, content_type="application/json", headers=headers)


def test_the_correlation_id_comes_back_and_is_in_the_trail(gina: User) -> None:
    client = caller_with(token_of(gina))

    answer = put(client, {"policyValue": "Disabled"}, **{"x-ms-correlation-id": "case-42"})
    own = client.get(LIST)
    hostile = client.get(LIST, headers={"x-ms-correlation-id": "a b\tc<" + "x" * 100})

    assert answer["x-ms-correlation-id"] == "case-42"
    assert len(own["x-ms-correlation-id"]) == 32
    assert hostile["x-ms-correlation-id"] == "abc" + "x" * 61
    with tenant_atomic(gina.tenant_id):
        entry = AuditEntry.objects.get(code="policies.product_policy.changed")
    assert (entry.correlation_id, entry.door, entry.actor_user_id) == ("case-42", "api", gina.pk)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic Z2luYTp4",
        "Token {secret}",
        "{secret}",
        "Bearer {secret}x",
        "Bearer \u00e9",
    ],
)
def test_a_header_that_is_no_bearer_token_is_401(gina: User, header: str) -> None:
    answer = Client().get(LIST, headers={"authorization": header.format(secret=token_of(gina))})

    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json()["code"] == "unauthenticated"


def test_the_word_bearer_may_be_written_in_any_case(gina: User) -> None:
    assert Client().get(LIST, headers={"authorization": f"bEARER {token_of(gina)}"}).status_code == 200


def test_a_session_opens_no_call_and_a_token_opens_no_page(gina: User) -> None:
    in_a_browser, program = client_of(gina), caller_with(token_of(gina))

    assert in_a_browser.get(LIST).status_code == 401
    assert program.get("/admin/").status_code == 302
    assert "sessionid" not in program.cookies


def test_a_token_in_the_address_is_not_looked_at(gina: User) -> None:
    secret = token_of(gina)

    assert Client().get(f"{LIST}?access_token={secret}&token={secret}").status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/api/",
        "/api/v1.0/",
        "/api/v1.0/nothing",
        "/api/v2.0/policies",
        "/v1/purchases",
        "/v1.0/",
        "/api/v1.0/policies/",
    ],
)
def test_an_address_that_is_not_there_is_a_problem_and_the_same_to_everybody(gina: User, path: str) -> None:
    answers = [Client().get(path), caller_with(token_of(gina)).get(path), client_of(gina).get(path)]

    assert [answer.status_code for answer in answers] == [404] * 3
    assert {answer["Content-Type"] for answer in answers} == {"application/problem+json"}
    assert len({answer.content for answer in answers}) == 1


@pytest.mark.parametrize("method", ["POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "PUT"])
def test_another_method_is_405_and_names_what_there_is(gina: User, method: str) -> None:
    answer = caller_with(token_of(gina)).generic(method, LIST)

    assert (answer.status_code, answer["Allow"]) == (405, "GET")


def test_the_eleventh_call_in_a_second_waits(gina: User, settings: Any) -> None:
    settings.API_PER_SECOND, settings.API_BURST = 0.1, 3
    first, second = caller_with(token_of(gina)), caller_with(token_of(gina))

    statuses = [first.get(LIST).status_code for _ in range(5)]
    refused = first.get(LIST)

    assert statuses == [200, 200, 200, 429, 429]
    assert refused.json()["code"] == "too_many_requests"
    assert 1 <= int(refused["Retry-After"]) <= 10
    assert second.get(LIST).status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("", "payload"),
        ("{", None),
        ("[]", None),
        ("null", None),
        ('{"policyValue": 1}', "policyValue"),
        ('{"policyValue": null}', "policyValue"),
        ('{"policyValue": ["Disabled"]}', "policyValue"),
        ('{"policyValue": "disabled"}', "policyValue"),
        ('{"policyValue": ""}', "policyValue"),
        ('{"policyValue": "\\u0000"}', "policyValue"),
        ("[" * 10_000, None),
        ('{"value": "Disabled"}', "policyValue"),
        ("\xff", None),
    ],
)
def test_a_body_that_cannot_be_read_is_400_and_changes_nothing(
    gina: User, body: str, field: str | None
) -> None:
    answer = put(caller_with(token_of(gina)), body)

    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    problem = answer.json()
    assert (problem["status"], problem["type"]) == (400, f"urn:seatkeeper:problem:{problem['code']}")
    assert field in (None, "payload") or problem["field"] == field
    with tenant_atomic(gina.tenant_id):
        assert not ProductPolicy.objects.exists()


def test_more_fields_than_asked_for_change_nothing_else(gina: User) -> None:
    other = make_tenant()

    answer = put(
        caller_with(token_of(gina)),
        {"policyValue": "Disabled", "tenant": other.pk, "tenant_id": other.pk, "productId": "x", "id": 7},
    )

    assert answer.status_code == 200
    assert answer.json()["productId"] == "CFQ7TTC0LH2H"
    with tenant_atomic(other.pk):
        assert not ProductPolicy.objects.exists()


def _fail_with(error: Exception, monkeypatch: Any) -> None:
    """Let the call write a row and then fail, as a mistake of ours would."""

    def fails(*, actor: Any, **rest: Any) -> None:
        record(actor, "policies.test.written", at=AT, target_type="test", target_id=1)
        raise error

    monkeypatch.setattr(policies, "set_product_policy", fails)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RuntimeError("secret of ours"), 500, "server_error"),
        (OperationalError("the server closed the connection"), 503, "unavailable"),
        (policies.NotVisible(), 404, "not_found"),
    ],
)
def test_what_a_failed_call_wrote_is_taken_back(
    gina: User, monkeypatch: Any, error: Exception, status: int, code: str
) -> None:
    _fail_with(error, monkeypatch)
    client = caller_with(token_of(gina))
    client.raise_request_exception = False

    answer = put(client, {"policyValue": "Disabled"})

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "secret of ours" not in answer.content.decode()
    assert (answer.get("Retry-After") is not None) == (status == 503)
    with tenant_atomic(gina.tenant_id):
        assert not AuditEntry.objects.filter(code="policies.test.written").exists()


# --- The description --------------------------------------------------------------------------------------


def test_the_description_is_public_and_names_every_call_with_its_errors() -> None:
    document = Client().get("/api/v1.0/openapi.json").json()

    assert document["openapi"].startswith("3.1")
    from tests.access.test_every_call import CALLS

    described = {(path, method.upper()) for path, calls in document["paths"].items() for method in calls}
    there = {
        ("/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route), method)
        for _name, route, method, _rule in CALLS
        if route.startswith("api/v1.0/")
    }
    assert described == there
    for path, calls in document["paths"].items():
        for method, call in calls.items():
            assert {"401", "403", "405", "429", "503"} <= set(call["responses"]), (path, method)
            assert call["security"] == [{"Bearer": []}], (path, method)
            assert call["summary"], (path, method)
            for status, answer in call["responses"].items():
                is_problem = int(status) >= 400 and not path.startswith(GRAPH)
                kind = "application/problem+json" if is_problem else "application/json"
                kinds = FILES.get(path, [kind]) if status == "200" else [kind]
                assert list(answer["content"]) == kinds, (path, method, status)


def test_the_description_tells_of_the_key_with_every_post_and_where_it_must_be() -> None:
    document = Client().get("/api/v1.0/openapi.json").json()
    keys = {
        (call["operationId"], method): parameter["required"]
        for calls in document["paths"].values()
        for method, call in calls.items()
        for parameter in call.get("parameters", ())
        if parameter["name"] == "Idempotency-Key"
    }
    posts = {
        (call["operationId"], method)
        for calls in document["paths"].values()
        for method, call in calls.items()
        if method == "post"
    }

    assert set(keys) == posts
    assert {name for (name, _method), is_required in keys.items() if is_required} == {"take_purchase_over"}


def test_each_name_of_the_description_means_one_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    meant: dict[str, list[Any]] = defaultdict(list)

    def add(self: OpenAPISchema, definitions: dict[str, Any]) -> None:
        for name, shape in definitions.items():
            if shape not in meant[name]:
                meant[name].append(shape)
        self.schemas.update(definitions)

    monkeypatch.setattr(OpenAPISchema, "add_schema_definitions", add)
    api.get_openapi_schema(path_prefix="")

    assert {"PurchaseState", "RequestState"} <= set(meant)
    assert {name: shapes for name, shapes in meant.items() if len(shapes) > 1} == {}


def test_names_of_calls_are_unique() -> None:
    document = Client().get("/api/v1.0/openapi.json").json()
    names = [call["operationId"] for calls in document["paths"].values() for call in calls.values()]

    assert len(names) == len(set(names))
