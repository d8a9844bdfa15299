"""The HTTP side: connections, keys, CORS, the browser's files, the issuer's page and control."""

import base64
import json
import sys
import traceback
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from . import forms
from .api import Api, Question, Reply
from .control import Control, ControlError
from .errors import ApiError, Json

_BROWSER_FILES = Path(__file__).parent / "browser"
_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
}
_PAGES = {
    "/v3": "stripe.js",
    "/v3/": "stripe.js",
    "/v3/card": "card.html",
    "/v3/card.js": "card.js",
    "/v3/fields.css": "fields.css",
    "/v3/issuer": "issuer.html",
    "/v3/issuer.js": "issuer.js",
}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "font-src http: https: data:; base-uri 'none'; form-action 'none'"
)
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Request-Id, Stripe-Should-Retry, Idempotent-Replayed",
}
_PREFLIGHT = _CORS | {
    "Access-Control-Allow-Methods": "GET, POST, DELETE",
    "Access-Control-Allow-Headers": "authorization, content-type, idempotency-key, stripe-version",
    "Access-Control-Max-Age": "600",
}
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_LARGEST_BODY = 1 << 20


class Server(ThreadingHTTPServer):
    """One thread a connection; connections are kept open."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], api: Api, *, merchant: str) -> None:
        self.api = api
        self.control = Control(api)
        self.merchant = merchant
        super().__init__(address, Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no event; anything else is a fault of ours."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "seatkeeper-processor"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 120
    server: Server

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def do_OPTIONS(self) -> None:
        self._send(204, b"", _PREFLIGHT)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: request lines carry client secrets."""

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > _LARGEST_BODY:
            self.close_connection = True
            self._send_json(413, {"error": {"type": "invalid_request_error", "message": "Body too large."}})
            return
        body = self.rfile.read(length).decode("utf-8", "replace")
        url = urlsplit(self.path)
        try:
            if url.path.startswith("/v1/"):
                self._answer_api(url.path, url.query, body)
            elif url.path.startswith("/_control/"):
                self._answer_control(url.path.removeprefix("/_control/").strip("/"), url.query, body)
            elif url.path.startswith("/_issuer/"):
                self._answer_issuer(url.path, url.query, body)
            elif url.path in _PAGES and self.command == "GET":
                self._send_file(_PAGES[url.path])
            else:
                self._send_json(404, {"error": {"type": "invalid_request_error", "message": "Not found."}})
        except ConnectionError:
            self.close_connection = True
        except Exception:  # noqa: BLE001 - the last stop before the connection: answer 500 and go on
            traceback.print_exc(file=sys.stderr)
            self._send_json(
                500, {"error": {"type": "api_error", "message": "An error occurred in the processor itself."}}
            )

    def _answer_api(self, path: str, query: str, body: str) -> None:
        reply = self.server.api.answer(
            Question(
                method=self.command,
                path=unquote(path.rstrip("/")),
                query=query,
                body=body,
                key=self._key(),
                idempotency_key=self.headers.get("Idempotency-Key"),
                base_url=f"http://{self.headers.get('Host', '')}",
            )
        )
        self._send_reply(reply)

    def _send_reply(self, reply: Reply) -> None:
        if reply.is_lost:
            self.close_connection = True
            return
        self._send(
            reply.status, reply.body.encode(), reply.headers | _CORS | {"Content-Type": "application/json"}
        )

    def _key(self) -> str:
        scheme, _, rest = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return rest.strip()
        if scheme.lower() == "basic":
            try:
                return base64.b64decode(rest, validate=True).decode().partition(":")[0]
            except ValueError:
                return ""
        return ""

    def _answer_control(self, path: str, query: str, body: str) -> None:
        host = self.headers.get("Host", "").rsplit(":", 1)[0].strip("[]")
        if (
            self.client_address[0] not in _LOOPBACK
            or host not in _LOOPBACK
            or "Origin" in self.headers
            or "Sec-Fetch-Site" in self.headers
        ):
            self._send_json(403, {"error": "Control is for local programs only."})
            return
        try:
            params: Json = forms.parse(query) | (json.loads(body) if body else {})
            answer = self.server.control.answer(self.command, path, params)
        except (ControlError, ValueError, ApiError) as problem:
            self._send_json(400, {"error": str(problem)})
            return
        if answer is None:
            self._send_json(404, {"error": f"No such switch: {self.command} {path}"})
            return
        self._send_json(200, answer)

    def _answer_issuer(self, path: str, query: str, body: str) -> None:
        """What the issuer's page shows, and the cardholder's answer; the client secret is the key."""
        given = {name: values[0] for name, values in parse_qs(body or query).items()}
        intent = self.server.api.intent_with_secret(given.get("intent", ""), given.get("client_secret", ""))
        if intent is None:
            self._send_json(404, {"error": "No such payment."})
            return
        if self.command == "POST" and path == "/_issuer/answer":
            succeeds = given.get("outcome") == "succeeded"
            try:
                intent = self.server.api.authenticate(intent["id"], succeeds=succeeds)
            except ApiError:
                self._send_json(409, {"error": "This payment no longer waits for an answer."})
                return
        method = self.server.api.store.get(intent["payment_method"] or "") or {}
        self._send_json(
            200,
            {
                "status": intent["status"],
                "merchant": self.server.merchant,
                "amount": intent.get("amount"),
                "currency": intent.get("currency"),
                "card": {name: method["card"][name] for name in ("brand", "last4")} if method else None,
                "return_to": _return_to(intent),
            },
        )

    def _send_file(self, name: str) -> None:
        path = _BROWSER_FILES / name
        headers = {
            "Content-Type": _TYPES[path.suffix],
            "Cache-Control": "no-cache",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "cross-origin",
        }
        if path.suffix == ".html":
            headers["Content-Security-Policy"] = _PAGE_POLICY
        if path.suffix == ".js":
            headers |= _CORS
        self._send(200, path.read_bytes(), headers)

    def _send_json(self, status: int, body: Any) -> None:
        self._send(status, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        phrase = HTTPStatus(status).phrase
        lines = [f"HTTP/1.1 {status} {phrase}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {_one_line(value)}" for name, value in headers.items()]
        if self.close_connection:
            lines.append("Connection: close")
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body)
        self.wfile.flush()


def _one_line(value: str) -> str:
    return value.replace("\r", " ").replace("\n", " ")


def _return_to(intent: Json) -> str | None:
    """Where a cardholder goes who was sent to the issuer's page instead of seeing it in a window."""
    url = intent.get("_return_url")
    if not url:
        return None
    kind = intent["object"]
    result = {
        kind: intent["id"],
        f"{kind}_client_secret": intent["client_secret"],
        "redirect_status": "succeeded" if intent["status"] == "succeeded" else "failed",
    }
    return f"{url}{'&' if '?' in url else '?'}{urlencode(result)}"
