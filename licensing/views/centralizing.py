"""The way to centralize: choose purchases, then the central subscription to move their users to (product §10).

Every step is an address that can be gone back to; nothing is written before the last button of the dry run.
"""

import uuid
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from commerce.models import Product, Subscription
from commerce.queries import details
from commerce.queries import subscriptions as lists
from commerce.states import last_day, per_period
from commerce.views.subscriptions import day, money
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.errors import Malformed
from directory.permissions import Capability
from licensing.models import Centralization
from licensing.queries.centralizing import MOST_PURCHASES, MOVABLE, in_runs, latest_runs, movable, targets_of
from licensing.views.wording import RUN_STATES


@access.requires(sees=Capability.TAKE_OVER)
@require_safe
def choose(request: HttpRequest) -> HttpResponse:
    """The self-service purchases of one product, to tick; the products that have some, and earlier runs."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    ticked = keys_of(request.GET)
    found = list(movable(actor).filter(key__in=ticked[:MOST_PURCHASES]))
    product = _product_of(request.GET.get("product", ""), found)
    context: dict[str, Any] = {
        "title": _("Centralize"),
        "crumbs": [(_("Control"), "")],
        "step": 1,
        "runs": [_run_line(run) for run in latest_runs(actor)],
        "most": MOST_PURCHASES,
    }
    if product is None:
        counts = lists.products_by_id()
        context["products"] = _products(actor, counts)
        return render_page(request, "licensing/centralize.html", context)
    words = request.GET.get("q", "")
    chosen = lists.Filter(
        channels=(Subscription.Channel.SELF_SERVICE,), product_id=product.pk, words=lists.words_of(words)
    )
    ids = lists.rows_for(actor, chosen).filter(state__in=MOVABLE)
    rows = list(
        movable(actor).filter(pk__in=ids.values("pk")).exclude(pk__in=in_runs())[: MOST_PURCHASES + 1]
    )
    context |= {
        "product": product,
        "lines": [_purchase_line(row, ticked) for row in rows[:MOST_PURCHASES]],
        "has_more": len(rows) > MOST_PURCHASES,
        "q": words,
        "problem": _problem(found, is_unticked="unticked" in request.GET),
    }
    return render_page(request, "licensing/centralize.html", context)


def _problem(found: list[Subscription], *, is_unticked: bool) -> str:
    """What kept the person from the next step."""
    if len({row.product_id for row in found}) > 1:
        return _("Choose purchases of one product")
    return _("Tick at least one purchase") if is_unticked and not found else ""


def keys_of(params: QueryDict) -> list[uuid.UUID]:
    """The purchases of an address. :raises Malformed: something that is no key."""
    try:
        return list(dict.fromkeys(uuid.UUID(text) for text in params.getlist("purchase")))
    except ValueError:
        raise Malformed(_("This page address is not valid.")) from None


def _product_of(slug: str, found: list[Subscription]) -> Product | None:
    if slug:
        product: Product | None = Product.objects.filter(slug=slug).first()
        if product is None:
            raise Malformed(_("This page address is not valid."))
        return product
    return found[0].product if found else None


def _products(actor: Actor, products: dict[int, Product]) -> list[tuple[Product, str, str]]:
    """Products with purchases to centralize, with the address of each and how many there are, up to fifty."""
    ids = movable(actor).order_by().values_list("product_id", flat=True).distinct()
    found = []
    for product in sorted((products[pk] for pk in ids), key=lambda product: product.name):
        count = movable(actor).filter(product_id=product.pk).order_by()[: MOST_PURCHASES + 1].count()
        text = f"{MOST_PURCHASES}+" if count > MOST_PURCHASES else str(count)
        found.append((product, "?" + urlencode({"product": product.slug}), text))
    return found


def _purchase_line(row: Subscription, ticked: Iterable[uuid.UUID]) -> dict[str, Any]:
    status = details.status_of(row)
    return {
        "key": str(row.key),
        "is_ticked": row.key in ticked,
        "name": row.purchaser_name,
        "mail": row.purchaser.email if row.purchaser else "",
        "initials": row.purchaser.initials if row.purchaser else "",
        "has_left": row.purchaser is not None and row.purchaser.has_left,
        "is_taken_over": row.is_organizations,
        "assigned": row.assigned,
        "bought": row.quantity,
        "price": money(row.period_price_minor, row.currency),
        "period": per_period(row.billing_months),
        "status": status.label,
        "tone": status.tone,
        "next": f"{status.next_label} {day(status.next_at, row.time_zone)}".strip(),
    }


def _run_line(run: Centralization) -> dict[str, Any]:
    label, tone = RUN_STATES[run.state]
    return {
        "run": run,
        "state": label,
        "tone": tone,
        "started": day(run.refund_at, run.target.time_zone),
    }


# --- Choose the target ---------------------------------------------------------------------------------------------


@access.requires(sees=Capability.TAKE_OVER)
@require_safe
def target(request: HttpRequest) -> HttpResponse:
    """The central subscriptions of the product with their free licenses, or the way to buy one."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    keys = keys_of(request.GET)
    if not keys:
        told = {"product": request.GET.get("product", ""), "q": request.GET.get("q", ""), "unticked": "1"}
        return _to_first_step(told)
    purchases = list(movable(actor).filter(key__in=keys[: MOST_PURCHASES + 1]))
    products = {row.product_id for row in purchases}
    if len(products) != 1 or len(purchases) > MOST_PURCHASES:
        return _to_first_step([("purchase", str(key)) for key in keys])
    product = purchases[0].product
    people = sum(row.assigned for row in purchases)
    context = {
        "title": _("Centralize %(product)s") % {"product": product.name},
        "crumbs": [(_("Centralize"), reverse("portal:centralize"))],
        "step": 2,
        "product": product,
        "keys": [str(row.key) for row in purchases],
        "purchases": purchases,
        "people": people,
        "lines": [
            {
                "key": str(row.key),
                "plan": row.plan.label,
                "free": row.assignable,
                "assigned": row.assigned,
                "bought": row.quantity,
                "until": day(last_day(row.term_end), row.time_zone),
                "renews": row.recurring_billing,
                "has_enough": row.assignable >= people,
            }
            for row in targets_of(actor, product.pk)
        ],
        "buy_address": f"{reverse('portal:buy-centrally')}?{urlencode({'product': product.slug, 'quantity': people or 1})}",
        "back": f"{reverse('portal:centralize')}?{kept_keys(keys)}",
    }
    return render_page(request, "licensing/centralize_target.html", context)


def _to_first_step(params: dict[str, str] | list[tuple[str, str]]) -> HttpResponse:
    return HttpResponseRedirect(
        f"{reverse('portal:centralize')}?{urlencode(params)}", status=HTTPStatus.SEE_OTHER
    )


def kept_keys(keys: Iterable[uuid.UUID]) -> str:
    return urlencode([("purchase", str(key)) for key in keys])
