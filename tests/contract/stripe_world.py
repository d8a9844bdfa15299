"""seahaven-stripe-world as a process of its own, where it can be imported."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection

_PROGRAM = """
import sys
from seahaven.http import main
from seahaven_stripe_world import world
from seahaven_stripe_world.http_api import handle
main(world, handle, sys.argv[1:])
"""


@contextmanager
def serve() -> Iterator[str]:
    """Its address; every path under `/worlds/<name>` is an account of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [
        "--port",
        str(port),
        "--max-instances",
        "0",
        "--reset-options",
        '{"startup": {"livemode": false}}',
    ]
    process = subprocess.Popen([sys.executable, "-c", _PROGRAM, *options])
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/")
            connection.getresponse()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
        finally:
            connection.close()
