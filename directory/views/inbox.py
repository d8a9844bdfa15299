"""The portal's inbox: what a person was told, read and unread (product §15; docs/notices.md)."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_safe

from config.kit import access
from config.kit.actors import Actor
from config.kit.clock import instant_of, now
from config.kit.errors import Malformed, NotVisible
from config.kit.keyset import paginate
from directory.models import OutgoingMail
from directory.operations import inbox
from directory.operations.links import open_to
from directory.operations.parts import part_of
from directory.operations.rendering import DOES_NOT_RENDER, body_of, line_of, subject_of
from directory.topics import TOPICS, topic_of

PAGE_SIZE = 25
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Line:
    """One notice in the list. `address`: the page of what it is about, empty where the person may not see it."""

    notice: OutgoingMail
    title: str
    line: str
    address: str
    topic: str


@access.signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def notices(request: HttpRequest) -> HttpResponse:
    """GET: the newest first, of one topic or all. POST: some are read, or unread again."""
    actor = _reader(request)
    topic, only_unread = request.GET.get("topic", ""), request.GET.get("unread") == "1"
    if topic and topic not in TOPICS:
        raise NotVisible
    if request.method == "POST":
        return _mark(request, actor)
    at = now()
    mine = OutgoingMail.objects.visible_to(actor)
    rows = mine.about(topic)
    page = paginate(
        rows.unread() if only_unread else rows,
        order=("-created_at", "-id"),
        cursor=request.GET.get("page", ""),
        key=lambda row: (row.created_at.isoformat(), row.pk),
        size=PAGE_SIZE,
    )
    kept = {
        name: value for name, value in (("topic", topic), ("unread", "1" if only_unread else "")) if value
    }
    context = {
        "section": "notices",
        "lines": _lines(actor, page.rows),
        "topics": [
            (name, title, _query({**kept, "topic": name}), name == topic)
            for name, title in [("", _("All")), *TOPICS.items()]
        ],
        "only_unread": only_unread,
        "turn_unread": _query({**kept, "unread": "" if only_unread else "1"}),
        "is_narrowed": bool(kept),
        "next": page.next and _query({**kept, "page": page.next}),
        "back": page.back and _query({**kept, "page": page.back}),
        "until": at.isoformat(),
        "kept_days": settings.NOTICES_KEPT.days,
        "zone": _zone(request),
    }
    return render(request, "directory/notices.html", context)


@access.signed_in
@require_safe
def notice(request: HttpRequest, notice_id: int) -> HttpResponse:
    """One notice in full, which is read by that; with what can be done about it, where something can."""
    actor, at = _reader(request), now()
    found = inbox.notice_of(actor=actor, notice_id=notice_id)
    if request.method == "GET":
        inbox.mark_read(actor=actor, notice_id=notice_id, at=at)
    link = _link(found)
    address = open_to(actor, [link]).get(link, "")
    part = part_of(actor, found, at)
    context: dict[str, Any] = {
        "section": "notices",
        "notice": found,
        "title": subject_of(found),
        "body": body_of(found, address=address),
        "topic": (topic_of(found.kind), TOPICS[topic_of(found.kind)]),
        "part": part,
        "zone": _zone(request),
    }
    context |= part.context if part else {}
    return render(request, "directory/notice.html", context)


def _reader(request: HttpRequest) -> Actor:
    """:raises NotVisible: whoever acts for a customer is told nothing there."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if actor.is_partner:
        raise NotVisible
    return actor


def _mark(request: HttpRequest, actor: Actor) -> HttpResponse:
    action, at = request.POST.get("action", ""), now()
    if action == "all":
        count = inbox.mark_all_read(actor=actor, until=_instant(request.POST.get("until", "")), at=at)
        told = ngettext("%(count)d notice is read now.", "%(count)d notices are read now.", count)
        messages.success(request, told % {"count": count})
    elif action == "read":
        inbox.mark_read(actor=actor, notice_id=_number(request), at=at)
    elif action == "unread":
        inbox.mark_unread(actor=actor, notice_id=_number(request))
    else:
        raise Malformed(_("Choose what to do with the notice."), field="action")
    address = reverse("directory:notices")
    query = request.GET.urlencode()
    return HttpResponseRedirect(f"{address}?{query}" if query else address, status=HTTPStatus.SEE_OTHER)


def _number(request: HttpRequest) -> int:
    text = request.POST.get("notice", "")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise NotVisible
    return int(text)


def _instant(text: str) -> datetime:
    """:raises Malformed: not the instant that the page gave."""
    found = instant_of(text)
    if found is None:
        raise Malformed(_("Nothing was changed. Open the page again."), field="until")
    return found


def _lines(actor: Actor, rows: Sequence[OutgoingMail]) -> list[Line]:
    open_links = open_to(actor, [_link(row) for row in rows])
    return [_line(row, open_links.get(_link(row), "")) for row in rows]


def _line(row: OutgoingMail, address: str) -> Line:
    """One that does not render is named by its topic, and hides no other."""
    topic = str(TOPICS[topic_of(row.kind)])
    try:
        return Line(row, subject_of(row), line_of(row), address, topic)
    except DOES_NOT_RENDER:
        log.exception("Notice %s (%s) does not render", row.pk, row.kind)
        return Line(row, topic, "", address, topic)


def _link(row: OutgoingMail) -> str:
    """Where it leads: in the portal no link with a token in it, but the page that asks for the person's rights."""
    return str(row.context.get("portal_link") or row.context.get("link") or "")


def _query(values: dict[str, str]) -> str:
    query = urlencode({name: value for name, value in values.items() if value})
    return f"?{query}" if query else reverse("directory:notices")


def _zone(request: HttpRequest) -> str:
    return str(request.tenant.time_zone)  # type: ignore[attr-defined]
