"""What is read as an instant that somebody wrote (`config.kit.clock.instant_of`)."""

from datetime import UTC, datetime

import pytest

from config.kit.clock import instant_of


@pytest.mark.parametrize(
    "text", ["2026-03-10T09:30:00Z", "2026-03-10T10:30:00+01:00", "2026-03-11T06:03:00+20:33"]
)
def test_it_is_the_same_in_utc_however_it_was_written(text: str) -> None:
    assert instant_of(text) == datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
    assert instant_of(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        *("", "yesterday", "2026-03-10", "2026-03-10T09:30:00", "2026-03-10T09:30:00+25:00", "1773135000"),
        *("0001-01-01T00:00:00+20:00", "9999-12-31T23:59:59-20:00"),
    ],
)
def test_everything_else_is_none(text: str) -> None:
    assert instant_of(text) is None
