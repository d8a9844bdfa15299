"""The least that a card can be charged with, by currency, in minor units.

Pure data. Source: docs.stripe.com/currencies, minimum charge amounts.
"""

from typing import Final

_LEAST: Final = {
    "AED": 200,
    "AUD": 50,
    "BRL": 50,
    "CAD": 50,
    "CHF": 50,
    "CZK": 1500,
    "DKK": 250,
    "EUR": 50,
    "GBP": 30,
    "HKD": 400,
    "HUF": 17500,
    "INR": 50,
    "JPY": 50,
    "MXN": 1000,
    "MYR": 200,
    "NOK": 300,
    "NZD": 50,
    "PLN": 200,
    "RON": 200,
    "SEK": 300,
    "SGD": 50,
    "THB": 1000,
    "USD": 50,
}


def least_charge(currency: str) -> int:
    """At least one minor unit, where no minimum is known."""
    return _LEAST.get(currency, 1)
