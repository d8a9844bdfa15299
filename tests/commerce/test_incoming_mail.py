"""What is read from a mail that comes in, and what no mail can do, whoever wrote it (RFC 5322, RFC 3834)."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commerce.incoming_mail import LONGEST_TEXT, MOST_BYTES, Unreadable, cut_quoted, read_mail

HEAD = b"From: Pat <Pat@Contoso.test>\r\nTo: support+x@vendor.test\r\nMessage-ID: <1@contoso.test>\r\n"
MARK = "##- Write your answer above this line -##"
# Slow on a machine that does other things as well, and far from what would hold up a worker.
SECONDS = 30


def mail(body: bytes, *headers: bytes) -> bytes:
    return HEAD + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body


def multipart(*parts: bytes) -> bytes:
    inner = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts)
    return mail(inner + b"--b--\r\n", b"Content-Type: multipart/mixed; boundary=b")


def test_a_plain_mail_is_read() -> None:
    read = read_mail(mail(b"It works now.\r\nThank you."))

    assert (read.sender, read.recipients) == ("pat@contoso.test", ["support+x@vendor.test"])
    assert (read.text, read.is_cut, read.is_automatic, read.files) == (
        *("It works now.\nThank you.", False, False, []),
    )


@pytest.mark.parametrize(
    "quoted",
    [
        f"\n\nOn Fri, 27 Nov 2026 at 10:00, Support <support@vendor.test>\nwrote:\n\n> {MARK}\n> Hello",
        f"\n\nOp vr 27 nov 2026 om 10:00 schreef Support <support@vendor.test>:\n> {MARK}\n",
        f"\n\nAm 27.11.2026 um 10:00 schrieb Support:\n\n>> {MARK}",
        f"\n\n________________________________\nFrom: Support <a@b>\nSent: Friday\nTo: Pat\nSubject: Re: x\n\n{MARK}\n",
        "\n\nVan: Support <a@b>\nVerzonden: vrijdag\nAan: Pat\nOnderwerp: Re: x\n\n##- Schrijf je antwoord hierboven -##",
        f"\n\n-----Original Message-----\nFrom: Support\nSent: Friday\n\n{MARK}",
        f"\n\n*From:* Support <a@b>\n*Date:* Friday\n\n{MARK}",
        f"\n\n> {MARK}\n> Hello",
        f"\n{MARK}",
    ],
)
def test_the_mail_that_is_answered_is_cut_off(quoted: str) -> None:
    assert cut_quoted(f"It works: thanks.\nSee below:\n- one\n- two{quoted}") == (
        "It works: thanks.\nSee below:\n- one\n- two"
    )


def test_without_the_mark_nothing_is_lost() -> None:
    text = "First your question:\n> Which browser?\nFirefox."

    assert cut_quoted(text) == text


def test_an_html_mail_is_read_as_text() -> None:
    body = "<style>p{}</style><p>Caf\u00e9</p><div>a<br>b</div><script>alert(1)</script>".encode()

    read = read_mail(mail(body, b"Content-Type: text/html; charset=utf-8"))

    assert read.text.split() == ["Caf\u00e9", "a", "b"]


def test_the_plain_part_counts_where_there_are_both() -> None:
    read = read_mail(
        multipart(
            b"Content-Type: text/html\r\n\r\n<b>no</b>",
            b"Content-Type: text/plain; charset=iso-8859-1\r\n\r\ncaf\xe9",
        )
    )

    assert read.text == "caf\u00e9"


def test_files_come_with_their_names_and_a_mail_inside_is_not_opened() -> None:
    read = read_mail(
        multipart(
            b"Content-Type: text/plain\r\n\r\nSee these.",
            b'Content-Type: application/pdf; name="=?utf-8?q?caf=C3=A9.pdf?="\r\n\r\n%PDF-1.4',
            b"Content-Type: image/png\r\nContent-Disposition: attachment; filename*=utf-8''a%20b.png\r\n"
            b"Content-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=",
            b'Content-Type: text/plain\r\nContent-Disposition: attachment; filename="note.txt"\r\n\r\nhello',
            b"Content-Type: message/rfc822\r\n\r\nFrom: a@b\r\n\r\nsecret",
        )
    )

    assert read.text == "See these."
    assert read.files == [
        ("caf\u00e9.pdf", b"%PDF-1.4"),
        ("a b.png", b"\x89PNG\r\n\x1a\n"),
        ("note.txt", b"hello"),
        ("message.rfc822", b""),
    ]


@pytest.mark.parametrize(
    "header",
    [
        b"Auto-Submitted: auto-replied",
        b"auto-submitted: AUTO-GENERATED; x=y",
        b"Precedence: bulk",
        b"Precedence: auto_reply",
        b"List-Id: <all.contoso.test>",
        b"X-Autoreply: yes",
        b"X-Auto-Response-Suppress: All",
        b"Return-Path: <>",
        b"Content-Type: multipart/report; boundary=b",
    ],
)
def test_what_a_program_sent_is_known(header: bytes) -> None:
    assert read_mail(mail(b"I am away.", header)).is_automatic


@pytest.mark.parametrize(
    "header", [b"Auto-Submitted: no", b"Precedence: normal", b"Return-Path: <pat@contoso.test>"]
)
def test_what_a_person_sent_is_known(header: bytes) -> None:
    assert not read_mail(mail(b"Hello.", header)).is_automatic


@pytest.mark.parametrize(
    ("sender", "read"),
    [
        (b"From: a@x.test, b@x.test", ""),
        (b"From: a@x.test\r\nFrom: b@x.test", ""),
        (b'From: "pat@contoso.test" <evil@x.test>', "evil@x.test"),
        (b"From: pat@contoso.test <evil@x.test>", ""),
        (b"From: =?utf-8?q?pat=40contoso.test?= <evil@x.test>", "evil@x.test"),
        (b"From: nobody", ""),
        (b"From:", ""),
        (b"X-From: pat@contoso.test", ""),
    ],
)
def test_only_one_address_is_a_sender(sender: bytes, read: str) -> None:
    assert read_mail(sender + b"\r\nTo: x@y.test\r\n\r\nHello").sender == read


def test_the_same_mail_has_the_same_id_and_one_without_is_known_by_its_bytes() -> None:
    first, again = read_mail(mail(b"a")), read_mail(mail(b"a", b"Received: by another way"))
    none, other = read_mail(b"From: a@b.c\r\n\r\na"), read_mail(b"From: a@b.c\r\n\r\nb")

    assert first.message_id == again.message_id
    assert none.message_id != other.message_id


def test_a_long_text_is_cut() -> None:
    read = read_mail(mail(b"word " * 10_000))

    assert (len(read.text) <= LONGEST_TEXT, read.is_cut) == (True, True)


# What has broken readers of mail, or made them slow.
HOSTILE = {
    "no header": b"hello",
    "nothing": b"",
    "zeros": b"\0" * 1000,
    "unknown charset": mail(b"caf\xe9", b"Content-Type: text/plain; charset=no-such"),
    "charset of bytes": mail(b"caf\xe9", b'Content-Type: text/plain; charset="\xff\x00"'),
    "charset that is a codec of bytes": mail(b"x", b"Content-Type: text/plain; charset=base64"),
    "broken base64": mail(b"!!!===", b"Content-Transfer-Encoding: base64"),
    "broken uuencode": mail(b"begin 666 x\r\nzzz", b"Content-Transfer-Encoding: x-uuencode"),
    "deep": mail(
        b"".join(
            b'--b%d\r\nContent-Type: multipart/mixed; boundary="b%d"\r\n\r\n' % (i, i + 1) for i in range(800)
        ),
        b'Content-Type: multipart/mixed; boundary="b0"',
    ),
    "mails in mails": HEAD + b"Content-Type: message/rfc822\r\n\r\n" * 500,
    "many parts": mail(b"--b\r\n\r\nx\r\n" * 500, b"Content-Type: multipart/mixed; boundary=b"),
    "very many parts": mail(b"--b\r\n\r\nx\r\n" * 300_000, b"Content-Type: multipart/mixed; boundary=b"),
    "no end of parts": mail(b"--b\r\n\r\nx", b"Content-Type: multipart/mixed; boundary=b"),
    "no boundary": mail(b"x", b"Content-Type: multipart/mixed"),
    "a list of addresses": b"From: a@b.c\r\nTo: " + b"a@b.c," * 15_000 + b"\r\n\r\nx",
    "parentheses": b"From: " + b"(" * 90_000 + b"\r\n\r\nx",
    "quotes": b"From: " + b'"\\' * 4_000 + b"\r\n\r\nx",
    "brackets": b"From: " + b"<" * 9_000 + b"\r\n\r\nx",
    "parameters": mail(b"x", b"Content-Type: text/plain; " + b"a=b; " * 15_000),
    "parameters of a part": multipart(b"Content-Type: text/plain; " + b"a=b; " * 15_000 + b"\r\n\r\nx"),
    "a name in pieces": multipart(
        b"Content-Type: image/png; " + b"".join(b"name*%d*=%%41; " % i for i in range(500)) + b"\r\n\r\nx"
    ),
    "encoded words": multipart(b'Content-Type: image/png; name="' + b"=?x?q?=FF?=" * 90 + b'"\r\n\r\nx'),
    "many headers": b"X-A: b\r\n" * 50_000 + b"\r\nx",
    "too large": b"x" * (MOST_BYTES + 1),
    "deep html": mail(b"<div>" * 200_000 + b"x", b"Content-Type: text/html"),
    "half a letter": mail(
        "\ud800".encode("utf-8", "surrogatepass"), b"Content-Type: text/html; charset=utf-8"
    ),
    "marks": mail(b"##- " * 100_000),
    "spaces": mail(b" " * 1_000_000),
    "lines": mail(b"\r\n" * 200_000),
    "introductions": mail(b"On " * 30_000 + b"\r\n"),
    "colons": mail(b"A:" * 100_000 + b"\r\n\r\n" + MARK.encode()),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_mail_breaks_or_holds_up_who_reads_it(name: str) -> None:
    begun = time.process_time()
    try:
        read = read_mail(HOSTILE[name])
    except Unreadable:
        read = None

    assert time.process_time() - begun < SECONDS
    if read is not None:
        assert len(read.text) <= LONGEST_TEXT
        assert "\0" not in read.text
        read.text.encode()


@settings(deadline=None)
@given(st.binary(max_size=400), st.binary(max_size=400))
def test_any_bytes_are_read_or_said_to_be_unreadable(headers: bytes, body: bytes) -> None:
    try:
        read = read_mail(HEAD + headers + b"\r\n\r\n" + body)
    except Unreadable:
        return

    read.text.encode()
    assert "\0" not in read.text
