"""The processor's webhooks: verified, kept once, and only ever a hint (I-18; F-14, F-15, F-16)."""

import json
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
import redis
from django.conf import settings
from django.core.cache import cache
from django.db import connections
from django.test import Client

from commerce.models import Bill, Checkout, Order, Payment, PaymentAttempt, WebhookEvent
from commerce.operations.payments import Pending, forget_events, handle_events, pay_checkout, reconcile
from commerce.views.webhooks import REFUSED
from config.demo.processor.webhooks import signature
from config.demo.servers import free_port
from config.kit.tenancy import tenant_atomic, use_login
from directory.models import User
from tests.factories import AT, actor_of, make_checkout, make_tenant, make_user
from tests.processor import card_token, charges, control, fault

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]

URL = "/hooks/stripe/"


def event(**changes: Any) -> dict[str, Any]:
    return {
        "id": "evt_1",
        "object": "event",
        "type": "payment_intent.succeeded",
        "livemode": False,
        "data": {"object": {"id": "pi_1", "object": "payment_intent"}},
        **changes,
    }


def post(client: Client, body: str, header: str | None = None, *, at: int | None = None) -> int:
    """Deliver a body; signed now by our secret unless another header is given."""
    if header is None:
        header = signature(body, settings.STRIPE_WEBHOOK_SECRETS[0], at=at or int(time.time()))
    answer = client.post(URL, body, content_type="application/json", headers={"stripe-signature": header})
    return answer.status_code


def paid_without_an_answer(pat: User) -> Checkout:
    """A charged checkout of which nothing is known here."""
    checkout = make_checkout(pat)
    fault("lose_answer", "/v1/payment_intents/*/confirm")
    outcome = pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=card_token(), at=AT)
    assert isinstance(outcome, Pending)
    return checkout


def all_events() -> list[dict[str, Any]]:
    """What the processor would tell, oldest first."""
    answer = httpx.get(
        f"{settings.STRIPE_API_BASE}/v1/events?limit=100", auth=(settings.STRIPE_SECRET_KEY, ""), timeout=20
    )
    return list(reversed(answer.json()["data"]))


def handle() -> int:
    with use_login("worker"):
        return handle_events(AT)


def was_paid_once(checkout: Checkout) -> bool:
    with tenant_atomic(checkout.tenant_id):
        return (
            Checkout.objects.get(pk=checkout.pk).state == "paid"
            and PaymentAttempt.objects.get().state == "succeeded"
            and Order.objects.count() == Bill.objects.count() == Payment.objects.count() == 1
        )


def test_a_genuine_event_is_kept_once(client: Client) -> None:
    body = json.dumps(event())

    answers = [post(client, body) for _ in range(3)]

    assert answers == [200, 200, 200]
    assert list(WebhookEvent.objects.values_list("event_id", "type", "object_id")) == [
        ("evt_1", "payment_intent.succeeded", "pi_1")
    ]


def test_50_copies_at_once_are_kept_once() -> None:
    body = json.dumps(event())

    def deliver(_: int) -> int:
        try:
            return post(Client(), body)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(deliver, range(50)))

    assert answers == [200] * 50
    assert WebhookEvent.objects.count() == 1


def test_any_of_several_secrets_will_do(client: Client, settings: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_new", "whsec_old"]
    body = json.dumps(event())

    assert post(client, body, signature(body, "whsec_old", at=int(time.time()))) == 200


def _forgeries() -> dict[str, Any]:
    body = json.dumps(event())
    good = settings.STRIPE_WEBHOOK_SECRETS[0] if settings.configured else ""

    def signed(text: str, *, secret: str = good, ago: int = 0) -> tuple[str, str]:
        return text, signature(text, secret, at=int(time.time()) - ago)

    header = signed(body)[1]
    stamp, digest = header.split(",")
    return {
        "no signature": (body, ""),
        "nonsense": (body, "t=x,v1=y"),
        "no time": (body, digest),
        "no digest": (body, stamp),
        "another scheme": (body, header.replace("v1=", "v0=")),
        "another secret": signed(body, secret="whsec_other"),
        "empty secret": signed(body, secret=""),
        "six minutes old": signed(body, ago=360),
        "a day old": signed(body, ago=86_400),
        "time moved": (body, f"t={int(stamp[2:]) + 1},{digest}"),
        "digest cut": (body, header[:-1]),
        "body altered": (body.replace("pi_1", "pi_2"), header),
        "body longer": (body + " ", header),
        "body empty": ("", header),
        "not JSON": signed("{"),
        "a list": signed("[]"),
        "a number": signed("1"),
        "no id": signed(json.dumps(event(id=None) | {"id": 7})),
        "no data": signed(json.dumps({"id": "evt_1", "type": "x", "livemode": False})),
        "no object": signed(json.dumps(event(data={}))),
        "object without id": signed(json.dumps(event(data={"object": {}}))),
        "live": signed(json.dumps(event(livemode=True))),
        "mode missing": signed(json.dumps({k: v for k, v in event().items() if k != "livemode"})),
        "mode as text": signed(json.dumps(event(livemode="false"))),
        "another account": signed(json.dumps(event(account="acct_other"))),
        "id too long": signed(json.dumps(event(id="evt_" + "x" * 200))),
        "type too long": signed(json.dumps(event(type="x" * 200))),
    }


@pytest.mark.parametrize("name", sorted(_forgeries()))
def test_a_forged_event_is_refused_without_effect(client: Client, name: str) -> None:
    body, header = _forgeries()[name]

    assert post(client, body, header) == 400

    assert WebhookEvent.objects.count() == 0


@pytest.fixture
def nothing_refused() -> Iterator[None]:
    """The count of this minute begins at none, and ends so."""
    cache.delete(REFUSED)
    yield
    cache.delete(REFUSED)


def alerts(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if record.name == "seatkeeper.alerts"
    ]


@pytest.mark.usefixtures("nothing_refused")
def test_five_refused_in_a_minute_are_counted_and_alert_once(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """F-15: of whatever kind, and by whichever process."""
    kinds = ["no signature", "six minutes old", "body altered", "another account", "live", "another secret"]
    forged = [_forgeries()[kind] for kind in kinds]

    answers = [post(client, *each) for each in forged[:4]]
    before = alerts(caplog)
    answers += [post(Client(), *each) for each in forged[4:]]

    assert answers == [400] * 6
    assert cache.get(REFUSED) == 6
    assert before == []
    assert alerts(caplog) == [("ERROR", "webhooks_refused count=5 seconds=60 reason=livemode")]
    assert WebhookEvent.objects.count() == 0


@pytest.mark.usefixtures("nothing_refused")
def test_the_count_ends_with_its_minute_and_accepted_ones_are_not_in_it(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(4):
        post(client, json.dumps(event()), "")
        post(client, json.dumps(event()))
    left = redis.Redis.from_url(settings.CACHES["default"]["LOCATION"]).pttl(cache.make_key(REFUSED))

    # The minute is over.
    cache.delete(REFUSED)
    for _ in range(4):
        post(client, json.dumps(event()), "")

    assert 0 < left <= 60_000
    assert cache.get(REFUSED) == 4
    assert alerts(caplog) == []


def test_while_nothing_can_be_counted_each_refusal_alerts(
    client: Client, caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    nobody = f"redis://127.0.0.1:{free_port()}/1"
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": nobody}}

    assert post(client, json.dumps(event()), "") == 400

    assert len(alerts(caplog)) == 1
    assert WebhookEvent.objects.count() == 0


@pytest.mark.parametrize("method", ["get", "put", "delete", "head"])
def test_only_posts_are_taken(client: Client, method: str) -> None:
    assert getattr(client, method)(URL).status_code == 405


def test_needs_no_csrf_token() -> None:
    assert post(Client(enforce_csrf_checks=True), json.dumps(event())) == 200


def test_a_webhook_settles_what_had_no_answer(client: Client) -> None:
    checkout = paid_without_an_answer(make_user(make_tenant()))
    for told in all_events():
        post(client, json.dumps(told))

    handle()

    assert was_paid_once(checkout)
    assert not WebhookEvent.objects.filter(handled_at=None, object_id__startswith="pi_").exists()


@pytest.mark.parametrize("seed", range(12))
def test_any_order_and_number_of_copies_ends_the_same(client: Client, seed: int) -> None:
    """F-14."""
    checkout = paid_without_an_answer(make_user(make_tenant()))
    dice = random.Random(seed)
    told = [body for body in all_events() for _ in range(dice.randint(1, 5))]
    dice.shuffle(told)

    for body in told:
        assert post(client, json.dumps(body)) == 200
        if dice.random() < 0.3:
            handle()
    handle()

    assert was_paid_once(checkout)
    assert charges() == 1


def test_what_an_event_claims_is_not_believed(client: Client) -> None:
    """The object is fetched again: an event that says succeeded about an unpaid intent pays nothing."""
    pat = make_user(make_tenant())
    checkout = make_checkout(pat)
    fault("lose_request", "/v1/payment_intents/*/confirm")
    pay_checkout(actor=actor_of(pat), key=checkout.key, confirmation_token=card_token(), at=AT)
    with tenant_atomic(pat.tenant_id):
        intent_id = PaymentAttempt.objects.get().intent_id
    claim = event(data={"object": {"id": intent_id, "status": "succeeded", "amount_received": 1}})

    post(client, json.dumps(claim))
    handle()

    with tenant_atomic(pat.tenant_id):
        assert Checkout.objects.get().state == "paying"
        assert not Order.objects.exists()
    assert charges() == 0


def test_an_intent_that_names_another_tenants_attempt_changes_nothing(client: Client) -> None:
    """F-15: metadata is the other side's word; the row it belongs to is found by the id alone."""
    pat, charlie = make_user(make_tenant()), make_user(make_tenant())
    theirs = paid_without_an_answer(charlie)
    ours = make_checkout(pat)
    claim = event(
        data={
            "object": {
                "id": "pi_unknown",
                "metadata": {"tenant": str(pat.tenant_id), "checkout": str(ours.key)},
            }
        }
    )

    post(client, json.dumps(claim))
    handle()

    with tenant_atomic(pat.tenant_id):
        assert Checkout.objects.get(pk=ours.pk).state == "open"
    with tenant_atomic(charlie.tenant_id):
        assert Checkout.objects.get(pk=theirs.pk).state == "paying"


def test_an_event_that_comes_before_our_commit_waits_for_it(client: Client) -> None:
    post(client, json.dumps(event(data={"object": {"id": "pi_not_yet_known"}})))

    early = handle()
    with use_login("worker"):
        late = handle_events(AT + timedelta(days=3650))

    assert (early, late) == (0, 1)


def test_without_any_webhook_the_reconciler_settles(client: Client) -> None:
    """F-16."""
    control("POST", "webhooks", drop=True)
    checkout = paid_without_an_answer(make_user(make_tenant()))

    reconcile(AT + timedelta(minutes=10))

    assert was_paid_once(checkout)


def test_the_peer_delivers_for_real(live_server: Any) -> None:
    checkout = paid_without_an_answer(make_user(make_tenant()))
    control("POST", "webhooks", url=f"{live_server.url}{URL}", paused=False)

    delivered = control("POST", "webhooks/flush", seconds=20)

    assert delivered["idle"]
    assert (delivered["refused"], WebhookEvent.objects.count() > 0) == (0, True)
    handle()
    assert was_paid_once(checkout)


def test_handled_events_are_forgotten_after_sixty_days_and_waiting_ones_never() -> None:
    with use_login("worker"):
        for number, (days, is_handled) in enumerate(
            [(61, True), (61, False), (61, True), (61, True), (59, True)]
        ):
            received_at = AT - timedelta(days=days)
            WebhookEvent.objects.create(
                event_id=f"evt_{number}",
                type="payment_intent.succeeded",
                object_id="pi_1",
                received_at=received_at,
                handled_at=received_at if is_handled else None,
            )

    assert [forget_events(at=AT, limit=2) for _ in range(4)] == [1, 1, 1, 0]

    with use_login("worker"):
        left = WebhookEvent.objects.order_by("pk").values_list("event_id", flat=True)
        assert list(left) == ["evt_1", "evt_4"]
