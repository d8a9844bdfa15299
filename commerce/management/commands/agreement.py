"""What is agreed with an organization: `manage.py agreement show|price|terms DOMAIN ...` (product §6)."""

import getpass
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from commerce.operations.agreements import PriceList, price_list, set_price, set_terms
from config.kit import clock
from config.kit.errors import DomainError
from config.kit.money import format_money
from config.kit.tenancy import connection, use_login


class Command(BaseCommand):
    help = "Shows an organization's agreement, and sets its prices and days to pay; the organization's trail says who."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        show = actions.add_parser("show", help="list what is agreed")
        price = actions.add_parser("price", help="agree on the price of a plan")
        terms = actions.add_parser("terms", help="agree on the days to pay")
        for each in (show, price, terms):
            each.add_argument("domain", help="a verified domain of the organization, such as contoso.example")
        price.add_argument("product", help="the product's slug, such as power-bi-pro")
        price.add_argument("plan", choices=["monthly", "yearly", "yearly-monthly"])
        price.add_argument(
            "minor", type=int, help="per license and billing period, without tax, in minor units: 800 is 8.00"
        )
        terms.add_argument("days", type=int, help="from the bill's day on")
        for each in (price, terms):
            each.add_argument("--staff", default="", help="who agreed; default: the user of this machine")

    def handle(self, *args: Any, action: str, domain: str, **options: Any) -> None:
        with use_login("worker"):
            at = clock.database_now(connection())
        staff = options.get("staff") or getpass.getuser()
        try:
            if action == "price":
                agreed = set_price(
                    domain=domain,
                    product=options["product"],
                    plan=options["plan"],
                    unit_price_minor=options["minor"],
                    staff=staff,
                    at=at,
                )
            elif action == "terms":
                agreed = set_terms(domain=domain, payment_days=options["days"], staff=staff, at=at)
            else:
                agreed = price_list(domain=domain)
        except DomainError as refused:
            raise CommandError(str(refused)) from refused
        self._say(agreed)

    def _say(self, agreed: PriceList) -> None:
        self.stdout.write(
            f"{agreed.tenant.name}: {agreed.agreement.name}, to be paid in {agreed.agreement.payment_days} days."
        )
        for price in agreed.prices:
            amount = format_money(price.unit_price_minor, price.currency, "en")
            self.stdout.write(f"{price.plan.product.slug} {price.plan.code}: {amount}")
