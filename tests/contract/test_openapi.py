"""The judge itself."""

import pytest

from .openapi import validate_object, validate_request

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
