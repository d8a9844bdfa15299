"""The pages of what stopped, as who works at the vendor sees and uses them (docs/operator.md)."""

from typing import Any

import pytest
from django.test import Client

from commerce.models import Bill, RefundAttempt, Subscription, WebhookEvent
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, Job, OutgoingMail, Tenant
from directory.operations import jobs
from directory.permissions import Capability
from tests.factories import AT, client_of, make_staff, make_tenant, make_user
from tests.operator.work import Work, lost, make_mail, make_work
from tests.processor import charges, fault

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

WORK = "/operator/work/"
PAGES = ("purchases", "charges", "bills", "refunds", "events", "mails", "jobs")
# The list, the button, and the row of `Work` that it is pressed for.
DEEDS = (
    (
        "purchases",
        "again",
        "parked",
        "Power BI Pro of Contoso goes on with the next sweep, within two minutes.",
    ),
    ("bills", "again", "bill", "of Contoso is charged by the next sweep, within a minute."),
    ("refunds", "again", "refund", "of Contoso is given back by the next sweep, within a minute."),
    ("events", "again", "event", "The processor is asked anew about"),
    ("mails", "again", "mail", "The mail to Contoso is in the queue again."),
    ("jobs", "again", "job", "Contoso: Example goes on where it stopped."),
)


@pytest.fixture(autouse=True)
def _known_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = jobs.Kind("example", "Example", Capability.SEE_PURCHASES, lambda **_: jobs.Step(cursor=None))
    monkeypatch.setitem(jobs.KINDS, "example", kind)


@pytest.fixture
def work() -> Work:
    return make_work(make_tenant(name="Contoso"))


@pytest.fixture
def support(vendor: Tenant) -> Client:
    return client_of(make_staff(vendor, "staff_support", name="Sven Larsen"), with_factor=True)


def press(browser: Client, page: str, deed: str, row: object, **typed: str) -> Any:
    return browser.post(f"{WORK}{page}/", {"deed": deed, "row": str(row), **typed})


def deeds_of(tenant: Tenant) -> list[tuple[str, str]]:
    """What the staff did, in the organization's trail."""
    with tenant_atomic(tenant.pk):
        rows = AuditEntry.objects.filter(actor_label__startswith="Support: ").order_by("pk")
        return list(rows.values_list("code", "actor_label"))


# --- Who sees them ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_who_sets_work_going_sees_each_list_and_nobody_else(vendor: Tenant, work: Work, page: str) -> None:
    not_there = Client().get("/no/such/page/").content
    for role in ("staff_support", "staff_superuser"):
        answer = client_of(make_staff(vendor, role), with_factor=True).get(f"{WORK}{page}/")
        assert (answer.status_code, "No such" in answer.text) == (200, False)
    others = (
        client_of(make_staff(vendor, "staff_catalogue"), with_factor=True),
        client_of(make_user(work.tenant, roles=("global_admin",))),
        client_of(make_user(vendor, roles=("global_admin",))),
    )
    for browser in others:
        for answer in (browser.get(f"{WORK}{page}/"), press(browser, page, "again", 1)):
            assert (answer.status_code, answer.content) == (404, not_there)


@pytest.mark.parametrize("page", PAGES)
def test_without_the_second_factor_a_list_leads_to_it(vendor: Tenant, page: str) -> None:
    browser = client_of(make_staff(vendor, "staff_support"))

    answer = browser.get(f"{WORK}{page}/")

    assert answer["Location"] == f"/operator/second-factor/?next=%2Foperator%2Fwork%2F{page}%2F"


def test_the_menu_and_the_first_page_name_the_work_to_who_may_do_it(vendor: Tenant, work: Work) -> None:
    make_mail(work.tenant, state="sent")
    support = client_of(make_staff(vendor, "staff_support"), with_factor=True).get("/operator/").text
    catalogue = client_of(make_staff(vendor, "staff_catalogue"), with_factor=True).get("/operator/").text

    order = [
        "Charges without an answer",
        "Bills that the card processor refuses",
        "Refunds that did not go back",
        "Purchases that could not be renewed, ended or billed",
        "Mails wait to be sent for over an hour",
        "Mails were given up",
        "Mails may have gone out or not",
        "Jobs stopped",
    ]
    places = [support.index(f"<strong>{title}</strong>") for title in order]
    assert places == sorted(places)
    assert support.count(">Urgent<") == 4
    assert "1 waits, the oldest for " in support
    for page in PAGES:
        assert f'href="{WORK}{page}/"' in support
        assert f"{WORK}{page}/" not in catalogue


# --- What they do -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("page", "deed", "row", "said"), DEEDS)
def test_a_button_that_is_pressed_twice_acts_once(
    support: Client, work: Work, page: str, deed: str, row: str, said: str
) -> None:
    number = getattr(work, row).pk

    first = press(support, page, deed, number)
    told = support.get(first["Location"]).text
    after = deeds_of(work.tenant)
    second = press(support, page, deed, number)

    assert (first.status_code, first["Location"]) == (303, f"{WORK}{page}/")
    assert said in told
    assert second.status_code == 409
    assert "Nothing was changed." in second.text
    assert deeds_of(work.tenant) == after
    # An event is nobody's: it stands in the vendor's trail alone.
    assert bool(after) == (page != "events")


def test_what_was_set_going_goes(support: Client, work: Work) -> None:
    for page, deed, row, _said in DEEDS:
        press(support, page, deed, getattr(work, row).pk)

    with tenant_atomic(work.tenant.pk):
        assert Subscription.objects.get(pk=work.parked.pk).parked_at is None
        assert OutgoingMail.objects.get(pk=work.mail.pk).state == "queued"
        assert Job.objects.get(pk=work.job.pk).state == "queued"
        assert RefundAttempt.objects.filter(state="created").count() == 1
    assert WebhookEvent.objects.get(pk=work.event.pk).handled_at is None


def test_a_refund_is_booked_with_the_words_for_how_it_was_paid(support: Client, work: Work) -> None:
    without = press(support, "refunds", "book", work.refund.pk, words=" ")
    assert (without.status_code, "Say how it was paid back" in without.text) == (422, True)
    assert '<details class="sk-more" open>' in without.text
    assert deeds_of(work.tenant) == []

    answer = press(support, "refunds", "book", work.refund.pk, words="Transfer of 12 March")

    assert "is booked as paid back" in support.get(answer["Location"]).text
    with tenant_atomic(work.tenant.pk):
        assert Bill.objects.get(pk=work.refund.credit_note_id).status == "paid"


def test_a_charge_that_the_processor_does_not_know_stays_and_is_not_called_done(
    support: Client, work: Work, empty_processor: str
) -> None:
    fault("error", "/v1/payment_intents/*", method="GET", status=503, count=3)

    answer = press(support, "charges", "ask", work.charge.pk)

    assert answer.status_code == 503
    assert "it is still not known what became of the charge" in answer.text
    assert "€113.74" in answer.text


def test_a_charge_whose_answer_was_lost_is_booked_by_asking_once(
    support: Client, empty_processor: str
) -> None:
    attempt = lost(AT)

    first = press(support, "charges", "ask", attempt.pk)
    told = support.get(first["Location"]).text
    second = press(support, "charges", "ask", attempt.pk)

    assert "The checkout of Fabrikam: It is charged and booked." in told
    assert (first.status_code, second.status_code, charges()) == (303, 409, 1)
    with tenant_atomic(attempt.tenant_id):
        assert Bill.objects.get().status == "paid"


@pytest.mark.parametrize("row", ["", "x", "-1", "0", "٣", "999999999", "9" * 19, "9" * 40])
@pytest.mark.parametrize("page", PAGES)
def test_no_made_up_row_is_anybodys(support: Client, work: Work, page: str, row: str) -> None:
    for deed in ("again", "ask", "book", "", "drop"):
        answer = press(support, page, deed, row, words="x")
        assert answer.status_code in (409, 422)

    assert deeds_of(work.tenant) == []


# --- How they are found -------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["purchases", "charges", "refunds", "mails", "jobs"])
def test_a_list_is_narrowed_to_an_organization_by_its_name(support: Client, work: Work, page: str) -> None:
    make_work(make_tenant(name="Fabrikam"))

    both = support.get(f"{WORK}{page}/").text
    one = support.get(f"{WORK}{page}/", {"q": "toso"}).text
    none = support.get(f"{WORK}{page}/", {"q": "%\0"}).text

    assert ("Contoso" in both, "Fabrikam" in both) == (True, True)
    assert ("Contoso" in one, "Fabrikam" in one) == (True, False)
    assert "Nothing matches these filters." in none
    assert "Contoso" not in none


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_list_says_what_that_means(support: Client, page: str) -> None:
    answer = support.get(f"{WORK}{page}/").text

    assert "Nothing waits here" in answer
    assert "<table" not in answer


def test_mails_and_events_are_narrowed_by_their_state(support: Client, work: Work) -> None:
    dead, queued = (support.get(f"{WORK}mails/", {"state": state}).text for state in ("dead", "queued"))
    waiting, handled = (support.get(f"{WORK}events/", params).text for params in ({}, {"state": "handled"}))

    assert ("Given up after 10 tries" in dead, 'value="again"' in dead) == (True, True)
    assert ("1 try so far" in queued, 'value="again"' in queued) == (True, False)
    assert work.event.event_id not in waiting
    assert work.event.event_id in handled


def test_a_list_goes_on_over_pages_and_keeps_its_filter(support: Client, work: Work) -> None:
    for _ in range(51):
        make_mail(work.tenant)

    first = support.get(f"{WORK}mails/", {"q": "conto"})
    ahead = first.text.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    second = support.get(f"{WORK}mails/{ahead}")
    back = second.text.split('rel="prev" href="')[1].split('"')[0].replace("&amp;", "&")

    assert ahead.startswith("?q=conto&page=")
    assert (first.text.count('name="row"'), second.text.count('name="row"')) == (50, 2)
    assert 'rel="next"' not in second.text
    assert support.get(f"{WORK}mails/{back}").text.count('name="row"') == 50


def test_after_a_deed_the_list_is_where_it_was(support: Client, work: Work) -> None:
    answer = support.post(f"{WORK}mails/?q=toso", {"deed": "again", "row": str(work.mail.pk)})

    assert answer["Location"] == f"{WORK}mails/?q=toso"


@pytest.mark.parametrize("asked", ["?state=lost", "?page=x"])
def test_an_address_that_makes_no_sense_is_refused(support: Client, asked: str) -> None:
    assert support.get(f"{WORK}events/{asked}").status_code == 422


def test_the_pages_have_no_address_and_no_text_of_a_mail(support: Client, work: Work) -> None:
    page = support.get(f"{WORK}mails/").text

    assert "pat@contoso.example" not in page
    assert "Receipt of a purchase" in page
