"""Fetching from addresses that a tenant named: small, quick, never redirected, never from inside (F-24)."""

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx
from django.conf import settings

from config.kit.objects import read_object

TOTAL_SECONDS = 10
LARGEST = 256 * 1024
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
    addresses = _public_addresses(url)
    parts = urlsplit(url)
    body = bytearray()
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
                method="GET" if form is None else "POST",
                data=form,
                auth=auth,
                headers={"Accept": "application/json", **(headers or {}), "Host": parts.netloc},
                extensions={"sni_hostname": parts.hostname},
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
        return read_object(bytes(body))
    except ValueError as error:
        raise FetchFailed(f"{url} did not answer with a JSON object: {error}") from error


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
        super().__init__(trust_env=False)
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(trust_env=False), network_backend=_Backend(deadline)
        )


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
    try:
        found = socket.getaddrinfo(parts.hostname, port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise FetchFailed(f"{parts.hostname} cannot be resolved") from error
    texts = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not texts or any(_is_inside(text) for text in texts):
        raise FetchFailed(f"{parts.hostname} is not a public address")
    return texts[:3]


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
