"""PDFs: accessible, with their own fonts, and nothing that a person typed is read as markup."""

import os
import re
import signal
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import typst

from config.kit import pdf as pdf_module
from config.kit import typesetting
from config.kit.pdf import PdfFailed, render_pdf

AT = datetime(2026, 9, 3, tzinfo=UTC)
HOSTILE = [
    "#set text(red)",
    '#read("/etc/passwd")',
    '#import "@preview/evil:1.0.0": *',
    "#{ while true {} }",
    "#panic()",
    "#sys.inputs",
    '#include "bill.typ"',
    '#image("/etc/passwd")',
    '#link("https://evil.example")[x]',
    "#counter(page).update(99)",
    "#pagebreak()",
    "= A heading",
    "== To",
    "- a list",
    "+ a list",
    "/ Term: definition",
    "*bold* _italic_ `raw`",
    "```typ #panic() ```",
    "$ integral_0^1 $",
    "<label> @reference",
    "\\#escaped \\u{0}",
    "// a comment",
    "/* never closed",
    "]]]] [[[[",
    "}}}} {{{{",
    '"; #panic(); "',
    '\\" \\n \\\\',
    "~ -- --- ...",
    "https://evil.example/?a=1#b",
    "{{ 7*7 }} {% debug %} ${7*7}",
    "<script>alert(1)</script>",
    "'; DROP TABLE commerce_bill; --",
    "nul \0 bell \x07 escape \x1b[31m",
    "right to left \u202e and back \u2066 \u200f",
    "zero \u200b width \ufeff no \u00ad break",
    "lone \ud83d surrogate",
    "日本語 中文 한국어 ไทย हिन्दी",
    "العربية עברית",
    "emoji 🙂🎉 and flags 🇳🇱",
    "private \ue000 and unassigned \U000e0fff",
    "m\u0353\u0353\u0353\u0353\u0353 zalgo",
    "W" * 120,
    "",
    "\n\n\n\r\n",
]


def data(**changes: Any) -> dict[str, Any]:
    """What `bill.typ` is given."""
    return {
        "lang": "en",
        "title": "Bill SK-NL-2026-000001",
        "badge": "Paid",
        "vendor": "Seatkeeper Demo B.V.",
        "from": {"label": "From", "lines": ["Seatkeeper Demo B.V."]},
        "to": {"label": "To", "lines": ["Pat Peters"]},
        "facts": [["Date", "3 Sep 2026"]],
        "heads": ["Description", "Service dates", "Quantity", "Unit price", "Days", "VAT", "Amount"],
        "lines": [
            {
                "description": "Power BI Pro",
                "note": "Renewal",
                "dates": "3 Sep to 2 Oct 2026",
                "quantity": "8",
                "price": "€9.40",
                "days": "30 of 30",
                "tax": "21%",
                "amount": "€75.20",
            }
        ],
        "payment": {"label": "Payment", "lines": ["€91.00 by Visa."]},
        "notes": ["A bill is never edited."],
        "sums": [{"label": "Total", "value": "€91.00", "strong": True}],
        "footer": "SK-NL-2026-000001",
        "page": "Page {page} of {pages}",
        **changes,
    }


def text_of(pdf: bytes) -> str:
    """The letters that a PDF shows, by the tables with which it lets readers copy them; in no certain order."""
    letters = []
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.S):
        try:
            plain = zlib.decompress(stream)
        except zlib.error:
            continue
        for block in re.findall(rb"beginbfchar(.*?)endbfchar", plain, re.S):
            letters += re.findall(rb"<[0-9a-fA-F]+>\s*<([0-9a-fA-F]+)>", block)
    return "".join(bytes.fromhex(letter.decode()).decode("utf-16-be") for letter in letters)


def pages_of(pdf: bytes) -> int:
    found = re.search(rb"/Type\s*/Pages\s*/Count (\d+)", pdf)
    assert found is not None
    return int(found[1])


def test_the_file_says_that_it_is_accessible_and_brings_its_fonts() -> None:
    pdf = render_pdf("bill.typ", data(lang="nl"), at=AT)

    assert pdf.startswith(b"%PDF-1.7")
    assert b"<pdfuaid:part>1</pdfuaid:part>" in pdf
    assert b"/StructTreeRoot" in pdf
    assert b"/Lang(nl)" in pdf
    assert b"/DisplayDocTitle true" in pdf
    assert len(re.findall(rb"/BaseFont/[A-Z]{6}\+Inter-(?:Regular|SemiBold)\b(?!-)", pdf)) == 2
    assert pdf.count(b"/FontFile3") == 2


def test_the_same_data_is_the_same_file_to_the_second() -> None:
    later = AT + timedelta(milliseconds=1)

    assert render_pdf("bill.typ", data(), at=AT) == render_pdf("bill.typ", data(), at=later)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_text(text: str) -> None:
    line = data()["lines"][0] | {"description": text}
    changed = data(
        to={"label": "To", "lines": [text, text]}, facts=[["Your reference", text]], lines=[line], footer=text
    )

    pdf = render_pdf("bill.typ", changed, at=AT)

    assert b"<pdfuaid:part>1</pdfuaid:part>" in pdf
    assert pages_of(pdf) == 1
    assert b"evil.example" not in pdf
    assert b"root:x:" not in pdf


def test_there_are_as_many_hostile_texts_as_agreed() -> None:
    assert len(set(HOSTILE)) >= 40


def test_letters_of_many_scripts_are_shown() -> None:
    pdf = render_pdf("bill.typ", data(to={"label": "To", "lines": ["Łódź ĳ Ωμέ Ж ễ"]}), at=AT)

    shown = text_of(pdf)

    assert set("ŁódźĳΩμέЖễ") <= set(shown)


def test_what_no_font_has_is_replaced_and_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bare = typst.Fonts(include_system_fonts=False, font_paths=[pdf_module.TEMPLATES / "fonts"])
    monkeypatch.setattr(typesetting, "_fonts", lambda folder: bare)

    pdf = render_pdf("bill.typ", data(to={"label": "To", "lines": ["Pat \u65e5\u672c \u0e44"]}), at=AT)

    shown = text_of(pdf)
    assert "\N{REPLACEMENT CHARACTER}" in shown
    assert not set("\u65e5\u672c\u0e44") & set(shown)
    assert "No font of this machine shows" in caplog.text


def test_a_process_forked_after_a_pdf_draws_one_too() -> None:
    render_pdf("bill.typ", data(), at=AT)
    reader, writer = os.pipe()

    child = os.fork()
    if child == 0:
        signal.alarm(30)
        try:
            os.write(writer, render_pdf("bill.typ", data(), at=AT)[:5])
        finally:
            os._exit(0)

    os.close(writer)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert os.read(reader, 5) == b"%PDF-"
    os.close(reader)


def test_drawn_elsewhere_a_page_and_a_refusal_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(typesetting, "_drawn_by", os.getpid() + 1)

    pdf = render_pdf("bill.typ", data(to={"label": "To", "lines": ["Pat \U0001f0a1"]}), at=AT)

    assert pdf.startswith(b"%PDF-")
    with pytest.raises(PdfFailed, match=r"bill\.typ: dictionary does not contain key"):
        render_pdf("bill.typ", {}, at=AT)


def test_many_lines_go_on_on_more_pages() -> None:
    pdf = render_pdf("bill.typ", data(lines=data()["lines"] * 60), at=AT)

    assert pages_of(pdf) == 3


def test_missing_data_is_the_templates_fault_and_says_so() -> None:
    with pytest.raises(PdfFailed, match=r"bill\.typ: dictionary does not contain key"):
        render_pdf("bill.typ", {"title": "x"}, at=AT)
