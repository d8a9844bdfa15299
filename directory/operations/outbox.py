"""Sending the mails of the outbox (product §15; F-27), each at most once.

A mail is marked sent before it goes out and marked back when that fails. A process that dies in between
leaves `sent_at` empty: such a mail may have gone out, so it is reported and not sent again. The Message-ID is
made of the event, so it is the same on every try.
"""

import hashlib
import logging
from datetime import datetime, timedelta
from email.utils import format_datetime
from smtplib import SMTPException
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.db.models import F
from django.template.loader import render_to_string
from django.utils.translation import override

from config.kit.faults import reached
from config.kit.tenancy import atomic, use_login
from directory.models import OutgoingMail, User
from directory.operations.languages import language_of
from directory.operations.mail import AttachmentFailed, attachments_of
from directory.operations.preferences import switch_off_link
from directory.operations.rendering import DOES_NOT_RENDER, context_of, subject_of

log = logging.getLogger(__name__)

State = OutgoingMail.State
MOST_TRIES = 10
FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(hours=6)
BATCH = 200

# What a mail that cannot be sent raises: the server's refusal, no connection, or a row that does not render.
_FAILURES = (SMTPException, OSError, AttachmentFailed, *DOES_NOT_RENDER)


def send_due_mails(*, at: datetime, limit: int = BATCH) -> int:
    """Send what is due, oldest first; how many went out. By the worker's login, any number side by side.

    A mail that fails waits longer each time and is dead after ten tries; it never holds up another.
    """
    sent = 0
    with use_login("worker"), _open_connection() as connection:
        for _ in range(limit):
            reached("R8:before")
            mail = _take_next(at)
            if mail is None:
                break
            sent += _send(mail, connection, at)
            reached("R8:after")
    return sent


def wait_after(tries: int) -> timedelta:
    """How long a mail waits after its n-th failure: 1, 2, 4 minutes and so on, six hours at most."""
    return min(FIRST_WAIT * (1 << (tries - 1)), LONGEST_WAIT)


def message_of(mail: OutgoingMail) -> EmailMultiAlternatives:
    """The mail as it goes out, in the recipient's language."""
    off = switch_off_link(mail)
    with override(language_of(mail)):
        subject = subject_of(mail)
        context = {**context_of(mail), "subject": subject, "off": off}
        text = render_to_string(f"mail/{mail.kind}.txt", context).strip() + "\n"
        html = render_to_string(f"mail/{mail.kind}.html", context)
        if off:
            text = f"{text}\n{render_to_string('mail/_off.txt', context).strip()}\n"
        attachments = attachments_of(mail)
    message = EmailMultiAlternatives(
        subject=subject,
        body=text,
        from_email=settings.DEFAULT_FROM_EMAIL,
        to=[mail.to_address],
        # Where an answer is taken; most kinds take none.
        reply_to=[context["reply_to"]] if context.get("reply_to") else None,
        headers={"Message-ID": _message_id(mail), "Auto-Submitted": "auto-generated", **_one_click(off)},
    )
    message.attach_alternative(html, "text/html")
    for attachment in attachments:
        message.attach(attachment.name, attachment.content, attachment.media_type)
    return message


def _one_click(off: str) -> dict[str, str]:
    """What lets a mail program offer to switch off these mails (RFC 8058)."""
    if not off:
        return {}
    return {"List-Unsubscribe": f"<{off}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


def _take_next(at: datetime) -> OutgoingMail | None:
    """The next due mail, already marked as sent and counted; another process takes the one after it.

    One to somebody who has left meanwhile is passed over for good.
    """
    while True:
        with atomic():
            mail: OutgoingMail | None = (
                OutgoingMail.objects.filter(state=State.QUEUED, next_try_at__lte=at)
                .order_by("next_try_at", "id")
                .select_for_update(skip_locked=True)
                .first()
            )
            if mail is None:
                return None
            if not _has_left(mail):
                OutgoingMail.objects.filter(pk=mail.pk).update(state=State.SENT, tries=F("tries") + 1)
                mail.tries += 1
                return mail
            OutgoingMail.objects.filter(pk=mail.pk).update(state=State.LEFT)


def _has_left(mail: OutgoingMail) -> bool:
    """Whether the reader was disabled or deleted since the mail was queued: nothing is sent to them (product §11)."""
    if mail.to_user_id is None:
        return False
    has_left: bool = User.objects.filter(pk=mail.to_user_id).exclude(status=User.Status.ACTIVE).exists()
    return has_left


def _send(mail: OutgoingMail, connection: BaseEmailBackend, at: datetime) -> int:
    try:
        message = message_of(mail)
        message.extra_headers["Date"] = format_datetime(at)
        connection.send_messages([message])
    except _FAILURES as error:
        connection.close()
        _put_back(mail, error, at)
        return 0
    with atomic():
        OutgoingMail.objects.filter(pk=mail.pk).update(sent_at=at, last_error="")
    return 1


def _put_back(mail: OutgoingMail, error: Exception, at: datetime) -> None:
    is_dead = mail.tries >= MOST_TRIES
    if is_dead:
        log.error("Mail %s (%s) is given up after %s tries", mail.pk, mail.kind, mail.tries)
    with atomic():
        OutgoingMail.objects.filter(pk=mail.pk).update(
            state=State.DEAD if is_dead else State.QUEUED,
            next_try_at=at + wait_after(mail.tries),
            last_error=f"{type(error).__name__}: {error}"[:2000],
        )


def _open_connection() -> Any:
    """The configured backend; it opens at the first mail."""
    return _Lazily(get_connection())


class _Lazily:
    """Closes the backend at the end, without opening it at the start as the backend's own `with` does."""

    def __init__(self, backend: BaseEmailBackend) -> None:
        self.backend = backend

    def __enter__(self) -> BaseEmailBackend:
        return self.backend

    def __exit__(self, *_: object) -> None:
        self.backend.close()


def _message_id(mail: OutgoingMail) -> str:
    digest = hashlib.sha256(mail.event_key.encode()).hexdigest()[:32]
    return f"<{digest}@{urlsplit(settings.PUBLIC_URL).hostname}>"
