"""`make check`: everything that can be said of the code without running its tests.

All checks run even when one fails; what a failed one printed is shown.
"""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from cryptography.fernet import Fernet

from config.demo import throwaway

CHECKOUT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
# What an installation that faces people has in its environment, beside its own servers' addresses.
PRODUCTION = {
    "DEMO": "false",
    "PUBLIC_URL": "https://seatkeeper.example",
    "SECRET_KEY": secrets.token_urlsafe(48),
    "FIELD_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    "STRIPE_SECRET_KEY": "rk_test_example",
    "STRIPE_PUBLISHABLE_KEY": "pk_test_example",
    "STRIPE_API_BASE": "https://api.stripe.com",
    "STRIPE_JS_URL": "https://js.stripe.com/v3/",
    "CACHE_URL": "rediss://:secret@cache.example:6379/0",
    "EMAIL_URL": "smtp+tls://user:secret@mail.example:587",
}


def commands() -> dict[str, list[str]]:
    """Every check by what it is about, in the order of their running."""
    manage = [sys.executable, "manage.py"]
    templates = [str(path) for path in sorted((CHECKOUT / "templates").rglob("*.html"))]
    return {
        "lint": [str(BIN / "ruff"), "check", "."],
        "format": [str(BIN / "ruff"), "format", "--check", "."],
        "templates": [str(BIN / "djade"), "--check", "--target-version", "6.1", *templates],
        "layers": [str(BIN / "lint-imports")],
        "types": [str(BIN / "mypy")],
        "missing migrations": [*manage, "makemigrations", "--check", "--dry-run"],
        "migrations": [*manage, "migrate", "--database", "owner", "--verbosity", "0"],
        "deployment": [*manage, "check", "--deploy", "--database", "default", "--fail-level", "WARNING"],
    }


def main() -> int:
    failed = []
    with throwaway.servers(os.environ) as settings:
        environment = os.environ | settings | PRODUCTION | {"DJANGO_SETTINGS_MODULE": "config.settings"}
        for name, command in commands().items():
            if not _passes(name, command, environment):
                failed.append(name)
    if failed:
        print(f"\nFailed: {', '.join(failed)}")
    return 1 if failed else 0


def _passes(name: str, command: list[str], environment: Mapping[str, str]) -> bool:
    begun = time.monotonic()
    done = subprocess.run(
        command,
        env=environment,
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    passed = done.returncode == 0
    print(f"{time.monotonic() - begun:6.1f} s  {name}: {'ok' if passed else 'FAILED'}", flush=True)
    if not passed:
        print(done.stdout, flush=True)
    return passed


if __name__ == "__main__":
    sys.exit(main())
