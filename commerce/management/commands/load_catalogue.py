"""`manage.py load_catalogue`: write the catalogue's files to the database; safe to run again."""

from typing import Any

from django.core.management.base import BaseCommand

from commerce.operations.catalogue import load_catalogue
from config.kit.clock import now
from config.kit.tenancy import use_login


class Command(BaseCommand):
    help = "Write products, plans, markets and prices from commerce/data to the database."

    def handle(self, *args: Any, **options: Any) -> None:
        with use_login("owner"):
            loaded = load_catalogue(at=now())
        self.stdout.write(
            f"{loaded.products} products, {loaded.plans} plans, {loaded.markets} markets, {loaded.prices} prices"
        )
