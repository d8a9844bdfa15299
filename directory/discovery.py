"""What an identity provider says about itself: addresses and keys, fetched with limits, kept for a day.

Read anew after an hour; while the provider does not answer, what was read in the last 24 hours serves (F-24).
The cache keys carry the provider's row, hence the tenant (I-28). Never called inside a transaction.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.core.cache import cache

from config.kit.fetch import FetchFailed, fetch_json

FRESH_SECONDS = 3600
KEPT_SECONDS = 24 * 3600
# A token with an unknown key id makes the keys be read again, at most this often.
AGAIN_SECONDS = 60

_ADDRESSES = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class ProviderUnusable(Exception):
    """The identity provider does not answer, or not as its configuration says; the message is for the log."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """The addresses of one provider. `userinfo_endpoint` is empty where it has none."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str
    posts_secret: bool


def metadata_of(provider_key: str, issuer: str) -> Metadata:
    """The provider's published configuration, whose issuer is exactly the configured one.

    :raises ProviderUnusable: not to be had, or of another issuer.
    """
    raw = _kept(
        f"oidc:{provider_key}:metadata",
        f"{issuer.rstrip('/')}/.well-known/openid-configuration",
        stamp=issuer,
    )
    if raw.get("issuer") != issuer:
        raise ProviderUnusable(f"{issuer} says that it is {raw.get('issuer')!r}")
    for name in _ADDRESSES:
        if not _is_address(raw.get(name), issuer):
            raise ProviderUnusable(f"{issuer} has no usable {name}")
    userinfo = raw.get("userinfo_endpoint") or ""
    if userinfo and not _is_address(userinfo, issuer):
        raise ProviderUnusable(f"{issuer} has no usable userinfo_endpoint")
    methods = raw.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    return Metadata(
        issuer=issuer,
        authorization_endpoint=raw["authorization_endpoint"],
        token_endpoint=raw["token_endpoint"],
        jwks_uri=raw["jwks_uri"],
        userinfo_endpoint=userinfo,
        posts_secret="client_secret_post" in methods and "client_secret_basic" not in methods,
    )


def ask_anew(provider_key: str, issuer: str) -> None:
    """Find out whether a provider answers now, whatever is kept of it. For one that is not in force.

    :raises ProviderUnusable: it does not, or says nothing that can be used, or has no keys.
    """
    cache.delete_many([f"oidc:{provider_key}:metadata", f"oidc:{provider_key}:keys"])
    if not keys_of(provider_key, metadata_of(provider_key, issuer)):
        raise ProviderUnusable(f"{issuer} has no keys")


def keys_of(provider_key: str, metadata: Metadata, *, again: bool = False) -> Sequence[dict[str, Any]]:
    """The provider's signing keys. `again`: one is missing, so read them anew unless that was just done.

    :raises ProviderUnusable: not to be had.
    """
    raw = _kept(
        f"oidc:{provider_key}:keys",
        metadata.jwks_uri,
        stamp=metadata.jwks_uri,
        fresh=AGAIN_SECONDS if again else FRESH_SECONDS,
    )
    keys = raw.get("keys")
    return [key for key in keys if isinstance(key, dict)] if isinstance(keys, list) else []


def _kept(name: str, url: str, *, stamp: str, fresh: int = FRESH_SECONDS) -> dict[str, Any]:
    """The JSON object at `url` from the cache, or fetched when older than `fresh` seconds."""
    entry = cache.get(name)
    if entry is not None and entry["stamp"] != stamp:
        entry = None
    if entry is not None and time.time() - entry["at"] < fresh:
        value: dict[str, Any] = entry["value"]
        return value
    try:
        fetched = fetch_json(url)
    except FetchFailed as error:
        if entry is None:
            raise ProviderUnusable(str(error)) from error
        kept: dict[str, Any] = entry["value"]
        return kept
    cache.set(name, {"stamp": stamp, "at": time.time(), "value": fetched}, KEPT_SECONDS)
    return fetched


def _is_address(value: object, issuer: str) -> bool:
    """An address as secure as the issuer's own."""
    if not isinstance(value, str):
        return False
    parts = urlsplit(value)
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and issuer.startswith("http://"))
    )
