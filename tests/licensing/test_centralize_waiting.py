"""Centralizing while people wait in line for a license of the same subscription (product §7.6, §10)."""

import pytest
from django.db.models import F

from commerce.models import Subscription
from config.invariants import violations
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from licensing.models import Assignment, WaitingPlace
from licensing.operations.assignments import assign_licenses
from licensing.operations.centralizing import go_on, undo_centralizing
from licensing.operations.waiting import add_to_waiting_list, serve_lines
from tests.factories import AT, actor_of, make_tenant, make_user
from tests.licensing.crowd import (
    DAY,
    buy_for,
    central_of,
    endings,
    fresh,
    give,
    holders,
    make_people,
    outcomes,
    start,
    without_access,
    work,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

LATER = AT + DAY + DAY / 8


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def bill(contoso: Tenant) -> User:
    return make_user(contoso, name="Bill Bakker", roles=("billing_admin",))


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters")


@pytest.fixture
def in_line(contoso: Tenant) -> list[User]:
    """The first three in line for a license of the target."""
    return make_people(contoso, 3, first=100)


@pytest.fixture
def target(contoso: Tenant, bill: User, in_line: list[User]) -> Subscription:
    """Two licenses, both assigned, and three people who wait for one."""
    target = central_of(bill, quantity=2)
    had = make_people(contoso, 2, first=200)
    lisa = actor_of(make_user(contoso, roles=("license_admin",)))
    assign_licenses(actor=lisa, subscription_key=target.key, user_ids=[each.pk for each in had], at=AT)
    added = add_to_waiting_list(
        actor=lisa, subscription_key=target.key, user_ids=[each.pk for each in in_line], at=AT
    )
    assert added == (3, 0)
    return target


def buy_more(target: Subscription, quantity: int) -> None:
    with tenant_atomic(target.tenant_id):
        price = quantity * F("unit_price_minor")
        Subscription.objects.filter(pk=target.pk).update(quantity=quantity, period_price_minor=price)


def line(target: Subscription) -> list[int]:
    """Who waits, in order."""
    with tenant_atomic(target.tenant_id):
        places = WaitingPlace.objects.live().filter(subscription=target).order_by("id")
        return list(places.values_list("user_id", flat=True))


def ids(people: list[User]) -> set[int]:
    return {person.pk for person in people}


def assert_counts_hold(target: Subscription) -> None:
    row = fresh(target)
    assert row.assigned == len(holders(target)) <= row.quantity


def test_the_run_first_and_then_the_line_from_what_is_left(
    contoso: Tenant, bill: User, pat: User, target: Subscription, in_line: list[User]
) -> None:
    bought = buy_for(pat, make_people(contoso, 3))
    users, had = sorted(holders(bought)), holders(target)
    buy_more(target, 7)
    run = start(bill, [bought], target)

    work()

    assert outcomes(run) == {"moved": 4}
    assert holders(target) == had | set(users)
    assert line(target) == [each.pk for each in in_line]
    assert serve_lines(at=LATER) == 1
    assert holders(target) == had | set(users) | {in_line[0].pk}
    assert line(target) == [each.pk for each in in_line[1:]]
    assert without_access(users, contoso.pk, target.product_id) == []
    assert_counts_hold(target)
    assert violations(at=LATER) == []


def test_undoing_gives_the_purchase_back_and_what_comes_free_to_the_line(
    contoso: Tenant, bill: User, pat: User, target: Subscription, in_line: list[User]
) -> None:
    bought = buy_for(pat, make_people(contoso, 3))
    users, had = holders(bought), holders(target)
    buy_more(target, 7)
    run = start(bill, [bought], target)
    work()
    serve_lines(at=LATER)

    undo_centralizing(actor=actor_of(bill), key=run.key, at=LATER)
    work(LATER)
    serve_lines(at=LATER)

    row = fresh(bought)
    assert (row.owner_user_id, row.recurring_billing, row.state) == (pat.pk, True, "active")
    assert (holders(bought), endings(run)) == (users, ["undone"])
    assert holders(target) == had | ids(in_line)
    assert line(target) == []
    assert without_access(sorted(users | ids(in_line)), contoso.pk, target.product_id) == []
    assert_counts_hold(target)
    assert violations(at=LATER) == []


def test_the_line_first_leaves_too_few_and_nobody_loses_access(
    contoso: Tenant, bill: User, pat: User, target: Subscription, in_line: list[User]
) -> None:
    bought = buy_for(pat, make_people(contoso, 3))
    users = holders(bought)
    buy_more(target, 7)
    run = start(bill, [bought], target)
    assert serve_lines(at=AT + DAY) == 3

    work()

    assert outcomes(run) == {"moved": 2, "no_seat": 2}
    assert endings(run) == ["blocked"]
    assert (fresh(bought).owner_user_id, holders(bought)) == (pat.pk, users)
    assert holders(target) >= ids(in_line)
    assert without_access(sorted(users | ids(in_line)), contoso.pk, target.product_id) == []
    assert_counts_hold(target)

    buy_more(target, 9)
    go_on(actor=actor_of(bill), key=run.key, at=LATER)
    work(LATER)

    assert (outcomes(run), endings(run)) == ({"moved": 4}, ["taken_over"])
    assert holders(target) >= users | ids(in_line)
    assert_counts_hold(target)
    assert violations(at=LATER) == []


def test_who_waits_and_works_with_the_purchase_is_moved_and_waits_no_more(
    contoso: Tenant, bill: User, pat: User, target: Subscription, in_line: list[User]
) -> None:
    bought = buy_for(pat, [], quantity=2)
    give(pat, bought, in_line[:1])
    buy_more(target, 5)
    run = start(bill, [bought], target)

    work()
    served = serve_lines(at=LATER)

    assert (outcomes(run), served) == ({"moved": 2}, 1)
    assert line(target) == [in_line[2].pk]
    with tenant_atomic(contoso.pk):
        ended = WaitingPlace.objects.filter(ended_at__isnull=False).order_by("id")
        assert list(ended.values_list("user_id", "outcome")) == [
            (in_line[0].pk, "held"),
            (in_line[1].pk, "given"),
        ]
        twice = Assignment.objects.live().filter(user=in_line[0], subscription=target)
        assert twice.count() == 1
    assert_counts_hold(target)
    assert violations(at=LATER) == []
