"""Money goes back, and a group with a customer's roles grows, only within five minutes of a sign-in (reliability §7, ADR 35)."""

import html
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client

from commerce.models import Bill, Subscription
from config.kit.tenancy import tenant_atomic
from directory.models import GroupMembership, RelationshipAssignment, Tenant
from directory.operations.people import create_group
from directory.sessions import PROVED
from licensing.models import Centralization
from tests.factories import (
    actor_of,
    client_of,
    make_relationship,
    make_self_service_subscription,
    make_tenant,
    make_user,
)
from tests.licensing.crowd import buy_for, central_of, make_people

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

BOUGHT = datetime(2026, 3, 8, 9, 30, tzinfo=UTC)
NOW = BOUGHT + timedelta(days=2)
LIMIT = 300

type Deed = tuple[Client, str, dict[str, Any], Callable[[], Any]]


@pytest.fixture(autouse=True)
def _two_days_after_the_purchase() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


def signed_in_ago(client: Client, seconds: float) -> None:
    """When the provider last asked the person of this browser."""
    session = client.session
    session[PROVED] = time.time() - seconds
    session.save()


def form_of(page: str, *names: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r'name="([a-z_]+)" value="([^"]*)"', page):
        if name in names:
            found.setdefault(name, []).append(html.unescape(value))
    return found


def now_of(subscription: Subscription) -> Subscription:
    with tenant_atomic(subscription.tenant_id):
        return Subscription.objects.get(pk=subscription.pk)


def credit_notes(tenant: Tenant) -> int:
    with tenant_atomic(tenant.pk):
        return Bill.objects.filter(credits__isnull=False).count()


def canceling(contoso: Tenant) -> Deed:
    pat = make_user(contoso)
    bought = make_self_service_subscription(pat, at=BOUGHT)
    client, address = client_of(pat), f"/admin/billing/your-products/{bought.key}/cancel/"
    fields = form_of(client.get(address).text, "quote", "shown_for_tenant")
    return client, address, fields, lambda: (now_of(bought).state, credit_notes(contoso))


def fewer_licenses(contoso: Tenant) -> Deed:
    pat = make_user(contoso)
    bought = make_self_service_subscription(pat, at=BOUGHT)
    client, address = client_of(pat), f"/admin/billing/your-products/{bought.key}/seats/"
    fields = form_of(client.get(address, {"quantity": "8"}).text, "quote", "shown_for_tenant")
    return client, address, fields, lambda: (now_of(bought).quantity, credit_notes(contoso))


def centralizing(contoso: Tenant) -> Deed:
    bill, pat = make_user(contoso, roles=("billing_admin",)), make_user(contoso)
    target, bought = central_of(bill, at=BOUGHT), buy_for(pat, make_people(contoso, 2), at=BOUGHT)
    client, address = client_of(bill), "/admin/billing/centralize/check/"
    page = client.get(f"{address}?purchase={bought.key}&target={target.key}").text
    names = ("quote", "shown_for_tenant", "purchase", "target", "ending", "ends_now")
    fields = form_of(page[page.index('aria-labelledby="run"') :], *names)

    def state() -> int:
        with tenant_atomic(contoso.pk):
            return Centralization.objects.count()

    return client, address, fields, state


def group_of_a_customers(contoso: Tenant) -> Deed:
    partner = make_tenant(name="Northwind")
    petra, nils = make_user(partner, roles=("global_admin",)), make_user(partner)
    relationship = make_relationship(contoso, partner, ends_at=NOW + timedelta(days=30))
    group = create_group(actor=actor_of(petra), name="Delivery", at=NOW)
    with tenant_atomic(contoso.pk):
        RelationshipAssignment.objects.create(
            tenant=contoso,
            relationship=relationship,
            partner_tenant_id=partner.pk,
            group_id=group.pk,
            holder_name="Delivery",
            roles=["billing_admin"],
        )
    fields = {"person": nils.pk, "action": "add", "shown_for_tenant": partner.pk}

    def state() -> int:
        with tenant_atomic(partner.pk):
            return GroupMembership.objects.count()

    return client_of(petra), f"/admin/groups/{group.key}/", fields, state


@pytest.mark.parametrize("deed", [canceling, fewer_licenses, centralizing, group_of_a_customers])
def test_an_old_sign_in_changes_nothing_and_the_person_is_led_to_sign_in_again(
    contoso: Tenant, deed: Callable[[Tenant], Deed]
) -> None:
    client, address, fields, state = deed(contoso)
    before = state()

    signed_in_ago(client, LIMIT + 1)
    refused = client.post(address, fields)
    after = state()

    assert (refused.status_code, after) == (403, before)
    assert "you must have signed in within the last 5 minutes. Nothing was changed." in refused.text
    assert 'href="/sign-in/again/?next=' in refused.text


@pytest.mark.parametrize("deed", [canceling, fewer_licenses, centralizing, group_of_a_customers])
def test_in_the_last_second_of_five_minutes_it_is_done(
    contoso: Tenant, deed: Callable[[Tenant], Deed]
) -> None:
    client, address, fields, state = deed(contoso)
    before = state()

    signed_in_ago(client, LIMIT)
    done = client.post(address, fields)

    assert done.status_code in (302, 303), done.text
    assert state() != before


@pytest.mark.parametrize("deed", [canceling, fewer_licenses, centralizing, group_of_a_customers])
def test_a_provider_that_never_said_when_confirms_none_of_them(
    contoso: Tenant, deed: Callable[[Tenant], Deed]
) -> None:
    client, address, fields, state = deed(contoso)
    before = state()

    session = client.session
    session[PROVED] = 0
    session.save()

    assert (client.post(address, fields).status_code, state()) == (403, before)


def test_what_gives_nothing_back_asks_nobody_to_sign_in_again(contoso: Tenant) -> None:
    pat = make_user(contoso)
    bought = make_self_service_subscription(pat, at=BOUGHT - timedelta(days=20))
    client, address = client_of(pat), f"/admin/billing/your-products/{bought.key}/cancel/"
    fields = form_of(client.get(address).text, "quote", "shown_for_tenant")

    signed_in_ago(client, 3600)

    assert client.post(address, fields).status_code == 303
    assert not now_of(bought).recurring_billing
