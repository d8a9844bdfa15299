"""Idle licenses: listed for whoever sees them, taken back by whoever may, after a page that says so (product §7.6)."""

from datetime import datetime
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_safe

from commerce.models import Product, Subscription
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Malformed, NotVisible
from config.kit.keyset import shown_count
from directory.permissions import Capability
from licensing.forms import person_ids
from licensing.models import Assignment
from licensing.operations.assignments import BATCH_LIMIT
from licensing.operations.idle import reclaim_idle
from licensing.queries import holders
from licensing.queries.idle import idle_count, idle_days, idle_ids, idle_licenses, idle_page, products_of
from licensing.views.overviews import tabs

DEFAULT_DAYS, MOST_DAYS = 90, 3_650
CHOICES = (30, 60, 90, 180, 365)
MOST_NAMED = 200


class Chosen(NamedTuple):
    """The filter as it was asked for."""

    days: int
    product: Product | None

    @property
    def product_id(self) -> int | None:
        return self.product.pk if self.product else None

    @property
    def query(self) -> dict[str, str]:
        return {"days": str(self.days)} | ({"product": self.product.slug} if self.product else {})


@access.requires(sees=Capability.SEE_LICENSES)
@require_safe
def idle(request: HttpRequest) -> HttpResponse:
    """Who has a license and did not use it for so many days."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if not holders.sees_others_licenses(actor):
        raise NotVisible
    at = now()
    chosen = _chosen(request.GET)
    rows = idle_licenses(actor, days=chosen.days, at=at, product_id=chosen.product_id)
    page = idle_page(rows, cursor=request.GET.get("page", ""))
    lines = [_line(actor, row, at) for row in page.rows]
    context = {
        "title": _("Idle licenses"),
        "crumbs": [(_("Licenses"), reverse("portal:licenses"))],
        "tabs": tabs(actor, "portal:licenses-idle"),
        "lines": lines,
        "count": shown_count(idle_count(rows)),
        "chosen": chosen,
        "choices": sorted({*CHOICES, chosen.days}),
        "products": products_of(actor),
        "is_any_theirs": any(line["may_take"] for line in lines),
        "next": _turn(chosen, page.next),
        "back": _turn(chosen, page.back),
        "zone": request.tenant.time_zone,  # type: ignore[attr-defined]
    }
    return render_page(request, "licensing/idle.html", context)


@access.requires(sees=Capability.SEE_LICENSES, may=Capability.ASSIGN)
def reclaim(request: HttpRequest) -> HttpResponse:
    """GET: what happens to whom. POST: take back those that are idle still, and back to the list."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    values = request.POST if request.method == "POST" else request.GET
    chosen = _chosen(values)
    address = f"{reverse('portal:licenses-idle')}?{urlencode(chosen.query)}"
    rows = idle_licenses(actor, days=chosen.days, at=at, product_id=chosen.product_id)
    is_all = values.get("all") == "1"
    if is_all:
        ids = tuple(idle_ids(rows.filter(subscription__in=_theirs(actor)), BATCH_LIMIT))
    else:
        ids = person_ids(values.getlist("license"))
    if not ids:
        messages.warning(request, _("Tick which licenses to take back."))
        return HttpResponseRedirect(address, status=HTTPStatus.SEE_OTHER)
    if request.method == "POST":
        done = reclaim_idle(actor=actor, assignment_ids=ids, days=chosen.days, at=at)
        said = ngettext("%(count)d license taken back.", "%(count)d licenses taken back.", done)
        messages.success(request, said % {"count": done})
        return HttpResponseRedirect(address, status=HTTPStatus.SEE_OTHER)
    found = rows.filter(pk__in=ids, subscription__in=_theirs(actor))
    named = list(found.select_related("user", "subscription__product").order_by("id")[:MOST_NAMED])
    count = found.count()
    if not count:
        messages.warning(
            request, _("Nobody of those chosen is idle any more, or they are not yours to take back.")
        )
        return HttpResponseRedirect(address, status=HTTPStatus.SEE_OTHER)
    context = {
        "title": _("Take idle licenses back"),
        "crumbs": [(_("Licenses"), reverse("portal:licenses")), (_("Idle licenses"), address)],
        "lines": [_line(actor, row, at) for row in named],
        "count": count,
        "more": max(0, count - len(named)),
        "chosen": chosen,
        "is_all": is_all,
        "address": address,
        "zone": request.tenant.time_zone,  # type: ignore[attr-defined]
    }
    return render_page(request, "licensing/reclaim.html", context)


def _chosen(values: Any) -> Chosen:
    days = values.get("days", str(DEFAULT_DAYS))
    if not (days.isascii() and days.isdigit() and len(days) <= 4 and 1 <= int(days) <= MOST_DAYS):
        raise Malformed(_("Enter a number of days from 1 to 3,650."), field="days")
    slug = values.get("product", "")
    product = Product.objects.filter(slug=slug).first() if slug and "\0" not in slug else None
    if slug and product is None:
        raise Malformed(_("This page address is not valid."))
    return Chosen(int(days), product)


def _theirs(actor: Actor) -> Any:
    """The subscriptions whose licenses the person may take back."""
    return Subscription.objects.visible_to(actor, Capability.ASSIGN)


def _line(actor: Actor, row: Assignment, at: datetime) -> dict[str, Any]:
    subscription = row.subscription
    return {
        "row": row,
        "days": idle_days(row, at),
        "address": reverse("portal:license-subscription", args=[subscription.key]),
        "may_take": holders.may_assign(actor, subscription),
    }


def _turn(chosen: Chosen, cursor: str) -> str:
    return "?" + urlencode(chosen.query | {"page": cursor}) if cursor else ""
