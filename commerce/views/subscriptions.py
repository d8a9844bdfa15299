"""Your products: one list, as limited and as full view (product §4, §8)."""

from datetime import date, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from babel.dates import format_date
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _

from commerce import states
from commerce.models import Product, Subscription
from commerce.queries import subscriptions as queries
from commerce.queries.handovers import handed_over_by
from config.kit import access, keyset
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.errors import Malformed, Text
from config.kit.money import format_money, tax_on
from config.kit.templatetags.kit import tile_colour, tile_letters
from directory.permissions import Capability

CHANNEL_BUTTONS: tuple[tuple[str, Text], ...] = (
    (Subscription.Channel.CENTRAL, gettext_lazy("Central")),
    (Subscription.Channel.SELF_SERVICE, gettext_lazy("Self-service")),
    (Subscription.Channel.TRIAL, gettext_lazy("Trials")),
)
COLUMNS: tuple[tuple[str, Text, str], ...] = (
    ("product", gettext_lazy("Product"), ""),
    ("purchaser", gettext_lazy("Purchaser"), ""),
    ("", gettext_lazy("Channel, owner"), ""),
    ("seats", gettext_lazy("Bought"), "n"),
    ("", gettext_lazy("Assigned"), "n"),
    ("", gettext_lazy("Free"), "n"),
    ("price", gettext_lazy("Price"), "n"),
    ("", gettext_lazy("Status"), ""),
    ("expires", gettext_lazy("Next date"), ""),
)


@access.requires(sees=Capability.SEE_PURCHASES)
def your_products(request: HttpRequest) -> HttpResponse:
    """The purchases that the person may see: the own ones, or all of the tenant's."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    products = queries.products_by_id()
    chosen = parse_filter(request.GET, products)
    rows = queries.rows_for(actor, chosen)
    page = queries.page_of(rows, chosen, cursor=request.GET.get("page", ""))
    organization: str = request.tenant.name  # type: ignore[attr-defined]
    make_line = line_of if sees_all(actor) else own_line_of
    context = {
        "title": _("Your products"),
        "crumbs": [(_("Billing"), "")],
        "lines": [make_line(row, products[row.product_id], organization) for row in page.rows],
        "next": _address(request.GET, page=page.next) if page.next else "",
        "back": _address(request.GET, page=page.back) if page.back else "",
        "is_narrowed": chosen.is_narrowed,
        "may_buy": actor.may(Capability.BUY),
    }
    if not sees_all(actor):
        context["handed_over"] = handed_over_by(actor)
        return render_page(request, "commerce/your_products_own.html", context)
    context |= {
        "columns": _columns(request.GET, chosen),
        "products": sorted(products.values(), key=lambda product: product.name),
        "statuses": states.FILTERS.items(),
        "chosen": chosen,
        "q": request.GET.get("q", ""),
        "kept": [(name, value) for name, value in _kept(request.GET) if name in ("channel", "sort")],
    }
    context["chips"] = _chips(request.GET, chosen, queries.counts_of(rows))
    return render_page(request, "commerce/your_products.html", context)


def sees_all(actor: Actor) -> bool:
    """Whether the full view is the person's, rather than the own purchases alone."""
    return "all" in actor.scopes(Capability.SEE_PURCHASES)


def parse_filter(params: QueryDict, products: dict[int, Product]) -> queries.Filter:
    """The filter of an address.

    :raises Malformed: a channel, status, sort or product that does not exist.
    """
    channels = tuple(dict.fromkeys(params.getlist("channel")))
    slug, status, sort = (
        params.get("product", ""),
        params.get("status", ""),
        params.get("sort", "") or "product",
    )
    by_slug = {product.slug: pk for pk, product in products.items()}
    known = (
        set(channels) <= set(queries.CHANNELS)
        and (not status or status in queries.STATUSES)
        and sort.removeprefix("-") in queries.SORTS
        and (not slug or slug in by_slug)
    )
    if not known:
        raise Malformed(_("This page address is not valid."))
    return queries.Filter(
        channels=channels,
        product_id=by_slug.get(slug),
        status=status,
        words=queries.words_of(params.get("q", "")),
        sort=sort.removeprefix("-"),
        descending=sort.startswith("-"),
    )


def line_of(row: queries.Row, product: Product, organization: str) -> dict[str, Any]:
    """What one row says, put together here once: the template only prints it, fifty times."""
    status = states.status_of(
        state=row.state,
        channel=row.channel,
        recurring_billing=row.recurring_billing,
        payment_failed_at=row.payment_failed_at,
        next_try_at=row.next_try_at,
        pay_by_at=row.pay_by_at,
        parked_at=row.parked_at,
        due_at=row.due_at,
        term_end=row.term_end,
    )
    return {
        "address": f"{row.key}/",
        "name": product.name,
        "tile": f"sk-tile sk-tile--sm {tile_colour(product.category)}",
        "letters": tile_letters(product.name),
        "purchaser": row.purchaser_name,
        "mail": row.purchaser_email or "",
        "has_left": row.purchaser_status is not None and row.purchaser_status != "active",
        "channel": str(CHANNEL_NAMES[row.channel]),
        "owner": organization if row.owner_kind == Subscription.Owner.ORGANIZATION else _("Purchaser"),
        "bought": str(row.quantity),
        "assigned": str(row.assigned),
        "free": str(row.free),
        "free_css": "sk-strong" if row.free else "sk-subtle",
        "price": money(row.period_price_minor, row.currency),
        "unit_price": money(row.unit_price_minor, row.currency),
        "period": str(states.per_period(row.billing_months)),
        "status": str(status.label),
        "tone": status.tone,
        "next_date": day(status.next_at, row.time_zone),
        "next_label": str(status.next_label),
    }


def own_line_of(row: queries.Row, product: Product, organization: str) -> dict[str, Any]:
    """The same for the purchaser's own list, with when it was bought and what comes next in money."""
    line = line_of(row, product, organization)
    is_trial = row.channel == Subscription.Channel.TRIAL
    renews = row.state in (Subscription.State.ACTIVE, Subscription.State.SCHEDULED) and row.recurring_billing
    if renews:
        net = row.period_price_minor
        note = _("%(amount)s with %(tax)s") % {
            "amount": money(net + tax_on(net, row.tax_rate), row.currency),
            "tax": row.tax_name,
        }
    elif row.state == Subscription.State.DELETED:
        note = ""
    else:
        note = _("Nothing is charged") if is_trial else _("Renewal is off")
    facts = {
        "date": day(row.created_at, row.time_zone),
        "term": _("1 month") if row.term_months == 1 else _("1 year"),
    }
    return line | {
        "tile": f"sk-tile {tile_colour(product.category)}",
        "since": (_("Started %(date)s") if is_trial else _("Bought %(date)s, %(term)s")) % facts,
        "note": note,
    }


CHANNEL_NAMES: dict[str, Text] = {
    Subscription.Channel.CENTRAL: gettext_lazy("Central"),
    Subscription.Channel.SELF_SERVICE: gettext_lazy("Self-service"),
    Subscription.Channel.TRIAL: gettext_lazy("Trial"),
}


def money(minor: int, currency: str) -> str:
    return _money(minor, currency, get_language() or "en")


def day(at: datetime | None, time_zone: str) -> str:
    """The calendar day of an instant in a zone; empty for none."""
    return day_of(at.astimezone(_zone(time_zone)).date()) if at else ""


def day_of(date: date) -> str:
    """A calendar day as people read it."""
    return _day(date, get_language() or "en")


# A list shows few different amounts and days, and formatting one costs more than the rest of its row.
@lru_cache(maxsize=4096)
def _money(minor: int, currency: str, locale: str) -> str:
    return format_money(minor, currency, locale)


@lru_cache(maxsize=4096)
def _day(date: date, locale: str) -> str:
    return str(format_date(date, "d MMM y", locale=locale.replace("-", "_")))


@lru_cache(maxsize=512)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _kept(params: QueryDict, *without: str) -> list[tuple[str, str]]:
    """The filter's own parts of an address, in order; the page is left behind."""
    names = [name for name in ("channel", "product", "status", "q", "sort") if name not in without]
    return [(name, value) for name in names for value in params.getlist(name) if value]


def _address(params: QueryDict, *without: str, **more: str) -> str:
    return "?" + urlencode([*_kept(params, *without), *more.items()])


def _chips(params: QueryDict, chosen: queries.Filter, counts: dict[str, int]) -> list[dict[str, Any]]:
    """The channel buttons, each with how many rows it would show."""
    first = {
        "label": _("All"),
        "hint": _("central and self-service"),
        "address": _address(params, "channel"),
        "count": keyset.shown_count(sum(counts.values()), keyset.COUNT_LIMIT),
        "is_current": not chosen.channels,
    }
    return [first] + [
        {
            "label": label,
            "address": _address(params, "channel", channel=channel),
            "count": keyset.shown_count(counts[channel], keyset.COUNT_LIMIT),
            "is_current": channel in chosen.channels,
        }
        for channel, label in CHANNEL_BUTTONS
    ]


def _columns(params: QueryDict, chosen: queries.Filter) -> list[dict[str, Any]]:
    """The heads of the table; a click on the sorted one turns the order."""
    columns = []
    for sort, label, css in COLUMNS:
        is_sorted = sort == chosen.sort
        turned = f"-{sort}" if is_sorted and not chosen.descending else sort
        columns.append(
            {
                "label": label,
                "css": css,
                "address": _address(params, "sort", sort=turned) if sort else "",
                "sorted": ("descending" if chosen.descending else "ascending") if is_sorted else "",
            }
        )
    return columns
