"""Addresses by which a case is answered by mail: the case's key, signed, behind the plus of the support's address.

In letters of one case, since mail systems may change it, and within the 64 that a local part has (RFC 5321 §4.5.3.1).
"""

import base64
import binascii
import hmac
import uuid
from typing import Final

from django.conf import settings
from django.utils.crypto import salted_hmac

_SALT: Final = "commerce.case-address"
_KEY_BYTES: Final = 16
_SIGN_BYTES: Final = 9


def reply_address(case: uuid.UUID) -> str:
    """Where an answer to the case is mailed to; empty where no mailbox is set up."""
    if not settings.SUPPORT_ADDRESS:
        return ""
    local, _at, domain = settings.SUPPORT_ADDRESS.rpartition("@")
    token = base64.b32encode(case.bytes + _signature(case, settings.SECRET_KEY)).decode()
    return f"{local}+{token.rstrip('=').lower()}@{domain}"


def case_of_address(address: str) -> uuid.UUID | None:
    """The case whose address it is; None: not one of ours, or not signed by us."""
    ours, _at, domain = settings.SUPPORT_ADDRESS.lower().rpartition("@")
    local, _at, its_domain = address.lower().rpartition("@")
    name, _plus, token = local.rpartition("+")
    if not ours or (name, its_domain) != (ours, domain):
        return None
    try:
        raw = base64.b32decode(token.upper() + "=" * (-len(token) % 8))
    except (binascii.Error, ValueError):
        return None
    if len(raw) != _KEY_BYTES + _SIGN_BYTES:
        return None
    case = uuid.UUID(bytes=raw[:_KEY_BYTES])
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    is_ours = any(hmac.compare_digest(raw[_KEY_BYTES:], _signature(case, key)) for key in keys)
    return case if is_ours else None


def _signature(case: uuid.UUID, key: str) -> bytes:
    return salted_hmac(_SALT, case.hex, secret=key, algorithm="sha256").digest()[:_SIGN_BYTES]
