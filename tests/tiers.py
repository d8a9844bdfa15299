"""Which tests are long: `make test` leaves them to `make test-long`, so that it ends within ten minutes (ADR 48)."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent
# Processes that are killed, races, months of a subscription's life, whole demos.
FOLDERS = ("benchmarks", "browser", "concurrency", "demo", "faults", "scenarios")
# Many generated requests.
FILES = ("api/test_openapi.py", "scim/test_fuzz.py", "scim/test_tester.py")


def is_long(item: pytest.Item) -> bool:
    """Whether it is in a place named above, or looks at pages in Chromium. Single tests have the mark themselves."""
    place = item.path.relative_to(TESTS)
    return (
        place.parts[0] in FOLDERS
        or place.as_posix() in FILES
        or "browser" in getattr(item, "fixturenames", ())
    )


def mostly_long(values: Iterable[str], *, but: Collection[str]) -> list[Any]:
    """The values of a parameter, each with the mark, `but` those that every run has."""
    return [value if value in but else pytest.param(value, marks=pytest.mark.long) for value in values]
