"""The pages of people and groups: who sees what, and what is said before an account ends (product §2, §11)."""

from datetime import datetime
from typing import Any

import pytest
from django.test import Client

from commerce.models import Subscription
from config.kit.tenancy import tenant_atomic
from directory.models import Group, GroupMembership, Tenant, User
from directory.operations.people import add_member, create_group, disable_user
from licensing.operations.assignments import assign_licenses
from tests.factories import (
    actor_of,
    client_of,
    make_central_subscription,
    make_self_service_subscription,
    make_tenant,
    make_user,
    token_of,
)

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"])


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina Gerritsen", roles=("global_admin",))


@pytest.fixture
def uma(contoso: Tenant) -> User:
    return make_user(contoso, name="Uma Urban", roles=("user_admin",))


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peeters", email="pat@contoso.example")


@pytest.fixture
def bought(pat: User, at: datetime) -> Subscription:
    return make_self_service_subscription(pat, quantity=3, at=at)


def text(response: Any) -> str:
    return " ".join(response.content.decode().split())


def post(client: Client, user: User, address: str, **values: Any) -> Any:
    return client.post(address, {"shown_for_tenant": user.tenant_id, **values})


def again(user: User) -> User:
    with tenant_atomic(user.tenant_id):
        row: User = User.objects.get(pk=user.pk)
        return row


def test_the_list_finds_people_by_name_and_mail_and_filters_by_state(
    contoso: Tenant, gina: User, uma: User, pat: User, at: datetime
) -> None:
    make_user(contoso, name="Sam Synced", source="on_premises")
    make_user(contoso, name="Fred Guest", kind="guest")
    make_user(contoso, name="Former user", status="deleted", email="", deleted_at=at)
    disable_user(actor=actor_of(uma), user_id=pat.pk, at=at)
    client = client_of(uma)

    def shown(query: str) -> list[str]:
        page = text(client.get(f"/admin/people/{query}"))
        names = ("Gina Gerritsen", "Uma Urban", "Pat Peeters", "Sam Synced", "Fred Guest", "Former user")
        return [name for name in names if f">{name}</a>" in page]

    assert shown("") == ["Gina Gerritsen", "Uma Urban", "Pat Peeters", "Sam Synced", "Fred Guest"]
    assert shown("?show=active") == ["Gina Gerritsen", "Uma Urban", "Sam Synced", "Fred Guest"]
    assert shown("?show=disabled") == ["Pat Peeters"]
    assert shown("?show=guests") == ["Fred Guest"]
    assert shown("?show=synced") == ["Sam Synced"]
    assert shown("?show=deleted") == ["Former user"]
    assert shown("?q=pat@contoso") == ["Pat Peeters"]
    assert shown("?q=gina&show=disabled") == []
    assert client.get("/admin/people/?show=nonsense").status_code == 422


def test_the_list_turns_by_key_with_the_same_queries_on_every_page(
    contoso: Tenant, uma: User, django_assert_num_queries: Any
) -> None:
    for number in range(60):
        make_user(contoso, name=f"Person {number:03d}", roles=("billing_admin",) if number % 2 else ())
    client = client_of(uma)

    first = client.get("/admin/people/")
    with django_assert_num_queries(15):
        second = client.get(f"/admin/people/{first.context['next']}")

    assert len(first.context["rows"]) == 50
    assert len(second.context["rows"]) == 11
    assert not {row["user"].pk for row in first.context["rows"]} & {
        row["user"].pk for row in second.context["rows"]
    }


def test_a_persons_page_shows_account_roles_groups_licenses_and_purchases(
    gina: User, uma: User, pat: User, bought: Subscription, at: datetime
) -> None:
    group = create_group(actor=actor_of(uma), name="Sales", at=at)
    add_member(actor=actor_of(uma), group_key=group.key, user_id=pat.pk, at=at)

    page = text(client_of(gina).get(f"/admin/people/{pat.key}/"))

    assert "pat@contoso.example" in page
    assert "Sales" in page
    assert f"/admin/licenses/{bought.key}/" in page
    assert f"/admin/billing/your-products/{bought.key}/" in page
    assert "1 of 3 assigned" in page
    assert "€34.12" in page


def test_a_user_admin_sees_the_purchase_without_its_price(uma: User, pat: User, bought: Subscription) -> None:
    page = text(client_of(uma).get(f"/admin/people/{pat.key}/"))

    assert f"/admin/licenses/{bought.key}/" in page
    assert f"/admin/billing/your-products/{bought.key}/" not in page
    assert "For billing admins" in page
    assert "€" not in page


def test_before_disabling_the_page_says_what_happens(
    uma: User, pat: User, bought: Subscription, at: datetime
) -> None:
    token_of(pat)

    page = text(client_of(uma).get(f"/admin/people/{pat.key}/disable/"))

    assert "is signed out everywhere and can no longer use any product." in page
    assert "1 token stops working." in page
    assert "1 license of their own" in page
    assert "Kept until" in page
    assert "1 purchase is left" in page
    assert again(pat).status == "active"


def test_disabling_enabling_and_deleting_by_their_pages(uma: User, pat: User, bought: Subscription) -> None:
    client, base = client_of(uma), f"/admin/people/{pat.key}/"

    assert post(client, uma, f"{base}disable/")["Location"] == base
    assert again(pat).status == "disabled"
    assert "If you enable Pat Peeters" in text(client.get(f"{base}enable/"))
    post(client, uma, f"{base}enable/")
    assert again(pat).status == "active"
    assert "Delete Pat Peeters for good" in text(client.get(f"{base}delete/"))
    post(client, uma, f"{base}delete/")

    assert again(pat).status == "deleted"
    page = text(client.get(base))
    assert "Former user" in page
    assert "Pat Peeters" not in page.replace("Pat Peeters is deleted.", "")
    assert client.get(f"{base}delete/").status_code == 404
    with tenant_atomic(pat.tenant_id):
        bought.refresh_from_db()
    assert (bought.state, bought.assigned) == ("active", 0)


def test_a_user_admin_is_told_that_admins_are_for_global_admins(
    contoso: Tenant, uma: User, gina: User
) -> None:
    client = client_of(uma)

    for deed in ("disable", "delete"):
        for response in (
            client.get(f"/admin/people/{gina.key}/{deed}/"),
            post(client, uma, f"/admin/people/{gina.key}/{deed}/"),
        ):
            assert response.status_code == 403
            assert "Global admins manage the accounts of admins." in text(response)

    assert again(gina).status == "active"


def test_nobody_ends_the_own_account_by_the_page_either(gina: User) -> None:
    client = client_of(gina)
    page = client.get(f"/admin/people/{gina.key}/disable/")
    answer = post(client, gina, f"/admin/people/{gina.key}/disable/")

    assert (page.status_code, answer.status_code) == (409, 409)
    assert "You cannot disable or delete your own account." in text(answer)
    assert "Disable Gina Gerritsen</button>" not in text(page)
    assert again(gina).status == "active"


def test_a_reader_sees_people_and_changes_nothing(contoso: Tenant, pat: User) -> None:
    rhea = make_user(contoso, roles=("global_reader",))
    client = client_of(rhea)

    assert "Disable…" not in text(client.get(f"/admin/people/{pat.key}/"))
    assert client.get(f"/admin/people/{pat.key}/disable/").status_code == 403


def test_members_see_no_list_of_people(pat: User) -> None:
    assert client_of(pat).get("/admin/people/").status_code == 404


def test_the_setting_is_saved_and_wrong_days_are_named(contoso: Tenant, gina: User) -> None:
    client = client_of(gina)

    wrong = post(client, gina, "/admin/people/settings/", days="91")
    right = post(client, gina, "/admin/people/settings/", days="30")

    assert (wrong.status_code, right.status_code) == (422, 303)
    assert "Enter a number of days from 0 to 90." in text(wrong)
    with tenant_atomic(contoso.pk):
        assert Tenant.objects.get().seats_kept_days == 30


# --- Groups -------------------------------------------------------------------------------------------------------


def test_a_group_is_made_filled_and_emptied(contoso: Tenant, uma: User, pat: User) -> None:
    client = client_of(uma)
    address = post(client, uma, "/admin/groups/", name="Sales")["Location"]
    found = text(client.get(f"{address}?q=pat"))
    assert f'name="person" value="{pat.pk}"' in found

    post(client, uma, address, action="add", person=str(pat.pk))
    assert "Pat Peeters" in text(client.get(address))
    assert "Nobody else here has this name or mail." in text(client.get(f"{address}?q=pat"))
    post(client, uma, address, action="remove", person=str(pat.pk))

    with tenant_atomic(contoso.pk):
        assert Group.objects.get().name == "Sales"
        assert not GroupMembership.objects.exists()


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [("", 422, "Give it a name"), ("x" * 201, 422, "Give it a name"), ("Sales", 409, "A group of this name")],
)
def test_a_group_needs_a_name_of_its_own(
    contoso: Tenant, uma: User, at: datetime, name: str, status: int, said: str
) -> None:
    create_group(actor=actor_of(uma), name="Sales", at=at)

    answer = post(client_of(uma), uma, "/admin/groups/", name=name)

    assert answer.status_code == status
    assert said in text(answer)
    with tenant_atomic(contoso.pk):
        assert Group.objects.count() == 1


def test_a_license_admin_sees_groups_and_changes_none(
    contoso: Tenant, uma: User, pat: User, at: datetime
) -> None:
    group = create_group(actor=actor_of(uma), name="Sales", at=at)
    lisa = make_user(contoso, roles=("license_admin",))
    client = client_of(lisa)

    assert "Sales" in text(client.get("/admin/groups/"))
    assert post(client, lisa, "/admin/groups/", name="Other").status_code == 403
    answer = post(client, lisa, f"/admin/groups/{group.key}/", action="add", person=str(pat.pk))

    assert answer.status_code == 403
    with tenant_atomic(contoso.pk):
        assert not GroupMembership.objects.exists()


def test_licenses_of_central_subscriptions_are_listed_before_the_end(
    gina: User, pat: User, at: datetime
) -> None:
    central = make_central_subscription(gina)
    assign_licenses(actor=actor_of(gina), subscription_key=central.key, user_ids=[pat.pk], at=at)

    page = text(client_of(gina).get(f"/admin/people/{pat.key}/delete/"))

    assert "Free at once, for somebody else to have." in page
    assert f"/admin/licenses/{central.key}/" in page
