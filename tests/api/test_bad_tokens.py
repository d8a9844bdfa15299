"""What is no good token is counted, by network; who has a good one never notices (reliability §7)."""

from typing import Any

import pytest
from django.test import Client

from config.kit import rate
from config.kit.rate import _valkey
from directory.tokens import new_secret
from tests.factories import caller_with, make_tenant, make_user, token_of

pytestmark = pytest.mark.django_db

CALLS = ("/api/v1.0/policies", "/api/v1.0/entitlements?user=a@b.example&product=x", "/scim/v2/Users")


@pytest.fixture(autouse=True)
def three_a_minute(settings: Any) -> None:
    settings.BAD_TOKENS_PER_MINUTE = 3
    _valkey().flushdb()


def with_bad_token(address: str, caller: str = "198.51.100.7") -> Any:
    headers = {"Authorization": f"Bearer {new_secret('personal')}"}
    return Client(REMOTE_ADDR=caller).get(address, headers=headers)


@pytest.mark.parametrize("address", CALLS)
def test_the_fourth_in_a_minute_is_429_and_says_when_to_come_back(address: str) -> None:
    statuses = [with_bad_token(address).status_code for _ in range(3)]

    refused = with_bad_token(address)

    assert statuses == [401] * 3
    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= 60
    assert "json" in refused["Content-Type"]


def test_all_calls_and_what_is_not_even_a_token_count_together() -> None:
    statuses = [with_bad_token(address).status_code for address in CALLS]
    nothing = Client(REMOTE_ADDR="198.51.100.7").get(CALLS[0])

    assert statuses == [401] * 3
    assert nothing.status_code == 429


def test_a_good_token_from_the_same_network_passes_and_another_network_is_another_count() -> None:
    gina = make_user(make_tenant(), roles=("global_admin",))
    for _ in range(4):
        with_bad_token(CALLS[0], "127.0.0.1")

    assert caller_with(token_of(gina)).get(CALLS[0]).status_code == 200
    assert with_bad_token(CALLS[0], "198.51.100.8").status_code == 401


def test_while_nothing_can_be_counted_a_bad_token_is_401_and_a_good_one_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gina = make_user(make_tenant(), roles=("global_admin",))
    monkeypatch.setattr(rate, "_valkey", lambda: rate._client("redis://127.0.0.1:9/0"))

    assert with_bad_token(CALLS[0]).status_code == 401
    assert caller_with(token_of(gina)).get(CALLS[0]).status_code == 200
