"""Reading the catalogue's CSV files, products and prices (product §17). Pure: bytes in, lines and problems out.

The files that come with Seatkeeper and those that staff upload are read here. A bad line is reported and leaves the rest;
a file that cannot be read at all raises `Unreadable`.
"""

import csv
import io
import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from django.utils.translation import gettext_lazy as _

from config.kit.errors import Text

type Kind = Literal["products", "prices"]

MOST_BYTES = 1_000_000
MOST_LINES = 5_000
MOST_MINOR = 10**12

# Heads of the two kinds of file, in the order in which they are written.
HEADS: dict[Kind, tuple[str, ...]] = {
    "products": (
        *("product_id", "name", "slug", "category", "self_service", "trial_without_payment_method"),
        *("sku_id", "sku_part_number", "former_product_id"),
    ),
    "prices": ("product_id", "market", "currency", "plan_term/billing_period", "unit_price_minor"),
}
# Term and billing period as the price file writes them, in months.
PLANS = {"P1M/P1M": (1, 1), "P1Y/P1M": (12, 1), "P1Y/P1Y": (12, 12)}

KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_WHOLE = re.compile(r"[0-9]{1,13}")
_ANSWERS = {"yes": True, "no": False}


@dataclass(frozen=True, slots=True)
class ProductLine:
    """A product as a file says it; `line` counts from 1, the head among them."""

    line: int
    key: str
    name: str
    slug: str
    category: str
    self_service: bool
    trial_without_card: bool
    sku_id: uuid.UUID
    sku_part_number: str
    former_key: str


@dataclass(frozen=True, slots=True)
class PriceLine:
    """A price per seat and billing period in minor units, without tax; `terms` are the plan's months."""

    line: int
    product_key: str
    market: str
    currency: str
    terms: tuple[int, int]
    unit_price_minor: int


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that cannot be used, its beginning, and why."""

    line: int
    text: str
    problem: Text


@dataclass(frozen=True, slots=True)
class ProductsFile:
    lines: tuple[ProductLine, ...]
    bad: tuple[BadLine, ...] = ()


@dataclass(frozen=True, slots=True)
class PricesFile:
    lines: tuple[PriceLine, ...]
    bad: tuple[BadLine, ...] = ()


class Unreadable(ValueError):
    """The whole file is of no use."""

    def __init__(self, message: Text) -> None:
        self.message = message
        super().__init__(message)

    def __str__(self) -> str:
        return str(self.message)


class _Wrong(ValueError):
    def __init__(self, problem: Text) -> None:
        self.problem = problem
        super().__init__(problem)


def read_file(content: bytes) -> ProductsFile | PricesFile:
    """The lines of a CSV file whose head says which kind it is; columns in any order, none missing.

    :raises Unreadable: too large, not UTF-8, a broken quote, no head of either kind, or no line.
    """
    if len(content) > MOST_BYTES:
        raise Unreadable(_("The file is larger than 1 MB."))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable(_("The file is not text in UTF-8.")) from None
    if "\0" in text:
        raise Unreadable(_("The file is not text in UTF-8."))
    return _read(text)


def _read(text: str) -> ProductsFile | PricesFile:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((reader.line_num, [cell.strip() for cell in cells]))
            if len(rows) > MOST_LINES + 1:
                raise Unreadable(_("The file has more than 5,000 lines."))
    except csv.Error:
        raise Unreadable(_("The file is no CSV: a quote is not closed, or a line is too long.")) from None
    if len(rows) < 2:
        raise Unreadable(_("The file is empty: there is no line below the head."))
    head = rows[0][1]
    kind = _kind(head)
    made: list[ProductLine | PriceLine] = []
    bad: list[BadLine] = []
    seen: set[object] = set()
    parse, identities = _READERS[kind]
    for number, cells in rows[1:]:
        try:
            if len(cells) != len(head):
                raise _Wrong(_("It has more or fewer cells than the head."))
            line = parse(number, dict(zip(head, cells, strict=True)))
            names = identities(line)
            if seen & names:
                raise _Wrong(_("Another line above is about the same."))
            seen |= names
            made.append(line)
        except _Wrong as wrong:
            bad.append(BadLine(number, _shown(cells), wrong.problem))
    if kind == "products":
        return ProductsFile(tuple(line for line in made if isinstance(line, ProductLine)), tuple(bad))
    return PricesFile(tuple(line for line in made if isinstance(line, PriceLine)), tuple(bad))


def _kind(head: list[str]) -> Kind:
    for kind, names in HEADS.items():
        if set(head) == set(names) and len(head) == len(names):
            return kind
    raise Unreadable(_("The first line is the head neither of a products file nor of a prices file."))


def _product(number: int, row: dict[str, str]) -> ProductLine:
    try:
        sku_id = uuid.UUID(row["sku_id"])
    except ValueError:
        raise _Wrong(_("The SKU id is no UUID.")) from None
    former = row["former_product_id"]
    if former and (not KEY.fullmatch(former) or former == row["product_id"]):
        raise _Wrong(_("The former product id cannot be used."))
    if not SLUG.fullmatch(row["slug"]) or len(row["slug"]) > 100:
        raise _Wrong(_("The slug is not made of small letters, digits and hyphens."))
    return ProductLine(
        line=number,
        key=_key(row["product_id"]),
        name=_line(row["name"], 200, _("The name is missing or too long.")),
        slug=row["slug"],
        category=_line(row["category"], 40, _("The category is missing or too long.")),
        self_service=_answer(row["self_service"]),
        trial_without_card=_answer(row["trial_without_payment_method"]),
        sku_id=sku_id,
        sku_part_number=_line(row["sku_part_number"], 80, _("The SKU part number is missing or too long.")),
        former_key=former,
    )


def _price(number: int, row: dict[str, str]) -> PriceLine:
    amount = row["unit_price_minor"]
    if not _WHOLE.fullmatch(amount) or int(amount) > MOST_MINOR:
        raise _Wrong(_("The price is no whole number of minor units."))
    terms = PLANS.get(row["plan_term/billing_period"])
    if terms is None:
        raise _Wrong(_("The plan is none of P1M/P1M, P1Y/P1M and P1Y/P1Y."))
    return PriceLine(
        line=number,
        product_key=_key(row["product_id"]),
        market=row["market"][:3],
        currency=row["currency"][:4],
        terms=terms,
        unit_price_minor=int(amount),
    )


def _of_product(line: ProductLine) -> set[object]:
    return {("id", line.key), ("slug", line.slug), ("sku", line.sku_id)} | (
        {("id", line.former_key)} if line.former_key else set()
    )


def _of_price(line: PriceLine) -> set[object]:
    return {(line.product_key, line.market, line.terms)}


_READERS: dict[
    Kind, tuple[Callable[[int, dict[str, str]], ProductLine | PriceLine], Callable[..., set[object]]]
] = {
    "products": (_product, _of_product),
    "prices": (_price, _of_price),
}


def _key(text: str) -> str:
    if not KEY.fullmatch(text):
        raise _Wrong(_("The product id is not made of up to 40 letters, digits and hyphens."))
    return text


def _line(text: str, longest: int, problem: Text) -> str:
    if not text or len(text) > longest or not text.isprintable():
        raise _Wrong(problem)
    return text


def _answer(text: str) -> bool:
    if text not in _ANSWERS:
        raise _Wrong(_("Self-service and trial are yes or no."))
    return _ANSWERS[text]


def _shown(cells: Iterable[str]) -> str:
    return "".join(sign for sign in ", ".join(cells)[:80] if sign.isprintable())
