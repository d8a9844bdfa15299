"""Asking for licenses, answering, and taking purchases over, over the wire (product §7.5, §10, §16)."""

import json
import uuid
from typing import Any

import pytest

from commerce.models import Agreement, Subscription
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from licensing.models import Assignment
from policies.models import Permit
from tests.factories import (
    AT,
    caller_with,
    make_self_service_subscription,
    make_subscription,
    make_user,
    plan,
    token_of,
)

pytestmark = pytest.mark.django_db

BASE = "/api/v1.0"


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina", email="gina@contoso.example", roles=("global_admin",))


@pytest.fixture
def mike(contoso: Tenant) -> User:
    return make_user(contoso, name="Mike", email="mike@contoso.example")


@pytest.fixture
def erik(contoso: Tenant) -> User:
    return make_user(contoso, name="Erik", email="erik@contoso.example")


def get(user: User, path: str, **params: Any) -> Any:
    return caller_with(token_of(user)).get(f"{BASE}/{path}", params)


def post(user: User, path: str, **body: Any) -> Any:
    return caller_with(token_of(user)).post(
        f"{BASE}/{path}",
        json.dumps(body),
        content_type="application/json",
        headers={"Idempotency-Key": uuid.uuid4().hex},
    )


def ask(user: User, *people: User) -> Any:
    return post(
        user,
        "requests",
        product=plan("visio-plan-1").product.key,
        reason="For the tenders.",
        people=[each.email for each in people],
    )


def test_somebody_asks_and_sees_the_own_requests_alone(gina: User, mike: User, erik: User) -> None:
    made = ask(mike, mike, erik)
    other = ask(erik)

    assert (made.status_code, other.status_code) == (201, 409)
    assert other.json()["code"] == "already_asked"
    assert made.json() | {"id": "", "askedAt": "", "expiresAt": "", "people": []} == {
        "id": "",
        "kind": "license",
        "productId": plan("visio-plan-1").product.key,
        "productName": "Visio Plan 1",
        "requester": "Mike",
        "requesterEmail": "mike@contoso.example",
        "reason": "For the tenders.",
        "seats": 2,
        "amountMinor": made.json()["amountMinor"],
        "currency": "EUR",
        "state": "waiting",
        "message": "",
        "askedAt": "",
        "expiresAt": "",
        "decidedAt": None,
        "decidedBy": "",
        "people": [],
    }
    assert [(each["name"], each["state"]) for each in made.json()["people"]] == [
        ("Erik", "waiting"),
        ("Mike", "waiting"),
    ]
    assert [item["id"] for item in get(mike, "requests").json()["items"]] == [made.json()["id"]]
    assert get(make_user(mike.tenant), "requests").json()["items"] == []


def test_nobody_is_asked_for_whose_name_is_unclear(gina: User, mike: User) -> None:
    answer = post(mike, "requests", product=plan("visio-plan-1").product.key, reason="x", people=["Nobody"])

    assert answer.status_code == 400
    assert (answer.json()["code"], answer.json()["field"]) == ("malformed", "people")
    assert get(gina, "requests").json()["items"] == []


def test_an_admin_gives_one_a_license_and_turns_the_other_down(
    contoso: Tenant, gina: User, mike: User, erik: User
) -> None:
    make_subscription(contoso, quantity=1, plan=plan("visio-plan-1"))
    path = "requests/" + ask(mike, mike, erik).json()["id"]

    too_few = post(gina, f"{path}/approve")
    given = post(gina, f"{path}/approve", people=["mike@contoso.example"], message="Enjoy.")
    without = post(gina, f"{path}/reject")
    refused = post(gina, f"{path}/reject", message="Not this year.")

    assert (too_few.status_code, too_few.json()["code"]) == (409, "not_enough_licenses")
    assert {each["name"]: each["state"] for each in given.json()["people"]} == {
        "Erik": "waiting",
        "Mike": "given",
    }
    assert without.status_code == 400
    assert refused.json()["state"] == "partly"
    assert get(mike, path).json()["message"] == "Not this year."
    with tenant_atomic(contoso.pk):
        assert [row.user_id for row in Assignment.objects.live()] == [mike.pk]


@pytest.mark.parametrize("body", ["4.05e16", '"yes"', "[]", "true", "null"])
def test_a_body_that_is_no_object_is_refused_though_no_field_is_needed(
    contoso: Tenant, gina: User, mike: User, body: str
) -> None:
    path = f"{BASE}/requests/{ask(mike).json()['id']}"

    refused = caller_with(token_of(gina)).post(f"{path}/approve-spending", body, "application/json")

    assert (refused.status_code, refused.json()["code"]) == (400, "malformed")
    with tenant_atomic(contoso.pk):
        assert not Permit.objects.exists()


def test_the_ways_with_money_are_for_those_who_may_spend(contoso: Tenant, gina: User, mike: User) -> None:
    lisa = make_user(contoso, name="Lisa", roles=("license_admin",))
    path = "requests/" + ask(mike).json()["id"]

    by_lisa = post(lisa, f"{path}/approve-spending")
    forwarded = post(lisa, f"{path}/forward")
    approved = post(gina, f"{path}/approve-spending")

    assert (by_lisa.status_code, by_lisa.json()["code"]) == (403, "role_too_low")
    assert forwarded.json()["state"] == "forwarded"
    assert approved.json()["state"] == "approved"
    with tenant_atomic(contoso.pk):
        assert Permit.objects.get().user_id == mike.pk


def test_a_product_is_allowed_by_answering_who_asked(contoso: Tenant, gina: User, mike: User) -> None:
    policies = "policies/AllowSelfServicePurchase/products/" + plan("visio-plan-1").product.key
    caller = caller_with(token_of(gina))
    caller.put(f"{BASE}/{policies}", '{"policyValue": "Disabled"}', content_type="application/json")
    path = "requests/" + ask(mike).json()["id"]

    allowed = post(gina, f"{path}/allow-product")

    assert allowed.json()["state"] == "approved"
    assert get(gina, policies).json()["policyValue"] == "Enabled"


def test_who_asked_takes_it_back_and_nobody_else(gina: User, mike: User) -> None:
    path = "requests/" + ask(mike).json()["id"]

    assert post(gina, f"{path}/withdraw").status_code == 404
    assert post(mike, f"{path}/withdraw").json()["state"] == "withdrawn"
    assert post(mike, f"{path}/withdraw").json()["code"] == "request_over"


@pytest.fixture
def bought(contoso: Tenant) -> Subscription:
    return make_self_service_subscription(make_user(contoso, name="Pat", purchaser_since=AT))


def test_a_purchase_is_taken_over_as_the_preview_said(
    contoso: Tenant, gina: User, mike: User, bought: Subscription
) -> None:
    path = f"purchases/{bought.key}/take-over"
    with_nothing = get(gina, path)
    with tenant_atomic(contoso.pk):
        Agreement.objects.create(tenant=contoso, name="Agreement", payment_days=30)

    preview = get(gina, path).json()
    forged = post(gina, path, quote=preview["quote"][:-1])
    taken = post(gina, path, quote=preview["quote"])

    assert (with_nothing.status_code, with_nothing.json()["code"]) == (409, "organization_needs_card")
    assert preview | {"quote": ""} == {
        "paysBy": "account",
        "paymentDays": 30,
        "currency": "EUR",
        "periodPriceMinor": bought.period_price_minor,
        "openBills": [],
        "quote": "",
    }
    assert forged.status_code == 400
    assert (taken.status_code, taken.json()["owner"]) == (200, "organization")
    assert post(gina, path, quote=preview["quote"]).json()["owner"] == "organization"
    assert post(mike, path, quote=preview["quote"]).status_code == 403
    assert get(gina, path).json()["code"] == "not_taken_over"


def test_a_take_over_can_charge_a_card_and_asks_for_a_key(
    contoso: Tenant, gina: User, mike: User, bought: Subscription
) -> None:
    address, body = f"{BASE}/purchases/{bought.key}/take-over", json.dumps({"quote": "x"})

    without, of_a_member = (
        caller_with(token_of(user)).post(address, body, content_type="application/json")
        for user in (gina, mike)
    )

    assert (without.status_code, without.json()["code"]) == (400, "idempotency_key_missing")
    assert without.json()["field"] == "Idempotency-Key"
    assert of_a_member.json()["code"] == "role_too_low"


def test_what_changed_since_the_preview_is_not_taken_over(
    contoso: Tenant, gina: User, bought: Subscription
) -> None:
    with tenant_atomic(contoso.pk):
        agreement = Agreement.objects.create(tenant=contoso, name="Agreement", payment_days=30)
    path = f"purchases/{bought.key}/take-over"
    quote = get(gina, path).json()["quote"]
    with tenant_atomic(contoso.pk):
        agreement.payment_days = 14
        agreement.save()

    answer = post(gina, path, quote=quote)

    assert (answer.status_code, answer.json()["code"]) == (409, "take_over_changed")
    with tenant_atomic(contoso.pk):
        assert Subscription.objects.get(pk=bought.pk).owner_kind == "person"
