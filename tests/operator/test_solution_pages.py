"""The page on which the vendor's staff judge partners' solutions (product §12; docs/operator.md)."""

import pytest
from django.test import Client

from commerce.models import Solution
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant
from tests.factories import client_of, make_staff, make_tenant, make_user
from tests.operator.work import Work, make_work

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

PAGE = "/operator/solutions/"


@pytest.fixture
def work() -> Work:
    return make_work(make_tenant(name="Northwind"))


@pytest.fixture
def browser(vendor: Tenant) -> Client:
    return client_of(make_staff(vendor, "staff_catalogue", name="Olga Kuiper"), with_factor=True)


def state_of(work: Work) -> tuple[str, str]:
    with tenant_atomic(work.tenant.pk):
        found: tuple[str, str] = Solution.objects.values_list("state", "answer").get()
        return found


@pytest.mark.parametrize("role", ["staff_catalogue", "staff_support", "staff_superuser"])
def test_all_staff_judge_solutions(vendor: Tenant, work: Work, role: str) -> None:
    page = client_of(make_staff(vendor, role), with_factor=True).get(PAGE).text

    for words in ("Northwind", "Reports in a day", "We build it.", 'href="https://a.example/"', "Approve"):
        assert words in page


def test_nobody_else_sees_them_here(vendor: Tenant, work: Work) -> None:
    not_there = Client().get("/no/such/page/").content
    for user in (
        make_user(work.tenant, roles=("global_admin",)),
        make_user(vendor, roles=("global_admin",)),
    ):
        for answer in (client_of(user).get(PAGE), client_of(user).post(PAGE, {"deed": "approve"})):
            assert (answer.status_code, answer.content) == (404, not_there)


def test_a_solution_is_approved_once(browser: Client, work: Work) -> None:
    form = {"deed": "approve", "row": work.solution.pk}

    first = browser.post(PAGE, form)
    told = browser.get(PAGE).text
    second = browser.post(PAGE, form | {"deed": "decline", "words": "No."})

    assert first.status_code == 303
    assert (second.status_code, "decided or withdrawn meanwhile" in second.text) == (409, True)
    assert state_of(work) == ("approved", "")
    assert "Approved. Reports in a day is shown beside" in told


def test_a_solution_is_declined_with_a_reason_only(browser: Client, work: Work) -> None:
    form = {"deed": "decline", "row": work.solution.pk}

    without = browser.post(PAGE, form | {"words": " "})
    declined = browser.post(PAGE, form | {"words": "The address\0 leads nowhere."})

    assert (without.status_code, "Say why it is declined." in without.text) == (422, True)
    assert declined.status_code == 303
    assert state_of(work) == ("declined", "The address leads nowhere.")
    page = browser.get(PAGE, {"state": "declined"}).text
    assert "The address leads nowhere." in page
    assert 'name="row"' not in page


def test_the_first_page_names_solutions_that_wait(browser: Client, work: Work) -> None:
    before = browser.get("/operator/").text
    browser.post(PAGE, {"deed": "approve", "row": work.solution.pk})

    assert "Partners want something shown" in before
    assert "Partners want something shown" not in browser.get("/operator/").text
