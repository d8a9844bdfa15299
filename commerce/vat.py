"""VAT numbers: their format and check digits, by the billing country (product §3.4).

Pure. No register is asked here: a number that passes is well formed, not verified.
"""

import re
from dataclasses import dataclass

import stdnum.eu.vat
from django.utils.translation import gettext as _
from stdnum import get_cc_module
from stdnum.exceptions import ValidationError

from config.kit.errors import Malformed
from config.kit.languages import country_name

LENGTH = 20

# Greece and Northern Ireland write another code than their country's.
_PREFIXES = {"GR": "EL", "XI": "XI"}
_EU = frozenset(code.upper() for code in stdnum.eu.vat.MEMBER_STATES) | {"GR", "XI"}
# Numbers that nobody needs to have, well formed by each country's rules.
EXAMPLES = {
    "AT": "ATU12345675",
    "BE": "BE0123456749",
    "BG": "BG123456786",
    "CH": "CHE123456788MWST",
    "CY": "CY21345670B",
    "CZ": "CZ12345679",
    "DE": "DE123456788",
    "DK": "DK12345607",
    "EE": "EE123456780",
    "ES": "ESB12345674",
    "FI": "FI12345671",
    "FR": "FR11123456782",
    "GB": "GB123456782",
    "GR": "EL123456783",
    "HR": "HR12345678903",
    "HU": "HU12345676",
    "IE": "IE1234567T",
    "IT": "IT01234560017",
    "LT": "LT123456715",
    "LU": "LU12345613",
    "LV": "LV40003456781",
    "MT": "MT12345634",
    "NL": "NL123456782B01",
    "NO": "NO123456785MVA",
    "PL": "PL2134567890",
    "PT": "PT123456789",
    "RO": "RO1234567897",
    "SE": "SE123456780601",
    "SI": "SI12345679",
    "SK": "SK1234567807",
    "XI": "XI123450017",
}
_SEPARATORS = re.compile(r"[\s.\-/]+")
_PLAIN = re.compile(r"[A-Z0-9]{4,20}")


@dataclass(frozen=True, slots=True)
class VatNumber:
    """A number as it is printed on bills: upper case, without separators, with the country where it has one."""

    value: str
    is_checked: bool


def parse_vat_number(text: str, *, country: str) -> VatNumber | None:
    """The number as printed, None for an empty field.

    Countries whose numbers have no known check digits take any 4 to 20 letters and digits; `is_checked` tells.

    :raises Malformed: it cannot be a number of that country; `field` is `vat_number`.
    """
    compact = _SEPARATORS.sub("", text).upper()
    if not compact:
        return None
    if not _PLAIN.fullmatch(compact):
        raise _wrong(country)
    if country in _EU:
        return VatNumber(_european(compact, country), is_checked=True)
    module = get_cc_module(country.lower(), "vat")
    if module is None:
        return VatNumber(compact, is_checked=False)
    try:
        module.validate(compact.removeprefix("GB") if country == "GB" else compact)
    except ValidationError as error:
        raise _wrong(country) from error
    prefix = country if country == "GB" and not compact.startswith(country) else ""
    return VatNumber(prefix + compact, is_checked=True)


def register_key(number: str, *, country: str) -> tuple[str, str] | None:
    """The register's country code and the rest of a number from `parse_vat_number`; None outside of its states."""
    prefix = _PREFIXES.get(country, country)
    rest = number.removeprefix(prefix)
    return (prefix, rest) if country in _EU and rest and rest != number else None


def _european(compact: str, country: str) -> str:
    prefix = _PREFIXES.get(country, country)
    number = compact if compact.startswith(prefix) else prefix + compact
    try:
        return str(stdnum.eu.vat.validate(number))
    except ValidationError as error:
        raise _wrong(country) from error


def _wrong(country: str) -> Malformed:
    facts = {"country": country_name(country), "example": EXAMPLES.get(country, "")}
    if facts["example"]:
        told = _(
            "This is not a VAT number (%(country)s). One looks like %(example)s. Check it, or leave it empty."
        )
    else:
        told = _("This is not a VAT number (%(country)s). Check it, or leave it empty.")
    return Malformed(told % facts, field="vat_number")
