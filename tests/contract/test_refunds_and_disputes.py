"""Money back: never more than was charged."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import stripe

from .payments import card, charged_intent, create_intent, declined_error, metadata_of
from .peer import Peer


def test_refunds_in_parts_up_to_the_whole(client: stripe.StripeClient) -> None:
    intent = charged_intent(client)
    part = client.v1.refunds.create(
        {
            "payment_intent": intent.id,
            "amount": 400,
            "reason": "requested_by_customer",
            "metadata": {"credit": "3"},
        }
    )
    assert (part.status, part.amount, part.charge) == ("succeeded", 400, intent.latest_charge)

    rest = client.v1.refunds.create({"charge": str(intent.latest_charge)})

    assert rest.amount == 600
    charge = client.v1.charges.retrieve(str(intent.latest_charge))
    assert (charge.amount_refunded, charge.refunded) == (1000, True)
    listed = client.v1.refunds.list({"payment_intent": intent.id})
    assert [refund.id for refund in listed.data] == [rest.id, part.id]
    assert metadata_of(client.v1.refunds.retrieve(part.id)) == {"credit": "3"}


def test_never_refunds_more_than_is_left(client: stripe.StripeClient) -> None:
    intent = charged_intent(client)
    client.v1.refunds.create({"payment_intent": intent.id, "amount": 600})

    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.refunds.create({"payment_intent": intent.id, "amount": 401})

    assert (refused.value.http_status, refused.value.param) == (400, "amount")
    assert client.v1.charges.retrieve(str(intent.latest_charge)).amount_refunded == 600


def test_a_charge_wholly_refunded_says_so(client: stripe.StripeClient) -> None:
    intent = charged_intent(client)
    client.v1.refunds.create({"payment_intent": intent.id})

    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.refunds.create({"payment_intent": intent.id})

    assert refused.value.code == "charge_already_refunded"


def test_nothing_charged_is_nothing_to_refund(client: stripe.StripeClient) -> None:
    intent = create_intent(client)
    confirm = client.v1.payment_intents.confirm
    declined_error(lambda: confirm(intent.id, {"payment_method": card(client, "visa_chargeDeclined")}))

    with pytest.raises(stripe.InvalidRequestError):
        client.v1.refunds.create({"payment_intent": intent.id})


def test_of_parallel_refunds_only_what_fits_is_given(peer: Peer) -> None:
    intent = charged_intent(peer.client)

    def refund(_: int) -> bool:
        try:
            peer.client.v1.refunds.create({"payment_intent": intent.id, "amount": 600})
        except stripe.InvalidRequestError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(refund, range(50)))

    assert outcomes.count(True) == 1
    assert peer.client.v1.charges.retrieve(str(intent.latest_charge)).amount_refunded == 600


def test_a_refund_may_come_back(peer: Peer) -> None:
    client = peer.client
    intent = charged_intent(client)
    refund = client.v1.refunds.create({"payment_intent": intent.id})

    peer.control("POST", "refunds/fail", refund=refund.id)

    kept = client.v1.refunds.retrieve(refund.id)
    assert (kept.status, kept.failure_reason) == ("failed", "lost_or_stolen_card")
    assert client.v1.charges.retrieve(str(intent.latest_charge)).amount_refunded == 0


@pytest.mark.parametrize(("outcome", "is_refundable"), [("won", True), ("lost", False)])
def test_a_dispute_ends_won_or_lost(peer: Peer, outcome: str, is_refundable: bool) -> None:
    client = peer.client
    intent = charged_intent(client)

    opened = peer.control("POST", "disputes", payment_intent=intent.id, reason="product_not_received")

    dispute = client.v1.disputes.retrieve(opened["id"])
    assert (dispute.status, dispute.amount, dispute.reason) == (
        "needs_response",
        1000,
        "product_not_received",
    )
    assert [found.id for found in client.v1.disputes.list({"payment_intent": intent.id}).data] == [dispute.id]
    assert client.v1.charges.retrieve(str(intent.latest_charge)).disputed
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.refunds.create({"payment_intent": intent.id})
    assert refused.value.code == "charge_disputed"

    peer.control("POST", "disputes/close", dispute=dispute.id, status=outcome)

    assert client.v1.disputes.retrieve(dispute.id).status == outcome
    try:
        client.v1.refunds.create({"payment_intent": intent.id})
    except stripe.InvalidRequestError:
        assert not is_refundable
    else:
        assert is_refundable


def test_an_accepted_dispute_is_lost(peer: Peer) -> None:
    intent = charged_intent(peer.client)
    opened = peer.control("POST", "disputes", charge=intent.latest_charge)

    assert peer.client.v1.disputes.close(opened["id"]).status == "lost"
