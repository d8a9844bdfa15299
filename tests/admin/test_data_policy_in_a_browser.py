"""The data policies in Chromium: switched off after a look at whom it affects, and axe on the pages (product §14)."""

from typing import Any

import pytest
from playwright.sync_api import expect

from config.kit.tenancy import tenant_atomic
from directory.models import Group, Tenant, User
from policies.operations.data import Place, Values, set_data_policy
from tests.admin.browser import LOOKS, problems_of
from tests.factories import AT, actor_of, make_subscription, make_tenant, make_user, product

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

PAGE = "/admin/data-policies/"


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina Groot", roles=("global_admin",))


@pytest.fixture
def said(contoso: Tenant, gina: User) -> None:
    """Policies in which every kind of value was said."""
    with tenant_atomic(contoso.pk):
        lab = Group.objects.create(tenant=contoso, name="Laboratory and measuring")
    visio = product("visio-plan-1")
    make_subscription(contoso, assigned=3)
    for place, values in (
        (Place(), Values(external_sharing=False, creators="admins")),
        (Place(visio.pk, visio.name), Values(service_on=False, retention_days=365)),
        (Place(visio.pk, visio.name, lab.pk), Values(service_on=True, external_sharing=True)),
        (Place(group_id=lab.pk), Values(creators="holders")),
    ):
        set_data_policy(actor=actor_of(gina), place=place, values=values, at=AT, why="Agreed in March.")


@pytest.mark.parametrize("look", ["desktop", "phone", "no script"])
def test_a_product_is_switched_off_after_a_look_at_whom_it_affects(
    open_page: Any, gina: User, said: None, look: str
) -> None:
    page = open_page(gina, PAGE + "power-bi-pro/", look)
    page.get_by_label("Service").first.select_option("Switched off")
    page.get_by_role("button", name="Save", exact=True).click()

    expect(page.get_by_text("3 licenses are assigned now.")).to_be_visible()
    page.get_by_role("button", name="Switch off").click()

    expect(page.get_by_text("This holds from now on, however the product was bought.")).to_be_visible()
    expect(page.get_by_label("Service").first).to_have_value("off")


@pytest.mark.parametrize("look", LOOKS)
def test_the_pages_stand_axe_and_a_phone(open_page: Any, gina: User, said: None, look: str) -> None:
    wrong = []
    for title, address in (("Data policies", PAGE), ("Data policy of a product", f"{PAGE}visio-plan-1/")):
        wrong += problems_of(open_page(gina, address, look), title, look)

    assert wrong == []
