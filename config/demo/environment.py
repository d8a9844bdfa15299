"""The settings of an installation whose servers are embedded: what `config.settings` reads from the environment."""

import base64
import hmac
import json
import os
import secrets
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from config.demo.people import TENANTS
from config.demo.servers import LOGINS, SUPERUSER, free_port
from config.kit.secrets import DEMO_MARK

DATABASE_VARIABLES = {
    "DATABASE_OWNER_URL": "seatkeeper_owner",
    "DATABASE_URL": "seatkeeper_app",
    "DATABASE_WORKER_URL": "seatkeeper_worker",
}
# Kept from run to run where possible; those of the identity provider always (an issuer is part of account keys).
SERVER_PORTS = ("postgresql", "valkey", "processor", "names")
IDENTITY_PORTS = tuple(f"identity-{tenant.key}" for tenant in TENANTS)


class LiveKey(Exception):
    """A demo or test was about to start beside a key that charges real cards."""

    def __init__(self, variable: str) -> None:
        super().__init__(
            f"{variable} holds a live key of the card processor. The demo and the tests refuse to run beside it:"
            f" unset {variable} and try again."
        )


def refuse_live_keys(environment: Mapping[str, str]) -> None:
    """:raises LiveKey: one of the variables holds a live secret, restricted or publishable key."""
    for variable, value in environment.items():
        if value.strip().startswith(("sk_live_", "rk_live_", "pk_live_")):
            raise LiveKey(variable)


class Kept:
    """Generated secrets and ports in one file, readable by its owner only; each is made at its first use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._values: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, name: str, make: Callable[[], str]) -> str:
        """The value kept under `name`, or what `make` returns, kept from now on."""
        if name not in self._values:
            self.put(name, make())
        return self._values[name]

    def put(self, name: str, value: str) -> None:
        """Keep `value` under `name`."""
        self._values[name] = value
        write_private(self._path, json.dumps(self._values, indent=1))

    def password(self, name: str) -> str:
        """The password kept under `name`; letters and digits, so that it needs no quoting anywhere."""
        return self.get(f"password-{name}", lambda: secrets.token_hex(24))

    def port(self, name: str) -> int:
        """The port kept under `name`; chosen among those free at the first call."""
        return int(self.get(f"port-{name}", lambda: str(free_port())))

    def choose_port_anew(self, name: str) -> int:
        """Keep another port under `name`: something else listens on the old one."""
        self.put(f"port-{name}", str(free_port()))
        return self.port(name)


def database_passwords(kept: Kept) -> dict[str, str]:
    """The passwords of the embedded PostgreSQL."""
    return {login: kept.password(login) for login in (SUPERUSER, *LOGINS)}


def key_settings(kept: Kept) -> dict[str, str]:
    """Secrets, and the addresses of the card processor and the identity providers."""
    processor = f"http://127.0.0.1:{kept.port('processor')}"
    return {
        "SECRET_KEY": kept.get("secret-key", new_secret_key),
        "FIELD_ENCRYPTION_KEYS": kept.get("field-encryption-key", new_encryption_key),
        "STRIPE_SECRET_KEY": kept.get("processor-secret-key", lambda: f"sk_test_{secrets.token_hex(24)}"),
        "STRIPE_PUBLISHABLE_KEY": kept.get(
            "processor-publishable-key", lambda: f"pk_test_{secrets.token_hex(24)}"
        ),
        "STRIPE_WEBHOOK_SECRETS": kept.get(
            "processor-webhook-secret", lambda: f"whsec_{secrets.token_hex(24)}"
        ),
        "STRIPE_API_BASE": processor,
        "STRIPE_JS_URL": f"{processor}/v3/",
        "DNS_SERVERS": f"127.0.0.1:{kept.port('names')}",
        "DEMO_CLIENT_SECRET": kept.get("identity-client-secret", lambda: secrets.token_hex(24)),
        "DEMO_ISSUERS": issuers_setting(
            (tenant.key, kept.port(f"identity-{tenant.key}")) for tenant in TENANTS
        ),
    }


def issuers_setting(ports: Iterable[tuple[str, int]]) -> str:
    """`DEMO_ISSUERS`: each demo tenant with the address of its identity provider, without a final slash."""
    return ",".join(f"{tenant}=http://127.0.0.1:{port}" for tenant, port in ports)


def issuers() -> dict[str, str]:
    """The issuer of each demo tenant by its key, from `DEMO_ISSUERS`; empty outside the demo."""
    entries = filter(None, os.environ.get("DEMO_ISSUERS", "").split(","))
    return dict(entry.split("=", 1) for entry in entries)


def client_of(tenant: str) -> tuple[str, str]:
    """Id and secret with which the portal is registered at a demo tenant's issuer."""
    secret = hmac.new(os.environ["DEMO_CLIENT_SECRET"].encode(), tenant.encode(), "sha256").hexdigest()
    return f"seatkeeper-{tenant}", secret


def processor_command(settings: Mapping[str, str], state: Path) -> list[str]:
    """The command that serves the card processor which `settings` name; it keeps its state in `state`."""
    address = urlsplit(settings["STRIPE_API_BASE"])
    return [
        *(sys.executable, "-m", "config.demo.processor"),
        *("--host", str(address.hostname), "--port", str(address.port)),
        *("--state-dir", str(state)),
        *("--webhook-url", f"{settings['PUBLIC_URL']}/hooks/stripe/"),
        *("--webhook-secret", settings["STRIPE_WEBHOOK_SECRETS"]),
        *("--clock-file", settings["CLOCK_FILE"]),
        *("--secret-key", settings["STRIPE_SECRET_KEY"]),
        *("--publishable-key", settings["STRIPE_PUBLISHABLE_KEY"]),
    ]


def names_command(settings: Mapping[str, str]) -> list[str]:
    """The command that serves the name server which `settings` name."""
    return [
        *(sys.executable, "-m", "config.demo.names"),
        *("--address", settings["DNS_SERVERS"], "--file", str(names_file(settings))),
    ]


def names_file(settings: Mapping[str, str]) -> Path:
    """Where the demo's name server finds what was published; beside the clock."""
    return Path(settings["CLOCK_FILE"]).with_suffix(".names")


def new_secret_key() -> str:
    """A fresh key for signatures that says that it is a demo's."""
    return f"{DEMO_MARK}{secrets.token_urlsafe(48)}"


def new_encryption_key() -> str:
    """A fresh Fernet key that says that it is a demo's: eight letters of the 44 are fixed."""
    return f"{DEMO_MARK}key{base64.urlsafe_b64encode(secrets.token_bytes(26)).decode()}"


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step by one that only its owner may read."""
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.rename(path)
