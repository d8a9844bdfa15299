"""The clock that demo and tests can move (config/kit/clock.py)."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from config.kit import clock

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def own_clock(settings, tmp_path):
    settings.DEMO = True
    settings.CLOCK_FILE = str(tmp_path / "clock.json")
    with time_machine.travel(NOON, tick=False):
        yield


def test_is_real_time_until_someone_travels():
    assert clock.now() == NOON
    assert clock.now().tzinfo is UTC


def test_adds_the_stored_offset_in_demo_mode():
    clock.set_offset(86400 * 30)

    assert clock.now() == NOON + timedelta(days=30)


def test_reads_a_replaced_file_again():
    clock.set_offset(60)
    clock.now()
    clock.set_offset(120)

    assert clock.now() == NOON + timedelta(minutes=2)


def test_is_real_time_outside_demo_mode(settings):
    clock.set_offset(60)
    settings.DEMO = False

    assert clock.now() == NOON


def test_returns_to_real_time_when_the_file_is_gone(tmp_path):
    clock.set_offset(60)
    clock.now()
    (tmp_path / "clock.json").unlink()

    assert clock.now() == NOON
