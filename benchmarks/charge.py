"""Open bills charged through the local card processor, against the processor alone by the same SDK.

    python -m benchmarks.charge --bills 500

Ours is the sweep `charge_due` as beat calls it: lease, attempt, intent, its id, confirmation, payment, receipt,
history and audit, each committed where architecture §8 wants it. The reference makes the same two calls for each
bill, to create an intent and to confirm it, of the same customers and cards, from as many threads. Neither waits
for the rate limit.

`ratio`: the processor's time alone to ours.
"""

import argparse
import os
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

import httpx  # noqa: E402
from django.conf import settings  # noqa: E402
from django.test import override_settings  # noqa: E402

from benchmarks.harness import ROUNDS, pairs, print_figures, report  # noqa: E402
from commerce.gateways import CardFacts, stripe  # noqa: E402
from commerce.models import Bill, Card, ProcessorCustomer, Subscription  # noqa: E402
from commerce.operations.cards import keep_card  # noqa: E402
from commerce.operations.catalogue import PRICES_VALID_FROM, load_catalogue  # noqa: E402
from commerce.operations.payments.customers import customer_of  # noqa: E402
from commerce.operations.renewals import charge_due, renew_due  # noqa: E402
from commerce.operations.seeding import Due, Wanted, seed_customers  # noqa: E402
from config.demo import throwaway  # noqa: E402
from config.kit.actors import Actor  # noqa: E402
from config.kit.tenancy import tenant_atomic, use_login  # noqa: E402
from directory.models import User  # noqa: E402

# Early in a month, so that the days on which bills fall due all lie within it.
SEEDED_AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
CARD = "pm_card_visa"
AMOUNT_MINOR, CURRENCY = 12_100, "EUR"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.charge", description=__doc__)
    parser.add_argument("--bills", type=int, default=500, help="charged in each round (default %(default)s)")
    parser.add_argument("--tenants", type=int, default=5, help="of all of them (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="interleaved pairs (default %(default)s)")
    options = parser.parse_args()
    with throwaway.processor(os.environ), override_settings(PROCESSOR_CALLS_PER_SECOND=1_000_000):
        days = iter(seed(options.tenants, [Due(options.bills)] * (options.rounds + 1)))
        charges = payers()
        print(f"{len(charges)} payers, {settings.CHARGES_AT_ONCE} calls at once", flush=True)
        # Connections, statements and code are warm before the first pair.
        ours(next(days), options.bills)
        compared = pairs(
            lambda: ours(next(days), options.bills),
            lambda: reference(charges, options.bills),
            rounds=options.rounds,
        )
    print_figures(ratio=report(f"{options.bills} bills", compared))


def seed(tenants: int, due: Sequence[Due]) -> Sequence[datetime]:
    """Customers, each payer with a card that the processor knows; the instants at which each of `due` is due."""
    with use_login("owner"):
        load_catalogue(at=PRICES_VALID_FROM)
        seeded = seed_customers(Wanted(tenants=tenants, due=due), at=SEEDED_AT)
    with use_login("worker"):
        owners = User.objects.filter(pk__in=Subscription.objects.values("owner_user"))
        for payer in owners.order_by("tenant_id", "id"):
            give_card(payer)
    return seeded.due


def give_card(payer: User) -> None:
    """A test card attached to the payer's customer, and kept as theirs."""
    actor = Actor.system(payer.tenant_id)
    customer_id = customer_of(actor=actor, payer=payer, at=SEEDED_AT)
    answer = httpx.post(
        f"{settings.STRIPE_API_BASE}/v1/payment_methods/{CARD}/attach",
        auth=(settings.STRIPE_SECRET_KEY, ""),
        data={"customer": customer_id},
    )
    method = answer.raise_for_status().json()
    card = method["card"]
    facts = CardFacts(
        method["id"], card["brand"], card["last4"], card["exp_year"], card["exp_month"], card["fingerprint"]
    )
    with tenant_atomic(payer.tenant_id):
        keep_card(actor=actor, tenant_id=payer.tenant_id, payer=payer, facts=facts, at=SEEDED_AT)


def payers() -> list[tuple[str, str]]:
    """The processor's id of every customer, with that of the card."""
    with use_login("worker"):
        cards = dict(Card.objects.values_list("user_id", "processor_id"))
        customers = ProcessorCustomer.objects.values_list("user_id", "processor_id")
        return [(customer_id, cards[user_id]) for user_id, customer_id in customers]


def ours(at: datetime, bills: int) -> float:
    """Seconds for one bill, by the sweep as it runs in production."""
    with use_login("worker"):
        renew_due(at=at)
    began = time.perf_counter()
    charged = charge_due(at=at)
    cost = time.perf_counter() - began
    assert charged.paid == bills, charged
    with use_login("worker"):
        assert not Bill.objects.open().exists()
    return cost / bills


def reference(charges: Sequence[tuple[str, str]], bills: int) -> float:
    """Seconds for one intent made and confirmed, by the same SDK and as many threads."""
    with ThreadPoolExecutor(settings.CHARGES_AT_ONCE) as pool:
        began = time.perf_counter()
        done = list(pool.map(_charge, (charges[place % len(charges)] for place in range(bills))))
        cost = time.perf_counter() - began
    assert done == ["succeeded"] * bills
    return cost / bills


def _charge(payer: tuple[str, str]) -> str:
    customer_id, card_id = payer
    intent = stripe.create_intent(
        key=str(uuid.uuid4()),
        amount_minor=AMOUNT_MINOR,
        currency=CURRENCY,
        customer_id=customer_id,
        metadata={"bill": str(uuid.uuid4())},
        description="Benchmark",
        keeps_card=False,
    )
    return stripe.confirm_intent(intent.id, card_id=card_id, off_session=True).status


if __name__ == "__main__":
    main()
