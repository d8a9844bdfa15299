"""Workspaces in a product, in the admin center and over the wire (product §14)."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from commerce.models import Subscription
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from directory.permissions import Role
from licensing.models import Workspace
from licensing.operations.assignments import assign_license
from licensing.operations.workspaces import make_workspace
from licensing.queries.my_data import sections
from policies.operations.data import Place, Values, set_data_policy
from tests.factories import (
    AT,
    actor_of,
    caller_with,
    client_of,
    make_subscription,
    make_tenant,
    make_user,
    product,
    service_token_of,
    token_of,
)

pytestmark = pytest.mark.django_db

APP = "/apps/power-bi-pro/"
LIST = "/admin/workspaces/"
CALL = "/api/v1.0/workspaces"


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina Groot", roles=(Role.GLOBAL_ADMIN,))


@pytest.fixture
def mike(contoso: Tenant, gina: User) -> User:
    """Has a license of Power BI Pro."""
    mike = make_user(contoso, name="Mike Maas", email="mike@contoso.example")
    subscription = make_subscription(contoso)
    assign_license(actor=actor_of(gina), subscription_key=subscription.key, user_id=mike.pk, at=AT)
    return mike


@pytest.fixture
def plans(mike: User) -> Workspace:
    return make_workspace(actor=actor_of(mike), product=product(), name="Plans for 2027", at=AT)


def text(response: Any) -> str:
    return " ".join(response.content.decode().split())


def post(client: Client, tenant: Tenant, address: str, **values: str) -> Any:
    return client.post(address, {"shown_for_tenant": tenant.pk, **values}, follow=True)


def say(by: User, place: Place | None = None, **values: Any) -> None:
    set_data_policy(actor=actor_of(by), place=place or Place(), values=Values(**values), at=AT)


def stored(workspace: Workspace) -> Workspace:
    with tenant_atomic(workspace.tenant_id):
        return Workspace.objects.select_related("holder").get(pk=workspace.pk)


# --- In the product -------------------------------------------------------------------------------------------------


def test_one_makes_shares_and_unshares_in_the_product(contoso: Tenant, mike: User) -> None:
    browser = client_of(mike)
    assert "Nothing yet." in text(browser.get(APP))

    made = text(post(browser, contoso, APP + "workspaces/", name="  Plans  for 2027 "))

    assert "Plans for 2027 is made. It belongs to your organization." in made
    with tenant_atomic(contoso.pk):
        row = Workspace.objects.get()
    address = f"{APP}workspaces/{row.key}/sharing/"
    assert "is shared outside" in text(post(browser, contoso, address, shared="yes"))
    assert stored(row).is_shared
    assert "End sharing" in text(browser.get(APP))
    assert "is not shared outside your organization any more" in text(post(browser, contoso, address))
    assert not stored(row).is_shared


def test_the_product_keeps_to_the_policy(contoso: Tenant, gina: User, mike: User, plans: Workspace) -> None:
    browser = client_of(mike)
    say(gina, external_sharing=False, creators="admins", retention_days=30)

    page = text(browser.get(APP))

    assert "No sharing outside" in page
    assert "Share outside" not in page
    assert "Contoso lets only some people make workspaces here." in page
    assert 'name="name"' not in page
    assert "is deleted 30 days after nobody may use it any more" in page
    refused = text(post(browser, contoso, f"{APP}workspaces/{plans.key}/sharing/", shared="yes"))
    assert "does not allow sharing outside it" in refused
    refused = text(post(browser, contoso, APP + "workspaces/", name="Another"))
    assert "Your organization lets only some people make workspaces here." in refused


def test_a_colleagues_is_neither_shown_nor_shared(contoso: Tenant, gina: User, plans: Workspace) -> None:
    with tenant_atomic(contoso.pk):
        subscription = Subscription.objects.get()
    assign_license(actor=actor_of(gina), subscription_key=subscription.key, user_id=gina.pk, at=AT)
    browser = client_of(gina)

    assert "Plans for 2027" not in text(browser.get(APP))
    answer = post(browser, contoso, f"{APP}workspaces/{plans.key}/sharing/", shared="yes")
    assert answer.status_code == 404


def test_a_form_without_a_name_says_so(contoso: Tenant, mike: User) -> None:
    assert "Enter a name of 1 to 100 letters." in text(
        post(client_of(mike), contoso, APP + "workspaces/", name=" ")
    )


# --- In the admin center --------------------------------------------------------------------------------------------


def test_admins_see_whose_it_is_and_when_it_is_deleted(contoso: Tenant, gina: User, plans: Workspace) -> None:
    with tenant_atomic(contoso.pk):
        Workspace.objects.update(kept_from=AT, deletes_at=AT + timedelta(days=90))

    page = text(client_of(gina).get(LIST))

    assert "Plans for 2027" in page
    assert "Mike Maas" in page
    assert "Deleted on 8 Jun 2026" in page
    assert "Nobody may use it since 10 Mar 2026" in page


def test_the_list_is_filtered(gina: User, plans: Workspace) -> None:
    browser = client_of(gina)

    for query in ("person=maas", "product=power-bi-pro", ""):
        assert "Plans for 2027" in text(browser.get(f"{LIST}?{query}")), query
    for query in ("person=groot", "product=visio-plan-1", "ending=1"):
        assert "Nothing matches these filters." in text(browser.get(f"{LIST}?{query}")), query
    assert browser.get(f"{LIST}?product=nothing").status_code == 422


def test_a_member_finds_the_own_there_and_no_admin_menu_for_it(
    contoso: Tenant, mike: User, plans: Workspace
) -> None:
    page = client_of(mike).get(LIST)

    assert page.status_code == 200
    assert "Plans for 2027" in text(page)
    assert "Hand over" not in text(page)
    assert "Plans for 2027" not in text(client_of(make_user(contoso)).get(LIST))


def test_a_global_admin_hands_it_on(contoso: Tenant, gina: User, plans: Workspace) -> None:
    lea = make_user(contoso, name="Lea Lund", email="lea@contoso.example")
    browser, address = client_of(gina), f"{LIST}{plans.key}/hand-over/"
    assert "Mike Maas" in text(browser.get(address))

    for typed, said in (("", "Enter the e-mail address"), ("nobody@x.example", "Nobody, or more than one")):
        answer = post(browser, contoso, address, person=typed)
        assert answer.status_code == 422
        assert said in text(answer)
    done = post(browser, contoso, address, person="lea@contoso.example")

    assert "Lea Lund has Plans for 2027 from now on." in text(done)
    assert stored(plans).holder == lea


@pytest.mark.parametrize("role", [Role.BILLING_ADMIN, Role.GLOBAL_READER])
def test_readers_hand_nothing_on(contoso: Tenant, plans: Workspace, role: str) -> None:
    browser = client_of(make_user(contoso, roles=(role,)))

    assert "Plans for 2027" in text(browser.get(LIST))
    assert browser.get(f"{LIST}{plans.key}/hand-over/").status_code == 403


def test_your_data_has_what_one_made(contoso: Tenant, mike: User, plans: Workspace) -> None:
    with tenant_atomic(contoso.pk):
        rows = dict(sections(mike))["workspaces"]
        assert [row["name"] for row in rows] == ["Plans for 2027"]


# --- Over the wire --------------------------------------------------------------------------------------------------


def call(secret: str, **body: Any) -> Any:
    return caller_with(secret).post(CALL, body, content_type="application/json")


def test_a_products_service_makes_one_for_a_person_and_lists_it(gina: User, mike: User) -> None:
    secret = service_token_of(gina, "licenses.write")

    made = call(secret, product=product().key, name="Plans", user=str(mike.key))

    assert made.status_code == 201
    assert made.json() | {"id": None, "madeAt": None} == {
        "id": None,
        "name": "Plans",
        "productId": product().key,
        "makerId": str(mike.key),
        "holderId": str(mike.key),
        "madeAt": None,
        "shared": False,
        "deletesAt": None,
    }
    listed = caller_with(secret).get(CALL, {"product": product().key, "person": "mike@"}).json()
    assert [row["id"] for row in listed["items"]] == [made.json()["id"]]
    assert caller_with(secret).get(CALL, {"person": "groot"}).json()["items"] == []


def test_a_service_is_refused_what_the_policy_does_not_let_the_person(gina: User, mike: User) -> None:
    secret = service_token_of(gina, "licenses.write")

    refused = call(secret, product=product().key, name="Plans", user=str(gina.key))
    assert (refused.status_code, refused.json()["code"]) == (403, "may_not_make_workspaces")
    say(gina, service_on=False)
    refused = call(secret, product=product().key, name="Plans", user=str(mike.key))
    assert (refused.status_code, refused.json()["code"]) == (409, "service_off")


def test_a_person_makes_the_own_and_nobody_elses(gina: User, mike: User) -> None:
    own = token_of(mike, "licenses.write")

    assert call(own, product=product().key, name="Plans").json()["makerId"] == str(mike.key)
    assert call(own, product=product().key, name="Plans", user=str(gina.key)).status_code == 404
    assert (
        call(token_of(gina, "full"), product=product().key, name="x", user=str(mike.key)).status_code == 404
    )


def test_a_service_names_somebody_and_of_its_own_organization(gina: User, mike: User) -> None:
    secret = service_token_of(gina, "licenses.write")
    stranger = make_user(make_tenant())

    assert call(secret, product=product().key, name="Plans").status_code == 404
    assert call(secret, product=product().key, name="Plans", user=str(stranger.key)).status_code == 404
    assert call(service_token_of(gina, "licenses.read"), product=product().key, name="x").status_code == 403
