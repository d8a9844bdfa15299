"""`assign_one`: one seat at a time, permission check, history and audit included (architecture §11).

Ours is the operation `licensing.operations.assignments.assign_license`. The reference is the bare conditional
update of the counter by the same driver, connected as the same login, with as many clients. All figures are
ratios of the reference's cost to ours, measured in turns: `ratio_1` with one client, `ratio_16_one` with 16
client processes on one subscription, `ratio_16_spread` with each on its own. `ratio_given` compares ours on a
subscription of which 100,000 seats are given to ours on one of which none is.

Run by `make bench NAME=assign_one`, which starts a PostgreSQL that writes to disk as in production.
"""

import argparse
import itertools
import multiprocessing
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from typing import Any
from uuid import UUID

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

import psycopg  # noqa: E402
from django.conf import settings  # noqa: E402
from django.db import connections  # noqa: E402

from benchmarks.harness import ROUNDS, pairs, print_figures, report  # noqa: E402
from config.kit.actors import Actor  # noqa: E402
from directory.permissions import Role, grants_for  # noqa: E402
from licensing.operations.assignments import assign_license  # noqa: E402

AT = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
SEATS = 1_000_000

BARE = """
UPDATE commerce_subscription SET assigned = assigned + 1
 WHERE id = %s AND assigned < quantity RETURNING assigned
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.assign_one", description=__doc__)
    parser.add_argument("--clients", type=int, default=16, help="client processes (16)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one measurement (2)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"interleaved pairs of each ({ROUNDS})")
    parser.add_argument("--given", type=int, default=100_000, help="seats given for ratio_given (100,000)")
    parser.add_argument("--people", type=int, default=100_000, help="people of the tenant (100,000)")
    options = parser.parse_args()
    print(f"{options.rounds} pairs of {options.seconds} s, {options.clients} clients, {os.cpu_count()} cores")
    stage = Stage(people=max(options.given, options.people))
    crowd = Crowd(options.clients, stage.actor)
    try:
        measure = Measurements(stage, crowd, options.seconds)
        crowd.warm_up(stage)
        one = pairs(measure.ours(1), measure.bare(1), rounds=options.rounds)
        together = pairs(
            measure.ours(options.clients, is_spread=False),
            measure.bare(options.clients, is_spread=False),
            rounds=options.rounds,
        )
        spread = pairs(measure.ours(options.clients), measure.bare(options.clients), rounds=options.rounds)
        given = pairs(measure.ours(1, given=options.given), measure.ours(1), rounds=options.rounds)
    finally:
        crowd.go_home()
    print_figures(
        ratio_1=report("1 client", one),
        ratio_16_one=report(f"{options.clients} clients on one subscription", together),
        ratio_16_spread=report(f"{options.clients} clients on their own subscriptions", spread),
        ratio_given=report(f"{options.given:,} seats given, to none", given),
    )


class Stage:
    """The rows: one tenant, its people, and a fresh subscription of a fresh product for every measurement."""

    def __init__(self, *, people: int) -> None:
        self._numbers = itertools.count(1)
        self._owner = connections["owner"].cursor()
        self.tenant_id = self._insert(
            "directory_tenant",
            key=_uuid(),
            name="Contoso",
            kind="commercial",
            standing="good",
            is_managed=True,
            creates_members=True,
            country="NL",
            time_zone="Europe/Amsterdam",
            currency="EUR",
            language="en",
            created_at=AT,
        )
        self._owner.execute(
            """
            INSERT INTO directory_user (tenant_id, key, kind, status, source, name, sort_name, email, issuer,
                                        subject, language, created_at)
            SELECT %s, gen_random_uuid(), 'member', 'active', 'cloud', 'Person ' || n, 'person ' || n,
                   'person-' || n || '@contoso.example', '', '', 'en', %s
              FROM generate_series(1, %s) n RETURNING id
            """,
            [self.tenant_id, AT, people],
        )
        self.people: list[int] = [row[0] for row in self._owner.fetchall()]
        entity = self._insert("commerce_vendorentity", name="Seatkeeper B.V.", bill_series="SK-NL")
        self._insert(
            "commerce_market",
            code="NL",
            name="Netherlands",
            currency="EUR",
            tax_name="VAT",
            tax_rate=21,
            vendor_entity_id=entity,
            self_service=True,
            returning="code",
        )
        bill_to = self._insert(
            "commerce_billto",
            tenant_id=self.tenant_id,
            name="Contoso",
            street="",
            postal_code="",
            city="",
            country="NL",
            vat_number="",
            own_reference="",
            email="",
        )
        self._entity, self._bill_to = entity, bill_to
        for table in ("directory_user", "directory_tenant"):
            self._owner.execute(f"ANALYZE {table}")
        admin = self.people[0]
        self.actor = Actor(
            user_id=admin,
            tenant_id=self.tenant_id,
            home_tenant_id=self.tenant_id,
            label="Lisa Visser",
            roles=frozenset({Role.LICENSE_ADMIN}),
            correlation_id="bench",
            grants=grants_for(
                frozenset({Role.LICENSE_ADMIN}), is_purchaser=False, is_guest=False, is_partner=False
            ),
        )

    def subscription(self, *, given: int = 0) -> tuple[int, UUID]:
        """A new central subscription of a new product; `given` of its seats are held by the last people."""
        number, key = next(self._numbers), _uuid()
        product = self._insert(
            "commerce_product",
            key=f"P{number}",
            slug=f"p-{number}",
            name=f"Product {number}",
            category="Power Platform",
            tagline="",
            description="",
            features="[]",
            links="[]",
            self_service=True,
            trial_without_card=False,
            guests_may_hold=False,
            sku_id=_uuid(),
            sku_part_number="P",
            max_quantity=300,
            expired_days=30,
            disabled_days=90,
        )
        plan = self._insert("commerce_plan", product_id=product, term_months=1, billing_months=1)
        subscription = self._insert(
            "commerce_subscription",
            tenant_id=self.tenant_id,
            key=key,
            product_id=product,
            plan_id=plan,
            channel="central",
            owner_kind="organization",
            bill_to_id=self._bill_to,
            product_sort=f"product {number}",
            purchaser_name="",
            purchaser_sort="",
            search_text="",
            quantity=SEATS,
            assigned=given,
            market_id="NL",
            vendor_entity_id=self._entity,
            currency="EUR",
            unit_price_minor=940,
            period_price_minor=940 * SEATS,
            tax_name="VAT",
            tax_rate=21,
            term_months=1,
            billing_months=1,
            time_zone="Europe/Amsterdam",
            anchor_date=AT.date(),
            state="active",
            recurring_billing=True,
            period_index=0,
            period_start=AT,
            period_end=AT.replace(month=4),
            term_end=AT.replace(month=4),
            due_at=AT.replace(month=4),
            parked_reason="",
            created_at=AT,
            version=0,
        )
        if given:
            self._owner.execute(
                """
                INSERT INTO licensing_assignment (tenant_id, subscription_id, user_id, product_id, assigned_at,
                                                  assigned_by, ended_by)
                SELECT %s, %s, id, %s, %s, 'Lisa Visser', ''
                  FROM unnest(%s::bigint[]) id
                """,
                [self.tenant_id, subscription, product, AT, self.people[:given]],
            )
            self._owner.execute(
                """
                INSERT INTO directory_user (tenant_id, key, kind, status, source, name, sort_name, email, issuer,
                                            subject, language, created_at)
                SELECT %s, gen_random_uuid(), 'member', 'active', 'cloud', 'New ' || n, 'new ' || n,
                       'new-' || n || '@contoso.example', '', '', 'en', %s
                  FROM generate_series(1, 20000) n RETURNING id
                """,
                [self.tenant_id, AT],
            )
            self.newcomers = [row[0] for row in self._owner.fetchall()]
        return subscription, key

    def _insert(self, table: str, *, returning: str = "id", **values: Any) -> Any:
        columns, places = ", ".join(values), ", ".join(["%s"] * len(values))
        self._owner.execute(
            f"INSERT INTO {table} ({columns}) VALUES ({places}) RETURNING {returning}", list(values.values())
        )
        return self._owner.fetchone()[0]


class Crowd:
    """Client processes that wait for work on a pipe; each has one connection of each kind, kept open."""

    def __init__(self, clients: int, actor: Actor) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipes: list[Connection] = []
        self.processes = []
        for _ in range(clients):
            here, there = context.Pipe()
            process = context.Process(target=_client, args=(there, actor), daemon=True)
            process.start()
            self.pipes.append(here)
            self.processes.append(process)
        for pipe in self.pipes:
            pipe.recv()

    def work(self, tasks: list[tuple[Any, ...]]) -> float:
        """Send each client its task; the cost in seconds of one piece of all their work together."""
        for pipe, task in zip(self.pipes, tasks, strict=False):
            pipe.send(task)
        answers = [pipe.recv() for pipe, _task in zip(self.pipes, tasks, strict=False)]
        return 1 / sum(done / seconds for done, seconds in answers)

    def warm_up(self, stage: Stage) -> None:
        """Let every connection plan its statements once."""
        subscription, key = stage.subscription()
        share = len(stage.people) // len(self.pipes)
        for kind, target in (("ours", key), ("bare", subscription)):
            self.work([(kind, target, stage.people[n * share :][:50], 60.0) for n in range(len(self.pipes))])

    def go_home(self) -> None:
        for pipe in self.pipes:
            pipe.send(None)
        for process in self.processes:
            process.join(10)


class Measurements:
    """Measures for `harness.pairs`; each call takes new subscriptions, so that none is larger than another."""

    def __init__(self, stage: Stage, crowd: Crowd, seconds: float) -> None:
        self.stage, self.crowd, self.seconds = stage, crowd, seconds
        self._given: tuple[int, UUID] | None = None
        self._offset = 0

    def ours(self, clients: int, *, is_spread: bool = True, given: int = 0) -> Callable[[], float]:
        if given:
            return lambda: self._on_given(given)
        return lambda: self._run("ours", clients, is_spread=is_spread)

    def bare(self, clients: int, *, is_spread: bool = True) -> Callable[[], float]:
        return lambda: self._run("bare", clients, is_spread=is_spread)

    def _run(self, kind: str, clients: int, *, is_spread: bool) -> float:
        share = len(self.stage.people) // clients
        targets = [self.stage.subscription() for _ in range(clients if is_spread else 1)]
        return self.crowd.work(
            [
                (
                    kind,
                    targets[n % len(targets)][1 if kind == "ours" else 0],
                    self.stage.people[n * share : (n + 1) * share],
                    self.seconds,
                )
                for n in range(clients)
            ]
        )

    def _on_given(self, given: int) -> float:
        if self._given is None:
            self._given = self.stage.subscription(given=given)
        share = 20_000 // 10
        people = self.stage.newcomers[self._offset : self._offset + share]
        self._offset += share
        return self.crowd.work([("ours", self._given[1], people, self.seconds)])


def _client(pipe: Connection, actor: Actor) -> None:
    """One client: does tasks until told to go home, answers with (pieces done, seconds)."""
    settings.DATABASES["default"]["CONN_MAX_AGE"] = None
    database = settings.DATABASES["default"]
    bare = psycopg.connect(
        host=database["HOST"],
        port=database["PORT"],
        dbname=database["NAME"],
        user=database["USER"],
        password=database["PASSWORD"],
        autocommit=True,
    )
    bare.execute("SELECT set_config('seatkeeper.tenant_id', %s, false)", [str(actor.tenant_id)])
    pipe.send("ready")
    while (task := pipe.recv()) is not None:
        kind, target, people, seconds = task
        started = time.perf_counter()
        done = 0
        for user_id in people:
            if kind == "ours":
                assign_license(actor=actor, subscription_key=target, user_id=user_id, at=AT)
            elif bare.execute(BARE, [target]).fetchone() is None:
                raise RuntimeError("the bare statement found no seat")
            done += 1
            if time.perf_counter() - started >= seconds:
                break
        pipe.send((done, time.perf_counter() - started))


def _uuid() -> UUID:
    return UUID(bytes=os.urandom(16), version=4)


if __name__ == "__main__":
    main()
