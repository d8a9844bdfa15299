"""The mails that the demo wrote to files instead of sending them (architecture §1)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from pathlib import Path

from django.conf import settings

# So many files are read at most; older mails stay where they are.
NEWEST = 300

# What Django's backend writes between the mails of one file. No line of a mail's body is that long.
_LINE = b"\n" + b"-" * 79 + b"\n"
_KEY = re.compile(r"(\d{8}-\d{6}-\d{1,20})-(\d{1,4})")


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail. `at` is its date by the demo's clock."""

    key: str
    subject: str
    sender: str
    to: str
    at: datetime | None
    text: str
    html: str


def mails(*, beside: frozenset[str] = frozenset()) -> list[Mail]:
    """The mails, newest first; without those whose keys are in `beside`."""
    return [
        _mail(key, raw)
        for file in _files()[:NEWEST]
        for key, raw in reversed(list(_split(file)))
        if key not in beside
    ]


def keys() -> frozenset[str]:
    """The keys of the mails so far."""
    return frozenset(key for file in _files()[:NEWEST] for key, _raw in _split(file))


def find(key: str) -> Mail | None:
    """The mail with that key, None when there is none. The key never names a path."""
    parts = _KEY.fullmatch(key)
    if parts is None:
        return None
    file = _folder() / f"{parts[1]}.log"
    if not file.is_file():
        return None
    return next((_mail(each, raw) for each, raw in _split(file) if each == key), None)


def _folder() -> Path:
    return Path(getattr(settings, "EMAIL_FILE_PATH", settings.VAR_DIR / "mail"))


def _files() -> list[Path]:
    folder = _folder()
    if not folder.is_dir():
        return []
    return sorted(folder.glob("*.log"), key=lambda file: (file.stat().st_mtime_ns, file.name), reverse=True)


def _split(file: Path) -> Iterator[tuple[str, bytes]]:
    """Each mail of a file with its key; a file gets longer, so a key stays."""
    for number, raw in enumerate(file.read_bytes().split(_LINE)):
        if raw.strip():
            yield f"{file.stem}-{number}", raw


def _mail(key: str, raw: bytes) -> Mail:
    message = message_from_bytes(raw, _class=EmailMessage, policy=policy.default)
    return Mail(
        key=key,
        subject=str(message["Subject"] or ""),
        sender=str(message["From"] or ""),
        to=str(message["To"] or ""),
        at=parsedate_to_datetime(str(message["Date"])) if message["Date"] else None,
        text=_part(message, "plain"),
        html=_part(message, "html"),
    )


def _part(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    return str(body.get_content()) if body else ""
