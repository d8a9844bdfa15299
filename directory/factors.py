"""Second factors: codes of an authenticator app, passkeys, recovery codes (docs/adr/0033).

allauth keeps them (`Authenticator`) and knows their algorithms; the ceremonies of passkeys are fido2's. This module
alone reaches into allauth's modules for that. Secrets are encrypted by `config.kit.secrets`.
"""

import base64
import secrets
import struct
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, override
from urllib.parse import urlsplit

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from allauth.mfa.utils import decrypt as decrypted
from allauth.mfa.utils import encrypt as encrypted
from django.conf import settings
from django.utils.crypto import constant_time_compare
from fido2.server import Fido2Server
from fido2.webauthn import (
    AttestedCredentialData,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialUserEntity,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)
from qrcode import QRCode

from config.kit.secrets import decrypt, encrypt
from directory.models import User

APP: Final = Authenticator.Type.TOTP.value
PASSKEY: Final = Authenticator.Type.WEBAUTHN.value
RECOVERY: Final = Authenticator.Type.RECOVERY_CODES.value
PERIOD_SECONDS = 30
# The app's clock may be so many periods off, to either side.
TOLERANCE = 1
# What a hostile answer of a browser makes the decoders of CBOR and JSON raise.
_UNREADABLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, struct.error)


class FactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """Secrets at rest under our own keys."""

    @override
    def encrypt(self, text: str) -> str:
        return encrypt(text)

    @override
    def decrypt(self, encrypted_text: str) -> str:
        return decrypt(encrypted_text)


class AnswerRefused(Exception):
    """What the browser sent is no passkey's answer to what was asked."""


# --- Authenticator apps ------------------------------------------------------------------------------------


def new_secret() -> str:
    """A secret for an app, 160 random bits as base 32."""
    return base64.b32encode(secrets.token_bytes(20)).decode()


def step_of(secret: str, code: str, *, at: datetime) -> int | None:
    """The period whose code this is, of those that the app's clock may show at `at` (real time); None for none."""
    typed = "".join(code.split())
    now = int(at.timestamp()) // PERIOD_SECONDS
    for step in range(now - TOLERANCE, now + TOLERANCE + 1):
        if constant_time_compare(typed, format_hotp_value(hotp_value(secret, step))):
            return step
    return None


def code_at(secret: str, at: datetime) -> str:
    """What the app shows at an instant of real time."""
    code: str = format_hotp_value(hotp_value(secret, int(at.timestamp()) // PERIOD_SECONDS))
    return code


def new_app(user: User, secret: str, *, step: int, at: datetime) -> Authenticator:
    """An unsaved row; `step` is that of the code that proved it, which is not taken again."""
    data = {"secret": encrypted(secret), "last_step": step}
    return Authenticator(user=user, type=APP, data=data, created_at=at)


def take_app_code(row: Authenticator, code: str, *, at: datetime) -> bool:
    """Whether the code is the app's now and was never taken; from then on it was. The row is locked."""
    step = step_of(decrypted(row.data["secret"]), code, at=at)
    if step is None or step <= row.data.get("last_step", 0):
        return False
    row.data["last_step"] = step
    row.last_used_at = at
    row.save(update_fields=["data", "last_used_at"])
    return True


def app_address(email: str, secret: str) -> str:
    """What an app reads from the QR code."""
    label = f"{settings.VENDOR_NAME}:{email}".replace(" ", "%20")
    issuer = settings.VENDOR_NAME.replace(" ", "%20")
    return f"otpauth://totp/{label}?secret={secret}&issuer={issuer}"


def qr_path(text: str) -> tuple[str, int]:
    """A QR code as the path of an SVG of so many units, dark modules only, with the quiet border."""
    code = QRCode(border=4)
    code.add_data(text)
    matrix = code.get_matrix()
    squares = (
        f"M{x} {y}h1v1h-1z" for y, line in enumerate(matrix) for x, is_dark in enumerate(line) if is_dark
    )
    return "".join(squares), len(matrix)


# --- Recovery codes ----------------------------------------------------------------------------------------


def new_recovery_codes(user: User, *, at: datetime) -> tuple[Authenticator, list[str]]:
    """An unsaved row, and its codes."""
    row = Authenticator(
        user=user,
        type=RECOVERY,
        data={"seed": encrypted(RecoveryCodes.generate_seed()), "used_mask": 0},
        created_at=at,
    )
    return row, list(RecoveryCodes(row).generate_codes())


def take_recovery_code(row: Authenticator, code: str, *, at: datetime) -> bool:
    """Whether the code is one of those that were not used; from then on it was. The row is locked."""
    if not RecoveryCodes(row).validate_code("".join(code.split())):
        return False
    Authenticator.objects.filter(pk=row.pk).update(last_used_at=at)
    return True


def codes_left(row: Authenticator) -> int:
    return len(RecoveryCodes(row).get_unused_codes())


# --- Passkeys ----------------------------------------------------------------------------------------------


def passkeys_work() -> bool:
    """Whether browsers offer passkeys here: not at an address that is a number, nor without TLS, save on localhost."""
    host = _host()
    is_local = host == "localhost" or host.endswith(".localhost")
    is_number = ":" in host or host.replace(".", "").isdigit()
    return is_local or (settings.IS_HTTPS and not is_number)


def ask_for_new_passkey(user: User, known: Iterable[Authenticator]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the browser is to make, and what to keep until it answers."""
    options, state = _server().register_begin(
        PublicKeyCredentialUserEntity(
            id=user.key.bytes, name=user.email or user.name, display_name=user.name
        ),
        credentials=[_credential(row) for row in known],
        resident_key_requirement=ResidentKeyRequirement.DISCOURAGED,
        user_verification=UserVerificationRequirement.PREFERRED,
    )
    return dict(options), state


def new_passkey(
    user: User, name: str, state: dict[str, Any], answer: object, *, at: datetime
) -> Authenticator:
    """An unsaved row. :raises AnswerRefused: the answer is none to `state`."""
    if not isinstance(answer, Mapping):
        raise AnswerRefused
    try:
        _server().register_complete(state, answer)
    except _UNREADABLE as error:
        raise AnswerRefused from error
    return Authenticator(user=user, type=PASSKEY, data={"name": name, "credential": answer}, created_at=at)


def ask_for_passkey(known: Iterable[Authenticator]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the browser is to sign, and what to keep until it answers."""
    options, state = _server().authenticate_begin(
        credentials=[_credential(row) for row in known],
        user_verification=UserVerificationRequirement.PREFERRED,
    )
    return dict(options), state


def shown_passkey(known: Iterable[Authenticator], state: dict[str, Any], answer: object) -> Authenticator:
    """The one of `known` that signed. :raises AnswerRefused: none did."""
    if not isinstance(answer, Mapping):
        raise AnswerRefused
    rows = {_credential(row).credential_id: row for row in known}
    try:
        found = _server().authenticate_complete(state, [_credential(row) for row in rows.values()], answer)
    except _UNREADABLE as error:
        raise AnswerRefused from error
    return rows[found.credential_id]


def _host() -> str:
    return urlsplit(settings.PUBLIC_URL).hostname or ""


def _server() -> Fido2Server:
    return Fido2Server(PublicKeyCredentialRpEntity(id=_host(), name=settings.VENDOR_NAME))


def _credential(row: Authenticator) -> AttestedCredentialData:
    credential: AttestedCredentialData = row.wrap().authenticator_data.credential_data
    return credential
