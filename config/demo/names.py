"""The demo's name server: answers for the TXT records that were published on the page /demo/names/, over UDP.

`python -m config.demo.names --address 127.0.0.1:5353 --file records.json` serves until it is told to stop. It knows
nothing but the file: a JSON object of names with their lists of texts. A name `servfail.<anything>` fails and one
`silent.<anything>` gets no answer, as servers of others do.
"""

import argparse
import json
import signal
import socketserver
import threading
from pathlib import Path
from typing import override

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

TTL = 5


def published(file: Path) -> dict[str, list[str]]:
    """The texts of each name."""
    try:
        found: dict[str, list[str]] = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    return found


def publish(file: Path, name: str, text: str) -> None:
    """Add a text to a name; twice is once."""
    records = published(file)
    texts = records.setdefault(name.lower().rstrip("."), [])
    if text not in texts:
        texts.append(text)
    _write(file, records)


def withdraw(file: Path, name: str) -> None:
    """Take all texts of a name away."""
    records = published(file)
    records.pop(name.lower().rstrip("."), None)
    _write(file, records)


def answer(question: bytes, file: Path) -> bytes | None:
    """What is sent back to a question; None where nothing is.

    :raises dns.exception.DNSException: it is no question.
    """
    asked = dns.message.from_wire(question)
    reply = dns.message.make_response(asked)
    reply.flags |= dns.flags.AA
    if len(asked.question) != 1:
        reply.set_rcode(dns.rcode.FORMERR)
        return reply.to_wire()
    wanted = asked.question[0]
    name = wanted.name.to_text(omit_final_dot=True).lower()
    if "silent" in name.split("."):
        return None
    if "servfail" in name.split("."):
        reply.set_rcode(dns.rcode.SERVFAIL)
        return reply.to_wire()
    texts = published(file).get(name)
    if texts is None:
        reply.set_rcode(dns.rcode.NXDOMAIN)
    elif wanted.rdtype == dns.rdatatype.TXT:
        reply.answer.append(
            dns.rrset.from_text_list(wanted.name, TTL, "IN", "TXT", [_quoted(each) for each in texts])
        )
    return reply.to_wire()


class _Question(socketserver.BaseRequestHandler):
    @override
    def handle(self) -> None:
        data, socket = self.request
        try:
            reply = answer(data, self.server.file)  # type: ignore[attr-defined]
        except dns.exception.DNSException:
            return
        if reply is not None:
            socket.sendto(reply, self.client_address)


def serve(host: str, port: int, file: Path) -> socketserver.ThreadingUDPServer:
    """A server that answers in threads of its own; `shutdown` stops it."""
    server = socketserver.ThreadingUDPServer((host, port), _Question)
    server.daemon_threads = True
    server.file = file  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m config.demo.names", description=__doc__)
    parser.add_argument("--address", required=True, help="where to answer, as host:port")
    parser.add_argument("--file", type=Path, required=True, help="what was published")
    options = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    host, _colon, port = options.address.rpartition(":")
    server = serve(host, int(port), options.file)
    ended.wait()
    server.shutdown()


def _write(file: Path, records: dict[str, list[str]]) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(records, indent=1))
    partial.rename(file)


def _quoted(text: str) -> str:
    """A text as a record holds it: pieces of at most 255 signs."""
    pieces = [text[start : start + 255] for start in range(0, max(len(text), 1), 255)]
    return " ".join('"' + piece.replace("\\", "\\\\").replace('"', '\\"') + '"' for piece in pieces)


if __name__ == "__main__":
    main()
