"""What a person has of a product, and may not, where more of it is offered (product §3.3 to §3.5)."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest

from commerce.models import Subscription
from config.kit.clock import now
from directory.models import Tenant, User
from licensing.operations.assignments import assign_license
from licensing.operations.requests import ask_for_licenses
from policies.models import PolicyValue
from policies.operations.policies import set_product_policy
from tests.factories import (
    actor_of,
    client_of,
    make_central_subscription,
    make_relationship,
    make_subscription,
    make_tenant,
    make_user,
    plan,
    product,
)

pytestmark = pytest.mark.django_db

SLUG = "visio-plan-1"
BUY, TRY, ASK = (
    f'action="/buy/{SLUG}/"',
    f'href="/buy/{SLUG}/trial/"',
    f'href="/my/requests/ask/{SLUG}/"',
)
OPEN = f'href="/apps/{SLUG}/"'


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def mike(contoso: Tenant) -> User:
    return make_user(contoso, name="Mike Bos", email="mike@contoso.example")


@pytest.fixture
def gina(contoso: Tenant) -> User:
    return make_user(contoso, name="Gina", roles=("global_admin",))


def shown(user: User, address: str = f"/products/{SLUG}/", *, acting_for: Tenant | None = None) -> str:
    response = client_of(user, acting_for).get(address, follow=True)
    return re.sub(r"\s+", " ", response.content.decode())


def offered(page: str) -> list[bool]:
    """Whether Buy, Try and Request stand on it."""
    return [each in page for each in (BUY, TRY, ASK)]


def owned_by(user: User, **fields: Any) -> Subscription:
    ends_at = now() + timedelta(days=20)
    fields = {"quantity": 3, "period_end": ends_at, "term_end": ends_at} | fields
    return make_subscription(user.tenant, owner=user, plan=plan(SLUG), **fields)


def give(subscription: Subscription, giver: User, user: User) -> None:
    at = now()
    assign_license(actor=actor_of(giver, at=at), subscription_key=subscription.key, user_id=user.pk, at=at)


def forbid(admin: User, value: str = PolicyValue.DISABLED) -> None:
    set_product_policy(actor=actor_of(admin), product_keys=[product(SLUG).key], value=value, at=now())


def ask(user: User) -> datetime:
    at = now()
    ask_for_licenses(
        actor=actor_of(user, at=at), product=product(SLUG), user_ids=[user.pk], reason="Drawings.", at=at
    )
    return at


# --- The product's page -----------------------------------------------------------------------------------


def test_who_has_nothing_and_may_buy_is_offered_it_and_the_trial(mike: User) -> None:
    page = shown(mike)

    assert offered(page) == [True, True, False]
    assert OPEN not in page


def test_a_government_is_told_why_it_cannot_buy_or_try() -> None:
    carl = make_user(make_tenant(name="Gemeente", kind="government"))

    page = shown(carl)

    assert offered(page) == [False, False, False]
    assert "Self-service is not available to government organizations" in page


def test_where_the_policy_forbids_it_the_request_takes_the_place_of_buying(mike: User, gina: User) -> None:
    forbid(gina)

    page = shown(mike)

    assert offered(page) == [False, False, True]
    assert "Contoso does not allow buying Visio Plan 1" in page


def test_where_the_policy_allows_trials_alone_the_trial_stays(mike: User, gina: User) -> None:
    forbid(gina, PolicyValue.TRIALS_ONLY)

    assert offered(shown(mike)) == [False, True, True]


def test_who_acts_for_a_customer_is_told_to_go_home_first(contoso: Tenant) -> None:
    partner = make_tenant(name="Partner", kind="partner")
    petra = make_user(partner, name="Petra")
    make_relationship(contoso, partner, users=(petra,))

    page = shown(petra, acting_for=contoso)

    assert offered(page) == [False, False, False]
    assert "You act for Contoso" in page
    assert "Buy for your home organization" in page


def test_a_trial_is_offered_once(mike: User) -> None:
    client_of(mike).post(
        f"/buy/{SLUG}/trial/",
        {"kind": "free", "plan": "monthly", "quantity": "1", "agrees": "on", "seen_total": "0"},
    )

    page = shown(mike)

    assert TRY not in page
    assert OPEN in page


def test_who_owns_it_and_holds_a_license_opens_and_manages_it(mike: User, gina: User) -> None:
    own = owned_by(mike)
    give(own, mike, mike)

    page = shown(mike)

    assert "You have a license of Visio Plan 1" in page
    assert "2 more of your own are free." in page
    assert OPEN in page
    assert f'href="/admin/billing/your-products/{own.key}/"' in page
    assert f'href="/admin/billing/your-products/{own.key}/assign/"' in page
    assert "Buy another" in page
    assert TRY not in page
    assert "Request one for a colleague" in page
    assert page.count("sk-btn--primary") == 1


def test_who_owns_it_without_a_license_is_told_of_the_free_ones(mike: User) -> None:
    owned_by(mike, quantity=1)

    page = shown(mike)

    assert "You have 1 free license of Visio Plan 1" in page
    assert "Assign it" in page
    assert OPEN not in page


def test_who_holds_a_license_of_the_organizations_opens_it(mike: User, gina: User) -> None:
    give(make_central_subscription(gina, plan=plan(SLUG), at=now()), gina, mike)

    page = shown(mike)

    assert OPEN in page
    assert TRY not in page
    assert "Manage it" not in page


def test_purchases_that_ended_and_those_of_others_are_not_the_persons(mike: User, contoso: Tenant) -> None:
    owned_by(mike, state="disabled")
    owned_by(make_user(contoso))

    assert "You have" not in shown(mike)


def test_who_asked_and_waits_is_told_since_when(mike: User, gina: User) -> None:
    ask(mike)

    buyable = shown(mike)
    forbid(gina)
    forbidden = shown(mike)

    for page in (buyable, forbidden):
        assert "not answered yet." in page
        assert ASK not in page


# --- The checkout -----------------------------------------------------------------------------------------


def test_the_checkout_says_what_the_buyer_owns_and_where_to_assign_it(mike: User) -> None:
    own = owned_by(mike)

    page = shown(mike, f"/buy/{SLUG}/")

    assert "You have 3 free licenses of Visio Plan 1" in page
    assert f'href="/admin/billing/your-products/{own.key}/assign/"' in page
    assert f'href="/admin/billing/your-products/{own.key}/seats/"' in page
    assert 'name="takes_first_license"' in page


def test_the_checkout_offers_no_first_license_to_who_has_one(mike: User, gina: User) -> None:
    give(make_central_subscription(gina, plan=plan(SLUG), at=now()), gina, mike)

    page = shown(mike, f"/buy/{SLUG}/")

    assert "You have a license of Visio Plan 1" in page
    assert "What you buy now is for colleagues." in page
    assert 'name="takes_first_license"' not in page
    assert "already has" not in page


def test_the_checkout_does_not_say_ask_to_who_asked(mike: User, gina: User) -> None:
    make_central_subscription(gina, plan=plan(SLUG), at=now())
    ask(mike)

    page = shown(mike, f"/buy/{SLUG}/")

    assert "Contoso already has 25 free licenses of Visio Plan 1" in page
    assert "not answered yet." in page
    assert "Ask for one" not in page


# --- Asking, and the purchase's page ----------------------------------------------------------------------


def test_who_has_a_license_asks_for_colleagues_alone(mike: User, gina: User) -> None:
    give(make_central_subscription(gina, plan=plan(SLUG), at=now()), gina, mike)

    page = shown(mike, f"/my/requests/ask/{SLUG}/")

    assert "You have a license of this." in page
    assert 'name="me"' not in page
    assert 'name="people"' in page


def test_who_asked_before_asks_for_colleagues_alone(mike: User, gina: User) -> None:
    ask(mike)

    page = shown(mike, f"/my/requests/ask/{SLUG}/")

    assert "not answered yet." in page
    assert 'name="me"' not in page


def test_a_purchase_offers_another_one_only_where_it_can_be_bought(mike: User, gina: User) -> None:
    own = owned_by(mike)
    address = f"/admin/billing/your-products/{own.key}/"

    allowed = shown(mike, address)
    forbid(gina)
    forbidden = shown(mike, address)

    assert "Buy another" in allowed
    assert ASK not in allowed
    assert "Buy another" not in forbidden
    assert ASK in forbidden
