"""The judge itself."""

from typing import Any

import pytest

from .openapi import validate_object, validate_request
from .payments import charged_intent, create_intent
from .peer import Peer

AMOUNT = {"amount": "1000", "currency": "eur"}


@pytest.mark.parametrize(
    ("method", "path", "params"),
    [
        ("POST", "/v1/payment_intents", AMOUNT | {"metadata": {"bill": "7"}, "expand": ["latest_charge"]}),
        ("POST", "/v1/payment_intents", AMOUNT | {"automatic_payment_methods": {"enabled": "true"}}),
        ("POST", "/v1/payment_intents/pi_1/confirm", {"off_session": "true"}),
        ("POST", "/v1/payment_intents/pi_1/confirm", {"off_session": "recurring"}),
        ("GET", "/v1/payment_intents", {"customer": "cus_1", "created": {"gte": "17"}, "limit": "100"}),
        ("GET", "/v1/payment_intents/search", {"query": "metadata['bill']:'7'"}),
        ("POST", "/v1/customers/cus_1", {"description": ""}),
        ("POST", "/v1/payment_methods/pm_1/detach", {}),
    ],
)
def test_accepts_what_stripe_describes(method: str, path: str, params: dict[str, object]) -> None:
    assert validate_request(method, path, params) == []


@pytest.mark.parametrize(
    ("method", "path", "params", "problem"),
    [
        ("POST", "/v1/payment_intents", {"amount": "1000"}, "currency: missing"),
        ("POST", "/v1/payment_intents", AMOUNT | {"bill": "7"}, "bill: unknown"),
        ("POST", "/v1/payment_intents", AMOUNT | {"amount": "10.00"}, "amount: '10.00' is not a number"),
        ("POST", "/v1/payment_intents", AMOUNT | {"confirm": "True"}, "confirm: 'True' is not true or false"),
        (
            "POST",
            "/v1/payment_intents",
            AMOUNT | {"metadata": {"a": {"b": "c"}}},
            "metadata[a]: not a plain value",
        ),
        ("POST", "/v1/payment_intents/pi_1/confirm", {"customer": "cus_1"}, "customer: unknown"),
        ("POST", "/v1/checkout/sessions", {}, "no such operation"),
        ("GET", "/v1/charges/ch_1", {"metadata": {"a": "b"}}, "metadata: unknown"),
    ],
)
def test_names_what_stripe_would_refuse(
    method: str, path: str, params: dict[str, object], problem: str
) -> None:
    assert validate_request(method, path, params) == [f"{method} {path}: {problem}"]


def test_names_what_an_answer_lacks() -> None:
    refund = {"object": "refund", "id": "re_1", "amount": "1000", "created": 1, "currency": "eur"}

    assert validate_object(refund | {"charge": None}) == ["amount: '1000' is no integer"]
    assert validate_object({"object": "refund", "amount": 1, "created": 1, "currency": "eur"}) == [
        "id: missing"
    ]


def test_every_object_is_as_stripe_describes_it(peer: Peer) -> None:
    client = peer.client
    customer = client.v1.customers.create({"email": "alice@contoso.example"})
    token = client.v1.test_helpers.confirmation_tokens.create({"payment_method": "pm_card_visa"})
    intent = create_intent(client, customer=customer.id, setup_future_usage="off_session")
    paid = client.v1.payment_intents.confirm(intent.id, {"confirmation_token": token.id})
    setup = client.v1.setup_intents.create({"customer": customer.id})
    other = charged_intent(client)
    dispute = peer.control("POST", "disputes", payment_intent=other.id)
    answers: list[Any] = [
        client.v1.customers.retrieve(customer.id),
        client.v1.payment_methods.retrieve(str(paid.payment_method)),
        client.v1.confirmation_tokens.retrieve(token.id),
        paid,
        setup,
        client.v1.charges.retrieve(str(paid.latest_charge)),
        client.v1.refunds.create({"payment_intent": paid.id}),
        client.v1.disputes.retrieve(dispute["id"]),
        client.v1.events.list({"limit": 1}).data[0],
    ]

    problems = {answer.object: validate_object(answer.to_dict()) for answer in answers}

    assert len(problems) == 9
    assert {kind: found for kind, found in problems.items() if found} == {}
