"""F-06: Valkey away, coming back empty, full, or evicting what it holds. It is a doorbell and a counter, no more."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import redis
from django.test import Client
from kombu.exceptions import OperationalError

from config.demo.servers import Valkey
from config.kit.doorbell import Queue
from tests.factories import client_of, make_card, make_subscription, make_tenant, make_user
from tests.faults.crowd import (
    assert_each_is_billed_and_charged_once,
    bill_and_charge,
    bills_by_subscription,
    crowd,
)
from tests.faults.installation import ring, unpaid, wait_until, worker

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "owner", "worker"]),
    pytest.mark.usefixtures("empty_processor"),
]

# A worker goes by the real clock: bought so long ago that one month is over and the next is not.
NOW = datetime.now(UTC)
BOUGHT = NOW - timedelta(days=31, hours=2)


def test_pages_are_served_and_sessions_hold_and_only_sign_in_waits(own_valkey: Valkey) -> None:
    contoso = make_tenant(name="Contoso")
    pat = make_user(contoso, name="Pat")
    make_card(contoso, pat)
    subscription = make_subscription(contoso, owner=pat)
    pats, stranger = client_of(pat), Client()
    purchase = f"/admin/billing/your-products/{subscription.key}/"
    pages = [
        "/",
        "/products/power-bi-pro/",
        "/buy/power-bi-pro/",
        purchase,
        "/admin/billing/payment-methods/",
    ]
    before = [pats.get(page, follow=True).status_code for page in pages]
    own_valkey.stop()

    during = [pats.get(page, follow=True).status_code for page in pages]
    switched = pats.post(f"{purchase}recurring-billing/", {"on": "no", "version": 0}, follow=True)
    signing_in = stranger.post("/sign-in/", {"email": "pat@contoso.example"})

    assert during == before == [200] * len(pages)
    assert "Recurring billing is off." in switched.text
    assert (signing_in.status_code, signing_in["Retry-After"]) == (503, "60")
    own_valkey.start()
    assert stranger.post("/sign-in/", {"email": "pat@contoso.example"}).status_code != 503


def test_sweeps_go_on_without_it(own_valkey: Valkey) -> None:
    subscriptions = crowd(10, at=BOUGHT)
    own_valkey.stop()

    bill_and_charge(NOW)

    assert_each_is_billed_and_charged_once(subscriptions, at=NOW)


def test_a_worker_finds_its_work_when_it_comes_back_with_nothing_in_it(own_valkey: Valkey) -> None:
    subscriptions = crowd(10, at=BOUGHT)
    with worker(REDIS_URL=own_valkey.url(0), CACHE_URL=own_valkey.url(1)) as running:
        own_valkey.stop()
        wait_until(lambda: running.says("Connection to broker lost"))
        own_valkey.start()

        ring("commerce.renew", broker=own_valkey.url(0))

        wait_until(lambda: bills_by_subscription() and unpaid() == 0)
        assert running.end() == 0
    assert_each_is_billed_and_charged_once(subscriptions, at=NOW)


@pytest.mark.parametrize("policy", ["allkeys-random", "noeviction"])
def test_what_it_evicts_or_refuses_costs_nobody_anything(own_valkey: Valkey, policy: str) -> None:
    subscriptions = crowd(10, at=BOUGHT)
    ring("commerce.renew", broker=own_valkey.url(0))
    full(own_valkey, policy)

    bill_and_charge(NOW)

    assert_each_is_billed_and_charged_once(subscriptions, at=NOW)


def full(valkey: Valkey, policy: str) -> None:
    """Fill it to the brim; where it evicts, until the message has gone, where it refuses, until it does."""
    with redis.Redis.from_url(valkey.url(0)) as client:
        client.config_set("maxmemory-policy", policy)
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + 200_000)
        evicts = policy != "noeviction"
        if evicts:
            while client.exists(Queue.BILLING):
                client.set(f"junk-{uuid4().hex}", "x" * 1_000)
        else:
            wait_until(lambda: refuses(client))
    if not evicts:
        # What rings while it is full hears an error that it knows.
        with pytest.raises(OperationalError):
            ring("commerce.renew", broker=valkey.url(0))


def refuses(client: "redis.Redis") -> bool:
    try:
        for number in range(500):
            client.set(f"junk-{number}", "x" * 1_000)
    except redis.exceptions.OutOfMemoryError:
        return True
    return False
