from typing import Any

import pytest

from tests.scim.directory import Directory


@pytest.fixture(autouse=True)
def _no_limit(settings: Any) -> None:
    """Tests call more often than a directory may; the limit has a test of its own."""
    settings.SCIM_BURST = 100_000


@pytest.fixture
def contoso() -> Directory:
    return Directory("Contoso")


@pytest.fixture
def fabrikam() -> Directory:
    return Directory("Fabrikam")
