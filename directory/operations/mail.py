"""Queuing mails, in the transaction of what they tell about (product §15)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from directory.models import MailPreference, OutgoingMail, User


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
# and billing admins. As `queue_mail` does: once per event and person, and none of a kind that the person switched off.
QUEUE_SQL = """
    INSERT INTO directory_outgoingmail
           (tenant_id, kind, event_key, to_user_id, to_address, language, context, state, tries, next_try_at,
            created_at, last_error)
    SELECT m.tenant_id, m.kind, m.kind || ':' || m.event_key || ':' || reader.id, reader.id, reader.email,
           coalesce(nullif(reader.language, ''), 'en'),
           m.context || jsonb_build_object('owner_left', m.owner_id IS NOT NULL AND reader.id <> m.owner_id),
           'queued', 0, %(at)s, %(at)s, ''
      FROM {source} m
     CROSS JOIN LATERAL (
           SELECT u.id, u.email, u.language FROM directory_user u WHERE u.id = m.owner_id AND u.status = 'active'
            UNION ALL
           SELECT u.id, u.email, u.language FROM directory_user u
            WHERE u.status = 'active'
              AND u.id IN (SELECT a.user_id FROM directory_roleassignment a
                            WHERE a.tenant_id = m.tenant_id AND a.role IN ('global_admin', 'billing_admin'))
              AND NOT EXISTS (SELECT FROM directory_user o WHERE o.id = m.owner_id AND o.status = 'active')
     ) reader
     WHERE reader.email <> ''
       AND NOT EXISTS (SELECT FROM directory_mailpreference p
                        WHERE p.user_id = reader.id AND p.kind = m.kind AND NOT p.is_on)
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
            language=user.language or "en",
            context=context,
            next_try_at=at,
            created_at=at,
        )
        for user in to
        if user.is_active and user.email
    ]


def queue_mails(rows: Iterable[OutgoingMail]) -> None:
    """Queue many mails at once; one whose event was told already is left out, and one of a kind that the person
    switched off. Two statements."""
    wanted = list(rows)
    off = set(
        MailPreference.objects.filter(
            user_id__in={row.to_user_id for row in wanted}, kind__in={row.kind for row in wanted}, is_on=False
        ).values_list("user_id", "kind")
    )
    OutgoingMail.objects.bulk_create(
        [row for row in wanted if (row.to_user_id, row.kind) not in off], ignore_conflicts=True
    )
