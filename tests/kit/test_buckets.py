"""Buckets of tokens for those who do not wait, counted in Valkey, some of them in shares (architecture §11)."""

from collections.abc import Callable
from uuid import uuid4

import pytest

from config.kit import rate
from config.kit.rate import Bucket, TooManyRequests


@pytest.fixture
def bucket() -> Callable[..., Bucket]:
    """One that does not fill again while a test runs."""
    name = f"test-{uuid4().hex}"
    return lambda burst, share=1: Bucket(name, 0.001, burst, share)


def passed(bucket: Bucket, calls: int, caller: str = "somebody") -> int:
    """How many of so many calls pass."""
    count = 0
    for _ in range(calls):
        try:
            bucket.take(caller)
        except TooManyRequests:
            continue
        count += 1
    return count


@pytest.mark.parametrize("share", [1, 2, 5])
def test_a_full_bucket_lets_its_burst_pass_whatever_the_share(
    bucket: Callable[..., Bucket], share: int
) -> None:
    assert passed(bucket(10, share), 25) == 10


def test_processes_share_one_bucket(bucket: Callable[..., Bucket], monkeypatch: pytest.MonkeyPatch) -> None:
    taken = passed(bucket(10, 5), 1)
    monkeypatch.setattr(rate, "_shares", rate._Shares())
    other = passed(bucket(10, 5), 25)
    monkeypatch.setattr(rate, "_shares", rate._Shares())

    # The first has four left of its share; nobody else gets them.
    assert (taken, other, passed(bucket(10, 5), 25)) == (1, 5, 0)


def test_callers_have_shares_of_their_own(bucket: Callable[..., Bucket]) -> None:
    passed(bucket(10, 5), 12, "one")

    assert passed(bucket(10, 5), 12, "another") == 10


def test_a_process_remembers_the_callers_it_heard_of_last(
    bucket: Callable[..., Bucket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate._Shares, "MOST", 2)
    monkeypatch.setattr(rate, "_shares", rate._Shares())
    for caller in ("one", "two", "three"):
        passed(bucket(10, 5), 1, caller)

    # What was left of the first one's share is forgotten: its next call takes the second half of the bucket.
    assert passed(bucket(10, 5), 25, "one") == 5
    assert passed(bucket(10, 5), 25, "three") == 9


def test_the_share_asks_valkey_once(bucket: Callable[..., Bucket], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    valkey = rate._valkey()
    monkeypatch.setattr(rate, "_valkey", lambda: asked.append(1) or valkey)

    assert passed(bucket(20, 10), 20) == 20
    assert len(asked) == 2
