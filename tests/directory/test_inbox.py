"""The inbox: whose notices, read and unread, topics, pages, links, the bell, and what is forgotten (product §15)."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection as app_connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from config.kit.clock import now
from config.kit.errors import NotVisible
from config.kit.sweeps import answer, schedule
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import OutgoingMail, Tenant, User
from directory.operations import inbox
from directory.operations.leaving import delete_user
from directory.operations.links import open_to
from directory.operations.mail import queue_mail
from directory.operations.preferences import Wanted, set_preferences
from directory.topics import TOPICS, kinds_of, name_of, topic_of
from tests.factories import (
    AT,
    actor_of,
    client_of,
    make_bill,
    make_relationship,
    make_self_service_subscription,
    make_tenant,
    make_user,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

ADDRESS = "/my/notices/"
JOB = {
    "title": "Export of your products",
    "organization": "Contoso",
    "is_done": True,
    "done": 9,
    "failed": 0,
    "has_file": True,
    "link": f"{settings.PUBLIC_URL}/admin/jobs/",
}


TRIAL = {
    "time_zone": "Europe/Amsterdam",
    "last_day_at": AT.isoformat(),
    "ends_at": AT.isoformat(),
    "plan_code": "monthly",
    "quantity": 2,
    "total_minor": 12_100,
    "currency": "EUR",
}


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters")


def tell(
    user: User, event: str = "1", *, kind: str = "job_finished", at: Any = AT, **facts: Any
) -> OutgoingMail:
    with tenant_atomic(user.tenant_id):
        queue_mail(kind, event_key=event, to=[user], tenant_id=user.tenant_id, context=JOB | facts, at=at)
        return OutgoingMail.objects.get(event_key=f"{kind}:{event}:{user.pk}")


def read_at(notice: OutgoingMail) -> Any:
    with tenant_atomic(notice.tenant_id):
        return OutgoingMail.objects.get(pk=notice.pk).read_at


# --- What is there --------------------------------------------------------------------------------------------------


def test_whatever_is_mailed_is_in_the_inbox_newest_first(pat: User) -> None:
    tell(pat, "old", title="An old job")
    tell(pat, "new", title="A new job", at=AT + timedelta(hours=1))

    text = client_of(pat).get(ADDRESS).text

    assert text.index("A new job") < text.index("An old job")
    assert text.count("is-unread") == 2
    assert "10 Mar 2026, 10:30" in text  # Amsterdam


def test_a_kind_that_is_switched_off_is_there_without_a_mail(contoso: Tenant, pat: User) -> None:
    set_preferences(actor=actor_of(pat), wanted={"trial_started": Wanted(is_on=False)}, at=AT)

    notice = tell(pat, kind="trial_started", product="Visio Plan 1", **TRIAL)

    assert notice.state == "portal"
    assert "Visio Plan 1" in client_of(pat).get(ADDRESS).text


def test_nobody_sees_another_persons_notices(contoso: Tenant, pat: User) -> None:
    notice = tell(pat, title="Secret export")
    colleague, stranger = make_user(contoso, roles=("global_admin",)), make_user(make_tenant())

    for other in (colleague, stranger):
        browser = client_of(other)
        assert "Secret export" not in browser.get(ADDRESS).text
        assert browser.get(f"{ADDRESS}{notice.pk}/").status_code == 404
        assert browser.post(ADDRESS, {"action": "read", "notice": notice.pk}).status_code == 404

    assert read_at(notice) is None


def test_who_acts_for_a_customer_has_no_notices_there(contoso: Tenant) -> None:
    partner = make_tenant()
    petra = make_user(partner)
    make_relationship(
        contoso, partner, roles=("global_admin",), users=(petra,), ends_at=AT + timedelta(days=900)
    )
    notice = tell(petra)

    acting = client_of(petra, contoso)
    at_home = client_of(petra)

    assert acting.get(ADDRESS).status_code == 404
    assert acting.get(f"{ADDRESS}{notice.pk}/").status_code == 404
    assert "sk-bell" not in acting.get(reverse("commerce:catalogue")).text
    assert at_home.get(f"{ADDRESS}{notice.pk}/").status_code == 200


def test_an_empty_inbox_says_what_comes_here(pat: User) -> None:
    browser = client_of(pat)

    assert "No notices yet." in browser.get(ADDRESS).text
    tell(pat)
    assert "Nothing here. Other notices" in browser.get(f"{ADDRESS}?topic=policy").text


def test_a_row_that_no_longer_renders_hides_no_other(pat: User) -> None:
    tell(pat, "good", title="A good job")
    broken = [
        tell(pat, "broken", kind="bill_due", due_at="yesterday"),
        tell(pat, "incomplete", kind="trial_started", ends_at=AT.isoformat()),
    ]

    page = client_of(pat).get(ADDRESS)

    assert page.status_code == 200
    assert "A good job" in page.text
    assert all(f"{ADDRESS}{notice.pk}/" in page.text for notice in broken)


# --- Read and unread ------------------------------------------------------------------------------------------------


def test_opening_a_notice_reads_it_and_it_can_be_unread_again(pat: User) -> None:
    notice, browser = tell(pat), client_of(pat)

    page = browser.get(f"{ADDRESS}{notice.pk}/")
    after_reading = read_at(notice)
    back = browser.post(ADDRESS, {"action": "unread", "notice": notice.pk})

    assert "Export of your products" in page.text
    assert after_reading is not None
    assert (back.status_code, back["Location"]) == (303, ADDRESS)
    assert read_at(notice) is None


def test_marking_twice_keeps_the_first_instant(pat: User) -> None:
    notice, actor = tell(pat), actor_of(pat)

    inbox.mark_read(actor=actor, notice_id=notice.pk, at=AT)
    inbox.mark_read(actor=actor, notice_id=notice.pk, at=AT + timedelta(days=1))

    assert read_at(notice) == AT


def test_mark_all_reads_what_the_page_showed_and_nothing_that_came_later(pat: User) -> None:
    shown, later = tell(pat, "a"), tell(pat, "b", at=AT + timedelta(minutes=5))
    colleagues = tell(make_user(pat.tenant))

    count = inbox.mark_all_read(actor=actor_of(pat), until=AT, at=AT + timedelta(minutes=6))

    assert count == 1
    assert read_at(shown) == AT + timedelta(minutes=6)
    assert (read_at(later), read_at(colleagues)) == (None, None)


def test_the_page_marks_all_and_keeps_its_filter(pat: User) -> None:
    notice, browser = tell(pat), client_of(pat)
    until = browser.get(f"{ADDRESS}?topic=other").context["until"]

    done = browser.post(f"{ADDRESS}?topic=other", {"action": "all", "until": until})

    assert (done.status_code, done["Location"]) == (303, f"{ADDRESS}?topic=other")
    assert read_at(notice) is not None


@pytest.mark.parametrize(
    ("posted", "status"),
    [
        ({"action": "all", "until": "soon"}, 422),
        ({"action": "all", "until": "2026-03-10"}, 422),
        ({"action": "burn"}, 422),
        ({"action": "read", "notice": "x"}, 404),
        ({"action": "read", "notice": "9" * 30}, 404),
    ],
)
def test_what_cannot_be_read_changes_nothing(pat: User, posted: dict[str, str], status: int) -> None:
    notice = tell(pat)

    assert client_of(pat).post(ADDRESS, posted).status_code == status
    assert read_at(notice) is None


def test_a_missing_notice_is_not_there(pat: User) -> None:
    with pytest.raises(NotVisible):
        inbox.mark_read(actor=actor_of(pat), notice_id=2**40, at=AT)
    assert client_of(pat).get(f"{ADDRESS}{2**80}/").status_code == 404


# --- The bell -------------------------------------------------------------------------------------------------------


def test_the_bell_counts_the_unread_on_both_kinds_of_pages(pat: User) -> None:
    make_self_service_subscription(pat)
    for number in range(3):
        tell(pat, str(number))
    inbox.mark_read(actor=actor_of(pat), notice_id=tell(pat, "read").pk, at=AT)
    browser = client_of(pat)

    for address in (reverse("licensing:my-licenses"), reverse("portal:your-products")):
        assert "Notices, 3 unread" in browser.get(address).text


def test_the_bell_counts_to_99_and_has_no_number_where_nothing_is_unread(pat: User) -> None:
    browser, address = client_of(pat), reverse("licensing:my-licenses")
    none = browser.get(address).text
    for number in range(100):
        tell(pat, str(number))

    assert "sk-bell__count" not in none
    assert "Notices, 99+ unread" in browser.get(address).text


def test_a_page_asks_once_for_the_bell_and_a_fragment_never(pat: User) -> None:
    make_self_service_subscription(pat)
    browser, address = client_of(pat), reverse("portal:your-products")

    def asked(**headers: str) -> list[str]:
        with CaptureQueriesContext(app_connection) as captured:
            browser.get(address, headers=headers)
        return [query["sql"] for query in captured if "directory_outgoingmail" in query["sql"]]

    page, public = asked(), CaptureQueriesContext(app_connection)
    with public:
        browser.__class__().get(reverse("commerce:catalogue"))

    assert len(page) == 1
    assert [query for query in public if "outgoingmail" in query["sql"]] == []
    with CaptureQueriesContext(app_connection) as fragment:
        browser.get(reverse("portal:requests-waiting"), headers={"HX-Request": "true"})
    assert [query for query in fragment if "outgoingmail" in query["sql"]] == []


# --- Topics and pages -----------------------------------------------------------------------------------------------


def test_a_topic_shows_its_kinds_alone_and_what_is_not_named_is_under_other(pat: User) -> None:
    tell(pat, title="A job")
    tell(pat, kind="hand_over_decided", decision="declined", product="Visio", **{"from": "Pat", "to": "Erik"})
    browser = client_of(pat)

    purchases, other = (browser.get(f"{ADDRESS}?topic={topic}").text for topic in ("purchases", "other"))

    assert ("Visio" in purchases, "A job" in purchases) == (True, False)
    assert ("Visio" in other, "A job" in other) == (False, True)
    assert browser.get(f"{ADDRESS}?topic=weather").status_code == 404


def test_every_topic_has_kinds_and_every_kind_one_topic() -> None:
    for topic in TOPICS:
        kinds = kinds_of(topic)
        assert {topic_of(kind) for kind in kinds} == {topic}
    assert topic_of("of_a_later_version") == "other"


def test_every_mail_has_a_name_for_who_may_not_read_it() -> None:
    kinds = [
        path.name.split(".")[0] for path in (settings.BASE_DIR / "templates" / "mail").glob("*.subject.txt")
    ]

    assert kinds
    assert [kind for kind in kinds if name_of(kind) == kind] == []
    assert name_of("of_a_later_version") == "of_a_later_version"


def test_unread_only_and_pages_by_key(pat: User) -> None:
    for number in range(30):
        tell(pat, f"{number:02}", title=f"Job {number:02}", at=AT + timedelta(minutes=number))
    inbox.mark_read(actor=actor_of(pat), notice_id=tell(pat, "29").pk, at=AT)
    browser = client_of(pat)

    first = browser.get(ADDRESS)
    second = browser.get(ADDRESS + first.context["next"])
    back = browser.get(ADDRESS + second.context["back"])
    unread = browser.get(f"{ADDRESS}?unread=1")

    def titles(page: Any) -> list[str]:
        return [line.title[-2:] if "Job" in line.title else line.title for line in page.context["lines"]]

    assert len(titles(first)) == 25
    assert len(titles(second)) == 5
    assert titles(back) == titles(first)
    assert first.context["lines"][0].notice.event_key.startswith("job_finished:29")
    assert unread.context["lines"][0].notice.event_key.startswith("job_finished:28")
    assert browser.get(f"{ADDRESS}?page=x").status_code == 422


# --- Links ----------------------------------------------------------------------------------------------------------


def test_a_link_is_there_only_for_who_may_open_its_page(contoso: Tenant, pat: User) -> None:
    own = make_self_service_subscription(pat)
    colleagues = make_self_service_subscription(make_user(contoso))
    bill = make_bill(own)
    base = settings.PUBLIC_URL
    links = {
        "own": f"{base}/admin/billing/your-products/{own.key}/",
        "colleague's": f"{base}/admin/billing/your-products/{colleagues.key}/",
        "missing": f"{base}/admin/billing/your-products/{uuid.uuid4()}/",
        "bill": f"{base}/admin/billing/bills/{bill.number}/pay/",
        "another page": f"{base}/my/licenses/?of=visio",
        "policy": f"{base}/admin/billing/policy/",
        "queue": f"{base}/admin/requests/{uuid.uuid4()}/",
        "with a token": f"{base}/my/notifications/off/abc/",
        "nowhere": f"{base}/no/such/page/",
    }

    with tenant_atomic(contoso.pk):
        pat.refresh_from_db()
        found = open_to(actor_of(pat), list(links.values()))
        admins = open_to(actor_of(make_user(contoso, roles=("billing_admin",))), list(links.values()))

    assert {name for name, link in links.items() if link in found} == {"own", "bill", "another page"}
    assert {name for name, link in links.items() if link in admins} == {
        *("own", "colleague's", "another page", "policy"),
    }
    assert found[links["own"]] == f"/admin/billing/your-products/{own.key}/"
    assert found[links["another page"]] == "/my/licenses/?of=visio"


def test_the_list_asks_once_for_each_kind_of_page(pat: User) -> None:
    own = make_self_service_subscription(pat)
    for number in range(10):
        tell(pat, str(number), link=f"{settings.PUBLIC_URL}/admin/billing/your-products/{own.key}/")
    browser = client_of(pat)

    with CaptureQueriesContext(app_connection) as captured:
        page = browser.get(ADDRESS)

    assert page.text.count("Go to it") == 10
    assert len([query for query in captured if "commerce_" in query["sql"]]) == 1
    assert len([query for query in captured if "directory_outgoingmail" in query["sql"]]) == 2


def test_a_notice_shows_the_mails_content_without_its_styles(pat: User) -> None:
    notice = tell(pat, title='<b>"Export" style="x"</b>')

    page = client_of(pat).get(f"{ADDRESS}{notice.pk}/").text

    assert " style=" not in page.replace("style=&quot;", "")
    assert "&lt;b&gt;" in page
    assert "You get this mail" not in page


def test_in_the_portal_no_link_has_a_token(pat: User) -> None:
    notice = tell(
        pat,
        link=f"{settings.PUBLIC_URL}/requests/decide/abc/",
        portal_link=f"{settings.PUBLIC_URL}/my/requests/",
    )
    browser = client_of(pat)

    for page in (browser.get(ADDRESS).text, browser.get(f"{ADDRESS}{notice.pk}/").text):
        assert 'href="/my/requests/"' in page.split("<main")[1]
        assert "/requests/decide/" not in page


# --- Forgetting -----------------------------------------------------------------------------------------------------


def test_what_is_older_than_its_time_is_forgotten_and_never_told_again(pat: User) -> None:
    old, young = tell(pat, "old"), tell(pat, "young", at=AT + timedelta(days=1))
    waiting = tell(pat, "waiting")
    with use_login("worker"):
        OutgoingMail.objects.filter(pk__in=[old.pk, young.pk]).update(state="sent")
    at = AT + settings.NOTICES_KEPT

    forgotten = inbox.forget_notices(at=at, limit=1)
    tell_again = inbox.forget_notices(at=at)
    with tenant_atomic(pat.tenant_id):
        queue_mail("job_finished", event_key="old", to=[pat], tenant_id=pat.tenant_id, context=JOB, at=at)
        row = OutgoingMail.objects.get(pk=old.pk)
        left = OutgoingMail.objects.visible_to(actor_of(pat)).order_by("pk")

        assert (forgotten, tell_again) == (1, 0)
        assert (row.to_user_id, row.to_address, row.context) == (None, "", {})
        assert [notice.pk for notice in left] == [young.pk, waiting.pk]
        assert OutgoingMail.objects.filter(kind="job_finished").count() == 3


def test_what_a_deleted_person_was_told_is_forgotten_at_once(contoso: Tenant, pat: User) -> None:
    gina = make_user(contoso, roles=("global_admin",))
    waiting, sent, others = tell(pat, "waiting"), tell(pat, "sent"), tell(gina)
    with tenant_atomic(contoso.pk):
        OutgoingMail.objects.filter(pk=sent.pk).update(state="sent")

    delete_user(actor=actor_of(gina), user_id=pat.pk, at=AT, real_at=AT)

    with tenant_atomic(contoso.pk):
        rows = OutgoingMail.objects.in_bulk()
        assert [rows[each.pk].state for each in (waiting, sent, others)] == ["left", "sent", "queued"]
        for each in (waiting, sent):
            row = rows[each.pk]
            assert (row.to_user_id, row.to_address, row.context) == (None, "", {})
        assert rows[others.pk].context["title"] == "Export of your products"


def test_the_beat_queues_digests_and_forgets(pat: User) -> None:
    old = tell(pat, at=now() - settings.NOTICES_KEPT - timedelta(days=1))
    with use_login("worker"):
        OutgoingMail.objects.filter(pk=old.pk).update(state="sent")

    for name in ("directory.send_digests", "directory.forget_notices"):
        assert name in schedule()
        answer(name)

    with tenant_atomic(pat.tenant_id):
        assert OutgoingMail.objects.get(pk=old.pk).context == {}
