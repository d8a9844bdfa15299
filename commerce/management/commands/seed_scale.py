"""Many tenants, people and subscriptions by COPY, for benchmarks and for trying a large installation."""

import random
import time
import uuid
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import batched
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from commerce.models import Market, Plan, Price
from commerce.operations.catalogue import load_catalogue
from config.kit.tenancy import atomic, connection, use_login
from directory.models.people import fold

FIRST_NAMES = [
    "Anna",
    "Bram",
    "Carla",
    "Daan",
    "Eva",
    "Femke",
    "Gijs",
    "Hanna",
    "Iris",
    "Jan",
    "Kees",
    "Lotte",
    "Maud",
    "Noor",
    "Otto",
    "Pien",
    "Quinn",
    "Roos",
    "Sara",
    "Tess",
    "Umar",
    "Vera",
    "Wout",
    "Xena",
    "Yara",
    "Zoë",
]
LAST_NAMES = [
    "Alders",
    "Bakker",
    "Claes",
    "Dijkstra",
    "Evers",
    "Faber",
    "Groot",
    "Hendriks",
    "IJzer",
    "Jansen",
    "Kuiper",
    "Linders",
    "Mulder",
    "Nijhof",
    "Otten",
    "Postma",
    "Quist",
    "Rademaker",
    "Smit",
    "Timmer",
    "Udo",
    "Visser",
    "Wolters",
    "Xhofleer",
    "Yilmaz",
    "Zijlstra",
]
COUNTRIES = ("NL", "DE", "GB", "US")
# How often each channel and state occurs, in a thousand.
CHANNELS = {"self-service": 720, "central": 230, "trial": 50}
STATES = {"active": 870, "expired": 50, "disabled": 40, "deleted": 40}
CHUNK = 20_000
PEOPLE_OF_A_SMALL_TENANT = 40


@dataclass(frozen=True, slots=True)
class Offer:
    """A plan with what it costs in one market, as a subscription copies it."""

    plan: Plan
    market: Market
    unit_price_minor: int


@dataclass(frozen=True, slots=True)
class Person:
    id: int
    name: str
    email: str
    has_left: bool


class Command(BaseCommand):
    help = (
        "Write made-up tenants with people and subscriptions by COPY, as the owner's login. The first tenant,"
        " called Scale, is large; its global admin's key is printed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--subscriptions", type=int, default=1_000_000, help="in all (default %(default)s)"
        )
        parser.add_argument(
            "--large", type=int, default=100_000, help="of the large tenant (default %(default)s)"
        )
        parser.add_argument("--tenants", type=int, default=1_000, help="in all (default %(default)s)")
        parser.add_argument("--seed", type=int, default=1, help="of the random choices (default %(default)s)")

    def handle(self, *args: Any, **options: Any) -> None:
        total, large, tenants = options["subscriptions"], options["large"], options["tenants"]
        if settings.STRIPE_LIVEMODE:
            raise CommandError("This installation takes real money; made-up customers have no place in it.")
        if not (0 < large <= total and tenants >= 1):
            raise CommandError("--large must be between 1 and --subscriptions, and there must be a tenant.")
        began = time.perf_counter()
        with use_login("owner"):
            if not Plan.objects.exists():
                load_catalogue()
            admin = Seeder(random.Random(options["seed"])).write(  # noqa: S311
                total=total, large=large, tenants=tenants, told=self._tell
            )
        took = time.perf_counter() - began
        self.stdout.write(f"{total:,} subscriptions of {tenants:,} tenants in {took:,.0f} s; admin {admin}")

    def _tell(self, what: str) -> None:
        self.stdout.write(what)
        self.stdout.flush()


class Seeder:
    """Writes the rows, tables in the order of their keys, each tenant's subscriptions together."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.at = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        self.offers = _offers()

    def write(self, *, total: int, large: int, tenants: int, told: Any) -> str:
        """The key of the large tenant's global admin, once everything is written."""
        sizes = _sizes(total, large, tenants)
        first_tenant = _take_ids("directory_tenant", tenants)
        people = [
            max(size // 10, 1) if place == 0 else PEOPLE_OF_A_SMALL_TENANT for place, size in enumerate(sizes)
        ]
        first_user = _take_ids("directory_user", sum(people))
        first_bill_to = _take_ids("commerce_billto", tenants)
        admin = str(uuid.UUID(int=self.chance.getrandbits(128), version=4))

        countries = [COUNTRIES[place % len(COUNTRIES)] for place in range(tenants)]
        _copy(
            "directory_tenant",
            "id key name kind standing is_managed creates_members country time_zone currency language created_at",
            (
                (
                    first_tenant + place, self._key(), "Scale" if place == 0 else f"Tenant {place:04}", "commercial",
                    "good", True, True, country, "Europe/Amsterdam", self._market(country).currency, "en", self.at,
                )
                for place, country in enumerate(countries)
            ),
        )  # fmt: skip
        _copy(
            "commerce_billto",
            "id tenant_id name street postal_code city country vat_number own_reference email",
            (
                (first_bill_to + place, first_tenant + place, f"Tenant {place:04}", "Street 1", "", "City", country,
                 "", "", "")
                for place, country in enumerate(countries)
            ),
        )  # fmt: skip

        staff: list[list[Person]] = []
        next_user = first_user
        for place, count in enumerate(people):
            staff.append([self._person(next_user + number, first_tenant + place) for number in range(count)])
            next_user += count
        _copy(
            "directory_user",
            "id tenant_id key kind status source name sort_name email issuer subject language purchaser_since"
            " created_at disabled_at",
            (
                (
                    person.id, first_tenant + place, admin if person.id == first_user else self._key(), "member",
                    "disabled" if person.has_left and person.id != first_user else "active", "cloud", person.name,
                    fold(person.name), person.email, f"https://issuer-{first_tenant + place}.example",
                    str(person.id), "", self.at, self.at, self.at if person.has_left else None,
                )
                for place, members in enumerate(staff)
                for person in members
            ),
        )  # fmt: skip
        _copy(
            "directory_roleassignment",
            "tenant_id user_id role granted_at granted_by",
            [(first_tenant, first_user, "global_admin", self.at, "seed_scale")],
        )
        told(f"{tenants:,} tenants, {sum(people):,} people")

        first_subscription = _take_ids("commerce_subscription", total)
        rows = (
            row
            for place, (size, members) in enumerate(zip(sizes, staff, strict=True))
            for row in self._subscriptions(
                size, first_tenant + place, first_bill_to + place, countries[place], members
            )
        )
        written = 0
        for chunk in batched(rows, CHUNK, strict=False):
            _copy(
                "commerce_subscription",
                _SUBSCRIPTION_COLUMNS,
                ((first_subscription + written + number, *row) for number, row in enumerate(chunk)),
            )
            written += len(chunk)
            if written % (10 * CHUNK) == 0:
                told(f"{written:,} subscriptions")
        with connection().cursor() as cursor:
            cursor.execute(
                "VACUUM ANALYZE directory_tenant, directory_user, commerce_subscription, commerce_billto"
            )
        return admin

    def _subscriptions(
        self, size: int, tenant_id: int, bill_to_id: int, country: str, members: list[Person]
    ) -> Iterator[tuple[Any, ...]]:
        channels = self.chance.choices(list(CHANNELS), list(CHANNELS.values()), k=size)
        states = self.chance.choices(list(STATES), list(STATES.values()), k=size)
        market = self._market(country)
        for channel, state in zip(channels, states, strict=True):
            yield self._subscription(
                tenant_id, bill_to_id, market, channel, state, self.chance.choice(members)
            )

    def _subscription(
        self, tenant_id: int, bill_to_id: int, market: Market, channel: str, state: str, buyer: Person
    ) -> tuple[Any, ...]:
        chance = self.chance
        offer = chance.choice(self.offers[market.code])
        plan, product = offer.plan, offer.plan.product
        is_central = channel == "central"
        quantity = chance.choice((1, 1, 1, 2, 3, 5, 8, 10, 25, 100))
        start, end = _period(self.at.date() - timedelta(days=chance.randrange(28)), plan.billing_months)
        since = {"expired": "expired_at", "disabled": "disabled_at", "deleted": "deleted_at"}
        ended = {column: start if since.get(state) == column else None for column in since.values()}
        text = f"{product.name} {'' if is_central else buyer.name} {'' if is_central else buyer.email}"
        return (
            tenant_id, self._key(), product.pk, plan.pk, channel, "organization" if is_central else "person",
            None if is_central else buyer.id, None if is_central else buyer.id, bill_to_id, fold(product.name),
            "" if is_central else buyer.name, "" if is_central else fold(buyer.name), fold(text), quantity, 0,
            market.code, market.vendor_entity_id, market.currency, offer.unit_price_minor,
            quantity * offer.unit_price_minor, market.tax_name, market.tax_rate, plan.term_months,
            plan.billing_months, "Europe/Amsterdam", start.astimezone(ZONE).date(), state,
            state == "active" and chance.random() > 0.08, 0, start, end, end, None if state == "deleted" else end,
            start, ended["expired_at"], ended["disabled_at"], ended["deleted_at"],
            end - timedelta(days=1) if state == "active" and chance.random() < 0.02 else None, "", start, 0,
        )  # fmt: skip

    def _person(self, id_: int, tenant_id: int) -> Person:
        first, last, number = self.chance.choice(FIRST_NAMES), self.chance.choice(LAST_NAMES), id_ % 1_000
        return Person(
            id_,
            f"{first} {last} {number}",
            f"{fold(first)}.{fold(last)}.{id_}@tenant-{tenant_id}.example",
            self.chance.random() < 0.03,
        )

    def _key(self) -> str:
        return str(uuid.UUID(int=self.chance.getrandbits(128), version=4))

    def _market(self, country: str) -> Market:
        return self.offers[country][0].market


_SUBSCRIPTION_COLUMNS = (
    "id tenant_id key product_id plan_id channel owner_kind owner_user_id purchaser_id bill_to_id product_sort"
    " purchaser_name purchaser_sort search_text quantity assigned market_id vendor_entity_id currency"
    " unit_price_minor period_price_minor tax_name tax_rate term_months billing_months time_zone anchor_date state"
    " recurring_billing period_index period_start period_end term_end due_at activated_at expired_at disabled_at"
    " deleted_at payment_failed_at parked_reason created_at version"
)
ZONE = ZoneInfo("Europe/Amsterdam")


def _offers() -> dict[str, list[Offer]]:
    """What is sold in each country that is used, plans whose term is one billing period."""
    markets = {market.code: market for market in Market.objects.filter(code__in=COUNTRIES)}
    offers: dict[str, list[Offer]] = {code: [] for code in markets}
    for price in Price.objects.filter(market__in=markets).select_related("plan__product").order_by("id"):
        if price.plan.term_months == price.plan.billing_months:
            offers[price.market_id].append(
                Offer(price.plan, markets[price.market_id], price.unit_price_minor)
            )
    return offers


def _period(first: date, months: int) -> tuple[datetime, datetime]:
    """The local midnights at which a period of 1 or 12 months that begins on `first` starts and ends."""
    year, month = divmod(first.year * 12 + first.month - 1 + months, 12)
    last = date(year, month + 1, min(first.day, 28))
    return tuple(datetime(day.year, day.month, day.day, tzinfo=ZONE) for day in (first, last))  # type: ignore[return-value]


def _sizes(total: int, large: int, tenants: int) -> list[int]:
    """Subscriptions of each tenant: the large one first, the rest spread evenly."""
    if tenants == 1:
        return [total]
    each, more = divmod(total - large, tenants - 1)
    return [large, *(each + (place < more) for place in range(tenants - 1))]


def _take_ids(table: str, count: int) -> int:
    """Reserve `count` ids of a table; the first of them."""
    with connection().cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence(%s, 'id'))", [table])
        first = int(cursor.fetchone()[0])
        cursor.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)", [table, first + count])
    return first


def _copy(table: str, columns: str, rows: Iterable[tuple[Any, ...]]) -> None:
    """COPY does not go through row-level security, not even the owner's: into a twin, and from there by INSERT."""
    names = columns.replace(" ", ", ")
    with atomic(), connection().cursor() as cursor:
        cursor.execute(
            f"CREATE TEMPORARY TABLE seed_twin ON COMMIT DROP AS SELECT {names} FROM {table} LIMIT 0"  # noqa: S608
        )
        with cursor.copy(f"COPY seed_twin ({names}) FROM STDIN") as copy:
            for chunk in batched(rows, 500, strict=False):
                copy.write("".join(map(_line, chunk)))
        cursor.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM seed_twin")  # noqa: S608


def _line(row: tuple[Any, ...]) -> str:
    """One line of COPY's text format; no value here holds a tab, a backslash or a line's end."""
    return "\t".join(["\\N" if value is None else str(value) for value in row]) + "\n"
