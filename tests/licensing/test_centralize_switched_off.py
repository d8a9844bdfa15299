"""Centralizing while a data policy has the product switched off for some of its people (product §10, §14)."""

import pytest

from commerce.models import Subscription
from config.invariants import violations
from config.kit.tenancy import tenant_atomic
from directory.models import Group, GroupMembership, JobRow, Tenant, User
from licensing.models import CentralizedPurchase
from licensing.operations.centralizing import settle_due, settling
from licensing.queries.centralizing import people_of
from policies.operations.data import Place, Values, set_data_policy
from tests.factories import AT, actor_of, client_of, make_tenant, make_user
from tests.licensing.crowd import (
    DAY,
    buy_for,
    central_of,
    dry_run,
    endings,
    fresh,
    give,
    holders,
    make_people,
    outcomes,
    start,
    work,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


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
def target(bill: User) -> Subscription:
    return central_of(bill)


def switch(contoso: Tenant, people: list[User], product_id: int, *, on: bool | None) -> None:
    """Say for a group of these people whether the product is on; None: nothing of their own any more."""
    gina = make_user(contoso, roles=("global_admin",))
    with tenant_atomic(contoso.pk):
        lab, _created = Group.objects.get_or_create(tenant=contoso, name="Lab")
        for user in people:
            GroupMembership.objects.get_or_create(tenant=contoso, group=lab, user=user)
    place = Place(product_id, "Power BI Pro", lab.pk)
    set_data_policy(actor=actor_of(gina), place=place, values=Values(service_on=on), at=AT)


def test_the_dry_run_counts_no_license_for_who_may_not_use_the_product(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    uma, guest = make_people(contoso, 2)
    bought = buy_for(pat, [uma, guest])
    with tenant_atomic(contoso.pk):
        User.objects.filter(pk=guest.pk).update(kind="guest")
    switch(contoso, [uma, guest], bought.product_id, on=False)

    found = dry_run(bill, [bought], target, at=AT + DAY)
    with tenant_atomic(contoso.pk):
        people, _after = people_of(target, [bought.pk])
    address = f"/admin/billing/centralize/check/?purchase={bought.key}&target={target.key}"
    page = client_of(bill).get(address).content.decode()

    assert {person.user_id: person.outcome for person in people} == {
        pat.pk: "moved",
        uma.pk: "service_off",
        guest.pk: "service_off",
    }
    assert (found.needed, found.stranded, found.can_run) == (1, 0, True)
    assert page.count("Switched off for them, gets none") == 2


def test_the_run_gives_them_none_and_ends_the_purchase(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    (uma,) = make_people(contoso, 1)
    bought = buy_for(pat, [uma])
    run = start(bill, [bought], target)
    switch(contoso, [uma], bought.product_id, on=False)

    work()

    assert (outcomes(run), endings(run)) == ({"moved": 1, "service_off": 1}, ["taken_over"])
    assert holders(target) == {pat.pk}
    with tenant_atomic(contoso.pk):
        row = JobRow.objects.get(code="service_off")
    assert (row.message, row.is_failed) == ("Switched off for them", False)
    assert settle_due(at=AT + 2 * DAY) == 1
    assert (fresh(bought).state, endings(run)) == ("disabled", ["ended"])
    switch(contoso, [uma], bought.product_id, on=True)
    assert violations(at=AT + 2 * DAY) == []


def test_for_whom_it_is_switched_on_again_a_central_license_comes_before_the_money(
    contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    (uma,) = make_people(contoso, 1)
    bought = buy_for(pat, [uma])
    switch(contoso, [uma], bought.product_id, on=False)
    run = start(bill, [bought], target)
    work()
    assert outcomes(run) == {"moved": 1, "service_off": 1}
    switch(contoso, [uma], bought.product_id, on=True)

    assert settle_due(at=AT + 2 * DAY) == 1

    assert outcomes(run) == {"moved": 2}
    assert holders(target) == {pat.pk, uma.pk}
    assert violations(at=AT + 2 * DAY) == []


def test_for_whom_it_is_switched_off_after_the_move_without_a_central_license_nothing_waits(
    contoso: Tenant, bill: User, pat: User
) -> None:
    target = central_of(bill, quantity=1)
    bought = buy_for(pat, [], quantity=2)
    run = start(bill, [bought], target)
    work()
    (late,) = make_people(contoso, 1, first=70)
    give(make_user(contoso, roles=("license_admin",)), fresh(bought), [late], at=AT + DAY)
    switch(contoso, [late], bought.product_id, on=False)

    assert settle_due(at=AT + 2 * DAY) == 1

    assert outcomes(run) == {"moved": 1, "service_off": 1}
    switch(contoso, [late], bought.product_id, on=True)
    assert violations(at=AT + 2 * DAY) == []


def test_a_run_that_fails_in_an_unforeseen_way_leaves_the_others_their_turn(
    monkeypatch: pytest.MonkeyPatch, contoso: Tenant, bill: User, pat: User, target: Subscription
) -> None:
    first, second = buy_for(pat, []), buy_for(make_user(contoso, name="Quin"), [])
    runs = [start(bill, [bought], target) for bought in (first, second)]
    work()
    ends = settling.end_retired

    def fail_for_the_first(**values: object) -> object:
        if values["subscription"] == first:
            raise KeyError("service_off")
        return ends(**values)  # type: ignore[arg-type]

    monkeypatch.setattr(settling, "end_retired", fail_for_the_first)

    assert settle_due(at=AT + 2 * DAY) == 1

    assert [fresh(run).state for run in runs] == ["waiting", "done"]
    monkeypatch.undo()
    assert settle_due(at=AT + 2 * DAY) == 1
    with tenant_atomic(contoso.pk):
        assert set(CentralizedPurchase.objects.values_list("state", flat=True)) == {"ended"}
