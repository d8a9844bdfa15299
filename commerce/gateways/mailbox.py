"""The mailbox of the vendor's support, read by IMAP (RFC 9051): the only module that knows the protocol.

A message that was dealt with is marked as seen and stays, so that people find what was not taken. One whose handling
failed stays unseen and comes again.
"""

import imaplib
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final
from urllib.parse import unquote, urlsplit

from config.kit.errors import PeerUnavailable

SECONDS: Final = 20


class MailboxAway(PeerUnavailable):
    """The mailbox cannot be opened or read now."""

    code = "mailbox_unavailable"


def read_unseen(address: str, handle: Callable[[bytes], bool], *, most: int, most_bytes: int) -> int:
    """Hand each unseen message, at most `most`, to `handle`; those that it dealt with are marked as seen; how many.

    Not inside a transaction. `address` is imaps://user:password@host[:port]/folder. Of a message beyond `most_bytes`
    these and one more byte are fetched.

    :raises MailboxAway: no connection, no such account or folder, or it breaks off.
    """
    done = 0
    with _opened(address) as mailbox:
        for number in _unseen(mailbox)[:most]:
            raw = _fetch(mailbox, number, most_bytes)
            if raw is None or not handle(raw):
                continue
            done += 1
            _ask(lambda number=number: mailbox.uid("STORE", number, "+FLAGS", r"(\Seen)"))  # type: ignore[misc]
    return done


@contextmanager
def _opened(address: str) -> Iterator[imaplib.IMAP4]:
    parts = urlsplit(address)
    host, folder = parts.hostname or "", unquote(parts.path.lstrip("/")) or "INBOX"
    try:
        if parts.scheme == "imaps":
            context = ssl.create_default_context()
            mailbox: imaplib.IMAP4 = imaplib.IMAP4_SSL(
                host, parts.port or 993, ssl_context=context, timeout=SECONDS
            )
        else:
            mailbox = imaplib.IMAP4(host, parts.port or 143, timeout=SECONDS)
    except (OSError, imaplib.IMAP4.error) as error:
        raise MailboxAway from error
    try:
        _ask(lambda: mailbox.login(unquote(parts.username or ""), unquote(parts.password or "")))
        _ask(lambda: mailbox.select(mailbox._quote(folder)))
        yield mailbox
    finally:
        # Of a connection that is broken nobody takes leave.
        with suppress(OSError, imaplib.IMAP4.error):
            mailbox.logout()


def _unseen(mailbox: imaplib.IMAP4) -> list[str]:
    found = _ask(lambda: mailbox.uid("SEARCH", "UNSEEN"))
    words = b" ".join(each for each in found if isinstance(each, bytes)).split()
    return [word.decode("ascii") for word in words if word.isdigit()]


def _fetch(mailbox: imaplib.IMAP4, number: str, most_bytes: int) -> bytes | None:
    """The message; None when somebody has moved it away meanwhile."""
    found = _ask(lambda: mailbox.uid("FETCH", number, f"(BODY.PEEK[]<0.{most_bytes + 1}>)"))
    return next((bytes(each[1]) for each in found if isinstance(each, tuple)), None)


def _ask(command: Callable[[], tuple[str, Sequence[object]]]) -> Sequence[object]:
    try:
        status, found = command()
    except (OSError, imaplib.IMAP4.error) as error:
        raise MailboxAway from error
    if status != "OK":
        raise MailboxAway
    return found
