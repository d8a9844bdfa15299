"""Webhooks: signed, repeated until taken, and as late, doubled or mixed up as they are told to be."""

import time

import pytest
import stripe

from .openapi import validate_object
from .payments import charged_intent, create_intent, declined_error
from .peer import Peer
from .receiver import Receiver


def flush(peer: Peer) -> None:
    assert peer.control("POST", "webhooks/flush", seconds=10)["idle"]


def test_a_payment_is_told_in_order_and_signed(peer: Peer, receiver: Receiver) -> None:
    intent = charged_intent(peer.client)
    flush(peer)

    assert receiver.types() == ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded"]
    assert receiver.forged == 0
    told = receiver.events[-1]
    assert told.data.object["id"] == intent.id
    assert told.data.object["status"] == "succeeded"
    assert told.livemode is False
    assert peer.client.v1.events.retrieve(told.id).type == "payment_intent.succeeded"


def test_the_sdk_refuses_another_secret_and_an_altered_body(peer: Peer) -> None:
    with Receiver("whsec_other") as receiver:
        peer.control("POST", "webhooks", url=receiver.url)
        create_intent(peer.client)
        deadline = time.monotonic() + 5
        while not receiver.forged and time.monotonic() < deadline:
            time.sleep(0.02)

    assert receiver.events == []
    assert receiver.forged >= 1


@pytest.mark.parametrize(
    ("act", "types"),
    [
        (
            "decline",
            ["payment_intent.created", "charge.failed", "payment_intent.payment_failed"],
        ),
        ("cancel", ["payment_intent.created", "payment_intent.canceled"]),
        ("ask", ["payment_intent.created", "payment_intent.requires_action"]),
        ("refund", ["refund.created", "charge.refunded"]),
        ("dispute", ["charge.dispute.created", "charge.dispute.funds_withdrawn"]),
        ("setup", ["setup_intent.created", "payment_method.attached", "setup_intent.succeeded"]),
        ("processing", ["payment_intent.created", "charge.pending", "payment_intent.processing"]),
    ],
)
def test_each_change_is_told(peer: Peer, receiver: Receiver, act: str, types: list[str]) -> None:
    client = peer.client
    peer.control("POST", "webhooks", paused=True)
    paid = charged_intent(client)
    customer = client.v1.customers.create({"email": "alice@contoso.example"})
    peer.control("POST", "webhooks", paused=False)
    flush(peer)
    receiver.events.clear()

    def decline() -> None:
        intent = create_intent(client)
        confirm = client.v1.payment_intents.confirm
        declined_error(lambda: confirm(intent.id, {"payment_method": "pm_card_visa_chargeDeclined"}))

    def hold() -> None:
        peer.control("POST", "processing", count=1)
        charged_intent(client)

    {
        "decline": decline,
        "cancel": lambda: client.v1.payment_intents.cancel(create_intent(client).id),
        "ask": lambda: create_intent(client, payment_method="pm_card_authenticationRequired", confirm=True),
        "refund": lambda: client.v1.refunds.create({"payment_intent": paid.id}),
        "dispute": lambda: peer.control("POST", "disputes", payment_intent=paid.id),
        "setup": lambda: client.v1.setup_intents.create(
            {
                "customer": customer.id,
                "payment_method": "pm_card_visa",
                "allowed_payment_method_types": ["card"],
                "confirm": True,
            }
        ),
        "processing": hold,
    }[act]()
    flush(peer)

    assert receiver.types() == types
    assert [
        problem for event in receiver.events for problem in validate_object(event.data.object.to_dict())
    ] == []


def test_what_is_refused_comes_again(peer: Peer, receiver: Receiver) -> None:
    receiver.refuse_next = 2
    create_intent(peer.client)

    flush(peer)

    assert receiver.types() == ["payment_intent.created"]
    assert peer.control("GET", "webhooks")["refused"] >= 2


def test_what_nobody_takes_waits_for_the_receiver(peer: Peer) -> None:
    with Receiver(peer.webhook_secret) as receiver:
        url = receiver.url
    peer.control("POST", "webhooks", url=url)
    create_intent(peer.client)
    time.sleep(0.3)
    assert peer.control("GET", "webhooks")["pending"] == 1

    with Receiver(peer.webhook_secret) as back:
        peer.control("POST", "webhooks", url=back.url)
        flush(peer)

    assert back.types() == ["payment_intent.created"]


def test_may_come_many_times(peer: Peer, receiver: Receiver) -> None:
    peer.control("POST", "webhooks", copies=50)
    create_intent(peer.client)

    flush(peer)

    assert len(receiver.events) == 50
    assert len({event.id for event in receiver.events}) == 1


def test_may_come_backwards(peer: Peer, receiver: Receiver) -> None:
    peer.control("POST", "webhooks", paused=True, order="reversed")
    charged_intent(peer.client)

    peer.control("POST", "webhooks", paused=False)
    flush(peer)

    assert receiver.types() == ["payment_intent.succeeded", "charge.succeeded", "payment_intent.created"]


def test_may_be_lost_and_sent_again_by_hand(peer: Peer, receiver: Receiver) -> None:
    peer.control("POST", "webhooks", drop=True)
    intent = create_intent(peer.client)
    flush(peer)
    assert receiver.events == []
    found = peer.client.v1.events.list({"type": "payment_intent.created", "limit": 1}).data[0]
    assert found.data.object["id"] == intent.id

    peer.control("POST", "webhooks/resend", event=found.id)
    flush(peer)

    assert [event.id for event in receiver.events] == [found.id]


def test_only_the_events_subscribed_to_are_sent(peer: Peer, receiver: Receiver) -> None:
    peer.control("POST", "webhooks", events=["charge.*"])
    charged_intent(peer.client)
    flush(peer)
    peer.control("POST", "webhooks", events=["*"])

    assert receiver.types() == ["charge.succeeded"]


def test_times_are_the_demos_and_signatures_are_real(peer: Peer, receiver: Receiver) -> None:
    peer.set_clock(offset_seconds=40 * 86400)
    before = time.time()

    create_intent(peer.client)
    flush(peer)

    assert receiver.events[0].created >= before + 40 * 86400 - 1
    assert receiver.forged == 0
    assert stripe.Webhook.DEFAULT_TOLERANCE == 300


def test_survive_a_kill(own_peer: Peer) -> None:
    with Receiver(own_peer.webhook_secret) as receiver:
        own_peer.control("POST", "webhooks", url=receiver.url, paused=True)
        create_intent(own_peer.client)
        own_peer.kill()
        own_peer.start()
        own_peer.control("POST", "webhooks", url=receiver.url)
        flush(own_peer)

    assert receiver.types() == ["payment_intent.created"]
