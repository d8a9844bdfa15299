"""Taking a purchase over with a card that is entered on the spot, by somebody who never bought anything (product §4)."""

import re
import uuid
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.test import Client

from commerce.models import Card, CardSetup, HandOver, Subscription
from commerce.operations.handovers import (
    OfferOver,
    decline_offer,
    lapse_offers,
    offer_hand_over,
    withdraw_offer,
)
from commerce.operations.payments import finish_setup, save_card
from config.kit.clock import now
from config.kit.errors import NotVisible
from config.kit.tenancy import tenant_atomic
from directory.models import Tenant, User
from tests.admin.test_seats_page import words
from tests.factories import (
    actor_of,
    client_of,
    make_card,
    make_self_service_subscription,
    make_tenant,
    make_user,
)
from tests.processor import card_token, charges, control

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]


@pytest.fixture
def contoso() -> Tenant:
    return make_tenant(name="Contoso")


@pytest.fixture
def pat(contoso: Tenant) -> User:
    return make_user(contoso, name="Pat Peters", email="pat@contoso.example")


@pytest.fixture
def erik(contoso: Tenant) -> User:
    return make_user(contoso, name="Erik Evers", email="erik@contoso.example")


@pytest.fixture
def offer(pat: User, erik: User) -> HandOver:
    """Ten seats bought ten days ago, offered to Erik, who never bought anything."""
    bought = make_self_service_subscription(pat, quantity=10, at=now() - timedelta(days=10))
    return offer_hand_over(actor=actor_of(pat), key=bought.key, to_user_id=erik.pk, at=now())


def cards_of(user: User) -> list[str]:
    with tenant_atomic(user.tenant_id):
        return list(Card.objects.live().filter(user=user).values_list("last4", flat=True))


def address(offer: HandOver) -> str:
    return f"/my/offers/{offer.key}/"


def setup_in(client: Client, offer: HandOver) -> str:
    return re.search(r'name="setup" value="([^"]+)"', client.get(f"{address(offer)}card/").text)[1]


def enter(client: Client, offer: HandOver, card: str = "pm_card_mastercard") -> Any:
    """Enter a card as the browser does, and follow where that leads."""
    posted = {"setup": setup_in(client, offer), "confirmation_token": card_token(card)}
    return client.post(f"{address(offer)}card/", posted, follow=True)


def test_a_member_adds_a_card_comes_back_with_what_was_typed_and_takes_it_over(
    erik: User, offer: HandOver
) -> None:
    client = client_of(erik)
    typed = {
        "action": "card",
        "name": "Erik Evers",
        "street": "Herengracht 2",
        "city": "Delft",
        "country": "NL",
    }
    assert "You have no card here yet." in client.get(address(offer)).text
    assert client.post(address(offer), typed).headers["Location"] == f"{address(offer)}card/"

    back = enter(client, offer)

    assert back.redirect_chain[-1][0].startswith(f"{address(offer)}?card=")
    assert "Mastercard ending in 4444" in words(back.text)
    assert 'value="Herengracht 2"' in back.text
    assert 'value="Delft"' in back.text
    posted = {
        **typed,
        "action": "accept",
        "card": re.search(r'name="card" value="(\d+)"', back.text)[1],
        "version": re.search(r'name="version" value="(\d+)"', back.text)[1],
        "agrees": "on",
    }
    client.post(address(offer), posted)
    with tenant_atomic(erik.tenant_id):
        taken = Subscription.objects.select_related("card", "bill_to").get()
    assert (taken.owner_user_id, taken.card.last4, taken.bill_to.city) == (erik.pk, "4444", "Delft")
    assert charges() == 0


def test_a_declined_card_is_not_kept_and_another_can_be_entered(erik: User, offer: HandOver) -> None:
    client = client_of(erik)

    declined = enter(client, offer, "pm_card_chargeDeclinedInsufficientFunds")

    assert "The card was not saved." in words(declined.text)
    assert cards_of(erik) == []
    assert "?card=" in enter(client, offer).redirect_chain[-1][0]
    assert cards_of(erik) == ["4444"]


def test_the_banks_confirmation_is_waited_for_and_found_by_a_reload(erik: User, offer: HandOver) -> None:
    client = client_of(erik)

    waiting = enter(client, offer, "pm_card_threeDSecure2Required")

    assert "Waiting for your approval" in words(waiting.text)
    assert cards_of(erik) == []
    with tenant_atomic(erik.tenant_id):
        intent = CardSetup.objects.get().intent_id
    control("POST", "authenticate", intent=intent, outcome="succeeded")
    back = client.get(waiting.redirect_chain[-1][0], follow=True)
    assert "?card=" in back.redirect_chain[-1][0]
    assert len(cards_of(erik)) == 1


def test_while_the_bank_asks_another_card_can_be_entered(erik: User, offer: HandOver) -> None:
    client = client_of(erik)
    waiting = enter(client, offer, "pm_card_threeDSecure2Required").redirect_chain[-1][0]

    again = client.post(waiting)

    assert again.headers["Location"] == f"{address(offer)}card/"
    with tenant_atomic(erik.tenant_id):
        assert CardSetup.objects.get().state == "abandoned"


def test_two_posts_of_one_page_keep_one_card(erik: User, offer: HandOver) -> None:
    client = client_of(erik)
    posted = {"setup": setup_in(client, offer), "confirmation_token": card_token()}

    client.post(f"{address(offer)}card/", posted)
    client.post(f"{address(offer)}card/", posted)

    assert cards_of(erik) == ["4242"]


def test_without_script_it_is_explained(erik: User, offer: HandOver) -> None:
    answer = client_of(erik).post(f"{address(offer)}card/", {"setup": str(uuid.uuid4())})

    assert answer.status_code == 422
    assert "the card is missing" in answer.text


def test_an_offer_that_is_over_takes_no_card(pat: User, erik: User, offer: HandOver) -> None:
    withdraw_offer(actor=actor_of(pat), key=offer.subscription.key, at=now())
    client = client_of(erik)

    assert client.get(f"{address(offer)}card/").headers["Location"] == address(offer)
    with pytest.raises(OfferOver):
        save_card(
            actor=actor_of(erik),
            key=uuid.uuid4(),
            for_organization=False,
            confirmation_token=card_token(),
            offer=offer.key,
            at=now(),
        )
    assert cards_of(erik) == []


def test_nobody_else_enters_a_card_for_it(pat: User, offer: HandOver, contoso: Tenant) -> None:
    charlie = make_user(contoso, name="Charlie")

    assert client_of(charlie).get(f"{address(offer)}card/").status_code == 404
    for person in (charlie, pat):
        with pytest.raises(NotVisible):
            save_card(
                actor=actor_of(person),
                key=uuid.uuid4(),
                for_organization=False,
                confirmation_token=card_token(),
                offer=offer.key,
                at=now(),
            )


def test_a_declined_offer_forgets_the_card_of_who_buys_nothing(erik: User, offer: HandOver) -> None:
    client = client_of(erik)
    enter(client, offer)

    client.post(address(offer), {"action": "decline"})

    assert cards_of(erik) == []


@pytest.mark.parametrize("end", ["decline", "withdraw", "lapse"])
def test_a_card_that_the_bank_confirms_after_the_offer_is_over_is_not_kept(
    erik: User, pat: User, offer: HandOver, end: str
) -> None:
    client = client_of(erik)
    enter(client, offer, "pm_card_threeDSecure2Required")
    with tenant_atomic(erik.tenant_id):
        setup = CardSetup.objects.get()
    if end == "decline":
        decline_offer(actor=actor_of(erik), key=offer.key, at=now())
    elif end == "withdraw":
        withdraw_offer(actor=actor_of(pat), key=offer.subscription.key, at=now())
    else:
        lapse_offers(at=offer.expires_at)
    control("POST", "authenticate", intent=setup.intent_id, outcome="succeeded")

    finish_setup(actor=actor_of(erik), key=setup.key, at=now())

    assert cards_of(erik) == []
    with tenant_atomic(erik.tenant_id):
        card = Card.objects.get(user=erik)
    assert (card.removed_at is not None, card.detached_at is not None) == (True, True)
    method = httpx.get(
        f"{settings.STRIPE_API_BASE}/v1/payment_methods/{card.processor_id}",
        auth=(settings.STRIPE_SECRET_KEY, ""),
        timeout=20,
    )
    assert method.json()["customer"] is None


def test_an_offer_that_lapses_forgets_it_too(erik: User, offer: HandOver) -> None:
    enter(client_of(erik), offer)

    lapse_offers(at=offer.expires_at)

    assert cards_of(erik) == []


def test_a_purchaser_keeps_the_cards_when_declining(erik: User, offer: HandOver, contoso: Tenant) -> None:
    make_card(contoso, erik)
    with tenant_atomic(contoso.pk):
        User.objects.filter(pk=erik.pk).update(purchaser_since=now())

    client_of(erik).post(address(offer), {"action": "decline"})

    assert cards_of(erik) == ["4242"]
