"""F-20 and I-01, I-02: many assigners for the last seats, over real connections, by every door; no door oversells.

The negative control shows that the race is there to be lost: without lock and check it oversells.
"""

import os
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, connections
from django.urls import reverse

from commerce.models import Subscription
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from licensing.models import Assignment
from licensing.operations.assignments import (
    AlreadyAssigned,
    NoSeatLeft,
    Outcome,
    assign_license,
    assign_licenses,
    unassign_licenses,
)
from tests.concurrency.threads import Browser, all_at_once
from tests.factories import actor_of, make_subscription, make_tenant, make_user

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])

ASSIGNERS = 200
SEATS = 10
# How often the race is run: by the operation, and through the portal's doors (`make drill NAME=seats`: fifty).
RUNS = int(os.environ.get("DRILL_RACES", "20"))
RUNS_BY_DOORS = int(os.environ.get("DRILL_RACES", "2"))


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def alice(contoso: Tenant) -> User:
    return make_user(contoso, name="Alice")


@pytest.fixture
def people(contoso: Tenant) -> list[User]:
    with tenant_atomic(contoso.pk):
        return User.objects.bulk_create(
            User(
                tenant=contoso,
                name=f"Person {n}",
                sort_name=f"person {n}",
                email=f"p{n}@contoso.example",
                created_at=contoso.created_at,
            )
            for n in range(ASSIGNERS)
        )


def live(subscription: Subscription) -> int:
    """How many hold a license; the counter says the same."""
    with tenant_atomic(subscription.tenant_id):
        subscription.refresh_from_db()
        rows = Assignment.objects.live().filter(subscription=subscription).count()
    assert subscription.assigned == rows
    return rows


@pytest.mark.parametrize("run", range(RUNS))
def test_two_hundred_assigners_get_exactly_the_last_ten_seats(
    contoso: Tenant, alice: User, people: list[User], at: datetime, run: int
) -> None:
    subscription = make_subscription(contoso, owner=alice, quantity=SEATS)
    actor = actor_of(alice)

    def assign(n: int) -> int:
        try:
            assign_license(
                actor=actor,
                subscription_key=subscription.key,
                user_id=people[(n + run) % ASSIGNERS].pk,
                at=at,
            )
        except NoSeatLeft as refusal:
            return refusal.status
        return 200

    answers = all_at_once(assign, count=ASSIGNERS)

    assert Counter(answers) == {200: SEATS, 409: ASSIGNERS - SEATS}
    assert live(subscription) == SEATS


DOORS: dict[str, Callable[[User], dict[str, Any]]] = {
    "ticked": lambda person: {"person": [person.pk]},
    "pasted": lambda person: {"people": person.email},
    "file": lambda person: {
        "file": SimpleUploadedFile("people.csv", f"E-mail\n{person.email}\n".encode()),
    },
}


@pytest.mark.parametrize("run", range(RUNS_BY_DOORS))
def test_two_hundred_posts_by_all_doors_of_the_portal_get_exactly_the_last_ten_seats(
    contoso: Tenant, alice: User, people: list[User], run: int
) -> None:
    """Every third comes by the same door, so that doors compete with themselves and with one another."""
    subscription = make_subscription(contoso, owner=alice, quantity=SEATS)
    url = reverse("portal:license-assign", args=[subscription.key])
    browser = Browser(alice)
    doors = list(DOORS.values())

    def post(n: int) -> int:
        choice = doors[(n + run) % len(doors)](people[n])
        answer = browser.post(url, {"shown_for_tenant": contoso.pk, "action": "assign", **choice})
        return int(answer.status_code)

    answers = all_at_once(post, count=ASSIGNERS)

    assert Counter(answers) == {302: SEATS, 409: ASSIGNERS - SEATS}
    assert live(subscription) == SEATS


def test_lists_that_compete_share_the_seats_and_no_more(
    contoso: Tenant, alice: User, people: list[User], at: datetime
) -> None:
    subscription = make_subscription(contoso, owner=alice, quantity=105)
    actor = actor_of(alice)

    def assign(n: int) -> int:
        chosen = [person.pk for person in people[n * 10 : n * 10 + 20]]
        result = assign_licenses(actor=actor, subscription_key=subscription.key, user_ids=chosen, at=at)
        assert {outcome for _user, outcome in result.outcomes} <= {
            Outcome.ASSIGNED,
            Outcome.HOLDS_LICENSE,
            Outcome.NO_SEAT,
        }
        return result.done

    given = all_at_once(assign, count=19)

    assert sum(given) == 105
    assert live(subscription) == 105


def test_one_person_gets_one_seat_however_many_assign_it(
    contoso: Tenant, alice: User, people: list[User], at: datetime
) -> None:
    """I-02."""
    subscription = make_subscription(contoso, owner=alice, quantity=50)
    actor = actor_of(alice)

    def assign(_n: int) -> str:
        try:
            assign_license(actor=actor, subscription_key=subscription.key, user_id=people[0].pk, at=at)
        except AlreadyAssigned:
            return "already"
        return "given"

    answers = all_at_once(assign, count=50)

    assert Counter(answers) == {"given": 1, "already": 49}
    assert live(subscription) == 1


def test_giving_and_taking_at_once_keeps_counter_and_rows_together(
    contoso: Tenant, alice: User, people: list[User], at: datetime
) -> None:
    subscription = make_subscription(contoso, owner=alice, quantity=5)
    actor = actor_of(alice)

    def give_or_take(n: int) -> int:
        if n % 2:
            return -unassign_licenses(
                actor=actor, subscription_key=subscription.key, user_ids=[people[n // 2 % 8].pk], at=at
            ).done
        return assign_licenses(
            actor=actor, subscription_key=subscription.key, user_ids=[people[n // 2 % 8].pk], at=at
        ).done

    moved = all_at_once(give_or_take, count=ASSIGNERS)

    assert sum(moved) == live(subscription)


def test_the_quantity_never_drops_below_the_assigned_while_people_assign(
    contoso: Tenant, alice: User, people: list[User], at: datetime
) -> None:
    """I-05: whoever comes second is refused, the reduction by its CHECK or the assignment for lack of a seat."""
    subscription = make_subscription(contoso, owner=alice, quantity=SEATS)
    actor = actor_of(alice)

    def assign_or_reduce(n: int) -> str:
        if n % 4 == 0:
            try:
                with tenant_atomic(contoso.pk):
                    Subscription.objects.filter(pk=subscription.pk).update(quantity=SEATS - 1 - n // 4 % 3)
            except Exception as error:  # noqa: BLE001
                return str(error.__cause__.diag.constraint_name)  # type: ignore[union-attr]
            return "reduced"
        try:
            assign_license(actor=actor, subscription_key=subscription.key, user_id=people[n].pk, at=at)
        except NoSeatLeft:
            return "no seat"
        return "given"

    answers = Counter(all_at_once(assign_or_reduce, count=80))

    assert answers["given"] == live(subscription)
    assert subscription.assigned <= subscription.quantity
    assert set(answers) <= {"given", "no seat", "reduced", "commerce_subscription_seats"}


def test_no_more_are_assigned_than_scheduled_while_people_assign_and_schedule(
    contoso: Tenant, alice: User, people: list[User], at: datetime
) -> None:
    """I-05: whoever comes second is refused, the schedule by its CHECK or the assignment for lack of a seat."""
    subscription = make_subscription(contoso, owner=alice, quantity=SEATS)
    actor = actor_of(alice)

    def assign_or_schedule(n: int) -> str:
        if n % 4 == 0:
            try:
                with tenant_atomic(contoso.pk):
                    Subscription.objects.filter(pk=subscription.pk).update(
                        next_quantity=(SEATS - 1, SEATS - 2, None)[n // 4 % 3]
                    )
            except IntegrityError as error:
                return str(error.__cause__.diag.constraint_name)  # type: ignore[union-attr]
            return "scheduled"
        try:
            if n % 4 == 1:
                assign_license(actor=actor, subscription_key=subscription.key, user_id=people[n].pk, at=at)
                return "given"
            result = assign_licenses(
                actor=actor,
                subscription_key=subscription.key,
                user_ids=[people[n].pk, people[n + 1].pk],
                at=at,
            )
        except NoSeatLeft as refusal:
            return refusal.code
        return "given" if result.done else "none given"

    answers = Counter(all_at_once(assign_or_schedule, count=80))

    assert live(subscription) <= min(subscription.quantity, subscription.next_quantity or SEATS)
    assert answers["scheduled"] > 0
    assert set(answers) <= {
        "given",
        "none given",
        "no_seat_left",
        "reduction_scheduled",
        "scheduled",
        "commerce_subscription_next_quantity",
    }


def test_the_negative_control_oversells(contoso: Tenant, people: list[User]) -> None:
    """Count, then insert, with neither lock nor check: the way that the operation exists to avoid."""
    database = settings.DATABASES["owner"]

    def connect() -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=database["HOST"],
            port=database["PORT"],
            dbname=connections["owner"].settings_dict["NAME"],
            user=database["USER"],
            password=database["PASSWORD"],
            autocommit=True,
        )

    with connect() as setting_up:
        setting_up.execute("CREATE TABLE IF NOT EXISTS race_control (user_id bigint)")
        setting_up.execute("TRUNCATE race_control")

    def count_then_insert(n: int) -> bool:
        with connect() as mine:
            taken = mine.execute("SELECT count(*) FROM race_control").fetchone()
            if taken is None or taken[0] >= SEATS:
                return False
            # The window that a permission check, or a slow network, opens between the two.
            mine.execute("SELECT pg_sleep(0.02)")
            mine.execute("INSERT INTO race_control VALUES (%s)", [people[n].pk])
            return True

    try:
        given = sum(all_at_once(count_then_insert, count=ASSIGNERS))
    finally:
        with connect() as tidying:
            tidying.execute("DROP TABLE race_control")

    assert given > SEATS
