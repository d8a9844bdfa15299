"""The pages of trials: translation in and out (product §3.6)."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from commerce.models import Card, Subscription, Trial
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import Tenant, User
from policies.operations.policies import set_product_policy
from tests.factories import actor_of, client_of, make_card, make_tenant, make_user, product
from tests.processor import card_token

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

VISIO = "visio-plan-1"
ADDRESS = {
    "name": "Pat Mulder",
    "street": "Herengracht 2",
    "postal_code": "1015 BA",
    "city": "Amsterdam",
    "country": "NL",
}


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Mulder")


@pytest.fixture
def browser(pat: User) -> Client:
    return client_of(pat)


def page(browser: Client, address: str, status: int = 200) -> str:
    response = browser.get(address)
    assert response.status_code == status
    return " ".join(response.content.decode().split())


def hidden(html: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', html)
    assert found is not None, name
    return found[1]


def start_page(slug: str = VISIO) -> str:
    return reverse("commerce:trial", args=[slug])


def trial_of(user: User) -> Trial:
    with tenant_atomic(user.tenant_id):
        return Trial.objects.select_related("subscription").get(user=user)


def start_free(browser: Client, user: User) -> Trial:
    response = browser.post(
        start_page(), {"kind": "free", "plan": "monthly", "quantity": "3", "agrees": "on", "seen_total": "0"}
    )
    assert response.status_code == 303
    return trial_of(user)


def test_the_product_page_leads_to_the_trial(browser: Client) -> None:
    html = page(browser, reverse("commerce:product", args=[VISIO]))

    assert start_page() in html


def test_who_is_not_signed_in_is_asked_for_the_work_mail(client: Client) -> None:
    assert 'name="email"' in page(client, start_page())


def test_says_what_happens_what_it_costs_and_when_before_it_happens(browser: Client) -> None:
    html = page(browser, start_page() + "?kind=card&quantity=4")

    assert "Try Visio Plan 1 for 30 days" in html
    assert "turns paid" in html
    assert "7 days and 1 day before" in html
    assert "4 \u00d7 " in html
    total = int(hidden(html, "seen_total"))
    assert f"{total / 100:.2f}" in html.replace(",", "")
    free = page(browser, start_page() + "?kind=free")
    assert "Nothing is charged." in free
    assert 'name="street"' not in free


def test_starts_one_without_a_card_and_shows_it_with_its_days(browser: Client, pat: User) -> None:
    trial = start_free(browser, pat)

    html = page(browser, reverse("portal:subscription", args=[trial.subscription.key]))
    assert trial.kind == "free"
    assert "30 days left" in html
    assert reverse("portal:trial-keep", args=[trial.subscription.key]) in html
    assert "Started by you" in html
    assert reverse("portal:cancel", args=[trial.subscription.key]) not in html
    again = page(browser, start_page(), 403)
    assert "You have tried Visio Plan 1 before" in again


def test_the_lists_call_it_a_trial_that_costs_nothing_not_a_purchase(browser: Client, pat: User) -> None:
    trial = start_free(browser, pat)
    admin = client_of(make_user(pat.tenant, roles=("billing_admin",)))

    own = page(browser, reverse("portal:your-products"))
    seen_by_admin = page(admin, reverse("portal:subscription", args=[trial.subscription.key]))

    assert "Started " in own
    assert "Nothing is charged" in own
    assert "Bought" not in own
    assert "Renewal is off" not in own
    assert "Trial, started by Pat Mulder on" in seen_by_admin


def test_starts_one_with_a_saved_card_at_the_sum_that_was_shown(browser: Client, pat: User) -> None:
    card = make_card(pat.tenant, pat)
    html = page(browser, start_page() + "?kind=card&quantity=2")
    values = ADDRESS | {
        "kind": "card",
        "plan": "monthly",
        "quantity": "2",
        "card": str(card.pk),
        "agrees": "on",
        "seen_total": "1",
    }

    refused = browser.post(start_page(), values)
    started = browser.post(start_page(), values | {"seen_total": hidden(html, "seen_total")})

    assert refused.status_code == 409
    assert "The total is now" in refused.content.decode()
    assert started.status_code == 303
    assert trial_of(pat).subscription.recurring_billing is True


@pytest.mark.usefixtures("empty_processor")
def test_starts_one_with_a_new_card_by_way_of_its_own_address(browser: Client, pat: User) -> None:
    html = page(browser, start_page() + "?kind=card")
    values = ADDRESS | {
        "kind": "card",
        "plan": "monthly",
        "quantity": "1",
        "card": "new",
        "agrees": "on",
        "seen_total": hidden(html, "seen_total"),
        "intent": hidden(html, "intent"),
    }

    no_card = browser.post(start_page(), values)
    kept = browser.post(start_page(), values | {"confirmation_token": card_token()})
    there = browser.get(kept["Location"])
    again = browser.get(kept["Location"])

    assert no_card.status_code == 422
    assert kept.status_code == 303
    subscription = trial_of(pat).subscription
    assert there["Location"] == again["Location"] == reverse("portal:subscription", args=[subscription.key])


@pytest.mark.usefixtures("empty_processor")
def test_a_declined_card_leaves_the_form_as_it_was(browser: Client, pat: User) -> None:
    html = page(browser, start_page() + "?kind=card")
    values = ADDRESS | {
        "kind": "card",
        "plan": "yearly",
        "quantity": "7",
        "card": "new",
        "agrees": "on",
        "seen_total": hidden(html, "seen_total"),
        "intent": hidden(html, "intent"),
    }
    counted = page_of(browser.post(start_page(), values | {"action": "update"}))
    values["seen_total"] = hidden(counted, "seen_total")

    kept = browser.post(
        start_page(), values | {"confirmation_token": card_token("pm_card_visa_chargeDeclined")}
    )
    form = page(browser, kept["Location"])

    assert "No trial was started." in form
    assert 'value="Herengracht 2"' in form
    assert hidden(form, "intent") != values["intent"]
    with tenant_atomic(pat.tenant_id):
        assert (Trial.objects.count(), Card.objects.count()) == (0, 0)


def page_of(response: Any) -> str:
    return " ".join(response.content.decode().split())


def test_without_consent_or_with_a_wrong_number_nothing_starts(browser: Client, pat: User) -> None:
    for values in ({"quantity": "26", "agrees": "on"}, {"quantity": "1"}, {"quantity": "x", "agrees": "on"}):
        response = browser.post(start_page(), {"kind": "free", "plan": "monthly", **values})

        assert response.status_code == 422
        assert "Nothing was started" in response.content.decode()

    with use_login("worker"):
        assert Trial.objects.count() == 0


def test_where_only_trials_without_a_card_are_allowed_the_refusal_leads_there(
    browser: Client, contoso: Tenant
) -> None:
    admin = make_user(contoso, roles=("global_admin",))
    set_product_policy(
        actor=actor_of(admin),
        product_keys=[product(VISIO).key],
        value="OnlyTrialsWithoutPaymentMethod",
        at=now(),
    )

    refused = page(browser, reverse("commerce:buy", args=[VISIO]), 403)
    html = page(browser, start_page())

    assert f"{start_page()}?kind=free" in refused
    assert hidden(html, "kind") == "free"
    assert 'href="?kind=card"' not in html


def test_extends_it_by_a_page_that_says_until_when(browser: Client, pat: User) -> None:
    trial = start_free(browser, pat)
    address = reverse("portal:trial-extend", args=[trial.subscription.key])
    assert "It cannot be extended now" in page(browser, address)
    soon = now() + timedelta(days=10)
    with use_login("worker"):
        Subscription.objects.filter(pk=trial.subscription_id).update(
            period_end=soon, term_end=soon, due_at=soon
        )
        Trial.objects.filter(pk=trial.pk).update(ends_at=soon)

    html = page(browser, address)
    posted = browser.post(address, {"version": hidden(html, "version")})
    twice = browser.post(address, {"version": hidden(html, "version")})

    assert "Extend to" in html
    assert (posted.status_code, twice.status_code) == (303, 409)
    assert trial_of(pat).extended_at is not None


def test_keeps_it_with_a_card_and_says_what_is_charged_when(browser: Client, pat: User) -> None:
    trial = start_free(browser, pat)
    address = reverse("portal:trial-keep", args=[trial.subscription.key])
    assert "You have no card here yet" in page(browser, address)
    card = make_card(pat.tenant, pat)

    html = page(browser, address)
    values = ADDRESS | {
        "version": hidden(html, "version"),
        "seen_total": hidden(html, "seen_total"),
        "plan": "monthly",
        "card": str(card.pk),
    }
    refused = browser.post(address, values)
    kept = browser.post(address, values | {"agrees": "on"})

    assert refused.status_code == 422
    assert kept.status_code == 303
    assert trial_of(pat).kind == "card"
    shown = page(browser, reverse("portal:subscription", args=[trial.subscription.key]))
    assert "Do not turn it paid" in shown
    switch = page(browser, reverse("portal:recurring-billing", args=[trial.subscription.key]))
    assert "It does not turn paid" in switch


def test_who_may_not_keep_it_is_shown_the_way_to_ask(browser: Client, pat: User, contoso: Tenant) -> None:
    trial = start_free(browser, pat)
    gina = make_user(contoso, roles=("global_admin",))
    set_product_policy(
        actor=actor_of(gina),
        product_keys=[product(VISIO).key],
        value="OnlyTrialsWithoutPaymentMethod",
        at=now(),
    )

    html = page(browser, reverse("portal:trial-keep", args=[trial.subscription.key]))

    assert "You cannot keep it yourself" in html
    ask = reverse("licensing:request", args=[VISIO])
    assert f'href="{ask}">Request a license' in html


def test_the_pages_of_a_trial_lead_back_where_there_is_none(browser: Client, pat: User) -> None:
    trial = start_free(browser, pat)
    with use_login("worker"):
        Subscription.objects.filter(pk=trial.subscription_id).update(channel="self-service")

    for name in ("portal:trial-extend", "portal:trial-keep"):
        response = browser.get(reverse(name, args=[trial.subscription.key]))

        assert response["Location"] == reverse("portal:subscription", args=[trial.subscription.key])
