"""Licenses by group: who gets one, who loses it, who goes without and why (product §7.3; docs/bulk.md)."""

import re
from datetime import datetime
from typing import Any

import pytest
import time_machine
from django.db import OperationalError, transaction
from django.urls import reverse

from commerce.models import Subscription
from config.kit.actors import Actor
from config.kit.errors import NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry, Group, GroupMembership, Tenant, User
from directory.operations.groups import remove_member
from directory.operations.people import add_member, create_group, disable_user, enable_user
from licensing.models import Assignment, GroupExclusion, GroupLicense, GroupTouch
from licensing.operations import groups
from licensing.operations.assignments import (
    NotAssignable,
    assign_licenses,
    give_back_license,
    unassign_licenses,
)
from licensing.operations.groups import (
    GroupHasIt,
    assign_group,
    even_out_groups,
    follow,
    follow_groups,
    recheck_groups,
    unassign_group,
)
from licensing.operations.waiting import add_to_waiting_list
from licensing.queries.groups import groups_of, licenses_behind, licenses_short, members_without
from tests.factories import actor_of, client_of, make_subscription, make_tenant, make_user, plan

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina", roles=("global_admin",))


@pytest.fixture
def admin(gina: User) -> Actor:
    return actor_of(gina)


@pytest.fixture
def people(contoso: Tenant) -> list[User]:
    return [make_user(contoso, name=name) for name in ("Ann", "Ben", "Cas", "Dan")]


@pytest.fixture
def sales(admin: Actor, people: list[User], at: datetime) -> Group:
    """Ann, Ben and Cas; Dan is not of it."""
    return make_group(admin, "Sales", people[:3], at)


def make_group(admin: Actor, name: str, members: list[User], at: datetime) -> Group:
    group = create_group(actor=admin, name=name, at=at)
    for member in members:
        add_member(actor=admin, group_key=group.key, user_id=member.pk, at=at)
    return group


def leave(admin: Actor, group: Group, user: User, at: datetime) -> None:
    remove_member(actor=admin, group_key=group.key, user_id=user.pk, at=at)


def holders(subscription: Subscription) -> dict[str, bool]:
    """Who has a license, and whether it came from a group."""
    with tenant_atomic(subscription.tenant_id):
        subscription.refresh_from_db()
        rows = Assignment.objects.live().filter(subscription=subscription).order_by("id")
        assert subscription.assigned == rows.count()
        return {row.user.name: row.group_license_id is not None for row in rows.select_related("user")}


def reasons(license: GroupLicense, subscription: Subscription) -> list[tuple[str, str]]:
    with tenant_atomic(subscription.tenant_id):
        return [(each.user.name, each.why) for each in members_without(license)]


def test_members_get_seats_and_the_group_is_named_with_them(
    contoso: Tenant, admin: Actor, sales: Group, at: datetime
) -> None:
    subscription = make_subscription(contoso)

    license = assign_group(actor=admin, subscription_key=subscription.key, group_key=sales.key, at=at)

    assert holders(subscription) == {"Ann": True, "Ben": True, "Cas": True}
    with tenant_atomic(contoso.pk):
        assert set(Assignment.objects.values_list("assigned_by", flat=True)) == {"Group Sales"}
        assert AuditEntry.objects.filter(code="licensing.group.assigned").get().after == {
            "group": "Sales",
            "group_license": str(license.key),
        }
        row = groups_of(subscription)[0]
        assert (row.members, row.holders, row.without, row.seats) == (3, 3, 0, 3)


def test_who_joins_gets_a_seat_and_who_leaves_loses_the_one_from_the_group(
    contoso: Tenant, admin: Actor, sales: Group, people: list[User], at: datetime
) -> None:
    subscription = make_subscription(contoso)
    assign_licenses(actor=admin, subscription_key=subscription.key, user_ids=[people[0].pk], at=at)
    assign_group(actor=admin, subscription_key=subscription.key, group_key=sales.key, at=at)
    before = holders(subscription)

    add_member(actor=admin, group_key=sales.key, user_id=people[3].pk, at=at)
    for each in people[:2]:
        leave(admin, sales, each, at)
    unfollowed = holders(subscription)
    follow_groups(at=at)

    assert before == unfollowed == {"Ann": False, "Ben": True, "Cas": True}
    assert holders(subscription) == {"Ann": False, "Cas": True, "Dan": True}
    with use_login("worker"):
        assert GroupTouch.objects.count() == 0


def test_a_group_that_cannot_be_followed_holds_up_no_other_and_is_tried_again(
    contoso: Tenant,
    admin: Actor,
    sales: Group,
    people: list[User],
    at: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subscription = make_subscription(contoso)
    others = make_group(admin, "Others", [], at)
    stuck = assign_group(actor=admin, subscription_key=subscription.key, group_key=sales.key, at=at)
    assign_group(actor=admin, subscription_key=subscription.key, group_key=others.key, at=at)
    leave(admin, sales, people[0], at)
    add_member(actor=admin, group_key=others.key, user_id=people[3].pk, at=at)

    def fail(license_id: int, tenant_id: int, *, at: datetime) -> bool:
        if license_id == stuck.pk:
            raise OperationalError("canceling statement due to lock timeout")
        return follow(license_id, tenant_id, at=at)

    with monkeypatch.context() as held:
        held.setattr(groups, "follow", fail)
        followed = [follow_groups(at=at), follow_groups(at=at)]
    between = holders(subscription)
    followed.append(follow_groups(at=at))

    assert followed == [1, 0, 1]
    assert between == {"Ann": True, "Ben": True, "Cas": True, "Dan": True}
    assert holders(subscription) == {"Ben": True, "Cas": True, "Dan": True}
    with use_login("worker"):
        assert GroupTouch.objects.count() == 0


def test_a_change_that_is_rolled_back_leaves_no_note(
    contoso: Tenant, admin: Actor, sales: Group, people: list[User], at: datetime
) -> None:
    subscription = make_subscription(contoso)
    assign_group(actor=admin, subscription_key=subscription.key, group_key=sales.key, at=at)

    with tenant_atomic(contoso.pk):
        add_member(actor=admin, group_key=sales.key, user_id=people[3].pk, at=at)
        noted = GroupTouch.objects.count()
        transaction.set_rollback(True)

    with use_login("worker"):
        assert (noted, GroupTouch.objects.count()) == (1, 0)


def test_more_members_than_seats_in_the_order_in_which_they_joined_and_the_rest_with_the_reason(
    contoso: Tenant, admin: Actor, sales: Group, people: list[User], at: datetime
) -> None:
    subscription = make_subscription(contoso, quantity=1)

    license = assign_group(actor=admin, subscription_key=subscription.key, group_key=sales.key, at=at)

    assert holders(subscription) == {"Ann": True}
    assert reasons(license, subscription) == [("Ben", "no_seat"), ("Cas", "no_seat")]

    with tenant_atomic(contoso.pk):
        Subscription.objects.filter(pk=subscription.pk).update(quantity=2, period_price_minor=1_880)
    even_out_groups(at=at)

    assert holders(subscription) == {"Ann": True, "Ben": True}


def test_everyone_who_cannot_have_one_is_named_with_the_reason(
    contoso: Tenant, admin: Actor, people: list[User], at: datetime
) -> None:
    subscription, other = make_subscription(contoso), make_subscription(contoso)
    guest, gone = make_user(contoso, name="Guest", kind="guest"), make_user(contoso, name="Gone")
    group = make_group(admin, "All", [guest, gone, *people[:2]], at)
    disable_user(actor=admin, user_id=gone.pk, at=at)
    assign_licenses(actor=admin, subscription_key=other.key, user_ids=[people[0].pk], at=at)

    license = assign_group(actor=admin, subscription_key=subscription.key, group_key=group.key, at=at)
    unassign_licenses(actor=admin, subscription_key=subscription.key, user_ids=[people[1].pk], at=at)

    assert holders(subscription) == {}
    assert reasons(license, subscription) == [
        ("Guest", "guest"),
        ("Gone", "disabled"),
        ("Ann", "holds_product"),
        ("Ben", "taken_back"),
    ]

    enable_user(actor=admin, user_id=gone.pk, at=at)
    unassign_licenses(actor=admin, subscription_key=other.key, user_ids=[people[0].pk], at=at)
    recheck_groups(at=at)

    assert holders(subscription) == {"Gone": True, "Ann": True}


def test_a_seat_that_somebody_took_back_or_gave_back_is_not_given_again_until_the_person_joins_anew(
    contoso: Tenant, admin: Actor, sales: Group, people: list[User], at: datetime
) -> None:
    subscription = make_subscription(contoso)
    assign_group(actor=admin, subscription_key=subscription.key, group_key=sales.key, at=at)
    unassign_licenses(actor=admin, subscription_key=subscription.key, user_ids=[people[0].pk], at=at)
    give_back_license(actor=actor_of(people[1]), subscription_key=subscription.key, at=at)

    recheck_groups(at=at)
    still = holders(subscription)
    leave(admin, sales, people[0], at)
    follow_groups(at=at)
    add_member(actor=admin, group_key=sales.key, user_id=people[0].pk, at=at)
    follow_groups(at=at)

    assert still == {"Cas": True}
    assert holders(subscription) == {"Cas": True, "Ann": True}
    with tenant_atomic(contoso.pk):
        assert [row.user.name for row in GroupExclusion.objects.all()] == ["Ben"]


def test_who_is_of_two_groups_keeps_the_seat_through_the_other(
    contoso: Tenant, admin: Actor, sales: Group, people: list[User], at: datetime
) -> None:
    subscription = make_subscription(contoso)
    board = make_group(admin, "Board", [people[0]], at)
    first = assign_group(actor=admin, subscription_key=subscription.key, group_key=sales.key, at=at)
    second = assign_group(actor=admin, subscription_key=subscription.key, group_key=board.key, at=at)

    unassign_group(actor=admin, subscription_key=subscription.key, license_key=first.key, at=at)
    kept = holders(subscription)
    unassign_group(actor=admin, subscription_key=subscription.key, license_key=second.key, at=at)

    assert (kept, holders(subscription)) == ({"Ann": True}, {})


def test_ending_a_group_leaves_who_has_one_by_hand(
    contoso: Tenant, admin: Actor, sales: Group, people: list[User], at: datetime
) -> None:
    subscription = make_subscription(contoso)
    by_hand = [people[0].pk, people[3].pk]
    assign_licenses(actor=admin, subscription_key=subscription.key, user_ids=by_hand, at=at)
    license = assign_group(actor=admin, subscription_key=subscription.key, group_key=sales.key, at=at)

    unassign_group(actor=admin, subscription_key=subscription.key, license_key=license.key, at=at)

    assert holders(subscription) == {"Ann": False, "Dan": False}
    with pytest.raises(NotVisible):
        unassign_group(actor=admin, subscription_key=subscription.key, license_key=license.key, at=at)


def test_a_group_that_is_gone_takes_its_seats_with_it(
    contoso: Tenant, admin: Actor, sales: Group, at: datetime
) -> None:
    subscription = make_subscription(contoso)
    license = assign_group(actor=admin, subscription_key=subscription.key, group_key=sales.key, at=at)
    with tenant_atomic(contoso.pk):
        sales.delete()

    even_out_groups(at=at)

    assert holders(subscription) == {}
    with tenant_atomic(contoso.pk):
        license.refresh_from_db()
        assert (license.group_id, license.group_name, license.ended_by) == (None, "Sales", "Seatkeeper")


def test_each_minute_only_groups_that_wait_for_a_seat_are_judged_member_by_member(
    contoso: Tenant, admin: Actor, sales: Group, people: list[User], at: datetime
) -> None:
    served, short = (
        make_subscription(contoso),
        make_subscription(contoso, plan=plan("visio-plan-2"), quantity=2),
    )
    for subscription in (served, short):
        assign_group(actor=admin, subscription_key=subscription.key, group_key=sales.key, at=at)
    with use_login("worker"):
        assert licenses_short() == []
    with tenant_atomic(contoso.pk):
        Subscription.objects.filter(pk=short.pk).update(
            quantity=5, period_price_minor=5 * short.unit_price_minor
        )

    with use_login("worker"):
        found = licenses_short()
    given = even_out_groups(at=at)

    with tenant_atomic(contoso.pk):
        (license,) = GroupLicense.objects.filter(subscription=short)
    assert (found, given, len(holders(short))) == ([(contoso.pk, license.pk)], 1, 3)
    # Free seats are left, and nobody who waits for one.
    assert even_out_groups(at=at) == 0


def test_a_group_that_was_short_while_nobody_could_be_judged_is_judged_once_it_gives_access_again(
    contoso: Tenant, admin: Actor, sales: Group, people: list[User], at: datetime
) -> None:
    subscription = make_subscription(contoso)
    assign_group(actor=admin, subscription_key=subscription.key, group_key=sales.key, at=at)
    with tenant_atomic(contoso.pk):
        Subscription.objects.filter(pk=subscription.pk).update(
            state="disabled", disabled_at=at, disabled_reason="canceled", recurring_billing=False
        )
    add_member(actor=admin, group_key=sales.key, user_id=people[3].pk, at=at)
    follow_groups(at=at)
    while_disabled = even_out_groups(at=at), holders(subscription)
    with tenant_atomic(contoso.pk):
        Subscription.objects.filter(pk=subscription.pk).update(
            state="active", disabled_at=None, disabled_reason=""
        )

    even_out_groups(at=at)

    assert while_disabled == (0, {"Ann": True, "Ben": True, "Cas": True})
    assert holders(subscription) == {"Ann": True, "Ben": True, "Cas": True, "Dan": True}


def test_what_nobody_noted_is_found_by_looking_at_everybody(
    contoso: Tenant, admin: Actor, sales: Group, people: list[User], at: datetime
) -> None:
    subscription, other = make_subscription(contoso), make_subscription(contoso, plan=plan("visio-plan-2"))
    license = assign_group(actor=admin, subscription_key=subscription.key, group_key=sales.key, at=at)
    ended = assign_group(actor=admin, subscription_key=other.key, group_key=sales.key, at=at)
    with tenant_atomic(contoso.pk):
        GroupMembership.objects.filter(group=sales, user=people[0]).delete()
        GroupMembership.objects.create(tenant=contoso, group=sales, user=people[3])
        GroupLicense.objects.filter(pk=ended.pk).update(ended_at=at)
        expected = [(contoso.pk, license.pk), (contoso.pk, ended.pk)]
    with use_login("worker"):
        assert (licenses_short(), licenses_behind()) == ([], expected)

    assert recheck_groups(at=at) == 2

    assert (holders(subscription), holders(other)) == ({"Ben": True, "Cas": True, "Dan": True}, {})
    assert recheck_groups(at=at) == 0


def test_a_large_group_is_served_in_steps(contoso: Tenant, admin: Actor, at: datetime) -> None:
    subscription = make_subscription(contoso, quantity=2_500)
    group = create_group(actor=admin, name="Everybody", at=at)
    with tenant_atomic(contoso.pk):
        people = User.objects.bulk_create(
            User(tenant=contoso, name=f"P{n}", sort_name=f"p{n}", email=f"p{n}@x.example", created_at=at)
            for n in range(2_300)
        )
        GroupMembership.objects.bulk_create(
            GroupMembership(tenant=contoso, group=group, user=person) for person in people
        )

    license = assign_group(actor=admin, subscription_key=subscription.key, group_key=group.key, at=at)
    at_once = len(holders(subscription))
    follow_groups(at=at)
    in_all = len(holders(subscription))
    unassign_group(actor=admin, subscription_key=subscription.key, license_key=license.key, at=at)
    follow_groups(at=at)

    assert (at_once, in_all, len(holders(subscription))) == (1_000, 2_300, 0)


def test_the_waiting_list_comes_before_the_group(
    contoso: Tenant, admin: Actor, sales: Group, people: list[User], at: datetime
) -> None:
    subscription = make_subscription(contoso, quantity=2)
    assign_group(actor=admin, subscription_key=subscription.key, group_key=sales.key, at=at)
    add_to_waiting_list(actor=admin, subscription_key=subscription.key, user_ids=[people[3].pk], at=at)

    leave(admin, sales, people[0], at)
    follow_groups(at=at)

    assert holders(subscription) == {"Ben": True, "Dan": False}


def test_who_may_assign_people_may_assign_groups_and_nobody_else(
    contoso: Tenant, admin: Actor, sales: Group, people: list[User], at: datetime
) -> None:
    own = make_subscription(contoso, owner=people[0])
    central = make_subscription(contoso)
    foreign = create_group(
        actor=actor_of(make_user(make_tenant(), roles=("global_admin",))), name="Theirs", at=at
    )
    ended = make_subscription(contoso, state="disabled", expired_at=at, disabled_at=at)
    cases: list[tuple[Actor, Subscription, Group, type[Exception]]] = [
        (admin, own, sales, NotAllowed),
        (actor_of(people[0]), central, sales, NotVisible),
        (actor_of(make_user(contoso, roles=("billing_admin",))), central, sales, NotAllowed),
        (admin, central, foreign, NotVisible),
        (admin, ended, sales, NotAssignable),
    ]

    for actor, subscription, group, error in cases:
        with pytest.raises(error):
            assign_group(actor=actor, subscription_key=subscription.key, group_key=group.key, at=at)
    assign_group(actor=actor_of(people[0]), subscription_key=own.key, group_key=sales.key, at=at)

    assert (holders(central), len(holders(own))) == ({}, 3)
    with pytest.raises(GroupHasIt):
        assign_group(actor=actor_of(people[0]), subscription_key=own.key, group_key=sales.key, at=at)


# --- Pages ---------------------------------------------------------------------------------------------------


@pytest.fixture
def _march(at: datetime) -> Any:
    with time_machine.travel(at, tick=True):
        yield


@pytest.mark.usefixtures("_march")
def test_the_assign_page_adds_a_group_shows_who_has_none_and_removes_it(
    contoso: Tenant, gina: User, sales: Group, at: datetime
) -> None:
    subscription = make_subscription(contoso, quantity=1)
    client = client_of(gina)
    page = reverse("portal:license-assign", args=[subscription.key])
    shown = {"shown_for_tenant": str(contoso.pk)}

    answer = client.post(
        reverse("portal:license-groups", args=[subscription.key]), shown | {"group": str(sales.key)}
    )

    text = client.get(page).content.decode()
    assert (answer.status_code, answer["Location"]) == (303, f"{page}#groups")
    assert "Sales has licenses now." in text
    assert "2 have none: why" in text
    with tenant_atomic(contoso.pk):
        license = GroupLicense.objects.get()
    address = reverse("portal:license-group", args=[subscription.key, license.key])
    detail = client.get(address).content.decode()
    assert "No license left; gets the next free one" in detail
    assert "1 person can no longer open it" in detail
    assert client.post(address, shown).status_code == 303
    assert holders(subscription) == {}
    assert client.get(address).status_code == 404


@pytest.mark.usefixtures("_march")
def test_of_many_groups_the_first_are_offered_and_any_is_found_by_its_name(
    contoso: Tenant, gina: User, sales: Group, at: datetime
) -> None:
    subscription = make_subscription(contoso, quantity=1)
    admin = actor_of(gina)
    for number in range(11):
        create_group(actor=admin, name=f"Course {number:02}", at=at)
    assign_group(actor=admin, subscription_key=subscription.key, group_key=sales.key, at=at)
    client = client_of(gina)
    page = reverse("portal:license-assign", args=[subscription.key])

    first = client.get(page).content.decode()
    found = client.get(page, {"group_q": " COURSE  1"}).content.decode()
    taken, odd = (client.get(page, {"group_q": text}).content.decode() for text in ("sales", "%\0"))

    assert offered(first) == [f"Course {number:02}" for number in range(10)]
    assert "There are more: find one by its name." in first
    assert offered(found) == ["Course 10"]
    assert "There are more" not in found
    assert (offered(taken), offered(odd)) == ([], [])
    assert "No other group has this in its name." in taken


def offered(page: str) -> list[str]:
    """The groups that a button of the page assigns."""
    return re.findall(r"> to the group ([^<]+)</span></button>", page)


@pytest.mark.usefixtures("_march")
def test_a_group_that_makes_no_sense_changes_nothing(contoso: Tenant, gina: User, sales: Group) -> None:
    subscription = make_subscription(contoso)
    client = client_of(gina)
    url = reverse("portal:license-groups", args=[subscription.key])

    statuses = [
        client.post(url, {"shown_for_tenant": str(contoso.pk), "group": value}).status_code
        for value in ("", "x\0", "00000000-0000-0000-0000-000000000000")
    ]

    assert statuses == [303, 303, 404]
    assert holders(subscription) == {}


def test_a_rename_is_seen_wherever_the_group_is_named(
    contoso: Tenant, gina: User, sales: Group, at: datetime
) -> None:
    subscription = make_subscription(contoso, quantity=5)
    assign_group(actor=actor_of(gina), subscription_key=subscription.key, group_key=sales.key, at=at)
    client = client_of(gina)
    address = reverse("portal:group", args=[sales.key])

    renamed = client.post(address, {"action": "rename", "name": " Sales & service "}, follow=True).text

    assert "The group is called Sales &amp; service now." in renamed
    assert "<h1>Sales &amp; service</h1>" in renamed
    assert "Sales &amp; service" in client.get(reverse("portal:license-assign", args=[subscription.key])).text
    with tenant_atomic(gina.tenant_id):
        told = AuditEntry.objects.get(code="directory.group.changed")
    assert (told.before["name"], told.after["name"]) == ("Sales", "Sales & service")


@pytest.mark.parametrize(
    ("name", "says", "status"),
    [
        ("", "Give it a name of up to 200 characters.", 422),
        ("x" * 201, "Give it a name of up to 200 characters.", 422),
        ("Support", "A group of this name exists.", 409),
    ],
)
def test_a_name_that_does_not_fit_renames_nothing(
    gina: User, admin: Actor, sales: Group, at: datetime, name: str, says: str, status: int
) -> None:
    create_group(actor=admin, name="Support", at=at)

    answer = client_of(gina).post(
        reverse("portal:group", args=[sales.key]), {"action": "rename", "name": name}
    )

    assert answer.status_code == status
    assert says in answer.text
    assert f'value="{name[:200]}"' in answer.text
    with tenant_atomic(gina.tenant_id):
        assert Group.objects.get(pk=sales.pk).name == "Sales"


def test_deleting_a_group_says_who_loses_which_license_and_then_they_do(
    contoso: Tenant, gina: User, sales: Group, at: datetime
) -> None:
    subscription = make_subscription(contoso, quantity=5)
    assign_group(actor=actor_of(gina), subscription_key=subscription.key, group_key=sales.key, at=at)
    client = client_of(gina)
    address = reverse("portal:group-delete", args=[sales.key])

    assert f'href="{address}"' in client.get(reverse("portal:group", args=[sales.key])).text
    page = client.get(address).text
    answer = client.post(address, {"seen": seen_on(page)}, follow=True)

    assert re.findall(r"<b>(Ann|Ben|Cas|Dan)</b>", page) == ["Ann", "Ben", "Cas"]
    assert "Power BI Pro" in page
    assert "The group Sales is deleted." in answer.text
    even_out_groups(at=at)
    with tenant_atomic(gina.tenant_id):
        assert not Group.objects.exists()
        assert not Assignment.objects.live().exists()


def test_a_group_that_changed_since_the_page_was_shown_is_not_deleted(
    gina: User, admin: Actor, sales: Group, people: list[User], at: datetime
) -> None:
    client = client_of(gina)
    address = reverse("portal:group-delete", args=[sales.key])
    page = client.get(address).text
    add_member(actor=admin, group_key=sales.key, user_id=people[3].pk, at=at)

    answer = client.post(address, {"seen": seen_on(page)})

    assert answer.status_code == 409
    assert "Nothing was deleted" in answer.text
    with tenant_atomic(gina.tenant_id):
        assert Group.objects.filter(pk=sales.pk).exists()


def test_who_only_reads_people_neither_renames_nor_deletes(contoso: Tenant, sales: Group) -> None:
    client = client_of(make_user(contoso, roles=("global_reader",)))
    page = client.get(reverse("portal:group", args=[sales.key]))

    assert "Delete" not in page.text
    assert client.get(reverse("portal:group-delete", args=[sales.key])).status_code == 403
    assert client.post(page.request["PATH_INFO"], {"action": "rename", "name": "Mine"}).status_code == 403


def seen_on(page: str) -> str:
    return page.split('name="seen" value="')[1].split('"')[0]
