"""Where to call and with which token, and the calls themselves."""

import json
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import httpx

SECONDS = 30
# How long is waited before each of the attempts after the first; a server that names its own time is believed.
WAITS = (0.5, 1, 2)
LONGEST_WAIT = 10
AGAIN = frozenset({429, 502, 503, 504})


class Exit(IntEnum):
    """What a script may tell apart. 1 is a mistake of ours, 2 of the command as typed."""

    OK = 0
    USAGE = 2
    NOT_SIGNED_IN = 3
    NOT_ALLOWED = 4
    NOT_FOUND = 5
    CONFLICT = 6
    BAD_VALUE = 7
    TRY_LATER = 8
    PARTLY = 9


EXIT_OF_STATUS = {
    400: Exit.BAD_VALUE,
    401: Exit.NOT_SIGNED_IN,
    403: Exit.NOT_ALLOWED,
    404: Exit.NOT_FOUND,
    405: Exit.BAD_VALUE,
    409: Exit.CONFLICT,
    402: Exit.CONFLICT,
    422: Exit.BAD_VALUE,
    429: Exit.TRY_LATER,
    503: Exit.TRY_LATER,
}


class Refused(Exception):
    """A call that was not answered with what was asked for; `exit_code` says of which kind."""

    def __init__(self, text: str, exit_code: int, problem: dict[str, Any] | None = None) -> None:
        self.text = text
        self.exit_code = exit_code
        self.problem = problem or {}
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Connection:
    """An installation's address and a token for it."""

    address: str
    token: str

    def __repr__(self) -> str:
        return f"Connection({self.address})"

    def get(self, path: str, **params: Any) -> Any:
        return self._call("GET", path, params=params)

    def put(self, path: str, body: dict[str, Any]) -> Any:
        return self._call("PUT", path, json=body)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """With a key of its own, so that however often it is tried, it takes effect once."""
        return self._call("POST", path, json=body, headers={"Idempotency-Key": uuid.uuid4().hex})

    def pages(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        """Every item of a list, page after page."""
        cursor = ""
        while True:
            page = self.get(path, **params, cursor=cursor)
            yield from page["items"]
            cursor = page.get("next") or ""
            if not cursor:
                return

    def _call(self, method: str, path: str, **rest: Any) -> Any:
        """The answer, after up to four attempts: every call may be sent again, a POST because of its key.

        :raises Refused: refused, or not answered.
        """
        headers = {"Authorization": f"Bearer {self.token}", **rest.pop("headers", {})}
        for wait in (*WAITS, None):
            try:
                answer = httpx.request(
                    method, f"{self.address}/api/v1.0/{path}", headers=headers, timeout=SECONDS, **rest
                )
            except httpx.TransportError as error:
                if wait is None:
                    raise Refused(f"{self.address} does not answer: {error}", Exit.TRY_LATER) from error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise Refused(f"{self.address} does not answer: {error}", Exit.TRY_LATER) from error
            else:
                wanted = answer.headers.get("Retry-After", "")
                asked = int(wanted) if wanted.isascii() and wanted.isdecimal() else 0
                if wait is None or asked > LONGEST_WAIT or not _may_pass(answer):
                    return self._read(answer)
                wait = max(wait, asked)
            time.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def _read(self, answer: httpx.Response) -> Any:
        """What was asked for. :raises Refused: it is something else."""
        body = _json_of(answer)
        if answer.is_success and body is not None:
            return body
        problem = body if isinstance(body, dict) else {}
        text = str(problem.get("detail") or f"{self.address} answered {answer.status_code}.")
        if answer.status_code == 429:
            text += f" Again in {answer.headers.get('Retry-After', 'a few')} seconds."
        raise Refused(text, EXIT_OF_STATUS.get(answer.status_code, 1), problem)


def _may_pass(answer: httpx.Response) -> bool:
    """Whether the same call may be answered otherwise in a moment: also while an earlier attempt of it runs."""
    if answer.status_code == 409:
        problem = _json_of(answer)
        return isinstance(problem, dict) and problem.get("code") == "still_running"
    return answer.status_code in AGAIN


def _json_of(answer: httpx.Response) -> Any:
    """The body, or None where it is no JSON."""
    try:
        return answer.json()
    except ValueError:
        return None


def kept_at() -> Path:
    """The file of the connection: readable by its owner alone."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "seatkeeper" / "connection.json"


def keep(connection: Connection) -> Path:
    """Remember a connection for the commands that follow."""
    path = kept_at()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"address": connection.address, "token": connection.token}, file)
    partial.replace(path)
    return path


def current() -> Connection:
    """The connection of the environment (SEATKEEPER_URL, SEATKEEPER_TOKEN), else the remembered one.

    :raises Refused: there is none.
    """
    kept: dict[str, str] = {}
    try:
        kept = json.loads(kept_at().read_text())
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise Refused(f"{kept_at()} cannot be read: {error}", Exit.NOT_SIGNED_IN) from error
    address = os.environ.get("SEATKEEPER_URL") or kept.get("address", "")
    token = os.environ.get("SEATKEEPER_TOKEN") or kept.get("token", "")
    if not address or not token:
        raise Refused(
            "Not connected. Run `seatkeeper connect ADDRESS`, or set SEATKEEPER_URL and SEATKEEPER_TOKEN.",
            Exit.NOT_SIGNED_IN,
        )
    return Connection(address.rstrip("/"), token)
