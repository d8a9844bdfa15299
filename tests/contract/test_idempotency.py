"""Idempotency keys as Stripe keeps them."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
import stripe

from .payments import CARD_ONLY, card, charge_count, create_intent, declined_error, error_object
from .peer import Peer

AMOUNT: Any = {"amount": 1000, "currency": "eur", **CARD_ONLY}


@pytest.fixture
def options() -> Any:
    """A fresh key."""
    return {"idempotency_key": uuid4().hex}


def test_the_same_request_has_the_same_answer(client: stripe.StripeClient, options: Any) -> None:
    first = client.v1.payment_intents.create(AMOUNT, options)

    again = client.v1.payment_intents.create(AMOUNT, options)

    assert again == first
    assert again.last_response is not None
    assert again.last_response.headers["Idempotent-Replayed"] == "true"


def test_other_parameters_are_refused(client: stripe.StripeClient, options: Any) -> None:
    client.v1.payment_intents.create(AMOUNT, options)

    with pytest.raises(stripe.IdempotencyError) as refused:
        client.v1.payment_intents.create(AMOUNT | {"amount": 1001}, options)

    assert refused.value.http_status == 400


def test_another_endpoint_is_refused(client: stripe.StripeClient, options: Any) -> None:
    client.v1.payment_intents.create(AMOUNT, options)

    with pytest.raises((stripe.IdempotencyError, stripe.InvalidRequestError)):
        client.v1.customers.create({"email": "a@contoso.example"}, options)


def test_a_decline_is_answered_again_and_charges_nothing(client: stripe.StripeClient, options: Any) -> None:
    intent = create_intent(client)
    params: Any = {"payment_method": card(client, "visa_chargeDeclined")}
    first = declined_error(lambda: client.v1.payment_intents.confirm(intent.id, params, options))

    again = declined_error(lambda: client.v1.payment_intents.confirm(intent.id, params, options))

    # The SDK keeps the order of the fields; that may differ.
    assert json.dumps(again.json_body, sort_keys=True) == json.dumps(first.json_body, sort_keys=True)
    assert len(client.v1.charges.list({"payment_intent": intent.id}).data) == 1


def test_what_never_began_is_not_remembered(client: stripe.StripeClient, options: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.payment_intents.create({"amount": 1000}, options)  # type: ignore[typeddict-item]

    assert client.v1.payment_intents.create(AMOUNT, options).amount == 1000


def test_a_500_is_answered_again(peer: Peer, options: Any) -> None:
    peer.control("POST", "faults", kind="error", status=500, path="/v1/payment_intents")
    create = peer.client.v1.payment_intents.create

    for _ in range(2):
        with pytest.raises(stripe.APIError) as failed:
            create(AMOUNT, options)
        assert failed.value.http_status == 500

    assert create(AMOUNT).amount == 1000


@pytest.mark.parametrize("status", [409, 429])
def test_a_conflict_or_rate_limit_is_not_remembered(peer: Peer, options: Any, status: int) -> None:
    peer.control("POST", "faults", kind="error", status=status, path="/v1/payment_intents")
    create = peer.client.v1.payment_intents.create
    with pytest.raises(stripe.StripeError) as failed:
        create(AMOUNT, options)
    assert failed.value.http_status == status

    assert create(AMOUNT, options).amount == 1000


def test_the_second_waits_for_nobody_while_the_first_runs(peer: Peer, options: Any) -> None:
    peer.control("POST", "faults", kind="delay", seconds=0.5, path="/v1/payment_intents")
    create = peer.client.v1.payment_intents.create
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(create, AMOUNT, options)
        time.sleep(0.2)

        with pytest.raises(stripe.StripeError) as refused:
            create(AMOUNT, options)

        assert refused.value.http_status == 409
        assert error_object(refused.value)["code"] == "idempotency_key_in_use"
        assert first.result().amount == 1000
    assert create(AMOUNT, options).id == first.result().id


def test_parallel_requests_of_one_key_charge_once(peer: Peer, options: Any) -> None:
    intent = create_intent(peer.client, payment_method="pm_card_visa")

    def confirm(_: int) -> str:
        try:
            return str(peer.client.v1.payment_intents.confirm(intent.id, {}, options).status)
        except stripe.StripeError as refused:
            return str(error_object(refused)["code"])

    with ThreadPoolExecutor(16) as pool:
        outcomes = set(pool.map(confirm, range(50)))

    assert outcomes <= {"succeeded", "idempotency_key_in_use"}
    assert "succeeded" in outcomes
    assert charge_count(peer.client, intent) == 1


def test_parallel_confirmations_without_a_key_charge_once(peer: Peer) -> None:
    intent = create_intent(peer.client, payment_method="pm_card_visa")

    def confirm(_: int) -> str:
        try:
            return str(peer.client.v1.payment_intents.confirm(intent.id).status)
        except stripe.InvalidRequestError as refused:
            return str(refused.code)

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(confirm, range(50)))

    assert outcomes.count("succeeded") == 1
    assert outcomes.count("payment_intent_unexpected_state") == 49
    assert charge_count(peer.client, intent) == 1


def test_a_key_is_forgotten_after_24_hours(peer: Peer, options: Any) -> None:
    create = peer.client.v1.payment_intents.create
    first = create(AMOUNT, options)
    peer.set_clock(offset_seconds=24 * 3600 - 60)
    assert create(AMOUNT, options).id == first.id

    peer.set_clock(offset_seconds=24 * 3600 + 60)

    assert create(AMOUNT, options).id != first.id


def test_the_intent_outlives_its_key(peer: Peer, options: Any) -> None:
    intent = create_intent(peer.client, payment_method="pm_card_visa")
    confirm = peer.client.v1.payment_intents.confirm
    confirm(intent.id, {}, options)
    peer.set_clock(offset_seconds=96 * 3600)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        confirm(intent.id, {}, options)

    assert refused.value.code == "payment_intent_unexpected_state"
    assert charge_count(peer.client, intent) == 1
