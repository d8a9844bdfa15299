"""F-18 and F-20: 200 parallel posts of one checkout make one order and one charge."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connections

from commerce.gateways import Retryable
from commerce.models import Bill, Order, Payment, PaymentAttempt, Subscription
from commerce.operations.payments import Paid, finish_checkout, pay_checkout
from config.kit.tenancy import tenant_atomic
from tests.factories import AT, actor_of, make_checkout, make_tenant, make_user
from tests.processor import card_token, charges, intents

pytestmark = [
    pytest.mark.django_db(databases=["default", "owner", "worker"], transaction=True),
    pytest.mark.usefixtures("empty_processor"),
]

POSTS, CLIENTS = 200, 16


@pytest.mark.parametrize("one_token", [True, False])
def test_200_posts_of_one_checkout_make_one_order(one_token: bool) -> None:
    """One token: a double click. Each its own: as many tabs, each with its own card details."""
    pat = make_user(make_tenant())
    checkout = make_checkout(pat)
    actor = actor_of(pat)
    tokens = [card_token()] * CLIENTS if one_token else [card_token() for _ in range(CLIENTS)]
    barrier = Barrier(CLIENTS)

    def post(client: int) -> Counter[str]:
        seen: Counter[str] = Counter()
        try:
            barrier.wait()
            for _ in range(POSTS // CLIENTS + (client < POSTS % CLIENTS)):
                try:
                    outcome = pay_checkout(
                        actor=actor, key=checkout.key, confirmation_token=tokens[client], at=AT
                    )
                    seen[type(outcome).__name__] += 1
                except Retryable:
                    seen["Retryable"] += 1
        finally:
            connections.close_all()
        return seen

    with ThreadPoolExecutor(CLIENTS) as pool:
        seen = sum(pool.map(post, range(CLIENTS)), Counter[str]())

    final = finish_checkout(actor=actor, key=checkout.key, at=AT)
    assert isinstance(final, Paid)
    assert sum(seen.values()) == POSTS
    assert seen["ActionNeeded"] == 0
    assert charges() == 1
    assert sum(intent["status"] == "succeeded" for intent in intents()) == 1
    with tenant_atomic(pat.tenant_id):
        assert Order.objects.get().pk == final.order.pk
        assert Subscription.objects.count() == Bill.objects.count() == Payment.objects.count() == 1
        assert list(PaymentAttempt.objects.values_list("state", flat=True)) == ["succeeded"]
