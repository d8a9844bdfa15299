"""Charts as inline SVG, drawn by the server in two widths, without script or styles (design §7)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Viewbox width -> left edge of the plot, at least, and width of a bar, at most. Text shrinks with the picture, so there are two.
WIDTHS = {"wide": (640, 52, 46), "narrow": (330, 40, 28)}
HEIGHT, TOP, BOTTOM = 212, 18, 184
MOST_LINES = 5
# Between the parts of one bar.
GAP = 1.5
# Between the axis and its labels, and the width of one of their signs, all in 12 px.
LABEL_GAP, SIGN = 10, 7.4


@dataclass(frozen=True, slots=True)
class Series:
    """One part of every bar; `css` is `c1` to `c4`."""

    label: str
    css: str
    values: Sequence[int]


@dataclass(frozen=True, slots=True)
class Part:
    """A rectangle."""

    css: str
    x: float
    y: float
    width: int
    height: float


@dataclass(frozen=True, slots=True)
class Line:
    """A grid line with its label, which ends left of it."""

    y: float
    label: str

    @property
    def text_y(self) -> float:
        return round(self.y + 4, 1)


@dataclass(frozen=True, slots=True)
class Mark:
    """A text in the middle of `x`."""

    x: float
    y: float
    label: str


@dataclass(frozen=True, slots=True)
class Picture:
    """One drawing: `name` is `wide` or `narrow`."""

    name: str
    width: int
    left: int
    lines: Sequence[Line]
    parts: Sequence[Part]
    labels: Sequence[Mark]
    value: Mark | None

    @property
    def text_x(self) -> int:
        return self.left - LABEL_GAP


def stacked(
    series: Sequence[Series],
    labels: Sequence[str],
    *,
    axis: Callable[[int], str],
    value: Callable[[int], str],
) -> list[Picture]:
    """Stacked bars, one for each label, with the last one's sum over it; what is below zero is drawn as nothing.

    `axis` and `value` write an amount at the grid and over the last bar.
    """
    sums = [sum(max(0, each.values[place]) for each in series) for place in range(len(labels))]
    step, top = scale(max(sums, default=0))
    return [
        _picture(name, series, labels, sums, step=step, top=top, axis=axis, value=value) for name in WIDTHS
    ]


def scale(most: int) -> tuple[int, int]:
    """The distance of grid lines, 1, 2 or 5 times a power of ten, and the value of the highest; five at most."""
    step = 1
    while -(-most // step) > MOST_LINES:
        first = int(str(step)[0])
        step = step * 5 // 2 if first == 2 else step * 2
    return step, max(1, -(-most // step)) * step


def _picture(
    name: str,
    series: Sequence[Series],
    labels: Sequence[str],
    sums: Sequence[int],
    *,
    step: int,
    top: int,
    axis: Callable[[int], str],
    value: Callable[[int], str],
) -> Picture:
    width, least, widest = WIDTHS[name]
    amounts = range(0, top + 1, step)
    left = max(least, LABEL_GAP + math.ceil(SIGN * max(len(axis(at)) for at in amounts)))
    slot = (width - left) / len(labels)
    bar = min(widest, int(slot))

    def height_of(amount: int) -> float:
        return (BOTTOM - TOP) * amount / top

    parts, marks = [], []
    for place, label in enumerate(labels):
        x = round(left + slot * place + (slot - bar) / 2, 1)
        y = float(BOTTOM)
        for each in series:
            height = height_of(max(0, each.values[place]))
            gap = GAP if y < BOTTOM and height > 2 * GAP else 0.0
            if height > 0:
                parts.append(Part(each.css, x, round(y - height, 1), bar, round(height - gap, 1)))
                y -= height
        marks.append(Mark(round(x + bar / 2, 1), HEIGHT - 8, label))
    last = Mark(marks[-1].x, round(BOTTOM - height_of(sums[-1]) - 7, 1), value(sums[-1])) if marks else None
    lines = [Line(round(BOTTOM - height_of(at), 1), axis(at)) for at in amounts]
    return Picture(name, width, left, lines, parts, marks, last)
