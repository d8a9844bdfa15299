"""Assigning and taking back, from a purchase's page and from the licenses pages: one set of views for both."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, NamedTuple

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from commerce.models import Subscription
from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import DomainError, Malformed, NotAllowed, NotVisible
from config.kit.tenancy import tenant_atomic
from directory.permissions import Capability
from licensing.entitlements import GIVES_ACCESS
from licensing.forms import Choice, person_ids, read_choice
from licensing.lists import Row
from licensing.operations.assignments import (
    BATCH_LIMIT,
    FULL,
    AssignmentResult,
    NoSeatLeft,
    NotAssignable,
    Outcome,
    ReductionScheduled,
    assign_licenses,
    unassign_licenses,
)
from licensing.operations.bulk import sentence_of, start_bulk
from licensing.queries import holders
from licensing.queries.groups import MOST_OFFERED, groups_of, groups_to_add
from licensing.views.wording import channel_of

RESULT = "assign_result"
MOST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Area:
    """Where a page belongs: its capability to see, its list, and the names of its addresses."""

    to_see: str
    title: Callable[[], str]
    list_url: str
    subscription_url: str
    assign_url: str
    unassign_url: str
    unassign_list_url: str


PRODUCTS = Area(
    Capability.SEE_PURCHASES,
    lambda: _("Your products"),
    "portal:your-products",
    "portal:subscription",
    "portal:assign",
    "portal:unassign",
    "portal:unassign-list",
)
LICENSES = Area(
    Capability.SEE_LICENSES,
    lambda: _("Licenses"),
    "portal:licenses",
    "portal:license-subscription",
    "portal:license-assign",
    "portal:license-unassign",
    "portal:license-unassign-list",
)


class Line(NamedTuple):
    """One row of a result: whom it named, what became of it."""

    line: int
    who: str
    outcome: str
    user_id: int | None = None


@access.requires(sees=Capability.SEE_PURCHASES, may=Capability.ASSIGN, owns_transaction=True)
def assign(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """Assign licenses of a purchase."""
    return _assign(request, key, PRODUCTS)


@access.requires(sees=Capability.SEE_LICENSES, owns_transaction=True)
def license_assign(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """The same for who sees licenses without prices."""
    return _assign(request, key, LICENSES)


@access.requires(sees=Capability.SEE_PURCHASES, may=Capability.ASSIGN)
def unassign(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """Take licenses of a purchase back."""
    return _unassign(request, key, PRODUCTS)


@access.requires(sees=Capability.SEE_LICENSES)
def license_unassign(request: HttpRequest, key: uuid.UUID) -> HttpResponse:
    """The same for who sees licenses without prices."""
    return _unassign(request, key, LICENSES)


# --- Assigning --------------------------------------------------------------------------------------------


def _assign(request: HttpRequest, key: uuid.UUID, area: Area) -> HttpResponse:
    """GET: the page, or its list of people for htmx. POST: search without script, or assign and go back.

    The assignment is a transaction of its own, so that no page is drawn while it holds the subscription's lock.
    """
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if request.method == "POST" and request.POST.get("action") != "search":
        return _post(request, actor, key, area, at=now())
    values = request.POST if request.method == "POST" else request.GET
    chosen = person_ids(values.getlist("person"))
    query = values.get("q", "")[:100]
    with tenant_atomic(actor):
        subscription = holders.subscription_for(actor, key, to_see=area.to_see, to_assign=True)
        if request.method == "GET" and getattr(request, "htmx", False):
            context = _people(subscription, query, chosen) | {"is_fragment": True}
            return render(request, "licensing/_people.html", context)
        return _page(request, subscription, area, query=query, chosen=chosen)


def _post(request: HttpRequest, actor: Actor, key: uuid.UUID, area: Area, *, at: datetime) -> HttpResponse:
    try:
        choice = read_choice(request)
        if choice.size > BATCH_LIMIT:
            return start_job(request, actor, key, area, choice, at=at, gives=True)
        rows = [row for each in choice.lists for row in each.rows]
        with tenant_atomic(actor):
            holders.subscription_for(actor, key, to_see=area.to_see, to_assign=True)
            resolved = holders.resolve(actor.tenant_id, rows)
        asked = tuple(dict.fromkeys((*choice.user_ids, *resolved.people)))
        # A list that names nobody is answered row by row; a post without any list is refused.
        is_answered = not asked and bool(choice.lists)
        result = (
            AssignmentResult((), 0)
            if is_answered
            else assign_licenses(
                actor=actor, subscription_key=key, user_ids=asked, at=at, confirmed=choice.is_confirmed
            )
        )
    except (NotVisible, NotAllowed):
        raise
    except DomainError as problem:
        with tenant_atomic(actor):
            return _page(
                request,
                holders.subscription_for(actor, key, to_see=area.to_see, to_assign=True),
                area,
                query=request.POST.get("q", "")[:100],
                chosen=_ids_that_are_some(request),
                pasted=request.POST.get("people", "")[:100_000],
                problem=str(problem),
                field=problem.field if isinstance(problem, Malformed) else "",
                status=problem.status,
            )
    with tenant_atomic(actor):
        subscription = holders.subscription_for(actor, key, to_see=area.to_see, to_assign=True)
        lines = lines_of(subscription, choice, resolved, result)
        if result.done:
            return _go_on(request, subscription, area, result.done, lines)
        return _page(
            request,
            subscription,
            area,
            lines=lines,
            chosen=choice.user_ids,
            pasted=request.POST.get("people", "")[:100_000],
            problem=_nothing_assigned(result),
            status=409 if result.outcomes else 422,
        )


def _go_on(
    request: HttpRequest, subscription: Subscription, area: Area, done: int, lines: list[Line]
) -> HttpResponse:
    """To the subscription, or to the page that says who got none; the rows wait in the session until shown."""
    messages.success(
        request,
        ngettext("%(count)d license assigned.", "%(count)d licenses assigned.", done) % {"count": done},
    )
    if not lines:
        return HttpResponseRedirect(reverse(area.subscription_url, args=[subscription.key]))
    return keep_lines(request, reverse(area.assign_url, args=[subscription.key]), lines)


def start_job(
    request: HttpRequest,
    actor: Actor,
    key: uuid.UUID,
    area: Area,
    choice: Choice,
    *,
    at: datetime,
    gives: bool,
) -> HttpResponse:
    """A list that one statement does not take: to the page of the job that does."""
    job = start_bulk(
        actor=actor,
        subscription_key=key,
        gives=gives,
        lists=choice.lists,
        user_ids=choice.user_ids,
        confirmed=choice.is_confirmed,
        at=at,
        back=reverse(area.subscription_url, args=[key]),
    )
    return HttpResponseRedirect(reverse("portal:job", args=[job.key]), status=HTTPStatus.SEE_OTHER)


def keep_lines(request: HttpRequest, address: str, lines: list[Line]) -> HttpResponse:
    """To the page at an address, which shows the lines once."""
    request.session[RESULT] = {"page": address, "lines": lines}
    return HttpResponseRedirect(address)


def kept_lines(request: HttpRequest) -> list[Line]:
    """The lines that wait for the page asked for."""
    if request.session.get(RESULT, {}).get("page") != request.path:
        return []
    return [Line(*line) for line in request.session.pop(RESULT)["lines"]]


def _nothing_assigned(result: AssignmentResult) -> str:
    outcomes = {outcome for _user, outcome in result.outcomes}
    if outcomes == {Outcome.NO_SEAT}:
        return str(NoSeatLeft.message)
    if outcomes and outcomes <= set(FULL):
        return str(ReductionScheduled.message)
    if outcomes == {Outcome.HOLDS_PRODUCT}:
        return _("Nothing was assigned: who was chosen has this product through another purchase.")
    return _("Nothing was assigned. The reasons are below.")


def _ids_that_are_some(request: HttpRequest) -> tuple[int, ...]:
    try:
        return person_ids(request.POST.getlist("person"))
    except Malformed:
        return ()


def lines_of(
    subscription: Subscription, choice: Choice, resolved: holders.Resolved, result: AssignmentResult
) -> list[Line]:
    """Every row that did not get a license, and why, in the order of the lists."""
    failed = {user_id: outcome for user_id, outcome in result.outcomes if not outcome.is_done}
    names = {
        each.user.pk: each.user.name for each in holders.people_by_id(subscription, list(failed)[:MOST_SHOWN])
    }
    lines = [
        Line(
            resolved.people[user_id].line if user_id in resolved.people else 0,
            names.get(user_id, resolved.people[user_id].who if user_id in resolved.people else ""),
            outcome.value,
            user_id,
        )
        for user_id, outcome in failed.items()
    ]
    groups: tuple[tuple[str, tuple[Row, ...]], ...] = (
        ("unknown", resolved.unknown),
        ("ambiguous", resolved.ambiguous),
        ("repeated", resolved.repeated),
    )
    lines += [Line(row.line, row.who, code) for code, rows in groups for row in rows]
    lines += [Line(bad.line, bad.text, bad.problem) for each in choice.lists for bad in each.bad]
    return sorted(lines, key=lambda line: line.line)


def shown(lines: list[Line]) -> dict[str, Any]:
    """What `licensing/_lines.html` takes."""
    return {
        "lines": [
            {"line": each.line, "who": each.who, "said": sentence_of(each.outcome)}
            for each in lines[:MOST_SHOWN]
        ],
        "more_lines": max(0, len(lines) - MOST_SHOWN),
    }


def _people(subscription: Subscription, query: str, chosen: tuple[int, ...]) -> dict[str, Any]:
    """The picker's rows: who is chosen first, then who was found; and what choosing them leaves."""
    picked = [each for each in holders.people_by_id(subscription, chosen) if each.can_be_chosen]
    found = holders.find_people(subscription, query) if query.strip() else []
    picked_ids = {each.user.pk for each in picked}
    return {
        "subscription": subscription,
        "query": query,
        "people": [
            *({"candidate": each, "is_chosen": True} for each in picked),
            *({"candidate": each, "is_chosen": False} for each in found if each.user.pk not in picked_ids),
        ],
        "count": len(picked),
        "left": max(0, subscription.assignable - len(picked)),
        "is_searched": bool(query.strip()),
        "channel_of": channel_of,
    }


def _page(
    request: HttpRequest,
    subscription: Subscription,
    area: Area,
    *,
    query: str = "",
    chosen: tuple[int, ...] = (),
    pasted: str = "",
    lines: list[Line] | None = None,
    problem: str = "",
    field: str = "",
    status: int = 200,
) -> HttpResponse:
    lines = kept_lines(request) if lines is None else lines
    is_open = subscription.state in GIVES_ACCESS
    product = subscription.product
    address = reverse(area.subscription_url, args=[subscription.key])
    context: dict[str, Any] = {
        "title": _("Assign licenses"),
        "crumbs": [(area.title(), reverse(area.list_url)), (product.name, address)],
        "problem": problem or ("" if is_open else str(NotAssignable.message)),
        "field": field,
        "address": address,
        "is_open": is_open,
        "pasted": pasted,
        **shown(lines),
        "second": [each for each in lines if each.outcome == Outcome.HOLDS_PRODUCT],
        "waitable": [each for each in lines if each.outcome in FULL and each.user_id][:MOST_SHOWN]
        if subscription.is_organizations and is_open
        else [],
        **_groups(request, subscription),
        **_people(subscription, query, chosen),
    }
    return render_page(request, "licensing/assign.html", context, status=status)


def _groups(request: HttpRequest, subscription: Subscription) -> dict[str, Any]:
    """What `licensing/_groups.html` takes: those that have it, and some to choose from or those that were found."""
    query = " ".join(request.GET.get("group_q", "").replace("\0", "").split())[:100]
    found = groups_to_add(subscription, query)
    return {
        "groups": groups_of(subscription),
        "groups_query": query,
        "groups_to_add": found[:MOST_OFFERED],
        "has_more_groups": len(found) > MOST_OFFERED,
    }


# --- Taking back ------------------------------------------------------------------------------------------


def _unassign(request: HttpRequest, key: uuid.UUID, area: Area) -> HttpResponse:
    """GET with the people in the address: what happens. POST: take back, and to the subscription's page."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    subscription = holders.subscription_for(actor, key, to_see=area.to_see, to_assign=True)
    address = reverse(area.subscription_url, args=[subscription.key])
    values = request.POST if request.method == "POST" else request.GET
    user_ids = person_ids(values.getlist("person"))
    if request.method == "POST":
        result = unassign_licenses(
            actor=actor, subscription_key=subscription.key, user_ids=user_ids, at=now()
        )
        messages.success(
            request,
            ngettext("%(count)d license taken back.", "%(count)d licenses taken back.", result.done)
            % {"count": result.done},
        )
        return HttpResponseRedirect(address)
    rows = holders.holders_among(subscription, user_ids)
    if not rows:
        messages.warning(request, _("Tick who should no longer have a license."))
        return HttpResponseRedirect(address)
    context = {
        "title": _("Take licenses back"),
        "crumbs": [(area.title(), reverse(area.list_url)), (subscription.product.name, address)],
        "subscription": subscription,
        "rows": rows,
        "address": address,
        "free_then": subscription.assignable + len(rows),
    }
    return render_page(request, "licensing/unassign.html", context)
