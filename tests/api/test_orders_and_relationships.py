"""Orders and relationships over the wire (product §12, §16)."""

import uuid
from datetime import timedelta
from typing import Any

import pytest

from commerce.models import Order, OrderLine, Subscription
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from tests.factories import (
    AT,
    caller_with,
    make_relationship,
    make_self_service_subscription,
    make_subscription,
    make_tenant,
    make_user,
    service_token_of,
    token_of,
)

pytestmark = pytest.mark.django_db

BASE = "/api/v1.0"


def get(user: User, path: str, **params: Any) -> Any:
    return caller_with(token_of(user)).get(f"{BASE}/{path}", params)


def place(*subscriptions: Subscription, type: str = "add_seats", days: int = 0) -> Order:
    """An order with a line for each."""
    tenant_id = subscriptions[0].tenant_id
    with tenant_atomic(tenant_id):
        order = Order.objects.create(
            tenant_id=tenant_id, type=type, placed_at=AT + timedelta(days=days), actor_label="Gina"
        )
        OrderLine.objects.bulk_create(
            OrderLine(
                tenant_id=tenant_id,
                order=order,
                subscription=each,
                quantity=2,
                currency="EUR",
                unit_price_minor=1_000,
                amount_minor=1_290,
            )
            for each in subscriptions
        )
    return order


# --- Orders -----------------------------------------------------------------------------------------------


def test_an_order_says_what_it_did_to_which_purchase(contoso: Tenant, gina: User, pat: User) -> None:
    bought = make_self_service_subscription(pat)
    order = place(bought, type="add_seats", days=3)

    listed = get(gina, "orders").json()

    assert [item["type"] for item in listed["items"]] == ["add_seats", "purchase"]
    assert listed["next"] is None
    assert listed["items"][0] == {
        "id": str(order.key),
        "type": "add_seats",
        "placedAt": order.placed_at.isoformat().replace("+00:00", "Z"),
        "placedBy": "Gina",
        "lines": [
            {
                "purchaseId": str(bought.key),
                "productId": bought.product.key,
                "productName": bought.product.name,
                "quantity": 2,
                "currency": "EUR",
                "unitPriceMinor": 1_000,
                "amountMinor": 1_290,
            }
        ],
    }
    assert get(gina, f"orders/{order.key}").json() == listed["items"][0]


def test_a_purchaser_sees_of_an_order_what_is_about_the_own_purchases(
    contoso: Tenant, gina: User, pat: User
) -> None:
    own, central = make_subscription(contoso, owner=pat), make_subscription(contoso)
    both, other = place(own, central), place(central)

    mine = get(pat, "orders").json()["items"]

    assert [(item["id"], [line["purchaseId"] for line in item["lines"]]) for item in mine] == [
        (str(both.key), [str(own.key)])
    ]
    assert get(pat, f"orders/{both.key}").json() == mine[0]
    assert get(pat, f"orders/{other.key}").status_code == 404
    assert len(get(gina, "orders").json()["items"][1]["lines"]) == 2


@pytest.mark.parametrize(
    ("params", "days"),
    [
        ({"type": "cancel"}, [5]),
        ({"since": "2026-03-12T09:30:00Z"}, [5, 2]),
        ({"until": "2026-03-12T09:30:00Z"}, [0]),
        ({"type": "add_seats", "since": "2026-03-11T00:00:00+01:00"}, [2]),
    ],
)
def test_orders_are_filtered(contoso: Tenant, gina: User, params: dict[str, str], days: list[int]) -> None:
    subscription = make_subscription(contoso)
    placed = {
        str(place(subscription, type=type, days=day).key): day
        for type, day in (("add_seats", 0), ("add_seats", 2), ("cancel", 5))
    }

    assert [placed[item["id"]] for item in get(gina, "orders", **params).json()["items"]] == days


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"type": "gift"}, "type"),
        ({"since": "2026-03-12T09:30:00"}, "since"),
        ({"until": "soon"}, "until"),
        ({"cursor": "x"}, "page"),
    ],
)
def test_a_question_about_orders_that_makes_no_sense_is_refused(
    gina: User, params: dict[str, str], field: str
) -> None:
    answer = get(gina, "orders", **params)

    assert (answer.status_code, answer.json()["field"]) == (400, field)


def test_pages_of_orders_follow_each_other_and_cost_the_same(
    contoso: Tenant, gina: User, django_assert_num_queries: Any
) -> None:
    subscription, secret = make_subscription(contoso), token_of(gina)
    made = [str(place(subscription).key) for _ in range(52)]
    first = caller_with(secret).get(f"{BASE}/orders").json()

    # The token's tenant 1; token, organization and roles, last use in a block 8; the call's block 4 and its 2.
    with django_assert_num_queries(15):
        second = caller_with(secret).get(f"{BASE}/orders", {"cursor": first["next"]}).json()

    assert (len(first["items"]), len(second["items"]), second["next"]) == (50, 2, None)
    assert [item["id"] for item in first["items"] + second["items"]] == made[::-1]


def test_orders_of_another_organization_do_not_exist(gina: User) -> None:
    order = place(make_subscription(make_tenant()))

    foreign, missing = (get(gina, f"orders/{key}") for key in (order.key, uuid.uuid4()))

    assert (foreign.status_code, foreign.content) == (404, missing.content)
    assert get(gina, "orders").json() == {"items": [], "next": None}


# --- Relationships ----------------------------------------------------------------------------------------


def running(customer: Tenant, partner: Tenant, **fields: Any) -> Any:
    at = now()
    dates = {"starts_at": at - timedelta(days=1), "ends_at": at + timedelta(days=100)}
    return make_relationship(customer, partner, **(dates | fields))


def test_both_sides_read_a_relationship(contoso: Tenant, gina: User) -> None:
    northwind = make_tenant(name="Northwind")
    petra = make_user(northwind, name="Petra", roles=("billing_admin",))
    made = running(contoso, northwind, users=(petra,), user_roles=("license_admin",))

    (ours,) = get(gina, "relationships").json()["items"]
    (theirs,) = get(petra, "relationships").json()["items"]
    one = get(gina, f"relationships/{made.key}").json()

    assert ours == {
        "id": str(made.key),
        "name": "Contoso administration",
        "side": "customer",
        "customer": "Contoso",
        "partner": "Northwind",
        "roles": ["billing_admin", "license_admin"],
        "running": True,
        "extends": False,
        "requestedAt": ours["requestedAt"],
        "startsAt": ours["startsAt"],
        "endsAt": ours["endsAt"],
    }
    assert theirs == ours | {"side": "partner"}
    assert one == ours | {"holders": [{"holder": "Petra", "isGroup": False, "roles": ["license_admin"]}]}


def test_those_that_run_and_those_that_are_over_are_shown_apart(contoso: Tenant, gina: User) -> None:
    now_on = running(contoso, make_tenant())
    over = running(contoso, make_tenant(), ends_at=now() - timedelta(seconds=1))
    ended = running(contoso, make_tenant(), status="ended")

    shown = {
        show: [item["id"] for item in get(gina, "relationships", show=show).json()["items"]]
        for show in ("all", "active", "ended")
    }

    assert shown["active"] == [str(now_on.key)]
    assert shown["ended"] == [str(ended.key), str(over.key)]
    assert shown["all"] == shown["ended"] + shown["active"]
    assert get(gina, "relationships", show="some").json()["field"] == "show"


def test_only_a_token_for_everything_reads_relationships(contoso: Tenant, gina: User) -> None:
    narrow = caller_with(token_of(gina, "purchases.read", "audit.read")).get(f"{BASE}/relationships")
    service = caller_with(service_token_of(gina, "full")).get(f"{BASE}/relationships")
    lisa = get(make_user(contoso, roles=("license_admin",)), "relationships")

    assert (narrow.status_code, narrow.json()["code"]) == (403, "scope_too_low")
    assert service.status_code == 200
    assert (lisa.status_code, lisa.json()["code"]) == (403, "role_too_low")


def test_relationships_of_others_do_not_exist(gina: User) -> None:
    theirs = running(make_tenant(), make_tenant())

    foreign, missing = (get(gina, f"relationships/{key}") for key in (theirs.key, uuid.uuid4()))

    assert (foreign.status_code, foreign.content) == (404, missing.content)
    assert get(gina, "relationships").json() == {"items": [], "next": None}


def test_relationships_cost_the_same_for_one_as_for_many(
    contoso: Tenant, gina: User, django_assert_num_queries: Any
) -> None:
    secret = token_of(gina)
    running(contoso, make_tenant())
    caller_with(secret).get(f"{BASE}/relationships")
    for _ in range(3):
        running(contoso, make_tenant())

    # As every list, and its 1.
    with django_assert_num_queries(14):
        caller_with(secret).get(f"{BASE}/relationships")
