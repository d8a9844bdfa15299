"""One address in front of one server or another, as a proxy or a floating address is in production."""

import socket
import threading
from contextlib import suppress


class Switch:
    """Passes TCP connections to 127.0.0.1:`to` until it is turned to another port."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, name="switch", daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def turn(self, to: int) -> None:
        """New connections go to the other port; those that are open end."""
        with self._lock:
            self._to = to
            left, self._open = self._open, set()
        for end in left:
            _hang_up(end)

    def close(self) -> None:
        """End everything."""
        _hang_up(self._listener)
        self._listener.close()
        self.turn(0)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        with self._lock:
            try:
                server = socket.create_connection(("127.0.0.1", self._to), timeout=5)
            except OSError:
                client.close()
                return
            server.settimeout(None)
            self._open |= {client, server}
        for source, target in ((client, server), (server, client)):
            threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        for end in (source, target):
            _hang_up(end)
            end.close()
        with self._lock:
            self._open -= {source, target}


def _hang_up(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
