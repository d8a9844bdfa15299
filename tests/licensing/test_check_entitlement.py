"""May this person use this product: every outcome of the one statement (product §7.4, §7.6)."""

import itertools
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from commerce.models import Subscription
from config.kit.tenancy import tenant_atomic
from directory.models import ApiToken, Group, GroupMembership, Tenant, User
from directory.operations.people import disable_user
from directory.permissions import ROLES
from licensing.entitlements import best
from licensing.models import Assignment
from licensing.operations.assignments import assign_license, unassign_licenses
from policies.operations.data import Place, Values, set_data_policy
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

ADDRESS = "/api/v1.0/entitlements"


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina", roles=("global_admin",))


@pytest.fixture
def mike(contoso: Tenant) -> User:
    return make_user(contoso, name="Mike", email="Mike@contoso.example")


@pytest.fixture
def secret(gina: User) -> str:
    return service_token_of(gina, "licenses.read")


def ask(secret: str, user: object, product: str = "power-bi-pro") -> Any:
    return caller_with(secret).get(ADDRESS, {"user": str(user), "product": product})


def give(subscription: Subscription, user: User, by: User) -> None:
    with tenant_atomic(subscription.tenant_id):
        assign_license(
            actor=actor_of(by), subscription_key=subscription.key, user_id=user.pk, at=AT, confirmed=True
        )


def row_of(user: User) -> Assignment:
    with tenant_atomic(user.tenant_id):
        return Assignment.objects.get(user=user)


def test_says_through_which_purchase_and_until_when(
    contoso: Tenant, gina: User, mike: User, secret: str
) -> None:
    central = make_subscription(contoso)
    give(central, mike, gina)

    answer = ask(secret, mike.key)

    assert answer.status_code == 200
    assert answer.json() == {
        "entitled": True,
        "reason": None,
        "userId": str(mike.key),
        "productId": product().key,
        "productName": "Power BI Pro",
        "subscriptionId": str(central.key),
        "channel": "central",
        "owner": "organization",
        "state": "active",
        "until": central.term_end.isoformat().replace("+00:00", "Z"),
        "renews": central.recurring_billing,
        "dataPolicy": {
            "service": "on",
            "externalSharing": True,
            "retentionDays": 90,
            "workspaceCreation": "holders",
            "mayCreateWorkspaces": True,
        },
    }


def say(by: User, place: Place | None = None, **values: Any) -> None:
    set_data_policy(actor=actor_of(by), place=place or Place(), values=Values(**values), at=AT)


def test_it_says_the_data_policy_for_this_product_and_person(
    contoso: Tenant, gina: User, mike: User, secret: str
) -> None:
    with tenant_atomic(contoso.pk):
        lab = Group.objects.create(tenant=contoso, name="Lab")
        GroupMembership.objects.create(tenant=contoso, group=lab, user=mike)
    say(gina, Place(product().pk, "Power BI Pro"), retention_days=30, creators="everyone")
    say(gina, Place(group_id=lab.pk), external_sharing=False)

    of_mike, of_gina = (ask(secret, user.key).json()["dataPolicy"] for user in (mike, gina))

    assert of_mike == {
        "service": "on",
        "externalSharing": False,
        "retentionDays": 30,
        "workspaceCreation": "everyone",
        "mayCreateWorkspaces": True,
    }
    assert of_gina == of_mike | {"externalSharing": True}


def test_where_admins_alone_make_workspaces_a_license_is_not_enough(
    contoso: Tenant, gina: User, mike: User, secret: str
) -> None:
    say(gina, creators="admins")
    give(make_subscription(contoso), mike, gina)

    of_mike, of_gina = (ask(secret, user.key).json()["dataPolicy"] for user in (mike, gina))

    assert (of_mike["mayCreateWorkspaces"], of_gina["mayCreateWorkspaces"]) == (False, True)


@pytest.mark.parametrize("channel", ["central", "self-service", "trial"])
def test_a_service_switched_off_is_refused_for_every_channel_and_is_no_use_of_the_license(
    contoso: Tenant, gina: User, mike: User, secret: str, channel: str
) -> None:
    owner = None if channel == "central" else mike
    subscription = make_subscription(contoso, owner=owner, channel=channel)
    give(subscription, mike, owner or gina)
    before = row_of(mike).last_used_on
    say(gina, Place(product().pk, "Power BI Pro"), service_on=False)

    answer = ask(secret, mike.key).json()

    assert (answer["entitled"], answer["reason"], answer["subscriptionId"]) == (False, "service_off", None)
    assert answer["dataPolicy"]["service"] == "off"
    assert answer["dataPolicy"]["mayCreateWorkspaces"] is False
    assert row_of(mike).last_used_on == before

    say(gina, Place(product().pk, "Power BI Pro"))
    assert ask(secret, mike.key).json()["entitled"] is True


def test_of_a_disabled_account_no_policy_is_told(
    contoso: Tenant, gina: User, mike: User, secret: str
) -> None:
    disable_user(actor=actor_of(gina), user_id=mike.pk, at=AT)

    assert ask(secret, mike.key).json()["dataPolicy"] is None


@pytest.mark.parametrize("named", ["Mike@contoso.example", "mike@contoso.example"])
def test_the_person_may_be_named_by_an_address_of_one_alone(contoso: Tenant, gina: User, named: str) -> None:
    mike = make_user(contoso, email=named)
    make_user(make_tenant(), email=named)

    assert ask(token_of(gina), named).json()["userId"] == str(mike.key)

    make_user(contoso, email=named, kind="guest")
    assert ask(token_of(gina), named).status_code == 404


def test_the_product_may_be_named_by_its_former_id_its_id_or_its_slug(gina: User, mike: User) -> None:
    apps = product("power-apps-per-user")

    for named in ("CFQ7TTC0KP0P", "CFQ7TTC0LH2H", "power-apps-per-user"):
        assert ask(token_of(gina), mike.key, named).json()["productId"] == apps.key


def test_without_a_license_it_says_so_and_gives_no_purchase(contoso: Tenant, mike: User, secret: str) -> None:
    make_subscription(contoso)

    answer = ask(secret, mike.key).json()

    assert (answer["entitled"], answer["reason"], answer["subscriptionId"]) == (False, "no_license", None)


@pytest.mark.parametrize(
    ("state", "entitled"),
    [("scheduled", False), ("active", True), ("expired", True), ("disabled", False), ("deleted", False)],
)
def test_active_and_expired_give_access_and_nothing_else_does(
    contoso: Tenant, gina: User, mike: User, secret: str, state: str, entitled: bool
) -> None:
    subscription = make_subscription(contoso)
    give(subscription, mike, gina)
    due = None if state == "deleted" else AT + timedelta(days=9)
    with tenant_atomic(contoso.pk):
        Subscription.objects.filter(pk=subscription.pk).update(state=state, due_at=due)

    answer = ask(secret, mike.key).json()

    assert answer["entitled"] is entitled
    if state == "expired":
        assert answer["until"] == (AT + timedelta(days=9)).isoformat().replace("+00:00", "Z")


def test_a_change_is_seen_by_the_next_check(contoso: Tenant, gina: User, mike: User, secret: str) -> None:
    subscription = make_subscription(contoso)
    answers = [ask(secret, mike.key).json()["reason"]]

    give(subscription, mike, gina)
    answers.append(ask(secret, mike.key).json()["reason"])
    with tenant_atomic(contoso.pk):
        unassign_licenses(actor=actor_of(gina), subscription_key=subscription.key, user_ids=[mike.pk], at=AT)
    answers.append(ask(secret, mike.key).json()["reason"])
    give(subscription, mike, gina)
    with tenant_atomic(contoso.pk):
        User.objects.filter(pk=mike.pk).update(status="disabled")
    answers.append(ask(secret, mike.key).json()["reason"])
    with tenant_atomic(contoso.pk):
        User.objects.filter(pk=mike.pk).update(status="deleted")

    assert answers == ["no_license", None, "no_license", "account_disabled"]
    assert ask(secret, mike.key).status_code == 404


def test_the_order_is_that_of_the_portal_in_every_mixture(
    contoso: Tenant, gina: User, mike: User, secret: str
) -> None:
    """Central, taken over, own, a colleague's; among equals the latest end (`licensing.entitlements.best`)."""
    yearly = plan("power-bi-pro", "yearly")
    kinds = [
        {"owner": None},
        {"owner": None, "channel": "self-service"},
        {"owner": mike},
        {"owner": gina},
    ]
    every = []
    for number, (kind, months) in enumerate(itertools.product(kinds, (1, 2))):
        end = datetime(2026, 4, 1, tzinfo=UTC) + timedelta(days=30 * months, seconds=number)
        owner = kind["owner"]
        fields = {key: value for key, value in kind.items() if key != "owner"}
        every.append(make_subscription(contoso, owner=owner, plan=yearly, term_end=end, **fields))
    order = random.Random(7).sample(every, len(every))
    with tenant_atomic(contoso.pk):
        Assignment.objects.bulk_create(
            Assignment(
                tenant_id=contoso.pk,
                subscription=each,
                user=mike,
                product_id=each.product_id,
                assigned_at=AT,
                assigned_by="test",
            )
            for each in order
        )
        Subscription.objects.filter(pk__in=[each.pk for each in every]).update(assigned=1)

    answered = []
    left = list(every)
    while left:
        key = ask(secret, mike.key).json()["subscriptionId"]
        chosen = best(left, mike.pk)
        answered.append((key, str(chosen.key) if chosen else None))
        with tenant_atomic(contoso.pk):
            Assignment.objects.filter(subscription__key=key).update(ended_at=AT)
            Subscription.objects.filter(key=key).update(assigned=0)
        left = [each for each in left if str(each.key) != key]

    assert all(ours == theirs for ours, theirs in answered)
    assert [ours for ours, _theirs in answered] == [
        str(every[number].key) for number in (1, 0, 3, 2, 5, 4, 7, 6)
    ]
    assert ask(secret, mike.key).json()["reason"] == "no_license"


# --- Who may ask ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_every_role_that_sees_licenses_may_ask_about_everybody(
    contoso: Tenant, mike: User, role: str
) -> None:
    assert ask(token_of(make_user(contoso, roles=(role,))), mike.key).status_code == 200


@pytest.mark.parametrize("fields", [{}, {"kind": "guest"}, {"purchaser_since": AT}])
def test_everybody_may_ask_about_oneself_and_others_are_not_there(
    contoso: Tenant, mike: User, fields: dict[str, Any]
) -> None:
    person = make_user(contoso, **fields)
    secret = token_of(person)

    about_me, about_mike, about_nobody = (
        ask(secret, each) for each in (person.key, mike.key, "00000000-0000-0000-0000-000000000000")
    )

    assert about_me.status_code == 200
    assert (about_mike.status_code, about_mike.content) == (404, about_nobody.content)


def test_another_organizations_person_is_not_there(secret: str) -> None:
    stranger = make_user(make_tenant())

    foreign, missing = ask(secret, stranger.key), ask(secret, "nobody@nowhere.example")

    assert (foreign.status_code, foreign.content) == (404, missing.content)


@pytest.mark.parametrize(
    "named", ["", "\0", "%", "' OR true --", "x" * 255, "00000000-0000-0000-0000-00000000000g"]
)
def test_nonsense_names_nobody_and_nothing(mike: User, secret: str, named: str) -> None:
    assert ask(secret, named).status_code in (400, 404)
    assert ask(secret, mike.key, named).status_code in (400, 404)
    assert caller_with(secret).get(ADDRESS).status_code == 400


def test_a_token_for_something_else_is_refused(gina: User, mike: User) -> None:
    answer = ask(token_of(gina, "purchases.write", "bills.read"), mike.key)

    assert (answer.status_code, answer.json()["code"]) == (403, "scope_too_low")


def test_a_disabled_persons_token_is_refused(contoso: Tenant, gina: User, mike: User) -> None:
    lisa = make_user(contoso, roles=("license_admin",))
    secret = token_of(lisa)
    disable_user(actor=actor_of(gina), user_id=lisa.pk, at=AT)

    assert ask(secret, mike.key).status_code == 401


def test_checks_have_a_limit_of_their_own(mike: User, secret: str, settings: Any) -> None:
    settings.API_PER_SECOND, settings.API_BURST, settings.ENTITLEMENTS_PER_SECOND = 0.001, 1, 3

    statuses = [ask(secret, mike.key).status_code for _ in range(5)]

    assert statuses[:3] == [200, 200, 200]
    assert 429 in statuses


# --- Cost and marks ---------------------------------------------------------------------------------------


def test_one_query_whatever_the_answer(contoso: Tenant, gina: User, mike: User, secret: str) -> None:
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            ask(secret, mike.key)
        counts.append(len(queries))
        give(make_subscription(contoso), mike, gina)

    assert counts == [1, 1]


def test_the_day_of_use_is_noted_once_a_day_and_on_the_license_that_answers(
    contoso: Tenant, gina: User, mike: User, secret: str, monkeypatch: Any
) -> None:
    give(make_subscription(contoso), mike, gina)
    before = row_of(mike).last_used_on
    monkeypatch.setattr("licensing.api.entitlements.now", lambda: AT)
    ask(secret, mike.key)
    first = row_of(mike).last_used_on
    with tenant_atomic(contoso.pk), connection.cursor() as cursor:
        cursor.execute("SELECT xmin::text FROM licensing_assignment")
        written = cursor.fetchone()
    ask(secret, mike.key)
    with tenant_atomic(contoso.pk), connection.cursor() as cursor:
        cursor.execute("SELECT xmin::text FROM licensing_assignment")
        again = cursor.fetchone()
    monkeypatch.setattr("licensing.api.entitlements.now", lambda: AT + timedelta(days=1))
    ask(secret, mike.key)

    assert (before, first) == (None, AT.date())
    assert again == written
    assert row_of(mike).last_used_on == AT.date() + timedelta(days=1)


def test_the_tokens_last_use_is_noted_at_most_once_a_minute(gina: User, mike: User, secret: str) -> None:
    def used() -> datetime | None:
        with tenant_atomic(gina.tenant_id):
            return ApiToken.objects.get().last_used_at

    before = used()
    ask(secret, mike.key)
    first = used()
    ask(secret, mike.key)

    assert before is None
    assert first is not None
    assert used() == first


@pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)
def test_whoever_holds_the_rows_does_not_hold_up_the_check() -> None:
    tenant = make_tenant()
    gina, mike = make_user(tenant, roles=("global_admin",)), make_user(tenant)
    give(make_subscription(tenant), mike, gina)
    secret = service_token_of(gina, "licenses.read")
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT set_config('seatkeeper.tenant_id', %s, true)", [str(tenant.pk)])
            cursor.execute("SELECT FROM licensing_assignment FOR UPDATE")
            cursor.execute("SELECT FROM directory_apitoken FOR UPDATE")
            answer = ask(secret, mike.key)
            cursor.execute("ROLLBACK")
    finally:
        other.close()

    assert answer.json()["entitled"] is True
    assert row_of(mike).last_used_on is None


def test_the_function_leaves_no_tenant_behind(contoso: Tenant, mike: User, secret: str) -> None:
    ask(secret, mike.key)
    ask(secret, "nobody")

    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(current_setting('seatkeeper.tenant_id', true), '')")
        assert cursor.fetchone() == ("",)
    assert not User.objects.exists()
