"""The demo's identity providers: one OpenID Connect issuer per demo tenant, with Entra's claims, no passwords.

`python -m config.demo.identity` serves the issuers that `DEMO_ISSUERS` names, each on its own port. Protocol and
tokens are those of oidc-provider-mock; its account form is replaced by a list of the tenant's people, and
`login_hint` with the mail address of one of them signs in at once, unless `prompt=login` asks for the list.
"""

import argparse
import io
import json
import os
import signal
import threading
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, override
from urllib.parse import parse_qs, urlencode, urlsplit

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # the issuers are on loopback

import flask
import jinja2
import joserfc.jwk
import oidc_provider_mock
import werkzeug.exceptions
import werkzeug.serving
from oidc_provider_mock._storage import Client, ClientAllowAny, storage

from config.demo.environment import client_of, issuers, write_private
from config.demo.people import Person, Tenant, tenant

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_PAGES = Path(__file__).with_name("identity_pages")
_AUTHORIZE = "/oauth2/authorize"


class PortalClient(Client):  # type: ignore[misc]  # the package has no types
    """The portal as registered with one issuer; it may be sent back to any of its own addresses."""

    @override
    def check_redirect_uri(self, redirect_uri: str) -> bool:
        assert not isinstance(self.redirect_uris, ClientAllowAny)
        return redirect_uri.startswith(tuple(self.redirect_uris))


class Issuer:
    """The WSGI application of one tenant's identity provider, built at its first request."""

    def __init__(
        self, home: Tenant, *, client_id: str, client_secret: str, public_url: str, state: Path
    ) -> None:
        self._tenant = home
        self._client = PortalClient(
            id=client_id,
            secret=client_secret,
            redirect_uris=[f"{public_url.rstrip('/')}/"],
            allowed_scopes=Client.SCOPES_SUPPORTED,
            token_endpoint_auth_method=ClientAllowAny(),
        )
        self._key_file = state / f"{home.key}.jwk"
        self._building = threading.Lock()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"] == _AUTHORIZE:
            self._follow_hint(environ)
        with self._building:
            application = self._application
        return application(environ, start_response)

    @cached_property
    def _application(self) -> "WSGIApplication":
        app = flask.Flask("oidc_provider_mock")
        oidc_provider_mock.init_app(
            app,
            require_client_registration=True,
            user_claims=[
                oidc_provider_mock.User(
                    sub=self._tenant.object_id(person), claims=claims_of(self._tenant, person)
                )
                for person in self._tenant.people
            ],
        )
        app.debug = False
        app.secret_key = os.urandom(32)
        app.jinja_loader = jinja2.ChoiceLoader([jinja2.FileSystemLoader(_PAGES), app.jinja_loader])  # type: ignore[list-item]
        app.context_processor(lambda: {"tenant": self._tenant, "people": _listed(self._tenant)})
        key = self._signing_key()

        def prepare() -> None:
            storage.jwk = key
            storage.store_client(self._client)
            if flask.request.method == "POST" and flask.request.path == _AUTHORIZE:
                _refuse_strangers(flask.request.form)

        app.before_request(prepare)
        return app.wsgi_app

    def _follow_hint(self, environ: "WSGIEnvironment") -> None:
        """Turn a request whose hint names one of the tenant's people into that person's choice.

        Not where they are to be asked again: then they choose themselves on the list.
        """
        query = parse_qs(environ.get("QUERY_STRING", ""))
        if "login" in query.get("prompt", [""])[0].split():
            return
        hint = query.get("login_hint", [""])[0].strip().lower()
        for person in self._tenant.people:
            if hint == self._tenant.mail(person):
                body = urlencode({"sub": self._tenant.object_id(person)}).encode()
                environ["REQUEST_METHOD"] = "POST"
                environ["CONTENT_TYPE"] = "application/x-www-form-urlencoded"
                environ["CONTENT_LENGTH"] = str(len(body))
                environ["wsgi.input"] = io.BytesIO(body)

    def _signing_key(self) -> joserfc.jwk.RSAKey:
        """The issuer's key, kept: who cached it need not fetch it again after a restart."""
        if not self._key_file.exists():
            key = joserfc.jwk.RSAKey.generate_key(2048, private=True)
            write_private(self._key_file, json.dumps(key.as_dict(private=True)))
        return joserfc.jwk.RSAKey.import_key(json.loads(self._key_file.read_text()))


def claims_of(home: Tenant, person: Person) -> dict[str, object]:
    """The claims of a person's tokens beside the protocol's own, named as Entra names them."""
    return {
        "tid": home.external_id,
        "oid": home.object_id(person),
        "acct": 0,  # a member; a guest would be 1, and all of these are tokens of the home tenant
        "name": person.full_name,
        "given_name": person.given_name,
        "family_name": person.surname,
        "preferred_username": home.mail(person),
        "email": home.mail(person),
        "amr": ["pwd", "mfa"],
        "ver": "2.0",
    }


def serve(addresses: dict[str, str], *, public_url: str, state: Path) -> Callable[[], None]:
    """Serve each issuer on its address, in threads; returns what stops them."""
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    servers = []
    for key, address in addresses.items():
        client_id, client_secret = client_of(key)
        issuer = Issuer(
            tenant(key), client_id=client_id, client_secret=client_secret, public_url=public_url, state=state
        )
        at = urlsplit(address)
        if not at.hostname or not at.port:
            raise ValueError(f"{address} lacks host or port")
        server = werkzeug.serving.make_server(at.hostname, at.port, issuer, threaded=True)
        threading.Thread(target=server.serve_forever, name=key, daemon=True).start()
        servers.append(server)

    def stop() -> None:
        for server in servers:
            server.shutdown()

    return stop


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m config.demo.identity", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True, help="where the signing keys are kept")
    parser.add_argument("--public-url", required=True, help="the portal's address, where sign-in ends")
    options = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    stop = serve(issuers(), public_url=options.public_url, state=options.state_dir)
    ended.wait()
    stop()


def _listed(home: Tenant) -> list[dict[str, Any]]:
    return [
        {
            "subject": home.object_id(person),
            "name": person.full_name,
            "initials": person.given_name[0] + person.surname.split()[-1][0],
            "mail": home.mail(person),
            "does": person.does,
        }
        for person in home.people
    ]


def _refuse_strangers(form: Any) -> None:
    """The mock makes an account for any subject that is posted; a directory knows its people."""
    if form.get("action") != "deny" and not storage.get_user(form.get("sub", "")):
        raise werkzeug.exceptions.BadRequest("This directory has no such account.")


if __name__ == "__main__":
    main()
