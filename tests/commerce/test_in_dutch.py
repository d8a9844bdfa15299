"""What a Dutch reader gets: pages, mails, bills as PDF, money and dates (product §18)."""

from datetime import date

import pytest
from django.test import Client
from django.utils.translation import ngettext, override

from commerce.documents import pdf_of, sheet_of
from commerce.models import Bill, Subscription
from commerce.queries.bills import document_by_number
from config.kit.money import format_money
from config.kit.templatetags.kit import day, moment
from config.kit.tenancy import tenant_atomic
from directory.models import OutgoingMail, Tenant, User
from directory.operations.mail import queue_mail
from directory.operations.outbox import message_of
from tests.directory.test_every_mail import sample
from tests.factories import (
    AT,
    caller_with,
    client_of,
    make_self_service_subscription,
    make_tenant,
    make_user,
    token_of,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)
PAGE = "/my/licenses/"
IN_DUTCH, IN_ENGLISH = "<h1>Mijn licenties</h1>", "<h1>My licenses</h1>"
NL = {"HTTP_ACCEPT_LANGUAGE": "nl"}
EN = {"HTTP_ACCEPT_LANGUAGE": "en"}


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso", language="nl")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat")


@pytest.fixture
def bought(pat: User) -> Subscription:
    return make_self_service_subscription(pat)


def test_the_same_page_by_the_organizations_default_by_the_browser_and_by_choice(pat: User) -> None:
    client = client_of(pat)

    assert IN_DUTCH in client.get(PAGE).text
    assert IN_ENGLISH in client.get(PAGE, **EN).text
    assert IN_DUTCH in client.get(PAGE, **NL).text
    client.post("/my/language/", {"language": "en"})
    assert IN_ENGLISH in client.get(PAGE, **NL).text


def test_a_visitor_reads_prices_as_they_are_written_in_dutch() -> None:
    client = Client()
    client.cookies["market"] = "NL"

    text = client.get("/products/power-bi-pro/", **NL).text

    assert "per licentie per maand" in text
    assert "€\xa0" in text


@pytest.mark.parametrize(
    ("language", "money", "minus", "on"),
    [
        ("en", "€1,234.50", "\u2212€1,234.50", "3 Mar 2026"),
        ("nl", "€\xa01.234,50", "€\xa0\u22121.234,50", "3 mrt 2026"),
    ],
)
def test_money_and_dates_by_language(language: str, money: str, minus: str, on: str) -> None:
    with override(language):
        assert format_money(123_450, "EUR") == money
        assert format_money(-123_450, "EUR") == minus
        assert day(date(2026, 3, 3)) == on
        assert moment(AT, "Europe/Amsterdam").startswith(day(AT, "Europe/Amsterdam"))


def test_one_and_many() -> None:
    with override("nl"):
        said = [ngettext("%d license", "%d licenses", count) % count for count in (0, 1, 2)]

    assert said == ["0 licenties", "1 licentie", "2 licenties"]


def test_a_bill_in_the_readers_language(bought: Subscription) -> None:
    with tenant_atomic(bought.tenant_id):
        bill = Bill.objects.get(subscription=bought)
        document = document_by_number(bought.tenant_id, bill.number)
        with override("nl"):
            sheet = sheet_of(document)

    assert sheet["lang"] == "nl"
    assert sheet["title"] == f"Factuur {bill.number}"
    assert sheet["badge"] == "Betaald"
    assert sheet["heads"][0] == "Omschrijving"
    with override("nl"):
        assert format_money(bill.total_minor, "EUR") in [row["value"] for row in sheet["sums"]]
        pdf = pdf_of(document, at=AT)
    assert b"/Lang(nl)" in pdf


def test_a_mail_with_its_bill_in_the_organizations_language(pat: User, bought: Subscription) -> None:
    with tenant_atomic(pat.tenant_id):
        number = Bill.objects.get(subscription=bought).number
        context = sample("receipt", "https://portal.example/") | {"name": "Pat", "bill_number": number}
        queue_mail("receipt", event_key="1", to=[pat], tenant_id=pat.tenant_id, context=context, at=AT)
        mail = OutgoingMail.objects.get(kind="receipt")

    message = message_of(mail)

    assert message.subject.startswith("Je betaalbewijs: Power BI Pro, € ")
    assert "Hallo Pat," in str(message.body)
    html = str(message.alternatives[0][0])
    assert '<html lang="nl">' in html
    assert "Licenties uitdelen" in html
    _name, content, _kind = message.attachments[0]
    assert b"/Lang(nl)" in bytes(content)  # type: ignore[arg-type]


def test_a_problem_in_the_callers_language_has_the_same_code(contoso: Tenant) -> None:
    gina = make_user(contoso, roles=("global_admin",))
    caller = caller_with(token_of(gina, "bills.read"))
    address = "/api/v1.0/bills/SK-NL-2026-999999"

    english, dutch = caller.get(address).json(), caller.get(address, **NL).json()

    assert (english["title"], dutch["title"]) == ("Not Found", "Niet gevonden")
    assert english["detail"] == "Not found."
    assert dutch["detail"] == "Niet gevonden."
    assert (english["code"], english["type"]) == (dutch["code"], dutch["type"])
