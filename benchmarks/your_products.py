"""Your products for a tenant with many subscriptions, against the stock Django admin over the same rows.

    python -m benchmarks.your_products --subscriptions 1000000 --large 100000

Both answer through Django's test client in this process, with the same middleware, session, login and row-level
security; both show 50 rows with the same columns and the same filters, and split a search into words of which
each must match product, purchaser's name or mail; that both show the same rows is checked. Time is that of one
complete page, ours with the counts of its channel buttons.

`ratio_*`: the stock admin's time to ours for the first page, a filtered one, one sorted by purchaser, the last
page, and a search with few hits.
"""

import argparse
import os
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from inspect import ismethod
from pathlib import Path
from typing import Any
from uuid import UUID

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.contrib import admin  # noqa: E402
from django.http import HttpRequest  # noqa: E402
from django.test import Client, override_settings  # noqa: E402
from django.urls import URLPattern, URLResolver, include, path  # noqa: E402

from benchmarks.harness import ROUNDS, pairs, plain_files, print_figures, report, signed_in  # noqa: E402
from commerce.models import Subscription  # noqa: E402
from commerce.operations.catalogue import PRICES_VALID_FROM, load_catalogue  # noqa: E402
from commerce.operations.seeding import Seeded, Wanted, seed_customers  # noqa: E402
from commerce.queries.subscriptions import Filter, page_of, rows_for  # noqa: E402
from config.kit import access, keyset  # noqa: E402
from config.kit.actors import Actor  # noqa: E402
from config.kit.tenancy import tenant_atomic, use_login  # noqa: E402
from directory.actors import build_actor  # noqa: E402
from directory.models import User  # noqa: E402

REPEATS = 5
OUR_KEY = re.compile(r'class="sk-rowlink" href="([0-9a-f-]{36})/[^"]*"')
STOCK_ID = re.compile(r'name="_selected_action" value="(\d+)"')
OURS = "/admin/billing/your-products/"
STOCK = "/stock/commerce/subscription/"


class StockAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """What a Django project would write for the same list, without a class of its own below it."""

    list_display = (
        "product", "purchaser_column", "channel", "owner_kind", "quantity", "assigned", "available", "price",
        "status", "next_date",
    )  # fmt: skip
    list_filter = ("channel", "product", "state")
    search_fields = ("product__name", "purchaser__name", "purchaser__email")
    list_select_related = ("product", "purchaser")
    list_per_page = keyset.PAGE_SIZE
    ordering = ("product_sort", "id")

    def get_queryset(self, request: HttpRequest) -> Any:
        rows = super().get_queryset(request).filter(tenant_id=request.actor.tenant_id)  # type: ignore[attr-defined]
        return rows if "state__exact" in request.GET else rows.exclude(state="deleted")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        response: Any = super().changelist_view(request, extra_context)
        response.using = "stock"
        return response

    def has_module_permission(self, request: HttpRequest) -> bool:
        return True

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    has_change_permission = has_delete_permission = has_view_permission

    @admin.display(description="Purchaser", ordering="purchaser_sort")
    def purchaser_column(self, row: Subscription) -> str:
        who = row.purchaser
        return f"{who.name} {who.email}{' (left)' if who.has_left else ''}" if who else ""

    @admin.display(description="Available")
    def available(self, row: Subscription) -> int:
        return row.free

    @admin.display(description="Price", ordering="period_price_minor")
    def price(self, row: Subscription) -> str:
        return f"{row.period_price_minor / 100:.2f} {row.currency} ({row.unit_price_minor / 100:.2f})"

    @admin.display(description="Status")
    def status(self, row: Subscription) -> str:
        return str(row.get_state_display())

    @admin.display(description="Next date", ordering="due_at")
    def next_date(self, row: Subscription) -> datetime | None:
        return row.due_at


class StockSite(admin.AdminSite):
    def has_permission(self, request: HttpRequest) -> bool:
        return True


stock = StockSite(name="stock")
stock.register(Subscription, StockAdmin)


def _open(patterns: list[URLPattern | URLResolver]) -> None:
    """Declare every view of the stock admin, which the access middleware would otherwise not find."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            _open(pattern.url_patterns)
        elif not ismethod(pattern.callback):
            access.signed_in(pattern.callback)


_patterns, _app, _namespace = stock.urls
_open(_patterns)
urlpatterns = [path("stock/", (_patterns, _app, _namespace)), path("", include("config.urls"))]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.your_products", description=__doc__)
    parser.add_argument("--subscriptions", type=int, default=1_000_000, help="in all (default %(default)s)")
    parser.add_argument(
        "--large", type=int, default=100_000, help="of the measured tenant (default %(default)s)"
    )
    parser.add_argument("--tenants", type=int, default=1_000, help="in all (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="interleaved pairs (default %(default)s)")
    options = parser.parse_args()
    began = time.perf_counter()
    wanted = Wanted(tenants=options.tenants, subscriptions=options.subscriptions, large=options.large)
    with use_login("owner"):
        load_catalogue(at=PRICES_VALID_FROM)
        seeded = seed_customers(wanted, at=datetime.now(UTC))
    print(
        f"{options.subscriptions:,} subscriptions written in {time.perf_counter() - began:,.0f} s", flush=True
    )
    with (
        plain_files(),
        override_settings(
            ROOT_URLCONF="benchmarks.your_products",
            TEMPLATES=[*settings.TEMPLATES, _stock_templates()],
        ),
    ):
        measure(seeded, rounds=options.rounds)


def _stock_templates() -> dict[str, Any]:
    """An engine that finds Django's own admin templates, which unfold's shadow in ours."""
    folders = [str(Path(django.__file__).parent / "contrib" / "admin" / "templates")]
    loader = ("django.template.loaders.filesystem.Loader", folders)
    engine: dict[str, Any] = settings.TEMPLATES[0]
    options = engine["OPTIONS"] | {"loaders": [("django.template.loaders.cached.Loader", [loader])]}
    return engine | {"NAME": "stock", "DIRS": [], "OPTIONS": options}


def measure(seeded: Seeded, *, rounds: int) -> None:
    with tenant_atomic(seeded.tenant_id):
        user = User.objects.get(pk=seeded.admin_id)
        actor = build_actor(user, acting_tenant_id=user.tenant_id, at=datetime.now(UTC))
        assert actor is not None
        cursor, pages, words, found = _places(actor)
    client = signed_in(user)
    query = "+".join(words)
    print(f"{pages:,} pages; a search for {' '.join(words)} finds {found}", flush=True)
    compared = {
        "first": ("", ""),
        "filter": ("?channel=self-service&status=active", "?channel__exact=self-service&state__exact=active"),
        "sort": ("?sort=purchaser", "?o=2"),
        "last": (f"?page={cursor}", f"?p={pages}"),
        "search": (f"?q={query}", f"?q={query}"),
    }
    figures = {}
    for name, (ours, theirs) in compared.items():
        _compare_rows(client, ours, theirs, column="purchaser_sort" if name == "sort" else "pk")
        comparison = pairs(_timed(client, OURS + ours), _timed(client, STOCK + theirs), rounds=rounds)
        figures[f"ratio_{name}"] = report(name, comparison)
    print_figures(**figures)


def _places(actor: Actor) -> tuple[str, int, list[str], int]:
    """The cursor of our last page, how many pages there are, and a search with few hits and their number."""
    rows = rows_for(actor, Filter())
    count = rows.count()
    pages = -(-count // keyset.PAGE_SIZE)
    on_last = count - (pages - 1) * keyset.PAGE_SIZE
    before = list(rows.order_by("-product_sort", "-id")[on_last : on_last + 1])
    cursor = keyset.encode_cursor([before[0].product_sort, before[0].pk], backward=False) if before else ""
    one = rows.filter(channel="self-service").select_related("purchaser").order_by("-purchaser_id").first()
    assert one is not None
    assert one.purchaser is not None
    words = [one.purchaser.name.split()[1], one.purchaser.email.split("@")[0].rsplit(".", 1)[1]]
    found = len(
        page_of(
            rows_for(actor, Filter(words=tuple(word.lower() for word in words))), Filter(), cursor=""
        ).rows
    )
    return cursor, pages, words, found


def _timed(client: Client, address: str) -> Callable[[], float]:
    """The best of some repeats: what the page costs when nothing else takes the processor."""

    def once() -> float:
        costs = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            _get(client, address)
            costs.append(time.perf_counter() - began)
        return min(costs)

    return once


def _get(client: Client, address: str) -> bytes:
    response = client.get(address)
    assert response.status_code == 200, (address, response.status_code)
    return bytes(response.content)


def _compare_rows(client: Client, ours: str, theirs: str, *, column: str) -> None:
    """Both pages show the same rows in the same order, by what they are sorted by: none is quick by showing less."""
    keys = OUR_KEY.findall(_get(client, OURS + ours).decode())
    ids = STOCK_ID.findall(_get(client, STOCK + theirs).decode())
    with use_login("worker"):
        by_key = dict(Subscription.objects.filter(key__in=keys).values_list("key", column))
        by_id = dict(Subscription.objects.filter(pk__in=ids).values_list("pk", column))
    shown = [by_key[UUID(key)] for key in keys]
    assert shown == [by_id[int(pk)] for pk in ids], (ours, theirs)
    assert shown, ours


if __name__ == "__main__":
    main()
