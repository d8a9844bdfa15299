"""What a token looks like and what its scopes allow. Pure.

`seatkeeper_pat_` (personal) or `seatkeeper_svc_` (service), 43 letters and digits of 256 random bits, then six of
their CRC-32: a scanner that looks for leaked secrets finds it by its prefix and knows by its end that it is one.
"""

import hashlib
import re
import secrets
import string
import zlib
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from config.kit.actors import Scope
from directory.permissions import TABLE, Capability

PERSONAL, SERVICE = "personal", "service"
PREFIXES: Final = {PERSONAL: "seatkeeper_pat_", SERVICE: "seatkeeper_svc_"}
FULL: Final = "full"
# Alone on its token: a directory keeps accounts and does nothing else, and nothing else keeps them.
SCIM: Final = "scim"

_DIGITS: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_BITS, _RANDOM_LENGTH, _CHECK_LENGTH = 256, 43, 6
_SHAPE = re.compile(rf"(?:seatkeeper_pat_|seatkeeper_svc_)[0-9A-Za-z]{{{_RANDOM_LENGTH + _CHECK_LENGTH}}}")

# fmt: off
# What each scope lets a token use of the rights it stands for; `full` is all of them.
SCOPES: Final[Mapping[str, frozenset[str]]] = {
    "policies.read":   frozenset({Capability.READ_POLICY}),
    "policies.write":  frozenset({Capability.READ_POLICY, Capability.CHANGE_POLICY}),
    "purchases.read":  frozenset({Capability.SEE_PURCHASES, Capability.SEE_BILL_AMOUNTS}),
    "purchases.write": frozenset({Capability.SEE_PURCHASES, Capability.SEE_BILL_AMOUNTS, Capability.MANAGE_PURCHASES,
                                  Capability.BUY_CENTRALLY, Capability.TAKE_OVER, Capability.PAY_BILLS}),
    "licenses.read":   frozenset({Capability.SEE_LICENSES, Capability.SEE_CAPACITY, Capability.LOOK_UP_PEOPLE,
                                  Capability.SEE_WORKSPACES}),
    "licenses.write":  frozenset({Capability.SEE_LICENSES, Capability.SEE_CAPACITY, Capability.LOOK_UP_PEOPLE,
                                  Capability.ASSIGN, Capability.SEE_WORKSPACES}),
    "capacity.write":  frozenset({Capability.SEE_CAPACITY, Capability.REPORT_CAPACITY}),
    "bills.read":      frozenset({Capability.SEE_BILLS, Capability.SEE_BILL_AMOUNTS}),
    "requests.write":  frozenset({Capability.REQUEST_LICENSE, Capability.SEE_QUEUE, Capability.GIVE_FREE_SEAT,
                                  Capability.ANSWER_WITH_MONEY}),
    "audit.read":      frozenset({Capability.SEE_AUDIT, Capability.SEE_AUDIT_BILLING}),
    "scim":            frozenset({Capability.SEE_PEOPLE, Capability.MANAGE_MEMBERS, Capability.MANAGE_ADMINS}),
    FULL:              frozenset(TABLE),
}
# fmt: on
# A scope that may write may read the same.
READS: Final[Mapping[str, frozenset[str]]] = {
    "policies.write": frozenset({"policies.read"}),
    "purchases.write": frozenset({"purchases.read"}),
    "licenses.write": frozenset({"licenses.read"}),
    FULL: frozenset(SCOPES) - {SCIM},
}
# What a billing admin's service tokens may be for (product §2: policies, purchases, bills).
BILLING_SCOPES: Final = frozenset(
    {"policies.read", "policies.write", "purchases.read", "purchases.write", "bills.read"}
)


def new_secret(kind: str) -> str:
    """A token that nobody can guess: 256 bits of the system's randomness."""
    random = _in_digits(secrets.randbits(_RANDOM_BITS), _RANDOM_LENGTH)
    return PREFIXES[kind] + random + _checksum(PREFIXES[kind] + random)


def is_well_formed(secret: str) -> bool:
    """Whether the text can be a token at all: prefix, length and checksum; no look-up is spent on others."""
    return bool(_SHAPE.fullmatch(secret)) and _checksum(secret[:-_CHECK_LENGTH]) == secret[-_CHECK_LENGTH:]


def digest_of(secret: str) -> bytes:
    """What is stored of a token. A plain hash is enough: there is nothing to guess in 256 random bits."""
    return hashlib.sha256(secret.encode()).digest()


def includes(scopes: Collection[str], wanted: str) -> bool:
    """Whether a token with `scopes` may do what asks for `wanted`."""
    return wanted in scopes or any(wanted in READS.get(scope, ()) for scope in scopes)


def narrowed(grants: Mapping[str, frozenset[Scope]], scopes: Iterable[str]) -> Mapping[str, frozenset[Scope]]:
    """The rights of `grants` that the scopes let through: never more than there were."""
    allowed = frozenset().union(*(SCOPES.get(scope, frozenset()) for scope in scopes))
    return {capability: reach for capability, reach in grants.items() if capability in allowed}


def _checksum(text: str) -> str:
    return _in_digits(zlib.crc32(text.encode()), _CHECK_LENGTH)


def _in_digits(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
