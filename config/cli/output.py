"""What a command prints: a table for people, JSON for scripts; refusals on the error stream."""

import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="For scripts: the answer as it came.")]

# Currencies whose minor unit is the whole, or a thousandth (ISO 4217); all others have two digits.
_DIGITS = {"JPY": 0, "KRW": 0, "CLP": 0, "ISK": 0, "VND": 0, "XAF": 0, "XOF": 0, "UGX": 0} | dict.fromkeys(
    ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3
)


def money(minor: int, currency: str) -> str:
    digits = _DIGITS.get(currency, 2)
    whole = f"{abs(minor):0{digits + 1}d}"
    text = f"{whole[:-digits]}.{whole[-digits:]}" if digits else whole
    return f"{'-' if minor < 0 else ''}{text} {currency}"


def show(value: Any, *, as_json: bool, columns: Sequence[tuple[str, str]], empty: str = "Nothing.") -> None:
    """Items as a table of `columns` (head, field), or the value as it came."""
    if as_json:
        sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
        return
    items = value["items"] if isinstance(value, dict) and "items" in value else [value]
    if not items:
        sys.stdout.write(empty + "\n")
        return
    # What others wrote is text: no colors, links or pictures of theirs.
    console = Console(width=None if sys.stdout.isatty() else 200, markup=False, emoji=False, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head, _field in columns:
        table.add_column(head, overflow="fold")
    for item in items:
        table.add_row(*(_text(item.get(field)) for _head, field in columns))
    console.print(table)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")


def complain(text: str) -> None:
    sys.stderr.write(f"seatkeeper: {text}\n")


def _text(value: Any) -> str:
    """A cell without what a terminal would obey."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "".join(sign for sign in str(value) if sign.isprintable())
