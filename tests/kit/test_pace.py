"""A pace that all processes keep together, and what each does while Valkey is away (architecture §7)."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from config.kit import rate
from config.kit.rate import Pace


def take(pace: Pace, tokens: int, *, at_once: int = 8) -> float:
    """Seconds until so many waited for their tokens, some at a time."""
    began = time.monotonic()
    with ThreadPoolExecutor(at_once) as pool:
        for _ in pool.map(lambda _: pace.wait(), range(tokens)):
            pass
    return time.monotonic() - began


@pytest.fixture
def pace() -> Pace:
    return Pace(f"test-{uuid4().hex}", 50)


@pytest.fixture
def valkey_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "_valkey", lambda: rate._client("redis://127.0.0.1:9/0"))


def test_threads_keep_the_pace_together(pace: Pace) -> None:
    # Six are in store at the start.
    assert 0.86 <= take(pace, 50) < 5


def test_processes_keep_the_pace_together(pace: Pace) -> None:
    began = time.monotonic()
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            try:
                take(pace, 20, at_once=2)
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)

    assert 1.06 <= time.monotonic() - began < 10


def test_what_was_not_used_is_not_saved_up(pace: Pace) -> None:
    take(pace, 6)
    time.sleep(0.3)

    assert take(pace, 26) >= 0.38


def test_a_flushed_valkey_begins_anew(pace: Pace) -> None:
    take(pace, 10)
    rate._valkey().flushdb()

    assert take(pace, 26) >= 0.38


@pytest.mark.usefixtures("valkey_is_away")
def test_a_process_that_cannot_ask_keeps_to_a_tenth(pace: Pace) -> None:
    # The first goes at once, the others a fifth of a second apart.
    assert 0.58 <= take(pace, 4) < 5


def test_valkey_back_means_the_shared_pace_again(pace: Pace, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as away:
        away.setattr(rate, "_valkey", lambda: rate._client("redis://127.0.0.1:9/0"))
        pace.wait()
    rate._alone.until[pace.name] = 0.0

    assert take(pace, 6) < 0.5
