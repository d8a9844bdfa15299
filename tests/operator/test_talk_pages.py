"""Conversations at the vendor's site, as who works at support uses them (product §14; docs/support.md)."""

from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from commerce.models import CaseFile, Subscription, SupportCase
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import OutgoingMail, Tenant, User
from tests.commerce.talking import PNG, again, ask, grant, said, used
from tests.factories import (
    client_of,
    make_central_subscription,
    make_staff,
    make_tenant,
    make_user,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

LIST = "/operator/cases/"


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def bill(contoso: Tenant) -> User:
    return make_user(contoso, name="Bill", roles=("billing_admin",))


@pytest.fixture
def central(bill: User) -> Subscription:
    bought = make_central_subscription(bill, at=now() - timedelta(days=2))
    assert bought.agreement is not None
    grant(bought.agreement, 2)
    return bought


@pytest.fixture
def case(bill: User, central: Subscription) -> SupportCase:
    return ask(bill, central, is_premier=True, at=now() - timedelta(hours=3))


@pytest.fixture
def support(vendor: Tenant) -> Client:
    return client_of(make_staff(vendor, "staff_support", name="Sven Larsen"), with_factor=True)


def test_the_list_says_how_long_a_case_waits_and_leads_to_it(support: Client, case: SupportCase) -> None:
    rows = support.get(LIST).text

    for words in ("Report is gone", "Contoso", "3\xa0hours", "Premier", f'href="{LIST}{case.pk}/"'):
        assert words in rows


def test_support_answers_with_a_file_and_the_customer_gets_both(
    support: Client, bill: User, case: SupportCase
) -> None:
    page = f"{LIST}{case.pk}/"
    fields = {"action": "answer", "state": "waiting", "text": "Which browser?"}

    answer = support.post(page, fields | {"files": [SimpleUploadedFile("how.png", PNG)]})

    assert answer.status_code == 303
    assert said(case)[1] == ("Support: Sven Larsen", "Which browser?", True)
    for text in (support.get(page).text, client_of(bill).get(f"/admin/support/{case.key}/").text):
        assert ("Which browser?" in text, "how.png" in text) == (True, True)
    with tenant_atomic(case.tenant_id):
        assert OutgoingMail.objects.get(kind="case_replied").context["files"] == ["how.png"]
        assert CaseFile.objects.get().name == "how.png"
    assert f"{LIST}{case.pk}/" not in support.get(LIST).text
    assert f"{LIST}{case.pk}/" in support.get(f"{LIST}?state=waiting").text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"action": "answer", "state": "answered", "text": " "}, "Write what it is about."),
        ({"action": "answer", "state": "closed", "text": "x"}, "Choose what comes next."),
        ({"action": "give_back", "reason": ""}, "Say in up to 500 characters"),
        ({"action": "cancel"}, "Choose what to do."),
        ({}, "Choose what to do."),
    ],
)
def test_a_deed_that_is_none_changes_nothing(
    support: Client, case: SupportCase, fields: dict[str, str], words: str
) -> None:
    answer = support.post(f"{LIST}{case.pk}/", fields)

    assert (answer.status_code, words in answer.text) == (422, True)
    assert (again(case).state, len(said(case))) == ("open", 1)


def test_a_case_is_taken_on_and_given_up(support: Client, case: SupportCase) -> None:
    page = f"{LIST}{case.pk}/"

    support.post(page, {"action": "take"})
    taken = support.get(page).text
    support.post(page, {"action": "release"})

    assert "Give it up" in taken
    assert "Take it on" in support.get(page).text


def test_an_incident_is_given_back_with_the_reason(
    support: Client, central: Subscription, case: SupportCase
) -> None:
    page = f"{LIST}{case.pk}/"
    before = support.get(page).text

    answer = support.post(page, {"action": "give_back", "reason": "Our release broke it."})

    assert "1 of 2 incidents of this agreement are used." in before
    assert answer.status_code == 303
    assert "Premier, incident given back" in support.get(page).text
    assert used(central.agreement_id or 0, case.tenant_id) == 0


def test_the_catalogues_staff_grant_incidents_on_the_agreements_page(
    vendor: Tenant, central: Subscription
) -> None:
    olga = client_of(make_staff(vendor, "staff_catalogue"), with_factor=True)
    page = f"/operator/agreements/{central.agreement_id}/"

    wrong = olga.post(page, {"action": "incidents", "incidents": "-1"})
    answer = olga.post(page, {"action": "incidents", "incidents": "7"}, follow=True)

    assert (wrong.status_code, "Give 0 to 10,000 incidents." in wrong.text) == (422, True)
    assert "has 7 premier incidents in all" in answer.text
