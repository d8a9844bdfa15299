"""Reading the audit trail: whose entries, which of them, page by page (product §2)."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from config.kit.actors import Actor
from config.kit.errors import NotVisible
from config.kit.keyset import Page, paginate
from config.kit.tenancy import ScopedQuerySet, tenant_atomic
from directory import trail
from directory.models import AuditEntry
from directory.permissions import Capability

CHUNK = 1000
# The ids of what is somebody's own, of one type of target, as a subquery of texts.
type OwnIds = Callable[[Actor], object]

_own: dict[str, OwnIds] = {}


@dataclass(frozen=True, slots=True)
class Chosen:
    """A filter of the trail; what is empty narrows nothing. `since` is the first instant, `until` the first after."""

    who: str = ""
    about: str = ""
    area: str = ""
    code: str = ""
    since: datetime | None = None
    until: datetime | None = None


def own_targets(target_type: str, ids: OwnIds) -> None:
    """Register what of a type is somebody's own purchase or bill. For higher apps, when they start."""
    _own[target_type] = ids


def sees_any(actor: Actor) -> bool:
    """Whether the person reads any of the trail: all of it, purchases, bills and policies, or of own purchases."""
    return actor.may(Capability.SEE_AUDIT) or actor.may(Capability.SEE_AUDIT_BILLING)


def sees_all(actor: Actor) -> bool:
    return "all" in actor.scopes(Capability.SEE_AUDIT)


def areas_seen(actor: Actor) -> Mapping[str, object]:
    """The areas that the person may choose from."""
    if sees_all(actor):
        return trail.AREAS
    return {area: trail.AREAS[area] for area in trail.BILLING_AREAS}


def entries_for(actor: Actor) -> ScopedQuerySet:
    """The entries that the person may read (product §2); none for who reads none."""
    entries: ScopedQuerySet = AuditEntry.objects.visible_to(actor)
    if sees_all(actor):
        return entries
    seen = Q(pk__in=[])
    if actor.may(Capability.SEE_AUDIT_BILLING):
        for area in trail.BILLING_AREAS:
            seen |= _in_area(area)
    if "own" in actor.scopes(Capability.SEE_AUDIT):
        for target_type, ids in _own.items():
            seen |= Q(target_type=target_type, target_id__in=ids(actor))
    return entries.filter(seen)


def entries_page(actor: Actor, chosen: Chosen, *, cursor: str) -> Page[AuditEntry]:
    """The newest first, a page by key. One query, along the index of the organization's latest.

    :raises Malformed: there is no such page.
    """
    return paginate(_narrowed(actor, chosen), order=("-id",), cursor=cursor, key=lambda entry: (entry.pk,))


def entry_for(actor: Actor, entry_id: int) -> AuditEntry:
    """:raises NotVisible: no such entry for this person."""
    entry: AuditEntry | None = entries_for(actor).filter(pk=entry_id).first() if entry_id < 2**63 else None
    if entry is None:
        raise NotVisible
    return entry


def every_entry(actor: Actor, chosen: Chosen) -> Iterator[AuditEntry]:
    """The newest first, all of them: a chunk at a time, each in a short transaction of its own."""
    before: int | None = None
    while True:
        with tenant_atomic(actor):
            rows = _narrowed(actor, chosen)
            if before is not None:
                rows = rows.filter(pk__lt=before)
            chunk = list(rows.order_by("-id")[:CHUNK])
        yield from chunk
        if len(chunk) < CHUNK:
            return
        before = chunk[-1].pk


def _narrowed(actor: Actor, chosen: Chosen) -> ScopedQuerySet:
    entries = entries_for(actor)
    if chosen.area:
        entries = entries.filter(_in_area(chosen.area))
    if chosen.code:
        entries = entries.filter(code=chosen.code)
    if chosen.who:
        entries = entries.filter(Q(actor_label__icontains=chosen.who) | Q(on_behalf_of__icontains=chosen.who))
    if chosen.about:
        entries = entries.filter(Q(target_label__icontains=chosen.about) | Q(target_id=chosen.about))
    if chosen.since:
        entries = entries.filter(at__gte=chosen.since)
    if chosen.until:
        entries = entries.filter(at__lt=chosen.until)
    return entries


def _in_area(area: str) -> Q:
    inside, outside = Q(pk__in=[]), Q(pk__in=[])
    for beginning in trail.BEGINNINGS[area]:
        inside |= Q(code__startswith=beginning)
    for beginning in trail.outside_of(area):
        outside |= Q(code__startswith=beginning)
    return inside & ~outside
