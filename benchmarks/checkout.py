"""Buying, page by page, in an organization with many past orders, against the same in one without.

    python -m benchmarks.checkout --orders 100000

One purchase is the product's page, *Buy*, the checkout, its sum counted anew, paying, and the confirmation, through
Django's test client with every middleware, and the local card processor; the time spent asking the processor is
taken off. Both sides run in processes of their own, each on a PostgreSQL of its own, so that no table of the one
is larger for the other's rows.

`ratio`: the time in the organization without past orders to that in the one with `--orders`. `queries`: 20 to the
most queries that any page made; below 1 some page made more than twenty.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

import httpx  # noqa: E402
from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import override_settings  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from benchmarks.harness import ROUNDS, pairs, plain_files, print_figures, report, signed_in  # noqa: E402
from commerce.gateways import stripe  # noqa: E402
from commerce.models import Order  # noqa: E402
from commerce.operations.catalogue import PRICES_VALID_FROM, load_catalogue  # noqa: E402
from commerce.operations.seeding import Wanted, seed_customers  # noqa: E402
from config.demo import throwaway  # noqa: E402
from config.demo.environment import DATABASE_VARIABLES  # noqa: E402
from config.demo.migrated import addresses_of_copy  # noqa: E402
from config.kit.tenancy import tenant_atomic, use_login  # noqa: E402
from directory.models import User  # noqa: E402

PRODUCT = "power-bi-pro"
MOST_QUERIES = 20
# Statements that open and close what the others run in.
FRAME = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "SELECT set_config", "SELECT current_setting")
SEEN_TOTAL = re.compile(r'name="seen_total" value="(\d+)"')
FORM = {
    "quantity": "1",
    "plan": "monthly",
    "takes_first_license": "on",
    "name": "Benchmark",
    "street": "Keizersgracht 1",
    "postal_code": "1015 CJ",
    "city": "Amsterdam",
    "country": "NL",
    "agrees_to_terms": "on",
    "agrees_to_data": "on",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checkout", description=__doc__)
    parser.add_argument("--orders", type=int, default=100_000, help="past ones (default %(default)s)")
    parser.add_argument("--purchases", type=int, default=20, help="in each round (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="interleaved pairs (default %(default)s)")
    parser.add_argument("--serve", type=int, metavar="ORDERS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve)
        return
    without = {name: value for name, value in os.environ.items() if name not in DATABASE_VARIABLES}
    with (
        throwaway.processor(os.environ),
        throwaway.servers(without, durable=True, test_database=True) as other,
        Side(os.environ, orders=options.orders) as full,
        Side(os.environ | addresses_of_copy("checkout", other), orders=1) as empty,
    ):
        compared = pairs(
            lambda: full.buy(options.purchases), lambda: empty.buy(options.purchases), rounds=options.rounds
        )
        print(f"the most queries of one page: {full.most_queries} ({full.slowest})")
    ratio = report(f"{options.orders:,} past orders", compared)
    print_figures(ratio=ratio, queries=MOST_QUERIES / full.most_queries)


class Side:
    """A process that buys when it is told to, on the database that its environment names."""

    def __init__(self, environment: Mapping[str, str], *, orders: int) -> None:
        self.most_queries, self.slowest = 0, ""
        migrate = [sys.executable, "manage.py", "migrate", "--database", "owner", "--verbosity", "0"]
        subprocess.run(migrate, env=environment, check=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.checkout", "--serve", str(orders)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Side":
        self.buy(2)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def buy(self, purchases: int) -> float:
        """Seconds for one purchase, without the processor's."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{purchases}\n")
        self._process.stdin.flush()
        seconds, queries, page = self._process.stdout.readline().split()
        if int(queries) > self.most_queries:
            self.most_queries, self.slowest = int(queries), page
        return float(seconds)


def serve(orders: int) -> None:
    """Make up the customers, and buy as often as each line of the input says."""
    with use_login("owner"):
        load_catalogue(at=PRICES_VALID_FROM)
        wanted = Wanted(tenants=2, subscriptions=orders + 1, large=orders)
        seeded = seed_customers(wanted, at=datetime.now(UTC))
    with tenant_atomic(seeded.tenant_id):
        buyer = User.objects.get(pk=seeded.admin_id)
        assert Order.objects.count() == orders
    shop = Shop(buyer)
    # Nobody pays as often as this within a minute.
    with plain_files(), override_settings(BUYS_PER_MINUTE=1_000_000):
        for line in sys.stdin:
            purchases = int(line)
            seconds = sum(shop.buy() for _ in range(purchases)) / purchases
            print(seconds, shop.most_queries, shop.slowest, flush=True)


class Shop:
    """A browser of one buyer, which counts what its pages ask the database."""

    def __init__(self, buyer: User) -> None:
        self.most_queries, self.slowest = 0, "none"
        self._client = signed_in(buyer)
        self._buyer = buyer
        self._seconds_of_processor = 0.0

    def buy(self) -> float:
        """Seconds for one purchase from the product's page to the confirmation, without the processor's."""
        token = card_token()
        self._seconds_of_processor = 0.0
        began = time.perf_counter()
        with mock.patch.object(stripe.stripe.RequestsClient, "request", self._timed()):
            self._page("product", f"/products/{PRODUCT}/")
            address = self._page("buy", f"/buy/{PRODUCT}/", 302).headers["Location"]
            page = self._page("checkout", address).content.decode()
            total = SEEN_TOTAL.search(page)[1]  # type: ignore[index]
            form = FORM | {"shown_for_tenant": str(self._buyer.tenant_id), "seen_total": total}
            self._post(address, form | {"action": "update"}, 200)
            self._post(address, form | {"action": "pay", "confirmation_token": token}, 303)
            self._page("confirmation", f"{address}confirmation/")
        return time.perf_counter() - began - self._seconds_of_processor

    def _page(self, name: str, address: str, status: int = 200) -> Any:
        with CaptureQueriesContext(connection) as asked:
            response = self._client.get(address)
        assert response.status_code == status, (address, response.status_code)
        queries = sum(not query["sql"].startswith(FRAME) for query in asked)
        if queries > self.most_queries:
            self.most_queries, self.slowest = queries, name
        return response

    def _post(self, address: str, form: dict[str, str], status: int) -> None:
        response = self._client.post(address, form)
        assert response.status_code == status, (response.status_code, response.content[:2000])

    def _timed(self) -> Callable[..., Any]:
        request = stripe.stripe.RequestsClient.request

        def timed(*args: Any, **facts: Any) -> Any:
            began = time.perf_counter()
            try:
                return request(*args, **facts)
            finally:
                self._seconds_of_processor += time.perf_counter() - began

        return timed


def card_token() -> str:
    """What the browser makes of the card's fields."""
    answer = httpx.post(
        f"{settings.STRIPE_API_BASE}/v1/test_helpers/confirmation_tokens",
        auth=(settings.STRIPE_SECRET_KEY, ""),
        data={"payment_method": "pm_card_visa", "setup_future_usage": "off_session"},
    )
    return str(answer.raise_for_status().json()["id"])


if __name__ == "__main__":
    main()
