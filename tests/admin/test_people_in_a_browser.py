"""People, groups and those who leave walked in Chromium, and axe on every page of it (product §2, §11)."""

from typing import Any

import pytest
from playwright.sync_api import expect

from commerce.models import Subscription
from commerce.operations.cases import ask_to_cancel
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import Group, Tenant, User
from directory.operations.people import add_member, create_group, disable_user
from licensing.operations.assignments import assign_licenses
from tests.admin.browser import LOOKS, problems_of
from tests.factories import (
    actor_of,
    make_central_subscription,
    make_self_service_subscription,
    make_tenant,
    make_user,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina Gerritsen", email="gina@contoso.example", roles=("global_admin",))


@pytest.fixture
def uma(contoso: Tenant) -> User:
    return make_user(contoso, name="Uma Urban", email="uma@contoso.example", roles=("user_admin",))


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peeters", email="pat@contoso.example")


@pytest.fixture
def dora(contoso: Tenant, gina: User) -> User:
    return make_user(contoso, name="Dora Dekker", email="dora@contoso.example")


@pytest.fixture
def bought(gina: User, pat: User, dora: User) -> Subscription:
    """Pat owns one purchase, and holds a central license; Dora owns one and has left."""
    at = now()
    central = make_central_subscription(gina, quantity=5, at=at)
    assign_licenses(actor=actor_of(gina), subscription_key=central.key, user_ids=[pat.pk], at=at)
    make_self_service_subscription(pat, quantity=3, at=at)
    left = make_self_service_subscription(dora, quantity=3, at=at)
    erik = make_user(gina.tenant, name="Erik Evers")
    assign_licenses(actor=actor_of(dora), subscription_key=left.key, user_ids=[erik.pk], at=at)
    disable_user(actor=actor_of(gina), user_id=dora.pk, at=at)
    return left


@pytest.fixture
def group(uma: User, pat: User) -> Group:
    made = create_group(actor=actor_of(uma), name="Sales", at=now())
    add_member(actor=actor_of(uma), group_key=made.key, user_id=pat.pk, at=now())
    return made


def test_without_script_from_the_list_to_a_disabled_person_and_back(
    open_page: Any, uma: User, pat: User, bought: Subscription
) -> None:
    page = open_page(uma, "/admin/people/", "no script")
    page.get_by_role("searchbox", name="Find somebody by name or mail").fill("pat@")
    page.get_by_role("button", name="Find").click()
    page.get_by_role("link", name="Pat Peeters").click()
    page.get_by_role("link", name="Disable…").click()
    expect(page.get_by_text("1 license of their own")).to_be_visible()
    page.get_by_role("button", name="Disable Pat Peeters").click()
    expect(page.get_by_text("Pat Peeters is disabled, and signed out everywhere.")).to_be_visible()

    page.get_by_role("link", name="Enable…").click()
    page.get_by_role("button", name="Enable Pat Peeters").click()

    expect(page.get_by_text("Pat Peeters can sign in again.")).to_be_visible()
    with tenant_atomic(pat.tenant_id):
        assert User.objects.get(pk=pat.pk).is_active


def test_every_page_stands_in_every_look(
    open_page: Any, gina: User, uma: User, pat: User, dora: User, bought: Subscription, group: Group
) -> None:
    pages = {
        "people": (gina, "/admin/people/"),
        "people nobody": (gina, "/admin/people/?q=zzz"),
        "people settings": (gina, "/admin/people/settings/"),
        "person": (gina, f"/admin/people/{pat.key}/"),
        "person left": (gina, f"/admin/people/{dora.key}/"),
        "person for a user admin": (uma, f"/admin/people/{pat.key}/"),
        "person disable": (gina, f"/admin/people/{pat.key}/disable/"),
        "person delete": (gina, f"/admin/people/{pat.key}/delete/"),
        "person enable": (gina, f"/admin/people/{dora.key}/enable/"),
        "person oneself": (gina, f"/admin/people/{gina.key}/disable/"),
        "groups": (uma, "/admin/groups/"),
        "group": (uma, f"/admin/groups/{group.key}/?q=gina"),
        "subscription of a leaver": (gina, f"/admin/billing/your-products/{bought.key}/"),
        "support cancel": (gina, f"/admin/billing/your-products/{bought.key}/support/"),
        "give central": (gina, f"/admin/licenses/{bought.key}/give-central/"),
        "license of a leaver": (gina, f"/admin/licenses/{bought.key}/"),
        "my data": (pat, "/my/data/"),
        "stop charges": (gina, "/stop-charges/"),
    }
    wrong = [
        problem
        for title, (user, address) in pages.items()
        for look in LOOKS
        for problem in problems_of(open_page(user, address, look), title, look)
    ]
    ask_to_cancel(actor=actor_of(gina), key=bought.key, message="Dora left.", at=now())
    wrong += [
        problem
        for look in LOOKS
        for problem in problems_of(
            open_page(gina, f"/admin/billing/your-products/{bought.key}/support/", look),
            "support asked",
            look,
        )
    ]

    assert wrong == []


@pytest.mark.parametrize("look", ["desktop", "phone", "no script"])
def test_a_leaver_stops_charges_without_signing_in(
    browser: Any, live_server: Any, bought: Subscription, look: str
) -> None:
    with tenant_atomic(bought.tenant_id):
        number = bought.bills.get().number
    context = browser.new_context(**LOOKS[look])
    page = context.new_page()
    page.goto(f"{live_server.url}/stop-charges/")
    page.get_by_label("Bill number").fill(number)
    page.get_by_label("Last four digits of the card that paid it").fill("4242")
    page.get_by_role("button", name="Stop further charges").click()

    expect(page.get_by_text("Power BI Pro does not renew any more")).to_be_visible()
    context.close()
    with tenant_atomic(bought.tenant_id):
        bought.refresh_from_db()
    assert not bought.recurring_billing
