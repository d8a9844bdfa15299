"""The waiting list: order, who is passed over, by what ways a seat comes (product §7.6; docs/bulk.md)."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import OperationalError
from django.urls import reverse

from commerce.models import Subscription, SubscriptionEvent
from config.kit.actors import Actor
from config.kit.errors import NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import AuditEntry, OutgoingMail, Tenant, User
from directory.operations.leaving import delete_user
from directory.operations.people import disable_user
from licensing.models import Assignment, WaitingPlace
from licensing.operations import waiting
from licensing.operations.assignments import (
    NotAssignable,
    assign_licenses,
    give_back_license,
    serve_waiting,
    unassign_licenses,
)
from licensing.operations.leaving import free_licenses_of_leavers
from licensing.operations.waiting import (
    NobodyToAdd,
    NotWaiting,
    OrganizationsOnly,
    add_to_waiting_list,
    remove_from_waiting_list,
    serve_lines,
)
from tests.factories import actor_of, client_of, make_subscription, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def lisa(contoso: Tenant) -> User:
    return make_user(contoso, name="Lisa", roles=("license_admin",))


@pytest.fixture
def admin(lisa: User) -> Actor:
    return actor_of(lisa)


@pytest.fixture
def people(contoso: Tenant) -> list[User]:
    return [make_user(contoso, name=name) for name in ("Ann", "Ben", "Cas", "Dan")]


@pytest.fixture
def full(contoso: Tenant, admin: Actor, people: list[User], at: datetime) -> Subscription:
    """Two seats, both given, to Ann and Ben."""
    subscription = make_subscription(contoso, quantity=2)
    ids = [person.pk for person in people[:2]]
    assign_licenses(actor=admin, subscription_key=subscription.key, user_ids=ids, at=at)
    return subscription


def wait(admin: Actor, subscription: Subscription, *people: User, at: datetime) -> tuple[int, int]:
    return add_to_waiting_list(
        actor=admin, subscription_key=subscription.key, user_ids=[person.pk for person in people], at=at
    )


def holders(subscription: Subscription) -> list[str]:
    with tenant_atomic(subscription.tenant_id):
        subscription.refresh_from_db()
        rows = Assignment.objects.live().filter(subscription=subscription).order_by("id")
        assert subscription.assigned == rows.count()
        return list(rows.values_list("user__name", flat=True))


def line(subscription: Subscription) -> list[str]:
    with tenant_atomic(subscription.tenant_id):
        rows = WaitingPlace.objects.live().filter(subscription=subscription).order_by("id")
        return list(rows.values_list("user__name", flat=True))


def test_the_first_in_line_gets_the_seat_that_is_taken_back_and_a_mail(
    contoso: Tenant, admin: Actor, full: Subscription, people: list[User], at: datetime
) -> None:
    wait(admin, full, people[3], people[2], at=at)
    later = at + timedelta(days=1)

    result = unassign_licenses(actor=admin, subscription_key=full.key, user_ids=[people[0].pk], at=later)

    assert (result.done, result.free) == (1, 0)
    assert (holders(full), line(full)) == (["Ben", "Dan"], ["Cas"])
    with tenant_atomic(contoso.pk):
        given = Assignment.objects.live().get(user=people[3])
        place = WaitingPlace.objects.get(user=people[3])
        assert (given.assigned_by, given.assigned_at, place.outcome, place.assignment_id) == (
            "Seatkeeper",
            later,
            "given",
            given.pk,
        )
        audit = AuditEntry.objects.get(code="licensing.license.given_from_waiting_list")
        assert audit.after == {"user_id": people[3].pk, "assignment_id": given.pk, "user": "Dan"}
        event = SubscriptionEvent.objects.get(code="license_from_waiting_list")
        assert event.facts == {"count": 1, "user_ids": [people[3].pk]}
        mail = OutgoingMail.objects.get(kind="seat_from_waiting_list")
        assert (mail.to_user_id, mail.context["product"]) == (people[3].pk, "Power BI Pro")


def test_a_seat_that_is_given_back_goes_to_the_first_in_line(
    admin: Actor, full: Subscription, people: list[User], at: datetime
) -> None:
    wait(admin, full, people[2], at=at)

    give_back_license(actor=actor_of(people[1]), subscription_key=full.key, at=at)

    assert (holders(full), line(full)) == (["Ann", "Cas"], [])


def test_several_seats_go_to_as_many_in_order(
    contoso: Tenant, admin: Actor, people: list[User], at: datetime
) -> None:
    subscription = make_subscription(contoso, quantity=3)
    first = [make_user(contoso, name=f"First {n}") for n in range(3)]
    assign_licenses(
        actor=admin, subscription_key=subscription.key, user_ids=[each.pk for each in first], at=at
    )
    wait(admin, subscription, *people, at=at)

    unassign_licenses(
        actor=admin, subscription_key=subscription.key, user_ids=[each.pk for each in first], at=at
    )

    assert (holders(subscription), line(subscription)) == (["Ann", "Ben", "Cas"], ["Dan"])


def test_nobody_gets_more_than_the_renewal_leaves(
    contoso: Tenant, admin: Actor, people: list[User], at: datetime
) -> None:
    subscription = make_subscription(contoso, quantity=3, next_quantity=1)
    assign_licenses(actor=admin, subscription_key=subscription.key, user_ids=[people[0].pk], at=at)
    wait(admin, subscription, *people[1:], at=at)
    before = holders(subscription)

    unassign_licenses(actor=admin, subscription_key=subscription.key, user_ids=[people[0].pk], at=at)

    assert (before, holders(subscription), line(subscription)) == (["Ann"], ["Ben"], ["Cas", "Dan"])


def test_who_cannot_have_one_now_is_passed_over_and_keeps_the_place(
    contoso: Tenant, admin: Actor, full: Subscription, people: list[User], at: datetime
) -> None:
    other = make_subscription(contoso)
    wait(admin, full, people[2], people[3], at=at)
    late = make_user(contoso, name="Late")
    wait(admin, full, late, at=at)
    assign_licenses(actor=admin, subscription_key=other.key, user_ids=[people[2].pk], at=at)
    with tenant_atomic(contoso.pk):
        User.objects.filter(pk=people[3].pk).update(status="disabled")

    unassign_licenses(actor=admin, subscription_key=full.key, user_ids=[people[0].pk], at=at)

    assert (holders(full), line(full)) == (["Ben", "Late"], ["Cas", "Dan"])


def test_a_seat_that_is_free_already_goes_to_the_first_in_line_at_once(
    contoso: Tenant, admin: Actor, people: list[User], at: datetime
) -> None:
    subscription = make_subscription(contoso, quantity=1)

    added = wait(admin, subscription, people[0], people[1], at=at)

    assert added == (2, 1)
    assert (holders(subscription), line(subscription)) == (["Ann"], ["Ben"])


def test_seats_that_are_bought_or_kept_after_all_are_given_by_the_sweep_with_a_mail(
    contoso: Tenant, admin: Actor, full: Subscription, people: list[User], at: datetime
) -> None:
    wait(admin, full, people[2], people[3], at=at)
    with tenant_atomic(contoso.pk):
        Subscription.objects.filter(pk=full.pk).update(quantity=3, period_price_minor=2_820)

    served = [serve_lines(at=at), serve_lines(at=at)]

    assert served == [1, 0]
    assert (holders(full), line(full)) == (["Ann", "Ben", "Cas"], ["Dan"])
    with tenant_atomic(contoso.pk):
        assert OutgoingMail.objects.filter(kind="seat_from_waiting_list").count() == 1


def test_a_line_that_cannot_be_served_holds_up_no_other(
    contoso: Tenant,
    admin: Actor,
    full: Subscription,
    people: list[User],
    at: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fabrikam = make_tenant(name="Fabrikam")
    lee, ann, dan = (make_user(fabrikam, roles=roles) for roles in (("license_admin",), (), ()))
    other = make_subscription(fabrikam, quantity=1)
    assign_licenses(actor=actor_of(lee), subscription_key=other.key, user_ids=[ann.pk], at=at)
    wait(admin, full, people[3], at=at)
    wait(actor_of(lee), other, dan, at=at)
    for subscription in (full, other):
        more = subscription.quantity + 1
        with tenant_atomic(subscription.tenant_id):
            Subscription.objects.filter(pk=subscription.pk).update(
                quantity=more, period_price_minor=more * subscription.unit_price_minor
            )

    def serve(*, subscription_id: int, at: datetime) -> list[int]:
        if subscription_id == full.pk:
            raise OperationalError("canceling statement due to lock timeout")
        return serve_waiting(subscription_id=subscription_id, at=at)

    monkeypatch.setattr(waiting, "serve_waiting", serve)

    assert serve_lines(at=at) == 1
    assert (line(full), line(other)) == (["Dan"], [])


def test_the_sweep_closes_the_places_of_who_has_one_by_now_or_is_gone(
    contoso: Tenant, admin: Actor, full: Subscription, people: list[User], at: datetime
) -> None:
    wait(admin, full, people[2], people[3], at=at)
    with tenant_atomic(contoso.pk):
        Subscription.objects.filter(pk=full.pk).update(quantity=3, period_price_minor=2_820)
        User.objects.filter(pk=people[3].pk).update(status="deleted")
    assign_licenses(actor=admin, subscription_key=full.key, user_ids=[people[2].pk], at=at)

    serve_lines(at=at)

    with tenant_atomic(contoso.pk):
        assert dict(WaitingPlace.objects.values_list("user__name", "outcome")) == {
            "Cas": "held",
            "Dan": "closed",
        }


def test_a_deleted_subscription_closes_its_line(
    contoso: Tenant, admin: Actor, full: Subscription, people: list[User], at: datetime
) -> None:
    wait(admin, full, people[2], at=at)
    with tenant_atomic(contoso.pk):
        Assignment.objects.filter(subscription=full).update(ended_at=at)
        Subscription.objects.filter(pk=full.pk).update(state="deleted", assigned=0)

    serve_lines(at=at)

    assert line(full) == []


def test_the_seat_of_somebody_whose_account_is_deleted_goes_to_the_first_in_line(
    contoso: Tenant, admin: Actor, full: Subscription, people: list[User], at: datetime
) -> None:
    wait(admin, full, people[2], people[3], at=at)
    gina = actor_of(make_user(contoso, name="Gina", roles=("global_admin",)))

    delete_user(actor=gina, user_id=people[0].pk, at=at, real_at=at)

    assert (holders(full), line(full)) == (["Ben", "Cas"], ["Dan"])
    with tenant_atomic(contoso.pk):
        assert OutgoingMail.objects.filter(kind="seat_from_waiting_list").count() == 1


def test_the_seats_of_those_whose_time_is_over_go_to_the_line_by_the_sweep(
    contoso: Tenant, admin: Actor, full: Subscription, people: list[User], at: datetime
) -> None:
    wait(admin, full, people[2], people[3], at=at)
    gina = actor_of(make_user(contoso, name="Gina", roles=("global_admin",)))
    disable_user(actor=gina, user_id=people[0].pk, at=at)
    kept = holders(full)

    free_licenses_of_leavers(at=at + timedelta(days=14))

    assert (kept, holders(full), line(full)) == (["Ann", "Ben"], ["Ben", "Cas"], ["Dan"])


def test_a_deleted_admins_name_is_forgotten_where_it_put_people_into_the_line(
    contoso: Tenant, lisa: User, admin: Actor, full: Subscription, people: list[User], at: datetime
) -> None:
    wait(admin, full, people[2], people[3], at=at)
    gina = actor_of(make_user(contoso, name="Gina", roles=("global_admin",)))
    with tenant_atomic(contoso.pk):
        place = WaitingPlace.objects.get(user=people[3])
    remove_from_waiting_list(actor=gina, subscription_key=full.key, place_key=place.key, at=at)

    delete_user(actor=gina, user_id=lisa.pk, at=at, real_at=at)

    with tenant_atomic(contoso.pk):
        rows = WaitingPlace.objects.order_by("id").values_list("added_by", "ended_by")
        assert list(rows) == [("Former user", ""), ("Former user", "Gina")]


def test_who_waits_already_or_has_the_product_is_left_out(
    contoso: Tenant, admin: Actor, full: Subscription, people: list[User], at: datetime
) -> None:
    guest = make_user(contoso, kind="guest")
    stranger = make_user(make_tenant())
    wait(admin, full, people[2], at=at)

    added = wait(admin, full, people[2], people[0], guest, stranger, people[3], people[3], at=at)
    with pytest.raises(NobodyToAdd):
        wait(admin, full, people[2], people[3], at=at)

    assert added == (1, 0)
    assert line(full) == ["Cas", "Dan"]


def test_somebody_is_taken_off_the_list_once(
    contoso: Tenant, admin: Actor, full: Subscription, people: list[User], at: datetime
) -> None:
    wait(admin, full, people[2], people[3], at=at)
    with tenant_atomic(contoso.pk):
        place = WaitingPlace.objects.get(user=people[2])

    remove_from_waiting_list(actor=admin, subscription_key=full.key, place_key=place.key, at=at)
    with pytest.raises(NotWaiting):
        remove_from_waiting_list(actor=admin, subscription_key=full.key, place_key=place.key, at=at)
    unassign_licenses(actor=admin, subscription_key=full.key, user_ids=[people[0].pk], at=at)

    assert (holders(full), line(full)) == (["Ben", "Dan"], [])


def test_only_licenses_of_the_organization_have_a_line_and_only_who_assigns_them_keeps_it(
    contoso: Tenant, admin: Actor, full: Subscription, people: list[User], at: datetime
) -> None:
    own = make_subscription(contoso, owner=people[0], quantity=1)
    ended = make_subscription(contoso, state="disabled", expired_at=at, disabled_at=at)
    cases: list[tuple[Actor, Subscription, type[Exception]]] = [
        (actor_of(people[0]), own, OrganizationsOnly),
        (admin, own, NotAllowed),
        (actor_of(people[2]), full, NotVisible),
        (actor_of(make_user(contoso, roles=("billing_admin",))), full, NotAllowed),
        (admin, ended, NotAssignable),
    ]

    for actor, subscription, error in cases:
        with pytest.raises(error):
            wait(actor, subscription, people[3], at=at)

    with use_login("worker"):
        assert WaitingPlace.objects.count() == 0


# --- Pages ---------------------------------------------------------------------------------------------------


@pytest.fixture
def _march(at: datetime) -> Any:
    with time_machine.travel(at, tick=True):
        yield


@pytest.mark.usefixtures("_march")
def test_the_assign_page_offers_the_line_when_no_seat_is_left_and_the_list_shows_order_and_remove(
    contoso: Tenant, lisa: User, full: Subscription, people: list[User]
) -> None:
    client = client_of(lisa)
    shown = {"shown_for_tenant": str(contoso.pk)}
    url = reverse("portal:license-waiting", args=[full.key])

    refused = client.post(
        reverse("portal:license-assign", args=[full.key]),
        shown | {"action": "assign", "person": [people[3].pk, people[2].pk]},
    ).content.decode()
    answer = client.post(url, shown | {"person": [people[3].pk, people[2].pk]})
    page = client.get(url).content.decode()

    assert "Put those ticked on the waiting list" in refused
    assert (answer.status_code, answer["Location"]) == (303, url)
    assert "2 people wait now." in page
    assert page.index("Dan") < page.index("Cas")
    with tenant_atomic(contoso.pk):
        place = WaitingPlace.objects.get(user=people[3])
    client.post(url, shown | {"place": str(place.key)})
    assert line(full) == ["Cas"]


@pytest.mark.usefixtures("_march")
def test_a_purchasers_own_licenses_offer_no_line(contoso: Tenant, people: list[User], at: datetime) -> None:
    own = make_subscription(contoso, owner=people[0], quantity=1)
    assign_licenses(actor=actor_of(people[0]), subscription_key=own.key, user_ids=[people[0].pk], at=at)
    client = client_of(people[0])

    refused = client.post(
        reverse("portal:license-assign", args=[own.key]),
        {"shown_for_tenant": str(contoso.pk), "action": "assign", "person": [people[1].pk]},
    ).content.decode()

    assert "waiting list" not in refused
    assert client.get(reverse("portal:license-waiting", args=[own.key])).status_code == 404


@pytest.mark.usefixtures("_march")
@pytest.mark.parametrize("data", [{}, {"person": ["x"]}, {"place": "x"}, {"person": ["99999999999"]}])
def test_what_makes_no_sense_changes_nothing(
    contoso: Tenant, lisa: User, full: Subscription, data: dict[str, Any]
) -> None:
    url = reverse("portal:license-waiting", args=[full.key])

    answer = client_of(lisa).post(url, {"shown_for_tenant": str(contoso.pk), **data})

    assert answer.status_code == 303
    assert line(full) == []


@pytest.mark.parametrize(
    ("role", "address"),
    [
        ("license_admin", "portal:license-subscription"),
        ("global_reader", "portal:license-subscription"),
        ("global_reader", "portal:subscription"),
        ("billing_admin", "portal:subscription"),
    ],
)
def test_whoever_sees_the_licenses_finds_the_line_also_while_nobody_holds_one(
    contoso: Tenant, role: str, address: str
) -> None:
    subscription = make_subscription(contoso, quantity=2)
    reader = client_of(make_user(contoso, roles=(role,)))
    line = reverse("portal:license-waiting", args=[subscription.key])

    page = reader.get(reverse(address, args=[subscription.key])).content.decode()

    assert f'href="{line}"' in page
    assert reader.get(line).status_code == 200
