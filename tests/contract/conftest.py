"""The processors that the contract suite judges, and a receiver for their webhooks."""

import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import pytest
import stripe

from .openapi import validate_request
from .peer import Peer
from .receiver import Receiver

STRIPE_KEY = os.environ.get("STRIPE_TEST_SECRET_KEY", "")
HAS_STRIPE_WORLD = sys.version_info >= (3, 14) and find_spec("seahaven_stripe_world") is not None
TARGETS = [
    "peer",
    *(["stripe-world"] if HAS_STRIPE_WORLD else []),
    *(["stripe"] if STRIPE_KEY.startswith(("sk_test_", "rk_test_")) else []),
]

# What seahaven-stripe-world 0.3.0 says of itself that it leaves out: confirmation tokens, keys, single use of
# cards that were not saved, saving a card by paying with it, and the card that attaches and declines later.
LEFT_OUT_BY_STRIPE_WORLD = frozenset(
    {
        "test_a_confirmation_token_confirms_one_intent",
        "test_a_wrong_key_is_refused",
        "test_a_detached_card_cannot_be_charged",
        "test_a_card_not_saved_cannot_be_charged_again",
        "test_a_saved_card_is_kept_after_the_first_payment",
        "test_a_declined_intent_takes_another_card",
        "test_a_card_may_attach_and_decline_later",
    }
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what a target does not offer."""
    items[:] = [item for item in items if not _is_left_out(item)]


def _is_left_out(item: pytest.Item) -> bool:
    if not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
        return False
    is_world = item.callspec.params.get("client") == "stripe-world"
    return is_world and item.originalname in LEFT_OUT_BY_STRIPE_WORLD


@pytest.fixture(scope="session")
def shared_peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """One processor for the whole run. At its end every request that was sent it must be one that Stripe knows."""
    with Peer(tmp_path_factory.mktemp("processor")) as peer:
        yield peer
        assert refused_by_stripe(peer) == []


def refused_by_stripe(peer: Peer) -> list[str]:
    """What Stripe's description has against the requests recorded, but for those that were refused."""
    recorded = peer.control("GET", "requests")["data"]
    return [
        problem
        for request in recorded
        if request["status"] in (200, 402) and not request["from_browser"]
        for problem in validate_request(request["method"], request["path"], request["params"])
    ]


@pytest.fixture
def peer(shared_peer: Peer) -> Iterator[Peer]:
    """The processor with no faults in force, real time, and webhooks off."""
    yield shared_peer
    shared_peer.clock_file.unlink(missing_ok=True)
    shared_peer.control("DELETE", "faults")
    shared_peer.control("POST", "processing", count=0)
    shared_peer.control("POST", "webhooks", url="", drop=False, paused=False, copies=1, order="normal")
    shared_peer.control("DELETE", "webhooks")


@pytest.fixture
def own_peer(tmp_path: Path) -> Iterator[Peer]:
    """A processor that the test may kill."""
    with Peer(tmp_path / "state") as peer:
        yield peer


@pytest.fixture(scope="session")
def stripe_world() -> Iterator[str]:
    """The address of a running seahaven-stripe-world."""
    from .stripe_world import serve

    with serve() as address:
        yield address


@pytest.fixture(params=TARGETS)
def client(request: pytest.FixtureRequest) -> stripe.StripeClient:
    """An account at each processor that can be had here, reached by the official SDK."""
    if request.param == "stripe":
        return stripe.StripeClient(STRIPE_KEY, max_network_retries=2)
    if request.param == "stripe-world":
        address = f"{request.getfixturevalue('stripe_world')}/worlds/{uuid4().hex}"
        return stripe.StripeClient("sk_test_contract", base_addresses={"api": address}, max_network_retries=0)
    peer: Peer = request.getfixturevalue("peer")
    return peer.client


@pytest.fixture
def customer(client: stripe.StripeClient) -> stripe.Customer:
    """Alice, with no card."""
    return client.v1.customers.create({"email": "alice@contoso.example", "metadata": {"run": uuid4().hex}})


@pytest.fixture
def receiver(peer: Peer) -> Iterator[Receiver]:
    """Takes the processor's webhooks."""
    with Receiver(peer.webhook_secret) as receiver:
        peer.control("POST", "webhooks", url=receiver.url)
        yield receiver
        peer.control("POST", "webhooks", url="")
