"""I-01 and product §7.6: seats freed at once by many go to the line in its order, to nobody twice, never above the total.

The negative control reads the first in line, then gives: two who free at once give to the same person.
"""

from collections import Counter
from datetime import datetime
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connections

from commerce.models import Subscription
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import OutgoingMail, Tenant, User
from licensing.models import Assignment, WaitingPlace
from licensing.operations.assignments import NoSeatLeft, assign_license, assign_licenses, unassign_licenses
from licensing.operations.waiting import add_to_waiting_list, serve_lines
from tests.concurrency.threads import all_at_once
from tests.factories import actor_of, make_subscription, make_tenant, make_user

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"])

SEATS, WAITING = 24, 40
AT_ONCE = 24


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def lisa(contoso: Tenant) -> User:
    return make_user(contoso, name="Lisa", roles=("license_admin",))


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
            for n in range(SEATS + WAITING)
        )


@pytest.fixture
def full(contoso: Tenant, lisa: User, people: list[User], at: datetime) -> Subscription:
    """Every seat given to the first, the others in line in their order."""
    subscription = make_subscription(contoso, quantity=SEATS)
    actor = actor_of(lisa)
    ids = [person.pk for person in people]
    assign_licenses(actor=actor, subscription_key=subscription.key, user_ids=ids[:SEATS], at=at)
    add_to_waiting_list(actor=actor, subscription_key=subscription.key, user_ids=ids[SEATS:], at=at)
    return subscription


def test_seats_freed_at_once_go_to_the_first_in_line_each_once(
    lisa: User, full: Subscription, people: list[User], at: datetime
) -> None:
    actor = actor_of(lisa)

    freed = all_at_once(
        lambda n: (
            unassign_licenses(actor=actor, subscription_key=full.key, user_ids=[people[n].pk], at=at).done
        ),
        count=SEATS,
        at_once=AT_ONCE,
    )

    assert sum(freed) == SEATS
    with use_login("worker"):
        full.refresh_from_db()
        live = list(Assignment.objects.live().order_by("id").values_list("user_id", flat=True))
        waiting = list(WaitingPlace.objects.live().order_by("id").values_list("user_id", flat=True))
        mails = Counter(
            OutgoingMail.objects.filter(kind="seat_from_waiting_list").values_list("to_user_id", flat=True)
        )
    assert full.assigned == SEATS
    assert live == [person.pk for person in people[SEATS : 2 * SEATS]]
    assert waiting == [person.pk for person in people[2 * SEATS :]]
    assert mails == dict.fromkeys(live, 1)


def test_nobody_gets_past_the_line_while_people_free_assign_join_and_the_sweep_runs(
    lisa: User, full: Subscription, people: list[User], at: datetime
) -> None:
    actor = actor_of(lisa)

    def act(n: int) -> str:
        match n % 4:
            case 0 | 1:
                unassign_licenses(actor=actor, subscription_key=full.key, user_ids=[people[n // 2].pk], at=at)
            case 2:
                # A seat that is freed is never seen free: whoever assigns by hand finds none.
                try:
                    assign_license(actor=actor, subscription_key=full.key, user_id=people[-1].pk, at=at)
                except NoSeatLeft:
                    return "no seat"
                return "past the line"
            case _:
                serve_lines(at=at)
        return "done"

    answers = Counter(all_at_once(act, count=2 * SEATS, at_once=AT_ONCE))

    assert "past the line" not in answers
    with use_login("worker"):
        full.refresh_from_db()
        live = set(Assignment.objects.live().values_list("user_id", flat=True))
        places = WaitingPlace.objects.filter(outcome="given").order_by("id")
        served = list(places.values_list("user_id", flat=True))
    assert len(live) == full.assigned == SEATS
    assert served == [person.pk for person in people[SEATS : SEATS + len(served)]]


def test_the_negative_control_gives_two_seats_to_one_person(people: list[User]) -> None:
    """Read the first in line, then end the place: the way that one statement under the lock exists to avoid."""
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
        setting_up.execute("CREATE TABLE IF NOT EXISTS line_control (user_id bigint, is_over boolean)")
        setting_up.execute("TRUNCATE line_control")
        for person in people[:WAITING]:
            setting_up.execute("INSERT INTO line_control VALUES (%s, false)", [person.pk])

    def read_then_give(_n: int) -> int:
        with connect() as mine:
            first = mine.execute(
                "SELECT user_id FROM line_control WHERE NOT is_over ORDER BY user_id LIMIT 1"
            ).fetchone()
            assert first is not None
            mine.execute("SELECT pg_sleep(0.02)")
            mine.execute("UPDATE line_control SET is_over = true WHERE user_id = %s", [first[0]])
            return int(first[0])

    try:
        served = Counter(all_at_once(read_then_give, count=SEATS, at_once=AT_ONCE))
    finally:
        with connect() as tidying:
            tidying.execute("DROP TABLE line_control")

    assert max(served.values()) > 1
