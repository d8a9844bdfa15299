"""Every call of the API with every token, on every kind of object (reliability §5).

What is expected comes from the call's rule, the token's scopes and the capability table of product §2. A new call
with arguments needs examples in `EXAMPLES`: without them its test fails.
"""

import json
import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from commerce.models import Order, OrderLine, Subscription
from config.kit.access import Rule
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import ApiToken, Tenant, User
from directory.operations import audit
from directory.operations.tokens import use_token
from directory.permissions import ROLES, Capability
from directory.queries.audit import sees_any
from directory.tokens import includes, new_secret
from licensing.operations.requests import ask_for_licenses
from tests.access.counting import counted
from tests.access.test_rules import walk
from tests.factories import (
    actor_of,
    caller_with,
    client_of,
    make_bill,
    make_relationship,
    make_subscription,
    make_tenant,
    make_user,
    product,
    service_token_of,
    token_of,
)
from tests.tiers import mostly_long

pytestmark = pytest.mark.django_db

CANARY = "ZQ-B"
OWN, COLLEAGUES, ORG, FOREIGN, MISSING = "own", "colleague's", "organization's", "other tenant's", "missing"
CALLS = sorted(
    (
        (name, route, method, rule)
        for name, route, callback in walk()
        for method, rule in getattr(callback, "access_rules", {}).items()
        # Those of provisioning take no other token than their own (tests/scim).
        if rule.scope != "scim"
    ),
    key=lambda entry: entry[:3],
)
NARROW = ("policies.read", "purchases.read", "licenses.write", "bills.read")
TOKENS = (
    "member",
    "guest",
    "purchaser",
    *ROLES,
    *(f"global_admin {scope}" for scope in NARROW),
    "service full",
    "service policies.read",
    "other tenant's global admin",
)
BAD_TOKENS = ("none", "never made", "revoked", "expired", "of somebody who left", "a session")


@dataclass
class World:
    """Tenant A with a token in every role and purchases of each kind, and tenant B full of canaries."""

    a: Tenant
    b: Tenant
    purchases: dict[str, uuid.UUID]
    bills: dict[str, str]
    people: dict[str, uuid.UUID]
    purchaser: User
    requests: dict[str, uuid.UUID]


@pytest.fixture
def world() -> World:
    at = now()
    a, b = make_tenant(name="A"), make_tenant(name=f"{CANARY}-tenant")
    purchaser, colleague = make_user(a, purchaser_since=at), make_user(a, name="Colleague")
    stranger = make_user(b, name=f"{CANARY}-purchaser", email=f"{CANARY}@b.example".lower())
    bought = {
        OWN: make_subscription(a, owner=purchaser),
        COLLEAGUES: make_subscription(a, owner=colleague),
        ORG: make_subscription(a),
        FOREIGN: make_subscription(b, owner=stranger),
    }
    return World(
        a,
        b,
        {kind: each.key for kind, each in bought.items()} | {MISSING: uuid.uuid4()},
        {kind: make_bill(each, at=at).number for kind, each in bought.items()}
        | {MISSING: "SK-NL-2026-999999"},
        {OWN: purchaser.key, COLLEAGUES: colleague.key, FOREIGN: stranger.key, MISSING: uuid.uuid4()},
        purchaser,
        {
            OWN: asked_by(purchaser),
            COLLEAGUES: asked_by(colleague),
            FOREIGN: asked_by(stranger),
            MISSING: uuid.uuid4(),
        },
    )


def asked_by(user: User) -> uuid.UUID:
    """An open request of the user for the own license, with an admin who could decide."""
    make_user(user.tenant, name=f"{user.name} decider", roles=("global_admin",))
    asked = ask_for_licenses(
        actor=actor_of(user),
        product=product("visio-plan-1"),
        user_ids=[user.pk],
        reason="For plans.",
        at=now(),
    )
    return asked.request.key


def secret_of(who: str, world: World) -> str:
    name, _space, scope = who.partition(" ")
    if who == "other tenant's global admin":
        return token_of(make_user(world.b, roles=("global_admin",)))
    if name == "service":
        return service_token_of(make_user(world.a, roles=("global_admin",)), scope)
    if who == "purchaser":
        return token_of(world.purchaser)
    if who in ("member", "guest"):
        return token_of(make_user(world.a, kind=who))
    return token_of(make_user(world.a, roles=(name,)), *([scope] if scope else []))


def policy(world: World) -> dict[str, dict[str, Any]]:
    return {"": {"policy_id": "AllowSelfServicePurchase"}, MISSING: {"policy_id": "AllowEverything"}}


def policy_product(world: World) -> dict[str, dict[str, Any]]:
    return {
        "": {"policy_id": "AllowSelfServicePurchase", "product_id": "CFQ7TTC0LH2H"},
        MISSING: {"policy_id": "AllowSelfServicePurchase", "product_id": "CFQ7TTC00000"},
    }


def offer_type(world: World) -> dict[str, dict[str, Any]]:
    return {
        "": {"policy_id": "AllowSelfServicePurchase", "offer_type": "SaaS"},
        MISSING: {"policy_id": "AllowSelfServicePurchase", "offer_type": "Books"},
    }


def entitlement(world: World) -> dict[str, dict[str, Any]]:
    return {
        kind: {"query": {"user": str(key), "product": "power-bi-pro"}} for kind, key in world.people.items()
    }


def prompt(world: World) -> dict[str, dict[str, Any]]:
    return {
        kind: {"product": "power-bi-pro", "query": {"user": str(key)}} for kind, key in world.people.items()
    }


def purchase(world: World) -> dict[str, dict[str, Any]]:
    return {kind: {"purchase_id": str(key)} for kind, key in world.purchases.items()}


def bill(world: World) -> dict[str, dict[str, Any]]:
    return {kind: {"number": number} for kind, number in world.bills.items()}


def user(world: World) -> dict[str, dict[str, Any]]:
    return {kind: {"user_id": str(key)} for kind, key in world.people.items()}


def company_subscription(world: World) -> dict[str, dict[str, Any]]:
    return {kind: {"subscription_id": str(key)} for kind, key in world.purchases.items()}


def order(world: World) -> dict[str, dict[str, Any]]:
    """An order about each purchase."""
    examples = {MISSING: {"order_id": str(uuid.uuid4())}}
    for kind, key in world.purchases.items():
        if kind == MISSING:
            continue
        with tenant_atomic(world.b.pk if kind == FOREIGN else world.a.pk):
            bought = Subscription.objects.get(key=key)
            placed = Order.objects.create(
                tenant_id=bought.tenant_id,
                type=Order.Type.ADD_SEATS,
                placed_at=now(),
                actor_label=f"{CANARY}-buyer" if kind == FOREIGN else "Buyer",
            )
            OrderLine.objects.create(
                tenant_id=bought.tenant_id,
                order=placed,
                subscription=bought,
                quantity=1,
                currency="EUR",
                unit_price_minor=1,
                amount_minor=1,
            )
        examples[kind] = {"order_id": str(placed.key)}
    return examples


def relationship(world: World) -> dict[str, dict[str, Any]]:
    ours = make_relationship(world.a, make_tenant())
    theirs = make_relationship(world.b, make_tenant(), name=f"{CANARY}-administration")
    return {
        ORG: {"relationship_id": str(ours.key)},
        FOREIGN: {"relationship_id": str(theirs.key)},
        MISSING: {"relationship_id": str(uuid.uuid4())},
    }


def audit_entry(world: World) -> dict[str, dict[str, Any]]:
    """An entry about the purchase policy, which whoever reads more than their own purchases reads."""
    examples = {MISSING: {"entry_id": 2**62}}
    for kind, tenant in ((ORG, world.a), (FOREIGN, world.b)):
        with tenant_atomic(tenant.pk):
            entry = audit.entry(
                Actor.system(tenant.pk),
                "policies.default.changed",
                at=now(),
                target_type="policy",
                target_id=1,
                target_label=f"{CANARY}-policy" if kind == FOREIGN else "Policy",
            )
            entry.save(force_insert=True)
        examples[kind] = {"entry_id": entry.pk}
    return examples


def license_request(world: World) -> dict[str, dict[str, Any]]:
    return {kind: {"request_id": str(key)} for kind, key in world.requests.items()}


EXAMPLES = {
    "license-request": license_request,
    "license-request-approve": license_request,
    "license-request-reject": license_request,
    "license-request-forward": license_request,
    "license-request-approve-spending": license_request,
    "license-request-allow-product": license_request,
    "license-request-withdraw": license_request,
    "purchase-take-over": purchase,
    "purchase": purchase,
    "purchase-orders": purchase,
    "purchase-cancellation": purchase,
    "purchase-cancel": purchase,
    "purchase-licenses": purchase,
    "purchase-licenses-assign": purchase,
    "purchase-licenses-unassign": purchase,
    "bill": bill,
    "audit-entry": audit_entry,
    "entitlements": entitlement,
    "prompt": prompt,
    "order": order,
    "relationship": relationship,
    "graph-subscription": company_subscription,
    "graph-user": user,
    "graph-license-details": user,
    "graph-assign-license": user,
    "policy": policy,
    "policy-products": policy,
    "policy-product": policy_product,
    "policy-offer-type": offer_type,
}

# A body that each call which takes one understands.
BODIES: dict[tuple[str, str], Any] = {
    ("policy-product", "PUT"): {"policyValue": "Disabled"},
    ("policy-offer-type", "PUT"): {"policyValue": "Disabled"},
    ("purchase-cancel", "POST"): {
        "ending": "at_once",
        "refundMinor": 1,
        "creditedMinor": 1,
        "stillMinor": 1,
        "version": 0,
    },
    ("capacity-consumption", "PUT"): {
        "items": [
            {
                "productId": "CFQ7TTC0LH2H",
                "kind": "file",
                "environment": "Default",
                "usedMb": 12,
                "measuredAt": "2026-03-01T10:00:00Z",
            }
        ]
    },
    ("requests", "POST"): {"product": "CFQ7TTC0LH2H", "reason": "For the tenders."},
    ("license-request-approve", "POST"): {},
    ("license-request-reject", "POST"): {"message": "Not this year."},
    ("license-request-approve-spending", "POST"): {},
    ("license-request-allow-product", "POST"): {},
    ("workspaces", "POST"): {"product": "CFQ7TTC0LH2H", "name": "Plans"},
    ("purchase-take-over", "POST"): {"quote": "made up"},
    ("purchase-licenses-assign", "POST"): {"people": ["nobody@nowhere.example"]},
    ("purchase-licenses-unassign", "POST"): {"people": ["nobody@nowhere.example"]},
    ("graph-assign-license", "POST"): {"addLicenses": [], "removeLicenses": []},
}
# A body that is understood and does not fit what holds now.
CONFLICTS = {"purchase-cancel", "purchase-cancellation", "purchase-take-over"}
# A body that is understood, and was never given out.
FORGED = {"purchase-take-over"}
# What a call about one object asks over the object itself, where its rule alone does not say it.
OVER_THE_OBJECT: dict[str, tuple[str, str]] = {
    "entitlements": (Capability.SEE_LICENSES, ""),
    "prompt": (Capability.SEE_LICENSES, ""),
    "purchase": (Capability.SEE_PURCHASES, ""),
    "purchase-orders": (Capability.SEE_PURCHASES, ""),
    "purchase-cancellation": (Capability.SEE_PURCHASES, Capability.MANAGE_PURCHASES),
    "purchase-cancel": (Capability.SEE_PURCHASES, Capability.MANAGE_PURCHASES),
    "purchase-licenses": (Capability.SEE_LICENSES, ""),
    "purchase-licenses-assign": (Capability.SEE_LICENSES, Capability.ASSIGN),
    "purchase-licenses-unassign": (Capability.SEE_LICENSES, Capability.ASSIGN),
    "purchase-take-over": (Capability.SEE_PURCHASES, Capability.TAKE_OVER),
    "bill": (Capability.SEE_BILLS, ""),
    "graph-subscription": (Capability.SEE_LICENSES, ""),
    "order": (Capability.SEE_PURCHASES, ""),
}

FINE = {200, 201, 204}


def expected(name: str, rule: Rule, actor: Actor, scopes: frozenset[str], kind: str) -> set[int]:
    """The statuses that product §2 and the scopes allow."""
    if not includes(scopes, rule.scope):
        return {403}
    if (rule.sees and not actor.may(rule.sees)) or (rule.may and not actor.may(rule.may)):
        return {403}
    if name == "workspaces" and rule.scope == "licenses.write":
        # Nobody of this world has a license to make one by, and a service is to name somebody.
        return {403} if actor.user_id else {404}
    if name.startswith("audit") and not sees_any(actor):
        return {403}
    if kind in (FOREIGN, MISSING):
        return {404}
    if name == "audit-entry" and not actor.may(Capability.SEE_AUDIT_BILLING):
        return {404}
    if kind and name.startswith("license-request"):
        return over_a_request(name, actor, is_own=kind == OWN and actor.is_purchaser)
    if name == "graph-license-details":
        # Of others to whoever sees licenses of others: of a colleague's own ones a purchaser sees none.
        is_self = kind == OWN and actor.is_purchaser
        sees_others = actor.is_purchaser or "all" in actor.scopes(Capability.SEE_LICENSES)
        return FINE if is_self or sees_others else {404}
    if kind and name in OVER_THE_OBJECT:
        sees, may = OVER_THE_OBJECT[name]
        whose = {"is_own": kind == OWN and actor.is_purchaser, "is_org": kind == ORG}
        if not actor.reaches(sees, **whose):
            return {404}
        if may and not actor.reaches(may, **whose):
            return {403}
    return FINE | ({409} if name in CONFLICTS else set()) | ({400} if name in FORGED else set())


def over_a_request(name: str, actor: Actor, *, is_own: bool) -> set[int]:
    """Who asked sees it, and takes it back; so does the queue, without taking it back. Licenses may be missing."""
    if not is_own and (name.endswith("withdraw") or not actor.may(Capability.SEE_QUEUE)):
        return {404}
    decides = actor.may(Capability.GIVE_FREE_SEAT) or actor.may(Capability.ANSWER_WITH_MONEY)
    if name.endswith("reject") and not decides:
        return {403}
    return FINE | {409}


def call(client: Client, name: str, method: str, kwargs: dict[str, Any]) -> Any:
    """One call, whose effects are taken back."""
    short = name.rsplit(":", 1)[1]
    kwargs = dict(kwargs)
    query = urlencode(kwargs.pop("query", {}))
    address = f"{reverse(name, kwargs=kwargs)}?{query}"
    body = json.dumps(BODIES[short, method]) if (short, method) in BODIES else ""
    with transaction.atomic():
        # Some calls are refused without it.
        headers = {"Idempotency-Key": uuid.uuid4().hex} if method == "POST" else {}
        response = client.generic(method, address, body, content_type="application/json", headers=headers)
        if response.streaming:
            # Read as the server would send it.
            response = HttpResponse(
                response.getvalue(), status=response.status_code, headers=dict(response.items())
            )
        transaction.set_rollback(True)
    return response


def everything_of(response: Any) -> str:
    headers = "\n".join(f"{name}: {value}" for name, value in response.items())
    return f"{headers}\n{response.content.decode(errors='replace')}"


@pytest.mark.parametrize(
    "who", mostly_long(TOKENS, but=("purchaser", "global_admin", "other tenant's global admin"))
)
def test_every_call_answers_as_product_2_and_the_scopes_say(world: World, who: str, settings: Any) -> None:
    settings.API_BURST = 100_000
    secret = secret_of(who, world)
    caller, client = use_token(secret=secret, at=now()), caller_with(secret)
    missing = [client.get(f"/api/v1.0/{path}") for path in ("no/such/call", "users/no/such/call")]
    not_there = {answer["Content-Type"]: answer.content for answer in missing}
    is_foreign = caller.tenant.pk == world.b.pk
    wrong = []
    for name, _route, method, rule in CALLS:
        short = name.rsplit(":", 1)[1]
        examples = EXAMPLES[short](world) if short in EXAMPLES else {"": {}}
        for kind, kwargs in examples.items():
            if is_foreign:
                if kind == FOREIGN:
                    continue
                kind = FOREIGN if kind in (OWN, COLLEAGUES, ORG) else kind
            response = counted(call(client, name, method, kwargs), f"calls with {who}")
            allowed = expected(short, rule, caller.actor, caller.scopes, kind)
            line = f"{method} {name} [{kind}] with {who}: {response.status_code}"
            if response.status_code not in allowed:
                wrong.append(f"{line}, expected one of {sorted(allowed)}: {response.content[:200]!r}")
            if response.status_code == 404 and response.content != not_there[media_of(short)]:
                wrong.append(f"{line}, but not the answer of what is missing")
            wrong += [f"{line}, {problem}" for problem in problems_of(response, is_foreign, media_of(short))]

    assert not wrong, "\n".join(wrong)


def media_of(name: str) -> str:
    """In which form a call answers what it refuses."""
    return "application/json" if name.startswith("graph-") else "application/problem+json"


def problems_of(response: Any, is_foreign: bool, media: str) -> list[str]:
    """What is wrong with an answer, whatever its status."""
    found = []
    if response["Cache-Control"] != "private, no-store":
        found.append(f"Cache-Control {response['Cache-Control']!r}")
    if not {"Cookie", "Authorization"} <= set(response.get("Vary", "").split(", ")):
        found.append(f"Vary {response.get('Vary')!r}")
    if not response.get("x-ms-correlation-id"):
        found.append("no correlation id")
    if response.cookies:
        found.append("sets a cookie")
    if response.status_code >= 400 and response["Content-Type"] != media:
        found.append(f"is {response['Content-Type']}")
    if not is_foreign and CANARY.lower() in everything_of(response).lower():
        found.append("tells something of the other tenant")
    return found


@pytest.mark.parametrize("why", BAD_TOKENS)
def test_without_a_good_token_every_call_answers_401_and_changes_nothing(
    world: World, why: str, settings: Any
) -> None:
    settings.API_BURST = 100_000
    admin, _other = (make_user(world.a, roles=("global_admin",)) for _ in range(2))
    client = _with_bad_token(why, world, admin)
    wrong = []
    for name, _route, method, _rule in CALLS:
        short = name.rsplit(":", 1)[1]
        examples = EXAMPLES[short](world) if short in EXAMPLES else {"": {}}
        for kind, kwargs in examples.items():
            response = counted(call(client, name, method, kwargs), f"calls with bad token: {why}")
            if response.status_code != 401 or response["WWW-Authenticate"] != "Bearer":
                wrong.append(f"{method} {name} [{kind}]: {response.status_code}")
            if response["Content-Type"] != media_of(short):
                wrong.append(f"{method} {name} [{kind}]: {response['Content-Type']}")

    assert not wrong, "\n".join(wrong)


def _with_bad_token(why: str, world: World, admin: User) -> Client:
    if why == "a session":
        return client_of(admin)
    if why == "none":
        return Client()
    secret = new_secret("personal") if why == "never made" else token_of(admin)
    with tenant_atomic(world.a.pk):
        rows = ApiToken.objects.filter(user=admin)
        if why == "revoked":
            rows.update(revoked_at=now())
        if why == "expired":
            rows.update(created_at="2020-01-01T00:00Z", expires_at="2020-01-02T00:00Z")
        if why == "of somebody who left":
            User.objects.filter(pk=admin.pk).update(status="disabled")
    return caller_with(secret)


def test_every_call_with_arguments_has_examples_and_no_example_is_left_over() -> None:
    with_arguments = {name.rsplit(":", 1)[1] for name, route, _method, _rule in CALLS if "<" in route}

    with_query = {"entitlements"}
    assert with_arguments == set(EXAMPLES) - with_query
    assert {name for name, _method in BODIES} | set(OVER_THE_OBJECT) <= {
        name.rsplit(":", 1)[1] for name, *_rest in CALLS
    }


def test_every_call_asks_for_a_scope_and_a_token() -> None:
    assert CALLS
    for name, _route, method, rule in CALLS:
        assert rule.audience == "token", (name, method)
        assert rule.scope, (name, method)
