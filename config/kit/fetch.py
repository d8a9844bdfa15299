"""Fetching from addresses that a tenant named: small, quick, never redirected, never from inside (F-24)."""

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx
from django.conf import settings

from config.kit.objects import read_object

TOTAL_SECONDS = 10
LARGEST = 256 * 1024
# Of the answer to what was sent: enough to say what was wrong.
MOST_READ = 2_000
# Below these, other services listen, to whom nothing is said in a tenant's name.
FIRST_FREE_PORT = 1024
WEB_PORTS = {"https": 443, "http": 80}
# IPv4 written as IPv6: behind a translator (RFC 6052), and as it was meant once (RFC 4291 §2.5.5.1).
_DRESSED = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"))


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

    The name is resolved once: the connection goes to the address that was looked at, whatever the name says by then.

    :raises FetchFailed: unreachable, slow, too large, redirected, an error status, not a JSON object, or an
        address that leads into the vendor's own network.
    """
    deadline = time.monotonic() + seconds
    method = "GET" if form is None else "POST"
    named = {"Accept": "application/json", **(headers or {})}
    body = bytearray()
    with _answer(url, deadline, method=method, data=form, auth=auth, headers=named) as response:
        if response.status_code != httpx.codes.OK:
            raise FetchFailed(f"{url} answered {response.status_code}")
        for piece in response.iter_bytes():
            body += piece
            if len(body) > LARGEST or time.monotonic() > deadline:
                raise FetchFailed(f"{url} sends too much or too slowly")
    try:
        return read_object(bytes(body))
    except ValueError as error:
        raise FetchFailed(f"{url} did not answer with a JSON object: {error}") from error


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver answered: its status, and the beginning of its text."""

    status: int
    text: str


def post(url: str, *, content: bytes, headers: dict[str, str], seconds: float = TOTAL_SECONDS) -> Answer:
    """Send `content` to `url`, within `seconds`; the answer, whatever its status. Not inside a transaction.

    Guarded as `fetch_json` is. Of the answer's body the first 2,000 bytes are read.

    :raises FetchFailed: unreachable, slow, or an address that leads into the vendor's own network.
    """
    deadline = time.monotonic() + seconds
    body = bytearray()
    with _answer(url, deadline, method="POST", content=content, headers=headers) as response:
        for piece in response.iter_raw():
            body += piece
            if len(body) >= MOST_READ or time.monotonic() > deadline:
                break
        text = bytes(body[:MOST_READ]).decode("utf-8", "replace").replace("\0", "")
        return Answer(response.status_code, text)


def check_address(url: str) -> None:
    """Whether something may be sent to `url`, as far as it says itself: names are looked up when it is.

    :raises FetchFailed: another scheme or port, or the vendor's own network.
    """
    host = _web_host(url)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return
    if _is_inside(host):
        raise FetchFailed(f"{host} is not a public address")


@contextmanager
def _answer(
    url: str,
    deadline: float,
    *,
    method: str,
    headers: dict[str, str],
    auth: tuple[str, str] | None = None,
    **request: Any,
) -> Iterator[httpx.Response]:
    """The answer to one request, its body still to be read. :raises FetchFailed: there is none in time."""
    addresses = _public_addresses(url)
    parts = urlsplit(url)
    seconds = max(deadline - time.monotonic(), 0)
    try:
        with (
            httpx.Client(
                transport=_Transport(deadline),
                timeout=httpx.Timeout(min(5, seconds), connect=min(3, seconds)),
                follow_redirects=False,
                trust_env=False,
            ) as client,
            _opened(
                client,
                addresses,
                url,
                method=method,
                auth=auth,
                headers={**headers, "Host": parts.netloc},
                extensions={"sni_hostname": parts.hostname},
                **request,
            ) as response,
        ):
            yield response
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise FetchFailed(f"{url}: {error}") from error


class _Stream(httpcore.NetworkStream):
    """A connection on which nothing is waited for past the deadline, however often a little comes in.

    httpx limits each wait by itself: who sends one sign of a header every few seconds would hold the caller for hours.
    """

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline, timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline, timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(self._deadline, timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.SyncBackend):
    """Opens connections that end at the deadline."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        left = _left(self._deadline, timeout, httpcore.ConnectTimeout)
        stream = super().connect_tcp(host, port, left, local_address, socket_options)
        return _Stream(stream, self._deadline)


class _Transport(httpx.HTTPTransport):
    """One request's connections, all over at the deadline."""

    def __init__(self, deadline: float) -> None:
        super().__init__(verify=_tls(), trust_env=False)
        self._pool = httpcore.ConnectionPool(ssl_context=_tls(), network_backend=_Backend(deadline))


@cache
def _tls() -> ssl.SSLContext:
    """Made once, since it reads all certificates of authorities; nothing of a connection is kept in it."""
    return httpx.create_ssl_context(trust_env=False)


def _left(deadline: float, timeout: float | None, error: type[Exception]) -> float:
    """How long may still be waited. :raises error: not at all."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise error("the time is over")
    return left if timeout is None else min(left, timeout)


@contextmanager
def _opened(
    client: httpx.Client,
    addresses: Sequence[str],
    url: str,
    *,
    method: str,
    auth: tuple[str, str] | None,
    **request: Any,
) -> Iterator[httpx.Response]:
    """The answer of the first of the addresses to which a connection can be made."""
    for number, address in enumerate(addresses, start=1):
        pinned = httpx.URL(url).copy_with(host=address)
        try:
            response = client.send(client.build_request(method, pinned, **request), auth=auth, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            if number == len(addresses):
                raise
        else:
            break
    try:
        yield response
    finally:
        response.close()


def _public_addresses(url: str) -> Sequence[str]:
    """The addresses of the host of `url`, at most three.

    Where the portal itself runs without TLS, on one machine, peers on that machine are allowed.

    :raises FetchFailed: another scheme, or a host with an address that is not a public one.
    """
    host = _web_host(url)
    try:
        found = socket.getaddrinfo(host, urlsplit(url).port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise FetchFailed(f"{host} cannot be resolved") from error
    texts = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not texts or any(_is_inside(text) for text in texts):
        raise FetchFailed(f"{host} is not a public address")
    return texts[:3]


def _web_host(url: str) -> str:
    """The host of an address of the web. :raises FetchFailed: it is of another kind, or at another service's port."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise FetchFailed(f"{url} is not an address to fetch from") from error
    schemes = {"https"} if settings.IS_HTTPS and not settings.PRIVATE_PEERS else {"https", "http"}
    if parts.scheme not in schemes or not parts.hostname or parts.username is not None:
        raise FetchFailed(f"{url} is not an address to fetch from")
    if port is not None and port < FIRST_FREE_PORT and port != WEB_PORTS[parts.scheme]:
        raise FetchFailed(f"{url} is not at a port of the web")
    return parts.hostname


def _is_inside(text: str) -> bool:
    """Whether an address is one of the vendor's own network, or of nobody's, also in the dress of another one."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        dressed = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if dressed is not None:
            return _is_inside(str(dressed))
        is_plain = address.is_loopback or address.is_unspecified
        if not is_plain and any(address in network for network in _DRESSED):
            return _is_inside(str(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)))
    if isinstance(address, ipaddress.IPv6Address) and address.is_site_local:
        # Withdrawn, still used inside, and global to Python.
        return True
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return True
    return not (address.is_global or settings.PRIVATE_PEERS)
