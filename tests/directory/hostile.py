"""An identity provider on loopback that keeps the protocol, but for the one lie it was told to tell.

Discovery, authorization with PKCE, token, keys and userinfo over HTTP, as any OpenID Connect provider answers them; the
issuer's address names a directory, as Entra's does. `tests.directory.test_hostile_providers` tells the lies.
"""

import base64
import hashlib
import http.server
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, override
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

DIRECTORY = "11111111-2222-3333-4444-555555555555"
OTHER_DIRECTORY = "99999999-2222-3333-4444-555555555555"
CLIENT, SECRET = "seatkeeper-portal", "a-secret-of-the-client"
ACCESS_TOKEN = "an-access-token-of-the-provider"
OURS = rsa.generate_private_key(public_exponent=65537, key_size=2048)
THEIRS = rsa.generate_private_key(public_exponent=65537, key_size=2048)

type Claims = dict[str, Any]


def jwk(private: rsa.RSAPrivateKey, kid: str, **extra: Any) -> dict[str, Any]:
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key()))
    return {**public, "kid": kid, "use": "sig", **extra}


def encoded(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(claims: Claims, key: Any = OURS, algorithm: str = "RS256", **headers: Any) -> str:
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": "k1", **headers})


def unsigned(header: Any, claims: Any, signature: bytes = b"") -> str:
    return f"{encoded(header)}.{encoded(claims)}.{encoded(signature)}"


@dataclass(frozen=True)
class Lie:
    """What the provider does otherwise than an honest one; each part is given what the honest answer would be."""

    claims: Callable[[Claims], Claims] = lambda honest: honest
    token: Callable[[Claims], object] = signed
    answer: Callable[[dict[str, Any]], object] = lambda honest: honest
    userinfo: Callable[[Claims], object] = lambda honest: honest
    keys: Callable[[list[Any]], object] = lambda honest: honest
    configuration: Callable[[dict[str, Any]], object] = lambda honest: honest
    asks_for_verifier: bool = True


class Provider:
    """One running provider. `subject` is whoever signs in there."""

    def __init__(self, directory: str = DIRECTORY) -> None:
        self.lie = Lie()
        self.subject = "subject-of-the-visitor"
        self.issued: list[str] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        self._codes: dict[str, dict[str, str]] = {}
        self._current: dict[str, str] = {}
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answering)
        self._server.provider = self  # type: ignore[attr-defined]
        self.host = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.issuer = f"{self.host}/{directory}/v2.0"
        self.directory = directory
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def configuration(self) -> object:
        return self.lie.configuration(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.host}/authorize",
                "token_endpoint": f"{self.host}/token",
                "jwks_uri": f"{self.host}/keys",
                "userinfo_endpoint": f"{self.host}/userinfo",
            }
        )

    def keys(self) -> object:
        return {"keys": self.lie.keys([jwk(OURS, "k1")])}

    def authorize(self, query: dict[str, str]) -> str:
        """The address that the browser is sent back to."""
        code = secrets.token_urlsafe(16)
        self._codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state'], 'iss': self.issuer})}"

    def exchange(self, form: Mapping[str, str], authorization: str) -> tuple[int, object]:
        """The answer of the token endpoint; a code is good once, for the client and the verifier it was made for."""
        self.asked.append(("token", dict(form)))
        asked = self._codes.pop(form.get("code", ""), None)
        known = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if (
            asked is None
            or authorization != f"Basic {known}"
            or form.get("redirect_uri") != asked["redirect_uri"]
            or (self.lie.asks_for_verifier and encoded(verifier) != asked["code_challenge"])
        ):
            return 400, {"error": "invalid_grant"}
        self._current = asked
        token = self.lie.token(self.lie.claims(self.honest_claims(asked["nonce"])))
        if isinstance(token, str):
            self.issued.append(token)
        honest = {"access_token": ACCESS_TOKEN, "token_type": "Bearer", "id_token": token}
        return 200, self.lie.answer(honest)

    def userinfo(self) -> object:
        return self.lie.userinfo({"sub": self.subject, "email": "visitor@contoso.example"})

    def honest_claims(self, nonce: str) -> Claims:
        now = int(time.time())
        return {
            "iss": self.issuer,
            "aud": CLIENT,
            "sub": self.subject,
            "tid": self.directory,
            "oid": "object-of-the-visitor",
            "nonce": nonce,
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            "auth_time": now,
            "name": "Vera Visitor",
            "email": "visitor@contoso.example",
            "acct": 0,
            "amr": ["pwd", "mfa"],
        }


class _Answering(http.server.BaseHTTPRequestHandler):
    @property
    def _provider(self) -> Provider:
        provider: Provider = self.server.provider  # type: ignore[attr-defined]
        return provider

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/authorize":
            self.send_response(302)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            self.send_header("Location", self._provider.authorize(query))
            self.end_headers()
        elif parts.path.endswith("/.well-known/openid-configuration"):
            self._send(200, self._provider.configuration())
        elif parts.path == "/keys":
            self._send(200, self._provider.keys())
        elif parts.path == "/userinfo":
            self._send(200, self._provider.userinfo())
        else:
            self._send(404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body, keep_blank_values=True).items()}
        self._send(*self._provider.exchange(form, self.headers.get("Authorization", "")))

    def _send(self, status: int, value: object) -> None:
        """Bytes as they are, a text as the address of a redirect, anything else as JSON."""
        if isinstance(value, str):
            self.send_response(302)
            self.send_header("Location", value)
            self.end_headers()
            return
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass
