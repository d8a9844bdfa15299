"""Your products: one list, as limited and as full view (product §4, §8)."""

import uuid
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from html import escape
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from babel.dates import format_date
from babel.numbers import format_compact_currency
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext_lazy, ngettext
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from commerce import states
from commerce.models import Product, SavedView, Subscription
from commerce.operations import saved_views
from commerce.queries import details, totals
from commerce.queries import subscriptions as queries
from commerce.queries.handovers import handed_over_by
from config.kit import access, charts, keyset
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Malformed, NotVisible, Text
from config.kit.money import digits, format_money, tax_label, tax_on
from config.kit.templatetags.kit import tile_colour, tile_letters
from directory.models import Tenant
from directory.permissions import Capability
from policies.queries.data import data_policies

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


OWNER_NAMES: tuple[tuple[str, Text], ...] = (
    ("purchaser", gettext_lazy("Owned by the purchaser")),
    ("organization", gettext_lazy("Owned by the organization")),
    ("taken-over", gettext_lazy("Taken over from a purchaser")),
)
# What the form offers; an address may name any number of days up to a year.
DAYS = (7, 30, 90)
# The filter with which a purchase was opened, in its page's address.
LIST = "list"
FILTERS = ("channel", "product", "status", "owner", "purchaser", "left", "within", "q", "sort")


@access.requires(sees=Capability.SEE_PURCHASES)
def your_products(request: HttpRequest) -> HttpResponse:
    """The purchases that the person may see: the own ones, or all of the tenant's."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    tenant: Tenant = request.tenant  # type: ignore[attr-defined]
    at = now()
    products, bought = queries.products_bought(actor)
    chosen = parse_filter(request.GET, products, at=at)
    rows = queries.rows_for(actor, chosen)
    page = queries.page_of(rows, chosen, cursor=request.GET.get("page", ""))
    is_full = sees_all(actor)
    taken_over = queries.taken_over_of(page.rows) if is_full else {}
    make_line = line_of if is_full else own_line_of
    off = data_policies(actor=actor).off(products)
    words, query = Words(), urlencode(kept_filter(request.GET))
    lines = [
        make_line(row, products[row.product_id], tenant.name, taken_over.get(row.id), words=words)
        | {"is_off": row.product_id in off}
        for row in page.rows
    ]
    may_centralize = is_full and actor.may(Capability.TAKE_OVER) and _offer_centralizing(page.rows, lines)
    context: dict[str, Any] = {
        "title": _("Your products"),
        "crumbs": [(_("Billing"), "")],
        "lines": [_escaped(line) for line in lines],
        "list": f"?{urlencode({LIST: query})}" if query else "",
        "next": _address(request.GET, page=page.next) if page.next else "",
        "back": _address(request.GET, page=page.back) if page.back else "",
        "is_narrowed": chosen.is_narrowed,
        "may_buy": actor.may(Capability.BUY),
        "may_buy_centrally": actor.may(Capability.BUY_CENTRALLY),
    }
    if not is_full:
        context["handed_over"] = handed_over_by(actor)
        return render_page(request, "commerce/your_products_own.html", context)
    context |= {
        "may_centralize": may_centralize,
        "tickable": sum("tick" in line for line in lines),
        "columns": _columns(request.GET, chosen),
        "products": sorted(
            (each for pk, each in products.items() if pk in bought or pk == chosen.product_id),
            key=lambda product: product.name,
        ),
        "statuses": states.FILTERS.items(),
        "owners": OWNER_NAMES,
        "days": [(str(days), _ends_within(days)) for days in _offered_days(request.GET.get("within", ""))],
        "chosen": chosen,
        "values": {name: request.GET.get(name, "") for name in FILTERS},
        "kept": [
            (name, value)
            for name, value in kept_filter(request.GET)
            if name in ("channel", "purchaser", "sort")
        ],
        "views": _views(actor, request.GET),
        "may_save": not actor.is_staff
        and (chosen.is_narrowed or chosen.sort != "product" or chosen.descending),
        "query": query,
    }
    if chosen.purchaser_key is not None:
        context["purchaser"] = queries.purchaser_of(actor, chosen.purchaser_key)
        context["without_purchaser"] = _address(request.GET, "purchaser")
    counts = queries.counts_of(rows)
    context["chips"] = _chips(request.GET, chosen, counts)
    # Added up at once where that is quick, else asked for after the rows (architecture §9).
    is_later = chosen.is_narrowed or totals.is_large(counts)
    if not is_later:
        context |= totals_context(actor, tenant, products, at=at)
    return render_page(request, "commerce/your_products.html", context | {"is_later": is_later})


@access.requires(sees=Capability.SEE_PURCHASES)
@require_safe
def your_products_totals(request: HttpRequest) -> HttpResponse:
    """What stands above the list, asked for after the rows of a large one; without script, a page of its own."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    tenant: Tenant = request.tenant  # type: ignore[attr-defined]
    if not sees_all(actor):
        raise NotVisible
    context = totals_context(actor, tenant, queries.products_by_id(), at=now())
    if request.headers.get("HX-Request"):
        return render(request, "commerce/_totals.html", context)
    context |= {"title": _("Totals"), "crumbs": [(_("Your products"), reverse("portal:your-products"))]}
    return render_page(request, "commerce/your_products_totals.html", context)


@access.requires(sees=Capability.SEE_PURCHASES)
@require_POST
def save_view(request: HttpRequest) -> HttpResponse:
    """Keep the filter of the list under a name."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if not sees_all(actor):
        raise NotVisible
    params = QueryDict(request.POST.get("query", ""))
    at = now()
    parse_filter(params, queries.products_by_id(), at=at)
    query = urlencode(kept_filter(params))
    try:
        is_new = saved_views.save_view(actor=actor, name=request.POST.get("name", ""), query=query, at=at)
    except (Malformed, saved_views.TooManyViews) as error:
        messages.error(request, str(error))
    else:
        messages.success(
            request, _("The view is saved.") if is_new else _("The view of that name is replaced.")
        )
    return HttpResponseRedirect(f"{reverse('portal:your-products')}?{query}", status=HTTPStatus.SEE_OTHER)


@access.requires(sees=Capability.SEE_PURCHASES)
@require_POST
def delete_view(request: HttpRequest, view: int) -> HttpResponse:
    """Forget one of the own views."""
    saved_views.delete_view(actor=request.actor, view_id=view)  # type: ignore[attr-defined]
    messages.success(request, _("The view is deleted."))
    return HttpResponseRedirect(reverse("portal:your-products"), status=HTTPStatus.SEE_OTHER)


def sees_all(actor: Actor) -> bool:
    """Whether the full view is the person's, rather than the own purchases alone."""
    return "all" in actor.scopes(Capability.SEE_PURCHASES)


def parse_filter(params: QueryDict, products: dict[int, Product], *, at: datetime) -> queries.Filter:
    """The filter of an address.

    :raises Malformed: a channel, status, owner, purchaser, sort, product or number of days that makes no sense.
    """
    channels = tuple(dict.fromkeys(params.getlist("channel")))
    slug, status, sort = (
        params.get("product", ""),
        params.get("status", ""),
        params.get("sort", "") or "product",
    )
    owner, purchaser, within = (params.get(name, "") for name in ("owner", "purchaser", "within"))
    by_slug = {product.slug: pk for pk, product in products.items()}
    days = int(within) if within.isascii() and within.isdigit() and len(within) <= 3 else 0
    known = (
        (not owner or owner in queries.OWNERS)
        and (not purchaser or _uuid(purchaser) is not None)
        and params.get("left", "") in ("", "1")
        and (not within or 1 <= days <= queries.MOST_DAYS)
        and set(channels) <= set(queries.CHANNELS)
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
        owner=owner,
        purchaser_key=_uuid(purchaser),
        has_left=params.get("left") == "1",
        ends_before=at + timedelta(days=days) if days else None,
        words=queries.words_of(params.get("q", "")),
        sort=sort.removeprefix("-"),
        descending=sort.startswith("-"),
    )


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _ends_within(days: int) -> str:
    return ngettext("Ends within %d day", "Ends within %d days", days) % days


def _offered_days(within: str) -> list[int]:
    """The form's choices, and the one that the address has."""
    return sorted({*DAYS, *([int(within)] if within else [])})


def _views(actor: Actor, params: QueryDict) -> list[dict[str, Any]]:
    """Those that come with the page, and the person's own, by name. One query."""
    now_shown = urlencode(kept_filter(params))
    ready = [
        (_("Everything"), ""),
        (_("Purchaser has left"), "left=1"),
        (_("Ends within 30 days"), "within=30&sort=expires"),
        (_("Payment failed"), "status=payment-failed"),
    ]
    own = SavedView.objects.visible_to(actor).order_by("name")
    views = [(name, query, 0) for name, query in ready] + [(view.name, view.query, view.pk) for view in own]
    return [
        {"name": name, "address": f"?{query}", "id": pk, "is_current": query == now_shown}
        for name, query, pk in views
    ]


def totals_context(
    actor: Actor, tenant: Tenant, products: dict[int, Product], *, at: datetime
) -> dict[str, Any]:
    """Figures, bars and the chart, put into words; see `commerce.queries.totals`."""
    found = totals.totals_for(actor, time_zone=tenant.time_zone, currency=tenant.currency, at=at)
    share = round(100 * found.assigned / found.bought) if found.bought else 0
    context: dict[str, Any] = {
        "bought": f"{found.bought:,}",
        "assigned": f"{found.assigned:,}",
        "free": f"{found.free:,}",
        "share": _("%(percent)d%% of all") % {"percent": share},
        "bars": _bars(found, products),
    }
    return context | (_spend_context(found) if any(month.spend for month in found.months) else {})


MOST_BARS = 4


def _bars(found: totals.Totals, products: dict[int, Product]) -> list[dict[str, Any]]:
    """The products with most free licenses, and all others together."""
    free = [each for each in found.seats if each.free]
    bars = [(products[each.product_id].name, each.free) for each in free[:MOST_BARS]]
    rest = sum(each.free for each in free[MOST_BARS:])
    if rest:
        bars.append((_("Others"), rest))
    most = max((value for _label, value in bars), default=1)
    return [
        {
            "label": label,
            "value": value,
            "most": most,
            "free": f"{value:,}",
            "text": ngettext("%(label)s: %(free)s free", "%(label)s: %(free)s free", value)
            % {"label": label, "free": f"{value:,}"},
        }
        for label, value in bars
    ]


# Central below, since it is the larger part where there is any.
_STACK = (
    (Subscription.Channel.CENTRAL, "c1"),
    (Subscription.Channel.SELF_SERVICE, "c2"),
    (Subscription.Channel.TRIAL, "c3"),
)


def _spend_context(found: totals.Totals) -> dict[str, Any]:
    """The chart in the organization's currency, its legend, its finding in words, and the same as a table."""
    currency, *others = found.currencies
    months = found.months
    series = [
        charts.Series(
            str(CHANNEL_NAMES[channel]),
            css,
            [month.spend.get(currency, {}).get(channel, 0) for month in months],
        )
        for channel, css in _STACK
    ]
    series = [each for each in series if each.css != "c3" or any(each.values)]
    locale = (get_language() or "en").replace("-", "_")
    digits_ = digits(currency)

    def compact(minor: int) -> str:
        amount = Decimal(minor).scaleb(-digits_)
        return str(format_compact_currency(amount, currency, locale=locale, fraction_digits=1))

    def whole(minor: int) -> str:
        return (
            money(round(minor / 10**digits_) * 10**digits_, currency).removesuffix(".00").removesuffix(",00")
        )

    first, last = (str(format_date(each.first, "LLLL y", locale=locale)) for each in (months[0], months[-1]))
    names = [str(format_date(month.first, "LLL", locale=locale)) for month in months]
    return {
        "charts": charts.stacked(series, names, axis=compact, value=whole),
        "chart_title": _("Spend per month by channel, %(first)s to %(last)s")
        % {"first": first, "last": last},
        "chart_finding": " ".join(
            _("%(channel)s: %(before)s in %(first)s, %(now)s in %(last)s.")
            % {
                "channel": each.label,
                "before": money(each.values[0], currency),
                "now": money(each.values[-1], currency),
                "first": first,
                "last": last,
            }
            for each in series
        ),
        "legend": [
            {"label": each.label, "css": each.css, "now": money(each.values[-1], currency)} for each in series
        ],
        "months": [
            (
                str(format_date(month.first, "LLLL y", locale=locale)),
                [money(each.values[place], currency) for each in series],
            )
            for place, month in reversed(list(enumerate(months)))
        ],
        "other_currencies": ", ".join(
            money(sum(months[-1].spend[code].values()), code) for code in others if code in months[-1].spend
        ),
    }


class Words(dict[int, str]):
    """What the labels of a page's lines say, each translated once; by `id`, since comparing labels translates them."""

    def of(self, label: states.Label) -> str:
        """The label in the language of the page. It must be one that stays: its place in memory is what it is kept by."""
        said = self.get(id(label))
        if said is None:
            said = self[id(label)] = str(label)
        return said


def line_of(
    row: queries.Row,
    product: Product,
    organization: str,
    taken_over: queries.TakenOver | None = None,
    *,
    words: Words,
) -> dict[str, Any]:
    """What one row says, put together here once: the template only prints it, fifty times."""
    status = details.status_of(row)
    period = words.of(states.per_period(row.billing_months))
    return {
        "address": f"{row.key}/",
        "key": str(row.key),
        "name": product.name,
        "tile": f"sk-tile sk-tile--sm {tile_colour(product.category)}",
        "letters": tile_letters(product.name),
        "purchaser": row.purchaser_name,
        "mail": row.purchaser_email or "",
        "has_left": row.purchaser_status is not None and row.purchaser_status != "active",
        "channel": words.of(CHANNEL_NAMES[row.channel]),
        "owner": _owner(row, organization, taken_over, words),
        "bought": str(row.quantity),
        "assigned": str(row.assigned),
        "free": str(row.free),
        "free_css": "sk-strong" if row.free else "sk-subtle",
        "seats": words.of(_SEATS) % {"bought": row.quantity, "free": row.free},
        "price": money(row.period_price_minor, row.currency),
        "each": words.of(_EACH) % {"price": money(row.unit_price_minor, row.currency), "period": period},
        "period": period,
        "status": words.of(status.label),
        "tone": status.tone,
        "next_date": day(status.next_at, row.time_zone),
        "next_label": words.of(status.next_label),
    }


def _offer_centralizing(rows: Sequence[queries.Row], lines: list[dict[str, Any]]) -> bool:
    """Give the lines of purchases that can be centralized the words of their tick box; whether there are any."""
    centralize = _("Centralize %(name)s of %(purchaser)s")
    for row, line in zip(rows, lines, strict=True):
        if row.channel == Subscription.Channel.SELF_SERVICE and row.state != Subscription.State.DELETED:
            line["tick"] = centralize % line
    return any("tick" in line for line in lines)


def _escaped(line: dict[str, Any]) -> dict[str, Any]:
    """A line whose texts are escaped already: for a thousand of them cheaper here than one by one in the template."""
    return {
        name: SafeString(said if said.isalnum() else escape(said)) if isinstance(said, str) else said
        for name, said in line.items()
    }


def _owner(row: queries.Row, organization: str, taken_over: queries.TakenOver | None, words: Words) -> str:
    if taken_over is not None:
        facts = {"name": taken_over.by, "day": day(taken_over.at, row.time_zone)}
        return _("Taken over by %(name)s on %(day)s") % facts
    if queries.is_taken_over(row):
        return _("Taken over")
    return organization if row.owner_kind == Subscription.Owner.ORGANIZATION else words.of(_PURCHASER)


def own_line_of(
    row: queries.Row,
    product: Product,
    organization: str,
    taken_over: queries.TakenOver | None = None,
    *,
    words: Words,
) -> dict[str, Any]:
    """The same for the purchaser's own list, with when it was bought and what comes next in money."""
    line = line_of(row, product, organization, words=words)
    is_trial = row.channel == Subscription.Channel.TRIAL
    renews = row.state in (Subscription.State.ACTIVE, Subscription.State.SCHEDULED) and row.recurring_billing
    if renews:
        net = row.period_price_minor
        note = _("%(amount)s with %(tax)s") % {
            "amount": money(net + tax_on(net, row.tax_rate), row.currency),
            "tax": tax_label(row.tax_name),
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


_SEATS = gettext_lazy("of %(bought)d, %(free)d free")
_EACH = gettext_lazy("%(price)s each, %(period)s")
_PURCHASER = gettext_lazy("Purchaser")
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


def kept_filter(params: QueryDict, *without: str) -> list[tuple[str, str]]:
    """The filter's own parts of an address, in order; the page is left behind."""
    names = [name for name in FILTERS if name not in without]
    return [(name, value) for name in names for value in params.getlist(name) if value]


def list_address(params: QueryDict) -> str:
    """The list as it was when a purchase was opened from it; whatever else the address of its page says is left out."""
    query = urlencode(kept_filter(QueryDict(params.get(LIST, "")[:1000])))
    return f"{reverse('portal:your-products')}{'?' if query else ''}{query}"


def _address(params: QueryDict, *without: str, **more: str) -> str:
    return "?" + urlencode([*kept_filter(params, *without), *more.items()])


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
