"""Purchases, orders, bills and licenses over the wire, and that a repeated call takes effect once (product §16)."""

import csv
import json
import uuid
from datetime import timedelta
from typing import Any

import pytest

from commerce.models import RefundAttempt, Subscription
from commerce.tasks import REFUND
from config.kit import doorbell
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry, IdempotentCall, Tenant, User
from directory.operations.idempotency import RUNS_AT_MOST, forget_calls
from licensing.models import Assignment
from tests.factories import (
    AT,
    caller_with,
    client_of,
    make_bill,
    make_self_service_subscription,
    make_subscription,
    make_tenant,
    make_user,
    plan,
    service_token_of,
    token_of,
)

pytestmark = pytest.mark.django_db

BASE = "/api/v1.0"


def get(user: User, path: str, **params: Any) -> Any:
    return caller_with(token_of(user)).get(f"{BASE}/{path}", params)


def post(secret: str, path: str, body: Any, key: str = "") -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return caller_with(secret).post(
        f"{BASE}/{path}", json.dumps(body), content_type="application/json", headers=headers
    )


# --- Purchases --------------------------------------------------------------------------------------------


def test_an_admin_lists_all_purchases_and_a_purchaser_the_own(contoso: Tenant, gina: User, pat: User) -> None:
    own, central = make_subscription(contoso, owner=pat), make_subscription(contoso)

    all_of_them = get(gina, "purchases").json()
    mine = get(pat, "purchases").json()

    assert {item["id"] for item in all_of_them["items"]} == {str(own.key), str(central.key)}
    assert all_of_them["next"] is None
    (item,) = mine["items"]
    assert item | {"id": "", "createdAt": "", "nextDate": "", "termEnd": ""} == {
        "id": "",
        "productId": own.product.key,
        "productName": "Power BI Pro",
        "channel": "self-service",
        "owner": "person",
        "purchaser": own.purchaser_name,
        "purchaserEmail": pat.email,
        "state": "active",
        "paymentFailedAt": None,
        "recurringBilling": True,
        "quantity": 10,
        "assigned": 0,
        "available": 10,
        "termMonths": 1,
        "billingMonths": 1,
        "currency": "EUR",
        "unitPriceMinor": own.unit_price_minor,
        "periodPriceMinor": own.unit_price_minor * 10,
        "termEnd": "",
        "nextDate": "",
        "createdAt": "",
    }
    assert get(pat, f"purchases/{own.key}").json() == item


@pytest.mark.parametrize(
    ("params", "which"),
    [
        ({"channel": "central"}, {"central"}),
        ({"channel": ["central", "self-service"]}, {"central", "own", "visio"}),
        ({"status": "deleted"}, {"gone"}),
        ({"product": "CFQ7TTC0KXG7"}, set()),
        ({"q": "visio"}, {"visio"}),
        ({"sort": "-seats"}, {"central", "own", "visio"}),
    ],
)
def test_filters_are_those_of_the_portal(
    contoso: Tenant, gina: User, pat: User, params: dict[str, Any], which: set[str]
) -> None:
    made = {
        "central": make_subscription(contoso),
        "own": make_subscription(contoso, owner=pat),
        "visio": make_subscription(contoso, owner=pat, plan=plan("visio-plan-1")),
        "gone": make_subscription(contoso, state="deleted", due_at=None),
    }

    found = {item["id"] for item in get(gina, "purchases", **params).json()["items"]}

    assert found == {str(made[name].key) for name in which}


def export(user: User, **params: Any) -> list[dict[str, str]]:
    answer = get(user, "purchases/export", **params)
    assert answer["Content-Disposition"].endswith('.csv"')
    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    return list(csv.DictReader(text.splitlines()))


def test_the_list_is_exported_as_it_is_filtered_and_as_the_person_sees_it(
    contoso: Tenant, gina: User, pat: User
) -> None:
    own, central = make_subscription(contoso, owner=pat), make_subscription(contoso)
    make_subscription(make_tenant(name="Fabrikam"))

    assert {row["subscription"] for row in export(gina)} == {str(own.key), str(central.key)}
    assert [row["subscription"] for row in export(gina, channel="central")] == [str(central.key)]
    assert [row["subscription"] for row in export(pat)] == [str(own.key)]


def test_an_export_names_who_holds_the_licenses_and_comes_as_a_workbook(
    contoso: Tenant, gina: User, pat: User
) -> None:
    central = make_subscription(contoso)
    post(token_of(gina), f"purchases/{central.key}/licenses/assign", {"people": [pat.email]})

    (row,) = export(gina, holders="true")
    workbook = b"".join(get(gina, "purchases/export", format="xlsx").streaming_content)

    assert (row["user"], row["user_email"]) == (pat.name, pat.email)
    assert workbook.startswith(b"PK")
    assert get(gina, "purchases/export", format="xml").status_code == 400


def test_who_holds_the_licenses_is_told_to_a_token_that_may_read_them(contoso: Tenant, gina: User) -> None:
    make_subscription(contoso)

    def status(*scopes: str, **params: str) -> int:
        answer = caller_with(token_of(gina, *scopes)).get(f"{BASE}/purchases/export", params)
        return int(answer.status_code)

    assert (status("purchases.read"), status("purchases.read", holders="true")) == (200, 403)
    assert status("purchases.read", "licenses.read", holders="true") == 200


def test_exports_by_page_and_by_call_are_counted_together(gina: User, settings: Any) -> None:
    settings.EXPORTS_PER_HOUR = 2

    by_page = client_of(gina).post("/admin/billing/your-products/export/", {"format": "csv"}).status_code
    by_call = [get(gina, "purchases/export").status_code for _ in range(2)]

    assert (by_page, by_call) == (200, [200, 429])


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"channel": "post"}, 400),
        ({"status": "x"}, 400),
        ({"sort": "tenant"}, 400),
        ({"cursor": "x"}, 400),
        ({"product": "CFQ7TTC00000"}, 404),
        ({"q": "x" * 201}, 400),
    ],
)
def test_a_filter_that_does_not_exist_is_refused(gina: User, params: dict[str, str], status: int) -> None:
    answer = get(gina, "purchases", **params)

    assert answer.status_code == status
    assert status == 404 or answer.json()["field"] in {*params, "page"}


def test_pages_follow_each_other_without_gap(contoso: Tenant, gina: User) -> None:
    made = {str(make_subscription(contoso).key) for _ in range(52)}

    first = get(gina, "purchases").json()
    second = get(gina, "purchases", cursor=first["next"]).json()

    assert (len(first["items"]), len(second["items"]), second["next"]) == (50, 2, None)
    assert {item["id"] for item in first["items"] + second["items"]} == made


def test_the_list_costs_the_same_number_of_queries_for_any_number(
    contoso: Tenant, gina: User, django_assert_num_queries: Any
) -> None:
    secret = token_of(gina)
    make_subscription(contoso)
    caller_with(secret).get(f"{BASE}/purchases")
    for _ in range(10):
        make_subscription(contoso)

    # The token's tenant 1; token, organization, roles and last use in a block 8; the call's block 4 and its 2.
    with django_assert_num_queries(15):
        caller_with(secret).get(f"{BASE}/purchases")


def test_a_cancellation_does_what_its_preview_said_or_nothing(contoso: Tenant, gina: User) -> None:
    central = make_subscription(contoso)
    secret = token_of(gina)

    preview = caller_with(secret).get(f"{BASE}/purchases/{central.key}/cancellation").json()
    agreed = {
        name: preview[name] for name in ("ending", "refundMinor", "creditedMinor", "stillMinor", "version")
    }
    other = post(secret, f"purchases/{central.key}/cancel", agreed | {"refundMinor": 100})
    older = post(secret, f"purchases/{central.key}/cancel", agreed | {"version": 7})
    done = post(secret, f"purchases/{central.key}/cancel", agreed | {"reason": "not_needed"})
    again = post(secret, f"purchases/{central.key}/cancel", agreed)

    assert preview["ending"] == "at_term"
    assert [other.json()["code"], older.json()["code"]] == ["cancellation_changed", "conflict"]
    assert (done.status_code, done.json()["recurringBilling"]) == (200, False)
    assert again.json()["code"] == "already_stopped"
    with tenant_atomic(contoso.pk):
        assert AuditEntry.objects.filter(code="commerce.subscription.canceled", door="api").count() == 1


def test_a_worker_is_asked_for_the_refund_once_the_cancellation_is_committed(
    contoso: Tenant, pat: User, django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[str] = []
    monkeypatch.setattr(doorbell.current_app, "send_task", lambda name, **_: rung.append(name))
    bought = make_self_service_subscription(pat, at=now())
    secret, path = token_of(pat), f"purchases/{bought.key}"
    preview = caller_with(secret).get(f"{BASE}/{path}/cancellation").json()
    names = ("ending", "refundMinor", "creditedMinor", "stillMinor", "version")

    with django_capture_on_commit_callbacks(execute=True):
        done = post(secret, f"{path}/cancel", {name: preview[name] for name in names})

    assert (preview["ending"], done.json()["state"]) == ("at_once", "disabled")
    assert rung.count(REFUND) == 1
    with tenant_atomic(contoso.pk):
        assert RefundAttempt.objects.get().amount_minor == preview["refundMinor"]


@pytest.mark.parametrize(
    "change",
    [{"reason": "because"}, {"refundMinor": "0"}, {"refundMinor": 1.5}, {"version": None}, {"ending": 1}],
)
def test_a_cancellation_that_cannot_be_read_changes_nothing(
    contoso: Tenant, gina: User, change: dict[str, Any]
) -> None:
    central = make_subscription(contoso)
    body = {"ending": "at_term", "refundMinor": 0, "creditedMinor": 0, "stillMinor": 0, "version": 0} | change

    answer = post(token_of(gina), f"purchases/{central.key}/cancel", body)

    assert (answer.status_code, answer.json()["field"]) == (400, next(iter(change)))
    with tenant_atomic(contoso.pk):
        assert Subscription.objects.get().recurring_billing


def test_orders_of_a_purchase_are_its_history(contoso: Tenant, gina: User) -> None:
    central = make_subscription(contoso)
    make_bill(central, at=AT)

    (order,) = get(gina, f"purchases/{central.key}/orders").json()["items"]

    assert set(order) == {
        *("id", "type", "placedAt", "placedBy", "quantity", "currency", "unitPriceMinor", "amountMinor")
    }
    assert order["currency"] == "EUR"


# --- Bills ------------------------------------------------------------------------------------------------


def test_of_another_persons_bill_an_admin_sees_the_amounts_alone(
    contoso: Tenant, gina: User, pat: User
) -> None:
    own = make_bill(make_subscription(contoso, owner=pat), at=AT)
    central = make_bill(make_subscription(contoso), at=AT)

    seen = {item["payer"]: item for item in get(gina, "bills").json()["items"]}
    (mine,) = get(pat, "bills").json()["items"]

    assert seen["organization"]["number"] == central.number
    hidden = seen["others"]
    assert (hidden["number"], hidden["status"], hidden["paidMinor"], hidden["dueAt"]) == (None,) * 4
    assert (hidden["totalMinor"], hidden["taxMinor"]) == (own.total_minor, own.tax_minor)
    assert (mine["number"], mine["payer"], mine["status"]) == (own.number, "me", "open")
    assert get(gina, f"bills/{own.number}").status_code == 404
    assert get(gina, f"bills/{central.number}").json() == seen["organization"]


@pytest.mark.parametrize(
    "params",
    [
        *({"status": "x"}, {"channel": "x"}, {"payer": "x"}),
        *({"since": "2026-01-01T00:00"}, {"since": "soon"}, {"until": "1767225600"}),
    ],
)
def test_a_filter_of_bills_that_does_not_exist_is_refused(gina: User, params: dict[str, str]) -> None:
    answer = get(gina, "bills", **params)

    assert (answer.status_code, answer.json()["field"]) == (400, next(iter(params)))


def test_bills_of_a_time_are_half_open(contoso: Tenant, gina: User) -> None:
    make_bill(make_subscription(contoso), at=AT)
    later = (AT + timedelta(seconds=1)).isoformat()

    counts = [
        len(get(gina, "bills", **params).json()["items"])
        for params in (
            {"since": AT.isoformat()},
            {"until": AT.isoformat()},
            {"since": later},
            {"until": later},
        )
    ]

    assert counts == [1, 0, 0, 1]


# --- Licenses ---------------------------------------------------------------------------------------------


def live(tenant: Tenant) -> int:
    with tenant_atomic(tenant.pk):
        return Assignment.objects.live().count()


def test_a_list_of_people_is_given_licenses_and_each_is_told_of(contoso: Tenant, gina: User) -> None:
    central = make_subscription(contoso, quantity=2)
    make_user(contoso, email="a@contoso.example")
    make_user(contoso, email="b@contoso.example", status="disabled")
    for _ in range(2):
        make_user(contoso, name="Twin")
    people = ["a@contoso.example", "b@contoso.example", "Twin", "A@contoso.example", "x@y.example", "\0"]

    given = post(token_of(gina), f"purchases/{central.key}/licenses/assign", {"people": people}).json()
    holders = get(gina, f"purchases/{central.key}/licenses").json()["items"]
    taken = post(token_of(gina), f"purchases/{central.key}/licenses/unassign", {"people": people[:2]}).json()

    outcomes = ["assigned", "disabled", "ambiguous", "repeated", "unknown", "unknown"]
    assert [item["outcome"] for item in given["items"]] == outcomes
    assert (given["done"], given["available"]) == (1, 1)
    assert [holder["email"] for holder in holders] == ["a@contoso.example"]
    assert [item["outcome"] for item in taken["items"]] == ["unassigned", "not_held"]
    assert live(contoso) == 0


@pytest.mark.parametrize("people", [[], "a@b.example", [1], ["x" * 1_001], ["x@y.example"] * 1_001, None])
def test_a_list_that_cannot_be_read_gives_nobody_a_license(contoso: Tenant, gina: User, people: Any) -> None:
    central = make_subscription(contoso)

    answer = post(token_of(gina), f"purchases/{central.key}/licenses/assign", {"people": people})

    assert answer.status_code == 400
    assert live(contoso) == 0


def test_a_service_token_assigns_the_organizations_alone(contoso: Tenant, gina: User, pat: User) -> None:
    central, own = make_subscription(contoso), make_subscription(contoso, owner=pat)
    secret = service_token_of(gina, "licenses.write")
    body = {"people": [gina.email], "confirmed": True}

    given = post(secret, f"purchases/{central.key}/licenses/assign", body)
    refused = post(secret, f"purchases/{own.key}/licenses/assign", body)

    assert given.json()["done"] == 1
    assert refused.status_code == 403
    assert live(contoso) == 1
    with tenant_atomic(contoso.pk):
        entry = AuditEntry.objects.get(code="licensing.license.assigned")
    assert (entry.actor_user_id, entry.actor_label[:6], entry.door) == (None, "Job (…", "api")


# --- Once -------------------------------------------------------------------------------------------------


def test_a_repeated_call_is_answered_as_the_first_and_takes_effect_once(contoso: Tenant, gina: User) -> None:
    central = make_subscription(contoso)
    secret, path = token_of(gina), f"purchases/{central.key}/licenses/assign"

    first, again = (post(secret, path, {"people": [gina.email]}, key="k-1") for _ in range(2))
    with_another_token = post(token_of(gina), path, {"people": [gina.email]}, key="k-1")
    afresh = post(secret, path, {"people": [gina.email]}, key="k-2")

    assert first.json()["items"][0]["outcome"] == "assigned"
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again["Content-Type"] == first["Content-Type"]
    assert (first.get("Idempotent-Replayed"), again["Idempotent-Replayed"]) == (None, "true")
    assert with_another_token.content == first.content
    assert afresh.json()["items"][0]["outcome"] == "holds_license"
    assert live(contoso) == 1


def test_a_refusal_is_repeated_too(contoso: Tenant, gina: User) -> None:
    central = make_subscription(contoso, state="disabled")
    secret, path = token_of(gina), f"purchases/{central.key}/licenses/assign"

    first = post(secret, path, {"people": [gina.email]}, key="k")
    with tenant_atomic(contoso.pk):
        Subscription.objects.update(state="active")
    again = post(secret, path, {"people": [gina.email]}, key="k")

    assert (first.status_code, first.json()["code"]) == (409, "not_assignable")
    assert (again.status_code, again.content) == (409, first.content)
    assert live(contoso) == 0


def test_a_key_that_named_another_call_is_refused(contoso: Tenant, gina: User) -> None:
    central = make_subscription(contoso)
    secret, path = token_of(gina), f"purchases/{central.key}/licenses/assign"
    post(secret, path, {"people": [gina.email]}, key="k")

    other_body = post(secret, path, {"people": ["x@y.example"]}, key="k")
    other_path = post(secret, path.replace("/assign", "/unassign"), {"people": [gina.email]}, key="k")

    assert [other_body.json()["code"], other_path.json()["code"]] == ["idempotency_key_reused"] * 2
    assert (other_body.status_code, live(contoso)) == (422, 1)


def test_another_persons_key_is_another_key(contoso: Tenant, gina: User) -> None:
    greg, central = make_user(contoso, roles=("global_admin",)), make_subscription(contoso)
    path = f"purchases/{central.key}/licenses/assign"
    post(token_of(gina), path, {"people": [gina.email]}, key="k")

    answer = post(token_of(greg), path, {"people": [greg.email]}, key="k")

    assert answer.json()["items"] == [{"person": greg.email, "outcome": "assigned"}]


def test_while_the_first_runs_the_second_is_409_until_it_must_have_crashed(
    contoso: Tenant, gina: User
) -> None:
    central = make_subscription(contoso)
    secret, path = token_of(gina), f"purchases/{central.key}/licenses/assign"
    post(secret, path, {"people": [gina.email]}, key="k")
    with tenant_atomic(contoso.pk):
        IdempotentCall.objects.update(status=None)

    running = post(secret, path, {"people": [gina.email]}, key="k")
    with tenant_atomic(contoso.pk):
        for row in IdempotentCall.objects.all():
            IdempotentCall.objects.filter(pk=row.pk).update(created_at=row.created_at - RUNS_AT_MOST)
    crashed = post(secret, path, {"people": [gina.email]}, key="k")

    assert (running.status_code, running.json()["code"]) == (409, "still_running")
    assert crashed.json()["items"][0]["outcome"] == "holds_license"


def test_a_failure_of_ours_frees_the_key(contoso: Tenant, gina: User, monkeypatch: Any) -> None:
    central = make_subscription(contoso)
    secret, path = token_of(gina), f"purchases/{central.key}/licenses/assign"

    def fails(**rest: Any) -> None:
        raise RuntimeError

    client = caller_with(secret)
    client.raise_request_exception = False
    with monkeypatch.context() as broken:
        broken.setattr("licensing.api.licenses.assign_licenses", fails)
        failed = client.post(
            f"{BASE}/{path}",
            json.dumps({"people": [gina.email]}),
            content_type="application/json",
            headers={"Idempotency-Key": "k"},
        )
    again = post(secret, path, {"people": [gina.email]}, key="k")

    assert failed.status_code == 500
    assert again.json()["done"] == 1


def test_a_refused_right_keeps_no_answer(contoso: Tenant, gina: User, pat: User) -> None:
    owned = make_subscription(contoso, owner=pat)
    secret, path = token_of(gina), f"purchases/{owned.key}/licenses/assign"

    answers = [post(secret, path, {"people": [gina.email]}, key="k") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [403, 403]
    assert [answer.get("Idempotent-Replayed") for answer in answers] == [None, None]
    with tenant_atomic(contoso.pk):
        assert not IdempotentCall.objects.exists()


@pytest.mark.parametrize("key", ["x" * 256, "\u00e9", "a\x07b"])
def test_a_key_that_is_none_is_refused(contoso: Tenant, gina: User, key: str) -> None:
    central = make_subscription(contoso)

    answer = post(
        token_of(gina), f"purchases/{central.key}/licenses/assign", {"people": [gina.email]}, key=key
    )

    assert (answer.status_code, answer.json()["field"]) == (400, "Idempotency-Key")
    assert live(contoso) == 0


def test_keys_are_forgotten_after_a_day(contoso: Tenant, gina: User) -> None:
    central = make_subscription(contoso)
    secret, path = token_of(gina), f"purchases/{central.key}/licenses/assign"
    post(secret, path, {"people": [gina.email]}, key="k")
    with tenant_atomic(contoso.pk):
        row = IdempotentCall.objects.get()
        IdempotentCall.objects.update(created_at=row.created_at - timedelta(days=1, seconds=1))

    again = post(secret, path, {"people": [gina.email]}, key="k")

    assert again.json()["items"][0]["outcome"] == "holds_license"
    assert again.get("Idempotent-Replayed") is None


@pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)
def test_a_sweep_forgets_the_answers_of_every_organization_after_a_day(gina: User) -> None:
    for user in (gina, make_user(make_tenant(), roles=("global_admin",))):
        central = make_subscription(user.tenant)
        post(token_of(user), f"purchases/{central.key}/licenses/assign", {"people": [user.email]}, key="k")
    with use_login("worker"):
        oldest, latest = IdempotentCall.objects.order_by("created_at").values_list("created_at", flat=True)

    kept = forget_calls(real_at=oldest + timedelta(days=1))
    first = forget_calls(real_at=latest + timedelta(days=1))
    both = forget_calls(real_at=latest + timedelta(days=1, seconds=1))

    assert (kept, first, both) == (0, 1, 1)


def test_a_purchase_that_is_none_is_not_there(gina: User) -> None:
    for path in (
        "purchases/x",
        f"purchases/{uuid.uuid4()}",
        "purchases/00000000-0000-0000-0000-00000000000g",
    ):
        assert get(gina, path).status_code == 404, path
