"""One seed's world: a few tenants and their people, the clock, the processor, and rows that nobody else has."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connections
from django.test import override_settings

from commerce.models import Card, Market, Plan, Price, Subscription, VendorEntity
from config.kit.actors import Actor
from config.kit.tenancy import use_login
from directory.actors import build_actor
from directory.models import Tenant, User
from tests import factories
from tests.simulation.gateway import Gateway

STARTS = datetime(2026, 1, 1, 8, tzinfo=UTC)

# Where a tenant may be: market, zone, currency. Japan and Kuwait, for currencies with no and with three decimals,
# are no markets of the catalogue; `add_markets` makes them.
PLACES = (
    ("NL", "Europe/Amsterdam", "EUR"),
    ("DE", "Europe/Berlin", "EUR"),
    ("US", "America/New_York", "USD"),
    ("US", "Pacific/Pago_Pago", "USD"),
    ("GB", "Europe/London", "GBP"),
    ("GB", "Pacific/Kiritimati", "GBP"),
    ("BR", "America/Sao_Paulo", "BRL"),
    ("NL", "Africa/Cairo", "EUR"),
    ("US", "Australia/Lord_Howe", "USD"),
    ("JP", "Asia/Tokyo", "JPY"),
    ("KW", "Asia/Kuwait", "KWD"),
)
MARKETS = (("JP", "Japan", "JPY", "10"), ("KW", "Kuwait", "KWD", "5"))
SLUGS = ("power-bi-pro", "power-apps-per-user", "visio-plan-1", "project-plan-1")


class Nothing(Exception):
    """There is nothing that this could be done to, or nobody who could do it."""


@dataclass
class Home:
    """One tenant: `people` buy, `admin` manages what is the organization's and pays on account."""

    label: str
    tenant: Tenant
    admin: User
    people: list[User] = field(default_factory=list)

    def actor(self, user: User, at: datetime) -> Actor:
        """As the interface builds it. :raises Nothing: the account has ended, so nobody gets in."""
        with factories.tenant_atomic(self.tenant.pk):
            found = User.objects.active().filter(pk=user.pk).first()
            if found is None:
                raise Nothing
            actor = build_actor(found, acting_tenant_id=self.tenant.pk, at=at, correlation_id="simulated")
        assert actor is not None
        return actor


@dataclass
class World:
    """Everything that a deed may touch. `rng` is that of the step under way."""

    gateway: Gateway
    rng: random.Random
    homes: list[Home]
    at: datetime = STARTS

    def move(self, by: timedelta) -> None:
        """Let time pass: for the portal, the processor, and the leases, which stand on real time."""
        self.at += by
        self.gateway.clock.at = self.at
        with connections["worker"].cursor() as cursor:
            for table in _leased_tables():
                cursor.execute(
                    f"UPDATE {table} SET leased_until = leased_until - %s WHERE leased_until IS NOT NULL",
                    [by],
                )

    def home(self) -> Home:
        return self.rng.choice(self.homes)

    def home_of(self, tenant_id: int) -> Home:
        return next(home for home in self.homes if home.tenant.pk == tenant_id)

    def subscriptions(self, **condition: Any) -> list[tuple[Home, Subscription]]:
        """What there is, in the order of purchase."""
        with use_login("worker"):
            rows = list(
                Subscription.objects.filter(**condition)
                .select_related("plan", "product", "owner_user", "card", "tenant")
                .order_by("pk")
            )
        homes = {home.tenant.pk: home for home in self.homes}
        return [(homes[row.tenant_id], row) for row in rows]

    def one(self, **condition: Any) -> tuple[Home, Subscription, Actor] | None:
        """A random one, with whoever manages it."""
        found = self.subscriptions(**condition)
        if not found:
            return None
        home, row = self.rng.choice(found)
        return home, row, self.manager(home, row)

    def manager(self, home: Home, row: Subscription) -> Actor:
        return home.actor(row.owner_user or home.admin, self.at)

    def cards(self, home: Home, payer: User | None) -> list[Card]:
        with use_login("worker"):
            rows = Card.objects.live().filter(tenant_id=home.tenant.pk, user=payer).order_by("pk")
            return list(rows)


@contextmanager
def simulated_settings() -> Iterator[None]:
    """One lane of charges, so that the same seed does the same; nothing else differs from production."""
    with override_settings(CHARGES_AT_ONCE=1, PROCESSOR_CALLS_PER_SECOND=1_000_000):
        yield


def add_markets() -> None:
    """Sell everything in Japan and Kuwait too, at round prices of their currencies."""
    with use_login("owner"):
        entity = VendorEntity.objects.order_by("pk").first()
        assert entity is not None
        for code, name, currency, tax in MARKETS:
            market, is_new = Market.objects.get_or_create(
                pk=code,
                defaults={
                    "name": name,
                    "currency": currency,
                    "tax_name": "tax",
                    "tax_rate": tax,
                    "vendor_entity": entity,
                },
            )
            if is_new:
                # Kuwait: whole tens of fils, all that a card can be charged with.
                Price.objects.bulk_create(
                    Price(
                        plan=plan,
                        market=market,
                        currency=currency,
                        unit_price_minor=(1500 if currency == "JPY" else 3210) * plan.billing_months,
                        valid_from=datetime(2020, 1, 1, tzinfo=UTC),
                    )
                    for plan in Plan.objects.all()
                )


def make_world(seed: int, gateway: Gateway) -> World:
    """Two or three tenants with two people each, an admin and an agreement."""
    rng = random.Random(f"{seed}/world")
    gateway.forget()
    world = World(gateway, rng, [])
    # Not the same day of the month for every seed: the 29th to 31st matter.
    world.move(timedelta(days=rng.randrange(62), minutes=rng.randrange(24 * 60)))
    factories._numbers = factories.itertools.count(1)
    for number, (country, zone, currency) in enumerate(rng.sample(PLACES, rng.choice((2, 3))), start=1):
        label = f"T{number}"
        tenant = factories.make_tenant(name=label, country=country, time_zone=zone, currency=currency)
        admin = factories.make_user(tenant, name=f"{label} admin", roles=("global_admin",))
        people = [factories.make_user(tenant, name=f"{label} {name}") for name in ("Alice", "Bob")]
        world.homes.append(Home(label, tenant, admin, people))
    return world


_tables: dict[str, list[str]] = {}


def _leased_tables() -> list[str]:
    """Tables with leases, which end by real time."""
    return _cached(
        "leases",
        "SELECT c.table_name FROM information_schema.columns c"
        " WHERE c.table_schema = 'public' AND c.column_name = 'leased_until' ORDER BY 1",
    )


def _cached(name: str, query: str) -> list[str]:
    if name not in _tables:
        with connections["owner"].cursor() as cursor:
            cursor.execute(query)
            _tables[name] = [row[0] for row in cursor.fetchall()]
    return _tables[name]


def empty_tables() -> None:
    """Forget every tenant and what the processor told, and start counting anew; the catalogue stays."""
    tables = _cached(
        "rows",
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'public' AND c.relkind = 'r' AND (c.relname IN"
        " ('directory_tenant', 'commerce_billseries', 'commerce_webhookevent', 'commerce_unmatchedcharge')"
        " OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id'))",
    )
    with connections["owner"].cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY CASCADE")
