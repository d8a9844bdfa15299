"""Stacked bars drawn to scale (design §7)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.kit.charts import BOTTOM, MOST_LINES, SIGN, TOP, Series, scale, stacked


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (0, (1, 1)),
        (1, (1, 1)),
        (5, (1, 5)),
        (6, (2, 6)),
        (11, (5, 15)),
        (26, (10, 30)),
        (425_200, (100_000, 500_000)),
    ],
)
def test_grid_lines_are_round_and_at_most_five(most, expected):
    assert scale(most) == expected


@given(st.integers(min_value=0, max_value=10**15))
def test_the_axis_holds_whatever_there_is(most):
    step, top = scale(most)

    assert top >= most
    assert top // step <= MOST_LINES
    assert top % step == 0


@given(st.lists(st.tuples(st.integers(-1000, 10**9), st.integers(-1000, 10**9)), min_size=1, max_size=12))
def test_every_part_stays_inside_the_plot(values):
    series = [Series("A", "c1", [a for a, _b in values]), Series("B", "c2", [b for _a, b in values])]

    for picture in stacked(series, ["x"] * len(values), axis=str, value=str):
        for part in picture.parts:
            assert TOP - 1 <= part.y <= BOTTOM
            assert part.y + part.height <= BOTTOM + 0.2
            assert picture.left <= part.x <= picture.width - part.width
        assert all(picture.text_x >= SIGN * len(line.label) for line in picture.lines)


def test_parts_lie_on_each_other_with_a_gap():
    wide, narrow = stacked(
        [Series("A", "c1", [30]), Series("B", "c2", [20])],
        ["Nov"],
        axis=str,
        value=lambda minor: f"EUR {minor}",
    )

    below, above = wide.parts
    assert (below.css, below.y + below.height) == ("c1", BOTTOM)
    assert above.y + above.height == pytest.approx(below.y - 1.5, abs=0.1)
    assert above.y == pytest.approx(TOP, abs=0.1)
    assert (wide.value.label, narrow.width) == ("EUR 50", 330)
    assert [line.label for line in wide.lines] == ["0", "10", "20", "30", "40", "50"]


def test_nothing_is_drawn_of_what_is_zero_or_less():
    wide, _narrow = stacked([Series("A", "c1", [0, -5])], ["Oct", "Nov"], axis=str, value=str)

    assert wide.parts == []
    assert [label.label for label in wide.labels] == ["Oct", "Nov"]
