"""The data policies' pages: what holds and why, a page before something is taken away, groups (product §14)."""

from typing import Any

import pytest
from django.test import Client

from config.kit.tenancy import tenant_atomic
from directory.models import Group, Tenant, User
from directory.permissions import Role
from policies.models import DataPolicy
from policies.operations.data import Place, Values, set_data_policy
from tests.factories import AT, actor_of, client_of, make_subscription, make_tenant, make_user, plan, product

pytestmark = pytest.mark.django_db

PAGE = "/admin/data-policies/"
VISIO = PAGE + "visio-plan-2/"


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina Groot", roles=(Role.GLOBAL_ADMIN,))


@pytest.fixture
def browser(gina: User) -> Client:
    return client_of(gina)


def text(response: Any) -> str:
    return " ".join(response.content.decode().split())


def post(client: Client, tenant: Tenant, address: str, **values: str) -> Any:
    return client.post(address, {"shown_for_tenant": tenant.pk, **values})


def stored(tenant: Tenant) -> list[tuple[Any, ...]]:
    with tenant_atomic(tenant.pk):
        rows = DataPolicy.objects.order_by("product_id", "id")
        return [
            (row.product_id, row.service_on, row.external_sharing, row.retention_days, row.creators)
            for row in rows
        ]


def test_the_page_says_for_every_product_what_holds_and_where_it_comes_from(
    browser: Client, gina: User
) -> None:
    visio = product("visio-plan-2")
    set_data_policy(
        actor=actor_of(gina), place=Place(), values=Values(external_sharing=False), at=AT, why="Audit"
    )
    set_data_policy(
        actor=actor_of(gina), place=Place(visio.pk, visio.name), values=Values(retention_days=30), at=AT
    )

    page = text(browser.get(PAGE))
    row = page.split(f'href="{VISIO}"')[1].split("</tr>")[0]

    assert "<span>Not allowed</span><small>Every product</small>" in row
    assert "<span>30 days</span><small>Set here</small>" in row
    assert "<span>On</span><small>Built in</small>" in row
    assert "External sharing: as inherited → Not allowed." in page
    assert "Data is kept: as inherited → 30 days." in page
    assert "“Audit”" in page


def test_values_for_every_product_are_saved_at_once_where_nothing_is_taken_away(
    browser: Client, contoso: Tenant
) -> None:
    answer = post(browser, contoso, PAGE, sharing="off", retention="120", creators="admins", was="-")

    assert (answer.status_code, answer["Location"]) == (303, PAGE)
    assert stored(contoso) == [(None, None, False, 120, "admins")]
    assert "This holds from now on, however the product was bought." in text(browser.get(PAGE))


def test_switching_off_first_says_whom_it_affects(browser: Client, contoso: Tenant) -> None:
    visio = product("visio-plan-2")
    make_subscription(contoso, plan=plan("visio-plan-2"), assigned=3)
    make_subscription(contoso, assigned=5)

    asked = post(browser, contoso, VISIO, service="off", was="-")

    assert asked.status_code == 200
    assert "Switch Visio Plan 2 off" in text(asked)
    assert "3 licenses are assigned now." in text(asked)
    assert stored(contoso) == []

    saved = post(browser, contoso, VISIO, service="off", was="-", confirmed="yes", why="A review")

    assert saved["Location"] == VISIO
    assert stored(contoso) == [(visio.pk, False, None, None, "")]
    assert "Switched off" in text(browser.get(VISIO))


def test_keeping_data_for_a_shorter_time_is_asked_about_and_for_a_longer_one_is_not(
    browser: Client, contoso: Tenant
) -> None:
    shorter = post(browser, contoso, PAGE, retention="30", was="-")

    assert "Keep data for a shorter time" in text(shorter)
    assert "after 30 days" in text(shorter)
    assert stored(contoso) == []

    assert post(browser, contoso, PAGE, retention="365", was="-").status_code == 303


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"retention": "6"}, "Enter a number of days from 7 to 3,650."),
        ({"retention": "soon"}, "Enter a number of days from 7 to 3,650."),
        ({"retention": "٣٠"}, "Enter a number of days from 7 to 3,650."),
        ({"service": "perhaps"}, "That is no value of this policy."),
        ({"creators": "nobody"}, "That is no value of this policy."),
        ({"group": "x", "service": "on"}, "Choose a group."),
        ({"group": "9" * 18, "service": "on"}, "Choose a group."),
    ],
)
def test_nonsense_is_said_and_nothing_saved(
    browser: Client, contoso: Tenant, typed: dict[str, str], said: str
) -> None:
    answer = post(browser, contoso, PAGE, confirmed="yes", **typed)

    assert answer.status_code == 422
    assert said in text(answer)
    assert stored(contoso) == []


def test_what_somebody_saved_meanwhile_is_not_overwritten(
    browser: Client, contoso: Tenant, gina: User
) -> None:
    set_data_policy(actor=actor_of(gina), place=Place(), values=Values(retention_days=365), at=AT)

    answer = post(browser, contoso, PAGE, retention="400", was="-")

    assert answer.status_code == 409
    assert "Somebody has changed this since" in text(answer)
    assert stored(contoso) == [(None, None, None, 365, "")]


def test_a_groups_rule_is_set_shown_and_ended(browser: Client, contoso: Tenant) -> None:
    with tenant_atomic(contoso.pk):
        lab = Group.objects.create(tenant=contoso, name="Lab")

    set_ = post(browser, contoso, VISIO, group=str(lab.pk), sharing="on", creators="everyone")
    page = text(browser.get(VISIO))

    assert set_.status_code == 303
    assert "External sharing: Allowed<br>Who makes workspaces: Everybody in the organization" in page
    assert "Lab" in text(browser.get(PAGE)).split(f'href="{VISIO}"')[1].split("</tr>")[0]

    post(browser, contoso, VISIO, group=str(lab.pk))

    assert stored(contoso) == []
    assert "No group has a rule of its own here." in text(browser.get(VISIO))


@pytest.mark.parametrize("role", [Role.BILLING_ADMIN, Role.GLOBAL_READER])
def test_readers_see_it_without_a_form_and_change_nothing(contoso: Tenant, role: str) -> None:
    reader = client_of(make_user(contoso, roles=(role,)))

    page = reader.get(PAGE)

    assert page.status_code == 200
    assert 'name="retention"' not in text(page)
    assert post(reader, contoso, PAGE, sharing="off").status_code == 403
    assert stored(contoso) == []


def test_the_menu_leads_to_it_for_who_may_read_it(contoso: Tenant, browser: Client) -> None:
    lisa = client_of(make_user(contoso, roles=(Role.LICENSE_ADMIN,)))

    assert f'href="{PAGE}"' in text(browser.get("/admin/people/"))
    assert f'href="{PAGE}"' not in text(lisa.get("/admin/people/"))
    assert lisa.get(PAGE).status_code == 404
