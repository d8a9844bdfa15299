"""Idle licenses: who counts as idle, who sees them, taking many back (product §7.6)."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from commerce.models import Subscription
from config.kit.actors import Actor
from config.kit.errors import Malformed, NotAllowed
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from licensing.models import Assignment
from licensing.operations.assignments import assign_licenses
from licensing.operations.idle import reclaim_idle
from licensing.queries.idle import idle_days, idle_licenses
from tests.factories import actor_of, client_of, make_subscription, make_tenant, make_user, plan

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _march(at: datetime) -> Any:
    with time_machine.travel(at, tick=True):
        yield


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def lisa(contoso: Tenant) -> User:
    return make_user(contoso, name="Lisa", roles=("license_admin",))


@pytest.fixture
def alice(contoso: Tenant) -> User:
    return make_user(contoso, name="Alice")


@pytest.fixture
def central(contoso: Tenant) -> Subscription:
    return make_subscription(contoso)


def hold(
    subscription: Subscription, by: User, to: User, *, assigned_at: datetime, used: date | None = None
) -> int:
    assign_licenses(actor=actor_of(by), subscription_key=subscription.key, user_ids=[to.pk], at=assigned_at)
    with tenant_atomic(subscription.tenant_id):
        row = Assignment.objects.live().get(subscription=subscription, user=to)
        Assignment.objects.filter(pk=row.pk).update(last_used_on=used)
    return row.pk


def idle_names(actor: Actor, days: int, at: datetime, product_id: int | None = None) -> list[str]:
    with tenant_atomic(actor):
        rows = idle_licenses(actor, days=days, at=at, product_id=product_id)
        return list(rows.order_by("id").values_list("user__name", flat=True))


def holders(subscription: Subscription) -> list[str]:
    with tenant_atomic(subscription.tenant_id):
        subscription.refresh_from_db()
        rows = Assignment.objects.live().filter(subscription=subscription).order_by("id")
        assert subscription.assigned == rows.count()
        return list(rows.values_list("user__name", flat=True))


def test_idle_is_counted_from_the_last_use_else_from_the_day_of_assignment(
    contoso: Tenant, lisa: User, central: Subscription, at: datetime
) -> None:
    long_ago = at - timedelta(days=100)
    today = at.date()
    cases = {
        "used 30 days ago": (long_ago, today - timedelta(days=30)),
        "used 29 days ago": (long_ago, today - timedelta(days=29)),
        "never used, given 30 days ago": (at - timedelta(days=30), None),
        "never used, given 29 days ago": (at - timedelta(days=29), None),
        "never used, given long ago": (long_ago, None),
    }
    for name, (assigned_at, used) in cases.items():
        hold(central, lisa, make_user(contoso, name=name), assigned_at=assigned_at, used=used)

    assert idle_names(actor_of(lisa), 30, at) == [
        "used 30 days ago",
        "never used, given 30 days ago",
        "never used, given long ago",
    ]
    with tenant_atomic(contoso.pk):
        rows = idle_licenses(actor_of(lisa), days=30, at=at).order_by("id")
        assert [idle_days(row, at) for row in rows] == [30, 30, 100]


def test_the_filter_narrows_to_a_product_and_ended_or_disabled_ones_are_not_there(
    contoso: Tenant, lisa: User, central: Subscription, at: datetime
) -> None:
    long_ago = at - timedelta(days=100)
    visio = make_subscription(contoso, plan=plan("visio-plan-1"))
    off = make_subscription(contoso, plan=plan("visio-plan-1"))
    hold(central, lisa, make_user(contoso, name="Power"), assigned_at=long_ago)
    hold(visio, lisa, make_user(contoso, name="Visio"), assigned_at=long_ago)
    hold(off, lisa, make_user(contoso, name="Off"), assigned_at=long_ago)
    with tenant_atomic(contoso.pk):
        Subscription.objects.filter(pk=off.pk).update(state="disabled")

    assert idle_names(actor_of(lisa), 30, at) == ["Power", "Visio"]
    assert idle_names(actor_of(lisa), 30, at, visio.product_id) == ["Visio"]


def test_a_purchaser_sees_the_idle_holders_of_the_own_purchases_alone(
    contoso: Tenant, lisa: User, alice: User, central: Subscription, at: datetime
) -> None:
    long_ago = at - timedelta(days=100)
    own = make_subscription(contoso, owner=alice)
    hold(own, alice, make_user(contoso, name="Hers"), assigned_at=long_ago)
    hold(central, lisa, alice, assigned_at=long_ago)

    assert idle_names(actor_of(alice), 30, at) == ["Hers"]
    assert idle_names(actor_of(lisa), 30, at) == ["Hers", "Alice"]


def test_many_are_taken_back_at_once_of_several_subscriptions_and_who_used_it_meanwhile_keeps_it(
    contoso: Tenant, lisa: User, central: Subscription, at: datetime
) -> None:
    long_ago = at - timedelta(days=100)
    visio = make_subscription(contoso, plan=plan("visio-plan-1"))
    people = [make_user(contoso, name=f"P{n}") for n in range(3)]
    ids = [hold(each, lisa, user, assigned_at=long_ago) for each in (central, visio) for user in people]
    with tenant_atomic(contoso.pk):
        Assignment.objects.filter(pk=ids[1]).update(last_used_on=at.date())

    done = reclaim_idle(actor=actor_of(lisa), assignment_ids=ids[:5], days=30, at=at)

    assert done == 4
    assert (holders(central), holders(visio)) == (["P1"], ["P2"])


def test_nothing_is_taken_when_one_of_them_is_not_the_actors(
    contoso: Tenant, lisa: User, alice: User, central: Subscription, at: datetime
) -> None:
    long_ago = at - timedelta(days=100)
    own = make_subscription(contoso, owner=alice)
    hers = hold(own, alice, make_user(contoso, name="Hers"), assigned_at=long_ago)
    theirs = hold(central, lisa, make_user(contoso, name="Theirs"), assigned_at=long_ago)

    with pytest.raises(NotAllowed):
        reclaim_idle(actor=actor_of(lisa), assignment_ids=[theirs, hers], days=30, at=at)
    with pytest.raises(Malformed):
        reclaim_idle(actor=actor_of(lisa), assignment_ids=[], days=30, at=at)
    stranger = actor_of(make_user(make_tenant(), roles=("global_admin",)))
    taken = reclaim_idle(actor=stranger, assignment_ids=[theirs, hers], days=30, at=at)

    assert taken == 0
    assert (holders(own), holders(central)) == (["Hers"], ["Theirs"])


def test_the_page_lists_confirms_and_takes_back(
    contoso: Tenant, lisa: User, central: Subscription, at: datetime
) -> None:
    ids = [
        hold(central, lisa, make_user(contoso, name=f"Idle {n}"), assigned_at=at - timedelta(days=100))
        for n in range(3)
    ]
    client = client_of(lisa)
    url, reclaim = reverse("portal:licenses-idle"), reverse("portal:licenses-reclaim")

    page = client.get(url, {"days": "90"}).content.decode()
    confirm = client.get(reclaim, {"days": "90", "license": ids[:2]}).content.decode()
    assert holders(central) == ["Idle 0", "Idle 1", "Idle 2"]
    answer = client.post(reclaim, {"shown_for_tenant": str(contoso.pk), "days": "90", "license": ids[:2]})

    assert "3 idle" in page
    assert "If you take 2 licenses back" in confirm
    assert (answer.status_code, answer["Location"]) == (303, f"{url}?days=90")
    assert holders(central) == ["Idle 2"]
    everybody = {"shown_for_tenant": str(contoso.pk), "days": "90", "all": "1"}
    assert "If you take 1 license back" in client.get(reclaim, {"days": "90", "all": "1"}).content.decode()
    client.post(reclaim, everybody)
    assert holders(central) == []
    assert "Everybody with a license used it within 90 days." in client.get(url).content.decode()


def test_an_admin_sees_idle_holders_of_a_purchase_and_cannot_take_from_them(
    contoso: Tenant, lisa: User, alice: User, at: datetime
) -> None:
    own = make_subscription(contoso, owner=alice)
    hers = hold(own, alice, make_user(contoso, name="Hers"), assigned_at=at - timedelta(days=100))
    client = client_of(lisa)

    page = client.get(reverse("portal:licenses-idle")).content.decode()
    confirm = client.get(reverse("portal:licenses-reclaim"), {"license": hers})
    answer = client.post(
        reverse("portal:licenses-reclaim"), {"shown_for_tenant": str(contoso.pk), "license": hers}
    )

    assert "Hers" in page
    assert 'type="checkbox"' not in page
    assert (confirm.status_code, answer.status_code) == (303, 403)
    assert holders(own) == ["Hers"]


@pytest.mark.parametrize("query", [{"days": "0"}, {"days": "x"}, {"days": "99999"}, {"product": "nope"}])
def test_a_filter_that_makes_no_sense_is_refused(lisa: User, query: dict[str, str]) -> None:
    assert client_of(lisa).get(reverse("portal:licenses-idle"), query).status_code == 422


def test_a_member_has_no_such_page(contoso: Tenant) -> None:
    assert client_of(make_user(contoso)).get(reverse("portal:licenses-idle")).status_code == 404


def test_the_page_costs_as_many_queries_however_many_are_idle(
    contoso: Tenant, lisa: User, central: Subscription, at: datetime
) -> None:
    client = client_of(lisa)
    counts = []
    for idle in (1, 6):
        for _ in range(idle):
            hold(central, lisa, make_user(contoso), assigned_at=at - timedelta(days=100))
        with CaptureQueriesContext(connection) as queries:
            client.get(reverse("portal:licenses-idle"))
        counts.append(len(queries))

    assert counts == [16, 16]
