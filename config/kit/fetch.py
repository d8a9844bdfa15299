"""Fetching from addresses that a tenant named: small, quick, never redirected, never from inside (F-24)."""

import ipaddress
import json
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
from django.conf import settings

TIMEOUT = httpx.Timeout(5, connect=3)
TOTAL_SECONDS = 10
LARGEST = 256 * 1024


class FetchFailed(Exception):
    """The peer did not answer with what was asked for; the message says why, for the log."""


def fetch_json(
    url: str,
    *,
    form: dict[str, str] | None = None,
    auth: tuple[str, str] | None = None,
    headers: dict[str, str] | None = None,
    seconds: float = TOTAL_SECONDS,
) -> dict[str, Any]:
    """The JSON object at `url`, by GET, or by POST of `form`, within `seconds`. Not inside a transaction.

    :raises FetchFailed: unreachable, slow, too large, redirected, an error status, not a JSON object, or an
        address that leads into the vendor's own network.
    """
    _refuse_inside(url)
    deadline = time.monotonic() + seconds
    body = bytearray()
    try:
        with (
            httpx.Client(
                timeout=httpx.Timeout(min(5, seconds), connect=min(3, seconds)),
                follow_redirects=False,
                trust_env=False,
            ) as client,
            client.stream(
                "GET" if form is None else "POST",
                url,
                data=form,
                auth=auth,
                headers={"Accept": "application/json", **(headers or {})},
            ) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise FetchFailed(f"{url} answered {response.status_code}")
            for piece in response.iter_bytes():
                body += piece
                if len(body) > LARGEST or time.monotonic() > deadline:
                    raise FetchFailed(f"{url} sends too much or too slowly")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise FetchFailed(f"{url}: {error}") from error
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise FetchFailed(f"{url} did not answer with JSON") from error
    if not isinstance(value, dict):
        raise FetchFailed(f"{url} did not answer with a JSON object")
    return value


def _refuse_inside(url: str) -> None:
    """:raises FetchFailed: another scheme, or a host with an address that is not a public one.

    Where the portal itself runs without TLS, on one machine, peers on that machine are allowed.
    """
    parts = urlsplit(url)
    schemes = {"https"} if settings.IS_HTTPS and not settings.PRIVATE_PEERS else {"https", "http"}
    if parts.scheme not in schemes or not parts.hostname or parts.username is not None:
        raise FetchFailed(f"{url} is not an address to fetch from")
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except OSError as error:
        raise FetchFailed(f"{parts.hostname} cannot be resolved") from error
    for entry in found:
        address = ipaddress.ip_address(entry[4][0])
        is_inside = address.is_link_local or address.is_multicast or address.is_unspecified
        if is_inside or not (address.is_global or settings.PRIVATE_PEERS):
            raise FetchFailed(f"{parts.hostname} is not a public address")
