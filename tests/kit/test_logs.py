"""Card numbers and secrets are masked in every line of the log (I-27), and nothing that is sent begins a line of its own
(reliability §6, Text)."""

import http.client
import logging
import re
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

from config.demo.processes import spawn, stop, tail
from config.demo.servers import free_port
from config.kit.logs import MaskingFormatter, mask, one_line
from tests.faults.installation import CHECKOUT, environment

# What could begin a line, move the cursor, turn the reading direction, or be no character at all.
CONTROLS = [chr(code) for code in (*range(32), *range(127, 160))]
CONTROLS += [
    "\u2028",
    "\u2029",
    "\u200e",
    "\u200f",
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2066, 0x206A)),
]
CONTROLS += ["\ud800", "\udfff"]
FORGED = "2026-11-27 09:00:00,000 ERROR seatkeeper.alerts webhooks_refused count=5"
LINE = "{asctime} {levelname} {name} {message}"


@pytest.mark.parametrize("number", ["4242424242424242", "4242 4242 4242 4242", "3782-822463-10005"])
def test_a_card_number_is_masked(number: str) -> None:
    assert mask(f"card {number}, declined") == "card [card number], declined"


@pytest.mark.parametrize(
    "secret",
    [
        "sk_test_51Habcdefghijk",
        "rk_live_51Habcdefghijk",
        "whsec_c2VjcmV0IG9mIGEgaG9vaw",
        "pi_3MtwBw_secret_YrKJUKribcBjcG8HVhfZluoGH",
        "seti_1Mm8s8_secret_YrKJUKribcBjcG8HVhfZluoGH",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwYXQifQ.c2lnbmF0dXJl",
        "Bearer c2VjcmV0IG9mIGEgdG9rZW4",
    ],
)
def test_a_secret_is_masked(secret: str) -> None:
    assert mask(f"sent {secret} on") == "sent [secret] on"


@pytest.mark.parametrize(
    "line",
    [
        "4242424242424243 is no card",
        "Bill SK-NL-2026-000123 of pi_3MtwBwLkdIwHu7ix28a3tqPa",
        "2026-11-26 13:09:34,617 INFO 4d2e7a10-4242-4242-8242-424242424242",
    ],
)
def test_anything_else_stays(line: str) -> None:
    assert mask(line) == line


def test_a_traceback_is_masked_too() -> None:
    try:
        raise ValueError("4242424242424242")
    except ValueError as error:
        record = logging.LogRecord(
            "any",
            logging.ERROR,
            __file__,
            1,
            "broken %s",
            ("sk_test_51Habcdefg",),
            (type(error), error, None),
        )

    line = MaskingFormatter("{message}", style="{").format(record)

    assert line == "broken [secret]\n  ValueError: [card number]"


def test_every_handler_of_the_installation_masks() -> None:
    handlers = settings.LOGGING["handlers"].values()
    formatters = {settings.LOGGING["formatters"][each["formatter"]]["()"] for each in handlers}

    assert formatters == {"config.kit.logs.MaskingFormatter"}


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("GET /requests/decide/abc:def_-1/ 200", "GET /requests/decide/[secret]/ 200"),
        ("GET /my/notifications/off/abc:def/ 200", "GET /my/notifications/off/[secret]/ 200"),
        (
            "/accounts/oidc/k/login/callback/?code=abc&state=d",
            "/accounts/oidc/k/login/callback/?code=[secret]&state=d",
        ),
        ("postgresql://app:s3cret@db.example/x", "postgresql://[secret]@db.example/x"),
        ("redis://:s3cret@127.0.0.1:6379/0", "redis://[secret]@127.0.0.1:6379/0"),
        ("otpauth://totp/V:a@b.example?secret=JBSWY3DPEHPK3PXP", "otpauth://[secret]"),
    ],
)
def test_links_that_are_good_without_a_session_and_passwords_in_addresses_are_masked(
    text: str, masked: str
) -> None:
    assert mask(text) == masked


# --- One record, one line ---------------------------------------------------------------------------------------


def written(message: str, *facts: object, error: BaseException | None = None) -> str:
    info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("directory.sign_in", logging.WARNING, __file__, 1, message, facts, info)
    return MaskingFormatter(LINE, style="{").format(record)


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_no_control_of_what_is_sent_reaches_the_log(control: str) -> None:
    line = written("Sign-in at %s refused: %s", "contoso", f"before{control}{FORGED}")

    assert control not in line
    assert line.splitlines() == [line]
    assert line.endswith(f"before\\u{ord(control):04x}{FORGED}")
    line.encode()


@pytest.mark.parametrize(
    "end", ["\n", "\r\n", "\r", "\x85", "\u2028", "\x0b", "\x0c", "\x1b[2K\r", "\x08" * 80]
)
def test_an_error_that_carries_what_was_sent_begins_no_line_at_the_margin(end: str) -> None:
    try:
        raise ValueError(f"bad{end}{FORGED}")
    except ValueError as error:
        lines = written("broken", error=error).splitlines()

    assert [line for line in lines if not line.startswith("  ")] == lines[:1]
    assert not [line for line in lines if re.match(r"\d{4}-\d\d-\d\d .* ERROR seatkeeper\.alerts ", line)]


def test_names_of_people_stay_as_they_are() -> None:
    for name in ("Żółć Ärger", "李小龍", "محمد", "🦊 & Co.", "a\u00a0b", "\U0001f468\u200d\U0001f469"):
        assert one_line(name) == name


def test_a_hostile_host_or_path_stays_on_its_line(caplog: pytest.LogCaptureFixture) -> None:
    """Django's own lines about requests that it refuses."""
    Client().get("/products/", HTTP_HOST=f"evil\r\n{FORGED}")
    Client().get(f"/no/such\r\n{FORGED}/")

    formatter = MaskingFormatter(LINE, style="{")
    lines = [line for record in caplog.records for line in formatter.format(record).splitlines()]
    assert len([line for line in lines if FORGED in line]) >= 2
    assert not [line for line in lines if line.startswith(FORGED[:23])]


# --- The web server's own log -----------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """The port of a real gunicorn with our configuration, and its log."""
    port, log = free_port(), tmp_path / "web.log"
    command = ["-m", "gunicorn", "config.wsgi", "--bind", f"127.0.0.1:{port}", "--access-logfile", "-"]
    process = spawn(
        [sys.executable, *command, "--no-control-socket"],
        log=log,
        env=environment({"PUBLIC_URL": f"http://127.0.0.1:{port}"}),
        cwd=CHECKOUT,
    )
    try:
        for _ in range(300):
            assert process.poll() is None, tail(log)
            if "Listening at" in log.read_text() and "Booting worker" in log.read_text():
                break
            time.sleep(0.1)
        yield port, log
    finally:
        stop(process)


@pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True)
def test_the_web_servers_log_keeps_lines_and_secrets_apart_and_takes_no_mount_from_a_header(
    served: tuple[int, Path],
) -> None:
    port, log = served

    def status_of(path: str, **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request(
            "GET", path, headers={name.replace("__", "-"): value for name, value in headers.items()}
        )
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, f"{answer.headers}{body}"

    forged = FORGED.replace(" ", "%20")
    assert status_of("/healthz")[0] == 200
    assert status_of(f"/api/v1.0/no%0d%0a{forged}%1b%5b2K/")[0] == 404
    status_of("/requests/decide/aSecretOfTheLink/")
    assert status_of("/healthz?code=aSecretOfTheQuery")[0] == 200
    status, everything = status_of("/my/accounts/", SCRIPT_NAME="/my", Path_Info="/healthz")
    assert status == 302
    assert "Location: /sign-in/?next=%2Fmy%2Faccounts%2F" in everything
    assert status_of("/api/v1.0/x", Host="evil.example")[0] == 400
    with socket.create_connection(("127.0.0.1", port), timeout=30) as raw:
        raw.sendall(
            b"GET //evil.example/my/ HTTP/1.1\r\nHost: 127.0.0.1\r\nSCRIPT_NAME: //evil.example\r\n\r\n"
        )
        assert b"\nLocation: //" not in raw.recv(65536)

    for _ in range(50):
        if "decide" in log.read_text() and "healthz" in log.read_text():
            break
        time.sleep(0.1)
    text = log.read_text()
    assert "\\u000d\\u000a2026-11-27" in text
    assert not re.search(r"^2026-11-27 09:00:00,000", text, re.M)
    assert "\x1b" not in text
    assert "aSecretOfThe" not in text
    assert "/requests/decide/[secret]/" in text
