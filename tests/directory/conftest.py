"""What tests of signing in need."""

import pytest
from django.core.cache import cache

from config.kit.rate import _valkey


@pytest.fixture
def no_tries_yet() -> None:
    """Nobody has tried to sign in within the last minute."""
    cache.clear()
    _valkey().flushdb()
