"""The processors that the contract suite judges."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .peer import Peer


@pytest.fixture(scope="session")
def shared_peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """One processor for the whole run."""
    with Peer(tmp_path_factory.mktemp("processor")) as peer:
        yield peer


@pytest.fixture
def peer(shared_peer: Peer) -> Iterator[Peer]:
    """The processor with no faults in force, real time, and webhooks off."""
    yield shared_peer
    shared_peer.clock_file.unlink(missing_ok=True)
    shared_peer.control("DELETE", "faults")
    shared_peer.control("POST", "processing", count=0)
    shared_peer.control("POST", "webhooks", url="", drop=False, paused=False, copies=1, order="normal")


@pytest.fixture
def own_peer(tmp_path: Path) -> Iterator[Peer]:
    """A processor that the test may kill."""
    with Peer(tmp_path / "state") as peer:
        yield peer
