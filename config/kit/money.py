"""Money: integer minor units with an ISO 4217 currency; shown by locale through babel."""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Self

from babel.numbers import format_currency, get_currency_precision
from django.utils.functional import Promise
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

# Beyond any sum that a person types.
MOST_MINOR = 10**15


# What markets call their tax, for people; another name is shown as the market has it.
_TAX_NAMES: dict[str, Promise | str] = {
    "VAT": _("VAT"),
    "GST": _("GST"),
    "sales tax": _("sales tax"),
    "tax": _("tax"),
}


def tax_label(name: str) -> str:
    """The name of a market's tax in the language in use."""
    return str(_TAX_NAMES.get(name, name))


def digits(currency: str) -> int:
    """How many decimals a currency has: 0 for JPY, 2 for EUR, 3 for KWD."""
    return int(get_currency_precision(currency))


def round_half_up(value: Decimal) -> int:
    """To whole minor units, halves away from zero."""
    return int(value.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def parse_minor(typed: str, currency: str) -> int | None:
    """An amount as people type it in minor units, a comma is a decimal sign too; None of what is no amount of the currency."""
    text = typed.strip().replace(",", ".")
    try:
        minor = Decimal(text).scaleb(digits(currency))
    except ArithmeticError:
        return None
    is_whole = len(text) <= 40 and minor.is_finite() and minor == minor.to_integral_value()
    return int(minor) if is_whole and 0 <= minor <= MOST_MINOR else None


def tax_on(net_minor: int, rate: Decimal) -> int:
    """Tax in minor units on a net amount, `rate` in percent, rounded half up."""
    return round_half_up(Decimal(net_minor) * rate / 100)


@dataclass(frozen=True, slots=True, order=True)
class Money:
    """An amount of one currency; adding two currencies is a mistake and raises ValueError."""

    minor: int
    currency: str

    def __add__(self, other: Self) -> "Money":
        if other.currency != self.currency:
            raise ValueError(f"{self.currency} + {other.currency}")
        return Money(self.minor + other.minor, self.currency)

    def __mul__(self, times: int) -> "Money":
        return Money(self.minor * times, self.currency)

    @property
    def decimal(self) -> Decimal:
        return Decimal(self.minor).scaleb(-digits(self.currency))

    def __str__(self) -> str:
        return format_money(self.minor, self.currency)


def format_money(minor: int, currency: str, locale: str | None = None) -> str:
    """`€1,234.50` in English, `€ 1.234,50` in Dutch; a true minus sign."""
    language = (locale or get_language() or "en").replace("-", "_")
    amount = Decimal(minor).scaleb(-digits(currency))
    return format_currency(amount, currency, locale=language).replace("-", "\u2212")
