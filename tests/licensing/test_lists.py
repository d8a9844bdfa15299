"""Pasted lists and CSV files of people (product §7.3, reliability §6)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licensing.lists import PeopleList, Unreadable, read_csv, read_pasted


def names(found: PeopleList) -> list[tuple[int, str]]:
    return [(row.line, row.who) for row in found.rows]


def problems(found: PeopleList) -> list[tuple[int, str]]:
    return [(row.line, row.problem) for row in found.bad]


def test_a_pasted_list_takes_one_person_a_line_or_many_addresses() -> None:
    found = read_pasted(
        "\ufefferik@contoso.example\r\n"
        "\n"
        "  Daan   Hendriks \r"
        "Dirk van Dijk <dirk@contoso.example>;\n"
        "a@contoso.example, b@contoso.example; c@contoso.example\n"
    )

    assert names(found) == [
        (1, "erik@contoso.example"),
        (3, "Daan Hendriks"),
        (4, "dirk@contoso.example"),
        (5, "a@contoso.example"),
        (5, "b@contoso.example"),
        (5, "c@contoso.example"),
    ]
    assert found.bad == ()


def test_bad_rows_are_reported_and_leave_the_rest() -> None:
    found = read_pasted("erik@x.example\nnul\0@x.example\nERIK@x.example\n" + "x" * 255 + "\nDaan")

    assert names(found) == [(1, "erik@x.example"), (5, "Daan")]
    assert problems(found) == [(2, "control"), (3, "repeated"), (4, "long")]
    assert found.bad[0].text == "nul@x.example"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"email\nerik@x.example\n", [(2, "erik@x.example")]),
        (b"\xef\xbb\xbfName;E-mail\r\nErik;erik@x.example\r\n", [(2, "erik@x.example")]),
        ("Naam\tAfdeling\nErik Peters\tIT\n".encode("utf-16"), [(2, "Erik Peters")]),
        (b'"Peters, Erik","erik@x.example"\n', [(1, "erik@x.example")]),
        (b'Display name\n"Erik ""E"" Peters"\n', [(2, 'Erik "E" Peters')]),
        (b"User principal name,Title\nerik@x.example\n\n,boss\n", [(2, "erik@x.example")]),
        (b"Erik Peters\nDaan Hendriks\n", [(1, "Erik Peters"), (2, "Daan Hendriks")]),
        (b"1|erik@x.example|yes\r2|daan@x.example|no", [(1, "erik@x.example"), (2, "daan@x.example")]),
        (b'"two\nlines",erik@x.example\ndaan@x.example', [(1, "erik@x.example"), (3, "daan@x.example")]),
        (b"=cmd()@x.example\n", [(1, "=cmd")]),
    ],
)
def test_csv_files_as_programs_write_them(content: bytes, expected: list[tuple[int, str]]) -> None:
    found = read_csv(content)

    if expected[0][1] == "=cmd":
        assert [row.is_address for row in found.rows] == [True]
    else:
        assert names(found) == expected
        assert found.bad == ()


def test_csv_rows_that_cannot_be_read_are_reported() -> None:
    wide = b",".join([b"x"] * 300)
    found = read_csv(b"erik@x.example\n" + wide + b'\nda\0an@x.example\ndirk@x.example\n"open,erik\nmore\n')

    assert names(found) == [(1, "erik@x.example"), (4, "dirk@x.example")]
    assert problems(found) == [(2, "columns"), (3, "control"), (5, "quote")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\n \n,,\n", "empty"),
        (b"email\n", "empty"),
        (b"caf\xe9@x.example\n", "encoding"),
        (b"\xff\xfeabc", "encoding"),
        (b"x@x.example\n" * 900_000, "bytes"),
        (b"".join(b"p%d@x.example\n" % n for n in range(100_001)), "rows"),
    ],
)
def test_what_is_no_list_at_all_says_why(content: bytes, reason: str) -> None:
    with pytest.raises(Unreadable) as refusal:
        read_csv(content)

    assert refusal.value.reason == reason


def test_a_thousand_rows_are_read() -> None:
    content = b"".join(b"p%d@x.example\n" % n for n in range(1_000))

    assert len(read_csv(content).rows) == 1_000
    assert len(read_pasted(content.decode()).rows) == 1_000


@given(st.binary(max_size=400))
def test_no_file_breaks_the_reader(content: bytes) -> None:
    try:
        found = read_csv(content)
    except Unreadable:
        return

    assert all(row.who.strip() and "\0" not in row.who and len(row.who) <= 254 for row in found.rows)


@given(st.text(max_size=400))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        found = read_pasted(text)
    except Unreadable:
        return

    assert all(row.who.strip() and "\0" not in row.who and len(row.who) <= 254 for row in found.rows)
