"""Customers, payment methods and confirmation tokens."""

from uuid import uuid4

import pytest
import stripe

from .payments import card, create_intent, metadata_of, saved_card


def test_keeps_a_customer(client: stripe.StripeClient) -> None:
    made = client.v1.customers.create({"email": "a@contoso.example", "metadata": {"person": "7"}})

    kept = client.v1.customers.retrieve(made.id)

    assert (kept.email, metadata_of(kept), kept.name) == ("a@contoso.example", {"person": "7"}, None)


def test_merges_metadata_and_unsets_with_an_empty_value(client: stripe.StripeClient) -> None:
    made = client.v1.customers.create({"description": "Alice", "metadata": {"a": "1", "b": "2"}})

    changed = client.v1.customers.update(made.id, {"description": "", "metadata": {"a": "", "c": "3"}})

    assert metadata_of(changed) == {"b": "2", "c": "3"}
    assert changed.description is None


def test_lists_customers_by_email_newest_first(client: stripe.StripeClient) -> None:
    email = f"{uuid4().hex}@contoso.example"
    first, second, third = (client.v1.customers.create({"email": email}).id for _ in range(3))
    client.v1.customers.create({"email": "other@contoso.example"})

    page = client.v1.customers.list({"email": email, "limit": 2})

    assert [customer.id for customer in page.data] == [third, second]
    assert page.has_more
    assert [customer.id for customer in page.auto_paging_iter()] == [third, second, first]


def test_a_deleted_customer_says_so_and_cannot_be_charged(client: stripe.StripeClient) -> None:
    made = client.v1.customers.create({"email": "a@contoso.example"})

    assert client.v1.customers.delete(made.id).deleted

    assert client.v1.customers.retrieve(made.id)["deleted"] is True
    with pytest.raises(stripe.InvalidRequestError) as refused:
        create_intent(client, customer=made.id)
    assert refused.value.code == "resource_missing"


def test_an_unknown_customer_is_missing(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.customers.retrieve("cus_nobody")

    assert (refused.value.http_status, refused.value.code) == (404, "resource_missing")
    assert refused.value.user_message == "No such customer: 'cus_nobody'"
    assert refused.value.request_id


def test_attaches_lists_and_detaches_a_card(client: stripe.StripeClient, customer: stripe.Customer) -> None:
    visa = saved_card(client, customer)
    mastercard = saved_card(client, customer, "mastercard")

    listed = client.v1.payment_methods.list({"customer": customer.id, "type": "card"})
    assert [method.id for method in listed.data] == [mastercard.id, visa.id]
    of_customer = client.v1.customers.payment_methods.list(customer.id)
    assert [method.id for method in of_customer.data] == [mastercard.id, visa.id]
    assert visa.card is not None
    assert (visa.card.brand, visa.card.last4, visa.card.funding) == ("visa", "4242", "credit")

    assert client.v1.payment_methods.detach(visa.id).customer is None

    listed = client.v1.payment_methods.list({"customer": customer.id})
    assert [method.id for method in listed.data] == [mastercard.id]


def test_makes_a_card_of_a_token(client: stripe.StripeClient) -> None:
    made = client.v1.payment_methods.create(
        {
            "type": "card",
            "card": {"token": "tok_mastercard"},
            "billing_details": {"name": "M. Mulder", "address": {"country": "NL"}},
        }
    )

    kept = client.v1.payment_methods.retrieve(made.id)

    assert kept.card is not None
    assert (kept.card.brand, kept.card.last4) == ("mastercard", "4444")
    assert kept.billing_details.name == "M. Mulder"
    assert kept.billing_details.address is not None
    assert kept.billing_details.address.country == "NL"


def test_the_same_card_has_the_same_fingerprint(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    one, other = saved_card(client, customer), saved_card(client, customer)
    mastercard = saved_card(client, customer, "mastercard")

    assert one.card is not None
    assert other.card is not None
    assert mastercard.card is not None
    assert one.card.fingerprint == other.card.fingerprint != mastercard.card.fingerprint


def test_a_card_that_declines_is_not_kept(client: stripe.StripeClient, customer: stripe.Customer) -> None:
    with pytest.raises(stripe.CardError) as refused:
        saved_card(client, customer, "visa_chargeDeclined")

    assert (refused.value.http_status, refused.value.code) == (402, "card_declined")
    assert client.v1.payment_methods.list({"customer": customer.id}).data == []


def test_a_card_of_somebody_else_is_refused(client: stripe.StripeClient, customer: stripe.Customer) -> None:
    bob = client.v1.customers.create({"email": "bob@contoso.example"})
    method = saved_card(client, customer)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        create_intent(client, customer=bob.id, payment_method=method.id, confirm=True)

    assert refused.value.http_status == 400


def test_a_detached_card_cannot_be_charged(client: stripe.StripeClient, customer: stripe.Customer) -> None:
    method = saved_card(client, customer)
    client.v1.payment_methods.detach(method.id)

    with pytest.raises(stripe.InvalidRequestError):
        create_intent(client, customer=customer.id, payment_method=method.id, confirm=True)


def test_names_the_default_card(client: stripe.StripeClient, customer: stripe.Customer) -> None:
    method = saved_card(client, customer)
    settings = {"invoice_settings": {"default_payment_method": method.id}}
    client.v1.customers.update(customer.id, settings)  # type: ignore[arg-type]

    kept = client.v1.customers.retrieve(customer.id, {"expand": ["invoice_settings.default_payment_method"]})

    assert kept.invoice_settings is not None
    default = kept.invoice_settings.default_payment_method
    assert isinstance(default, stripe.PaymentMethod)
    assert default.id == method.id


def test_a_confirmation_token_confirms_one_intent(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    token = client.v1.test_helpers.confirmation_tokens.create({"payment_method": card(client, "visa")})
    intent = create_intent(client, customer=customer.id, setup_future_usage="off_session")

    paid = client.v1.payment_intents.confirm(intent.id, {"confirmation_token": token.id})

    assert paid.status == "succeeded"
    spent = client.v1.confirmation_tokens.retrieve(token.id)
    assert spent.payment_intent == intent.id
    assert spent.payment_method_preview is not None
    assert spent.payment_method_preview.card is not None
    assert spent.payment_method_preview.card.last4 == "4242"
    again = create_intent(client, customer=customer.id)
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.payment_intents.confirm(again.id, {"confirmation_token": token.id})
