"""Hostile identity providers against the whole code flow over HTTP (reliability §6): no lie signs anybody in, and none
leaves a trace of an account link (I-23)."""

import base64
import hashlib
import hmac
import json
import logging
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from config.kit.actors import Actor
from config.kit.tenancy import connection, tenant_atomic
from directory.models import IdentityProvider, RoleAssignment, Tenant, User
from directory.operations.domains import add_domain
from directory.operations.people import create_user
from directory.operations.tenants import configure_identity_provider, create_tenant
from directory.sessions import HOME, USER
from tests.directory.hostile import (
    ACCESS_TOKEN,
    CLIENT,
    OTHER_DIRECTORY,
    OURS,
    SECRET,
    THEIRS,
    Lie,
    Provider,
    encoded,
    jwk,
    signed,
    unsigned,
)
from tests.directory.test_sign_in import come_back, to_provider
from tests.factories import AT

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_tries_yet")]

VICTIM = "gina@contoso.example"
HOUR = 3600
PEM = OURS.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
TABLES = (
    *("directory_user", "directory_roleassignment", "directory_groupmembership", "directory_browsersession"),
    *("directory_auditentry", "directory_outgoingmail", "directory_identityprovider"),
)
ALLAUTHS = ("socialaccount_socialaccount", "socialaccount_socialapp", "socialaccount_socialtoken")


@dataclass
class World:
    """Contoso, whose provider lies, with a global admin and somebody whom SCIM made; Fabrikam, whose own is honest."""

    contoso: Tenant
    fabrikam: Tenant
    provider: Provider
    other: Provider
    gina: User

    def state(self) -> dict[str, list[str]]:
        """Everything that a sign-in could have left, of both organizations."""
        found: dict[str, list[str]] = {}
        for tenant in (self.contoso, self.fabrikam):
            with tenant_atomic(tenant.pk), connection().cursor() as cursor:
                for table in TABLES:
                    cursor.execute(f'SELECT t::text FROM "{table}" t ORDER BY id')
                    found[f"{tenant.name} {table}"] = [text for (text,) in cursor.fetchall()]
        with connection().cursor() as cursor:
            for table in ALLAUTHS:
                cursor.execute(f'SELECT t::text FROM "{table}" t ORDER BY id')
                found[table] = [text for (text,) in cursor.fetchall()]
        return found


@pytest.fixture
def provider() -> Iterator[Provider]:
    running = Provider()
    yield running
    running.stop()


@pytest.fixture
def other_provider() -> Iterator[Provider]:
    running = Provider(OTHER_DIRECTORY)
    yield running
    running.stop()


def organization(name: str, provider: Provider, *, creates_members: bool = True) -> Tenant:
    made: Tenant = create_tenant(
        name=name,
        kind="commercial",
        country="NL",
        time_zone="Europe/Amsterdam",
        currency="EUR",
        creates_members=creates_members,
        at=AT,
    )
    system = Actor.system(made.pk)
    add_domain(actor=system, name=f"{name.lower()}.example", is_verified=True, at=AT)
    configure_identity_provider(
        actor=system, issuer=provider.issuer, client_id=CLIENT, client_secret=SECRET, at=AT
    )
    return made


@pytest.fixture
def world(provider: Provider, other_provider: Provider) -> World:
    contoso, fabrikam = organization("Contoso", provider), organization("Fabrikam", other_provider)
    gina = create_user(
        actor=Actor.system(contoso.pk),
        name="Gina",
        email=VICTIM,
        issuer=provider.issuer,
        subject="subject-of-gina",
        at=AT,
    )
    create_user(
        actor=Actor.system(fabrikam.pk),
        name="Frank",
        email="frank@fabrikam.example",
        issuer=other_provider.issuer,
        subject="subject-of-frank",
        at=AT,
    )
    for tenant, external_id in ((contoso, "object-of-erik"), (fabrikam, "object-of-fay")):
        made = create_user(
            actor=Actor.system(tenant.pk), name="By SCIM", email=f"s@{tenant.name}.example", at=AT
        )
        with tenant_atomic(tenant.pk):
            User.objects.filter(pk=made.pk).update(external_id=external_id)
    with tenant_atomic(contoso.pk):
        RoleAssignment.objects.create(
            tenant=contoso, user=gina, role="global_admin", granted_at=AT, granted_by="test"
        )
    return World(contoso, fabrikam, provider, other_provider, gina)


def changed(**values: Any) -> Lie:
    """Properly signed claims of which some are other than they should be; None leaves one out."""
    return Lie(claims=lambda c: {n: v for n, v in (c | values).items() if v is not None})


def header(**values: Any) -> Lie:
    """The right key and a header that asks for something else."""
    return Lie(token=lambda c: signed(c, **values))


def forged(**values: Any) -> Lie:
    """A key of the sender's own, under a header that may bring it."""
    return Lie(token=lambda c: signed(c, THEIRS, **values))


def by_key(header: object, claims: bytes) -> str:
    """Exactly this, signed with the right key."""
    text = f"{encoded(header)}.{encoded(claims)}"
    return f"{text}.{encoded(OURS.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def in_bytes(change: Any) -> Lie:
    """Bytes that another reader might read in another way."""
    return Lie(token=lambda c: by_key({"alg": "RS256", "kid": "k1"}, change(json.dumps(c))))


def by_hmac(secret: bytes) -> Lie:
    def token(claims: dict[str, Any]) -> str:
        body = f"{encoded({'alg': 'HS256', 'kid': 'k1'})}.{encoded(claims)}"
        return f"{body}.{encoded(hmac.new(secret, body.encode(), hashlib.sha256).digest())}"

    return Lie(token=token)


def soon(seconds: int) -> int:
    return int(time.time()) + seconds


LIES: dict[str, Lie] = {
    # Who signed it.
    "alg none": Lie(token=lambda c: unsigned({"alg": "none", "kid": "k1"}, c)),
    "alg nOnE with a signature": Lie(token=lambda c: unsigned({"alg": "nOnE", "kid": "k1"}, c, b"x")),
    "alg missing": Lie(token=lambda c: unsigned({"kid": "k1"}, c, b"x")),
    "HS256 with the public key": by_hmac(PEM),
    "HS256 with the client's secret": by_hmac(SECRET.encode()),
    "RS384": Lie(token=lambda c: signed(c, algorithm="RS384")),
    "PS256": Lie(token=lambda c: signed(c, algorithm="PS256")),
    "a key that is not the provider's": forged(),
    "a key that is not the provider's under its own id": forged(kid="evil"),
    "a key that was taken back": Lie(keys=lambda _: [jwk(THEIRS, "k2")]),
    "jku": forged(jku="https://evil.example/keys"),
    "jku beside the right key": header(jku="https://evil.example/keys"),
    "x5u": forged(x5u="https://evil.example/certificate"),
    "x5c": forged(x5c=["MIIB"]),
    "a key in the header": forged(jwk=jwk(THEIRS, "k1")),
    "kid a path": forged(kid="../../../../dev/null"),
    "kid an address": forged(kid="https://evil.example/keys"),
    "kid SQL": forged(kid="k1' UNION SELECT 'x"),
    "kid missing among several": Lie(
        token=lambda c: by_key({"alg": "RS256"}, json.dumps(c).encode()),
        keys=lambda keys: [*keys, jwk(THEIRS, "k2")],
    ),
    "kid twice": Lie(
        token=lambda c: by_key(b'{"alg": "RS256", "kid": "evil", "kid": "k1"}', json.dumps(c).encode())
    ),
    "kid of two keys": Lie(keys=lambda keys: [*keys, jwk(THEIRS, "k1")]),
    "no keys at all": Lie(keys=lambda _: []),
    "keys that are none": Lie(keys=lambda _: ["k1", 7, {"kid": "k1", "kty": "RSA"}]),
    "a symmetric key in the set": Lie(
        token=by_hmac(b"secret" * 8).token,
        keys=lambda _: [{"kty": "oct", "kid": "k1", "k": encoded(b"secret" * 8)}],
    ),
    "crit": header(crit=["exp"]),
    "signature cut off": Lie(token=lambda c: signed(c).rpartition(".")[0] + "."),
    "claims changed after signing": Lie(
        token=lambda c: ".".join(
            [signed(c).split(".")[0], encoded(c | {"sub": "x"}), signed(c).split(".")[2]]
        )
    ),
    # For whom, by whom.
    "iss with a slash more": Lie(claims=lambda c: c | {"iss": c["iss"] + "/"}),
    "iss in capitals": Lie(claims=lambda c: c | {"iss": c["iss"].upper()}),
    "iss of another directory": Lie(claims=lambda c: c | {"iss": c["iss"].replace("1111-2222", "9999-2222")}),
    "iss common": Lie(claims=lambda c: c | {"iss": "https://login.microsoftonline.com/common/v2.0"}),
    "iss with a place for the directory": Lie(
        claims=lambda c: c | {"iss": c["iss"].replace(c["tid"], "{tenantid}")}
    ),
    "iss missing": changed(iss=None),
    "aud of another": changed(aud="another-client"),
    "aud missing": changed(aud=None),
    "aud of several without azp": changed(aud=[CLIENT, "another-client"]),
    "aud of several for another": changed(aud=[CLIENT, "another-client"], azp="another-client"),
    "azp of another": changed(azp="another-client"),
    "aud an object": changed(aud={CLIENT: True}),
    "tid of another directory": changed(tid=OTHER_DIRECTORY),
    "tid missing": changed(tid=None),
    "guest by another word": changed(acct="guest"),
    # When.
    "expired": Lie(claims=lambda c: c | {"exp": soon(-HOUR)}),
    "exp missing": changed(exp=None),
    "exp a text": Lie(claims=lambda c: c | {"exp": str(soon(HOUR))}),
    "exp a fraction long ago": changed(exp=1.5),
    "exp past all": changed(exp=10**308),
    "exp in a thousand years": Lie(claims=lambda c: c | {"exp": soon(1000 * 366 * 24 * HOUR)}),
    "exp negative": changed(exp=-1),
    "exp infinite": in_bytes(lambda text: re.sub(r'"exp": \d+', '"exp": 1e999', text).encode()),
    "not yet": Lie(claims=lambda c: c | {"nbf": soon(HOUR)}),
    "nbf a text": changed(nbf="now"),
    "issued in the future": Lie(claims=lambda c: c | {"iat": soon(HOUR)}),
    "iat missing": changed(iat=None),
    "iat negative": changed(iat=-1),
    # In answer to what.
    "nonce missing": changed(nonce=None),
    "nonce empty": changed(nonce=""),
    "nonce of another sign-in": changed(nonce="a" * 43),
    "nonce a list": Lie(claims=lambda c: c | {"nonce": [c["nonce"]]}),
    "at_hash of another access token": changed(at_hash=encoded(hashlib.sha256(b"x").digest()[:16])),
    # Who.
    "sub missing": changed(sub=None),
    "sub empty": changed(sub=""),
    "sub too long": changed(sub="x" * 256),
    "sub a number": in_bytes(lambda text: json.dumps(json.loads(text) | {"sub": 7}).encode()),
    "sub with a NUL": changed(sub="subject-of-gina\0"),
    "sub with an unseen sign": changed(sub="subject-of-gina\u200b"),
    "userinfo of another": Lie(userinfo=lambda u: u | {"sub": "subject-of-gina"}),
    "userinfo of nobody": Lie(userinfo=lambda u: {"email": u["email"]}),
    "userinfo of another object": Lie(userinfo=lambda u: u | {"oid": "object-of-erik"}),
    "userinfo no object": Lie(userinfo=lambda u: [u]),
    "userinfo with a name twice": Lie(
        userinfo=lambda u: f'{{"sub": "subject-of-gina", "sub": "{u["sub"]}"}}'.encode()
    ),
    "userinfo elsewhere": Lie(userinfo=lambda _: "http://169.254.169.254/latest/meta-data/"),
    # In what form.
    "a name twice": in_bytes(lambda text: (text[:-1] + ', "sub": "subject-of-gina"}').encode()),
    "UTF-16": in_bytes(lambda text: text.encode("utf-16")),
    "not UTF-8": in_bytes(lambda text: text.replace("Vera", "V\u00e9ra").encode("latin-1")),
    "claims a list": in_bytes(lambda text: f"[{text}]".encode()),
    "a token in a token": in_bytes(lambda text: encoded(text.encode()).encode()),
    "encrypted": Lie(token=lambda c: f"{encoded({'alg': 'RSA-OAEP', 'enc': 'A256GCM'})}.a.b.c.d"),
    "for an API": header(typ="at+jwt"),
    "too large": changed(padding="x" * 20_000),
    "four parts": Lie(token=lambda c: signed(c) + ".x"),
    "an object instead of a token": Lie(token=lambda c: c),
    "no token": Lie(answer=lambda a: {n: v for n, v in a.items() if n != "id_token"}),
    "no access token": Lie(answer=lambda a: {n: v for n, v in a.items() if n != "access_token"}),
    "an access token of two lines": Lie(answer=lambda a: a | {"access_token": "a\r\nX-Evil: 1"}),
    "an answer that is no JSON": Lie(answer=lambda _: b"<html>"),
    "an answer that is too long": Lie(answer=lambda _: b" " * 300_000),
    "an answer from elsewhere": Lie(answer=lambda _: "http://169.254.169.254/token"),
}


def plain(response: Any) -> str:
    """A page without what is new on each."""
    return re.sub(r'(name="csrfmiddlewaretoken" value|nonce)="[^"]*"', "", response.content.decode())


def refusal_page(world: World) -> str:
    """What is shown to whoever comes with a state that was never given."""
    with tenant_atomic(world.contoso.pk):
        key = IdentityProvider.objects.get().key
    return plain(Client().get(reverse("directory:provider-callback", args=[key]), {"state": "guessed"}))


def records(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "directory.sign_in"]


def test_there_are_more_than_forty_lies() -> None:
    assert len(LIES) >= 80


def test_the_same_provider_without_a_lie_signs_its_person_in(world: World, client: Client) -> None:
    world.provider.subject = "subject-of-gina"

    response = come_back(client, to_provider(client, VICTIM))

    assert response.status_code == 302
    assert (client.session[HOME], client.session[USER]) == (world.contoso.pk, world.gina.pk)


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_lie_signs_nobody_in_and_leaves_nothing(
    world: World, client: Client, lie: Lie, caplog: pytest.LogCaptureFixture
) -> None:
    page, before, sessions = refusal_page(world), world.state(), Session.objects.count()
    location = to_provider(client, VICTIM)
    caplog.clear()

    world.provider.lie = lie
    with caplog.at_level(logging.INFO):
        response = come_back(client, location)

    assert (response.status_code, plain(response)) == (403, page)
    assert world.state() == before
    assert HOME not in client.session
    assert Session.objects.count() == sessions + 1  # the visitor's own, of nobody
    (line,) = records(caplog)
    assert "refused" in line
    kept = (*world.provider.issued, SECRET, ACCESS_TOKEN, *parse_qs(urlsplit(location).query)["nonce"])
    assert [secret for secret in kept if secret in caplog.text] == []


# --- The way itself ------------------------------------------------------------------------------------------------


def answer_of(location: str) -> tuple[str, dict[str, str]]:
    """Path and parameters of the address to which the provider sends the browser back."""
    callback = urlsplit(httpx.get(location).headers["Location"])
    return callback.path, {name: values[0] for name, values in parse_qs(callback.query).items()}


def refused(world: World, response: Any, before: Any, page: str) -> None:
    assert (response.status_code, plain(response)) == (403, page)
    assert world.state() == before


def test_a_code_and_state_are_good_once(world: World, client: Client) -> None:
    path, answer = answer_of(to_provider(client, VICTIM))
    first = client.get(path, answer)
    before, session = world.state(), dict(client.session)

    again = client.get(path, answer)
    elsewhere = Client().get(path, answer)

    assert (first.status_code, again.status_code, elsewhere.status_code) == (302, 403, 403)
    assert plain(elsewhere) == refusal_page(world)
    assert (world.state(), dict(client.session)) == (before, session)


def test_a_code_of_another_browser_is_no_good_with_a_state_of_ones_own(world: World, client: Client) -> None:
    """Code injection: the verifier of this browser is not that of the code."""
    page, before = refusal_page(world), world.state()
    attacker = Client()
    _path, stolen = answer_of(to_provider(attacker, VICTIM))
    path, own = answer_of(to_provider(client, VICTIM))

    refused(world, client.get(path, own | {"code": stolen["code"]}), before, page)


def test_even_where_the_provider_forgets_the_verifier_the_nonce_tells(world: World, client: Client) -> None:
    page, before = refusal_page(world), world.state()
    world.provider.lie = Lie(asks_for_verifier=False)
    _path, stolen = answer_of(to_provider(Client(), VICTIM))
    path, own = answer_of(to_provider(client, VICTIM))

    refused(world, client.get(path, own | {"code": stolen["code"]}), before, page)


def test_the_verifier_goes_to_the_provider_and_fits_its_challenge(world: World, client: Client) -> None:
    location = to_provider(client, VICTIM)

    come_back(client, location)

    (_kind, form) = world.provider.asked[-1]
    challenge = parse_qs(urlsplit(location).query)["code_challenge"]
    digest = hashlib.sha256(form["code_verifier"].encode()).digest()
    assert [base64.urlsafe_b64encode(digest).rstrip(b"=").decode()] == challenge
    assert len(form["code_verifier"]) >= 43


def test_a_sign_in_that_lost_its_verifier_is_refused_without_asking_for_a_token(
    world: World, client: Client
) -> None:
    page, before = refusal_page(world), world.state()
    path, answer = answer_of(to_provider(client, VICTIM))
    session = client.session
    for state, _at, _provider in session["socialaccount_states"].values():
        del state["pkce_code_verifier"]
    session.save()

    refused(world, client.get(path, answer), before, page)
    assert world.provider.asked == []


def test_a_state_of_another_session_is_no_good(world: World, client: Client) -> None:
    page, before = refusal_page(world), world.state()
    path, answer = answer_of(to_provider(Client(), VICTIM))
    to_provider(client, VICTIM)

    refused(world, client.get(path, answer), before, page)


def test_an_answer_of_one_provider_at_the_callback_of_another_is_refused(
    world: World, client: Client
) -> None:
    """Mix-up: both sign-ins are under way in one browser."""
    page, before = refusal_page(world), world.state()
    _path, answer = answer_of(to_provider(client, VICTIM))
    fabrikams, own = answer_of(to_provider(client, "frank@fabrikam.example"))

    refused(world, client.get(fabrikams, answer), before, page)
    refused(world, client.get(fabrikams, own | {"code": answer["code"]}), before, page)


def test_an_answer_that_names_another_issuer_is_refused(world: World, client: Client) -> None:
    page, before = refusal_page(world), world.state()
    path, answer = answer_of(to_provider(client, VICTIM))

    refused(world, client.get(path, answer | {"iss": world.other.issuer}), before, page)
    assert world.provider.asked == []


@pytest.mark.parametrize("name", ["code", "state", "iss"])
def test_an_answer_with_a_parameter_twice_is_refused(world: World, client: Client, name: str) -> None:
    page, before = refusal_page(world), world.state()
    path, answer = answer_of(to_provider(client, VICTIM))

    response = client.get(
        path, {key: [value, value] if key == name else value for key, value in answer.items()}
    )

    refused(world, response, before, page)


def test_a_token_of_an_earlier_sign_in_is_refused_in_a_later_one(world: World, client: Client) -> None:
    page = refusal_page(world)
    come_back(Client(), to_provider(Client(), VICTIM))
    first = Client()
    come_back(first, to_provider(first, VICTIM))
    old, before = world.provider.issued[-1], world.state()

    world.provider.lie = Lie(token=lambda _: old)

    refused(world, come_back(client, to_provider(client, VICTIM)), before, page)


def test_a_state_older_than_ten_minutes_is_refused(world: World, client: Client) -> None:
    page, before = refusal_page(world), world.state()
    path, answer = answer_of(to_provider(client, VICTIM))
    session = client.session
    session["socialaccount_states"] = {
        key: (state, at - 601, provider)
        for key, (state, at, provider) in session["socialaccount_states"].items()
    }
    session.save()

    refused(world, client.get(path, answer), before, page)


CONFIGURATIONS = {
    "another issuer": lambda c: c | {"issuer": "https://evil.example"},
    "a place for the directory": lambda c: c | {"issuer": c["issuer"].replace("11111111", "{tenantid}")},
    "no keys": lambda c: {n: v for n, v in c.items() if n != "jwks_uri"},
    "keys in a file": lambda c: c | {"jwks_uri": "file:///etc/passwd"},
    "a script to sign in": lambda c: c | {"authorization_endpoint": "javascript:alert(1)"},
    "no JSON": lambda _: b"<html>",
    "elsewhere": lambda _: "http://169.254.169.254/latest/meta-data/",
    "10 MB": lambda _: b" " * 10_000_000,
    "a name twice": lambda c: (json.dumps(c)[:-1] + ', "issuer": "https://evil.example"}').encode(),
}


@pytest.mark.parametrize("configuration", CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
def test_a_provider_whose_configuration_lies_is_not_gone_to(
    world: World, client: Client, configuration: Any
) -> None:
    world.provider.lie, before = Lie(configuration=configuration), world.state()
    page = client.post("/sign-in/", {"email": VICTIM}).content.decode()

    response = client.get(page.split("url=")[1].split('"')[0])

    assert response.status_code == 503
    assert "Location" not in response
    assert world.state() == before


def test_keys_at_an_inside_address_are_not_fetched(world: World, client: Client) -> None:
    page, before = refusal_page(world), world.state()
    cache.clear()
    world.provider.lie = Lie(configuration=lambda c: c | {"jwks_uri": "http://169.254.169.254/keys"})

    refused(world, come_back(client, to_provider(client, VICTIM)), before, page)


# --- Properly vouched for, and still nobody else -------------------------------------------------------------------

STRANGERS: dict[str, dict[str, Any]] = {
    "a colleague's address": {"email": VICTIM},
    "a colleague's address, verified": {"email": VICTIM, "email_verified": True},
    "a colleague's address, not verified": {"email": VICTIM, "email_verified": False},
    "a colleague's address, verified in words": {"email": VICTIM, "email_verified": "true"},
    "a colleague's address in capitals": {"email": VICTIM.upper()},
    "a colleague's name to sign in": {"email": None, "preferred_username": VICTIM, "upn": VICTIM},
    "an address of another organization": {"email": "frank@fabrikam.example", "email_verified": True},
    "the subject of somebody at another issuer": {"sub": "subject-of-frank"},
    "the object of somebody whom another organization's directory made": {"oid": "object-of-fay"},
    "the subject of a colleague with a space": {"sub": "subject-of-gina "},
    "the subject of a colleague in capitals": {"sub": "SUBJECT-OF-GINA"},
    "a guest with a colleague's address": {"email": VICTIM, "acct": 1},
    "roles of its own": {"roles": ["global_admin"], "wids": ["62e90394-69f5-4237-9190-012177145e10"]},
}


@pytest.mark.parametrize("values", STRANGERS.values(), ids=STRANGERS.keys())
def test_a_stranger_becomes_somebody_new_without_rights_and_touches_nobody(
    world: World, client: Client, values: dict[str, Any]
) -> None:
    before = world.state()
    if "sub" in values:
        world.provider.subject = values["sub"]
    world.provider.lie = changed(**values)

    response = come_back(client, to_provider(client, VICTIM))

    after = world.state()
    assert response.status_code == 302
    assert client.session[USER] != world.gina.pk
    people = "Contoso directory_user"
    (made,) = set(after[people]) - set(before[people])
    assert set(before[people]) < set(after[people])
    for table in ("roleassignment", "groupmembership"):
        assert after[f"Contoso directory_{table}"] == before[f"Contoso directory_{table}"]
    assert {name: rows for name, rows in after.items() if name.startswith("Fabrikam")} == {
        name: rows for name, rows in before.items() if name.startswith("Fabrikam")
    }
    assert client.get(reverse("portal:roles")).status_code == 404
    assert made


@pytest.mark.parametrize("values", STRANGERS.values(), ids=STRANGERS.keys())
def test_where_nobody_becomes_a_member_a_stranger_stays_outside(
    world: World, client: Client, values: dict[str, Any]
) -> None:
    with tenant_atomic(world.contoso.pk):
        Tenant.objects.filter(pk=world.contoso.pk).update(creates_members=False)
    before = world.state()
    if "sub" in values:
        world.provider.subject = values["sub"]
    world.provider.lie = changed(**values)

    response = come_back(client, to_provider(client, VICTIM))

    assert response.status_code == 403
    assert b"You have no account here" in response.content
    assert world.state() == before
    assert HOME not in client.session
