"""The data policies' pages: what may be done with a product's data, for everybody and for groups (product §14).

Both pages have the same two forms. What takes something away from people, switching off or keeping data for a shorter
time, is saved from a page that says whom it affects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from commerce.models import Product, Subscription
from commerce.views.data_policy_wording import (
    history_of,
    origin_text,
    parts_of,
    settings_of,
    value_text,
)
from commerce.views.policy_wording import control_crumbs
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Conflict, Malformed, NotAllowed, NotVisible
from directory.models import Group
from directory.permissions import Capability
from policies import data_rule
from policies.models import Creators, DataPolicy
from policies.operations.data import Place, Values, set_data_policy, values_in
from policies.operations.policies import PolicyMoved
from policies.queries.data import DataPolicies, data_policies, said_in

SEE_OTHER = HTTPStatus.SEE_OTHER
ON_OFF = {"on": True, "off": False, "": None}


@dataclass(frozen=True, slots=True)
class Typed:
    """What a form says of one place, as typed."""

    group: str = ""
    service: str = ""
    sharing: str = ""
    retention: str = ""
    creators: str = ""


@access.requires(sees=Capability.READ_DATA_POLICY)
def policies(request: HttpRequest) -> HttpResponse:
    """GET: what holds for every product, and where it comes from. POST: say something of every product."""
    return _answer(request, None)


@access.requires(sees=Capability.READ_DATA_POLICY)
def product(request: HttpRequest, slug: str) -> HttpResponse:
    """GET: what holds for one product. POST: say something of it."""
    found = Product.objects.filter(slug=slug).first()
    if found is None:
        raise NotVisible
    return _answer(request, found)


def _answer(request: HttpRequest, about: Product | None) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if request.method != "POST":
        return _page(request, actor, about)
    if not actor.may(Capability.CHANGE_DATA_POLICY):
        raise NotAllowed
    typed = Typed(*(request.POST.get(name, "")[:40].strip() for name in Typed.__slots__))
    try:
        return _save(request, actor, about, typed)
    except Malformed as wrong:
        return _page(request, actor, about, typed=typed, wrong=wrong, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    except NotVisible:
        problem = Malformed(_("Choose a group."), field="group")
        return _page(
            request, actor, about, typed=typed, wrong=problem, status=HTTPStatus.UNPROCESSABLE_ENTITY
        )
    except Conflict as moved:
        return _page(request, actor, about, problem=str(moved), status=HTTPStatus.CONFLICT)


# --- Saving ---------------------------------------------------------------------------------------------------------


def _save(request: HttpRequest, actor: Actor, about: Product | None, typed: Typed) -> HttpResponse:
    """Save what was typed; a page before that where it takes something away.

    :raises Malformed: a value that makes no sense. :raises NotVisible: no such group. :raises Conflict: it moved.
    """
    place = Place(about.pk if about else None, about.name if about else "", _group_id(typed.group))
    values = _values_of(typed)
    row = (
        DataPolicy.objects.visible_to(actor)
        .filter(product_id=place.product_id, group_id=place.group_id)
        .select_related("group")
        .first()
    )
    if request.POST.get("was", _mark(row)) != _mark(row):
        raise PolicyMoved
    if request.POST.get("confirmed") != "yes" and _takes_away(actor, place, values_in(row), values):
        return _confirm_page(request, actor, about, place, typed, _mark(row))
    changed = set_data_policy(
        actor=actor,
        place=place,
        values=values,
        seen=values_in(row),
        at=now(),
        why=request.POST.get("why", ""),
    )
    if changed:
        messages.success(request, _("This holds from now on, however the product was bought."))
    else:
        messages.info(request, _("Nothing is different from what holds now."))
    return HttpResponseRedirect(_address(about), status=SEE_OTHER)


def _values_of(typed: Typed) -> Values:
    """:raises Malformed: no number of days, or no such choice."""
    if typed.service not in ON_OFF or typed.sharing not in ON_OFF:
        raise Malformed(_("That is no value of this policy."), field="service")
    days = typed.retention
    if days and not (days.isascii() and days.isdigit() and len(days) <= 4):
        raise Malformed(_("Enter a number of days from 7 to 3,650."), field="retention_days")
    return Values(
        ON_OFF[typed.service], ON_OFF[typed.sharing], int(days) if days else None, typed.creators or None
    )


def _group_id(typed: str) -> int | None:
    """:raises NotVisible: that is no group."""
    if not typed:
        return None
    if not (typed.isascii() and typed.isdigit() and len(typed) < 19):
        raise NotVisible
    return int(typed)


def _mark(row: DataPolicy | None) -> str:
    """What the form shows of what was said, to be compared when it is sent."""
    return row.changed_at.isoformat() if row else "-"


def _takes_away(actor: Actor, place: Place, before: Values, after: Values) -> bool:
    """Whether it switches something off, or deletes data earlier than now."""
    switches_off = after.service_on is False and before.service_on is not False
    held = data_policies(actor=actor)
    kept = held.of(place.product_id or 0).retention.value
    shortens = (
        after.retention_days is not None
        and after.retention_days < kept
        and after.retention_days != before.retention_days
    )
    return switches_off or shortens


def _confirm_page(
    request: HttpRequest, actor: Actor, about: Product | None, place: Place, typed: Typed, mark: str
) -> HttpResponse:
    group = Group.objects.visible_to(actor).filter(pk=place.group_id).first() if place.group_id else None
    if place.group_id and group is None:
        raise NotVisible
    rows = Subscription.objects.filter(
        tenant_id=actor.tenant_id, state__in=[Subscription.State.ACTIVE, Subscription.State.EXPIRED]
    )
    if about is not None:
        rows = rows.filter(product=about)
    context = {
        "title": _("Save the data policy"),
        "crumbs": [*_crumbs(), (about.name if about else _("Every product"), _address(about))],
        "typed": typed,
        "mark": mark,
        "why": request.POST.get("why", "")[:500],
        "group": group,
        "product": about,
        "switches_off": typed.service == "off",
        "days": typed.retention,
        "assigned": rows.aggregate(n=Sum("assigned"))["n"] or 0,
        "back": _address(about),
    }
    return render_page(request, "commerce/data_policy_confirm.html", context)


# --- What the pages say ---------------------------------------------------------------------------------------------


def _page(
    request: HttpRequest,
    actor: Actor,
    about: Product | None,
    *,
    typed: Typed | None = None,
    wrong: Malformed | None = None,
    problem: str = "",
    status: int = HTTPStatus.OK,
) -> HttpResponse:
    tenant = request.tenant  # type: ignore[attr-defined]
    held = data_policies(actor=actor)
    product_id = about.pk if about else None
    rows = DataPolicy.objects.visible_to(actor).filter(product_id=product_id).select_related("group")
    own = rows.filter(group=None).first()
    of_groups = list(rows.exclude(group=None).order_by("group__name", "id"))
    saved = _typed_of(values_in(own))
    context: dict[str, Any] = {
        "title": about.name if about else _("Data policies"),
        "crumbs": _crumbs() if about else control_crumbs(),
        "problem": problem or (str(wrong) if wrong else ""),
        "wrong": wrong.field if wrong else "",
        "may_change": actor.may(Capability.CHANGE_DATA_POLICY),
        "about": about,
        "typed": typed if typed is not None and not typed.group else saved,
        "typed_for_group": typed if typed is not None and typed.group else Typed(),
        "mark": _mark(own),
        "now": _cells(held.of(about.pk) if about else held.inherited()),
        "creators": Creators.choices,
        "shortest": data_rule.SHORTEST_DAYS,
        "longest": data_rule.LONGEST_DAYS,
        "rules": [{"group": row.group, "parts": parts_of(said_in(row))} for row in of_groups],
        "groups": list(Group.objects.visible_to(actor).order_by("name")),
        "history": history_of(actor, tenant, product_id),
        "zone": tenant.time_zone,
    }
    if about is None:
        context["lines"] = _lines(held)
    return render_page(request, "commerce/data_policies.html", context, status=status)


def _lines(held: DataPolicies) -> Sequence[dict[str, Any]]:
    """Every product with what holds for it."""
    lines = []
    for product in Product.objects.order_by("-self_service", "name"):
        policy = held.of(product.pk)
        groups = sorted(said.group for said in held.groups.get(product.pk, {}).values())
        lines.append(
            {
                "product": product,
                "is_off": not policy.service_on,
                "cells": _cells(policy),
                "groups": ", ".join(groups),
            }
        )
    return lines


def _cells(policy: data_rule.DataPolicy) -> list[tuple[str, str, str]]:
    """Label, value and origin of each setting."""
    return [
        (label, value_text(name, value.value), origin_text(value))
        for name, label, value in settings_of(policy)
    ]


def _typed_of(values: Values) -> Typed:
    words = {value: name for name, value in ON_OFF.items()}
    return Typed(
        "",
        words[values.service_on],
        words[values.external_sharing],
        "" if values.retention_days is None else str(values.retention_days),
        values.creators or "",
    )


def _address(about: Product | None) -> str:
    return reverse("portal:data-policy", args=[about.slug]) if about else reverse("portal:data-policies")


def _crumbs() -> list[tuple[str, str]]:
    return [*control_crumbs(), (_("Data policies"), reverse("portal:data-policies"))]
