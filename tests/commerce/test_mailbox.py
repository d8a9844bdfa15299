"""The mailbox of support, at a mail server of others: pymap, with a mailbox in memory (RFC 9051)."""

import imaplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from commerce import tasks
from commerce.gateways.mailbox import MailboxAway, read_unseen
from commerce.models import SupportCase
from commerce.operations.case_addresses import reply_address
from config.kit.clock import now
from tests.commerce.talking import ask, said
from tests.factories import make_self_service_subscription, make_tenant, make_user

PASSWORD = "a/b@c d"
ADDRESS = "imap://demouser:a%2Fb%40c%20d@127.0.0.1:{port}/INBOX"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("pymap")), "--host", "127.0.0.1", "--port", str(number)]
    command += ["--no-tls", "--no-service", "admin", "dict", "--demo-password", PASSWORD]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(number, server)
        yield number
    finally:
        server.kill()
        server.wait()


def _wait(number: int, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while True:
        try:
            socket.create_connection(("127.0.0.1", number), timeout=5).close()
        except OSError:
            assert server.poll() is None, "the mail server has ended"
            assert time.monotonic() < until, "the mail server does not answer"
            time.sleep(0.2)
        else:
            return


@pytest.fixture
def mailbox(port: int) -> Iterator[imaplib.IMAP4]:
    """The mailbox as its owner sees it, empty."""
    with imaplib.IMAP4("127.0.0.1", port, timeout=60) as client:
        client.login("demouser", PASSWORD)
        client.select("INBOX")
        client.store("1:*", "+FLAGS", r"(\Deleted)")
        client.expunge()
        yield client


def put(mailbox: imaplib.IMAP4, *raws: bytes) -> None:
    for raw in raws:
        mailbox.append("INBOX", "", "", raw)


def unseen(mailbox: imaplib.IMAP4) -> int:
    mailbox.noop()
    _status, found = mailbox.search(None, "UNSEEN")
    return len(found[0].split())


def read(
    port: int, handled: list[bytes], *, refuses: bytes = b"nothing", most: int = 10, most_bytes: int = 1000
) -> int:
    def handle(raw: bytes) -> bool:
        handled.append(raw)
        return refuses not in raw

    return read_unseen(ADDRESS.format(port=port), handle, most=most, most_bytes=most_bytes)


def test_each_unseen_mail_is_handed_on_once(mailbox: imaplib.IMAP4, port: int) -> None:
    put(mailbox, b"From: a@b.test\r\n\r\none", b"From: a@b.test\r\n\r\ntwo")
    handled: list[bytes] = []

    counts = [read(port, handled), read(port, handled)]

    assert counts == [2, 0]
    assert handled == [b"From: a@b.test\r\n\r\none", b"From: a@b.test\r\n\r\ntwo"]
    assert unseen(mailbox) == 0


def test_what_was_not_dealt_with_comes_again_and_holds_up_no_other(mailbox: imaplib.IMAP4, port: int) -> None:
    put(mailbox, b"From: a@b.test\r\n\r\nbad", b"From: a@b.test\r\n\r\ngood")
    handled: list[bytes] = []

    count = read(port, handled, refuses=b"bad")

    assert (count, len(handled), unseen(mailbox)) == (1, 2, 1)


def test_no_more_is_fetched_than_asked_for(mailbox: imaplib.IMAP4, port: int) -> None:
    put(mailbox, *[b"From: a@b.test\r\n\r\n" + b"x" * 5_000] * 3)
    handled: list[bytes] = []

    count = read(port, handled, most=2, most_bytes=100)

    assert (count, [len(raw) for raw in handled], unseen(mailbox)) == (2, [101, 101], 1)


@pytest.mark.parametrize(
    "address",
    [
        "imap://demouser:wrong@127.0.0.1:{port}/INBOX",
        "imap://demouser:a%2Fb%40c%20d@127.0.0.1:{port}/No%20such%20folder",
        "imap://demouser:x@127.0.0.1:1/INBOX",
        "imaps://demouser:x@127.0.0.1:{port}/INBOX",
    ],
)
def test_a_mailbox_that_cannot_be_read_is_away(port: int, address: str) -> None:
    with pytest.raises(MailboxAway):
        read_unseen(address.format(port=port), lambda raw: True, most=1, most_bytes=1)


@pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)
def test_the_task_takes_answers_into_their_cases(
    settings: SimpleNamespace, mailbox: imaplib.IMAP4, port: int
) -> None:
    settings.SUPPORT_ADDRESS = "support@vendor.test"
    settings.SUPPORT_MAILBOX = ADDRESS.format(port=port)
    pat = make_user(make_tenant(), name="Pat", email="pat@contoso.test")
    case: SupportCase = ask(pat, make_self_service_subscription(pat))
    to = reply_address(case.key)
    put(
        mailbox,
        f"From: pat@contoso.test\r\nTo: {to}\r\nMessage-ID: <1@x>\r\n\r\nThank you.".encode(),
        b"no mail",
    )

    tasks.read_mailbox(at=now())

    assert [text for _author, text, _is_staff in said(case)] == ["Where is my report?", "Thank you."]
    assert unseen(mailbox) == 0


def test_without_a_mailbox_the_task_reads_none(settings: SimpleNamespace, mailbox: imaplib.IMAP4) -> None:
    settings.SUPPORT_MAILBOX = ""
    put(mailbox, b"From: a@b.test\r\n\r\none")

    tasks.read_mailbox(at=now())

    assert unseen(mailbox) == 1


def test_a_mailbox_that_is_away_stops_no_task(
    settings: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    settings.SUPPORT_MAILBOX = "imap://pat:secret-of-pat@127.0.0.1:1/INBOX"

    tasks.read_mailbox(at=now())

    assert "cannot be read" in caplog.text
    assert "secret-of-pat" not in caplog.text
