"""A receiver of webhooks: verifies each as the portal does, and refuses some when told to."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import stripe


class Receiver:
    """Keeps the events whose signature holds, in the order of their arrival."""

    def __init__(self, secret: str) -> None:
        self.events: list[stripe.Event] = []
        self.forged = 0
        self.refuse_next = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                payload = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(receiver.take(payload, self.headers["Stripe-Signature"], secret))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hooks/stripe/"

    def take(self, payload: bytes, signature: str, secret: str) -> int:
        """The status to answer with."""
        try:
            event = stripe.Webhook.construct_event(payload, signature, secret)
        except stripe.SignatureVerificationError:
            self.forged += 1
            return 400
        if self.refuse_next:
            self.refuse_next -= 1
            return 500
        self.events.append(event)
        return 200

    def types(self) -> list[str]:
        return [event.type for event in self.events]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
