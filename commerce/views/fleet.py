"""All customers of a partner beside one template: who differs where, and since when (product §12; docs/adr/0046)."""

import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from commerce.operations.fleet import look_at_customers
from commerce.queries.fleet import (
    PAGE_SIZE,
    Catalogue,
    Compared,
    Served,
    catalogue,
    customers_served,
    page_of,
)
from commerce.views.fleet_wording import (
    WHY_NOT,
    basis_text,
    crumbs,
    currency_of,
    has_second_factor,
    name_of,
    origin_text,
    over_customers,
    short_said,
    short_theirs,
    theirs_text,
    wanted_text,
)
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Malformed, NotVisible, Text
from config.kit.sheets import Cell, csv_lines
from config.kit.tenancy import tenant_atomic
from directory.permissions import Capability
from policies import drift
from policies.models import PolicyTemplate
from policies.queries.templates import changes_templates, sees_templates, template_for, templates_of

CHIPS: dict[str, Text] = {
    "all": gettext_lazy("All"),
    "differs": gettext_lazy("With differences"),
    "same": gettext_lazy("As the template"),
    "unread": gettext_lazy("Not compared"),
}
# So many pages of customers are looked through for one page of those that a filter leaves.
MOST_PAGES = 3
# So many targets of the template have a column of their own.
MOST_COLUMNS = 5
RECENTLY = timedelta(days=7)
EXPORT_COLUMNS = ("customer", "value", "template", "theirs", "comes_from", "differs", "not_compared")


@access.signed_in
@require_safe
@over_customers
def fleet(request: HttpRequest, key: uuid.UUID | None = None) -> HttpResponse:
    """The customers beside one template, the first by name unless one is named; without any, how to make one."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    served = customers_served(actor, at=at)
    actors = [each.actor for each in served]
    templates = templates_of(actor) if sees_templates(actors) else []
    template = next((each for each in templates if key in (None, each.key)), None)
    if template is None and key is not None:
        raise NotVisible
    context: dict[str, Any] = {
        "title": _("Policy drift"),
        "crumbs": crumbs(),
        "may_read": sees_templates(actors),
        "may_edit": changes_templates(actors),
        "choices": templates,
        "template": template,
        "total": len(served),
        "unchangeable": sum(not each.may(Capability.CHANGE_POLICY) for each in actors),
    }
    if template is not None:
        context |= _compared(request, actor, template, served, at)
    return render_page(request, "commerce/fleet.html", context)


def _compared(
    request: HttpRequest, actor: Actor, template: PolicyTemplate, served: Sequence[Served], at: datetime
) -> dict[str, Any]:
    show, query = request.GET.get("show", "all"), request.GET.get("q", "").strip()[:200]
    if show not in CHIPS:
        raise Malformed(_("There is no such filter."), field="show")
    asked = [each for each in served if query.casefold() in each.customer.name.casefold()]
    products = catalogue()
    says = products.said_in(template)
    cursor, looked, rows = request.GET.get("page", ""), list[Compared](), list[Compared]()
    page = first = page_of(asked, cursor=cursor)
    for number in range(MOST_PAGES):
        page = page_of(asked, cursor=page.next) if number else first
        found = look_at_customers(
            actor=actor,
            customers=page.rows,
            said=says,
            products=products,
            has_second_factor=has_second_factor(request),
            at=at,
        )
        looked += found
        rows += [each for each in found if _is_shown(each, show)]
        if show == "all" or len(rows) >= PAGE_SIZE or not page.next:
            break
    kept = ({"show": show} if show != "all" else {}) | ({"q": query} if query else {})
    targets = list(says)
    columns = _columns(targets)
    with_drift = [each for each in looked if each.differences]
    lately = [each for each in looked if each.changed_at and each.changed_at > at - RECENTLY]
    lately.sort(key=lambda each: each.changed_at or at)
    return {
        "heads": [
            {
                "name": name_of(name, products),
                "is_number": name in drift.LIMITS,
                "said": short_said(name, says[name]),
                "note": basis_text(says[name]) if name in drift.LIMITS else "",
            }
            for name in columns
        ],
        "more": len(targets) - len(columns),
        "rows": [_row(each, columns, template, products) for each in rows],
        "may_apply": any(each.may_change for each in rows),
        "as_template": sum(1 for each in looked if not each.why_not and not each.differences),
        "with_drift": len(with_drift),
        "values": sum(len(each.differences) for each in with_drift),
        "lately": len(lately),
        "latest": lately[-1] if lately else None,
        "looked": len(looked),
        "is_part": len(looked) < len(served),
        "chips": [
            {
                "label": label,
                "address": f"?{urlencode({'show': code} | ({'q': query} if query else {}))}",
                "is_current": code == show,
            }
            for code, label in CHIPS.items()
        ],
        "show": show,
        "query": query,
        "ticks": request.GET.get("tick") == "differs",
        "tick": f"?{urlencode(kept | ({'page': cursor} if cursor else {}) | {'tick': 'differs'})}",
        "next": f"?{urlencode(kept | {'page': page.next})}" if page.next else "",
        "back": f"?{urlencode(kept | {'page': first.back})}" if first.back else "",
    }


def _is_shown(found: Compared, show: str) -> bool:
    match show:
        case "differs":
            return bool(found.differences)
        case "same":
            return not found.why_not and not found.differences
        case "unread":
            return bool(found.why_not)
    return True


def _columns(targets: Sequence[str]) -> list[str]:
    """The targets that get a column: limits have one before products have them all."""
    limits = [name for name in targets if name in drift.LIMITS][:1]
    others = [name for name in targets if name not in drift.LIMITS and not name.startswith(drift.OFFER)]
    offers = [name for name in targets if name.startswith(drift.OFFER)]
    return [*[*others, *offers][: MOST_COLUMNS - len(limits)], *limits]


def _row(
    found: Compared, columns: Sequence[str], template: PolicyTemplate, products: Catalogue
) -> dict[str, Any]:
    lines = {line.name: line for line in found.lines}
    currency = currency_of(found)
    return {
        "found": found,
        "customer": found.served.customer,
        "why_not": WHY_NOT.get(found.why_not, ""),
        "address": reverse(
            "portal:fleet-customer", args=[template.key, found.served.customer.relationship_key]
        ),
        "cells": [
            {
                "line": lines[name],
                "label": name_of(name, products),
                "text": short_theirs(lines[name], currency),
                "note": basis_text(lines[name].stored) if name in drift.LIMITS else "",
                "is_number": name in drift.LIMITS,
            }
            for name in columns
            if name in lines
        ],
        "count": len(found.differences),
    }


@access.signed_in
@require_safe
@over_customers
def fleet_customer(request: HttpRequest, key: uuid.UUID, customer: uuid.UUID) -> HttpResponse:
    """One customer, product by product: theirs, the template's, and where theirs comes from."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    template, one = chosen_of(actor, key, customer, at)
    products = catalogue()
    found = look_at_customers(
        actor=actor,
        customers=[one],
        said=products.said_in(template),
        products=products,
        has_second_factor=has_second_factor(request),
        at=at,
    )[0]
    context = {
        "title": one.customer.name,
        "crumbs": crumbs((_("Policy drift"), reverse("portal:fleet-template", args=[template.key]))),
        "template": template,
        "found": found,
        "customer": one.customer,
        "why_not": WHY_NOT.get(found.why_not, ""),
        "lines": lines_of(found, products),
        "others": _others(found, products, at),
        "count": len(found.differences),
    }
    return render_page(request, "commerce/fleet_customer.html", context)


def chosen_of(
    actor: Actor, key: uuid.UUID, customer: uuid.UUID, at: datetime
) -> tuple[PolicyTemplate, Served]:
    """:raises NotVisible: no such template, or no such customer of the person's."""
    served = customers_served(actor, at=at)
    one = next((each for each in served if each.customer.relationship_key == customer), None)
    if one is None or not sees_templates([each.actor for each in served]):
        raise NotVisible
    return template_for(actor, key), one


def lines_of(found: Compared, products: Catalogue) -> list[dict[str, Any]]:
    """Every target of the template beside theirs, in words."""
    currency = currency_of(found)
    return [
        {
            "line": line,
            "name": name_of(line.name, products),
            "wanted": wanted_text(line, currency),
            "theirs": theirs_text(line, currency),
            "origin": origin_text(line),
        }
        for line in found.lines
    ]


def _others(found: Compared, products: Catalogue, at: datetime) -> list[dict[str, str]]:
    """The products of which the template says nothing, with what holds there."""
    if found.theirs is None:
        return []
    named = {line.name for line in found.lines}
    asked = {
        drift.PRODUCT + subject.keys[0]: ""
        for subject in products.subjects
        if drift.PRODUCT + subject.keys[0] not in named
    }
    lines = drift.compare(asked, found.theirs, products.subjects, at=at)
    return [
        {"name": name_of(line.name, products), "theirs": theirs_text(line, ""), "origin": origin_text(line)}
        for line in lines
    ]


@access.signed_in(owns_transaction=True)
@require_safe
@over_customers
def fleet_export(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """Every customer and every target of the template, whatever the page shows; a page of customers a transaction."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    at = now()
    with tenant_atomic(actor):
        served = customers_served(actor, at=at)
        if not sees_templates([each.actor for each in served]):
            raise NotVisible
        template, products = template_for(actor, key), catalogue()
    lines = csv_lines(
        EXPORT_COLUMNS, _cells(actor, template, served, products, has_second_factor(request), at)
    )
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="policy-drift-{at:%Y-%m-%d}.csv"'
    return response  # type: ignore[return-value]


def _cells(
    actor: Actor,
    template: PolicyTemplate,
    served: Sequence[Served],
    products: Catalogue,
    has_factor: bool,
    at: datetime,
) -> Iterator[list[Cell]]:
    for start in range(0, len(served), PAGE_SIZE):
        with tenant_atomic(actor):
            found = look_at_customers(
                actor=actor,
                customers=served[start : start + PAGE_SIZE],
                said=products.said_in(template),
                products=products,
                has_second_factor=has_factor,
                at=at,
            )
        for each in found:
            if each.why_not:
                yield [each.served.customer.name, "", "", "", "", "", str(WHY_NOT[each.why_not])]
            for line in lines_of(each, products):
                yield [
                    each.served.customer.name,
                    line["name"],
                    line["wanted"],
                    line["theirs"],
                    line["origin"],
                    "yes" if line["line"].differs else "no",
                    "",
                ]
