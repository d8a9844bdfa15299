"""A request walked in Chromium, from Buy that is not there to the license, and axe on its pages (product §7.5)."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from commerce.models import Subscription
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import OutgoingMail, Tenant, User
from licensing.models import Assignment, LicenseRequest
from licensing.operations.requests import ask_for_licenses
from policies.models import PolicyValue
from policies.operations.policies import set_product_policy
from tests.admin.browser import LOOKS, problems_of
from tests.factories import actor_of, make_subscription, make_tenant, make_user, plan, product

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina Gerritsen", email="gina@contoso.example", roles=("global_admin",))


@pytest.fixture
def lisa(contoso: Tenant) -> User:
    return make_user(contoso, name="Lisa Lee", email="lisa@contoso.example", roles=("license_admin",))


@pytest.fixture
def mike(contoso: Tenant) -> User:
    return make_user(contoso, name="Mike Mulder", email="mike@contoso.example")


@pytest.fixture
def central(contoso: Tenant) -> Subscription:
    return make_subscription(contoso, quantity=3)


def test_without_script_from_the_reasons_against_buying_to_a_license(
    open_page: Any, gina: User, lisa: User, mike: User, central: Subscription
) -> None:
    set_product_policy(
        actor=actor_of(gina), product_keys=[product().key], value=PolicyValue.DISABLED, at=now()
    )
    page = open_page(mike, "/buy/power-bi-pro/", "no script")
    page.get_by_role("link", name="Request a license").click()
    page.get_by_label("What it is for").fill("I report on the tenders.")
    page.get_by_role("button", name="Send request").click()
    expect(page.get_by_text("Your request was sent.")).to_be_visible()
    expect(page.get_by_role("row", name="Power BI Pro")).to_contain_text("Waiting")

    queue = open_page(lisa, "/admin/requests/", "no script")
    queue.get_by_role("link", name="Mike Mulder").click()
    expect(queue.get_by_text("I report on the tenders.")).to_be_visible()
    queue.get_by_role("button", name="Approve", exact=True).click()

    expect(queue.get_by_text("Assigned. Everybody who got a license gets a mail.")).to_be_visible()
    with tenant_atomic(mike.tenant_id):
        assert list(Assignment.objects.values_list("user__name", flat=True)) == ["Mike Mulder"]


def test_the_menu_shows_how_many_wait(open_page: Any, lisa: User, mike: User, central: Subscription) -> None:
    _asked(mike, lisa)

    page = open_page(lisa, "/admin/licenses/", "desktop")

    expect(page.get_by_role("link", name=re.compile("Requests"))).to_contain_text("1 waiting")


@pytest.mark.parametrize("look", LOOKS)
def test_the_pages_stand_axe_and_a_phone(
    open_page: Any, gina: User, lisa: User, mike: User, central: Subscription, look: str
) -> None:
    set_product_policy(
        actor=actor_of(gina), product_keys=[product().key], value=PolicyValue.DISABLED, at=now()
    )
    request = _asked(mike, lisa)
    ask_for_licenses(
        actor=actor_of(mike),
        product=plan("visio-plan-2").product,
        user_ids=[mike.pk],
        reason="Drawings",
        at=now(),
    )
    with tenant_atomic(mike.tenant_id):
        link = (
            OutgoingMail.objects.filter(kind="request_received", to_user_id=gina.pk).first().context["link"]
        )
    wrong = []
    for title, user, address in (
        ("Not eligible", mike, "/buy/power-bi-pro/"),
        ("Ask", mike, "/my/requests/ask/power-bi-pro/"),
        ("My requests", mike, "/my/requests/"),
        ("Queue", lisa, "/admin/requests/"),
        ("Queue, one open", gina, f"/admin/requests/?show=waiting&open={request.key}"),
        ("Request", gina, f"/admin/requests/{request.key}/"),
        ("Several", lisa, f"/admin/requests/decide/?request={request.key}&action=reject"),
        ("How people ask", gina, "/admin/requests/settings/"),
        ("Link", mike, "/" + link.split("/", 3)[3]),
    ):
        wrong += problems_of(open_page(user, address, look), title, look)

    assert wrong == []


def _asked(mike: User, other: User) -> LicenseRequest:
    return ask_for_licenses(
        actor=actor_of(mike),
        product=product(),
        user_ids=[mike.pk, other.pk],
        reason="The finance team closes the year with these reports. We need them before 1 December.",
        at=now(),
    ).request
