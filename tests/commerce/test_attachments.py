"""Which files of a support case are taken, by their content, and under which name (reliability §6)."""

import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commerce.attachments import LONGEST_NAME, MOST_BYTES, MOST_FILES, Why, clean_name, sort_out, type_of

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 40
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF" + b"\0" * 40
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"


def zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a.txt", "a")
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "media_type", "kept_as"),
    [
        ("screen.png", PNG, "image/png", "screen.png"),
        ("screen.PNG", PNG, "image/png", "screen.PNG"),
        ("photo.jpeg", JPEG, "image/jpeg", "photo.jpeg"),
        ("bill.pdf", PDF, "application/pdf", "bill.pdf"),
        ("people.csv", b"name;mail\npat;pat@x\n", "text/csv", "people.csv"),
        ("out.log", b"[12:00] \xc3\xa9\n", "text/plain", "out.log"),
        ("excel.csv", b"caf\xe9;1\r\n", "text/csv", "excel.csv"),
        # The name lies: what it is says the content.
        ("bill.pdf", PNG, "image/png", "bill.pdf.png"),
        ("screen.png", PDF, "application/pdf", "screen.png.pdf"),
        ("page.html", b"<script>alert(1)</script>", "text/plain", "page.html.txt"),
        ("picture.svg", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "text/plain", "picture.svg.txt"),
        ("run.bat", b"del *.*", "text/plain", "run.bat.txt"),
        ("noname", b"BM is how this text begins", "text/plain", "noname.txt"),
    ],
)
def test_a_file_is_kept_as_what_its_content_says(
    name: str, content: bytes, media_type: str, kept_as: str
) -> None:
    (taken,), left_out = sort_out([(name, content)])

    assert (taken.media_type, taken.name, taken.content) == (media_type, kept_as, content)
    assert left_out == []


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.zip", zipped(), Why.KIND),
        ("a.png", zipped(), Why.KIND),
        ("a.txt", zipped(), Why.KIND),
        ("a.docx", zipped(), Why.KIND),
        ("a.pdf", b"MZ\x90\0\x03" + b"\0" * 60, Why.KIND),
        ("a.txt", b"\x7fELF\x02\x01\x01" + b"\0" * 60, Why.KIND),
        ("a.gif", b"GIF89a" + b"\0" * 60, Why.KIND),
        ("a.txt", "utf-16".encode("utf-16"), Why.KIND),
        ("a.txt", b"a\0b", Why.KIND),
        ("a.txt", b"", Why.EMPTY),
        ("a.txt", b"x" * (MOST_BYTES + 1), Why.TOO_LARGE),
    ],
)
def test_other_files_are_left_out_with_the_reason(name: str, content: bytes, why: Why) -> None:
    taken, (left_out,) = sort_out([(name, content)])

    assert (taken, left_out.why) == ([], why)


def test_the_sixth_file_is_one_too_many() -> None:
    taken, left_out = sort_out([(f"{number}.txt", b"x") for number in range(MOST_FILES + 1)])

    assert [each.name for each in taken] == ["0.txt", "1.txt", "2.txt", "3.txt", "4.txt"]
    assert [(each.name, each.why) for each in left_out] == [("5.txt", Why.TOO_MANY)]


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\a.txt", "a.txt"),
        ("a\r\nContent-Type: x", "a Content-Type_ x"),
        ("bill\u202efdp.exe", "billfdp.exe"),
        ("a\0b.txt", "ab.txt"),
        (".htaccess", "htaccess"),
        ("...", "file"),
        ("", "file"),
        ('a"b<c>.txt', "a_b_c_.txt"),
        ("\ud800.txt", "_.txt"),
    ],
)
def test_a_name_loses_what_no_name_needs(name: str, clean: str) -> None:
    assert clean_name(name) == clean


@settings(deadline=None)
@given(st.text(max_size=300), st.binary(min_size=1, max_size=200))
def test_whatever_is_kept_has_a_plain_name_and_a_type_that_is_taken(name: str, content: bytes) -> None:
    taken, left_out = sort_out([(name, content)])

    assert len(taken) + len(left_out) == 1
    for each in taken:
        assert 0 < len(each.name) <= LONGEST_NAME
        assert not set(each.name) & set('/\\\r\n\0":<>|*?')
        assert each.name[0] != "."
        assert each.media_type == type_of(name, content)
