"""Writing made-up customers in one transaction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from commerce import dunning
from commerce.models import Product
from commerce.operations.seeding import choices, rows
from config.kit.errors import Malformed, NotAllowed
from config.kit.loading import analyze, indexes_put_aside
from config.kit.tenancy import connection
from directory.models.people import fold

FIRST_NAMES = [
    "Anna", "Bram", "Carla", "Daan", "Eva", "Femke", "Gijs", "Hanna", "Iris", "Jan", "Kees", "Lotte",
    "Maud", "Noor", "Otto", "Pien", "Quinn", "Roos", "Sara", "Tess", "Umar", "Vera", "Wout", "Xena",
    "Yara", "Zoë",
]  # fmt: skip
LAST_NAMES = [
    "Alders", "Bakker", "Claes", "Dijkstra", "Evers", "Faber", "Groot", "Hendriks", "IJzer", "Jansen",
    "Kuiper", "Linders", "Mulder", "Nijhof", "Otten", "Postma", "Quist", "Rademaker", "Smit", "Timmer",
    "Udo", "Visser", "Wolters", "Xhofleer", "Yilmaz", "Zijlstra",
]  # fmt: skip
ZONES = {
    "NL": "Europe/Amsterdam",
    "DE": "Europe/Berlin",
    "GB": "Europe/London",
    "US": "America/New_York",
}

# A subscription that falls due by the month is bought on the same day of the month before: not every month has more.
LAST_DAY = 28
PEOPLE = 40
MOST_SEEDS = 1_000_003

LARGE_TABLES = (
    "directory_user",
    "commerce_subscription",
    "commerce_order",
    "commerce_orderline",
    "commerce_bill",
    "commerce_billline",
    "commerce_payment",
    "commerce_subscriptionevent",
    "directory_auditentry",
)
SMALL_TABLES = (
    "directory_tenant",
    "directory_roleassignment",
    "commerce_billto",
    "commerce_agreement",
    "commerce_agreementprice",
    "commerce_billseries",
    "commerce_trial",
)


class RealCustomers(NotAllowed):
    """This installation takes real money; made-up customers have no place in it."""

    code = "real_customers"
    message = _("This installation takes real money; made-up customers have no place in it.")


@dataclass(frozen=True, slots=True)
class Due:
    """So many that fall due on one day: bought by card, by the month or the year (12), and renewing."""

    size: int
    months: int = 1


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to make up.

    `subscriptions` of every kind and state, `large` of them of the first tenant and the rest spread evenly; and
    beside them `due`, each on one of the coming days.
    """

    tenants: int
    subscriptions: int = 0
    large: int = 0
    due: Sequence[Due] = ()

    def __post_init__(self) -> None:
        sizes = [self.subscriptions, *(due.size for due in self.due)]
        if self.tenants < 1 or sum(sizes) < 1 or min(sizes) < 0:
            raise Malformed("There must be a tenant, and a subscription.")
        if not 0 <= self.large <= self.subscriptions:
            raise Malformed("The large tenant cannot have more subscriptions than there are.")


@dataclass(frozen=True, slots=True)
class Seeded:
    """Who may see the large tenant, and when each of `Wanted.due` has fallen due but nothing of the next."""

    tenant_id: int
    admin_id: int
    admin_key: UUID
    due: list[datetime]


def seed_customers(
    wanted: Wanted, *, at: datetime, seed: int = 1, told: Callable[[str], object] = lambda what: None
) -> Seeded:
    """Write the customers as they are at `at`, in one transaction, or nothing at all.

    Needs the owner's login and a loaded catalogue. Until it is done nobody else reads or writes subscriptions,
    orders, bills or people. `seed` decides the random choices, but not keys; `told` hears of the progress.

    :raises RealCustomers: the installation takes real money.
    :raises Malformed: more days fall due than lie before the next purchases of the month.
    """
    if settings.STRIPE_LIVEMODE:
        raise RealCustomers
    due_days = _due_days(at, len(wanted.due))
    with indexes_put_aside(*LARGE_TABLES), connection().cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '128MB'")
        cursor.execute("SELECT setseed(%s)", [seed % MOST_SEEDS / MOST_SEEDS])
        parameters = _parameters(wanted, at, due_days)
        for statement in choices.STEPS:
            cursor.execute(statement, parameters)
        for what, statement in rows.STEPS:
            cursor.execute(statement, parameters)
            if what:
                told(f"{cursor.rowcount:,} {what}")
        cursor.execute(_ADMIN)
        tenant_id, admin_id, admin_key = cursor.fetchone()
        told("indexes and keys")
    analyze(*SMALL_TABLES, *LARGE_TABLES)
    return Seeded(tenant_id, admin_id, admin_key, due_days)


def _parameters(wanted: Wanted, at: datetime, due_days: list[datetime]) -> dict[str, Any]:
    """What the statements are told, by name."""
    products = {product.pk: fold(product.name) for product in Product.objects.all()}
    return {
        "at": at,
        "tenants": wanted.tenants,
        "subscriptions": wanted.subscriptions,
        "large": wanted.large if wanted.tenants > 1 else wanted.subscriptions,
        "due": [due.size for due in wanted.due],
        "due_months": [due.months for due in wanted.due],
        "due_days": [day.date() for day in due_days],
        "countries": list(ZONES),
        "zones": list(ZONES.values()),
        "people": PEOPLE,
        "first": FIRST_NAMES,
        "last": LAST_NAMES,
        "folded_first": [fold(name) for name in FIRST_NAMES],
        "folded_last": [fold(name) for name in LAST_NAMES],
        "products": list(products),
        "folded_products": list(products.values()),
        "end_step": dunning.END,
        "deadline_days": dunning.DEADLINE_DAYS,
    }


def _due_days(at: datetime, count: int) -> list[datetime]:
    """Noon in UTC, when it is day in every zone that is used, of the next days that every month has."""
    noon = at.replace(hour=12, minute=0, second=0, microsecond=0)
    coming = (noon + timedelta(days=number) for number in range(1, count + 5))
    days = [day for day in coming if day.day <= LAST_DAY][:count]
    if days and days[-1] > noon + timedelta(days=LAST_DAY - 1):
        raise Malformed("So many days do not lie within one month.")
    return days


_ADMIN = "SELECT tenant_id, id, key FROM seed_person WHERE tenant_place = 1 AND place = 1"
