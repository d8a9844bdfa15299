"""Mails that come in: what is read from one, whoever wrote it (RFC 5322, RFC 2045, RFC 3834; docs/adr/0044).

A mail is a stranger's bytes. Nothing in it is believed here but what it says; size, number and depth are bounded, and what
cannot be read is said to be so.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.policy import compat32
from email.utils import getaddresses
from typing import Final

import html_text

# Ten files of a case would not fit; what is larger is not opened at all.
MOST_BYTES: Final = 30_000_000
# The headers of a whole mail, and one of them.
MOST_HEADER: Final = 100_000
LONGEST_HEADER: Final = 10_000
MOST_PARTS: Final = 100
# Lines that may begin a part, before any is parsed; every signature is one as well.
MOST_BOUNDARIES: Final = 20_000
LONGEST_HTML: Final = 1_000_000
LONGEST_TEXT: Final = 20_000
# Between these a mail of ours says that the answer goes above; everything from there on is the mail that is answered.
MARK: Final = ("##- ", " -##")

_MARKED: Final = re.compile(r"##- [^\n]{3,120} -##")
_SPACES: Final = re.compile(r"[^\S\n]+\n")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]")
_HEADER_LINE: Final = re.compile(r"[>\s*_]{0,10}[^\W\d_][\w -]{1,30}:[*_]{0,3}\s\S")
_RULE: Final = re.compile(r"[>\s]{0,10}[-_=*]{3,}")
_ADDRESSED: Final = ("to", "cc", "delivered-to", "x-original-to", "envelope-to", "x-envelope-to")
# What programs send of themselves: RFC 3834, and what did so before it.
_AUTOMATIC_SENDERS: Final = ("mailer-daemon@", "postmaster@", "no-reply@", "noreply@", "do-not-reply@")

# What Python's parser, and the libraries under it, raise on bytes that are no mail.
_NOT_A_MAIL: Final = (
    *(MessageError, ValueError, LookupError, TypeError, AttributeError, RecursionError, AssertionError),
)


class Unreadable(Exception):
    """It is no mail that can be read, or one beyond all bounds."""


@dataclass(frozen=True, slots=True)
class Mail:
    """What a mail says. `sender` and `recipients` are addresses in lower case; `sender` is empty unless there is one.

    `message_id` is a digest of the mail's own id, of the whole mail where it has none. `text` is what was written above
    the mail that is answered, at most 20,000 characters; `is_cut`: there was more. `files`: names and contents.
    """

    message_id: str
    sender: str
    recipients: Sequence[str]
    is_automatic: bool
    text: str
    is_cut: bool
    files: Sequence[tuple[str, bytes]]


def read_mail(raw: bytes) -> Mail:
    """:raises Unreadable: too large, too deep, or not a mail."""
    if len(raw) > MOST_BYTES:
        raise Unreadable("too large")
    if raw.count(b"\n--") > MOST_BOUNDARIES:
        raise Unreadable("too many parts")
    end = re.search(rb"\r?\n\r?\n", raw)
    if (end.start() if end else len(raw)) > MOST_HEADER:
        raise Unreadable("too many headers")
    try:
        return _read(message_from_bytes(raw, policy=compat32), raw)
    except _NOT_A_MAIL as error:
        raise Unreadable(type(error).__name__) from error


def _read(message: Message, raw: bytes) -> Mail:
    headers = _headers(message)
    parts = list(_parts(message))
    text = cut_quoted(_text(parts))
    own_id = (headers.get("message-id") or [""])[0].strip()
    senders = _addresses(headers.get("from", []))
    return Mail(
        message_id=hashlib.sha256(own_id.encode("utf-8", "replace") or raw).hexdigest(),
        sender=senders[0] if len(senders) == 1 else "",
        recipients=[each for name in _ADDRESSED for each in _addresses(headers.get(name, []))],
        is_automatic=_is_automatic(headers, message, senders),
        text=text[:LONGEST_TEXT].strip(),
        is_cut=len(text) > LONGEST_TEXT,
        files=list(_files(parts)),
    )


def _headers(message: Message) -> Mapping[str, list[str]]:
    """The headers as they were sent, by name in lower case. :raises Unreadable: one is longer than any is."""
    found: dict[str, list[str]] = {}
    for name, value in message.raw_items():
        text = str(value)
        if len(text) > LONGEST_HEADER:
            raise Unreadable("too long a header")
        found.setdefault(name.lower(), []).append(text.encode("utf-8", "replace").decode())
    return found


def _addresses(values: Sequence[str]) -> list[str]:
    unfolded = [" ".join(value.split()) for value in values]
    return [address.lower() for _name, address in getaddresses(unfolded) if "@" in address]


def _is_automatic(headers: Mapping[str, list[str]], message: Message, senders: Sequence[str]) -> bool:
    """Whether a program sent it: nothing that answers by itself is answered or taken (RFC 3834)."""

    def first(name: str) -> str:
        return (headers.get(name) or [""])[0].strip().lower()

    return bool(
        first("auto-submitted").partition(";")[0].strip() not in ("", "no")
        or first("precedence") in ("bulk", "junk", "list", "auto_reply")
        or first("return-path") == "<>"
        or {"list-id", "x-autoreply", "x-autorespond", "x-auto-response-suppress"} & set(headers)
        or message.get_content_type() == "multipart/report"
        or any(sender.startswith(_AUTOMATIC_SENDERS) for sender in senders)
    )


def _parts(message: Message) -> Iterator[Message]:
    """The leaves, in order; a mail inside the mail is not opened. :raises Unreadable: too many parts."""
    waiting: list[Message] = [message]
    seen = 0
    while waiting:
        part = waiting.pop()
        seen += 1
        if seen > MOST_PARTS:
            raise Unreadable("too many parts")
        _headers(part)
        if part.get_content_maintype() == "multipart" and part.is_multipart():
            waiting.extend(reversed(part.get_payload()))  # type: ignore[arg-type]
        else:
            yield part


def _is_text(part: Message, media_type: str) -> bool:
    """Whether a part is what was written, and not a file that came along."""
    is_file = part.get_content_disposition() == "attachment" or bool(part.get_filename())
    return part.get_content_type() == media_type and not is_file


def _text(parts: Sequence[Message]) -> str:
    """What was written: the plain parts, or where there are none the HTML as text."""
    plain = [_decoded(part) for part in parts if _is_text(part, "text/plain")]
    text = "\n".join(plain)
    if not text.strip():
        html = [_decoded(part)[:LONGEST_HTML] for part in parts if _is_text(part, "text/html")]
        text = "\n".join(html_text.extract_text(each) for each in html if each.strip())
    return _clean(text)


def _decoded(part: Message) -> str:
    content = part.get_payload(decode=True)
    content = content if isinstance(content, bytes) else b""
    charset = part.get_content_charset("utf-8")
    try:
        text = content.decode(charset, "replace")
    except (LookupError, ValueError):
        text = content.decode("utf-8", "replace")
    return text.encode("utf-8", "replace").decode()


def _clean(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\xa0", " ")
    return _SPACES.sub("\n", _CONTROL.sub("", text))


def cut_quoted(text: str) -> str:
    """What stands above the mail that is answered, without the line by which a mail program introduces it.

    Where our mark is not in it, everything: nothing that somebody wrote is lost.
    """
    marked = _MARKED.search(text)
    if marked is None:
        return text.strip()
    lines = text[: marked.start()].split("\n")
    lines = _without_quote_marks(lines)
    return "\n".join(_without_introduction(lines)).strip()


def _without_quote_marks(lines: list[str]) -> list[str]:
    """Without the empty or quoted lines at the end."""
    while lines and (not lines[-1].strip() or lines[-1].lstrip().startswith(">")):
        lines.pop()
    return lines


def _without_introduction(lines: list[str]) -> list[str]:
    """Without *On ... wrote:* in any language, or a block of *From:*, *Sent:* and the like, at the end."""
    start = len(lines)
    while start and lines[start - 1].strip() and len(lines) - start < 8:
        start -= 1
    block = [line for line in lines[start:] if not _RULE.fullmatch(line.strip())]
    heads = sum(bool(_HEADER_LINE.match(line)) for line in block)
    is_line = bool(block) and len(block) <= 3 and block[-1].rstrip().endswith(":")
    if not (is_line or (heads >= 2 and heads >= len(block) - 1)):
        return lines
    lines = lines[:start]
    while lines and (not lines[-1].strip() or _RULE.fullmatch(lines[-1].strip())):
        lines.pop()
    return lines


def _files(parts: Sequence[Message]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of what came along; pictures inside the text among them, an attached mail by its name alone."""
    for part in parts:
        if _is_text(part, "text/plain") or _is_text(part, "text/html"):
            continue
        content = part.get_payload(decode=True)
        yield _file_name(part), content if isinstance(content, bytes) else b""


def _file_name(part: Message) -> str:
    name = part.get_filename() or part.get_content_type().replace("/", ".")
    # Not by the standard, and by most programs: the name as an encoded word.
    return str(make_header(decode_header(name[:1000])))
