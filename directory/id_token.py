"""Verifying an OpenID Connect ID token. Pure: keys, issuer and nonce come in, claims or a refusal go out.

Source: OpenID Connect Core 1.0 §3.1.3.7, RFC 8725.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from config.kit.objects import read_object

ALGORITHMS: Final = ("RS256", "ES256")
LEEWAY_SECONDS: Final = 60
LONGEST: Final = 16 * 1024
SMALLEST_RSA_BITS: Final = 2048
LONGEST_LIFE_SECONDS: Final = 366 * 24 * 3600
_LAST_INSTANT: Final = 2**40
# Three parts: five are an encrypted token, and other signs than these would be read past.
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
# A header that names or carries a key asks to be verified by what the sender chose; the others ask for another reading
# of what is signed: a token in a token, packed, not encoded, encrypted.
_OTHER_HEADERS: Final = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "cty", "zip", "b64", "enc"})
_DIRECTORY_ID: Final = re.compile(r"/([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})(?:/|$)")
_KNOWN: Final = frozenset({"pwd", "pin", "kba"})
_HAD: Final = frozenset({"otp", "hwk", "swk", "sc", "sms", "tel", "face", "fpt", "iris", "retina", "vbm"})
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class TokenRefused(Exception):
    """The token does not prove who signed in; the message says why, for the log, never for the page."""


class UnknownKey(TokenRefused):
    """No key of the provider has the token's key id; it may have a new one since its keys were read."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the identity provider vouches for. `name` and `email` are for display; they decide nothing.

    `proved`: when it last asked the person, in seconds of real time; None where it does not say.
    `external_ids`: what the organization's directory may know the person by: the subject, and Entra's object id.
    `methods`: how it says that they proved who they are (`amr`), to be shown.
    """

    issuer: str
    subject: str
    name: str
    email: str
    is_guest: bool
    proved: float | None = None
    has_second_factor: bool = False
    external_ids: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()


def verify(
    token: object,
    *,
    keys: Sequence[Mapping[str, Any]],
    issuer: str,
    client_id: str,
    nonce: str,
    access_token: str = "",
) -> Identity:
    """The identity in a token that `issuer` signed for `client_id` in answer to the request with `nonce`.

    `access_token`: what came with it, which its `at_hash` must be of where it has one.

    :raises UnknownKey: signed with a key that is not in `keys`.
    :raises TokenRefused: anything else about it is wrong.
    """
    if not isinstance(token, str) or len(token) > LONGEST or not _COMPACT.fullmatch(token):
        raise TokenRefused("no signed token, or too long")
    if not nonce or not issuer or not client_id:
        raise TokenRefused("nothing to compare with")
    header, body = (_read(part) for part in token.split(".")[:2])
    key, algorithm = _key_for(header, keys)
    _check_times(body)
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=client_id,
            issuer=issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["iss", "sub", "aud", "exp", "iat", "nonce"], "strict_aud": False},
        )
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise TokenRefused(str(error)) from error
    _check_audience(claims, client_id)
    _check_directory(claims, issuer)
    _check_access_token(claims, access_token)
    if not isinstance(claims["nonce"], str) or not hmac.compare_digest(
        claims["nonce"].encode("utf-8", "replace"), nonce.encode()
    ):
        raise TokenRefused("another nonce")
    return _identity(claims)


def contradicts(identity: Identity, userinfo: Mapping[str, Any]) -> bool:
    """Whether the provider's userinfo is of somebody else than its token (OpenID Connect Core §5.3.2)."""
    said = {"sub": identity.subject, "iss": identity.issuer}
    if len(identity.external_ids) > 1:
        said["oid"] = identity.external_ids[1]
    return "sub" not in userinfo or any(
        userinfo[name] != said[name] for name in said.keys() & userinfo.keys()
    )


def _read(part: str) -> dict[str, Any]:
    """The header or the claims: what any other reader of them would see, too, or nothing."""
    try:
        return read_object(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError as error:
        raise TokenRefused(f"unreadable: {error}") from error


def _key_for(header: Mapping[str, Any], keys: Sequence[Mapping[str, Any]]) -> tuple[Any, str]:
    """The provider's key that the header names, and the algorithm that this key is for."""
    algorithm = header.get("alg")
    if algorithm not in ALGORITHMS:
        raise TokenRefused(f"algorithm {algorithm!r}")
    if _OTHER_HEADERS & header.keys():
        raise TokenRefused("the header brings its own key, or asks for another reading")
    typ = header.get("typ", "JWT")
    if not isinstance(typ, str) or typ.upper() != "JWT":
        raise TokenRefused("a token for something else")
    kind = "RSA" if algorithm == "RS256" else "EC"
    fitting = [
        key
        for key in keys
        if key.get("kty") == kind
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and ("kid" not in header or key.get("kid") == header["kid"])
    ]
    if not fitting:
        raise UnknownKey("no key of that id")
    if len(fitting) > 1:
        raise TokenRefused("the header does not say which key")
    try:
        key = jwt.PyJWK(dict(fitting[0]), algorithm=algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
        raise TokenRefused(f"unusable key: {error}") from error
    is_public = isinstance(key, RSAPublicKey | EllipticCurvePublicKey)
    if not is_public or (isinstance(key, RSAPublicKey) and key.key_size < SMALLEST_RSA_BITS):
        raise TokenRefused("unusable key")
    return key, algorithm


def _check_times(claims: Mapping[str, Any]) -> None:
    """Instants are numbers, of this epoch, and a token lives a year at most. Whether it is time is looked at apart."""
    for name in ("exp", "iat", "nbf"):
        value = claims.get(name)
        if value is None and name == "nbf":
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _LAST_INSTANT:
            raise TokenRefused(f"{name} is no instant")
    if claims["exp"] - claims["iat"] > LONGEST_LIFE_SECONDS:
        raise TokenRefused("lives too long")


def _check_access_token(claims: Mapping[str, Any], access_token: str) -> None:
    """Both algorithms hash with SHA-256 (OpenID Connect Core §3.1.3.6)."""
    if "at_hash" not in claims:
        return
    half = hashlib.sha256(access_token.encode()).digest()[:16]
    if claims["at_hash"] != base64.urlsafe_b64encode(half).rstrip(b"=").decode():
        raise TokenRefused("came with another access token")


def _check_audience(claims: Mapping[str, Any], client_id: str) -> None:
    """A token for several parties must say that it was asked for by this one."""
    audience = claims["aud"]
    is_alone = audience == client_id or audience == [client_id]
    authorized = claims.get("azp")
    if authorized is None and is_alone:
        return
    if authorized != client_id:
        raise TokenRefused("meant for another party")


def _check_directory(claims: Mapping[str, Any], issuer: str) -> None:
    """Where the issuer's address names a directory, the claim `tid` names the same, and it says in words of its own
    whether somebody is a guest there (Entra)."""
    named = _DIRECTORY_ID.search(issuer)
    if named and claims.get("tid") != named.group(1):
        raise TokenRefused("another directory")
    if named and json.dumps(claims.get("acct")) not in ("null", "0", "1", '"0"', '"1"'):
        raise TokenRefused("neither member nor guest")


def _identity(claims: Mapping[str, Any]) -> Identity:
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= 255 or _CONTROL.search(subject):
        raise TokenRefused("no usable subject")
    email = next(
        (
            text
            for text in (_text(claims, "email", 254), _text(claims, "preferred_username", 254))
            if text.count("@") == 1
        ),
        "",
    )
    return Identity(
        issuer=claims["iss"],
        subject=subject,
        name=_text(claims, "name", 200) or email or subject[:200],
        email=email.lower(),
        is_guest=json.dumps(claims.get("acct")) in ("1", '"1"'),
        proved=_instant(claims, "auth_time"),
        has_second_factor=_has_second_factor(claims.get("amr")),
        external_ids=_external_ids(claims),
        methods=_methods(claims.get("amr")),
    )


def _has_second_factor(methods: object) -> bool:
    """Whether the claim `amr` says that more was asked than a password (RFC 8176): `mfa` itself, or something that the
    person knows together with something that they have or are."""
    if not isinstance(methods, list) or not all(isinstance(method, str) for method in methods):
        return False
    said = set(methods)
    return "mfa" in said or bool(said & _KNOWN and said & _HAD)


def _methods(said: object) -> tuple[str, ...]:
    """The claim `amr` as a few short words; nothing where it is anything else."""
    words = said if isinstance(said, list) else []
    return tuple(
        word for word in words[:10] if isinstance(word, str) and re.fullmatch(r"[\w.:-]{1,20}", word)
    )


def _instant(claims: Mapping[str, Any], name: str) -> float | None:
    """A claim as seconds since 1970; None when it is anything else."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value < 2**40 else None


def _external_ids(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """The subject, and the object id of a token that says which directory it is of (Entra)."""
    object_id = _text(claims, "oid", 255) if _text(claims, "tid", 255) else ""
    return (claims["sub"], object_id) if object_id else (claims["sub"],)


def _text(claims: Mapping[str, Any], name: str, longest: int) -> str:
    """A claim as one line of text; empty when it is anything else or longer than may be stored."""
    value = claims.get(name)
    text = _CONTROL.sub("", value).strip() if isinstance(value, str) else ""
    return text if len(text) <= longest else ""
