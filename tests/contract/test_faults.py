"""Lost questions, lost answers, slowness, and a processor that is killed."""

import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from uuid import uuid4

import pytest
import stripe

from .payments import charge_count, charged_intent, create_intent, error_object
from .peer import PUBLISHABLE_KEY, ROOT, Peer


def test_a_lost_answer_was_work_done(peer: Peer) -> None:
    client = peer.client
    intent = create_intent(client, payment_method="pm_card_visa")
    peer.control("POST", "faults", kind="lose_answer", path="/v1/payment_intents/*/confirm")

    with pytest.raises(stripe.APIConnectionError):
        client.v1.payment_intents.confirm(intent.id)

    assert client.v1.payment_intents.retrieve(intent.id).status == "succeeded"
    assert charge_count(client, intent) == 1


def test_a_lost_answer_comes_again_with_its_key(peer: Peer) -> None:
    client = peer.client
    intent = create_intent(client, payment_method="pm_card_visa")
    peer.control("POST", "faults", kind="lose_answer", path="/v1/payment_intents/*/confirm")
    options: stripe.RequestOptions = {"idempotency_key": uuid4().hex}
    with pytest.raises(stripe.APIConnectionError):
        client.v1.payment_intents.confirm(intent.id, {}, options)

    assert client.v1.payment_intents.confirm(intent.id, {}, options).status == "succeeded"

    assert charge_count(client, intent) == 1


def test_a_lost_question_was_no_work(peer: Peer) -> None:
    client = peer.client
    intent = create_intent(client, payment_method="pm_card_visa")
    peer.control("POST", "faults", kind="lose_request", path="/v1/payment_intents/*/confirm")

    with pytest.raises(stripe.APIConnectionError):
        client.v1.payment_intents.confirm(intent.id)

    assert client.v1.payment_intents.retrieve(intent.id).status == "requires_confirmation"
    assert charge_count(client, intent) == 0


def test_a_500_may_come_after_the_work(peer: Peer) -> None:
    client = peer.client
    intent = create_intent(client, payment_method="pm_card_visa")
    confirm = f"/v1/payment_intents/{intent.id}/confirm"
    peer.control("POST", "faults", kind="error", status=500, after_work=True, path=confirm)

    with pytest.raises(stripe.APIError):
        client.v1.payment_intents.confirm(intent.id)

    assert charge_count(client, intent) == 1


def test_a_fault_meets_only_what_it_names(peer: Peer) -> None:
    client = peer.client
    bill = uuid4().hex
    peer.control("POST", "faults", kind="error", status=500, count=2, metadata={"bill": bill})
    create_intent(client, metadata={"bill": "another"})

    for _ in range(2):
        with pytest.raises(stripe.APIError):
            create_intent(client, metadata={"bill": bill})

    assert create_intent(client, metadata={"bill": bill}).amount == 1000


def test_is_slow_when_told_to(peer: Peer) -> None:
    peer.control("POST", "latency", seconds=0.2)
    before = time.monotonic()

    peer.client.v1.customers.list()

    assert time.monotonic() - before >= 0.2
    peer.control("POST", "latency", seconds=0)
    assert peer.control("GET", "faults")["data"] == []


def test_counts_the_charges_of_a_customer_and_of_metadata(peer: Peer) -> None:
    client = peer.client
    bill = uuid4().hex
    customer = client.v1.customers.create({"email": "alice@contoso.example"})
    charged_intent(client, customer=customer.id, metadata={"bill": bill})
    charged_intent(client, customer=customer.id)

    assert peer.control("GET", "charges/count", customer=customer.id)["count"] == 2
    counted = peer.control("GET", "charges/count", metadata={"bill": bill})
    assert counted == {"count": 1, "amount": {"eur": 1000}, "amount_refunded": {"eur": 0}}
    objects = peer.control("GET", "objects", metadata={"bill": bill})["data"]
    assert sorted(found["object"] for found in objects) == ["charge", "payment_intent"]


def test_what_was_answered_survives_a_kill(own_peer: Peer) -> None:
    client = own_peer.client
    customer = client.v1.customers.create({"email": "alice@contoso.example"})
    options: stripe.RequestOptions = {"idempotency_key": "K1"}
    intent = create_intent(client, customer=customer.id, payment_method="pm_card_visa")
    paid = client.v1.payment_intents.confirm(intent.id, {}, options)

    own_peer.kill()
    own_peer.start()

    client = own_peer.client
    assert client.v1.customers.retrieve(customer.id).email == "alice@contoso.example"
    assert client.v1.payment_intents.confirm(intent.id, {}, options) == paid
    assert charge_count(client, intent) == 1
    assert own_peer.stop() == 0


def test_a_kill_in_the_middle_of_many_charges_loses_and_doubles_none(own_peer: Peer) -> None:
    client = own_peer.client
    intents = [create_intent(client, payment_method="pm_card_visa") for _ in range(20)]
    answered = [client.v1.payment_intents.confirm(intent.id).id for intent in intents[:10]]
    own_peer.control("POST", "faults", kind="lose_answer", path="*/confirm")
    with pytest.raises(stripe.APIConnectionError):
        client.v1.payment_intents.confirm(intents[10].id)

    own_peer.kill()
    own_peer.start()

    client = own_peer.client
    assert [charge_count(client, intent) for intent in intents] == [1] * 11 + [0] * 9
    assert len(answered) == 10


def test_reset_forgets_everything(own_peer: Peer) -> None:
    charged_intent(own_peer.client)

    own_peer.control("POST", "reset")

    assert own_peer.control("GET", "health")["objects"] == {}
    assert own_peer.client.v1.events.list().data == []


def test_a_publishable_key_sees_only_the_intent_whose_secret_it_has(peer: Peer) -> None:
    intent = create_intent(peer.client, metadata={"bill": "7"}, description="Seats")
    other = create_intent(peer.client)
    browser = stripe.StripeClient(PUBLISHABLE_KEY, base_addresses={"api": peer.url}, max_network_retries=0)

    seen = browser.v1.payment_intents.retrieve(intent.id, {"client_secret": str(intent.client_secret)})

    assert (seen.status, "metadata" in seen, "customer" in seen) == ("requires_payment_method", False, False)
    with pytest.raises(stripe.InvalidRequestError):
        browser.v1.payment_intents.retrieve(other.id, {"client_secret": str(intent.client_secret)})
    with pytest.raises(stripe.AuthenticationError):
        browser.v1.payment_intents.list()


def test_keeps_no_card_data(peer: Peer) -> None:
    body = {
        "type": "card",
        "card": {"number": "4242424242424242", "exp_month": 12, "exp_year": 2044, "cvc": "973"},
    }
    method = peer.client.v1.payment_methods.create(body)  # type: ignore[arg-type]

    kept = b"".join(path.read_bytes() for path in peer.state_dir.iterdir())

    assert method.id.encode() in kept
    assert b"4242424242424242" not in kept
    assert b"973" not in str(peer.control("GET", "requests")["data"][-1]["params"]).encode()
    assert b'"cvc": "973"' not in kept


def test_a_card_that_is_no_test_card_is_refused(peer: Peer) -> None:
    body = {"type": "card", "card": {"number": "4111111111111111", "exp_month": 12, "exp_year": 2044}}

    with pytest.raises(stripe.CardError) as refused:
        peer.client.v1.payment_methods.create(body)  # type: ignore[arg-type]

    assert error_object(refused.value)["decline_code"] == "test_mode_live_card"


@pytest.mark.parametrize("key", ["sk_live_1", "rk_live_1"])
def test_refuses_to_start_beside_a_live_key(tmp_path: Path, key: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "config.demo.processor", "--port", "0", "--state-dir", str(tmp_path)],
        cwd=ROOT,
        env={"STRIPE_SECRET_KEY": key},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert finished.returncode == 2
    assert "live" in finished.stderr
    assert list(tmp_path.iterdir()) == []


def test_control_is_not_for_pages_in_a_browser(peer: Peer) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        connection = HTTPConnection("127.0.0.1", peer.port)
        connection.request("POST", "/_control/reset", "{}", headers)
        assert connection.getresponse().status == 403
        connection.close()
