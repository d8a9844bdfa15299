"""The audit trail: a filtered list, one entry in words, and both as a file (product §2, §12)."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict, StreamingHttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.translation import get_language, override
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from config.kit import access
from config.kit.actors import Actor
from config.kit.admin import render_page
from config.kit.clock import now
from config.kit.errors import Malformed, NotVisible
from config.kit.rate import Limit
from directory import trail
from directory.models import AuditEntry, Tenant
from directory.operations.links import open_to
from directory.queries.audit import Chosen, areas_seen, entries_page, entry_for, every_entry, sees_any
from directory.views import audit_files
from directory.views.audit_wording import changes_of, holder_of, who_did

HOUR = timedelta(hours=1)
# Where the page of a target is, by its type; the id is its argument.
PAGES = {
    "user": "portal:person",
    "group": "portal:group",
    "job": "portal:job",
    "subscription": "portal:subscription",
    "bill": "portal:bill",
}


@access.signed_in
@require_safe
def audit(request: HttpRequest) -> HttpResponse:
    """Who did what, the newest first."""
    actor = _reader(request)
    tenant: Tenant = request.tenant  # type: ignore[attr-defined]
    values = _values(request.GET)
    problem, page = "", None
    try:
        chosen = chosen_of(request.GET, actor, zone=tenant.time_zone)
    except Malformed as refused:
        problem = str(refused)
    else:
        page = entries_page(actor, chosen, cursor=request.GET.get("page", ""))
    context = {
        "title": _("Audit trail"),
        "rows": [_line(entry) for entry in page.rows] if page else [],
        "areas": [("", _("Everything")), *areas_seen(actor).items()],
        "values": values,
        "is_filtered": bool(values),
        "code_title": trail.title_of(values["code"]) if values.get("code") else "",
        "query": urlencode(values),
        "problem": problem,
        "next": f"?{urlencode(values | {'page': page.next})}" if page and page.next else "",
        "back": f"?{urlencode(values | {'page': page.back})}" if page and page.back else "",
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if problem else HTTPStatus.OK
    return render_page(request, "directory/audit.html", context, status=status)


@access.signed_in
@require_safe
def audit_entry(request: HttpRequest, entry_id: int) -> HttpResponse:
    """One entry: who, for whom, when, by which door, what was before and after."""
    actor = _reader(request)
    tenant: Tenant = request.tenant  # type: ignore[attr-defined]
    entry = entry_for(actor, entry_id)
    page = _page_of(entry)
    context = {
        "title": trail.title_of(entry.code),
        "crumbs": [(_("Audit trail"), reverse("portal:audit"))],
        "entry": entry,
        "who": who_did(entry, tenant),
        "door": trail.DOORS.get(entry.door, entry.door),
        "area": trail.AREAS.get(trail.area_of(entry.code), ""),
        "target_type": trail.kind_of(entry.target_type),
        "target_page": open_to(actor, [page]).get(page, "") if page else "",
        "changes": changes_of(entry, tenant.time_zone),
    }
    return render_page(request, "directory/audit_entry.html", context)


@access.signed_in(owns_transaction=True)
@require_POST
def audit_export(request: HttpRequest) -> HttpResponseBase:
    """The filtered trail as CSV or JSON, streamed.

    :raises Malformed: another form than these two, or a filter that makes no sense.
    :raises TooManyTries: the person has had as many within the hour as are allowed.
    """
    actor = _reader(request)
    tenant: Tenant = request.tenant  # type: ignore[attr-defined]
    form = request.POST.get("format", "")
    if form not in audit_files.MEDIA_TYPES:
        raise Malformed(_("Choose CSV or JSON."), field="format")
    params = QueryDict(request.POST.get("query", "")[:2000])
    chosen = chosen_of(params, actor, zone=tenant.time_zone)
    Limit("audit-export", tries=settings.EXPORTS_PER_HOUR, per=HOUR, fails_closed=False).count(
        str(actor.user_id)
    )
    language = get_language() or "en"

    def entries() -> Iterator[AuditEntry]:
        yield from every_entry(actor, chosen)

    with override(language):
        content = audit_files.WRITERS[form](entries(), tenant, language)
    response = StreamingHttpResponse(content, content_type=audit_files.MEDIA_TYPES[form])
    response["Content-Disposition"] = f'attachment; filename="audit-trail-{now():%Y-%m-%d}.{form}"'
    return response


def chosen_of(params: Mapping[str, str], actor: Actor, *, zone: str) -> Chosen:
    """The filter that an address names. :raises Malformed: no such area, or no day."""
    area = params.get("area", "")
    if area and area not in areas_seen(actor):
        raise Malformed(_("There is no such area."), field="area")
    first, last = _day(params, "since"), _day(params, "until")
    if first and last and last < first:
        raise Malformed(_("The last day is before the first."), field="until")
    return Chosen(
        who=_text(params, "who"),
        about=_text(params, "about"),
        area=area,
        code=_text(params, "code")[:60],
        since=_start(first, zone) if first else None,
        until=_start(last + timedelta(days=1), zone) if last else None,
    )


def _reader(request: HttpRequest) -> Actor:
    """:raises NotVisible: the person reads none of it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if not sees_any(actor):
        raise NotVisible
    return actor


def _values(params: Mapping[str, str]) -> dict[str, str]:
    """What the form holds, without what is empty."""
    names = ("who", "about", "area", "code", "since", "until")
    return {name: value for name in names if (value := _text(params, name))}


def _text(params: Mapping[str, str], name: str) -> str:
    return params.get(name, "").replace("\0", "").strip()[:200]


def _day(params: Mapping[str, str], name: str) -> date | None:
    text = _text(params, name)
    if not text:
        return None
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = date.min
    if not 2000 <= found.year < 9999:
        raise Malformed(_("Enter days such as 2026-11-30."), field=name)
    return found


def _start(day: date, zone: str) -> datetime:
    return datetime.combine(day, time(), tzinfo=ZoneInfo(zone))


def _line(entry: AuditEntry) -> dict[str, Any]:
    return {
        "entry": entry,
        "title": trail.title_of(entry.code),
        "about": entry.target_label or trail.kind_of(entry.target_type),
        "person": holder_of(entry),
    }


def _page_of(entry: AuditEntry) -> str:
    name = PAGES.get(entry.target_type)
    try:
        return reverse(name, args=[entry.target_id]) if name else ""
    except NoReverseMatch:
        return ""
