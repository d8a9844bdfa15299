"""The shortest ways to a card, an intent and a charge."""

from typing import Any

import pytest
import stripe

CARD_ONLY: dict[str, Any] = {"automatic_payment_methods": {"enabled": True, "allow_redirects": "never"}}


def card(client: stripe.StripeClient, name: str) -> str:
    """The id of a fresh test card, by what Stripe calls it behind `tok_`."""
    return client.v1.payment_methods.create({"type": "card", "card": {"token": f"tok_{name}"}}).id


def saved_card(
    client: stripe.StripeClient, customer: stripe.Customer, name: str = "visa"
) -> stripe.PaymentMethod:
    """A test card that the customer keeps."""
    return client.v1.payment_methods.attach(card(client, name), {"customer": customer.id})


def create_intent(client: stripe.StripeClient, **params: Any) -> stripe.PaymentIntent:
    """An intent of 10.00 euro for cards, not confirmed unless told to."""
    return client.v1.payment_intents.create({"amount": 1000, "currency": "eur", **CARD_ONLY, **params})  # type: ignore[typeddict-item]


def charged_intent(client: stripe.StripeClient, **params: Any) -> stripe.PaymentIntent:
    """An intent of 10.00 euro, paid by a good card."""
    return create_intent(client, payment_method=card(client, "visa"), confirm=True, **params)


def declined_error(confirm: Any) -> stripe.CardError:
    """What `confirm()` is declined with."""
    with pytest.raises(stripe.CardError) as raised:
        confirm()
    assert raised.value.http_status == 402
    return raised.value


def charge_count(client: stripe.StripeClient, intent: stripe.PaymentIntent) -> int:
    """How many charges of that intent succeeded."""
    charges = client.v1.charges.list({"payment_intent": intent.id, "limit": 100}).data
    return sum(charge.status == "succeeded" for charge in charges)


def metadata_of(found: Any) -> dict[str, str]:
    """An object's metadata as a plain dictionary."""
    metadata: dict[str, str] = found.metadata.to_dict()
    return metadata


def error_object(error: stripe.StripeError) -> dict[str, Any]:
    """The error of the answer's body."""
    assert isinstance(error.json_body, dict)
    found: dict[str, Any] = error.json_body["error"]
    return found
