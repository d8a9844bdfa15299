"""Telling people, in the transaction of what it is about: a notice in the portal and a mail are one row (product §15).

There is no other way to tell somebody, so whatever is queued here is in the reader's inbox as well.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Q

from directory.models import MailPreference, OutgoingMail, Tenant, User

# When the digest of a day goes out: the next morning, by the clock of the organization.
DIGEST_TIME = time(7)
State = OutgoingMail.State


class AttachmentFailed(Exception):
    """What belongs to a mail could not be made; the mail waits and is tried again."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """One file that goes out with a mail."""

    name: str
    content: bytes
    media_type: str


# Queues a mail for each row of `source`, completed by a sweep with the CTE that has them: tenant_id, kind, event_key,
# owner_id, context. To the owner while active, else, as for the organization's own (owner null), to the active global
# and billing admins. As `queue_mail` does: once per event and person, and what the person switched off is in the portal
# only. No sweep tells of a kind that has a digest.
QUEUE_SQL = """
    INSERT INTO directory_outgoingmail
           (tenant_id, kind, event_key, to_user_id, to_address, language, context, state, tries, next_try_at,
            created_at, last_error)
    SELECT m.tenant_id, m.kind, m.kind || ':' || m.event_key || ':' || reader.id, reader.id, reader.email,
           coalesce(nullif(reader.chosen_language, ''), reader.language),
           m.context || jsonb_build_object('owner_left', m.owner_id IS NOT NULL AND reader.id <> m.owner_id),
           CASE WHEN EXISTS (SELECT FROM directory_mailpreference p
                              WHERE p.user_id = reader.id AND p.kind = m.kind AND NOT p.is_on)
                THEN 'portal' ELSE 'queued' END, 0, %(at)s, %(at)s, ''
      FROM {source} m
     CROSS JOIN LATERAL (
           SELECT u.id, u.email, u.language, u.chosen_language FROM directory_user u
            WHERE u.id = m.owner_id AND u.status = 'active'
            UNION ALL
           SELECT u.id, u.email, u.language, u.chosen_language FROM directory_user u
            WHERE u.status = 'active'
              AND u.id IN (SELECT a.user_id FROM directory_roleassignment a
                            WHERE a.tenant_id = m.tenant_id AND a.role IN ('global_admin', 'billing_admin'))
              AND NOT EXISTS (SELECT FROM directory_user o WHERE o.id = m.owner_id AND o.status = 'active')
     ) reader
     WHERE reader.email <> ''
    ON CONFLICT (event_key) DO NOTHING
    RETURNING 1
"""

type Attach = Callable[[OutgoingMail], list[Attachment]]

_attach: dict[str, Attach] = {}


def attach_to(kind: str, make: Attach) -> None:
    """Register what makes the attachments of one kind of mail, called as it goes out, in its language.

    For higher apps, when they start. Nothing is stored: a file is made of the rows as they are then.
    """
    _attach[kind] = make


def attachments_of(mail: OutgoingMail) -> list[Attachment]:
    """The files that go out with a mail. Not inside a transaction.

    :raises AttachmentFailed: one of them could not be made.
    """
    make = _attach.get(mail.kind)
    return make(mail) if make else []


def queue_mail(
    kind: str, *, event_key: str, to: Iterable[User], tenant_id: int, context: dict[str, Any], at: datetime
) -> None:
    """Queue one mail of `kind` to each person, at most once per event and person (I: sent once).

    `context` holds plain JSON values only; `templates/mail/<kind>.{subject,body}.txt` and `.html` read it.
    People who left get none.
    """
    queue_mails(mails(kind, event_key=event_key, to=to, tenant_id=tenant_id, context=context, at=at))


def mails(
    kind: str, *, event_key: str, to: Iterable[User], tenant_id: int, context: dict[str, Any], at: datetime
) -> list[OutgoingMail]:
    """The unsaved rows that `queue_mail` would queue; a sweep collects many for `queue_mails`."""
    return [
        OutgoingMail(
            tenant_id=tenant_id,
            kind=kind,
            event_key=f"{kind}:{event_key}:{user.pk}",
            to_user_id=user.pk,
            to_address=user.email,
            language=user.reads,
            context=context,
            next_try_at=at,
            created_at=at,
        )
        for user in to
        if user.is_active and user.email
    ]


def queue_mails(rows: Iterable[OutgoingMail]) -> None:
    """Queue many mails at once; one whose event was told already is left out.

    Of a kind that the person switched off there is a notice in the portal and no mail; of one that the person wants
    once a day, the mail waits for the digest. Two statements, three where somebody wants a digest.
    """
    wanted = list(rows)
    said = dict(_preferences(wanted))
    daily = [row for row in wanted if said.get((row.to_user_id, row.kind)) == State.DIGEST]
    zones = _zones({row.tenant_id for row in daily})
    for row in wanted:
        row.state = said.get((row.to_user_id, row.kind), row.state)
    for row in daily:
        row.next_try_at = next_digest_at(row.created_at, zones[row.tenant_id])
    OutgoingMail.objects.bulk_create(wanted, ignore_conflicts=True)


def next_digest_at(told_at: datetime, zone: str) -> datetime:
    """When the digest goes out that lists what was told at that instant: the morning after, in the zone."""
    local = told_at.astimezone(ZoneInfo(zone))
    return datetime.combine(local.date() + timedelta(days=1), DIGEST_TIME, tzinfo=ZoneInfo(zone))


def _preferences(rows: Collection[OutgoingMail]) -> Iterable[tuple[tuple[int | None, str], str]]:
    """Of who wants a kind otherwise than at once: person and kind, and the state that its rows get."""
    said = MailPreference.objects.filter(
        Q(is_on=False) | Q(is_daily=True),
        user_id__in={row.to_user_id for row in rows},
        kind__in={row.kind for row in rows},
    )
    for user_id, kind, is_on in said.values_list("user_id", "kind", "is_on"):
        yield (user_id, kind), State.DIGEST if is_on else State.PORTAL


def _zones(tenant_ids: Collection[int]) -> dict[int, str]:
    if not tenant_ids:
        return {}
    return dict(Tenant.objects.filter(pk__in=tenant_ids).values_list("pk", "time_zone"))
