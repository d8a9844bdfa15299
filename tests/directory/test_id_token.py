"""Hostile ID tokens (reliability §6): each is refused, none makes or touches an account (I-23)."""

import base64
import hashlib
import hmac
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from directory.id_token import Identity, TokenRefused, UnknownKey, contradicts, verify

ISSUER = "https://login.example/11111111-2222-3333-4444-555555555555/v2.0"
TID = "11111111-2222-3333-4444-555555555555"
CLIENT, NONCE = "seatkeeper-contoso", "nonce-of-this-browser"
OURS = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OURS_EC = ec.generate_private_key(ec.SECP256R1())
THEIRS = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SMALL = rsa.generate_private_key(public_exponent=65537, key_size=1024)


def jwk(private, kid, **extra):
    algorithm = (
        jwt.algorithms.RSAAlgorithm if isinstance(private, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    )
    return {**json.loads(algorithm.to_jwk(private.public_key())), "kid": kid, "use": "sig", **extra}


KEYS = [jwk(OURS, "k1"), jwk(OURS_EC, "k2"), jwk(THEIRS, "k-enc", use="enc"), jwk(SMALL, "k-small")]
PEM = OURS.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


def claims(**changed):
    now = int(time.time())
    full = {
        "iss": ISSUER,
        "aud": CLIENT,
        "sub": "subject-1",
        "tid": TID,
        "nonce": NONCE,
        "iat": now,
        "nbf": now,
        "exp": now + 24 * 3600,
        "name": "Pat Mulder",
        "email": "Pat@Contoso.example",
        "acct": 0,
        **changed,
    }
    return {name: value for name, value in full.items() if value is not None}


def signed(key=OURS, algorithm="RS256", headers=None, **changed):
    return jwt.encode(claims(**changed), key, algorithm=algorithm, headers={"kid": "k1", **(headers or {})})


def b64(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def raw_token(header, payload, signature=b""):
    return f"{b64(header)}.{b64(payload)}.{b64(signature)}"


def hmac_token(secret):
    body = f"{b64({'alg': 'HS256', 'kid': 'k1'})}.{b64(claims())}"
    return f"{body}.{b64(hmac.new(secret, body.encode(), hashlib.sha256).digest())}"


def check(token, **changed):
    return verify(token, **{"keys": KEYS, "issuer": ISSUER, "client_id": CLIENT, "nonce": NONCE, **changed})


@pytest.mark.parametrize(
    "token",
    [
        signed(),
        signed(OURS_EC, "ES256", {"kid": "k2"}),
        signed(aud=[CLIENT]),
        signed(aud=[CLIENT, "other"], azp=CLIENT),
        signed(azp=CLIENT),
    ],
    ids=["rs256", "es256", "list", "authorized", "azp"],
)
def test_a_good_token_says_who_it_is(token):
    assert check(token) == Identity(
        issuer=ISSUER,
        subject="subject-1",
        name="Pat Mulder",
        email="pat@contoso.example",
        is_guest=False,
        external_ids=("subject-1",),
    )


@pytest.mark.parametrize("changed", [{"exp": -30}, {"nbf": 30}, {"iat": 30}])
def test_clocks_may_differ_by_a_minute(changed):
    assert check(signed(**{name: int(time.time()) + offset for name, offset in changed.items()}))


HOUR = 3600
HOSTILE = {
    "alg none": raw_token({"alg": "none", "kid": "k1"}, claims()),
    "alg None": raw_token({"alg": "None", "kid": "k1"}, claims()),
    "alg nOnE with signature": raw_token({"alg": "nOnE", "kid": "k1"}, claims(), b"x"),
    "alg empty": raw_token({"alg": "", "kid": "k1"}, claims()),
    "alg missing": raw_token({"kid": "k1"}, claims()),
    "alg a list": raw_token({"alg": ["RS256"], "kid": "k1"}, claims()),
    "HS256 with the public key": hmac_token(PEM),
    "HS256 with the modulus": hmac_token(KEYS[0]["n"].encode()),
    "HS256 with nothing": hmac_token(b""),
    "RS384": signed(algorithm="RS384"),
    "PS256": signed(algorithm="PS256"),
    "signature cut off": signed().rsplit(".", 1)[0] + ".",
    "signature of another token": signed().rsplit(".", 1)[0] + "." + signed(sub="x").rsplit(".", 1)[1],
    "payload changed": ".".join([signed().split(".")[0], b64(claims(sub="victim")), signed().split(".")[2]]),
    "another's key under our id": signed(THEIRS),
    "another's key under its id": signed(THEIRS, headers={"kid": "evil"}),
    "an encryption key": signed(THEIRS, headers={"kid": "k-enc"}),
    "a small key": signed(SMALL, headers={"kid": "k-small"}),
    "ES256 key id under RS256": signed(headers={"kid": "k2"}),
    "kid path": signed(THEIRS, headers={"kid": "../../../../dev/null"}),
    "kid SQL": signed(THEIRS, headers={"kid": "k1' OR '1'='1"}),
    "kid a number": raw_token({"alg": "RS256", "kid": 1}, claims(), b"x"),
    "jku": signed(THEIRS, headers={"jku": "https://evil.example/keys"}),
    "jku under the good key": signed(headers={"jku": "https://evil.example/keys"}),
    "x5u": signed(THEIRS, headers={"x5u": "https://evil.example/cert"}),
    "x5c": signed(THEIRS, headers={"x5c": ["MIIB"]}),
    "jwk": signed(THEIRS, headers={"jwk": jwk(THEIRS, "k1")}),
    "crit": signed(headers={"crit": ["exp"]}),
    "aud wrong": signed(aud="other"),
    "aud missing": signed(aud=None),
    "aud empty": signed(aud=[]),
    "aud of several without azp": signed(aud=[CLIENT, "other"]),
    "aud prefix": signed(aud=CLIENT + "x"),
    "aud other case": signed(aud=CLIENT.upper()),
    "azp wrong": signed(azp="other"),
    "azp wrong in several": signed(aud=[CLIENT, "other"], azp="other"),
    "iss wrong": signed(iss="https://evil.example"),
    "iss missing": signed(iss=None),
    "iss of another tenant": signed(iss=ISSUER.replace("1111-2222", "9999-2222")),
    "iss common": signed(iss="https://login.example/common/v2.0"),
    "iss with a slash more": signed(iss=ISSUER + "/"),
    "iss other case": signed(iss=ISSUER.upper()),
    "iss with a port": signed(iss=ISSUER.replace("login.example", "login.example:443")),
    "tid wrong": signed(tid="99999999-2222-3333-4444-555555555555"),
    "tid missing": signed(tid=None),
    "expired": signed(exp=int(time.time()) - HOUR),
    "exp missing": signed(exp=None),
    "exp a text": signed(exp="tomorrow"),
    "not yet valid": signed(nbf=int(time.time()) + HOUR),
    "issued in the future": signed(iat=int(time.time()) + HOUR),
    "iat missing": signed(iat=None),
    "nonce missing": signed(nonce=None),
    "nonce empty": signed(nonce=""),
    "nonce of another browser": signed(nonce="another"),
    "nonce a list": signed(nonce=[NONCE]),
    "nonce longer": signed(nonce=NONCE + "x"),
    "sub missing": signed(sub=None),
    "sub empty": signed(sub=""),
    "sub with NUL": signed(sub="subject-1\x00"),
    "sub too long": signed(sub="x" * 256),
    "not a token": "abc",
    "exp a number in a text": signed(exp=str(int(time.time()) + HOUR)),
    "exp true": signed(exp=True),
    "exp in a thousand years": signed(exp=int(time.time()) + 1000 * 366 * 24 * HOUR),
    "exp past all": signed(exp=10**308),
    "exp negative": signed(exp=-1),
    "iat a text": signed(iat=str(int(time.time()))),
    "iat negative": signed(iat=-1),
    "nbf a list": signed(nbf=[0]),
    "guest by another word": signed(acct="yes"),
    "guest by true": signed(acct=True),
    "neither guest nor member": signed(acct=2),
    "for the API": signed(headers={"typ": "at+jwt"}),
    "of a sign-out": signed(headers={"typ": "logout+jwt"}),
    "a token in a token": signed(headers={"cty": "JWT"}),
    "packed": signed(headers={"zip": "DEF"}),
    "of another access token": signed(at_hash=b64(hashlib.sha256(b"another").digest()[:16])),
    "at_hash a number": signed(at_hash=7),
    "encrypted": ".".join([b64({"alg": "dir", "enc": "A256GCM"}), "", "aXY", "Y2lwaGVy", "dGFn"]),
    "four parts": signed() + ".x",
    "not base64": "%%%.%%%.%%%",
    "payload no object": raw_token({"alg": "RS256", "kid": "k1"}, [1, 2], b"x"),
    "deep header": f"{b64(('[' * 5000 + ']' * 5000).encode())}.e30.e30",
    "huge": "a" * 20_000,
    "empty": "",
    "none": None,
    "a number": 7,
    "bytes": signed().encode(),
}


@pytest.mark.parametrize("token", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_token_is_refused(token):
    with pytest.raises(TokenRefused):
        check(token)


def test_a_number_as_subject_is_refused():
    token = jwt.PyJWS().encode(
        json.dumps(claims(sub=7)).encode(), OURS, algorithm="RS256", headers={"kid": "k1"}
    )

    with pytest.raises(TokenRefused):
        check(token)


BODY = json.dumps(claims())
SIGNED_BYTES = {
    "a name twice": BODY[:-1] + ', "sub": "victim"}',
    "a name twice, deeper": BODY[:-1] + ', "address": {"a": 1, "a": 2}}',
    "NaN": BODY.replace(str(claims()["exp"]), "NaN"),
    "infinity": BODY[:-1].replace('"exp"', '"was"') + ', "exp": Infinity}',
    "too large a number": BODY[:-1].replace('"exp"', '"was"') + ', "exp": 1e999}',
    "UTF-16": BODY.encode("utf-16"),
    "UTF-32": BODY.encode("utf-32"),
    "Latin-1": BODY.replace("Pat", "P\u00e2t").encode("latin-1"),
    "with a mark": BODY.encode("utf-8-sig"),
    "deep": '{"a":' * 3000 + "1" + "}" * 3000,
    "a list": f"[{BODY}]",
    "a text": json.dumps(BODY),
}


@pytest.mark.parametrize("body", SIGNED_BYTES.values(), ids=SIGNED_BYTES.keys())
def test_signed_bytes_that_two_readers_could_read_in_two_ways_are_refused(body):
    raw = body if isinstance(body, bytes) else body.encode()
    token = jwt.PyJWS().encode(raw, OURS, algorithm="RS256", headers={"kid": "k1"})

    with pytest.raises(TokenRefused):
        check(token)


def test_a_header_that_names_its_key_twice_is_refused():
    header, body = b64(b'{"alg": "RS256", "kid": "evil", "kid": "k1"}'), b64(claims())
    signature = OURS.sign(f"{header}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())

    with pytest.raises(TokenRefused):
        check(f"{header}.{body}.{b64(signature)}")


def test_the_hash_of_the_access_token_that_came_with_it_is_fine():
    token = signed(at_hash=b64(hashlib.sha256(b"an access token").digest()[:16]))

    assert check(token, access_token="an access token").subject == "subject-1"
    with pytest.raises(TokenRefused):
        check(token)


@pytest.mark.parametrize(
    ("userinfo", "is_refused"),
    [
        ({"sub": "subject-1"}, False),
        ({"sub": "subject-1", "email": "else@contoso.example", "name": "Else"}, False),
        ({"sub": "subject-1", "oid": "object-1", "iss": ISSUER}, False),
        ({}, True),
        ({"sub": None}, True),
        ({"sub": "victim"}, True),
        ({"sub": ["subject-1"]}, True),
        ({"sub": "subject-1", "oid": "another"}, True),
        ({"sub": "subject-1", "iss": "https://evil.example"}, True),
    ],
)
def test_userinfo_of_somebody_else_contradicts(userinfo, is_refused):
    assert contradicts(check(signed(oid="object-1")), userinfo) is is_refused


@pytest.mark.parametrize("missing", [{"nonce": ""}, {"issuer": ""}, {"client_id": ""}, {"keys": []}])
def test_nothing_is_good_without_something_to_compare_with(missing):
    with pytest.raises(TokenRefused):
        check(signed(), **missing)


def test_a_key_that_was_exchanged_is_told_apart_so_that_the_keys_are_read_anew():
    with pytest.raises(UnknownKey):
        check(signed(headers={"kid": "k-new"}))


def test_a_key_of_a_symmetric_kind_in_the_key_set_is_never_used():
    keys = [{"kty": "oct", "kid": "k1", "k": b64(b"secret" * 8)}]

    with pytest.raises(TokenRefused):
        check(hmac_token(b"secret" * 8), keys=keys)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"email": "gina@contoso.example", "email_verified": False}, "gina@contoso.example"),
        ({"email": None, "preferred_username": "pm@contoso.example"}, "pm@contoso.example"),
        ({"email": None, "preferred_username": "CONTOSO\\pat"}, ""),
        ({"email": ["a@b.example"]}, ""),
        ({"email": "x" * 250 + "@contoso.example"}, ""),
        ({"email": "a@b@c.example"}, ""),
    ],
)
def test_the_address_is_for_display_and_never_part_of_who_it_is(changed, expected):
    identity = check(signed(**changed))

    assert (identity.subject, identity.email) == ("subject-1", expected)


@pytest.mark.parametrize(
    ("acct", "is_guest"), [(1, True), ("1", True), (0, False), ("0", False), (None, False)]
)
def test_a_guest_is_recognized_by_the_claim(acct, is_guest):
    assert check(signed(acct=acct)).is_guest is is_guest


def test_a_name_is_one_line_without_tricks():
    assert check(signed(name="Pat\r\n\u202eMulder\x00 ")).name == "PatMulder"
