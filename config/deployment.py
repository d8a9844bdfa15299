"""What an installation that faces people must have set, looked at by `check --deploy` and again at each start
(reliability §7).

An error keeps web server and worker from starting; a warning is for `check --deploy --fail-level WARNING` alone.
"""

import logging
import sys
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register, run_checks

from config import messages
from config.kit.secrets import is_of_demo

logger = logging.getLogger(__name__)

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
PROCESSOR, PROCESSOR_SCRIPT = "https://api.stripe.com", "https://js.stripe.com/"
# What gunicorn's arbiter and Celery take for a process that must not be started again.
CANNOT_START = 3
ENCRYPTED = frozenset({"require", "verify-ca", "verify-full"})
NOWHERE = ("filebased", "console", "dummy", "locmem")


def register_all() -> None:
    """The checks below, beside Django's own for deployments."""
    for check in (addresses, secrets, card_processor, mail, connections, translations):
        register(check, Tags.security, deploy=True)


def refuse_unless_sound() -> None:
    """End the process where an installation that others can reach is not safe to run.

    The demo, and one at an address of this machine alone, may run as they are.

    :raises SystemExit: with `CANNOT_START`; the log names each error.
    """
    if settings.DEMO or _is_here(settings.PUBLIC_URL):
        return
    found = run_checks(include_deployment_checks=True)
    errors = [message for message in found if message.is_serious() and not message.is_silenced()]
    for message in errors:
        logger.critical("Cannot start: %s (%s)", message.msg, message.id)
    if errors:
        sys.exit(CANNOT_START)


def addresses(**_: Any) -> Iterator[CheckMessage]:
    """How the installation is reached, and whom it believes about that."""
    if settings.DEMO:
        yield Error("DEMO is on: anybody may sign in as anybody.", id="deployment.E001")
    if not settings.PUBLIC_URL.startswith("https://"):
        yield Error("PUBLIC_URL must begin with https://.", id="deployment.E002")
    if any("*" in host or host.startswith(".") for host in settings.ALLOWED_HOSTS):
        yield Error("ALLOWED_HOSTS must name each host exactly.", id="deployment.E003")
    if settings.PRIVATE_PEERS:
        yield Error("PRIVATE_PEERS lets tenants reach this network.", id="deployment.E004")
    is_behind_proxy = settings.SECURE_PROXY_SSL_HEADER is not None
    if settings.TRUSTED_PROXIES < 0 or is_behind_proxy != bool(settings.TRUSTED_PROXIES):
        yield Error(
            "TRUSTED_PROXIES must be the number of proxies of BEHIND_PROXY, else limits count the wrong callers.",
            id="deployment.E005",
        )
    if not all(contact.startswith(("https://", "mailto:", "tel:")) for contact in settings.SECURITY_CONTACTS):
        yield Error(
            "SECURITY_CONTACTS must be addresses with https://, mailto: or tel:.", id="deployment.E014"
        )


def secrets(**_: Any) -> Iterator[CheckMessage]:
    """Keys of this installation's own."""
    keys = settings.FIELD_ENCRYPTION_KEYS
    for name, values in {"SECRET_KEY": [settings.SECRET_KEY], "FIELD_ENCRYPTION_KEYS": keys}.items():
        if any(is_of_demo(value) for value in values):
            yield Error(f"{name} was made for a demo.", id="deployment.E006")
    if not keys or not all(_is_fernet_key(key) for key in keys):
        yield Error("FIELD_ENCRYPTION_KEYS must hold Fernet keys.", id="deployment.E007")
    if len({*keys}) != len(keys) or settings.SECRET_KEY in keys:
        yield Error("Each key may be used for one thing only.", id="deployment.E008")


def card_processor(**_: Any) -> Iterator[CheckMessage]:
    """The real one, with a key that can do no more than it needs."""
    if settings.STRIPE_API_BASE != PROCESSOR or not settings.STRIPE_JS_URL.startswith(PROCESSOR_SCRIPT):
        yield Error("STRIPE_API_BASE or STRIPE_JS_URL is not the card processor's.", id="deployment.E009")
    secret, public = settings.STRIPE_SECRET_KEY, settings.STRIPE_PUBLISHABLE_KEY
    if not secret or not public or not all(settings.STRIPE_WEBHOOK_SECRETS or [""]):
        yield Error("A key of the card processor is missing.", id="deployment.E010")
    elif ("_live_" in secret) != ("_live_" in public):
        yield Error("One key of the card processor is live and the other is not.", id="deployment.E011")
    if secret.startswith("sk_live_"):
        yield Warning("STRIPE_SECRET_KEY can do everything; use a restricted key.", id="deployment.W001")


def mail(**_: Any) -> Iterator[CheckMessage]:
    """Mails leave this machine, on an encrypted way where they cross a network."""
    if any(name in settings.EMAIL_BACKEND for name in NOWHERE):
        yield Error("EMAIL_URL sends no mail.", id="deployment.E012")
    elif not _is_local(settings.EMAIL_HOST) and not (settings.EMAIL_USE_TLS or settings.EMAIL_USE_SSL):
        yield Warning(
            "Mails go to their server unencrypted; use smtp+tls:// or smtp+ssl://.", id="deployment.W002"
        )
    mailbox = urlsplit(settings.SUPPORT_MAILBOX)
    if mailbox.scheme not in ("", "imaps") and not _is_local(mailbox.hostname or ""):
        yield Warning("The mailbox of support is read unencrypted; use imaps://.", id="deployment.W008")


def connections(**_: Any) -> Iterator[CheckMessage]:
    """Databases, broker and cache: three logins, passwords, TLS between machines, broker apart from cache."""
    databases: Mapping[str, Any] = settings.DATABASES
    if len({each["USER"] for each in databases.values()}) != len(databases):
        yield Error("The three database addresses must have three logins.", id="deployment.E013")
    open_ones = [
        name
        for name, each in databases.items()
        if not _is_local(each["HOST"]) and each["OPTIONS"].get("sslmode") not in ENCRYPTED
    ]
    if open_ones:
        yield Warning(
            f"Without ?sslmode=require the way to PostgreSQL is not encrypted: {', '.join(sorted(open_ones))}.",
            id="deployment.W003",
        )
    broker, cache = urlsplit(settings.REDIS_URL), urlsplit(settings.CACHES["default"]["LOCATION"])
    for name, address in {"REDIS_URL": broker, "CACHE_URL": cache}.items():
        if not address.password:
            yield Warning(f"{name} has no password.", id="deployment.W004")
        if address.scheme != "rediss" and not _is_local(address.hostname or ""):
            yield Warning(f"{name} is not encrypted; use rediss://.", id="deployment.W005")
    if (broker.hostname, broker.port) == (cache.hostname, cache.port):
        yield Warning(
            "Broker and cache are one server: the broker must keep everything, the cache may forget.",
            id="deployment.W006",
        )


def translations(**_: Any) -> Iterator[CheckMessage]:
    """What Django reads of each language is there, and not older than what it is made of (docs/translating.md)."""
    for language in messages.languages():
        source = messages.po_path(language)
        made = source.with_suffix(".mo")
        if not made.is_file() or made.stat().st_mtime < source.stat().st_mtime:
            yield Warning(
                f"Texts in {language} are not compiled: run ./bootstrap or python -m config.messages compile.",
                id="deployment.W007",
            )


def _is_here(address: str) -> bool:
    return (urlsplit(address).hostname or "") in LOOPBACK


def _is_local(host: str) -> bool:
    """This machine: a loopback address, or a socket in its file system."""
    return not host or host in LOOPBACK or host.startswith("/")


def _is_fernet_key(key: str) -> bool:
    try:
        Fernet(key)
    except ValueError:
        return False
    return True
