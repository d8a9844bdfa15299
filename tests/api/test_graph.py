"""License calls in the shapes of Microsoft Graph, by plain HTTP: every answer of each call (product §16)."""

import json
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings
from django.test import Client

from commerce.models import Subscription
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, Tenant, User
from directory.models.people import fold
from licensing.graph.shapes import plan_id_of
from licensing.models import Assignment
from licensing.operations.assignments import assign_license
from tests.factories import (
    AT,
    actor_of,
    caller_with,
    make_subscription,
    make_tenant,
    make_user,
    plan,
    product,
    service_token_of,
    token_of,
)

pytestmark = pytest.mark.django_db

BASE = "/api/v1.0"
NO_CHANGE = '{"addLicenses": [], "removeLicenses": []}'
NONE = "00000000-0000-4000-8000-000000000000"
UTC_INSTANT = "%Y-%m-%dT%H:%M:%SZ"


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina", email="gina@contoso.example", roles=("global_admin",))


@pytest.fixture
def lisa(contoso: Tenant) -> User:
    return make_user(contoso, name="Lisa", email="lisa@contoso.example", roles=("license_admin",))


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat", email="pat@contoso.example", purchaser_since=AT)


@pytest.fixture
def mike(contoso: Tenant) -> User:
    return make_user(contoso, name="Mike", email="mike@contoso.example")


def get(user: User, path: str, **params: Any) -> Any:
    return caller_with(token_of(user)).get(f"{BASE}/{path}", params)


def send(secret: str, path: str, body: Any, **headers: str) -> Any:
    text = body if isinstance(body, str) else json.dumps(body)
    return caller_with(secret).post(f"{BASE}/{path}", text, content_type="application/json", headers=headers)


def assign(
    user: User, who: User | str, *add: str, remove: tuple[str, ...] = (), disabled: tuple[str, ...] = ()
) -> Any:
    """Products by their slugs."""
    name = who if isinstance(who, str) else str(who.key)
    body = {
        "addLicenses": [{"skuId": sku(slug), "disabledPlans": list(disabled)} for slug in add],
        "removeLicenses": [sku(slug) for slug in remove],
    }
    return send(token_of(user), f"users/{name}/assignLicense", body)


def sku(slug: str = "power-bi-pro") -> str:
    return str(product(slug).sku_id)


def held_by(person: User) -> list[uuid.UUID]:
    """The purchases of which somebody holds a license."""
    with tenant_atomic(person.tenant_id):
        rows = Assignment.objects.live().filter(user=person).order_by("id")
        return list(rows.values_list("subscription__key", flat=True))


def give(subscription: Subscription, person: User, by: User) -> None:
    with tenant_atomic(person.tenant_id):
        assign_license(
            actor=actor_of(by), subscription_key=subscription.key, user_id=person.pk, at=AT, confirmed=True
        )


def error_of(answer: Any) -> str:
    """The code of an error, which has Graph's form and no other."""
    assert answer["Content-Type"] == "application/json"
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message"}
    assert body["error"]["message"]
    return body["error"]["code"]


# --- What the organization has ----------------------------------------------------------------------------


def test_all_purchases_of_a_product_are_one_sku(contoso: Tenant, gina: User, pat: User, mike: User) -> None:
    central = make_subscription(contoso, quantity=5)
    own = make_subscription(contoso, owner=pat, quantity=3, state="expired")
    disabled = make_subscription(contoso, quantity=7, state="disabled", disabled_reason="ended")
    canceled = make_subscription(contoso, quantity=11, state="disabled", disabled_reason="canceled")
    make_subscription(contoso, quantity=100, state="deleted", due_at=None)
    make_subscription(contoso, quantity=100, state="scheduled")
    make_subscription(make_tenant(), quantity=100)
    give(central, mike, gina)

    (one,) = get(gina, "subscribedSkus").json()["value"]

    bi = product()
    assert one == {
        "id": f"{contoso.key}_{bi.sku_id}",
        "accountId": str(contoso.key),
        "accountName": "Contoso",
        "appliesTo": "User",
        "capabilityStatus": "Enabled",
        "consumedUnits": 1,
        "prepaidUnits": {"enabled": 5, "warning": 3, "suspended": 7, "lockedOut": 11},
        "servicePlans": [
            {
                "servicePlanId": str(plan_id_of(bi.sku_id)),
                "servicePlanName": bi.sku_part_number,
                "provisioningStatus": "Success",
                "appliesTo": "User",
            }
        ],
        "skuId": str(bi.sku_id),
        "skuPartNumber": bi.sku_part_number,
        "subscriptionIds": [str(row.key) for row in (central, own, disabled, canceled)],
    }


@pytest.mark.parametrize(
    ("fields", "status", "provisioning"),
    [
        ({}, "Enabled", "Success"),
        ({"state": "expired"}, "Warning", "Success"),
        ({"state": "disabled", "disabled_reason": "unpaid"}, "Suspended", "Disabled"),
        ({"state": "disabled", "disabled_reason": "canceled"}, "LockedOut", "Disabled"),
    ],
)
def test_a_state_has_graphs_name(
    contoso: Tenant, gina: User, fields: dict[str, str], status: str, provisioning: str
) -> None:
    key = make_subscription(contoso, **fields).key

    (one,) = get(gina, "subscribedSkus").json()["value"]
    (row,) = get(gina, "directory/subscriptions").json()["value"]

    assert (one["capabilityStatus"], row["status"]) == (status, status)
    assert one["servicePlans"][0]["provisioningStatus"] == provisioning
    assert row["serviceStatus"] == one["servicePlans"]
    assert get(gina, f"directory/subscriptions/{key}").json() == row


def test_a_purchaser_sees_the_own_purchases_alone(contoso: Tenant, pat: User, mike: User) -> None:
    own = make_subscription(contoso, owner=pat)
    other = make_subscription(contoso)

    (one,) = get(pat, "subscribedSkus").json()["value"]
    (row,) = get(pat, "directory/subscriptions").json()["value"]

    assert one["subscriptionIds"] == [row["id"]] == [str(own.key)]
    assert get(pat, f"directory/subscriptions/{other.key}").status_code == 404
    assert get(mike, "subscribedSkus").json() == {"value": []}
    assert get(mike, "directory/subscriptions").json() == {"value": []}


def test_a_purchase_is_a_company_subscription(contoso: Tenant, lisa: User, pat: User) -> None:
    own = make_subscription(contoso, owner=pat, channel="trial", quantity=4)
    central = make_subscription(contoso, state="expired", due_at=datetime(2026, 5, 1, 12, tzinfo=UTC))

    rows = {row["id"]: row for row in get(lisa, "directory/subscriptions").json()["value"]}

    assert rows[str(own.key)] == {
        "id": str(own.key),
        "commerceSubscriptionId": str(own.key),
        "createdDateTime": own.created_at.strftime(UTC_INSTANT),
        "nextLifecycleDateTime": own.term_end.strftime(UTC_INSTANT),
        "isTrial": True,
        "ownerId": str(pat.key),
        "ownerTenantId": None,
        "ownerType": "User",
        "serviceStatus": rows[str(own.key)]["serviceStatus"],
        "skuId": sku(),
        "skuPartNumber": product().sku_part_number,
        "status": "Enabled",
        "totalLicenses": 4,
    }
    theirs = rows[str(central.key)]
    assert (theirs["ownerId"], theirs["ownerType"], theirs["isTrial"]) == (None, None, False)
    assert theirs["nextLifecycleDateTime"] == "2026-05-01T12:00:00Z"


def test_one_that_is_deleted_is_found_when_asked_for(contoso: Tenant, gina: User) -> None:
    gone = make_subscription(contoso, state="deleted", due_at=None)
    later = make_subscription(contoso, state="scheduled")

    (row,) = get(gina, "directory/subscriptions", **{"$filter": "status eq 'Deleted'"}).json()["value"]

    assert (row["id"], row["status"], row["nextLifecycleDateTime"]) == (str(gone.key), "Deleted", None)
    assert get(gina, f"directory/subscriptions/{gone.key}").json() == row
    assert get(gina, f"directory/subscriptions/{later.key}").status_code == 404
    assert get(gina, "subscribedSkus").json() == {"value": []}


@pytest.mark.parametrize(
    ("asked", "which"),
    [
        ("ownerType eq 'User'", {"own", "visio"}),
        ("ownerType eq 'Nobody'", set()),
        ("isTrial eq true", {"visio"}),
        ("isTrial eq false", {"own", "central"}),
        ("skuId eq '{bi}'", {"own", "central"}),
        ("skuId eq {bi}", {"own", "central"}),
        ("skuPartNumber eq '{part}' and ownerType eq 'User'", {"own"}),
        ("ownerId eq '{pat}'", {"own", "visio"}),
        ("status eq 'Warning'", {"central"}),
        ("  status eq 'Enabled'  and  isTrial eq false ", {"own"}),
        ("id eq '{central}'", {"central"}),
    ],
)
def test_purchases_are_filtered(contoso: Tenant, gina: User, pat: User, asked: str, which: set[str]) -> None:
    made = {
        "own": make_subscription(contoso, owner=pat),
        "central": make_subscription(contoso, state="expired"),
        "visio": make_subscription(contoso, owner=pat, plan=plan("visio-plan-1"), channel="trial"),
    }
    bi = product()
    text = asked.format(bi=bi.sku_id, part=bi.sku_part_number, pat=pat.key, central=made["central"].key)

    rows = get(gina, "directory/subscriptions", **{"$filter": text}).json()["value"]

    assert {row["id"] for row in rows} == {str(made[name].key) for name in which}


# --- People -----------------------------------------------------------------------------------------------


def test_a_person_by_id_by_user_name_and_by_address(contoso: Tenant, gina: User) -> None:
    anna = make_user(
        contoso,
        name="Anna Berg",
        given_name="Anna",
        family_name="Berg",
        email="anna.berg@contoso.example",
        user_name="ABerg@corp.example",
        language="nl",
        source="on_premises",
        status="disabled",
    )

    answers = [
        get(gina, f"users/{name}").json()
        for name in (anna.key, "aberg@CORP.example", "anna.berg@contoso.example", "Anna.Berg@contoso.example")
    ]

    assert answers == [answers[0]] * 4
    assert answers[0] == {
        "id": str(anna.key),
        "displayName": "Anna Berg",
        "givenName": "Anna",
        "surname": "Berg",
        "mail": "anna.berg@contoso.example",
        "userPrincipalName": "ABerg@corp.example",
        "accountEnabled": False,
        "userType": "Member",
        "preferredLanguage": "nl",
        "createdDateTime": AT.strftime(UTC_INSTANT),
        "onPremisesSyncEnabled": True,
    }


def test_a_name_of_two_is_nobodys_and_a_user_name_comes_before_an_address(
    contoso: Tenant, gina: User
) -> None:
    make_user(contoso, email="shared@contoso.example")
    second = make_user(contoso, email="shared@contoso.example", user_name="second@contoso.example")
    make_user(contoso, email="second@contoso.example")

    assert get(gina, "users/shared@contoso.example").status_code == 404
    assert get(gina, "users/second@contoso.example").json()["id"] == str(second.key)


@pytest.mark.parametrize("name", ["nobody@contoso.example", "me", "%00", "x" * 400, NONE, "%20"])
def test_who_is_not_there_is_404(gina: User, name: str) -> None:
    for path in (f"users/{name}", f"users/{name}/licenseDetails"):
        answer = get(gina, path)
        assert (answer.status_code, error_of(answer)) == (404, "Request_ResourceNotFound")


def test_a_deleted_account_is_nobody(contoso: Tenant, gina: User) -> None:
    gone = make_user(contoso, status="deleted", deleted_at=AT)

    assert get(gina, f"users/{gone.key}").status_code == 404
    assert assign(gina, gone).status_code == 404
    assert str(gone.key) not in get(gina, "users").content.decode()


def test_a_purchaser_looks_a_colleague_up_and_sees_name_and_addresses(pat: User, mike: User) -> None:
    colleague, own = get(pat, f"users/{mike.key}").json(), get(pat, f"users/{pat.key}").json()

    assert (colleague["displayName"], colleague["mail"]) == ("Mike", "mike@contoso.example")
    assert (colleague["accountEnabled"], colleague["createdDateTime"], colleague["userType"]) == (None,) * 3
    assert (own["accountEnabled"], own["userType"]) == (True, "Member")
    assert get(pat, f"users/{mike.key}", **{"$select": "assignedLicenses"}).json() == {
        "assignedLicenses": None
    }


def test_everybody_is_listed_by_name_page_by_page_in_either_direction(contoso: Tenant, gina: User) -> None:
    _many(contoso, 7)
    caller = caller_with(token_of(gina))
    pages = []
    address = f"{BASE}/users?$top=3&$select=displayName&$filter=startswith(displayName,'person')"
    while address:
        answer = caller.get(address).json()
        pages.append([row["displayName"] for row in answer["value"]])
        link = answer.get("@odata.nextLink", "")
        assert not link or link.startswith(f"{settings.PUBLIC_URL}{BASE}/users?")
        address = link.removeprefix(settings.PUBLIC_URL)
    falling = get(gina, "users", **{"$orderby": "displayName desc", "$top": "2", "$select": "displayName"})

    assert pages == [[f"Person {n}" for n in numbers] for numbers in ([0, 1, 2], [3, 4, 5], [6])]
    assert [row["displayName"] for row in falling.json()["value"]] == ["Person 6", "Person 5"]
    assert parse_qs(urlsplit(falling.json()["@odata.nextLink"]).query).keys() == {
        "$orderby", "$top", "$select", "$skiptoken"
    }  # fmt: skip


def _many(tenant: Tenant, number: int) -> list[User]:
    with tenant_atomic(tenant.pk):
        return User.objects.bulk_create(
            User(
                tenant=tenant,
                name=f"Person {n}",
                sort_name=fold(f"Person {n}"),
                email=f"p{n}@x.example",
                created_at=AT,
            )
            for n in range(number)
        )


@pytest.mark.parametrize(
    ("asked", "who"),
    [
        ("mail eq 'o''hara@contoso.example'", {"Sean O'Hara"}),
        ("mail eq 'O''Hara@contoso.example'", {"Sean O'Hara"}),
        ("userPrincipalName eq 'SEAN'", {"Sean O'Hara"}),
        ("userPrincipalName eq 'zoe@contoso.example'", {"Zoë"}),
        ("displayName eq 'zoe'", {"Zoë"}),
        ("startswith(displayName,'S')", {"Sean O'Hara"}),
        ("startswith(displayName,'%')", set()),
        ("accountEnabled eq false", {"Zoë"}),
        ("accountEnabled eq true and userType eq 'Guest'", {"Sean O'Hara"}),
        ("userType eq 'Robot'", set()),
    ],
)
def test_people_are_filtered(contoso: Tenant, gina: User, asked: str, who: set[str]) -> None:
    make_user(
        contoso,
        name="Sean O'Hara",
        email="o'hara@contoso.example",
        user_name="sean",
        kind="guest",
    )
    make_user(contoso, name="Zoë", email="zoe@contoso.example", status="disabled")

    rows = get(gina, "users", **{"$filter": asked}).json()["value"]

    assert {row["displayName"] for row in rows} == who


def test_licenses_come_with_people_where_they_are_selected(
    contoso: Tenant, gina: User, pat: User, mike: User
) -> None:
    give(make_subscription(contoso), mike, gina)
    give(make_subscription(contoso, owner=pat), mike, pat)
    give(make_subscription(contoso, plan=plan("visio-plan-1")), mike, gina)

    rows = get(gina, "users", **{"$select": "id,assignedLicenses"}).json()["value"]
    usual = get(gina, f"users/{mike.key}").json()

    held = {row["id"]: row["assignedLicenses"] for row in rows}
    assert held[str(mike.key)] == [
        {"skuId": sku(slug), "disabledPlans": []} for slug in ("power-bi-pro", "visio-plan-1")
    ]
    assert held[str(pat.key)] == []
    assert {tuple(row) for row in rows} == {("id", "assignedLicenses")}
    assert "assignedLicenses" not in usual


# --- What somebody holds ----------------------------------------------------------------------------------


def test_what_somebody_holds_is_there_once_by_product(
    contoso: Tenant, gina: User, pat: User, mike: User
) -> None:
    bi = make_subscription(contoso)
    give(bi, mike, gina)
    give(make_subscription(contoso, owner=pat), mike, pat)
    visio = make_subscription(contoso, plan=plan("visio-plan-1"))
    give(visio, mike, gina)
    with tenant_atomic(contoso.pk):
        Subscription.objects.filter(pk__in=[bi.pk, visio.pk]).update(
            state="disabled", disabled_reason="unpaid"
        )

    rows = get(gina, f"users/{mike.key}/licenseDetails").json()["value"]

    assert [(row["skuId"], row["servicePlans"][0]["provisioningStatus"]) for row in rows] == [
        (sku(), "Success"),
        (sku("visio-plan-1"), "Disabled"),
    ]
    assert rows[0]["id"] == f"{mike.key}_{sku()}"
    assert rows[0]["skuPartNumber"] == product().sku_part_number
    assert set(rows[0]) == {"id", "skuId", "skuPartNumber", "servicePlans"}
    assert get(mike, f"users/{mike.key}/licenseDetails").json()["value"] == rows


def test_a_purchaser_sees_of_others_what_comes_from_the_own_purchases(
    contoso: Tenant, gina: User, pat: User, mike: User
) -> None:
    give(make_subscription(contoso, plan=plan("visio-plan-1")), mike, gina)
    give(make_subscription(contoso, owner=pat), mike, pat)

    rows = get(pat, f"users/{mike.key}/licenseDetails", **{"$select": "skuId"}).json()["value"]

    assert rows == [{"skuId": sku()}]
    assert get(mike, f"users/{pat.key}/licenseDetails").status_code == 404


# --- Giving and taking ------------------------------------------------------------------------------------


def test_a_license_is_given_seen_and_taken_back(contoso: Tenant, lisa: User, mike: User) -> None:
    subscription = make_subscription(contoso)

    given = assign(lisa, mike, "power-bi-pro")
    held = held_by(mike)
    taken = assign(lisa, "mike@contoso.example", remove=("power-bi-pro",))

    assert (given.status_code, given.json()["id"]) == (200, str(mike.key))
    assert held == [subscription.key]
    assert (taken.status_code, held_by(mike)) == (200, [])
    with tenant_atomic(contoso.pk):
        entries = AuditEntry.objects.filter(code__startswith="licensing.").order_by("id")
        codes = entries.values_list("code", "door", "actor_user_id")
        assert list(codes) == [
            ("licensing.license.assigned", "api", lisa.pk),
            ("licensing.license.unassigned", "api", lisa.pk),
        ]
        assert Subscription.objects.get(pk=subscription.pk).assigned == 0


def test_the_same_call_again_changes_nothing(contoso: Tenant, gina: User, mike: User) -> None:
    make_subscription(contoso, quantity=1)

    answers = [assign(gina, mike, "power-bi-pro", remove=("visio-plan-1",)) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200] * 3
    assert answers[0].json() == answers[2].json()
    assert len(held_by(mike)) == 1
    assert [assign(gina, mike, remove=("power-bi-pro",)).status_code for _ in range(2)] == [200, 200]
    assert held_by(mike) == []


def test_who_has_the_product_from_a_colleague_gets_no_second_license(
    contoso: Tenant, lisa: User, pat: User, mike: User
) -> None:
    colleagues = make_subscription(contoso, owner=pat)
    give(colleagues, mike, pat)
    make_subscription(contoso)

    assert assign(lisa, mike, "power-bi-pro").status_code == 200
    assert held_by(mike) == [colleagues.key]


def test_a_license_that_gives_no_access_counts_for_none(contoso: Tenant, gina: User, mike: User) -> None:
    old = make_subscription(contoso)
    give(old, mike, gina)
    with tenant_atomic(contoso.pk):
        Subscription.objects.filter(pk=old.pk).update(state="disabled", disabled_reason="ended")
    new = make_subscription(contoso)

    assert assign(gina, mike, "power-bi-pro").status_code == 200
    assert held_by(mike) == [old.key, new.key]
    assert assign(gina, mike, remove=("power-bi-pro",)).status_code == 200
    assert held_by(mike) == []


def test_seats_are_taken_in_the_order_of_product_7_4(contoso: Tenant, gina: User) -> None:
    """Central, then taken over, then the own; the latest end first; those with a free seat alone."""
    with tenant_atomic(contoso.pk):
        User.objects.filter(pk=gina.pk).update(purchaser_since=AT)
    later = datetime(2027, 1, 1, tzinfo=UTC)
    own = make_subscription(contoso, owner=gina, quantity=1, term_end=datetime(2029, 1, 1, tzinfo=UTC))
    taken_over = make_subscription(contoso, channel="self-service", quantity=1, term_end=later)
    central = make_subscription(contoso, quantity=1)
    central_later = make_subscription(contoso, quantity=1, term_end=later)
    people = _many(contoso, 5)

    answers = [assign(gina, person, "power-bi-pro") for person in people]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 400]
    assert [held_by(person) for person in people] == [
        [central_later.key],
        [central.key],
        [taken_over.key],
        [own.key],
        [],
    ]


def test_a_purchaser_assigns_of_what_is_own_and_an_admin_of_what_is_the_organizations(
    contoso: Tenant, lisa: User, pat: User, mike: User
) -> None:
    own = make_subscription(contoso, owner=pat)

    refused = assign(lisa, mike, "power-bi-pro")
    given = assign(pat, mike, "power-bi-pro")

    assert (refused.status_code, error_of(refused)) == (403, "Authorization_RequestDenied")
    assert (given.status_code, given.json()["accountEnabled"]) == (200, None)
    assert held_by(mike) == [own.key]
    taken = assign(lisa, mike, remove=("power-bi-pro",))
    assert (taken.status_code, held_by(mike)) == (403, [own.key])


def test_a_token_of_the_organization_assigns_what_is_the_organizations(
    contoso: Tenant, gina: User, pat: User, mike: User
) -> None:
    make_subscription(contoso, owner=pat)
    secret = service_token_of(gina, "licenses.write")
    body = {"addLicenses": [{"skuId": sku(), "disabledPlans": []}], "removeLicenses": []}

    before = send(secret, f"users/{mike.key}/assignLicense", body)
    central = make_subscription(contoso)
    after = send(secret, f"users/{mike.key}/assignLicense", body)

    assert (before.status_code, after.status_code) == (403, 200)
    assert held_by(mike) == [central.key]


def test_all_of_a_call_or_nothing(contoso: Tenant, gina: User, mike: User) -> None:
    bi = make_subscription(contoso)
    give(bi, mike, gina)
    make_subscription(contoso, plan=plan("visio-plan-1"))
    full = make_subscription(contoso, plan=plan("visio-plan-2"), quantity=1)
    give(full, make_user(contoso), gina)

    answer = assign(gina, mike, "visio-plan-1", "visio-plan-2", remove=("power-bi-pro",))

    assert (answer.status_code, error_of(answer)) == (400, "Request_BadRequest")
    assert held_by(mike) == [bi.key]
    with tenant_atomic(contoso.pk):
        assert not AuditEntry.objects.filter(door="api").exists()
    swapped = assign(gina, mike, "visio-plan-1", remove=("power-bi-pro",))
    assert (swapped.status_code, bi.key in held_by(mike), len(held_by(mike))) == (200, False, 1)


def test_no_seat_is_left(contoso: Tenant, gina: User, mike: User) -> None:
    make_subscription(contoso, quantity=1)
    assert assign(gina, gina, "power-bi-pro").status_code == 200

    answer = assign(gina, mike, "power-bi-pro")

    assert (answer.status_code, error_of(answer)) == (400, "Request_BadRequest")
    assert "No license is left" in answer.json()["error"]["message"]


def test_no_more_than_the_renewal_leaves_are_given(contoso: Tenant, gina: User, mike: User) -> None:
    make_subscription(contoso, quantity=3, next_quantity=1)
    assert assign(gina, gina, "power-bi-pro").status_code == 200

    answer = assign(gina, mike, "power-bi-pro")

    assert answer.status_code == 400
    assert "Fewer licenses are scheduled" in answer.json()["error"]["message"]


@pytest.mark.parametrize("state", ["disabled", "scheduled", "deleted"])
def test_what_is_not_active_or_expired_gives_none(
    contoso: Tenant, gina: User, mike: User, state: str
) -> None:
    make_subscription(contoso, state=state, due_at=None if state == "deleted" else AT)

    answer = assign(gina, mike, "power-bi-pro")

    assert (answer.status_code, held_by(mike)) == (400, [])


@pytest.mark.parametrize("fields", [{"kind": "guest"}, {"status": "disabled"}])
def test_who_cannot_hold_one_gets_none(contoso: Tenant, gina: User, fields: dict[str, str]) -> None:
    make_subscription(contoso)
    person = make_user(contoso, **fields)

    answer = assign(gina, person, "power-bi-pro")

    assert (answer.status_code, error_of(answer), held_by(person)) == (400, "Request_BadRequest", [])


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"addLicenses": null}',
        '{"addLicenses": {}}',
        '{"addLicenses": [{"disabledPlans": []}]}',
        '{"addLicenses": [{"skuId": 7}]}',
        '{"addLicenses": [{"skuId": "power-bi-pro"}]}',
        '{"addLicenses": [{"skuId": "NONE"}]}',
        '{"removeLicenses": ["NONE"]}',
        '{"removeLicenses": ["\\u0000"]}',
        '{"removeLicenses": [{}]}',
        '{"addLicenses": [{"skuId": "BI"}, {"skuId": "BI"}]}',
        '{"addLicenses": [{"skuId": "BI"}], "removeLicenses": ["BI"]}',
        '{"addLicenses": [{"skuId": "BI", "disabledPlans": ["NONE"]}]}',
        '{"addLicenses": [{"skuId": "BI", "disabledPlans": ["PLAN"]}]}',
        '{"addLicenses": [{"skuId": "BI", "disabledPlans": ["x"]}]}',
        '{"addLicenses": [{"skuId": "BI", "disabledPlans": "PLAN"}]}',
    ],
)
def test_a_body_that_cannot_be_used_is_400_and_changes_nothing(
    contoso: Tenant, gina: User, mike: User, body: str
) -> None:
    make_subscription(contoso)
    text = body.replace("NONE", NONE).replace("BI", sku()).replace("PLAN", str(plan_id_of(product().sku_id)))

    answer = send(token_of(gina), f"users/{mike.key}/assignLicense", text)

    assert (answer.status_code, error_of(answer)) == (400, "Request_BadRequest")
    assert held_by(mike) == []


@pytest.mark.parametrize(
    "body",
    [
        '{"addLicenses": [], "removeLicenses": []}',
        '{"removeLicenses": []}',
        '{"addLicenses": [{"skuId": "BI", "disabledPlans": null, "@odata.type": "#x"}]}',
        '{"addLicenses": [{"skuId": "BI"}], "more": 1}',
    ],
)
def test_what_clients_leave_out_or_add_is_taken(contoso: Tenant, gina: User, mike: User, body: str) -> None:
    make_subscription(contoso)

    answer = send(token_of(gina), f"users/{mike.key}/assignLicense", body.replace("BI", sku()))

    assert answer.status_code == 200
    assert len(held_by(mike)) == body.count("BI")


def test_a_repeated_key_is_answered_as_before(contoso: Tenant, gina: User, mike: User) -> None:
    make_subscription(contoso)
    secret = token_of(gina)
    address = f"users/{mike.key}/assignLicense"
    body = {"addLicenses": [{"skuId": sku()}]}

    first = send(secret, address, body, **{"Idempotency-Key": "k1"})
    again = send(secret, address, body, **{"Idempotency-Key": "k1"})
    other = send(secret, address, {"removeLicenses": [sku()]}, **{"Idempotency-Key": "k1"})

    assert again.content == first.content
    assert again["Idempotent-Replayed"] == "true"
    assert (other.status_code, error_of(other)) == (422, "Request_BadRequest")


# --- Errors and other organizations -----------------------------------------------------------------------

CALLS = [
    ("GET", "subscribedSkus"),
    ("GET", "directory/subscriptions"),
    ("GET", "directory/subscriptions/{purchase}"),
    ("GET", "users"),
    ("GET", "users/{person}"),
    ("GET", "users/{person}/licenseDetails"),
    ("POST", "users/{person}/assignLicense"),
]


def call(client: Client, method: str, path: str, **facts: Any) -> Any:
    return client.generic(
        method, f"{BASE}/{path.format(**facts)}", NO_CHANGE, content_type="application/json"
    )


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_without_a_token_or_scope_or_role_each_call_says_so_as_graph_does(
    contoso: Tenant, gina: User, method: str, path: str
) -> None:
    facts = {"purchase": make_subscription(contoso).key, "person": gina.key}

    nobody = call(Client(), method, path, **facts)
    elsewhere = call(caller_with(token_of(gina, "bills.read")), method, path, **facts)
    other_method = caller_with(token_of(gina)).delete(f"{BASE}/{path.format(**facts)}")

    assert (nobody.status_code, error_of(nobody)) == (401, "InvalidAuthenticationToken")
    assert nobody["WWW-Authenticate"] == "Bearer"
    assert (elsewhere.status_code, error_of(elsewhere)) == (403, "Authorization_RequestDenied")
    assert (other_method.status_code, error_of(other_method)) == (405, "Request_BadRequest")
    assert other_method["Allow"] == method
    assert nobody["x-ms-correlation-id"]


def test_reading_is_not_writing_and_writing_is_not_reading_people(
    contoso: Tenant, gina: User, mike: User
) -> None:
    reader, writer = (
        caller_with(token_of(gina, "licenses.read")),
        caller_with(token_of(gina, "licenses.write")),
    )

    assert call(reader, "POST", CALLS[-1][1], person=mike.key).status_code == 403
    assert call(writer, "POST", CALLS[-1][1], person=mike.key).status_code == 200
    assert call(caller_with(token_of(mike)), "GET", "users").status_code == 403


@pytest.mark.parametrize(("method", "path"), [entry for entry in CALLS if "{" in entry[1]])
def test_what_is_another_organizations_does_not_exist(
    contoso: Tenant, gina: User, method: str, path: str
) -> None:
    fabrikam = make_tenant(name="Fabrikam")
    stranger = make_user(fabrikam, email="stranger@fabrikam.example")
    theirs = {"purchase": make_subscription(fabrikam).key, "person": stranger.key}
    missing = {"purchase": uuid.uuid4(), "person": uuid.uuid4()}
    client = caller_with(token_of(gina))

    foreign, absent = (call(client, method, path, **facts) for facts in (theirs, missing))
    by_address = call(client, method, path, purchase=uuid.uuid4(), person=stranger.email)

    assert [answer.status_code for answer in (foreign, absent, by_address)] == [404] * 3
    assert foreign.content == absent.content == by_address.content
    assert error_of(foreign) == "Request_ResourceNotFound"


def test_no_seats_of_another_organization_are_seen_or_given(contoso: Tenant, gina: User, mike: User) -> None:
    make_subscription(make_tenant())

    answer = assign(gina, mike, "power-bi-pro")

    assert get(gina, "subscribedSkus").json() == {"value": []}
    assert (answer.status_code, held_by(mike)) == (400, [])


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("subscribedSkus", {"$top": "5"}),
        ("subscribedSkus", {"$filter": "skuId eq 'x'"}),
        ("subscribedSkus", {"$select": "prepaidUnits,price"}),
        ("directory/subscriptions", {"$orderby": "status"}),
        ("directory/subscriptions", {"$select": "price"}),
        ("directory/subscriptions", {"$filter": "status eq 'Late'"}),
        ("directory/subscriptions", {"$filter": "isTrial eq 'yes'"}),
        ("directory/subscriptions", {"$filter": "skuId eq 'x'"}),
        ("directory/subscriptions", {"$skiptoken": "x"}),
        ("users", {"$top": "0"}),
        ("users", {"$top": "1000"}),
        ("users", {"$top": "x"}),
        ("users", {"$search": "a"}),
        ("users", {"$count": "true"}),
        ("users", {"$expand": "manager"}),
        ("users", {"$select": "id,"}),
        ("users", {"$select": "department"}),
        ("users", {"$orderby": "mail"}),
        ("users", {"$skiptoken": "WyJmIiwxXQ"}),
        ("users", {"$filter": "department eq 'x'"}),
        ("users", {"$filter": "mail ne 'x'"}),
        ("users", {"$filter": "mail eq 'x' or mail eq 'y'"}),
        ("users", {"$filter": "mail eq 'x' and"}),
        ("users", {"$filter": "mail eq 'x' mail eq 'y'"}),
        ("users", {"$filter": "mail eq true"}),
        ("users", {"$filter": "mail eq '\0'"}),
        ("users", {"$filter": "startswith(mail,'x')"}),
        ("users", {"$filter": "(" * 900}),
        ("users", {"$filter": "x" * 1_001}),
        ("users/{gina}", {"$expand": "manager"}),
        ("users/{gina}", {"$select": "manager"}),
        ("users/{gina}/licenseDetails", {"$top": "5"}),
        ("users/{gina}/licenseDetails", {"$select": "x"}),
    ],
)
def test_an_option_that_is_not_there_is_refused(gina: User, path: str, options: dict[str, str]) -> None:
    answer = get(gina, path.format(gina=gina.key), **options)

    assert (answer.status_code, error_of(answer)) == (400, "Request_BadRequest")


@pytest.mark.parametrize("prefix", ["/v1.0", "/api/v1", "/api/v1.0"])
def test_the_calls_answer_where_a_graph_client_looks(contoso: Tenant, gina: User, prefix: str) -> None:
    make_subscription(contoso)
    caller = caller_with(token_of(gina))

    assert len(caller.get(f"{prefix}/subscribedSkus").json()["value"]) == 1
    assert caller.get(f"{prefix}/users/{gina.key}").json()["displayName"] == "Gina"
    missing = caller.get(f"{prefix}/users/{gina.key}/manager")
    assert (missing.status_code, error_of(missing)) == (404, "Request_ResourceNotFound")


def test_the_limit_answers_as_graph_does(gina: User, settings: Any) -> None:
    settings.API_PER_SECOND, settings.API_BURST = 0.1, 1
    caller = caller_with(token_of(gina))

    answers = [caller.get(f"{BASE}/users") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 429]
    assert error_of(answers[1]) == "TooManyRequests"
    assert int(answers[1]["Retry-After"]) >= 1


# --- What it costs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "queries"),
    [
        ("subscribedSkus", 2),
        ("directory/subscriptions", 1),
        ("users?$select=id,assignedLicenses", 2),
        ("users/{mike}/licenseDetails", 2),
    ],
)
def test_a_list_costs_the_same_for_one_as_for_many(
    contoso: Tenant,
    gina: User,
    mike: User,
    path: str,
    queries: int,
    django_assert_num_queries: Any,
) -> None:
    secret = token_of(gina)
    address = f"{BASE}/{path.format(mike=mike.key)}"
    give(make_subscription(contoso), mike, gina)
    caller_with(secret).get(address)
    for slug in ("visio-plan-1", "visio-plan-2", "power-apps-per-user"):
        owner = make_user(contoso, purchaser_since=AT)
        give(make_subscription(contoso, owner=owner, plan=plan(slug)), mike, owner)

    # The token's tenant 1; token, organization, roles and last use in a block 8; the call's block 4; then its own.
    with django_assert_num_queries(13 + queries):
        assert caller_with(secret).get(address).status_code == 200
