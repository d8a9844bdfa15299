"""The page on which a bill's name, address or VAT number is corrected (product §6)."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from commerce.models import Bill, Subscription
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from tests.admin.browser import LOOKS, problems_of
from tests.admin.conftest import SignIn
from tests.factories import (
    make_bill,
    make_self_service_subscription,
    make_subscription,
    make_tenant,
    make_user,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

ADDRESS = "/admin/billing/bills/"
YEAR = now().year
FIRST, SECOND, THIRD = (f"SK-NL-{YEAR}-00000{n}" for n in (1, 2, 3))
RIGHT = {
    "name": "Contoso B.V.",
    "street": "Herengracht 2",
    "postal_code": "1016 BS",
    "city": "Amsterdam",
    "country": "NL",
    "vat_number": "",
    "own_reference": "PO 17",
}


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters", email="pat@contoso.example")


@pytest.fixture
def paid(pat: User) -> Subscription:
    return make_self_service_subscription(pat, at=now() - timedelta(days=1))


def numbers(tenant: Tenant) -> list[tuple[str, str]]:
    with tenant_atomic(tenant.pk):
        return list(Bill.objects.order_by("pk").values_list("number", "status"))


def post(client: Client, tenant: Tenant, number: str = FIRST, **changed: str) -> Any:
    data = RIGHT | {"shown_for_tenant": str(tenant.pk)} | changed
    return client.post(f"{ADDRESS}{number}/correct/", data)


def test_shows_the_details_and_what_happens_before_the_click(
    sign_in: SignIn, pat: User, paid: Subscription
) -> None:
    page = sign_in(pat).get(f"{ADDRESS}{FIRST}/correct/").content.decode()

    assert 'value="Pat Peters"' in page
    assert 'value="Keizersgracht 1"' in page
    assert "What was paid counts for the new bill." in page
    assert "It stays 21% VAT" in page
    assert "The next bills of Power BI Pro are made out to these details, too." in page


def test_corrects_and_goes_to_the_new_bill(
    sign_in: SignIn, contoso: Tenant, pat: User, paid: Subscription
) -> None:
    client = sign_in(pat)

    answer = post(client, contoso)

    assert (answer.status_code, answer["Location"]) == (303, f"{ADDRESS}{THIRD}/")
    page = client.get(answer["Location"]).content.decode()
    assert f"{FIRST} is credited by {SECOND}, and this bill takes its place." in page
    assert "Contoso B.V." in page
    assert "PO 17" in page


def test_bills_and_list_lead_both_ways(
    sign_in: SignIn, contoso: Tenant, pat: User, paid: Subscription
) -> None:
    client = sign_in(pat)
    post(client, contoso)

    old, note, new = (client.get(f"{ADDRESS}{number}/").content.decode() for number in (FIRST, SECOND, THIRD))
    rows = client.get(ADDRESS).content.decode()

    assert f"{THIRD} takes its place" in old
    assert all(f'href="{ADDRESS}{number}/"' in old for number in (SECOND, THIRD))
    assert all(f'href="{ADDRESS}{number}/"' in note for number in (FIRST, THIRD))
    assert f'href="{ADDRESS}{FIRST}/"' in new
    assert f'Replaced by <a class="sk-num" href="{THIRD}/">' in rows
    assert f'Replaces <a class="sk-num" href="{FIRST}/">' in rows
    assert "correct/" not in old
    assert "correct/" in new


def test_each_of_the_three_is_a_pdf(sign_in: SignIn, contoso: Tenant, pat: User, paid: Subscription) -> None:
    client = sign_in(pat)
    post(client, contoso)

    answers: list[Any] = [client.get(f"{ADDRESS}{number}/pdf/") for number in (FIRST, SECOND, THIRD)]

    assert [answer.content[:5] for answer in answers] == [b"%PDF-"] * 3


def test_a_second_tab_is_led_to_the_new_bill_and_corrects_nothing(
    sign_in: SignIn, contoso: Tenant, pat: User, paid: Subscription
) -> None:
    client = sign_in(pat)
    post(client, contoso)
    before = numbers(contoso)

    answer = post(client, contoso, name="Contoso Holding B.V.")

    assert (answer.status_code, answer["Location"]) == (303, f"{ADDRESS}{THIRD}/")
    assert numbers(contoso) == before


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"vat_number": "NL123456789B01"}, "This is not a VAT number (Netherlands)."),
        ({"name": ""}, "This field is required."),
        (
            {
                "name": "Pat Peters",
                "street": "Keizersgracht 1",
                "postal_code": "1015 CJ",
                "own_reference": "",
            },
            "This is what the bill says already. Nothing was changed.",
        ),
    ],
)
def test_says_what_is_wrong_and_changes_nothing(
    sign_in: SignIn, contoso: Tenant, pat: User, paid: Subscription, changed: dict[str, str], said: str
) -> None:
    answer = post(sign_in(pat), contoso, **changed)

    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert "Nothing was changed or charged." in answer.content.decode()
    assert numbers(contoso) == [(FIRST, "paid")]


def test_the_button_is_for_who_pays(sign_in: SignIn, contoso: Tenant) -> None:
    number = make_bill(make_subscription(contoso), at=now()).number
    reader = make_user(contoso, name="Rhea", roles=("global_reader",))
    admin = make_user(contoso, name="Bill", roles=("billing_admin",))

    pages = [sign_in(person).get(f"{ADDRESS}{number}/").content.decode() for person in (reader, admin)]

    assert ["correct/" in page for page in pages] == [False, True]
    assert "is to be paid by" in sign_in(admin).get(f"{ADDRESS}{number}/correct/").content.decode()


def test_every_page_is_clean_in_every_look(
    open_page: Any, sign_in: SignIn, contoso: Tenant, pat: User, paid: Subscription
) -> None:
    other = make_self_service_subscription(pat, quantity=2, at=now() - timedelta(days=1))
    with tenant_atomic(contoso.pk):
        second = Bill.objects.get(subscription=other).number
    post(sign_in(pat), contoso)
    post(sign_in(pat), contoso, second, vat_number="NL123456789B01")
    pages = {
        "correct": f"{second}/correct/",
        "corrected bill": f"{FIRST}/",
        "new bill": f"SK-NL-{YEAR}-000004/",
        "bills": "",
    }

    found = [
        problem
        for title, address in pages.items()
        for look in LOOKS
        for problem in problems_of(open_page(pat, ADDRESS + address, look), title, look)
    ]

    assert found == []
