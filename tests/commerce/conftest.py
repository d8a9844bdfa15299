"""A card processor that knows nothing yet, for the tests that charge."""

import pytest

from tests.processor import reset


@pytest.fixture
def empty_processor(processor: str) -> str:
    reset()
    return processor
