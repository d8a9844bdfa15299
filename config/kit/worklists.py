"""Lists of the vendor's site: what waits in all organizations, and the buttons that deal with one row (docs/adr/0034).

An app declares each list once: its columns, its filters, its deeds. A deed is posted to the address of its list, so that
what is refused is said above the rows as they are now.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from config.kit import access
from config.kit.actors import Actor
from config.kit.clock import now
from config.kit.errors import Conflict, DomainError, Malformed, NotVisible, Text
from config.kit.listings import Listing, page
from config.kit.operator import render_operator_page
from config.kit.tenancy import tenant_atomic

BY_ORGANIZATION = gettext_lazy("Organization")
LONGEST_SEARCH = 200
# Digits of any id.
LONGEST_ID = 19


class Shown(NamedTuple):
    """What one cell shows. `tone` is the class of a badge, `address` where the text leads; empty: neither."""

    text: Text
    note: Text = ""
    tone: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Column[R]:
    """One column; `shows` gets the row and the reader's time zone. The first says whose the row is."""

    label: Text
    shows: Callable[[R, str], Shown]
    is_number: bool = False


class Asked(NamedTuple):
    """One deed on one row: who presses the button, and what was typed for it."""

    actor: Actor
    row_id: int
    words: str
    at: datetime


class Said(NamedTuple):
    """What is said after a deed. Not `is_done`: it was tried, and what it was for has not come about."""

    text: Text
    is_done: bool = True


def _always(row: Any) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Deed[R]:
    """A button of each row that it fits. `asks` is the label of what must be typed for it, in up to `longest` letters."""

    key: str
    label: Text
    does: Callable[[Asked], Said]
    fits: Callable[[R], bool] = _always
    asks: Text = ""
    longest: int = 0


class Chosen(NamedTuple):
    """What a list is narrowed to."""

    words: str
    state: str


@dataclass(frozen=True, slots=True)
class WorkList[R]:
    """One list. `filters` makes its listing's filters of what is chosen; of `states` the first one is, unless asked.

    `about` says what the rows are and what to do, `nothing` what it means that there are none; `links` are buttons of the
    page's head: labels and names of addresses.
    """

    title: Text
    about: Text
    nothing: Text
    sees: str
    listing: Listing[R]
    filters: Callable[[Chosen, datetime], tuple[Any, ...]]
    columns: tuple[Column[R], ...]
    deeds: tuple[Deed[R], ...] = ()
    states: tuple[tuple[str, Text], ...] = ()
    searches: Text = BY_ORGANIZATION
    links: tuple[tuple[Text, str], ...] = ()


def page_of[R](work: WorkList[R]) -> access.View:
    """The view of a list. GET: its rows. POST: one deed on one row.

    Deeds open their own transactions, since some of them ask the card processor.
    """

    @access.requires(sees=work.sees, owns_transaction=True)
    @require_http_methods(["GET", "HEAD", "POST"])
    def show(request: HttpRequest) -> HttpResponse:
        actor: Actor = request.actor  # type: ignore[attr-defined]
        at = now()
        if request.method != "POST":
            return _page(request, work, actor, at)
        try:
            said = _do(request, work, actor, at)
        except NotVisible:
            raise
        except DomainError as refused:
            return _page(request, work, actor, at, refused=refused)
        level = messages.SUCCESS if said.is_done else messages.WARNING
        messages.add_message(request, level, str(said.text))
        return HttpResponseRedirect(request.get_full_path(), status=HTTPStatus.SEE_OTHER)

    return show


def _do[R](request: HttpRequest, work: WorkList[R], actor: Actor, at: datetime) -> Said:
    """:raises Malformed: no such deed, or no row. :raises DomainError: what the deed raises."""
    row, key = request.POST.get("row", ""), request.POST.get("deed", "")
    deed = next((deed for deed in work.deeds if deed.key == key), None)
    if deed is None or not (row.isascii() and row.isdigit() and len(row) <= LONGEST_ID):
        raise Malformed(_("Choose what to do with which row. Nothing was changed."))
    return deed.does(Asked(actor, int(row), request.POST.get("words", "").replace("\0", ""), at))


def _page[R](
    request: HttpRequest, work: WorkList[R], actor: Actor, at: datetime, *, refused: DomainError | None = None
) -> HttpResponse:
    chosen = _chosen(request, work)
    cursor = request.GET.get("page", "")
    narrowed = {"q": chosen.words} if chosen.words else {}
    if work.states and chosen.state != work.states[0][0]:
        narrowed["state"] = chosen.state
    with tenant_atomic(actor):
        found = page(work.listing, *work.filters(chosen, at), cursor=cursor)
        zone = request.tenant.time_zone  # type: ignore[attr-defined]
        context = {
            "title": work.title,
            "work": work,
            "chosen": chosen,
            "is_narrowed": bool(narrowed),
            "is_further": bool(cursor),
            "lines": [_line(work, row, zone, request, refused) for row in found.rows],
            "next": f"?{urlencode(narrowed | {'page': found.next})}" if found.next else "",
            "back": f"?{urlencode(narrowed | {'page': found.back})}" if found.back else "",
            "problem": refused,
            # Nothing went wrong: somebody or something was faster.
            "is_past": isinstance(refused, Conflict),
        }
        status = refused.status if refused else HTTPStatus.OK
        return render_operator_page(request, "operator/list.html", context, status=status)


def _chosen(request: HttpRequest, work: WorkList[Any]) -> Chosen:
    """:raises Malformed: no such state."""
    words = request.GET.get("q", "").replace("\0", "").strip()[:LONGEST_SEARCH]
    if not work.states:
        return Chosen(words, "")
    state = request.GET.get("state", work.states[0][0])
    if state not in dict(work.states):
        raise Malformed(_("This page address is not valid."))
    return Chosen(words, state)


def _line[R](
    work: WorkList[R], row: R, zone: str, request: HttpRequest, refused: DomainError | None
) -> dict[str, Any]:
    """A row for the template; what was typed in vain is still in its field."""
    cells = [column.shows(row, zone) for column in work.columns]
    number = str(row[0])  # type: ignore[index]
    is_tried = refused is not None and request.POST.get("row") == number
    name = ", ".join(str(part) for part in cells[0][:2] if part)
    return {
        "id": number,
        "name": name,
        "first": cells[0],
        "cells": list(zip(work.columns[1:], cells[1:], strict=True)),
        "deeds": [
            {
                "deed": deed,
                "is_open": is_tried and request.POST.get("deed") == deed.key,
                "words": request.POST.get("words", "")[: deed.longest] if is_tried else "",
            }
            for deed in work.deeds
            if deed.fits(row)
        ],
    }
