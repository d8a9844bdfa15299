"""PaymentIntents: what each card does, on and off session."""

from typing import Any
from uuid import uuid4

import pytest
import stripe

from .payments import (
    CARD_ONLY,
    card,
    charge_count,
    charged_intent,
    create_intent,
    declined_error,
    error_object,
    metadata_of,
    saved_card,
)

DECLINES = [
    ("visa_chargeDeclined", "card_declined", "generic_decline", "Your card was declined."),
    (
        "visa_chargeDeclinedInsufficientFunds",
        "card_declined",
        "insufficient_funds",
        "Your card has insufficient funds.",
    ),
    ("visa_chargeDeclinedLostCard", "card_declined", "lost_card", "Your card was declined."),
    ("visa_chargeDeclinedStolenCard", "card_declined", "stolen_card", "Your card was declined."),
    ("chargeDeclinedExpiredCard", "expired_card", None, "Your card has expired."),
    (
        "chargeDeclinedIncorrectCvc",
        "incorrect_cvc",
        None,
        "Your card's security code is incorrect.",
    ),
    (
        "chargeDeclinedProcessingError",
        "processing_error",
        None,
        "An error occurred while processing your card. Try again in a little bit.",
    ),
]


def decline_code_of(error: stripe.CardError) -> str | None:
    code: str | None = error_object(error).get("decline_code")
    return code


def test_create_then_confirm_charges_once(client: stripe.StripeClient, customer: stripe.Customer) -> None:
    method = saved_card(client, customer)
    intent = create_intent(client, customer=customer.id, payment_method=method.id, metadata={"bill": "7"})
    assert (intent.status, intent.latest_charge) == ("requires_confirmation", None)

    paid = client.v1.payment_intents.confirm(
        intent.id, {"off_session": True, "expand": ["latest_charge", "customer"]}
    )

    assert (paid.status, paid.amount_received) == ("succeeded", 1000)
    assert isinstance(paid.latest_charge, stripe.Charge)
    assert isinstance(paid.customer, stripe.Customer)
    charge = paid.latest_charge
    assert (charge.amount, charge.currency, charge.paid, charge.captured) == (1000, "eur", True, True)
    assert (metadata_of(charge), charge.payment_intent) == ({"bill": "7"}, intent.id)
    assert charge_count(client, intent) == 1


def test_the_latest_charge_is_an_id_unless_expanded(client: stripe.StripeClient) -> None:
    intent = charged_intent(client)

    kept = client.v1.payment_intents.retrieve(intent.id)

    assert isinstance(kept.latest_charge, str)
    assert client.v1.charges.retrieve(kept.latest_charge).payment_intent == intent.id


@pytest.mark.parametrize(("name", "code", "decline_code", "message"), DECLINES)
def test_declines_as_the_card_says(
    client: stripe.StripeClient, name: str, code: str, decline_code: str | None, message: str
) -> None:
    intent = create_intent(client)

    error = declined_error(
        lambda: client.v1.payment_intents.confirm(intent.id, {"payment_method": card(client, name)})
    )

    assert (error.code, decline_code_of(error), error.user_message) == (code, decline_code, message)
    assert error_object(error)["payment_intent"]["id"] == intent.id
    assert error_object(error)["payment_intent"]["status"] == "requires_payment_method"
    kept = client.v1.payment_intents.retrieve(intent.id)
    assert (kept.status, kept.payment_method) == ("requires_payment_method", None)
    assert kept.last_payment_error is not None
    assert kept.last_payment_error.code == code
    assert charge_count(client, intent) == 0


def test_a_declined_intent_takes_another_card(client: stripe.StripeClient) -> None:
    intent = create_intent(client)
    confirm = client.v1.payment_intents.confirm
    declined_error(lambda: confirm(intent.id, {"payment_method": card(client, "visa_chargeDeclined")}))

    paid = confirm(intent.id, {"payment_method": card(client, "mastercard")})

    assert (paid.status, paid.last_payment_error) == ("succeeded", None)
    assert charge_count(client, intent) == 1


def test_a_card_may_attach_and_decline_later(client: stripe.StripeClient, customer: stripe.Customer) -> None:
    method = saved_card(client, customer, "chargeCustomerFail")
    intent = create_intent(client, customer=customer.id, payment_method=method.id)

    error = declined_error(lambda: client.v1.payment_intents.confirm(intent.id, {"off_session": True}))

    assert (error.code, decline_code_of(error)) == ("card_declined", "generic_decline")


def test_off_session_a_card_that_needs_its_holder_is_declined(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    method = saved_card(client, customer, "threeDSecure2Required")
    intent = create_intent(client, customer=customer.id, payment_method=method.id)

    error = declined_error(lambda: client.v1.payment_intents.confirm(intent.id, {"off_session": True}))

    assert error.code == "authentication_required"
    assert error_object(error)["payment_intent"]["id"] == intent.id
    assert error_object(error)["payment_intent"]["status"] == "requires_payment_method"
    assert charge_count(client, intent) == 0


def test_on_session_a_card_that_needs_its_holder_asks(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    intent = create_intent(client, customer=customer.id)

    asking = client.v1.payment_intents.confirm(
        intent.id, {"payment_method": card(client, "threeDSecure2Required")}
    )

    assert (asking.status, asking.latest_charge) == ("requires_action", None)
    assert asking.next_action is not None
    assert asking.next_action.type == "use_stripe_sdk"


def test_a_saved_card_is_charged_while_its_holder_is_there(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    method = saved_card(client, customer)
    intent = create_intent(client, customer=customer.id)

    paid = client.v1.payment_intents.confirm(intent.id, {"payment_method": method.id})

    assert (paid.status, paid.payment_method) == ("succeeded", method.id)
    assert charge_count(client, intent) == 1


def test_a_saved_card_that_needs_its_holder_asks_while_they_are_there(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    method = saved_card(client, customer, "threeDSecure2Required")
    intent = create_intent(client, customer=customer.id)

    asking = client.v1.payment_intents.confirm(intent.id, {"payment_method": method.id})

    assert (asking.status, asking.latest_charge) == ("requires_action", None)
    assert client.v1.payment_methods.retrieve(method.id).customer == customer.id


@pytest.mark.parametrize(
    ("outcome", "status", "charged"),
    [("succeeded", "succeeded", 1), ("failed", "requires_payment_method", 0)],
)
def test_the_answer_about_a_saved_card_decides_and_the_card_stays(
    peer: Any, outcome: str, status: str, charged: int
) -> None:
    client = peer.client
    customer = client.v1.customers.create({"email": "alice@contoso.example"})
    method = saved_card(client, customer, "threeDSecure2Required")
    intent = create_intent(client, customer=customer.id, payment_method=method.id, confirm=True)
    assert intent.status == "requires_action"

    peer.control("POST", "authenticate", intent=intent.id, outcome=outcome)

    assert client.v1.payment_intents.retrieve(intent.id).status == status
    assert charge_count(client, intent) == charged
    assert [card.id for card in client.v1.payment_methods.list({"customer": customer.id}).data] == [method.id]


def test_a_saved_card_is_kept_after_the_first_payment(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    paid = charged_intent(client, customer=customer.id, setup_future_usage="off_session")

    renewal = create_intent(
        client,
        customer=customer.id,
        payment_method=str(paid.payment_method),
        off_session=True,
        confirm=True,
    )

    assert renewal.status == "succeeded"
    assert client.v1.payment_methods.retrieve(str(paid.payment_method)).customer == customer.id


def test_a_card_not_saved_cannot_be_charged_again(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    paid = charged_intent(client, customer=customer.id)

    with pytest.raises(stripe.InvalidRequestError):
        create_intent(client, customer=customer.id, payment_method=str(paid.payment_method), confirm=True)


def test_a_paid_intent_is_not_confirmed_again(client: stripe.StripeClient) -> None:
    intent = charged_intent(client)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.payment_intents.confirm(intent.id, {"payment_method": card(client, "visa")})

    assert refused.value.code == "payment_intent_unexpected_state"
    assert error_object(refused.value)["payment_intent"]["status"] == "succeeded"
    assert charge_count(client, intent) == 1


def test_a_canceled_intent_stays_canceled(client: stripe.StripeClient) -> None:
    intent = create_intent(client, payment_method=card(client, "visa"))

    canceled = client.v1.payment_intents.cancel(intent.id, {"cancellation_reason": "abandoned"})

    assert (canceled.status, canceled.cancellation_reason) == ("canceled", "abandoned")
    for act in (client.v1.payment_intents.confirm, client.v1.payment_intents.cancel):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            act(intent.id)
        assert refused.value.code == "payment_intent_unexpected_state"
    assert charge_count(client, intent) == 0


def test_a_paid_intent_is_not_canceled(client: stripe.StripeClient) -> None:
    intent = charged_intent(client)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.payment_intents.cancel(intent.id)

    assert refused.value.code == "payment_intent_unexpected_state"


def test_the_amount_changes_only_before_payment(client: stripe.StripeClient) -> None:
    intent = create_intent(client)
    assert client.v1.payment_intents.update(intent.id, {"amount": 1200}).amount == 1200
    client.v1.payment_intents.confirm(intent.id, {"payment_method": card(client, "visa")})

    with pytest.raises(stripe.InvalidRequestError):
        client.v1.payment_intents.update(intent.id, {"amount": 1300})

    described = client.v1.payment_intents.update(intent.id, {"metadata": {"bill": "8"}})
    assert (described.amount_received, metadata_of(described)) == (1200, {"bill": "8"})


def test_lists_a_customers_intents_and_charges(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    first, second = (charged_intent(client, customer=customer.id) for _ in range(2))

    intents = client.v1.payment_intents.list({"customer": customer.id})
    charges = client.v1.charges.list({"customer": customer.id})

    assert [intent.id for intent in intents.data] == [second.id, first.id]
    assert [charge.payment_intent for charge in charges.data] == [second.id, first.id]


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"amount": 1000}, "parameter_missing", "currency"),
        ({"amount": 1000, "currency": "eur", "bill": "7"}, "parameter_unknown", "bill"),
        ({"amount": "ten", "currency": "eur"}, "parameter_invalid_integer", "amount"),
        ({"amount": 0, "currency": "eur"}, "parameter_invalid_integer", "amount"),
        ({"amount": 1000, "currency": "eur", "customer": "cus_nobody"}, "resource_missing", "customer"),
    ],
)
def test_bad_parameters_are_named(
    client: stripe.StripeClient, params: dict[str, Any], code: str, param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.payment_intents.create(params)  # type: ignore[arg-type]

    assert (refused.value.http_status, refused.value.code, refused.value.param) == (400, code, param)


def test_a_wrong_key_is_refused(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.AuthenticationError) as refused:
        client.v1.customers.list({}, {"api_key": "sk_test_wrong"})

    assert refused.value.http_status == 401


def test_finds_an_intent_by_its_metadata(peer: Any) -> None:
    bill = uuid4().hex
    client = peer.client
    wanted = charged_intent(client, metadata={"bill": bill})
    create_intent(client, metadata={"bill": bill})

    found = client.v1.payment_intents.search({"query": f"metadata['bill']:'{bill}' AND status:'succeeded'"})

    assert [intent.id for intent in found.data] == [wanted.id]


def test_the_least_charge_is_stripes(peer: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        peer.client.v1.payment_intents.create({"amount": 49, "currency": "eur", **CARD_ONLY})

    assert (refused.value.code, refused.value.param) == ("amount_too_small", "amount")


def test_without_a_return_url_only_cards_can_be_confirmed(peer: Any) -> None:
    intents = peer.client.v1.payment_intents
    intent = intents.create({"amount": 1000, "currency": "eur"})

    with pytest.raises(stripe.InvalidRequestError, match="return_url"):
        intents.confirm(intent.id, {"payment_method": "pm_card_visa"})

    params = {"payment_method": "pm_card_visa", "return_url": "https://shop.example/back"}
    assert intents.confirm(intent.id, params).status == "succeeded"


@pytest.mark.parametrize(
    ("name", "outcome", "status", "code"),
    [
        ("pm_card_authenticationRequired", "succeeded", "succeeded", None),
        (
            "pm_card_authenticationRequired",
            "failed",
            "requires_payment_method",
            "payment_intent_authentication_failure",
        ),
        (
            "pm_card_threeDSecureRequiredChargeDeclined",
            "succeeded",
            "requires_payment_method",
            "card_declined",
        ),
    ],
)
def test_the_holders_answer_decides(
    peer: Any, name: str, outcome: str, status: str, code: str | None
) -> None:
    client = peer.client
    intent = create_intent(client, payment_method=name, confirm=True)
    assert intent.status == "requires_action"

    peer.control("POST", "authenticate", intent=intent.id, outcome=outcome)

    kept = client.v1.payment_intents.retrieve(intent.id)
    error = kept.last_payment_error
    assert (kept.status, error and error.code) == (status, code)
    assert charge_count(client, intent) == int(status == "succeeded")


def test_a_card_set_up_once_needs_its_holder_no_more(peer: Any) -> None:
    client = peer.client
    customer = client.v1.customers.create({"email": "alice@contoso.example"})
    first = create_intent(
        client,
        customer=customer.id,
        payment_method="pm_card_authenticationRequiredOnSetup",
        setup_future_usage="off_session",
        confirm=True,
    )
    peer.control("POST", "authenticate", intent=first.id)

    renewal = create_intent(
        client, customer=customer.id, payment_method=first.payment_method, off_session=True, confirm=True
    )

    assert renewal.status == "succeeded"


def test_a_card_is_declined_after_its_last_month(peer: Any) -> None:
    client = peer.client
    customer = client.v1.customers.create({"email": "alice@contoso.example"})
    method = saved_card(client, customer)
    peer.set_clock(offset_seconds=5 * 366 * 86400)

    error = declined_error(
        lambda: create_intent(
            client, customer=customer.id, payment_method=method.id, off_session=True, confirm=True
        )
    )

    assert (error.code, decline_code_of(error)) == ("expired_card", None)


def test_processing_settles_later(peer: Any) -> None:
    client = peer.client
    peer.control("POST", "processing", count=2)
    good, bad = (create_intent(client, payment_method="pm_card_visa", confirm=True) for _ in range(2))
    assert (good.status, bad.status) == ("processing", "processing")

    peer.control("POST", "settle", payment_intent=good.id)
    peer.control("POST", "settle", payment_intent=bad.id, outcome="failed")

    assert client.v1.payment_intents.retrieve(good.id).status == "succeeded"
    assert client.v1.payment_intents.retrieve(bad.id).status == "requires_payment_method"
    assert (charge_count(client, good), charge_count(client, bad)) == (1, 0)


@pytest.mark.parametrize(("name", "code", "decline_code", "message"), DECLINES)
def test_a_card_may_be_named_directly(
    peer: Any, name: str, code: str, decline_code: str | None, message: str
) -> None:
    error = declined_error(lambda: create_intent(peer.client, payment_method=f"pm_card_{name}", confirm=True))

    assert (error.code, decline_code_of(error), error.user_message) == (code, decline_code, message)
