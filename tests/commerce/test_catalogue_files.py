"""Reading the catalogue's CSV files (product §17)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commerce.catalogue_files import HEADS, MOST_BYTES, PricesFile, ProductsFile, Unreadable, read_file
from commerce.operations.catalogue import DATA

PRODUCTS = ",".join(HEADS["products"])
PRICES = ",".join(HEADS["prices"])
SKU = "b30411f5-fea1-4a59-9ad9-3db7c7ead579"
FINE = f"ABC1,Paint,paint,Art,yes,no,{SKU},PAINT,ABC0"


def problems(head: str, *lines: str) -> list[tuple[int, str]]:
    file = read_file("\n".join([head, *lines]).encode())
    return [(each.line, str(each.problem)) for each in file.bad]


def test_the_files_that_come_along_are_read_whole() -> None:
    products = read_file((DATA / "products.csv").read_bytes())
    prices = read_file((DATA / "prices.csv").read_bytes())

    assert isinstance(products, ProductsFile)
    assert isinstance(prices, PricesFile)
    assert (len(products.lines), products.bad) == (24, ())
    assert (len(prices.lines), prices.bad) == (504, ())


def test_a_line_is_read_by_the_names_of_its_columns_in_any_order() -> None:
    file = read_file(
        b"\xef\xbb\xbfunit_price_minor,market,currency,product_id,plan_term/billing_period\r\n990,NL,EUR,A,P1Y/P1M\r\n"
    )

    assert isinstance(file, PricesFile)
    [line] = file.lines
    assert (line.product_key, line.market, line.currency, line.terms, line.unit_price_minor, line.line) == (
        *("A", "NL", "EUR"),
        (12, 1),
        990,
        2,
    )


@pytest.mark.parametrize(
    "line",
    [
        FINE.replace("yes", "maybe"),
        FINE.replace(SKU, "1234"),
        FINE.replace("paint,", "Paint Box,"),
        FINE.replace("ABC1", "A B"),
        FINE.replace("ABC1", "A" * 41),
        FINE.replace("Paint,", ","),
        FINE.replace("Art", "A" * 41),
        FINE.replace("ABC0", "ABC1"),
        FINE.replace("ABC0", "=1+1"),
        FINE + ",more",
        "ABC1",
    ],
)
def test_a_product_that_cannot_be_used_is_reported_and_leaves_the_rest(line: str) -> None:
    other = "ABC2,Pen,pen,Art,no,yes,4a51bf65-409c-4a91-b845-1121b571cc9d,PEN,"
    file = read_file("\n".join([PRODUCTS, line, other]).encode())

    assert isinstance(file, ProductsFile)
    assert [each.line for each in file.bad] == [2]
    assert [each.key for each in file.lines] == ["ABC2"]


@pytest.mark.parametrize("amount", ["", "-1", "1.5", "1e3", "٣", "9" * 14, "1000000000001", "0x10"])
def test_a_price_is_a_whole_number_of_minor_units(amount: str) -> None:
    assert len(problems(PRICES, f"A,NL,EUR,P1M/P1M,{amount}")) == 1


def test_what_a_line_above_said_is_not_said_again() -> None:
    assert [line for line, _why in problems(PRICES, "A,NL,EUR,P1M/P1M,1", "A,NL,EUR,P1M/P1M,2")] == [3]
    assert [line for line, _why in problems(PRODUCTS, FINE, FINE.replace("ABC1", "ABC9"))] == [3]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n",
        PRICES.encode(),
        b"a,b\n1,2\n",
        f"{PRICES},more\n1,2,3,4,5,6\n".encode(),
        b"\xff\xfe\x00",
        b"a\0b\n1\n",
        f'{PRICES}\nA,NL,"EUR,P1M/P1M,1\n'.encode(),
        b"x" * (MOST_BYTES + 1),
        (PRICES + "\nA,NL,EUR,P1M/P1M,1" * 5_002).encode(),
    ],
)
def test_a_file_of_no_use_is_refused_as_a_whole(content: bytes) -> None:
    with pytest.raises(Unreadable):
        read_file(content)


@given(st.binary(max_size=400))
def test_whatever_is_sent_is_read_or_refused(content: bytes) -> None:
    for head in (b"", PRODUCTS.encode() + b"\n", PRICES.encode() + b"\n"):
        try:
            file = read_file(head + content)
        except Unreadable:
            continue
        assert len(file.lines) + len(file.bad) >= 1
