"""Every call as the OpenAPI document describes it, with generated values, as every role (reliability §6).

Schemathesis writes the calls: the examples given here, then each value and each limit that the document names, then
random ones, right and wrong. The first role gets all of it; the others what is right, and nothing random, unless
FUZZ_EXAMPLES says how many random ones a call gets as every role. That what is refused is a problem, and Graph's error
where calls are in Graph's shapes, is in the document (`test_frame.py`), and so is checked here.
"""

import itertools
import os
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import requests
import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from django.test import Client
from schemathesis.engine import Status, events, from_schema
from schemathesis.transport.wsgi import WSGITransport

from commerce.models import Bill, Order, Subscription
from config.kit.clock import now
from config.kit.tenancy import tenant_atomic
from directory.models import AuditEntry, User
from licensing.operations.assignments import assign_license
from licensing.operations.requests import ask_for_licenses
from licensing.operations.workspaces import make_workspace
from tests.factories import (
    actor_of,
    caller_with,
    make_agreement,
    make_bill,
    make_central_subscription,
    make_relationship,
    make_self_service_subscription,
    make_subscription,
    make_tenant,
    make_user,
    product,
    token_of,
)

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]

FEW = 4
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", FEW))
ROLES: dict[str, tuple[str, ...]] = {
    "global admin": ("global_admin",),
    "billing admin": ("billing_admin",),
    "global reader": ("global_reader",),
    "purchaser and license admin": ("license_admin",),
    "member": (),
}
PRODUCT = "CFQ7TTC0H9MP"
POLICY = "AllowSelfServicePurchase"
# A value of the right type may still name nobody and nothing, or be no cursor, filter or quote of ours: that is 400
# with the reason, and no schema can say it.
LEFT_OUT = {"positive_data_acceptance": {"enabled": False}}
KEY = "HTTP_IDEMPOTENCY_KEY"


@dataclass
class World:
    """An organization with somebody to call, and what there is of each kind, by what the document calls it."""

    caller: User
    known: dict[str, list[str | int]]
    examples: dict[str, dict[str, Any]]


def make_world(role: str) -> World:
    """The caller's organization; some of what is known is another's, and never to be seen."""
    at = now()
    tenant, partner, other = make_tenant(name="Contoso"), make_tenant(), make_tenant()
    make_agreement(tenant)
    caller = make_user(tenant, name="Caller", roles=ROLES[role])
    admin = make_user(tenant, name="Admin", roles=("global_admin",))
    pat, mike, lea = (make_user(tenant, name=name) for name in ("Pat", "Mike", "Lea"))
    stranger = make_user(other)
    central, expired = make_subscription(tenant), make_subscription(tenant, state="expired")
    is_purchaser = role.startswith("purchaser")
    own, taken = (
        make_self_service_subscription(caller if is_purchaser else pat, at=at - timedelta(days=days))
        for days in (1, 2)
    )
    # Nobody cancels a colleague's.
    canceled = own if is_purchaser else make_central_subscription(admin, at=at)
    bought = list({each.pk: each for each in (central, expired, own, taken, canceled)}.values())
    foreign = make_subscription(other, owner=stranger)
    for each in (*bought, foreign):
        make_bill(each, at=at)
    for each in (mike,) if is_purchaser else (caller, mike):
        assign_license(actor=actor_of(admin), subscription_key=central.key, user_id=each.pk, at=at)
    make_workspace(actor=actor_of(caller), product=product(), name="Plans", at=at)
    asked = [
        ask_for_licenses(
            actor=actor_of(who), product=product(slug), user_ids=[who.pk], reason="For plans.", at=at
        ).request.key
        for who, slug in (
            *((lea, slug) for slug in ("power-bi-pro", "visio-plan-1")),
            *((who, slug) for who in (caller, pat, mike) for slug in ("visio-plan-1", "project-plan-1")),
        )
    ]
    relationship = make_relationship(tenant, partner)
    with tenant_atomic(tenant.pk):
        orders = Order.objects.order_by("pk").values_list("key", flat=True)
        entries = AuditEntry.objects.order_by("pk").values_list("pk", flat=True)
        bills = Bill.objects.order_by("pk").values_list("number", flat=True)
        known: dict[str, list[Any]] = {
            "order_id": [str(key) for key in orders],
            "entry_id": list(entries),
            "number": list(bills),
        }
    people = [caller, mike, pat, stranger]
    known |= {
        "purchase_id": [str(each.key) for each in (*bought, foreign)],
        "request_id": [str(key) for key in asked],
        "relationship_id": [str(relationship.key)],
        "user_id": [str(each.key) for each in people],
        "people": [each.email for each in people],
        "product_id": [PRODUCT, "CFQ7TTC0LH2H"],
        "policy_id": [POLICY],
        "offer_type": ["SaaS", "dynamicsbc"],
        "sku_id": [str(product().sku_id)],
    }
    return World(caller, known, examples_of(caller if is_purchaser else admin, admin, known, canceled, taken))


def examples_of(
    owner: User, admin: User, known: dict[str, list[Any]], canceled: Subscription, taken: Subscription
) -> dict[str, dict[str, Any]]:
    """What each call is first made with, by the call's name, and by that of the value; bodies under `body`."""
    preview = caller_with(token_of(owner)).get(f"/api/v1.0/purchases/{canceled.key}/cancellation").json()
    quote = caller_with(token_of(admin)).get(f"/api/v1.0/purchases/{taken.key}/take-over").json()["quote"]
    one = {name: values[0] for name, values in known.items()}
    asked = iter(known["request_id"])
    user, sku = one["user_id"], one["sku_id"]
    used = {"kind": "file", "environment": "Default", "usedMb": 12, "measuredAt": "2026-03-01T10:00:00Z"}
    figures = ("ending", "refundMinor", "creditedMinor", "stillMinor", "version")
    return defaultdict(
        dict,
        {
            "check": {"user": user, "product": PRODUCT},
            "prompt_token": {"user": user, "product": PRODUCT},
            "set_product_policy_value": {"product_id": PRODUCT, "body": {"policyValue": "Disabled"}},
            "set_offer_type_policy": {"body": {"policyValue": "Disabled"}},
            "cancel_purchase": {
                "purchase_id": str(canceled.key),
                "body": {name: preview[name] for name in figures},
            },
            "take_purchase_over": {"purchase_id": str(taken.key), "body": {"quote": quote}},
            "assign": {"body": {"people": [known["people"][2]]}},
            "unassign": {"body": {"people": [known["people"][1]]}},
            "put_consumption": {"body": {"items": [{"productId": PRODUCT, **used}]}},
            "ask_for_licenses": {
                "body": {
                    "product": known["product_id"][1],
                    "reason": "For plans.",
                    "people": [known["people"][2]],
                }
            },
            "create_workspace": {"body": {"product": PRODUCT, "name": "Roads"}},
            "assign_license": {"user_id": known["user_id"][2], "body": {"addLicenses": [{"skuId": sku}]}},
            "preview_cancellation": {"purchase_id": known["purchase_id"][0]},
            "preview_take_over": {"purchase_id": known["purchase_id"][2]},
            # The first is one of which there is a license, the third the caller's.
            "approve_request": {"request_id": next(asked), "body": {}},
            "forward_request": {"request_id": next(asked)},
            "withdraw_request": {"request_id": next(asked)},
            "approve_spending": {"request_id": next(asked), "body": {}},
            "allow_product": {"request_id": next(asked), "body": {}},
            "reject_request": {"request_id": next(asked), "body": {"message": "Not this year."}},
        },
    )


# What else the document calls things of a kind, in addresses, questions and bodies.
ALSO = {
    "purchase_id": ("path.subscription_id",),
    "user_id": ("query.user", "body.user"),
    "people": ("body.people[*]",),
    "product_id": ("path.product", "query.product", "body.product", "body.items[*].productId"),
    "sku_id": ("body.addLicenses[*].skuId", "body.removeLicenses[*]"),
}


def described(world: World) -> dict[str, Any]:
    """The document as it is served, with the world's examples in it."""
    document: dict[str, Any] = Client().get("/api/v1.0/openapi.json").json()
    for calls in document["paths"].values():
        for call in calls.values():
            given = world.examples[call["operationId"]]
            for parameter in call.get("parameters", ()):
                values = given.get(parameter["name"], (world.known.get(parameter["name"]) or [None])[0])
                if values is not None:
                    parameter["example"] = values
            if "body" in given:
                call["requestBody"]["content"]["application/json"]["example"] = given["body"]
    return document


def with_fresh_keys(application: Any) -> Any:
    """Most calls with an Idempotency-Key are new ones: else nearly all would name the first, and be refused for it."""
    numbers = itertools.count()

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        key, number = environ.get(KEY, ""), next(numbers)
        if 0 < len(key) < 256 and number % 5:
            environ[KEY] = f"{key[:200]}{number}"
        return application(environ, start_response)

    return answer


@pytest.fixture
def _in_process(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No limit on calls; and what schemathesis asks besides to judge an answer (4.32.5) comes here, too."""
    settings.API_PER_SECOND = settings.API_BURST = settings.ENTITLEMENTS_PER_SECOND = 10_000_000
    settings.EXPORTS_PER_HOUR = 10_000_000
    settings.ALLOWED_HOSTS = ["localhost", "testserver"]
    send = WSGITransport.send

    def without_network(self: WSGITransport, case: Any, **options: Any) -> Any:
        # Without a session it hands what is for the network alone to the application's client, which does not know it.
        return send(self, case, **{"session": requests.Session(), **options})

    monkeypatch.setattr(WSGITransport, "send", without_network)


@dataclass
class Report:
    """What was answered, by call and status, and what is wrong with it, one call to try again for each kind."""

    answers: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    wrong: dict[str, str] = field(default_factory=dict)

    def add(self, event: Any) -> None:
        match event:
            case events.NonFatalError():
                self.wrong[f"{event.label}: {event.value!r}"] = ""
            case events.FatalError():
                raise event.exception
            case events.ScenarioFinished(recorder=recorder):
                for key, sent in recorder.interactions.items():
                    self.answers[recorder.cases[key].value.operation.label][sent.response.status_code] += 1
                for check in itertools.chain.from_iterable(recorder.checks.values()):
                    if check.status == Status.FAILURE:
                        failure = check.failure_info.failure
                        what = f"{recorder.label}: {check.name}: {failure.title}: {failure.message[:300]}"
                        self.wrong.setdefault(what, check.failure_info.code_sample[:1_000])

    def __str__(self) -> str:
        return "\n\n".join(f"{what}\n    {call}" for what, call in sorted(self.wrong.items()))


def run(world: World, *, whole: bool) -> Report:
    """Call everything as the world's caller: all that schemathesis finds, or what is right and at its limits."""
    config = schemathesis.Config.from_dict(
        {
            "seed": 1,
            "max-failures": 1_000,
            "continue-on-failure": True,
            "suppress-health-check": ["all"],
            "warnings": False,
            "auth": {"openapi": {"Bearer": {"bearer": token_of(world.caller)}}},
            "checks": LEFT_OUT,
            "generation": {"deterministic": True, "max-examples": EXAMPLES, "no-shrink": True},
            "phases": {
                "coverage": {"generation": {"mode": "all" if whole else "positive"}},
                "fuzzing": {"enabled": whole},
                # The document has no links, and nothing is deleted by the API; `tests/simulation` does things in a row.
                "stateful": {"enabled": False},
            },
            "dictionaries": {name: {"values": values} for name, values in world.known.items()},
            "parameters": {
                place: {"dictionary": name, "probability": 0.7}
                for name in world.known
                for place in (f"path.{name}", *ALSO.get(name, ()))
            },
        }
    )
    schema = schemathesis.openapi.from_dict(described(world), config=config)
    schema.app = with_fresh_keys(WSGIHandler())
    report = Report()
    for event in from_schema(schema).execute():
        report.add(event)
    return report


@pytest.mark.usefixtures("_in_process")
@pytest.mark.parametrize("role", ROLES)
def test_no_call_fails_or_answers_what_the_document_does_not_say(role: str) -> None:
    is_first = role == "global admin"
    world = make_world(role)
    report = run(world, whole=is_first or EXAMPLES > FEW)

    assert not report.wrong, str(report)
    labels = {
        f"{method.upper()} {path}" for path, calls in described(world)["paths"].items() for method in calls
    }
    assert set(report.answers) == labels
    # Without these it would not be known that calls came further than their first check.
    well = {label for label, counts in report.answers.items() if counts[200] + counts[201]}
    if is_first:
        assert well == labels
    assert {label for label in labels if not report.answers[label][401]} <= labels - well
