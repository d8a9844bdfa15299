"""The daily digest: each purchase once, in one mail a day, whatever was missed or changed in between (product §3.5)."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connections

from config.kit.tenancy import tenant_atomic
from directory.models import OutgoingMail, Tenant, User
from directory.operations.digests import queue_digests
from directory.operations.mail import next_digest_at, queue_mail
from directory.operations.outbox import message_of
from directory.operations.preferences import Wanted, preferences_of, set_preferences, switch_off
from tests.factories import AT, actor_of, client_of, make_tenant, make_user

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

# 10 March 2026 in Amsterdam; the digest of that day goes out at 7 on the 11th.
DUE = datetime(2026, 3, 11, 6, 0, tzinfo=UTC)
DAILY = {"purchase_notice": Wanted(is_daily=True)}
AT_ONCE = {"purchase_notice": Wanted()}
OFF = {"purchase_notice": Wanted(is_on=False)}


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina", roles=("global_admin",))


def buy(user: User, event: str, at: datetime = AT, product: str = "Power BI Pro") -> None:
    """Tell of a purchase, as an order does."""
    context = {
        "purchaser": "Pat",
        "purchaser_email": "pat@contoso.example",
        "organization": "Contoso",
        "vendor": "Seatkeeper Netherlands B.V.",
        "product": product,
        "quantity": 10,
        "plan_code": "monthly",
        "currency": "EUR",
        "total_minor": 12_100,
        "tax_name": "VAT",
        "link": f"{settings.PUBLIC_URL}/admin/billing/your-products/",
    }
    with tenant_atomic(user.tenant_id):
        queue_mail(
            "purchase_notice", event_key=event, to=[user], tenant_id=user.tenant_id, context=context, at=at
        )


def choose(user: User, wanted: dict[str, Wanted], at: datetime = AT) -> None:
    set_preferences(actor=actor_of(user), wanted=wanted, at=at)


def rows(user: User, kind: str) -> list[OutgoingMail]:
    with tenant_atomic(user.tenant_id):
        return list(OutgoingMail.objects.filter(kind=kind, to_user_id=user.pk).order_by("id"))


def listed(user: User) -> list[list[str]]:
    """The products of each digest, in order."""
    return [[each["product"] for each in mail.context["purchases"]] for mail in rows(user, "purchase_digest")]


def states(user: User) -> list[str]:
    return [row.state for row in rows(user, "purchase_notice")]


def test_a_day_of_purchases_is_one_mail_on_the_next_morning(gina: User) -> None:
    choose(gina, DAILY)
    buy(gina, "1")
    buy(gina, "2", AT + timedelta(hours=5), product="Visio Plan 1")

    too_early = queue_digests(at=DUE - timedelta(seconds=1))
    queued, again = queue_digests(at=DUE), queue_digests(at=DUE + timedelta(hours=1))
    (mail,) = rows(gina, "purchase_digest")
    message = message_of(mail)

    assert (too_early, queued, again) == (0, 1, 0)
    assert listed(gina) == [["Power BI Pro", "Visio Plan 1"]]
    assert states(gina) == ["listed", "listed"]
    assert (mail.state, mail.to_address, mail.next_try_at) == ("queued", gina.email, DUE)
    assert message.subject == "2 purchases on 10 Mar 2026"
    for notice in rows(gina, "purchase_notice"):
        assert f"/my/notices/{notice.pk}/" in message.body
        assert f"/my/notices/{notice.pk}/" in str(message.alternatives[0][0])


def test_a_day_without_purchases_has_no_mail(gina: User) -> None:
    choose(gina, DAILY)

    assert queue_digests(at=DUE) == 0
    assert rows(gina, "purchase_digest") == []


def test_the_purchases_are_in_the_inbox_at_once_and_the_digest_is_not(gina: User) -> None:
    choose(gina, DAILY)
    buy(gina, "1")
    browser = client_of(gina)
    before = browser.get("/my/notices/").context["lines"]

    queue_digests(at=DUE)
    after = browser.get("/my/notices/")

    assert [line.title for line in before] == ["Pat bought Power BI Pro"]
    assert [line.title for line in after.context["lines"]] == ["Pat bought Power BI Pro"]
    assert "Notices, 1 unread" in after.text


def test_each_person_and_organization_has_a_digest_of_their_own(contoso: Tenant, gina: User) -> None:
    bill = make_user(contoso, roles=("billing_admin",))
    fabrikam = make_tenant(name="Fabrikam", time_zone="America/New_York")
    fiona = make_user(fabrikam, roles=("global_admin",))
    for person in (gina, fiona):
        choose(person, DAILY)
    for person in (gina, bill, fiona):
        buy(person, f"{person.pk}")

    in_europe, in_america = queue_digests(at=DUE), queue_digests(at=DUE + timedelta(hours=5))

    assert (in_europe, in_america) == (1, 1)
    assert states(bill) == ["queued"]
    assert (listed(gina), listed(bill), listed(fiona)) == ([["Power BI Pro"]], [], [["Power BI Pro"]])


def test_after_days_without_a_beat_each_day_has_its_mail(gina: User) -> None:
    choose(gina, DAILY)
    for day in range(3):
        buy(gina, str(day), AT + timedelta(days=day), product=f"Product {day}")

    queued = queue_digests(at=DUE + timedelta(days=9), limit=1)

    assert queued == 3
    assert listed(gina) == [["Product 0"], ["Product 1"], ["Product 2"]]


def test_what_comes_late_for_a_day_that_was_sent_is_not_lost(gina: User) -> None:
    choose(gina, DAILY)
    buy(gina, "1")
    queue_digests(at=DUE)

    buy(gina, "late", AT + timedelta(minutes=1), product="Late")
    queue_digests(at=DUE + timedelta(minutes=5))

    assert listed(gina) == [["Power BI Pro"], ["Late"]]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [(AT_ONCE, ["listed", "queued"]), (OFF, ["portal", "portal"]), (DAILY, ["listed", "listed"])],
)
def test_a_change_in_between_loses_nothing_and_sends_nothing_twice(
    gina: User, wanted: dict[str, Wanted], expected: list[str]
) -> None:
    choose(gina, DAILY)
    buy(gina, "before")
    choose(gina, wanted, AT + timedelta(hours=1))
    buy(gina, "after", AT + timedelta(hours=2))

    queue_digests(at=DUE)
    queue_digests(at=DUE + timedelta(days=1))

    assert states(gina) == expected
    assert sum(map(len, listed(gina))) == expected.count("listed")
    with tenant_atomic(gina.tenant_id):
        assert OutgoingMail.objects.visible_to(actor_of(gina)).count() == 2


def test_what_was_sent_at_once_is_in_no_digest(gina: User) -> None:
    buy(gina, "1")
    choose(gina, DAILY, AT + timedelta(hours=1))

    assert queue_digests(at=DUE) == 0
    assert states(gina) == ["queued"]


def test_who_left_gets_no_digest_and_nothing_waits_for_ever(gina: User) -> None:
    choose(gina, DAILY)
    buy(gina, "1")
    make_user(gina.tenant, roles=("global_admin",))
    with tenant_atomic(gina.tenant_id):
        User.objects.filter(pk=gina.pk).update(status="disabled")

    assert queue_digests(at=DUE) == 0
    assert states(gina) == ["portal"]


def test_several_workers_queue_each_digest_once(contoso: Tenant) -> None:
    people = [make_user(contoso, roles=("billing_admin",)) for _ in range(6)]
    for person in people:
        choose(person, DAILY)
        for number in range(3):
            buy(person, f"{person.pk}-{number}")

    def work(_: int) -> int:
        try:
            return queue_digests(at=DUE, limit=2)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        queued = sum(pool.map(work, range(4))) + queue_digests(at=DUE)

    assert queued == 6
    assert [listed(person) for person in people] == [[["Power BI Pro"] * 3]] * 6


def test_the_link_of_a_digest_switches_the_notices_off(gina: User) -> None:
    choose(gina, DAILY)
    buy(gina, "1")
    queue_digests(at=DUE)
    (mail,) = rows(gina, "purchase_digest")
    link = message_of(mail).extra_headers["List-Unsubscribe"].strip("<>")

    switch_off(token=link.rstrip("/").rsplit("/", 1)[1], at=AT)

    assert preferences_of(actor_of(gina))["purchase_notice"] == Wanted(is_on=False, is_daily=True)


@pytest.mark.parametrize(
    ("told_at", "zone", "expected"),
    [
        (datetime(2026, 3, 10, 22, 59, tzinfo=UTC), "Europe/Amsterdam", DUE),
        (datetime(2026, 3, 10, 23, 0, tzinfo=UTC), "Europe/Amsterdam", DUE + timedelta(days=1)),
        # The clock goes forward in that night.
        (
            datetime(2026, 3, 28, 12, 0, tzinfo=UTC),
            "Europe/Amsterdam",
            datetime(2026, 3, 29, 5, 0, tzinfo=UTC),
        ),
        (datetime(2026, 3, 10, 9, 30, tzinfo=UTC), "Asia/Kolkata", datetime(2026, 3, 11, 1, 30, tzinfo=UTC)),
    ],
)
def test_the_digest_is_due_at_seven_on_the_next_morning(told_at: Any, zone: str, expected: Any) -> None:
    assert next_digest_at(told_at, zone) == expected
