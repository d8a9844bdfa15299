"""Handing a purchase over and taking it over, by two people who have nobody to ask (product §4)."""

from datetime import timedelta

import pytest
from playwright.sync_api import expect

from config.kit.clock import now
from directory.models import Tenant, User
from tests.browser.test_checkout import WITH_BANK, bank_of, fill_card
from tests.browser.walking import Walk, buy, now_of, pass_by
from tests.factories import make_tenant, make_user
from tests.processor import charges

pytestmark = pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)

both = pytest.mark.parametrize("look", ["desktop", "phone"])


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters", email="pat@contoso.example")


@both
def test_hand_over_to_a_colleague_who_has_no_card_yet(
    walk: Walk, pat: User, contoso: Tenant, look: str
) -> None:
    erik = make_user(contoso, name="Erik Evers", email="erik@contoso.example")
    bought = buy(pat, at=now() - timedelta(days=10))
    owner = walk(pat, look)
    owner.get_by_role("link", name="Power BI Pro", exact=True).click()
    owner.get_by_role("link", name="Hand over").click()
    owner.get_by_label("Find a person at Contoso").fill("erik")
    owner.get_by_role("button", name="Find").click()
    owner.get_by_label("Erik Evers").check()
    pass_by(owner, "hand over")
    owner.get_by_role("button", name="Offer it to the person chosen").click()
    expect(owner.get_by_text("Offered to Erik Evers, who has until")).to_be_visible()

    colleague = walk(erik, look, "/")
    colleague.get_by_role("link", name="See the offer").click()
    colleague.get_by_label("Street and number").fill("Herengracht 2")
    colleague.get_by_label("City").fill("Delft")
    pass_by(colleague, "offer without a card")
    colleague.get_by_role("button", name="Add a card").click()
    fill_card(colleague, WITH_BANK)
    pass_by(colleague, "offer card")
    colleague.get_by_role("button", name="Save the card and go back").click()
    bank_of(colleague).get_by_text("Complete authentication").click()
    expect(colleague.get_by_label("Visa ending in 3184")).to_be_checked()
    expect(colleague.get_by_label("City")).to_have_value("Delft")
    colleague.get_by_label("I agree to the").check()
    pass_by(colleague, "offer with the card")
    colleague.get_by_role("button", name="Take over Power BI Pro").click()

    expect(colleague.get_by_text("You took over Power BI Pro. Nothing was charged.")).to_be_visible()
    after = now_of(bought)
    assert (after.owner_user_id, after.card.last4, charges()) == (erik.pk, "3184", 1)
