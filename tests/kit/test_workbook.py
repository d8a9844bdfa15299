"""Workbooks that are written as they are sent and compute nothing (reliability §6)."""

import io
import re
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree

import pytest

from config.kit import workbook
from config.kit.sheets import Cell, safe_text
from config.kit.workbook import xlsx_chunks
from tests.kit.test_sheets import PAYLOADS

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def book_of(*rows: list[Cell], head: tuple[str, ...] = ("What",)) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(b"".join(xlsx_chunks("Your products", head, rows))))


def read(book: zipfile.ZipFile, sheet: int = 1) -> list[list[Any]]:
    """The rows of a sheet as a reader sees them: texts with their escapes undone, all else as written."""
    root = ElementTree.fromstring(book.read(f"xl/worksheets/sheet{sheet}.xml"))
    return [[value_of(cell) for cell in row] for row in root.iter(f"{MAIN}row")]


def value_of(cell: ElementTree.Element) -> Any:
    text = cell.find(f"{MAIN}is/{MAIN}t")
    if text is not None:
        return re.sub("_x([0-9A-F]{4})_", lambda found: chr(int(found[1], 16)), text.text or "")
    value = cell.find(f"{MAIN}v")
    return None if value is None else f"{value.text}/{cell.get('s', '0')}"


def test_cells_keep_their_kind() -> None:
    book = book_of(
        ["Text", 7, Decimal("12.50"), date(2026, 11, 26), datetime(2026, 11, 26, 12, tzinfo=UTC), None, ""]
    )

    assert book.testzip() is None
    assert read(book)[1] == ["Text", "7/0", "12.50/0", "46352/2", "46352.50000000/3", None, None]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_text_begins_a_formula_and_every_text_comes_back(payload: str) -> None:
    book = book_of([payload])
    cell = next(
        ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml")).iterfind(f".//{MAIN}row[2]/{MAIN}c")
    )

    assert read(book)[1] == [payload]
    assert cell.get("t") == "inlineStr"
    assert (cell.get("s") == "1") is (safe_text(payload) != payload)
    assert b"<f>" not in book.read("xl/worksheets/sheet1.xml")


@pytest.mark.parametrize("text", ["_x0041_", "a\x00b", "<&>\"'", "\ud800", "\uffff", " two  spaces "])
def test_what_xml_cannot_hold_comes_back_too(text: str) -> None:
    assert read(book_of([text]))[1] == [text]


def test_more_rows_than_a_sheet_holds_go_on_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "ROWS_A_SHEET", 2)

    book = book_of([1], [2], [3], [4], [5])

    assert [len(read(book, sheet)) for sheet in (1, 2, 3)] == [3, 3, 2]
    assert read(book, 3) == [["What"], ["5/0"]]
    assert book.read("xl/workbook.xml").count(b"<sheet ") == 3


def test_a_full_last_sheet_is_followed_by_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "ROWS_A_SHEET", 2)

    assert len([name for name in book_of([1], [2]).namelist() if "worksheets" in name]) == 1


def test_nothing_but_the_head_is_a_workbook_too() -> None:
    assert read(book_of()) == [["What"]]


def test_is_sent_in_pieces_while_rows_are_read() -> None:
    taken = 0

    def rows() -> Any:
        nonlocal taken
        for number in range(20_000):
            taken += 1
            yield [f"{number * 7919 % 10007}-{number}", number]

    next(xlsx_chunks("Rows", ["A", "B"], rows()))

    assert 0 < taken < 20_000
