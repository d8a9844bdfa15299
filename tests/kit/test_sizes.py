"""Amounts of storage as people read them."""

import pytest
from django.utils import translation

from config.kit.sizes import format_size


@pytest.mark.parametrize(
    ("mb", "english", "dutch"),
    [
        (0, "0 MB", "0 MB"),
        (999, "999 MB", "999 MB"),
        (1_000, "1 GB", "1 GB"),
        (2_560, "2.6 GB", "2,6 GB"),
        (559_100, "559.1 GB", "559,1 GB"),
        (1_500_000, "1.5 TB", "1,5 TB"),
        (12_000_000_000, "12,000 TB", "12.000 TB"),
        (-2_500, "-2.5 GB", "-2,5 GB"),
    ],
)
def test_a_size_is_written_in_the_largest_unit_that_is_not_below_one(
    mb: int, english: str, dutch: str
) -> None:
    for language, expected in (("en", english), ("nl", dutch)):
        with translation.override(language):
            assert format_size(mb) == expected
