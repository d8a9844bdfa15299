"""VAT numbers: format and check digits by country (product §3.4)."""

import pytest

from commerce.vat import EXAMPLES, VatNumber, parse_vat_number
from config.kit.errors import Malformed


@pytest.mark.parametrize(
    ("text", "country", "value"),
    [
        ("NL123456782B90", "NL", "NL123456782B90"),
        (" nl 1234.56.782.b90 ", "NL", "NL123456782B90"),
        ("123456782B90", "NL", "NL123456782B90"),
        ("DE136695976", "DE", "DE136695976"),
        ("EL094259216", "GR", "EL094259216"),
        ("GB980780684", "GB", "GB980780684"),
        ("980 7806 84", "GB", "GB980780684"),
        ("16.727.230/0001-97", "BR", "16727230000197"),
        ("CHE-107.787.577 IVA", "CH", "CHE107787577IVA"),
    ],
)
def test_a_well_formed_number_is_written_the_same_way(text: str, country: str, value: str) -> None:
    assert parse_vat_number(text, country=country) == VatNumber(value, is_checked=True)


def test_an_empty_field_is_no_number() -> None:
    assert parse_vat_number("  ", country="NL") is None


def test_where_no_check_digits_are_known_any_number_passes_unchecked() -> None:
    assert parse_vat_number("12-3456789", country="US") == VatNumber("123456789", is_checked=False)
    assert parse_vat_number("A1234567X", country="CD") == VatNumber("A1234567X", is_checked=False)


@pytest.mark.parametrize(
    ("text", "country"),
    [
        ("NL123456783B90", "NL"),
        ("DE136695977", "DE"),
        ("GB980780685", "GB"),
        ("DE136695976", "NL"),
        ("16.727.230/0001-98", "BR"),
        ("<script>", "US"),
        ("١٢٣٤٥٦٧٨", "US"),
        ("123\x00456", "US"),
        ("1" * 21, "US"),
        ("12", "CD"),
    ],
)
def test_what_cannot_be_a_number_of_the_country_is_refused(text: str, country: str) -> None:
    with pytest.raises(Malformed) as refusal:
        parse_vat_number(text, country=country)

    assert refusal.value.field == "vat_number"


def test_a_refusal_names_the_country_and_shows_what_a_number_looks_like() -> None:
    with pytest.raises(Malformed) as refusal:
        parse_vat_number("NL1234", country="NL")

    assert str(refusal.value) == (
        "This is not a VAT number (Netherlands). One looks like NL123456782B01. Check it, or leave it empty."
    )


def test_a_country_without_an_example_is_named_alone() -> None:
    with pytest.raises(Malformed) as refusal:
        parse_vat_number("16.727.230/0001-98", country="BR")

    assert str(refusal.value) == "This is not a VAT number (Brazil). Check it, or leave it empty."


@pytest.mark.parametrize("country", EXAMPLES)
def test_an_example_is_a_number_of_its_country(country: str) -> None:
    assert parse_vat_number(EXAMPLES[country], country=country) == VatNumber(
        EXAMPLES[country], is_checked=True
    )
