"""The audit trail over the wire: what the token's person reads of it on the page (product §2, §16)."""

from datetime import datetime, timedelta
from typing import Any, Literal

from django.conf import settings
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.translation import get_language, override
from django.utils.translation import gettext_lazy as _
from ninja import Router, Schema
from ninja.params.functions import Query
from pydantic import Field

from config.kit import access
from config.kit.actors import Actor
from config.kit.api import Instant, actor_of, answers, files, one_of
from config.kit.clock import now
from config.kit.errors import Malformed, NotAllowed
from config.kit.rate import Limit
from directory import trail
from directory.models import AuditEntry, Tenant
from directory.queries.audit import Chosen, areas_seen, entries_page, entry_for, every_entry, sees_any
from directory.views import audit_files

SCOPE = "audit.read"

router = Router(tags=["Audit trail"])


class EntryOut(Schema):
    """One entry: who did what to what, by which door, and what was before and after."""

    id: int
    at: datetime
    code: str = Field(description="Stable, for programs.")
    what: str = Field(description="For people, in the language asked for.")
    area: str = Field(description=", ".join(trail.AREAS))
    who: str
    partner: str | None = Field(description="Of a partner's person, the partner and the relationship.")
    door: str = Field(description=", ".join(trail.DOORS))
    targetType: str
    targetId: str
    target: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    correlationId: str


class Entries(Schema):
    items: list[EntryOut]
    next: str | None = Field(description="The cursor of the next page.")


class FiledEntry(Schema):
    """One entry in a file."""

    id: int
    at: datetime
    what: str
    code: str
    who: str
    partner: str = Field(description="Of a partner's person, the partner and the relationship; else empty.")
    organization: str
    door: str
    target_type: str
    target_id: str
    target: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    correlation_id: str


class File(Schema):
    """The trail as JSON; as CSV it has the same columns."""

    entries: list[FiledEntry]


class Filter(Schema):
    """What narrows the trail; `since` and `until` are instants with their zone, half-open."""

    who: str = Field("", max_length=200)
    about: str = Field(
        "", max_length=200, description="A part of the name of what it is about, or its whole id."
    )
    area: str = Field("", max_length=20, json_schema_extra=one_of(trail.AREAS, or_empty=True))
    code: str = Field("", max_length=60)
    since: Instant | None = None
    until: Instant | None = None


@router.get("", response=answers(Entries, 400), url_name="audit")
@access.token(SCOPE)
def list_audit(
    request: HttpRequest, wanted: Filter = Query(...), cursor: str = Query("", max_length=1_000)
) -> Entries:
    """The trail, latest first, 50 at a time: all of it, or what the role reads of it."""
    actor = _reader(request)
    page = entries_page(actor, _chosen(actor, wanted), cursor=cursor)
    return Entries(items=[_out(entry) for entry in page.rows], next=page.next or None)


@router.get(
    "/export",
    response=answers(File, 400),
    url_name="audit-export",
    openapi_extra=files(audit_files.MEDIA_TYPES["csv"]),
)
@access.token(SCOPE, owns_transaction=True)
def export_audit(
    request: HttpRequest, wanted: Filter = Query(...), format: Literal["csv", "json"] = "csv"
) -> StreamingHttpResponse:
    """The filtered trail as one file, CSV or JSON, streamed; five an hour."""
    actor = _reader(request)
    tenant: Tenant = request.tenant  # type: ignore[attr-defined]
    chosen = _chosen(actor, wanted)
    Limit("audit-export", tries=settings.EXPORTS_PER_HOUR, per=timedelta(hours=1), fails_closed=False).count(
        str(actor.user_id or f"{actor.tenant_id}:{actor.label}")
    )
    language = get_language() or "en"
    with override(language):
        content = audit_files.WRITERS[format](every_entry(actor, chosen), tenant, language)
    response = StreamingHttpResponse(content, content_type=audit_files.MEDIA_TYPES[format])
    response["Content-Disposition"] = f'attachment; filename="audit-trail-{now():%Y-%m-%d}.{format}"'
    return response


@router.get("/{int:entry_id}", response=answers(EntryOut, 404), url_name="audit-entry")
@access.token(SCOPE)
def get_audit_entry(request: HttpRequest, entry_id: int) -> EntryOut:
    """One entry that the token's person may read."""
    return _out(entry_for(_reader(request), entry_id))


def _reader(request: HttpRequest) -> Actor:
    """:raises NotAllowed: whoever the token stands for reads none of it."""
    actor = actor_of(request)
    if not sees_any(actor):
        raise NotAllowed
    return actor


def _chosen(actor: Actor, wanted: Filter) -> Chosen:
    if wanted.area and wanted.area not in areas_seen(actor):
        raise Malformed(_("There is no such area."), field="area")
    texts = {name: getattr(wanted, name).replace("\0", "").strip() for name in ("who", "about", "code")}
    return Chosen(area=wanted.area, since=wanted.since, until=wanted.until, **texts)


def _out(entry: AuditEntry) -> EntryOut:
    return EntryOut(
        id=entry.pk,
        at=entry.at,
        code=entry.code,
        what=str(trail.title_of(entry.code)),
        area=trail.area_of(entry.code),
        who=entry.actor_label,
        partner=entry.on_behalf_of or None,
        door=entry.door,
        targetType=entry.target_type,
        targetId=entry.target_id,
        target=entry.target_label,
        before=entry.before,
        after=entry.after,
        correlationId=entry.correlation_id,
    )
