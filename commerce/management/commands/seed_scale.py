"""Many made-up tenants, people and subscriptions: `manage.py seed_scale`."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from commerce.models import Plan
from commerce.operations.catalogue import PRICES_VALID_FROM, load_catalogue
from commerce.operations.seeding import Due, Wanted, seed_customers
from config.kit import clock
from config.kit.errors import DomainError
from config.kit.tenancy import use_login


class Command(BaseCommand):
    help = (
        "Write made-up tenants with people, subscriptions, orders and bills, as the owner's login, all or nothing;"
        " meanwhile nobody else gets at these tables. The first tenant, called Scale, is large; its global admin's"
        " key is printed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--subscriptions", type=int, default=1_000_000, help="of every kind (default %(default)s)"
        )
        parser.add_argument(
            "--large", type=int, default=100_000, help="of them of the large tenant (default %(default)s)"
        )
        parser.add_argument("--tenants", type=int, default=1_000, help="in all (default %(default)s)")
        parser.add_argument(
            "--due",
            type=int,
            nargs="+",
            default=[],
            metavar="N",
            help="so many more that fall due on each of the coming days",
        )
        parser.add_argument("--seed", type=int, default=1, help="of the random choices (default %(default)s)")

    def handle(self, *args: Any, **options: Any) -> None:
        began = time.perf_counter()
        try:
            wanted = Wanted(
                tenants=options["tenants"],
                subscriptions=options["subscriptions"],
                large=options["large"],
                due=[Due(size) for size in options["due"]],
            )
            with use_login("owner"):
                if not Plan.objects.exists():
                    load_catalogue(at=PRICES_VALID_FROM)
                seeded = seed_customers(wanted, at=clock.now(), seed=options["seed"], told=self._tell)
        except DomainError as refused:
            raise CommandError(str(refused)) from refused
        total = wanted.subscriptions + sum(due.size for due in wanted.due)
        self.stdout.write(
            f"{total:,} subscriptions of {wanted.tenants:,} tenants in {time.perf_counter() - began:,.0f} s;"
            f" admin {seeded.admin_key}"
        )
        for due, at in zip(wanted.due, seeded.due, strict=True):
            self.stdout.write(f"{due.size:,} fall due on {at:%Y-%m-%d}")

    def _tell(self, what: str) -> None:
        self.stdout.write(what)
        self.stdout.flush()
