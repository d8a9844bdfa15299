"""What `make test` and `make test-long` leave to each other (`tests.tiers`, ADR 48)."""

import re

from tests.tiers import FILES, FOLDERS, TESTS


def test_every_place_that_is_long_is_there() -> None:
    missing = [place for place in (*FOLDERS, *FILES) if not (TESTS / place).exists()]

    assert missing == []


def test_the_change_is_tested_in_full_before_it_lands() -> None:
    checks = (TESTS.parent / ".ci" / "run").read_text()

    assert re.findall(r"^make (\S+)$", checks, re.M) == ["test", "check", "test-long"]
