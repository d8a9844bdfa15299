"""Prices by the day: the worked examples of product §5.5, and what must hold for any of them (I-08).

`HYPOTHESIS=full` tries 10,000 examples of each property, the suite 300.
"""

import os
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commerce.proration import Lot, Span, part, refundable, take_back
from config.kit.money import digits, tax_on

EXAMPLES = 10_000 if os.environ.get("HYPOTHESIS") == "full" else 300
dose = settings(max_examples=EXAMPLES, deadline=None, database=None)

MARCH = Span(date(2026, 3, 1), date(2026, 4, 1))
AT = datetime(2026, 3, 4, 12, tzinfo=UTC)

# Ordinary prices in currencies with 0, 2 and 3 decimals: yen, euros, Kuwaiti dinars.
CURRENCIES = {"JPY": 5_000_000, "EUR": 50_000_000, "KWD": 500_000_000}
prices = st.sampled_from(sorted(CURRENCIES)).flatmap(lambda code: st.integers(0, CURRENCIES[code]))
lengths = st.sampled_from([28, 29, 30, 31, 365, 366])


@st.composite
def cuts(draw: st.DrawFn) -> tuple[int, list[int]]:
    """A period's days, and days at which it is cut, from its first to its last."""
    days = draw(lengths)
    between = draw(st.lists(st.integers(0, days), max_size=8))
    return days, sorted([0, *between, days])


def test_ten_seats_bought_on_1_march_and_canceled_on_4_march_give_back_87_10() -> None:
    assert MARCH.price_after(10_000, date(2026, 3, 4)) == 8_710


def test_five_seats_added_on_16_march_cost_25_81() -> None:
    assert MARCH.price_from(5_000, date(2026, 3, 16)) == 2_581


def test_the_first_day_costs_the_whole_and_the_last_gives_nothing_back() -> None:
    assert MARCH.price_from(10_000, date(2026, 3, 1)) == 10_000
    assert MARCH.price_after(10_000, date(2026, 3, 31)) == 0


def test_added_and_canceled_on_one_day_costs_that_day() -> None:
    day = date(2026, 3, 16)

    assert MARCH.price_from(5_000, day) - MARCH.price_after(5_000, day) == 162  # R(16) - R(15)


@pytest.mark.parametrize(("code", "decimals"), [("JPY", 0), ("EUR", 2), ("KWD", 3)])
def test_the_currencies_have_the_decimals_they_stand_for(code: str, decimals: int) -> None:
    assert digits(code) == decimals


@dose
@given(prices, cuts())
def test_parts_add_up_to_the_whole(price: int, cut: tuple[int, list[int]]) -> None:
    days, points = cut

    parts = [part(price, days=days, begin=a, end=b) for a, b in pairwise(points)]

    assert sum(parts) == price
    assert all(amount >= 0 for amount in parts)


@dose
@given(prices, cuts())
def test_a_part_is_less_than_a_unit_from_its_exact_share(price: int, cut: tuple[int, list[int]]) -> None:
    days, points = cut
    begin, end = points[0], points[len(points) // 2]

    amount = part(price, days=days, begin=begin, end=end)

    assert abs(amount - Fraction(price * (end - begin), days)) <= 1


@dose
@given(prices, lengths, st.data())
def test_rounds_half_up_as_money_does(price: int, days: int, data: st.DataObject) -> None:
    day = data.draw(st.integers(0, days))

    exact = Fraction(price * day, days)

    assert part(price, days=days, begin=0, end=day) == int(exact + Fraction(1, 2))


@dose
@given(st.integers(1, 300), st.integers(1, 1_000_000), st.data())
def test_seats_that_go_in_parts_give_back_what_they_give_back_together(
    seats: int, unit_price: int, data: st.DataObject
) -> None:
    day = MARCH.starts + timedelta(days=data.draw(st.integers(0, 29)))
    first = data.draw(st.integers(0, seats))
    whole = Lot(1, seats, unit_price, AT, AT + timedelta(days=7))
    rest = Lot(1, seats - first, unit_price, AT, AT + timedelta(days=7))

    in_parts = [
        *take_back([whole], first, span=MARCH, day=day),
        *take_back([rest], seats - first, span=MARCH, day=day),
    ]

    together = take_back([whole], seats, span=MARCH, day=day)
    assert sum(part.amount_minor for part in in_parts) == sum(part.amount_minor for part in together)
    assert sum(part.amount_minor for part in together) <= seats * unit_price


@dose
@given(
    st.lists(st.integers(0, 10_000_000), min_size=1, max_size=9), st.sampled_from(["0", "7.7", "19", "21"])
)
def test_tax_on_running_sums_adds_up(amounts: list[int], rate: str) -> None:
    """Several credits of one bill take back its tax and no more: each takes the difference that it makes."""
    sums = [sum(amounts[:n]) for n in range(len(amounts) + 1)]

    taxes = [tax_on(b, Decimal(rate)) - tax_on(a, Decimal(rate)) for a, b in pairwise(sums)]

    assert sum(taxes) == tax_on(sum(amounts), Decimal(rate))


def lot(number: int, quantity: int, charged_at: datetime | None) -> Lot:
    until = charged_at + timedelta(days=7) if charged_at else None
    return Lot(number, quantity, 1_000, charged_at, until)


def test_what_was_charged_last_goes_first() -> None:
    old, new = lot(1, 10, AT - timedelta(days=6)), lot(2, 5, AT)

    returned = take_back(refundable([old, new], AT), 7, span=MARCH, day=date(2026, 3, 4))

    assert [(part.bill_id, part.quantity) for part in returned] == [(2, 5), (1, 2)]


@pytest.mark.parametrize("charged_at", [AT - timedelta(days=7), None])
def test_what_is_not_refundable_ends_the_row(charged_at: datetime | None) -> None:
    """Behind seats whose window is over, or that are not paid, nothing older goes either."""
    lots = [lot(1, 10, AT), lot(2, 5, charged_at), lot(3, 1, AT)]

    assert [found.bill_id for found in refundable(lots, AT)] == [3]
