"""A card processor that knows nothing yet, for every fault."""

import pytest

from tests.processor import reset


@pytest.fixture
def empty_processor(processor: str) -> str:
    reset()
    return processor
