"""XLSX files written as they are sent, row by row, in bounded memory (ECMA-376; ISO/IEC 29500).

A cell's type says that it is text, so nothing in it is ever computed; what would begin a formula when edited is marked
as Excel marks what was typed behind an apostrophe (`quotePrefix`), and so comes back unchanged.
"""

import re
import zipfile
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from xml.sax.saxutils import escape

from config.kit.sheets import Cell, safe_text

# A sheet holds 1,048,576 rows; the rest goes on in another one.
ROWS_A_SHEET = 1_000_000
CHUNK_BYTES = 64 * 1024
# What XML cannot hold is written as _xHHHH_, and what looks like that is, too.
_ILLEGAL = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
_TEXT, _QUOTED, _DAY, _INSTANT, _HEAD = 0, 1, 2, 3, 4
_DAY_ZERO = date(1899, 12, 30)
_LONGEST = 32_767

_NAMESPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"
MEDIA_TYPE = f"{_TYPES}.sheet"

_STYLES = (
    f'{_XML}<styleSheet xmlns="{_NAMESPACE}">'
    '<numFmts count="2"><numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd"/>'
    '<numFmt numFmtId="165" formatCode="yyyy\\-mm\\-dd\\ hh:mm:ss"/></numFmts>'
    '<fonts count="2"><font><sz val="11"/><name val="Calibri"/></font>'
    '<font><b/><sz val="11"/><name val="Calibri"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill>'
    '<fill><patternFill patternType="gray125"/></fill></fills>'
    '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
    '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
    '<cellXfs count="5"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
    '<xf numFmtId="49" fontId="0" fillId="0" borderId="0" xfId="0" quotePrefix="1" applyNumberFormat="1"/>'
    '<xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
    '<xf numFmtId="165" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
    '<xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/></cellXfs>'
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
)


def xlsx_chunks(title: str, head: Iterable[str], rows: Iterable[Iterable[Cell]]) -> Iterator[bytes]:
    """A workbook in pieces of some 64 kB. Numbers, days and instants (in UTC) are cells of their kind."""
    sink = _Sink()
    names = list(head)
    left = iter(rows)
    sheets = 0
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as book:
        following: list[Iterable[Cell]] = []
        is_over = False
        while not is_over or sheets == 0:
            sheets += 1
            with book.open(f"xl/worksheets/sheet{sheets}.xml", "w") as sheet:
                sheet.write(_sheet_start(names))
                for row in following:
                    sheet.write(_row(row, 0))
                written, following = len(following), []
                for row in left:
                    if written >= ROWS_A_SHEET:
                        following = [row]
                        break
                    sheet.write(_row(row, 0))
                    written += 1
                    if sink.size >= CHUNK_BYTES:
                        yield sink.take()
                is_over = not following
                sheet.write(b"</sheetData></worksheet>")
        for name, text in _parts(title, sheets):
            book.writestr(name, text)
    yield sink.take()


def _sheet_start(names: list[str]) -> bytes:
    start = (
        f'{_XML}<worksheet xmlns="{_NAMESPACE}"><sheetViews><sheetView workbookViewId="0">'
        '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews>'
        "<sheetData>"
    )
    return start.encode() + _row(names, _HEAD)


def _row(cells: Iterable[Cell], style: int) -> bytes:
    return f"<row>{''.join(_cell(value, style) for value in cells)}</row>".encode()


def _cell(value: Cell, style: int) -> str:
    match value:
        case None | "":
            return "<c/>"
        case datetime():
            seconds = (value.astimezone(UTC).replace(tzinfo=None) - datetime(1899, 12, 30)).total_seconds()  # noqa: DTZ001
            return f'<c s="{_INSTANT}"><v>{seconds / 86400:.8f}</v></c>'
        case date():
            return f'<c s="{_DAY}"><v>{(value - _DAY_ZERO).days}</v></c>'
        case int() | Decimal():
            return f"<c><v>{value}</v></c>"
        case _:
            return _text(value, style)


def _text(value: str, style: int) -> str:
    if not style and safe_text(value) != value:
        style = _QUOTED
    shown = escape(_ILLEGAL.sub(lambda found: f"_x{ord(found[0]):04X}_", value[:_LONGEST]))
    return f'<c s="{style}" t="inlineStr"><is><t xml:space="preserve">{shown}</t></is></c>'


def _parts(title: str, sheets: int) -> Iterator[tuple[str, str]]:
    """What names and describes the sheets, written when their number is known."""
    numbers = range(1, sheets + 1)
    name = escape(re.sub(r"[\[\]:*?/\\]", " ", title)[:25], {'"': "&quot;"})
    yield (
        "[Content_Types].xml",
        f'{_XML}<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPES}.sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{_TYPES}.styles+xml"/>'
        + "".join(
            f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="{_TYPES}.worksheet+xml"/>'
            for n in numbers
        )
        + "</Types>",
    )
    yield (
        "_rels/.rels",
        f'{_XML}<Relationships xmlns="{_RELATIONS}"><Relationship Id="rId1" '
        f'Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    )
    yield (
        "xl/workbook.xml",
        f'{_XML}<workbook xmlns="{_NAMESPACE}" xmlns:r="{_OFFICE}"><sheets>'
        + "".join(
            f'<sheet name="{name}{f" {n}" if n > 1 else ""}" sheetId="{n}" r:id="rId{n}"/>' for n in numbers
        )
        + "</sheets></workbook>",
    )
    yield (
        "xl/_rels/workbook.xml.rels",
        f'{_XML}<Relationships xmlns="{_RELATIONS}">'
        + "".join(
            f'<Relationship Id="rId{n}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet{n}.xml"/>'
            for n in numbers
        )
        + f'<Relationship Id="rId{sheets + 1}" Type="{_OFFICE}/styles" Target="styles.xml"/></Relationships>',
    )
    yield "xl/styles.xml", _STYLES


class _Sink:
    """Keeps what was written until it is taken; has no `tell` nor `seek`, so that the archive is written straight on."""

    def __init__(self) -> None:
        self.size = 0
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self._pieces.append(bytes(piece))
        self.size += len(piece)
        return len(piece)

    def flush(self) -> None:
        """Nothing is kept back."""

    def close(self) -> None:
        """What was written stays until it is taken."""

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces, self.size = [], 0
        return taken
