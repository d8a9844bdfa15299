"""Fetching from addresses that a tenant named: nothing of the vendor's own network is reached (F-24, reliability §6)."""

import contextlib
import http.server
import json
import socket
import threading
import time

import pytest

from config.kit import fetch
from config.kit.fetch import FetchFailed, fetch_json

# What a tenant might enter to reach the inside, by its form.
INSIDE = [
    *(
        "https://127.0.0.1/",
        "https://localhost/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
    ),
    *(
        "https://0177.0.0.1/",
        "https://0.0.0.0/",
        "https://10.0.0.1/",
        "https://172.16.0.1/",
        "https://192.168.1.1/",
    ),
    *(
        "https://169.254.169.254/latest/meta-data/",
        "https://100.64.0.1/",
        "https://192.0.2.1/",
        "https://198.18.0.1/",
    ),
    *(
        "https://224.0.0.1/",
        "https://255.255.255.255/",
        "https://240.0.0.1/",
        "https://[::1]/",
        "https://[::]/",
    ),
    *("https://[fe80::1]/", "https://[fc00::1]/", "https://[fd00:ec2::254]/", "https://[ff02::1]/"),
    *("https://[::ffff:127.0.0.1]/", "https://[::ffff:169.254.169.254]/", "https://[64:ff9b::7f00:1]/"),
    *("https://127.0.0.1.:443/", "https://0177.1/", "https://0x7f.1/", "https://017700000001/"),
    *("https://[::ffff:7f00:1]/", "https://[::ffff:a9fe:a9fe]/", "https://[fec0::1]/"),
    *("https://[2001:0:4136:e378:8000:63bf:80ff:fffe]/", "https://[fe80::1%25lo]/", "https://169.254.170.2/"),
    *("https://[2002:7f00:1::]/", "https://[2001:db8::1]/", "https://[::127.0.0.1]/"),
]
NO_ADDRESSES = [
    *(
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "//example.com/",
    ),
    *(
        "https://",
        "https:///path",
        "https://user@example.com/",
        "https://user:pass@example.com/",
        "example.com",
    ),
    *("https://example.com:99999/", "https://[::1/", "https://exa mple.com/", "https://\u2024.example/", ""),
    *("javascript:alert(1)", "data:application/json,{}", "https://example.com\\@127.0.0.1/", "https://.../"),
]


class Peer(http.server.BaseHTTPRequestHandler):
    """Answers with what its server was told to answer."""

    def do_GET(self):
        self.server.seen.append((self.path, self.headers["Host"]))
        status, headers, body, pause = self.server.answer
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        for piece in body:
            try:
                self.wfile.write(piece)
                self.wfile.flush()
            except OSError:
                return
            time.sleep(pause)

    def log_message(self, *args):
        pass


@pytest.fixture
def peer():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Peer)
    server.seen, server.answer = [], (200, [], [b"{}"], 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def port(peer):
    return peer.server_address[1]


@pytest.mark.parametrize("url", INSIDE)
def test_nothing_inside_is_connected_to(url, settings, monkeypatch):
    settings.IS_HTTPS, settings.PRIVATE_PEERS = True, False
    monkeypatch.setattr(fetch.httpx, "Client", lambda **_: pytest.fail("connected"))

    with pytest.raises(FetchFailed):
        fetch_json(url)


@pytest.mark.parametrize(
    "url", ["https://169.254.169.254/", "https://[fe80::1]/", "https://0.0.0.0/", "https://224.0.0.1/"]
)
def test_a_machine_of_ones_own_has_no_metadata_service_either(url, settings, monkeypatch):
    settings.PRIVATE_PEERS = True
    monkeypatch.setattr(fetch.httpx, "Client", lambda **_: pytest.fail("connected"))

    with pytest.raises(FetchFailed):
        fetch_json(url)


@pytest.mark.parametrize("url", NO_ADDRESSES)
def test_what_is_no_address_is_refused(url, settings, monkeypatch):
    settings.IS_HTTPS, settings.PRIVATE_PEERS = True, False
    monkeypatch.setattr(fetch.httpx, "Client", lambda **_: pytest.fail("connected"))

    with pytest.raises(FetchFailed):
        fetch_json(url)


def test_a_host_with_one_public_and_one_private_address_is_refused(settings, monkeypatch):
    settings.IS_HTTPS, settings.PRIVATE_PEERS = True, False
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))
        for address in ("93.184.216.34", "10.0.0.7")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    with pytest.raises(FetchFailed, match="not a public address"):
        fetch_json("https://issuer.example/")


def test_a_name_that_is_rebound_after_the_look_is_not_followed(peer, monkeypatch):
    """The connection goes to the address that was looked at, with the name in the request."""
    looks = []

    def look(host, *_args, **_kwargs):
        looks.append(host)
        address = "127.0.0.1" if host in ("issuer.example", "127.0.0.1") else "192.0.2.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port(peer)))]

    monkeypatch.setattr(socket, "getaddrinfo", look)

    assert fetch_json(f"http://issuer.example:{port(peer)}/keys") == {}

    assert looks.count("issuer.example") == 1
    assert peer.seen == [("/keys", f"issuer.example:{port(peer)}")]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(peer, status):
    peer.answer = (status, [("Location", f"http://127.0.0.1:{port(peer)}/inside")], [b"{}"], 0)

    with pytest.raises(FetchFailed, match=f"answered {status}"):
        fetch_json(f"http://127.0.0.1:{port(peer)}/")

    assert [path for path, _host in peer.seen] == ["/"]


@pytest.mark.parametrize("body", [b"[]", b"nonsense", b'"text"', b"null", b"\xff\xfe", b"[" * 200_000])
def test_what_is_no_json_object_is_refused(peer, body):
    peer.answer = (200, [], [body], 0)

    with pytest.raises(FetchFailed):
        fetch_json(f"http://127.0.0.1:{port(peer)}/")


def test_too_much_is_cut_off(peer):
    piece = b" " * 65_536
    peer.answer = (200, [], [piece] * 160, 0)

    with pytest.raises(FetchFailed, match="too much"):
        fetch_json(f"http://127.0.0.1:{port(peer)}/")


def test_too_slow_is_cut_off(peer):
    peer.answer = (200, [], [b" "] * 100, 0.1)
    begun = time.monotonic()

    with pytest.raises(FetchFailed):
        fetch_json(f"http://127.0.0.1:{port(peer)}/", seconds=0.5)

    assert time.monotonic() - begun < 5


def test_a_header_that_drips_in_is_cut_off(peer):
    """Each sign comes in time, so that no wait for the next one ever ends."""
    peer.answer = (200, [], [b"{}"], 0)
    listening = socket.create_server(("127.0.0.1", 0))

    def drip():
        connection, _peer = listening.accept()
        with connection, contextlib.suppress(OSError):
            for sign in b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 200:
                connection.send(bytes([sign]))
                time.sleep(0.1)

    threading.Thread(target=drip, daemon=True).start()
    begun = time.monotonic()

    with listening, pytest.raises(FetchFailed):
        fetch_json(f"http://127.0.0.1:{listening.getsockname()[1]}/", seconds=0.5)

    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("port", [0, 1, 22, 25, 80, 110, 444, 587, 1023])
def test_another_service_of_a_public_machine_is_not_talked_to(port, settings, monkeypatch):
    settings.IS_HTTPS, settings.PRIVATE_PEERS = True, False
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(fetch.httpx, "Client", lambda **_: pytest.fail("connected"))

    with pytest.raises(FetchFailed, match="not at a port of the web"):
        fetch_json(f"https://issuer.example:{port}/")


@pytest.mark.parametrize("body", [b'{"a": 1, "a": 2}', b'{"a": NaN}', '{"a": 1}'.encode("utf-16")])
def test_what_two_readers_could_read_in_two_ways_is_refused(peer, body):
    peer.answer = (200, [], [body], 0)

    with pytest.raises(FetchFailed):
        fetch_json(f"http://127.0.0.1:{port(peer)}/")


def test_the_corpus_is_as_large_as_agreed():
    assert len({*INSIDE, *NO_ADDRESSES}) >= 50


def test_an_object_comes_back(peer):
    peer.answer = (200, [], [json.dumps({"issuer": "x"}).encode()], 0)

    assert fetch_json(f"http://127.0.0.1:{port(peer)}/") == {"issuer": "x"}
