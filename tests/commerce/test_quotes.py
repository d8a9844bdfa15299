"""What a purchase costs, to the cent (product §3.4, I-08)."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commerce.models import Market
from commerce.queries.quotes import quote_for
from commerce.quotes import Quote, make_quote
from config.kit.money import Money
from tests.factories import plan

AT = datetime(2026, 11, 12, 13, 5, 30, tzinfo=UTC)


def quote(**changes: object) -> Quote:
    values: dict[str, object] = {
        "quantity": 2,
        "unit_price_minor": 940,
        "currency": "EUR",
        "tax_name": "VAT",
        "tax_rate": Decimal(21),
        "term_months": 1,
        "billing_months": 1,
        "at": AT,
        "next_charge_at": AT + timedelta(days=30),
        "term_ends_at": AT + timedelta(days=30),
        "refund_window": timedelta(days=7),
    }
    return make_quote(**(values | changes))  # type: ignore[arg-type]


def test_two_seats_of_power_bi_pro() -> None:
    result = quote()

    assert (result.subtotal_minor, result.tax_minor, result.total_minor) == (1880, 395, 2275)
    assert result.next_charge_minor == 2275
    assert result.commitment_minor is None
    assert result.refund_until == datetime(2026, 11, 19, 13, 5, 30, tzinfo=UTC)


def test_tax_is_rounded_half_up_once_per_line() -> None:
    assert quote(quantity=1, unit_price_minor=50, tax_rate=Decimal(1)).tax_minor == 1
    assert quote(quantity=1, unit_price_minor=49, tax_rate=Decimal(1)).tax_minor == 0
    assert quote(quantity=10, unit_price_minor=5, tax_rate=Decimal(1)).tax_minor == 1


def test_a_year_paid_monthly_names_the_sum_of_twelve_bills() -> None:
    result = quote(term_months=12, billing_months=1)

    assert result.bills_per_term == 12
    assert result.commitment_minor == 12 * 2275


def test_a_year_paid_at_once_commits_to_nothing_more() -> None:
    assert quote(term_months=12, billing_months=12).commitment_minor is None


@given(
    quantity=st.integers(1, 300),
    unit=st.integers(0, 10**9),
    rate=st.decimals(0, 30, places=3),
)
def test_lines_and_tax_make_the_total(quantity: int, unit: int, rate: Decimal) -> None:
    result = quote(quantity=quantity, unit_price_minor=unit, tax_rate=rate)

    exact = Decimal(quantity * unit) * rate / 100
    assert result.subtotal_minor == quantity * unit
    assert result.tax_minor == int(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP))
    assert result.total_minor == result.subtotal_minor + result.tax_minor
    assert abs(Decimal(result.tax_minor) - exact) <= Decimal("0.5")


@given(minor=st.integers(0, 10**12), currency=st.sampled_from(["JPY", "EUR", "KWD"]))
def test_minor_units_and_decimals_tell_the_same(minor: int, currency: str) -> None:
    digits = {"JPY": 0, "EUR": 2, "KWD": 3}[currency]

    assert Money(minor, currency).decimal * 10**digits == minor


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("code", "market", "expected"),
    [
        ("monthly", "NL", (1880, 395, 2275, None)),
        ("yearly-monthly", "NL", (1730, 363, 2093, 25116)),
        ("yearly", "NL", (20300, 4263, 24563, None)),
        ("monthly", "US", (2000, 0, 2000, None)),
        ("monthly", "GB", (1620, 324, 1944, None)),
        ("monthly", "CD", (2000, 320, 2320, None)),
        ("monthly", "BR", (9780, 0, 9780, None)),
    ],
)
def test_the_price_list_of_each_market(
    code: str, market: str, expected: tuple[int, int, int, int | None]
) -> None:
    result = quote_for(
        plan=plan(code=code),
        quantity=2,
        market=Market.objects.get(pk=market),
        time_zone="Europe/Amsterdam",
        at=AT,
    )

    assert (
        result.subtotal_minor,
        result.tax_minor,
        result.total_minor,
        result.commitment_minor,
    ) == expected


@pytest.mark.django_db
def test_the_next_charge_is_at_the_tenants_midnight_a_period_later() -> None:
    result = quote_for(
        plan=plan(code="yearly-monthly"),
        quantity=1,
        market=Market.objects.get(pk="NL"),
        time_zone="Europe/Amsterdam",
        at=datetime(2026, 1, 31, 23, 30, tzinfo=UTC),  # 1 February there
    )

    assert result.next_charge_at == datetime(2026, 2, 28, 23, 0, tzinfo=UTC)
    assert result.term_ends_at == datetime(2027, 1, 31, 23, 0, tzinfo=UTC)
