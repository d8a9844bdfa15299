"""Capacity: what storage licenses give, from which source, what is used and what is left (product §13)."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from commerce.models import Product, Subscription
from commerce.views.subscriptions import CHANNEL_NAMES
from config.kit import access, charts
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.errors import Text
from config.kit.sizes import format_size
from directory.permissions import Capability
from licensing.models import Consumption
from licensing.queries import capacity as queries
from licensing.queries.capacity import KINDS, KindTotal

KIND_NAMES: dict[str, Text] = {kind.value: kind.label for kind in Consumption.Kind}
HEADINGS: dict[str, Text] = {
    "nearly": gettext_lazy("%(kind)s: %(percent)d%% is used"),
    "full": gettext_lazy("%(kind)s: nothing is left"),
    "over": gettext_lazy("%(kind)s: more is used than there is"),
}
TONES = {"nearly": "sk-warn", "full": "sk-bad", "over": "sk-bad"}
# Higher bars are cut off, in percent: how far something is over stands in the table.
HIGHEST = 150


@access.requires(sees=Capability.SEE_CAPACITY)
@require_safe
def capacity(request: HttpRequest) -> HttpResponse:
    """The organization's total; every self-service license to admins, to a purchaser the own ones."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    sees_all = "all" in actor.scopes(Capability.SEE_CAPACITY)
    totals = queries.totals_of(actor.tenant_id)
    page = queries.self_service_page(actor, cursor=request.GET.get("page", ""))
    products = queries.products_with_storage()
    context: dict[str, Any] = {
        "title": _("Capacity"),
        "crumbs": [],
        "sees_all": sees_all,
        "kinds": [_kind(total) for total in totals],
        "warnings": [_warning(total, products) for total in totals if total.level],
        "rows": [_row(row) for row in page.rows],
        "next": _turn(page.next),
        "back": _turn(page.back),
        "environments": [_environment(row) for row in queries.consumption_page(actor).rows]
        if sees_all
        else [],
        "products": [{"product": product, "gives": _sizes(product)} for product in products],
        "names": [KIND_NAMES[kind] for kind in KINDS],
        "more": _where_to_get_more(actor),
    }
    if any(total.total_mb or total.used_mb for total in totals):
        context |= _chart(totals)
    return render_page(request, "licensing/capacity.html", context)


def _kind(total: KindTotal) -> dict[str, Any]:
    return {
        "name": KIND_NAMES[total.kind],
        "central": format_size(total.central_mb),
        "self_service": format_size(total.self_service_mb),
        "total": format_size(total.total_mb),
        "used": format_size(total.used_mb),
        "left": format_size(max(0, total.left_mb)),
        "over": format_size(-total.left_mb) if total.left_mb < 0 else "",
        "percent": total.percent,
        "meter": min(total.percent, queries.FULL),
    }


def _warning(total: KindTotal, products: Sequence[Product]) -> dict[str, Any]:
    """What is short, by how much, and which products' licenses bring more of it."""
    facts = {"kind": KIND_NAMES[total.kind], "percent": total.percent}
    return {
        "heading": HEADINGS[total.level] % facts,
        "tone": TONES[total.level],
        "used": format_size(total.used_mb),
        "total": format_size(total.total_mb),
        "products": [product for product in products if getattr(product, f"{total.kind}_mb")],
    }


def _row(row: Subscription) -> dict[str, Any]:
    gives = queries.given_by(row)
    return {
        "subscription": row,
        "channel": CHANNEL_NAMES[row.channel],
        "gives": [(KIND_NAMES[kind], format_size(gives[kind]) if gives[kind] else "") for kind in KINDS],
    }


def _environment(row: Consumption) -> dict[str, Any]:
    return {"row": row, "kind": KIND_NAMES[row.kind], "used": format_size(row.used_mb)}


def _sizes(product: Product) -> list[tuple[Text, str]]:
    amounts = [(kind, getattr(product, f"{kind}_mb")) for kind in KINDS]
    return [(KIND_NAMES[kind], format_size(mb) if mb else "") for kind, mb in amounts]


def _where_to_get_more(actor: Actor) -> str:
    """Where this person buys licenses; empty where they do not."""
    if actor.may(Capability.BUY_CENTRALLY):
        return reverse("portal:buy-centrally")
    return reverse("commerce:catalogue") if actor.may(Capability.BUY) else ""


def _chart(totals: Sequence[KindTotal]) -> dict[str, Any]:
    """Two bars a kind, in percent of its total: where it comes from, and what is used; its finding in words."""
    central, people, used = [], [], []
    for total in totals:
        share = round(100 * total.central_mb / total.total_mb) if total.total_mb else 0
        central += [share, 0]
        people += [100 - share if total.total_mb else 0, 0]
        used += [0, min(total.percent, HIGHEST)]
    series = [
        charts.Series(str(CHANNEL_NAMES["central"]), "c1", central),
        charts.Series(str(CHANNEL_NAMES["self-service"]), "c2", people),
        charts.Series(_("Used"), "c3", used),
    ]
    labels = [label for total in totals for label in (str(KIND_NAMES[total.kind]), _("used"))]
    return {
        "charts": charts.stacked(series, labels, axis=str, value=lambda _percents: ""),
        "chart_title": _("Where capacity comes from, and how much of it is used"),
        "chart_finding": " ".join(
            _(
                "%(kind)s: %(used)s of %(total)s used, %(central)s from central licenses, %(people)s from self-service."
            )
            % {
                "kind": KIND_NAMES[total.kind],
                "used": format_size(total.used_mb),
                "total": format_size(total.total_mb),
                "central": format_size(total.central_mb),
                "people": format_size(total.self_service_mb),
            }
            for total in totals
        ),
        "legend": series,
    }


def _turn(cursor: str) -> str:
    return f"?{urlencode({'page': cursor})}" if cursor else ""
