"""SetupIntents: a card for later."""

from typing import Any

import pytest
import stripe

from .payments import CARD_ONLY, card, create_intent, declined_error, error_object


def create_setup(client: stripe.StripeClient, **params: Any) -> stripe.SetupIntent:
    return client.v1.setup_intents.create(CARD_ONLY | params)  # type: ignore[arg-type]


def test_keeps_a_card_for_renewals(client: stripe.StripeClient, customer: stripe.Customer) -> None:
    setup = create_setup(client, customer=customer.id)
    assert setup.status == "requires_payment_method"

    done = client.v1.setup_intents.confirm(setup.id, {"payment_method": card(client, "visa")})

    assert (done.status, done.usage) == ("succeeded", "off_session")
    assert client.v1.setup_intents.retrieve(setup.id).status == "succeeded"
    method = client.v1.payment_methods.retrieve(str(done.payment_method))
    assert method.customer == customer.id
    renewal = create_intent(
        client, customer=customer.id, payment_method=method.id, off_session=True, confirm=True
    )
    assert renewal.status == "succeeded"


def test_a_card_that_needs_its_holder_asks(client: stripe.StripeClient, customer: stripe.Customer) -> None:
    asking = create_setup(
        client,
        customer=customer.id,
        payment_method=card(client, "threeDSecure2Required"),
        confirm=True,
    )

    assert asking.status == "requires_action"


def test_a_card_that_declines_is_not_kept(client: stripe.StripeClient, customer: stripe.Customer) -> None:
    setup = create_setup(client, customer=customer.id)

    error = declined_error(
        lambda: client.v1.setup_intents.confirm(
            setup.id, {"payment_method": card(client, "visa_chargeDeclined")}
        )
    )

    assert error.code == "card_declined"
    assert error_object(error)["setup_intent"]["status"] == "requires_payment_method"
    assert client.v1.payment_methods.list({"customer": customer.id}).data == []


def test_cancels(client: stripe.StripeClient, customer: stripe.Customer) -> None:
    setup = create_setup(client, customer=customer.id)

    assert client.v1.setup_intents.cancel(setup.id).status == "canceled"

    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.setup_intents.confirm(setup.id, {"payment_method": card(client, "visa")})
    assert refused.value.code == "setup_intent_unexpected_state"


@pytest.mark.parametrize(
    ("outcome", "status", "cards"), [("succeeded", "succeeded", 1), ("failed", "requires_payment_method", 0)]
)
def test_the_holders_answer_decides(peer: Any, outcome: str, status: str, cards: int) -> None:
    client = peer.client
    customer = client.v1.customers.create({"email": "alice@contoso.example"})
    token = client.v1.test_helpers.confirmation_tokens.create(
        {"payment_method": "pm_card_authenticationRequiredOnSetup"}
    )
    setup = create_setup(client, customer=customer.id, confirmation_token=token.id, confirm=True)

    peer.control("POST", "authenticate", intent=setup.id, outcome=outcome)

    assert client.v1.setup_intents.retrieve(setup.id).status == status
    assert len(client.v1.payment_methods.list({"customer": customer.id}).data) == cards


def test_a_card_set_up_is_charged_without_its_holder(peer: Any) -> None:
    client = peer.client
    customer = client.v1.customers.create({"email": "alice@contoso.example"})
    card = "pm_card_authenticationRequiredOnSetup"
    setup = create_setup(client, customer=customer.id, payment_method=card, confirm=True)
    peer.control("POST", "authenticate", intent=setup.id)

    renewal = create_intent(
        client, customer=customer.id, payment_method=setup.payment_method, off_session=True, confirm=True
    )

    assert renewal.status == "succeeded"
