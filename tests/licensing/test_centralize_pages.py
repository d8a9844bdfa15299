"""The pages that centralize: from the ticks in Your products to the result, and back (product §10)."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client

from commerce.models import Subscription
from commerce.operations.recurring import set_recurring_billing
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from directory.operations.people import disable_user
from licensing.models import Centralization
from tests.factories import (
    actor_of,
    client_of,
    make_agreement,
    make_self_service_subscription,
    make_tenant,
    make_user,
    plan,
)
from tests.licensing.crowd import buy_for, central_of, endings, fresh, holders, make_people, work

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

BOUGHT = datetime(2026, 3, 8, 9, 30, tzinfo=UTC)
NOW = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
WAY = "/admin/billing/centralize/"


@pytest.fixture(autouse=True)
def _on_the_tenth_of_march() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def bill(contoso: Tenant) -> User:
    return make_user(contoso, name="Bill Bakker", roles=("billing_admin",))


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters")


@pytest.fixture
def target(bill: User) -> Subscription:
    return central_of(bill, at=BOUGHT)


@pytest.fixture
def bought(contoso: Tenant, pat: User) -> Subscription:
    return buy_for(pat, make_people(contoso, 2), at=BOUGHT)


def text_of(response: Any) -> str:
    return " ".join(response.content.decode().split())


def run_it(client: Client, page: str) -> Any:
    """Press the last button with what its form holds."""
    form = page[page.index('action="/admin/billing/centralize/check/" aria-labelledby="run"') :]
    fields: dict[str, list[str]] = {}
    for name, value in re.findall(r'name="([a-z_]+)" value="([^"]*)"', form):
        fields.setdefault(name, []).append(value)
    return client.post(WAY + "check/", fields, follow=True)


def check_address(target: Subscription, *purchases: Subscription, more: str = "") -> str:
    keys = "&".join(f"purchase={row.key}" for row in purchases)
    return f"{WAY}check/?{keys}&target={target.key}{more}"


def test_the_way_leads_from_the_list_to_the_run_and_back(
    bill: User, pat: User, target: Subscription, bought: Subscription
) -> None:
    client = client_of(bill)

    listed = text_of(client.get("/admin/billing/your-products/"))
    first = text_of(client.get(f"{WAY}?purchase={bought.key}"))
    second = text_of(client.get(f"{WAY}target/?purchase={bought.key}"))
    third = text_of(client.get(check_address(target, bought)))
    done = run_it(client, third)

    assert f'form="centralize" name="purchase" value="{bought.key}"' in listed
    assert f'value="{target.key}"' not in listed
    assert 'href="/admin/billing/centralize/"' in listed
    assert "Self-service purchases of Power BI Pro" in first
    assert f'name="purchase" value="{bought.key}" checked' in first
    assert "25 licenses are free" in second
    for words in (
        *("This can run. Nothing has changed yet.", "User 00001", "Gets a central license", "22 free"),
        *("of 25, now 25 free", "Pat Peters, with tax", "Centralize 1 purchase", "3 people"),
        "back to the card that paid; Disabled then.",
        "back to cards, as of now. After that nothing can be undone.",
    ):
        assert words in third, words
    assert done.status_code == 200
    assert "It starts as soon as a worker is free." in text_of(done)
    work(NOW)
    address = done.redirect_chain[-1][0]
    result = text_of(client.get(address))
    assert "Can be undone until 11 Mar 2026, 10:30" in result
    assert "Got a central license: 3" in result, result[result.index("People</h2>") :][:800]
    assert f'href="{address}undo/"' in result
    undo = text_of(client.get(address + "undo/"))
    assert "3 central licenses are taken back" in undo
    client.post(address + "undo/")
    work(NOW)
    assert "Undone" in text_of(client.get(address))
    assert holders(target) == set()
    assert fresh(bought).owner_user_id == pat.pk
    assert "Undone" in text_of(client.get(WAY))


def test_the_people_are_listed_filtered_and_exported(
    contoso: Tenant, bill: User, pat: User, target: Subscription, bought: Subscription
) -> None:
    (gone,) = make_people(contoso, 1, first=9)
    more = buy_for(make_user(contoso, name="Uma"), [gone], at=BOUGHT)
    disable_user(actor=actor_of(make_user(contoso, roles=("global_admin",))), user_id=gone.pk, at=NOW)
    client = client_of(bill)

    everybody = text_of(client.get(check_address(target, bought, more)))
    exceptions = text_of(client.get(check_address(target, bought, more, more="&show=exceptions")))
    file = client.get(check_address(target, bought, more).replace("check/", "people.csv"))
    lines = b"".join(file.streaming_content).decode().splitlines()  # type: ignore[attr-defined]

    assert "User 00009" in everybody
    assert "Account is disabled, gets none" in exceptions
    assert "User 00001" not in exceptions
    assert len(lines) == 6
    assert '"User 00009","user-9@' in "\n".join(lines)


def test_what_stands_in_the_way_is_said_with_what_to_do_about_it(
    contoso: Tenant, bill: User, bought: Subscription
) -> None:
    small = central_of(bill, quantity=2, at=BOUGHT)
    client = client_of(bill)

    page = text_of(client.get(check_address(small, bought)))

    assert "This cannot run yet. Nothing has changed." in page
    assert "1 central license is missing" in page
    assert f"/admin/billing/your-products/{small.key}/seats/?quantity=3" in page
    assert "Centralize 1 purchase</button>" not in page


def test_asking_instead_is_a_choice_and_shows_what_that_does(
    bill: User, target: Subscription, bought: Subscription
) -> None:
    client = client_of(bill)

    page = text_of(client.get(check_address(target, bought, more="&ending=ask")))
    done = run_it(client, page)
    work(NOW)

    assert "Ask 1 purchaser to cancel" in page
    assert "Refund to cards" not in page
    assert "Purchaser asked to cancel" in text_of(client.get(done.redirect_chain[-1][0]))


def test_another_state_than_the_page_showed_brings_the_page_back(
    contoso: Tenant, bill: User, pat: User, target: Subscription, bought: Subscription
) -> None:
    client = client_of(bill)
    page = text_of(client.get(check_address(target, bought)))
    set_recurring_billing(
        actor=actor_of(fresh(pat)), key=bought.key, on=False, version=bought.version, at=NOW
    )
    back = run_it(client, page)

    assert back.status_code == 409
    assert "What centralizing does has changed since you opened the page. Nothing was changed." in text_of(
        back
    )
    assert holders(target) == set()


def test_without_a_central_subscription_the_way_leads_to_buying_one(
    contoso: Tenant, bill: User, bought: Subscription
) -> None:
    make_agreement(contoso)

    page = text_of(client_of(bill).get(f"{WAY}target/?purchase={bought.key}"))

    assert "Contoso has no central subscription of Power BI Pro in use." in page
    assert "/admin/billing/buy/?product=power-bi-pro&amp;quantity=3" in page


def test_nothing_to_centralize_says_so(bill: User) -> None:
    page = text_of(client_of(bill).get(WAY))

    assert "Nothing to centralize: nobody in your organization has a self-service purchase in use." in page


def test_purchases_of_two_products_come_back_to_the_first_step(
    bill: User, pat: User, bought: Subscription
) -> None:
    other = make_self_service_subscription(pat, plan=plan("visio-plan-2"), at=BOUGHT)
    client = client_of(bill)

    response = client.get(f"{WAY}target/?purchase={bought.key}&purchase={other.key}", follow=True)

    assert "Choose purchases of one product" in text_of(response)


def test_going_on_with_nothing_ticked_stays_and_says_so(bill: User, bought: Subscription) -> None:
    response = client_of(bill).get(f"{WAY}target/", {"product": "power-bi-pro", "q": "pat"}, follow=True)

    page = text_of(response)
    assert "Tick at least one purchase" in page
    assert "<title>" in page
    assert "Problem:" in page.split("</title>")[0]
    assert "Self-service purchases of Power BI Pro" in page
    assert f'name="purchase" value="{bought.key}"' in page
    assert 'type="search" value="pat"' in page


def test_what_could_not_be_done_can_be_tried_again(
    contoso: Tenant, bill: User, pat: User, target: Subscription, bought: Subscription
) -> None:
    client = client_of(bill)
    done = run_it(client, text_of(client.get(check_address(target, bought))))
    address = done.redirect_chain[-1][0]
    touch(bought)

    work(NOW)
    page = text_of(client.get(address))
    with time_machine.travel(NOW + timedelta(hours=1), tick=False):
        client.post(address + "again/")
        work(NOW + timedelta(hours=1))
        after = text_of(client.get(address))

    assert "It was changed since the dry run, and was left as it is." in page
    assert "Try again" in page
    assert "Taken over" in after
    assert endings(_run_of(bought)) == ["taken_over"]


def touch(bought: Subscription) -> None:
    """Somebody changed the purchase, in whatever way."""
    with tenant_atomic(bought.tenant_id):
        Subscription.objects.filter(pk=bought.pk).update(version=bought.version + 1)


def _run_of(bought: Subscription) -> Centralization:
    with tenant_atomic(bought.tenant_id):
        return Centralization.objects.get()


@pytest.mark.parametrize(
    ("roles", "status"),
    [
        ((), 404),
        (("license_admin",), 404),
        (("user_admin",), 404),
        (("global_reader",), 404),
        (("global_admin",), 200),
    ],
)
def test_who_finds_the_pages(
    contoso: Tenant, target: Subscription, bought: Subscription, roles: Any, status: int
) -> None:
    client = client_of(make_user(contoso, roles=roles))

    assert client.get(WAY).status_code == status
    assert client.get(check_address(target, bought)).status_code == status


def test_the_purchase_of_another_organization_is_not_there(bill: User, target: Subscription) -> None:
    foreign = make_self_service_subscription(make_user(make_tenant()), at=BOUGHT)

    assert client_of(bill).get(check_address(target, foreign)).status_code == 404
