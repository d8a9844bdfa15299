"""The pages of support cases, as who works at support uses them (product §11, §14; docs/operator.md)."""

import re
import time
from datetime import timedelta

import pytest
from django.test import Client

from commerce.models import Bill, Subscription, SupportCase
from commerce.operations import cases
from config.invariants import violations
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import OutgoingMail, Tenant, User
from directory.operations.people import disable_user, enable_user
from directory.sessions import PROVED
from tests.factories import (
    actor_of,
    client_of,
    make_self_service_subscription,
    make_staff,
    make_tenant,
    make_user,
)
from tests.operator.work import make_work

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

LIST = "/operator/cases/"


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso", domain="contoso.test")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina", roles=("global_admin",))


@pytest.fixture
def dora(contoso: Tenant) -> User:
    return make_user(contoso, name="Dora")


@pytest.fixture
def asked(gina: User, dora: User) -> SupportCase:
    """Support is asked to cancel what Dora, who left, bought a day ago."""
    at = now() - timedelta(days=1)
    bought = make_self_service_subscription(dora, quantity=3, at=at)
    disable_user(actor=actor_of(gina), user_id=dora.pk, at=at)
    return cases.ask_to_cancel(actor=actor_of(gina), key=bought.key, message="She left.", at=at)


@pytest.fixture
def support(vendor: Tenant) -> Client:
    return client_of(make_staff(vendor, "staff_support", name="Sven Larsen"), with_factor=True)


def quote_on(page: str) -> str:
    found = re.search(r'name="quote" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def bought_of(case: SupportCase) -> Subscription:
    with tenant_atomic(case.tenant_id):
        row: Subscription = Subscription.objects.get(pk=case.subscription_id)
        return row


def given_back(case: SupportCase) -> list[int]:
    with tenant_atomic(case.tenant_id):
        return list(Bill.objects.filter(type="cancel").values_list("total_minor", flat=True))


def test_support_and_superusers_see_cases_and_nobody_else(
    vendor: Tenant, gina: User, asked: SupportCase
) -> None:
    page = f"{LIST}{asked.pk}/"
    for role in ("staff_support", "staff_superuser"):
        browser = client_of(make_staff(vendor, role), with_factor=True)
        assert [browser.get(address).status_code for address in (LIST, page)] == [200, 200]
    not_there = Client().get("/no/such/page/").content
    others = (client_of(make_staff(vendor, "staff_catalogue"), with_factor=True), client_of(gina))
    for browser in others:
        for answer in (browser.get(LIST), browser.get(page), browser.post(page, {"action": "cancel"})):
            assert (answer.status_code, answer.content) == (404, not_there)
    assert bought_of(asked).recurring_billing is True


@pytest.mark.parametrize("number", [1, 10**12, 10**30])
def test_no_made_up_number_is_a_case(support: Client, asked: SupportCase, number: int) -> None:
    if number == asked.pk:
        number += 1

    assert support.get(f"{LIST}{number}/").status_code == 404


def test_the_list_leads_to_what_is_asked_and_what_canceling_does(support: Client, asked: SupportCase) -> None:
    rows, page = support.get(LIST).text, support.get(f"{LIST}{asked.pk}/").text

    assert f'href="{LIST}{asked.pk}/"' in rows
    for words in ("Contoso", "Dora", "She left.", "Gina", "Access ends at once", "Cancel now, refund €"):
        assert words in page


def test_what_the_page_said_happens_once(support: Client, asked: SupportCase) -> None:
    page = f"{LIST}{asked.pk}/"
    shown = support.get(page).text
    form = {"action": "cancel", "quote": quote_on(shown), "answer": "Done, as you asked."}

    first = support.post(page, form)
    told, after = support.get(page).text, given_back(asked)
    second = support.post(page, form)

    refund = re.search(r"Cancel now, refund €([0-9.,]+)", shown)
    assert refund is not None
    assert after == [-int(refund[1].replace(",", "").replace(".", ""))]
    assert (first.status_code, first["Location"]) == (303, page)
    assert "The admins of Contoso get a mail" in told
    assert (second.status_code, "This case was answered already." in second.text) == (409, True)
    assert given_back(asked) == after
    assert bought_of(asked).state == "disabled"
    with tenant_atomic(asked.tenant_id):
        assert OutgoingMail.objects.filter(kind="case_answered").count() == 1
        case = SupportCase.objects.get()
    assert (case.state, case.answer, case.answered_by) == (
        "done",
        "Done, as you asked.",
        "Support: Sven Larsen",
    )
    assert violations(at=now()) == []


def test_nothing_happens_but_what_a_page_of_this_case_said(
    support: Client, asked: SupportCase, gina: User
) -> None:
    other = make_work(make_tenant(name="Fabrikam")).case
    of_other = quote_on(support.get(f"{LIST}{asked.pk}/").text).replace("A", "B")
    page = f"{LIST}{asked.pk}/"

    for quote in ("", "x", of_other):
        answer = support.post(page, {"action": "cancel", "quote": quote})
        assert (answer.status_code, "Nothing was changed." in answer.text) == (422, True)
    foreign = support.post(
        f"{LIST}{other.pk}/", {"action": "cancel", "quote": quote_on(support.get(page).text)}
    )

    assert foreign.status_code == 422
    assert bought_of(asked).state == "active"
    assert given_back(asked) == []


def test_money_goes_back_after_a_fresh_sign_in_only(support: Client, asked: SupportCase) -> None:
    page = f"{LIST}{asked.pk}/"
    quote = quote_on(support.get(page).text)
    session = support.session
    session[PROVED] = time.time() - 600
    session.save()

    answer = support.post(page, {"action": "cancel", "quote": quote})

    assert answer.status_code == 403
    assert "within the last 5 minutes" in answer.text
    assert given_back(asked) == []
    assert bought_of(asked).state == "active"


def test_what_ended_meanwhile_is_not_called_canceled(support: Client, asked: SupportCase, gina: User) -> None:
    page = f"{LIST}{asked.pk}/"
    quote = quote_on(support.get(page).text)
    with tenant_atomic(asked.tenant_id):
        Subscription.objects.filter(pk=asked.subscription_id).update(state="expired", recurring_billing=False)

    stale = support.post(page, {"action": "cancel", "quote": quote})
    assert (stale.status_code, "Nothing is left to cancel" in stale.text) == (409, True)
    answer = support.post(page, {"action": "cancel", "quote": quote_on(stale.text)})

    assert answer.status_code == 303
    assert given_back(asked) == []
    assert bought_of(asked).state == "expired"


def test_what_runs_again_since_the_page_said_nothing_is_left_is_not_canceled(
    support: Client, asked: SupportCase
) -> None:
    page = f"{LIST}{asked.pk}/"
    with tenant_atomic(asked.tenant_id):
        Subscription.objects.filter(pk=asked.subscription_id).update(state="expired")
    quote = quote_on(support.get(page).text)
    with tenant_atomic(asked.tenant_id):
        Subscription.objects.filter(pk=asked.subscription_id).update(state="active")

    answer = support.post(page, {"action": "cancel", "quote": quote})

    assert answer.status_code == 409
    assert bought_of(asked).recurring_billing is True
    assert given_back(asked) == []


def test_a_case_is_declined_with_a_reason_only(support: Client, asked: SupportCase) -> None:
    page = f"{LIST}{asked.pk}/"

    without = support.post(page, {"action": "decline", "answer": " \0"})
    declined = support.post(page, {"action": "decline", "answer": "Take it over instead."})

    assert (without.status_code, "Say why it is declined." in without.text) == (422, True)
    assert declined.status_code == 303
    assert "Take it over instead." in support.get(page).text
    assert bought_of(asked).recurring_billing is True
    with tenant_atomic(asked.tenant_id):
        assert SupportCase.objects.get().state == "declined"


def test_who_is_back_cancels_it_alone(support: Client, asked: SupportCase, gina: User, dora: User) -> None:
    page = f"{LIST}{asked.pk}/"
    quote = quote_on(support.get(page).text)
    enable_user(actor=actor_of(gina), user_id=dora.pk, at=now())

    shown = support.get(page).text
    answer = support.post(page, {"action": "cancel", "quote": quote})

    assert "Decline the case." in shown
    assert 'value="cancel"' not in shown
    assert answer.status_code == 409
    assert bought_of(asked).state == "active"


def test_the_first_page_names_cases_that_wait(support: Client, asked: SupportCase) -> None:
    before = support.get("/operator/").text
    support.post(f"{LIST}{asked.pk}/", {"action": "decline", "answer": "No."})

    assert "Organizations ask support for something" in before
    assert "Organizations ask support for something" not in support.get("/operator/").text
