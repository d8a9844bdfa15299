"""What `make test` and `make test-long` leave to each other (`tests.tiers`, ADR 48)."""

from tests.tiers import FILES, FOLDERS, TESTS, mostly_long


def test_every_place_that_is_long_is_there() -> None:
    missing = [place for place in (*FOLDERS, *FILES) if not (TESTS / place).exists()]

    assert missing == []


def test_of_many_values_all_are_there_and_some_without_the_mark() -> None:
    values = mostly_long(("one", "two", "three"), but=("two",))

    marked = {value.values[0]: [mark.name for mark in value.marks] for value in values if value != "two"}
    assert "two" in values
    assert marked == {"one": ["long"], "three": ["long"]}
