"""Amounts of storage as people read them."""

from decimal import Decimal

from babel.units import format_unit
from django.utils.translation import get_language

_UNITS = ("digital-megabyte", "digital-gigabyte", "digital-terabyte")
# The SI's, as the units are written.
_STEP = 1000


def format_size(mb: int) -> str:
    """Megabytes in the largest unit that is not below one, to a tenth, in the reader's language: `250 MB`, `2.5 GB`."""
    amount, place = Decimal(mb), 0
    while abs(amount) >= _STEP and place < len(_UNITS) - 1:
        amount, place = amount / _STEP, place + 1
    locale = (get_language() or "en").replace("-", "_")
    return str(format_unit(amount, _UNITS[place], length="short", format="#,##0.#", locale=locale))
